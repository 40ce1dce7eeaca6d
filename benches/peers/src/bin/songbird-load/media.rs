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
}

impl Media {
    /// Opus frames for calls that send them as they are, samples for those that encode.
    pub(crate) fn new(mode: Mode) -> Result<Self, Error> {
        Ok(match mode {
            Mode::Encode => Self::raw(&audio::recording()?),
            Mode::Passthrough | Mode::Idle | Mode::Probe => Self::dca(&audio::frames()),
        })
    }

    /// DCA, whose frames songbird passes on if it has nothing to mix them with.
    fn dca<const N: usize>(frames: &[[u8; N]]) -> Self {
        let body = frames.iter().flat_map(|frame| {
            // An `i16` in the format's words, and never negative.
            let length = (N as u16).to_le_bytes();
            length.into_iter().chain(*frame)
        });
        let mut head = b"DCA1".to_vec();
        head.extend_from_slice(&(DCA_ABOUT.len() as u32).to_le_bytes());
        head.extend_from_slice(DCA_ABOUT);
        Self { head: head.into(), body: body.collect() }
    }

    /// songbird's own container of samples.
    fn raw(samples: &[f32]) -> Self {
        let mut head = b"SbirdRaw".to_vec();
        head.extend_from_slice(&48_000_u32.to_le_bytes());
        head.extend_from_slice(&2_u32.to_le_bytes());
        Self { head: head.into(), body: samples.iter().flat_map(|sample| sample.to_le_bytes()).collect() }
    }

    /// A stream of it.
    pub(crate) fn input(&self) -> Input {
        let stream = Stream { media: self.clone(), at: 0 };
        Input::Live(LiveInput::Raw(AudioStream { input: Box::new(stream) }), None)
    }
}

/// A reader of it that never comes to an end.
struct Stream {
    media: Media,
    at: usize,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Media { head, body } = &self.media;
        let rest = match self.at.checked_sub(head.len()) {
            None => &head[self.at..],
            Some(at) => &body[at % body.len()..],
        };
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.at += len;
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
        let media = Media::dca(&[[1, 2], [3, 4]]);
        let mut stream = Stream { media: media.clone(), at: 0 };
        let mut read = vec![0; media.head.len() + 12];
        stream.read_exact(&mut read).expect("there is always more");
        assert_eq!(read[media.head.len()..], [2, 0, 1, 2, 2, 0, 3, 4, 2, 0, 1, 2]);
    }
}
