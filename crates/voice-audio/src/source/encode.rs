//! PCM as a source of frames.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use super::{FrameSource, Lead, NextFrame, SourceError};
use crate::opus::{Encoder, EncoderConfig, InitError};
use crate::{CHANNELS, FRAME_SAMPLES, FrameBuf};

/// Encodes PCM, 48 kHz, as it is played: a [`FrameSource`] over any [`PcmRead`].
///
/// What is left at the end is filled up to a whole frame, with the encoder's delay after it.
///
/// ```
/// use voice_audio::opus::EncoderConfig;
/// use voice_audio::{Encode, FrameBuf, FrameSource, Lead, NextFrame};
///
/// // A tone, 440 Hz on both sides, without end.
/// let mut phase = 0.0_f32;
/// let tone = move |out: &mut [f32]| {
///     for sample in out.chunks_exact_mut(2) {
///         phase = (phase + 440.0 / 48_000.0).fract();
///         sample.fill(0.3 * (phase * std::f32::consts::TAU).sin());
///     }
///     Ok(out.len())
/// };
/// let config = EncoderConfig { bitrate: 96_000, ..EncoderConfig::default() };
/// let mut source = Encode::new(tone, config)?.with_lead(Lead::Frames(10));
/// let mut frame = FrameBuf::new();
/// assert!(matches!(source.next_frame(&mut frame), NextFrame::Ready));
/// # Ok::<(), voice_audio::opus::InitError>(())
/// ```
pub struct Encode<R> {
    pcm: R,
    encoder: Encoder,
    lead: Lead,
    /// One frame, of which `filled` samples are there.
    frame: Box<[f32]>,
    filled: usize,
    rest: Rest,
}

/// How far the audio has come.
#[derive(Clone, Copy)]
enum Rest {
    /// Nothing was read yet.
    Unknown,
    /// There was audio, and may be more.
    Audio,
    /// So many samples of silence push the last audio out of the encoder.
    Silence(usize),
}

impl<R: PcmRead> Encode<R> {
    /// Encodes with these settings, interleaved samples of [`EncoderConfig::channels`]. Frames are made up to 100 ms
    /// ahead; see [`with_lead`](Self::with_lead).
    ///
    /// # Errors
    ///
    /// [`InitError`] when the codec library cannot start.
    pub fn new(pcm: R, config: EncoderConfig) -> Result<Self, InitError> {
        let frame = vec![0.0; FRAME_SAMPLES * config.channels.count()].into_boxed_slice();
        let encoder = Encoder::new(config)?;
        Ok(Self { pcm, encoder, lead: Lead::default(), frame, filled: 0, rest: Rest::Unknown })
    }

    /// How long before they are due frames are made; 1 for audio that is live. [`Lead::Immediate`] would have the media
    /// thread encode, at the cost of other calls.
    #[must_use]
    pub const fn with_lead(mut self, lead: Lead) -> Self {
        self.lead = lead;
        self
    }

    /// Reads until there is a frame. `None` at the end.
    fn fill(&mut self) -> io::Result<Option<()>> {
        while let Some(out) = self.frame.get_mut(self.filled..).filter(|out| !out.is_empty()) {
            match &mut self.rest {
                Rest::Silence(left) => {
                    if *left == 0 && self.filled == 0 {
                        return Ok(None);
                    }
                    out.fill(0.0);
                    *left -= (*left).min(out.len());
                    self.filled += out.len();
                }
                Rest::Unknown | Rest::Audio => match self.pcm.read_pcm(out) {
                    Ok(0) => {
                        let delay = match self.rest {
                            Rest::Audio => self.encoder.lookahead() * self.encoder.config().channels.count(),
                            _ => 0,
                        };
                        self.rest = Rest::Silence(delay);
                    }
                    Ok(read) if read <= out.len() => {
                        self.rest = Rest::Audio;
                        self.filled += read;
                    }
                    Ok(_) => {
                        return Err(io::Error::new(ErrorKind::InvalidData, "more samples than there was room for"));
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(Some(()))
    }
}

impl<R: PcmRead> FrameSource for Encode<R> {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        match self.fill() {
            Ok(Some(())) => {}
            Ok(None) => return NextFrame::End,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return NextFrame::NotYet,
            Err(error) => return NextFrame::Failed(SourceError::new(error)),
        }
        self.filled = 0;
        match self.encoder.encode_frame(&self.frame, out) {
            Ok(()) => NextFrame::Ready,
            Err(error) => NextFrame::Failed(SourceError::new(error)),
        }
    }

    fn lead(&self) -> Lead {
        self.lead
    }
}

impl<R> fmt::Debug for Encode<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encode").field("encoder", &self.encoder).field("lead", &self.lead).finish_non_exhaustive()
    }
}

/// Where PCM comes from: what [`Read`] is for bytes. Any `FnMut(&mut [f32]) -> io::Result<usize>` is one.
pub trait PcmRead: Send + 'static {
    /// Writes up to `out.len()` interleaved samples, 48 kHz, -1.0 to 1.0, and returns how many. 0 is the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`]: there is nothing yet, and what was written before is kept. [`ErrorKind::Interrupted`]:
    /// asked again at once. Any other error ends the audio.
    fn read_pcm(&mut self, out: &mut [f32]) -> io::Result<usize>;
}

