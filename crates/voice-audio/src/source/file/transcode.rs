//! Packets of any codec to 20 ms Opus frames.

use std::mem;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::Packet;

use super::input::{TrackInfo, read_error};
use super::mix::Mixer;
use super::resample::{RATES, Resampler};
use super::{OpenError, OpenOptions, ReadError};
use crate::opus::{Channels, Decoder, Encoder, EncoderConfig, MAX_PACKET_SAMPLES};
use crate::{CHANNELS, FRAME_SAMPLES, FrameBuf, SAMPLE_RATE};

/// Decodes, mixes to stereo, resamples to 48 kHz and encodes again.
pub(super) struct Transcoder {
    decoder: PcmDecoder,
    trim: Trim,
    time_in_samples: bool,
    resampler: Option<(u32, Resampler)>,
    encoder: Encoder,
    volume: f32,
    /// One packet of stereo audio at the rate of the file.
    mixed: Vec<f32>,
    /// Stereo audio at 48 kHz that waits for the encoder, from `read` on.
    ready: Vec<f32>,
    read: usize,
    /// Packets in a row that could not be decoded.
    failures: u32,
    any_audio: bool,
    finished: bool,
}

enum PcmDecoder {
    Opus {
        decoder: Decoder,
        gain: f32,
        pcm: Vec<f32>,
        /// Samples per channel of the last packet: what a damaged one is replaced by.
        last: usize,
    },
    Other {
        decoder: Box<dyn AudioDecoder>,
        pcm: Vec<f32>,
        mixer: Mixer,
        channels: Option<symphonia::core::audio::Channels>,
    },
}

impl Transcoder {
    pub(super) fn new(track: &TrackInfo, options: &OpenOptions) -> Result<Self, OpenError> {
        let encoder = Encoder::new(EncoderConfig { bitrate: options.bitrate, ..EncoderConfig::default() })
            .map_err(|error| OpenError::Codec(error.into()))?;
        Ok(Self {
            decoder: PcmDecoder::new(track)?,
            trim: Trim::new(track),
            time_in_samples: track.time_in_samples,
            resampler: None,
            encoder,
            // `max` also turns a NaN into silence.
            volume: options.volume.max(0.0),
            mixed: Vec::new(),
            ready: Vec::new(),
            read: 0,
            failures: 0,
            any_audio: false,
            finished: false,
        })
    }

    /// Goes on with another track of the same file.
    pub(super) fn change_track(&mut self, track: &TrackInfo) -> Result<(), ReadError> {
        self.finish_resampler()?;
        self.decoder = PcmDecoder::new(track).map_err(|error| ReadError::Unsupported(error.into()))?;
        self.trim = Trim::new(track);
        self.time_in_samples = track.time_in_samples;
        Ok(())
    }

