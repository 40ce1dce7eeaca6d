//! What songbird is given to play: streams without end, from memory that all calls share.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use songbird::input::{AudioStream, Input, LiveInput};
use symphonia::core::io::MediaSource;
use voice_peers::{Error, audio};

use crate::Mode;

/// What all calls play.
#[derive(Clone)]
pub(crate) struct Media {
    head: Arc<[u8]>,
    /// What comes after the head, over and over.
    body: Arc<[u8]>,
    /// Where in it the frames begin.
    frames: Arc<[usize]>,
}

impl Media {
    /// Opus frames for calls that send them as they are, samples for those that encode.
    pub(crate) fn new(mode: Mode) -> Result<Self, Error> {
        Ok(match mode {
            Mode::Encode => Self::raw(&audio::recording()?),
            Mode::Passthrough | Mode::Idle | Mode::Probe => Self::dca(&audio::frames()?),
        })
    }

    /// DCA, whose frames songbird passes on if it has nothing to mix them with.
    fn dca(frames: &[Vec<u8>]) -> Self {
        let (mut body, mut beginnings) = (Vec::new(), Vec::new());
        for frame in frames {
            beginnings.push(body.len());
            // An `i16` in the format's words; no frame is too long to be one.
            body.extend_from_slice(&(frame.len() as u16).to_le_bytes());
            body.extend_from_slice(frame);
        }
        let mut head = b"DCA1".to_vec();
        head.extend_from_slice(&(DCA_ABOUT.len() as u32).to_le_bytes());
        head.extend_from_slice(DCA_ABOUT);
        Self { head: head.into(), body: body.into(), frames: beginnings.into() }
    }

    /// songbird's own container of samples.
    fn raw(samples: &[f32]) -> Self {
        let mut head = b"SbirdRaw".to_vec();
        head.extend_from_slice(&48_000_u32.to_le_bytes());
        head.extend_from_slice(&2_u32.to_le_bytes());
        let body: Arc<[u8]> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let frames = (0..body.len()).step_by(audio::FRAME_LEN * size_of::<f32>()).collect();
        Self { head: head.into(), body, frames }
    }

    /// A stream of it, from a place that depends on the number of the call.
    pub(crate) fn input(&self, call: u32) -> Input {
        let stream = Stream::new(self, audio::offset(call, self.frames.len()));
        Input::Live(LiveInput::Raw(AudioStream { input: Box::new(stream) }), None)
    }
}

/// A reader of it that never comes to an end.
struct Stream {
    media: Media,
    /// In the head.
    head: usize,
    /// In the body.
    body: usize,
}

impl Stream {
    fn new(media: &Media, frame: usize) -> Self {
        Self { media: media.clone(), head: 0, body: media.frames[frame] }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Media { head, body, .. } = &self.media;
        let (rest, at) = if self.head < head.len() { (&**head, &mut self.head) } else { (&**body, &mut self.body) };
        let len = (&rest[*at..]).read(buffer)?;
        *at += len;
        if self.body == body.len() {
            self.body = 0;
        }
        Ok(len)
    }
}

impl Seek for Stream {
    fn seek(&mut self, _to: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl MediaSource for Stream {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// What songbird wants to know of a DCA file.
const DCA_ABOUT: &[u8] = br#"{"dca":{"version":1,"tool":{"name":"voice-peers","version":"0"}},
"opus":{"mode":"music","sample_rate":48000,"frame_size":960,"vbr":false,"channels":2}}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_do_not_end() {
        let media = Media::dca(&[vec![1], vec![3, 4]]);
        let mut stream = Stream::new(&media, 1);
        let mut read = vec![0; media.head.len() + 11];
        stream.read_exact(&mut read).expect("there is always more");
        assert_eq!(read[media.head.len()..], [2, 0, 3, 4, 1, 0, 1, 2, 0, 3, 4]);
    }

    #[test]
    fn samples_are_cut_where_frames_begin() {
        let media = Media::raw(&[0.5; 3 * audio::FRAME_LEN]);
        assert_eq!(*media.frames, [0, 7_680, 15_360]);
    }
}