impl<F: FnMut(&mut [f32]) -> io::Result<usize> + Send + 'static> PcmRead for F {
    fn read_pcm(&mut self, out: &mut [f32]) -> io::Result<usize> {
        self(out)
    }
}

/// PCM as bytes, two to a sample, signed, little-endian (`s16le`): what decoders write to a pipe.
///
/// ```
/// use voice_audio::opus::EncoderConfig;
/// use voice_audio::source::{Encode, PcmBytes};
///
/// let silence = std::io::repeat(0);
/// let source = Encode::new(PcmBytes::new(silence), EncoderConfig::default())?;
/// # Ok::<(), voice_audio::opus::InitError>(())
/// ```
pub struct PcmBytes<R> {
    bytes: R,
    /// `held` bytes at the start wait for the rest of their sample.
    buffer: Box<[u8; BUFFER_LEN]>,
    held: usize,
}

impl<R: Read> PcmBytes<R> {
    /// Reads from `bytes` a few milliseconds at a time.
    #[must_use]
    pub fn new(bytes: R) -> Self {
        Self { bytes, buffer: Box::new([0; BUFFER_LEN]), held: 0 }
    }
}

impl<R: Read + Send + 'static> PcmRead for PcmBytes<R> {
    fn read_pcm(&mut self, out: &mut [f32]) -> io::Result<usize> {
        let most = BUFFER_LEN.min(out.len() * 2);
        loop {
            let read = self.bytes.read(self.buffer.get_mut(self.held..most).unwrap_or_default())?;
            let have = self.held + read;
            let (samples, odd) = self.buffer.get(..have).unwrap_or_default().as_chunks();
            for (out, sample) in out.iter_mut().zip(samples) {
                *out = f32::from(i16::from_le_bytes(*sample)) / I16_SCALE;
            }
            let (samples, odd) = (samples.len(), odd.first().copied());
            self.held = usize::from(odd.is_some());
            if let Some(odd) = odd {
                self.buffer[0] = odd;
            }
            // Half a sample is not the end, unless nothing follows it.
            if samples > 0 || read == 0 {
                return Ok(samples);
            }
        }
    }
}

impl<R> fmt::Debug for PcmBytes<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PcmBytes").finish_non_exhaustive()
    }
}

/// PCM from an iterator over samples.
///
/// ```
/// use voice_audio::opus::EncoderConfig;
/// use voice_audio::source::{Encode, PcmSamples};
///
/// let recorded: Vec<i16> = vec![0; 96_000];
/// let pcm = PcmSamples::new(recorded.into_iter().map(|sample| f32::from(sample) / 32_768.0));
/// let source = Encode::new(pcm, EncoderConfig::default())?;
/// # Ok::<(), voice_audio::opus::InitError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PcmSamples<I>(I);

impl<I: Iterator<Item = f32>> PcmSamples<I> {
    /// Reads from `samples` until there are none.
    pub const fn new(samples: I) -> Self {
        Self(samples)
    }
}

impl<I: Iterator<Item = f32> + Send + 'static> PcmRead for PcmSamples<I> {
    fn read_pcm(&mut self, out: &mut [f32]) -> io::Result<usize> {
        let mut read = 0;
        for (out, sample) in out.iter_mut().zip(&mut self.0) {
            *out = sample;
            read += 1;
        }
        Ok(read)
    }
}