    /// Lets the decoder hear packets that were already played, and nothing that comes before the next packet is cut.
    pub(super) fn warm_up<'p>(&mut self, played: impl Iterator<Item = &'p [u8]>) {
        if let PcmDecoder::Opus { decoder, pcm, .. } = &mut self.decoder {
            for packet in played {
                // They are not heard: a bad one among them costs nothing.
                let _ = decoder.decode(packet, pcm);
            }
            self.trim = Trim::default();
        }
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
        if !RATES.contains(&rate) {
            return Err(ReadError::Unsupported("the sample rate is out of range".into()));
        }
        let end_trim = match &self.decoder {
            // The other decoders apply it themselves.
            PcmDecoder::Opus { .. } if self.time_in_samples => packet.trim_end.get(),
            _ => 0,
        };
        let heard = self.trim.apply(&mixed, rate, end_trim);
        self.any_audio |= !heard.is_empty();
        let result = self.resample(rate, heard);
        self.mixed = mixed;
        result
    }

    /// Ends the audio: nothing is fed any more.
    pub(super) fn finish(&mut self) -> Result<(), ReadError> {
        if !mem::replace(&mut self.finished, true) {
            self.finish_resampler()?;
            // The last samples come out of a decoder only when the encoder is pushed by as many more.
            if self.any_audio {
                let len = self.ready.len() + self.encoder.lookahead() * CHANNELS;
                self.ready.resize(len, 0.0);
            }
        }
        Ok(())
    }

    /// Encodes the next frame; `false` when there is not enough audio for it.
    pub(super) fn take_frame(&mut self, out: &mut FrameBuf) -> Result<bool, ReadError> {
        let frame_len = FRAME_SAMPLES * CHANNELS;
        let rest = self.ready.len() - self.read;
        if self.finished && (1..frame_len).contains(&rest) {
            // What is left of the last frame is silence.
            self.ready.resize(self.read + frame_len, 0.0);
        }
        let Some(pcm) = self.ready.get(self.read..self.read + frame_len) else {
            return Ok(false);
        };
        self.encoder.encode_frame(pcm, out).map_err(|error| ReadError::Codec(error.into()))?;
        self.read += frame_len;
        Ok(true)
    }

    fn resample(&mut self, rate: u32, pcm: &[f32]) -> Result<(), ReadError> {
        if self.resampler.as_ref().is_some_and(|(from, _)| *from != rate) {
            self.finish_resampler()?;
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

    fn finish_resampler(&mut self) -> Result<(), ReadError> {
        if let Some((_, mut resampler)) = self.resampler.take() {
            resampler.finish(&mut self.ready).map_err(|error| ReadError::Codec(error.into()))?;
        }
        Ok(())
    }
}

impl PcmDecoder {
    fn new(track: &TrackInfo) -> Result<Self, OpenError> {
        if let Some(head) = &track.opus {
            return Ok(Self::Opus {
                decoder: Decoder::new(Channels::Stereo).map_err(|error| OpenError::Codec(error.into()))?,
                gain: head.gain_factor(),
                pcm: vec![0.0; MAX_PACKET_SAMPLES * CHANNELS],
                last: FRAME_SAMPLES,
            });
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
            Self::Opus { decoder, gain, pcm, last } => {
                let samples = match decoder.decode(&packet.data, pcm) {
                    Ok(samples) => samples,
                    // A damaged packet still takes its time.
                    Err(_) => decoder.conceal(*last, pcm).map_err(|error| ReadError::Malformed(error.into()))?,
                };
                *last = samples;
                out.clear();
                let volume = volume * *gain;
                out.extend(pcm.iter().take(samples * CHANNELS).map(|value| (value * volume).clamp(-1.0, 1.0)));
                Ok(SAMPLE_RATE)
            }
            Self::Other { decoder, pcm, mixer, channels } => {
                let decoded = match decoder.decode(packet) {
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

/// What to cut off the decoded audio, beyond what the decoder cuts itself.
#[derive(Default)]
struct Trim {
    source: TrimSource,
    started: Option<Cut>,
}

#[derive(Clone, Copy, Default)]
enum TrimSource {
    #[default]
    Nothing,
    /// Samples at the start, as Opus states them.
    Start(u64),
    /// What an MP4 edit list keeps.
    Edit(super::edit_list::Edit),
}

/// Samples per channel still to drop, and then to keep.
struct Cut {
    skip: u64,
    take: u64,
}

impl Trim {
    fn new(track: &TrackInfo) -> Self {
        let source = match (track.edit, &track.opus) {
            (Some(edit), _) => TrimSource::Edit(edit),
            (None, Some(head)) => TrimSource::Start(u64::from(head.pre_skip)),
            (None, None) => TrimSource::Nothing,
        };
        Self { source, started: None }
    }

    /// The part of interleaved stereo `pcm` that is heard.
    fn apply<'p>(&mut self, pcm: &'p [f32], rate: u32, end_trim: u64) -> &'p [f32] {
        // The rate is known for certain only with the first packet.
        let cut = self.started.get_or_insert_with(|| match self.source {
            TrimSource::Nothing => Cut { skip: 0, take: u64::MAX },
            TrimSource::Start(skip) => Cut { skip, take: u64::MAX },
            TrimSource::Edit(edit) => {
                Cut { skip: edit.skip_samples(rate), take: edit.take_samples(rate).unwrap_or(u64::MAX) }
            }
        });
        let samples = (pcm.len() / CHANNELS) as u64;
        let end = samples.saturating_sub(end_trim);
        let start = cut.skip.min(end);
        cut.skip -= cut.skip.min(samples);
        let len = (end - start).min(cut.take);
        cut.take -= len;
        // Both are at most `samples`, which came from a length.
        let (start, len) = (start as usize, len as usize);
        pcm.get(start * CHANNELS..(start + len) * CHANNELS).unwrap_or_default()
    }
}

/// Packets in a row that may be undecodable before the file counts as damaged: some seconds of most codecs.
const MAX_FAILURES: u32 = 200;
