//! What calls play: the bundled recording, as it is or encoded by each of them.

use std::{
    io::{self, Cursor},
    sync::{Arc, OnceLock},
    time::Instant,
};

use discord_voice::{
    FrameBuf, FrameSource, Lead, NextFrame, VoiceClient,
    audio::{
        CHANNELS, Encode, FRAME_SAMPLES, FileReader, OpenOptions, PcmRead,
        opus::{Channels, Decoder, EncoderConfig},
    },
};

use crate::{error::Error, measuring::now};

/// What all calls play, each from another place on.
#[derive(Clone)]
pub(crate) enum Sources {
    /// Opus frames as they are.
    Frames(Arc<Frames>),
    /// PCM, encoded at so many bits per second.
    Pcm(Arc<[f32]>, u32),
}

/// When the first packet of a call was sent: a moment before, when its frame was asked for.
pub(crate) type FirstSent = Arc<OnceLock<Instant>>;

impl Sources {
    /// Frames of about 160 bytes: 64 kbit/s.
    pub(crate) fn passthrough() -> Result<Self, Error> {
        let mut frames = recording()?;
        let lens: Vec<usize> = frames.iter().map(<[u8]>::len).collect();
        frames.truncate(prefix_with_mean(&lens, FRAME_LEN));
        Ok(Self::Frames(Arc::new(frames)))
    }

    /// The whole recording, decoded.
    pub(crate) fn encode(bitrate: u32) -> Result<Self, Error> {
        let mut decoder = Decoder::new(Channels::Stereo).map_err(Error::audio)?;
        let mut pcm = Vec::new();
        let mut decoded = [0.0; FRAME_SAMPLES * CHANNELS];
        for frame in recording()?.iter() {
            let samples = decoder.decode(frame, &mut decoded).map_err(Error::audio)?;
            pcm.extend_from_slice(&decoded[..samples * CHANNELS]);
        }
        let pcm = pcm.into();
        // What is wrong with the settings is found here.
        encoded(&pcm, 0, bitrate)?;
        Ok(Self::Pcm(pcm, bitrate))
    }

    /// The mean length of a frame, in bytes, if that is known beforehand.
    pub(crate) fn frame_bytes(&self) -> Option<f64> {
        match self {
            Self::Frames(frames) => Some(frames.bytes.len() as f64 / frames.len() as f64),
            Self::Pcm(..) => None,
        }
    }

    /// Lets a call play for ever, from a place that depends on its number.
    pub(crate) fn play(&self, client: &VoiceClient, number: u32) -> FirstSent {
        let first = FirstSent::default();
        let watched = Some(Arc::clone(&first));
        match self {
            Self::Frames(frames) => {
                let next = offset(number, frames.len());
                client.play(Watched { source: Loop { frames: Arc::clone(frames), next }, first: watched });
            }
            Self::Pcm(pcm, bitrate) => {
                let next = offset(number, pcm.len() / SAMPLES);
                let source = encoded(pcm, next, *bitrate).expect("the first encoder could be made");
                client.play(Watched { source, first: watched });
            }
        }
        first
    }
}

/// Opus frames, one after the other in one piece of memory.
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Frames {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[index]]
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(self.ends.last().copied().unwrap_or_default());
    }
}

/// The bundled recording: 1000 frames.
fn recording() -> Result<Frames, Error> {
    let mut reader = FileReader::new(Cursor::new(RECORDING), OpenOptions::default()).map_err(Error::audio)?;
    let (mut frames, mut frame) = (Frames { bytes: Vec::new(), ends: Vec::new() }, FrameBuf::new());
    while next_of(&mut reader, &mut frame)? {
        frames.bytes.extend_from_slice(frame.as_slice());
        frames.ends.push(frames.bytes.len());
    }
    Ok(frames)
}

fn next_of(source: &mut impl FrameSource, frame: &mut FrameBuf) -> Result<bool, Error> {
    match source.next_frame(frame) {
        NextFrame::Ready => Ok(true),
        NextFrame::NotYet | NextFrame::End => Ok(false),
        NextFrame::Failed(error) => Err(Error::audio(error)),
    }
}

/// How many of the first frames have a mean length that is nearest to the wanted one.
fn prefix_with_mean(lens: &[usize], wanted: usize) -> usize {
    let mut sum = 0;
    let distances = lens.iter().zip(1..).map(|(len, count)| {
        sum += len;
        (sum as f64 / count as f64 - wanted as f64).abs()
    });
    // Of those that are as near as 1 %, the most: a short loop would not be typical of anything.
    let near = |distance: &f64| *distance <= wanted as f64 / 100.0;
    distances.zip(1..).filter(|(distance, _)| near(distance)).map(|(_, count)| count).last().unwrap_or(lens.len())
}

/// Spreads calls over what there is to play.
const fn offset(number: u32, len: usize) -> usize {
    number as usize * PRIME % len
}

