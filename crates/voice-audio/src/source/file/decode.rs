//! Packets of any codec to stereo audio of 48 kHz.

use std::mem;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;

use super::input::{TrackInfo, read_error};
use super::mix::Mixer;
use super::opus_decoder::OpusDecoder;
use super::packet::Packet;
use super::resample::{RATES, Resampler};
use super::trim::Trim;
use super::{OpenError, ReadError};
use crate::{CHANNELS, SAMPLE_RATE};

/// Decodes, cuts off what is not heard, mixes to stereo and resamples.
pub(super) struct Decoding {
    decoder: PcmDecoder,
    trim: Trim,
    resampler: Option<(u32, Resampler)>,
    volume: f32,
    /// One packet of stereo audio at the rate of the file.
    mixed: Vec<f32>,
    /// Stereo audio at 48 kHz that waits to be taken, from `read` on.
    ready: Vec<f32>,
    read: usize,
    /// Packets in a row that could not be decoded.
    failures: u32,
    any_decoded: bool,
}

enum PcmDecoder {
    Opus(OpusDecoder),
    Other {
        decoder: Box<dyn AudioDecoder>,
        pcm: Vec<f32>,
        mixer: Mixer,
        channels: Option<symphonia::core::audio::Channels>,
    },
}

impl Decoding {
    pub(super) fn new(track: &TrackInfo, volume: f32) -> Result<Self, OpenError> {
        Ok(Self {
            decoder: PcmDecoder::new(track)?,
            trim: track.trim.clone(),
            resampler: None,
            // `max` also turns a NaN into silence.
            volume: volume.max(0.0),
            mixed: Vec::new(),
            ready: Vec::new(),
            read: 0,
            failures: 0,
            any_decoded: false,
        })
    }

    /// Goes on with another track of the same file.
    pub(super) fn change_track(&mut self, track: &TrackInfo) -> Result<(), ReadError> {
        self.finish()?;
        self.decoder = PcmDecoder::new(track).map_err(|error| ReadError::Unsupported(error.into()))?;
        self.trim = track.trim.clone();
        Ok(())
    }

    /// Lets the decoder hear packets that were already played, and goes on with what was cut off beside them.
    pub(super) fn warm_up<'p>(&mut self, played: impl Iterator<Item = &'p [u8]>, trim: Trim) {
        if let PcmDecoder::Opus(decoder) = &mut self.decoder {
            for packet in played {
                // They are not heard: a bad one among them costs nothing.
                let _ = decoder.decode(packet, 1.0, &mut self.mixed);
            }
        }
        self.trim = trim;
    }

    /// Takes one packet.
    pub(super) fn feed(&mut self, packet: &Packet) -> Result<(), ReadError> {
        self.ready.drain(..self.read);
        self.read = 0;
        let mut mixed = mem::take(&mut self.mixed);
        let result = self.decoder.decode(packet, self.volume, &mut mixed);
        let rate = match result {
            Ok(rate) => rate,
            Err(error) => {
                self.mixed = mixed;
                self.failures += 1;
                return if self.failures > MAX_FAILURES { Err(error) } else { Ok(()) };
            }
        };
        self.failures = 0;
        self.any_decoded = true;
        if !RATES.contains(&rate) {
            return Err(ReadError::Unsupported("the sample rate is out of range".into()));
        }
        // Both ends are at most the number of samples, which came from a length.
        let range = self.trim.next((mixed.len() / CHANNELS) as u64, rate, packet).range;
        let heard = mixed.get(range.start as usize * CHANNELS..range.end as usize * CHANNELS).unwrap_or_default();
        let result = self.resample(rate, heard);
        self.mixed = mixed;
        result
    }

    /// Interleaved audio that is ready.
    pub(super) fn ready(&self) -> &[f32] {
        self.ready.get(self.read..).unwrap_or_default()
    }

    /// Takes away so many samples of what is ready, all channels together.
    pub(super) fn consume(&mut self, samples: usize) {
        self.read = self.read.saturating_add(samples).min(self.ready.len());
    }

    fn resample(&mut self, rate: u32, pcm: &[f32]) -> Result<(), ReadError> {
        if self.resampler.as_ref().is_some_and(|(from, _)| *from != rate) {
            self.finish()?;
        }
        if rate == SAMPLE_RATE {
            self.ready.extend_from_slice(pcm);
            return Ok(());
        }
        let resampler = match &mut self.resampler {
            Some((_, resampler)) => resampler,
            none => {
                let new = Resampler::new(rate).map_err(|error| ReadError::Codec(error.into()))?;
                &mut none.insert((rate, new)).1
            }
        };
        resampler.push(pcm, &mut self.ready).map_err(|error| ReadError::Codec(error.into()))
    }

    /// Makes the last of the audio ready: no more comes of this track, or at this rate.
    ///
    /// # Errors
    ///
    /// [`ReadError`] also when there were packets, and none of them could be decoded.
    pub(super) fn finish(&mut self) -> Result<(), ReadError> {
        if self.failures > 0 && !self.any_decoded {
            return Err(ReadError::Malformed("none of the packets could be decoded".into()));
        }
        if let Some((_, mut resampler)) = self.resampler.take() {
            resampler.finish(&mut self.ready).map_err(|error| ReadError::Codec(error.into()))?;
        }
        Ok(())
    }
}

impl PcmDecoder {
    fn new(track: &TrackInfo) -> Result<Self, OpenError> {
        if let Some(head) = &track.opus {
            return OpusDecoder::new(head).map(Self::Opus);
        }
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(&track.codec, &AudioDecoderOptions::default())
            .map_err(|_| OpenError::UnsupportedCodec)?;
        Ok(Self::Other {
            decoder,
            pcm: Vec::new(),
            mixer: Mixer::new(&symphonia::core::audio::Channels::Discrete(2)),
            channels: None,
        })
    }

    /// Replaces `out` by the stereo audio of `packet` and returns its rate in hertz.
    fn decode(&mut self, packet: &Packet, volume: f32, out: &mut Vec<f32>) -> Result<u32, ReadError> {
        match self {
            Self::Opus(decoder) => {
                decoder.decode(packet.data(), volume, out).map_err(|error| ReadError::Malformed(error.into()))?;
                Ok(SAMPLE_RATE)
            }
            Self::Other { decoder, pcm, mixer, channels } => {
                let decoded = match decoder.decode(&packet.coded) {
                    Ok(decoded) => decoded,
                    Err(error @ (Error::DecodeError(_) | Error::IoError(_) | Error::LimitError(_))) => {
                        return Err(ReadError::Malformed(error.into()));
                    }
                    Err(error) => return Err(read_error(error)),
                };
                let spec = decoded.spec();
                if channels.as_ref() != Some(spec.channels()) {
                    *mixer = Mixer::new(spec.channels());
                    *channels = Some(spec.channels().clone());
                }
                let rate = spec.rate();
                decoded.copy_to_vec_interleaved(pcm);
                mixer.mix(pcm, volume, out);
                Ok(rate)
            }
        }
    }
}

/// Packets in a row that may be undecodable before the file counts as damaged: some seconds of most codecs.
const MAX_FAILURES: u32 = 200;