/// One frame's worth.
const BUFFER_LEN: usize = FRAME_SAMPLES * CHANNELS * 2;
/// What full scale is in 16 bits.
const I16_SCALE: f32 = 32_768.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opus::{Channels, Decoder};

    /// All frames, decoded, and how they ended.
    fn play(mut source: impl FrameSource) -> (Vec<f32>, NextFrame) {
        let (mut frame, mut decoder) = (FrameBuf::new(), Decoder::new(Channels::Stereo).unwrap());
        let (mut pcm, mut all) = (vec![0.0; FRAME_SAMPLES * CHANNELS], Vec::new());
        loop {
            match source.next_frame(&mut frame) {
                NextFrame::Ready => {
                    let samples = decoder.decode(frame.as_slice(), &mut pcm).unwrap();
                    all.extend_from_slice(&pcm[..samples * CHANNELS]);
                }
                NextFrame::NotYet => {}
                end => return (all, end),
            }
        }
    }

    fn tone(samples: usize) -> impl Iterator<Item = f32> + Send + 'static {
        (0..samples).flat_map(|n| [(n as f32 * 0.05).sin() * 0.5; 2])
    }

    fn config() -> EncoderConfig {
        EncoderConfig { bitrate: 128_000, ..EncoderConfig::default() }
    }

    #[test]
    fn all_that_was_put_in_is_heard() {
        let source = Encode::new(PcmSamples::new(tone(960 * 3 - 100)), config()).unwrap();
        let delay = source.encoder.lookahead();
        let (heard, end) = play(source);
        assert!(matches!(end, NextFrame::End));
        assert_eq!(heard.len(), 960 * 2 * 4, "the delay does not fit into what the last frame has left");
        let power = |range: std::ops::Range<usize>| {
            let len = range.len() as f32;
            heard[range].iter().map(|value| value * value).sum::<f32>() / len
        };
        let last = (960 * 3 - 100 + delay - 60) * 2;
        assert!(power(last..last + 60) > 0.05, "the end of the tone is there");
        assert!(power(last + 600..heard.len()) < 0.001);
    }

    #[test]
    fn nothing_is_no_frame() {
        let (heard, end) = play(Encode::new(PcmSamples::new(std::iter::empty()), config()).unwrap());
        assert!(heard.is_empty() && matches!(end, NextFrame::End));
    }

    #[test]
    fn bytes_in_odd_pieces_are_the_same_audio() {
        struct Pieces(io::Cursor<Vec<u8>>, usize);
        impl Read for Pieces {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.1 += 1;
                match self.1 % 3 {
                    0 => Err(ErrorKind::Interrupted.into()),
                    1 => Err(ErrorKind::WouldBlock.into()),
                    _ => {
                        let len = buf.len().min(1 + self.1 % 700);
                        self.0.read(&mut buf[..len])
                    }
                }
            }
        }
        let samples: Vec<i16> = tone(5_000).map(|value| (value * 32_767.0) as i16).collect();
        let mut bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        bytes.push(1);
        let pieces = Encode::new(PcmBytes::new(Pieces(io::Cursor::new(bytes), 0)), config()).unwrap();
        let whole = PcmSamples::new(samples.into_iter().map(|sample| f32::from(sample) / I16_SCALE));
        assert_eq!(play(pieces).0, play(Encode::new(whole, config()).unwrap()).0);
    }

    #[test]
    fn an_error_ends_it() {
        let mut calls = 0;
        let pcm = move |out: &mut [f32]| {
            calls += 1;
            if calls == 2 { Err(io::Error::other("gone")) } else { Ok(out.len()) }
        };
        let (heard, end) = play(Encode::new(pcm, config()).unwrap());
        assert_eq!(heard.len(), 960 * 2);
        assert!(matches!(end, NextFrame::Failed(_)));
        let too_many = |out: &mut [f32]| Ok(out.len() + 1);
        assert!(matches!(play(Encode::new(too_many, config()).unwrap()).1, NextFrame::Failed(_)));
    }

    #[test]
    fn mono_is_half_as_many_samples() {
        let config = EncoderConfig { channels: Channels::Mono, ..config() };
        let (heard, _) = play(Encode::new(PcmSamples::new(tone(960)), config).unwrap());
        // 1 920 samples are two frames, and the delay a third.
        assert_eq!(heard.len(), 960 * 2 * 3);
    }
}
