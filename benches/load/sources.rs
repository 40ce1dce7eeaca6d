//! What calls play: the bundled recording, as it is or encoded by each of them.

use std::{
    io::{self, Cursor},
    sync::{Arc, OnceLock},
    time::Instant,
};

use discord_voice::{
    FrameBuf, FrameSource, NextFrame, VoiceClient,
    audio::{
        CHANNELS, Encode, FRAME_SAMPLES, FileReader, Lead, OpenOptions, PcmRead,
        opus::{Channels, Decoder, Encoder, EncoderConfig},
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
        // Calls have no way to say that theirs does not start.
        Encoder::new(encoder_config(bitrate)).map_err(Error::audio)?;
        let mut decoder = Decoder::new(Channels::Stereo).map_err(Error::audio)?;
        let mut pcm = Vec::new();
        let mut decoded = [0.0; FRAME_SAMPLES * CHANNELS];
        for frame in recording()?.iter() {
            let samples = decoder.decode(frame, &mut decoded).map_err(Error::audio)?;
            pcm.extend_from_slice(&decoded[..samples * CHANNELS]);
        }
        Ok(Self::Pcm(pcm.into(), bitrate))
    }

    /// The mean length of a frame, in bytes, if that is known beforehand.
    pub(crate) fn frame_bytes(&self) -> Option<f64> {
        match self {
            Self::Frames(frames) => Some(frames.bytes.len() as f64 / frames.len() as f64),
            Self::Pcm(..) => None,
        }
    }

    /// Lets a call play for ever, from a place that depends on its number. What is encoded is asked for ahead of its time,
    /// so that nothing says when it is sent.
    pub(crate) fn play(&self, client: &VoiceClient, number: u32) -> Option<FirstSent> {
        match self {
            Self::Frames(frames) => {
                let (first, next) = (FirstSent::default(), offset(number, frames.len()));
                client.play(Loop { frames: Arc::clone(frames), next, first: Some(Arc::clone(&first)) });
                Some(first)
            }
            Self::Pcm(pcm, bitrate) => {
                let next = offset(number, pcm.len() / SAMPLES) * SAMPLES;
                let source = Encode::new(PcmLoop { pcm: Arc::clone(pcm), next }, encoder_config(*bitrate));
                client.play(source.expect("an encoder with these settings has started before"));
                None
            }
        }
    }
}

fn encoder_config(bitrate: u32) -> EncoderConfig {
    EncoderConfig { bitrate, complexity: 10, ..EncoderConfig::default() }
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
    loop {
        match reader.next_frame(&mut frame) {
            NextFrame::Ready => {
                frames.bytes.extend_from_slice(frame.as_slice());
                frames.ends.push(frames.bytes.len());
            }
            NextFrame::NotYet => {}
            NextFrame::End => return Ok(frames),
            NextFrame::Failed(error) => return Err(Error::audio(error)),
        }
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
    /// Where it is remembered when the first frame was asked for.
    first: Option<FirstSent>,
}

impl FrameSource for Loop {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        if let Some(first) = self.first.take() {
            let _ = first.set(now());
        }
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

/// PCM for ever.
struct PcmLoop {
    pcm: Arc<[f32]>,
    /// The next sample.
    next: usize,
}

impl PcmRead for PcmLoop {
    fn read_pcm(&mut self, out: &mut [f32]) -> io::Result<usize> {
        let rest = &self.pcm[self.next..];
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        self.next = (self.next + len) % self.pcm.len();
        Ok(len)
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
        let first = FirstSent::default();
        let mut source = Loop { frames: Arc::new(frames), next: 1, first: Some(Arc::clone(&first)) };
        assert!(source.lead() == Lead::Immediate && first.get().is_none());
        let (mut out, mut played) = (FrameBuf::new(), Vec::new());
        for _ in 0..4 {
            assert!(matches!(source.next_frame(&mut out), NextFrame::Ready));
            played.push(out.as_slice().to_vec());
        }
        assert!(first.get().is_some());
        assert_eq!(played, [vec![2, 2], vec![1], vec![2, 2], vec![1]]);
    }

    #[test]
    fn pcm_is_encoded_for_ever() {
        let Sources::Pcm(pcm, bitrate) = Sources::encode(64_000).expect("the bundled recording") else {
            panic!("no PCM")
        };
        assert_eq!(pcm.len(), 1_000 * SAMPLES);
        let pcm = PcmLoop { pcm, next: 999 * SAMPLES };
        let mut source = Encode::new(pcm, encoder_config(bitrate)).expect("the codec starts");
        let mut frame = FrameBuf::new();
        for _ in 0..3 {
            assert!(matches!(source.next_frame(&mut frame), NextFrame::Ready) && !frame.is_empty());
        }
    }

    #[test]
    fn as_many_frames_as_possible_have_the_mean() {
        assert_eq!(prefix_with_mean(&[100, 200, 300, 1], 150), 4);
        assert_eq!(prefix_with_mean(&[150, 150, 900], 150), 2);
    }
}