/// Frames for ever.
struct Loop {
    frames: Arc<Frames>,
    next: usize,
}

impl FrameSource for Loop {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        let set = out.set(self.frames.get(self.next));
        self.next = (self.next + 1) % self.frames.len();
        match set {
            Ok(()) => NextFrame::Ready,
            Err(error) => NextFrame::Failed(error.into()),
        }
    }

    fn lead(&self) -> Lead {
        Lead::Immediate
    }
}

/// Encoded PCM for ever.
fn encoded(pcm: &Arc<[f32]>, frame: usize, bitrate: u32) -> Result<Encode<Pcm>, Error> {
    let config = EncoderConfig { bitrate, complexity: 10, ..EncoderConfig::default() };
    Encode::new(Pcm { samples: Arc::clone(pcm), next: frame * SAMPLES }, config).map_err(Error::audio)
}

/// Samples for ever.
struct Pcm {
    samples: Arc<[f32]>,
    next: usize,
}

impl PcmRead for Pcm {
    fn read_pcm(&mut self, out: &mut [f32]) -> io::Result<usize> {
        let rest = &self.samples[self.next..];
        let len = out.len().min(rest.len());
        out[..len].copy_from_slice(&rest[..len]);
        self.next = (self.next + len) % self.samples.len();
        Ok(len)
    }
}

/// Remembers when the first frame was asked for and there.
struct Watched<S> {
    source: S,
    first: Option<FirstSent>,
}

impl<S: FrameSource> FrameSource for Watched<S> {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        let next = self.source.next_frame(out);
        if matches!(next, NextFrame::Ready)
            && let Some(first) = self.first.take()
        {
            let _ = first.set(now());
        }
        next
    }

    fn lead(&self) -> Lead {
        self.source.lead()
    }
}

const RECORDING: &[u8] = include_bytes!("../../assets/demo.opus");

/// 20 ms at 64 kbit/s, in bytes.
const FRAME_LEN: usize = 160;

/// Samples of a frame, all channels together.
const SAMPLES: usize = FRAME_SAMPLES * CHANNELS;

/// Shares no factor with how much there is to play.
const PRIME: usize = 7_919;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_size_of_64_kbit_per_second() {
        let sources = Sources::passthrough().expect("the bundled recording");
        let mean = sources.frame_bytes().expect("frames");
        assert!((158.0..=162.0).contains(&mean), "{mean}");
        let Sources::Frames(frames) = sources else { panic!("no frames") };
        assert!(frames.len() > 500 && frames.iter().all(|frame| !frame.is_empty()));
    }

    #[test]
    fn frames_are_played_in_a_loop() {
        let mut frames = Frames { bytes: vec![1, 2, 2, 3], ends: vec![1, 3, 4] };
        assert_eq!(frames.iter().map(<[u8]>::len).collect::<Vec<_>>(), [1, 2, 1]);
        frames.truncate(2);
        let mut source = Watched { source: Loop { frames: Arc::new(frames), next: 1 }, first: None };
        let (mut out, mut played) = (FrameBuf::new(), Vec::new());
        for _ in 0..4 {
            assert!(matches!(source.next_frame(&mut out), NextFrame::Ready));
            played.push(out.as_slice().to_vec());
        }
        assert_eq!(played, [vec![2, 2], vec![1], vec![2, 2], vec![1]]);
    }

    #[test]
    fn pcm_is_encoded_for_ever() {
        let Sources::Pcm(pcm, bitrate) = Sources::encode(64_000).expect("the bundled recording") else {
            panic!("no PCM")
        };
        assert_eq!(pcm.len(), 1_000 * SAMPLES);
        let mut source = encoded(&pcm, 999, bitrate).expect("an encoder");
        let mut frame = FrameBuf::new();
        for _ in 0..3 {
            assert!(next_of(&mut source, &mut frame).expect("it encodes") && !frame.is_empty());
        }
    }

    #[test]
    fn the_first_frame_is_marked_when_it_is_there() {
        struct Late(bool);
        impl FrameSource for Late {
            fn next_frame(&mut self, _: &mut FrameBuf) -> NextFrame {
                if std::mem::replace(&mut self.0, true) { NextFrame::Ready } else { NextFrame::NotYet }
            }
        }
        let first = FirstSent::default();
        let mut source = Watched { source: Late(false), first: Some(Arc::clone(&first)) };
        let mut out = FrameBuf::new();
        assert!(matches!(source.next_frame(&mut out), NextFrame::NotYet) && first.get().is_none());
        assert!(matches!(source.next_frame(&mut out), NextFrame::Ready) && first.get().is_some());
    }

    #[test]
    fn as_many_frames_as_possible_have_the_mean() {
        assert_eq!(prefix_with_mean(&[100, 200, 300, 1], 150), 4);
        assert_eq!(prefix_with_mean(&[150, 150, 900], 150), 2);
    }
}
