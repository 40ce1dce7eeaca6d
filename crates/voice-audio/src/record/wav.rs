//! Frames, decoded, into a WAV file.

use std::fmt;
use std::io::{self, Seek, Write};

use hound::{SampleFormat, WavSpec};

use super::{Fill, MAX_HELD_FRAMES, Placement, RecordError, RecordOptions, Stamp, Timeline};
use crate::opus::{Channels, DecodeError, Decoder, MAX_PACKET_SAMPLES, Packet};
use crate::{CHANNELS, FRAME_SAMPLES, SAMPLE_RATE, SILENCE_FRAME};

/// Decodes frames to a WAV file, 48 kHz, stereo, 16 bit.
///
/// Frames come with their RTP timestamp, in order; a [`Timeline`] decides on gaps. Up to 100 ms of lost frames are
/// recovered or concealed, more becomes silence. Call [`finish`](Self::finish) to learn of errors.
///
/// ```
/// use std::io::Cursor;
/// use voice_audio::SILENCE_FRAME;
/// use voice_audio::record::{RecordOptions, WavWriter};
///
/// let mut file = Cursor::new(Vec::new());
/// let mut writer = WavWriter::new(&mut file, RecordOptions::default())?;
/// writer.write(0, &[0xFC, 0xFF, 0xFE])?;
/// writer.finish()?;
/// // The header and 20 ms of stereo.
/// assert_eq!(file.into_inner().len(), 44 + 960 * 4);
/// # Ok::<(), voice_audio::record::RecordError>(())
/// ```
pub struct WavWriter<W: Write + Seek> {
    wav: hound::WavWriter<W>,
    decoder: Decoder,
    timeline: Timeline,
    pcm: Vec<f32>,
    /// Samples per channel in the file.
    written: u64,
}

impl<W: Write + Seek> WavWriter<W> {
    /// Writes the head of the file. Of the options, only [`max_gap`](RecordOptions::max_gap) means anything here.
    ///
    /// # Errors
    ///
    /// [`RecordError::Io`], and [`RecordError::Codec`] when the decoder cannot start.
    pub fn new(writer: W, options: RecordOptions) -> Result<Self, RecordError> {
        let spec = WavSpec {
            channels: CHANNELS as u16,
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        Ok(Self {
            wav: hound::WavWriter::new(writer, spec).map_err(wav_error)?,
            decoder: Decoder::new(Channels::Stereo).map_err(RecordError::Codec)?,
            timeline: Timeline::new(options.max_gap),
            pcm: vec![0.0; MAX_PACKET_SAMPLES * CHANNELS],
            written: 0,
        })
    }

    /// Decodes and writes one Opus packet that was sent at `timestamp` (RTP, 48 kHz).
    ///
    /// A packet that is well-formed and yet does not decode is concealed.
    ///
    /// # Errors
    ///
    /// [`RecordError::Packet`], after which writing can go on; [`RecordError::Full`], after which the file can be
    /// finished; and [`RecordError::Io`].
    pub fn write(&mut self, timestamp: u32, frame: &[u8]) -> Result<(), RecordError> {
        let samples = Packet::parse(frame).map_err(RecordError::Packet)?.samples();
        let placement = self.timeline.place(timestamp, samples, frame == SILENCE_FRAME);
        self.write_placed(placement, frame, samples)
    }

    /// The same for a frame of a call: see [`Timeline::place_heard`].
    ///
    /// # Errors
    ///
    /// As of [`write`](Self::write).
    pub fn write_heard(&mut self, stamp: Stamp, frame: &[u8]) -> Result<(), RecordError> {
        let samples = Packet::parse(frame).map_err(RecordError::Packet)?.samples();
        let placement = self.timeline.place_heard(stamp, samples, frame == SILENCE_FRAME);
        self.write_placed(placement, frame, samples)
    }

    fn write_placed(&mut self, placement: Placement, frame: &[u8], samples: usize) -> Result<(), RecordError> {
        match placement {
            Placement::Write(fill) => {
                self.write_gap(fill, Some((frame, samples)))?;
                self.write_decoded(frame, samples)
            }
            Placement::Hold(fill) => self.write_gap(fill, None),
            Placement::Late => Ok(()),
        }
    }

    /// What became of timestamps so far.
    #[must_use]
    pub const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Writes out what there is, with a head that says so: whatever becomes of the program, the file plays up to here.
    ///
    /// # Errors
    ///
    /// [`RecordError::Io`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.wav.flush().map_err(wav_error)
    }

    /// Ends the file, without the up to five silence frames that ended the last talk spurt.
    ///
    /// # Errors
    ///
    /// [`RecordError::Io`].
    pub fn finish(self) -> Result<(), RecordError> {
        self.wav.finalize().map_err(wav_error)
    }

    fn write_gap(&mut self, fill: Fill, next: Option<(&[u8], usize)>) -> Result<(), RecordError> {
        let Ok(samples) = usize::try_from(fill.samples) else {
            return Err(RecordError::Full);
        };
        if samples == 0 {
            return Ok(());
        }
        if fill.lost && samples <= MAX_CONCEALED {
            return self.write_concealed(samples, next);
        }
        // The decoder hears some of the silence, so that what it holds of the last frame fades out here.
        let heard = (samples / FRAME_SAMPLES).min(MAX_HELD_FRAMES);
        for _ in 0..heard {
            self.write_decoded(&SILENCE_FRAME, FRAME_SAMPLES)?;
        }
        self.write_zeros(samples - heard * FRAME_SAMPLES)
    }

    /// Makes up for lost frames; the next may hold a copy of the last of them.
    fn write_concealed(&mut self, samples: usize, next: Option<(&[u8], usize)>) -> Result<(), RecordError> {
        let (recovered, next) = match next {
            Some((next, len)) if len <= samples => (len, next),
            _ => (0, &[][..]),
        };
        if samples > recovered {
            let made = self.decoder.conceal(samples - recovered, &mut self.pcm);
            self.write_made(made, samples - recovered)?;
        }
        if recovered > 0 {
            let made = self.decoder.recover(next, recovered, &mut self.pcm);
            self.write_made(made, recovered)?;
        }
        Ok(())
    }

    fn write_decoded(&mut self, frame: &[u8], samples: usize) -> Result<(), RecordError> {
        let mut made = self.decoder.decode(frame, &mut self.pcm);
        if made.is_err() {
            made = self.decoder.conceal(samples, &mut self.pcm);
        }
        self.write_made(made, samples)
    }

    /// Writes what the decoder made, and silence for what it did not: the clock goes on either way.
    fn write_made(&mut self, made: Result<usize, DecodeError>, wanted: usize) -> Result<(), RecordError> {
        let made = made.unwrap_or(0).min(wanted);
        self.reserve(made)?;
        for value in self.pcm.iter().take(made * CHANNELS) {
            let sample = (value * f32::from(i16::MAX)).round() as i16;
            self.wav.write_sample(sample).map_err(wav_error)?;
        }
        self.write_zeros(wanted - made)
    }

    fn write_zeros(&mut self, samples: usize) -> Result<(), RecordError> {
        self.reserve(samples)?;
        for _ in 0..samples * CHANNELS {
            self.wav.write_sample(0i16).map_err(wav_error)?;
        }
        Ok(())
    }

    fn reserve(&mut self, samples: usize) -> Result<(), RecordError> {
        let written = self.written + samples as u64;
        if written > MAX_SAMPLES {
            return Err(RecordError::Full);
        }
        self.written = written;
        Ok(())
    }
}

impl<W: Write + Seek> fmt::Debug for WavWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WavWriter")
            .field("timeline", &self.timeline)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

fn wav_error(error: hound::Error) -> RecordError {
    match error {
        hound::Error::IoError(error) => RecordError::Io(error),
        other => RecordError::Io(io::Error::other(other)),
    }
}

/// The longest loss to conceal, in samples per channel: 100 ms, after which concealment has faded to nothing.
const MAX_CONCEALED: usize = 5 * FRAME_SAMPLES;

/// What fits the 32-bit lengths of a WAV file beside its header, in samples per channel: 6.2 hours.
const MAX_SAMPLES: u64 = (u32::MAX as u64 - 1024) / 4;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::opus::{Encoder, EncoderConfig};

    /// A tone of 1 000 Hz, encoded.
    fn tone(frames: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
        let mut packet = [0; 1276];
        (0..frames)
            .map(|frame| {
                let pcm: Vec<f32> = (0..FRAME_SAMPLES)
                    .flat_map(|n| {
                        let t = (frame * FRAME_SAMPLES + n) as f32 / SAMPLE_RATE as f32;
                        [0.5 * (core::f32::consts::TAU * 1000.0 * t).sin(); CHANNELS]
                    })
                    .collect();
                let len = encoder.encode(&pcm, &mut packet).unwrap();
                packet[..len].to_vec()
            })
            .collect()
    }

    fn record(frames: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Vec<i16> {
        let mut file = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut file, RecordOptions::default()).unwrap();
        for (timestamp, frame) in frames {
            writer.write(timestamp, &frame).unwrap();
        }
        writer.finish().unwrap();
        file.set_position(0);
        let mut reader = hound::WavReader::new(file).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 48_000));
        reader.samples().map(Result::unwrap).collect()
    }

    fn timed(frames: Vec<Vec<u8>>) -> impl Iterator<Item = (u32, Vec<u8>)> {
        (0..).step_by(FRAME_SAMPLES).zip(frames)
    }

    fn level(pcm: &[i16], frames: core::ops::Range<usize>) -> f64 {
        let part = &pcm[frames.start * FRAME_SAMPLES * CHANNELS..frames.end * FRAME_SAMPLES * CHANNELS];
        let sum: f64 = part.iter().map(|&value| f64::from(value).powi(2)).sum();
        (sum / part.len() as f64).sqrt()
    }

    #[test]
    fn a_tone_is_recorded_at_its_level_and_length() {
        let pcm = record(timed(tone(50)));
        assert_eq!(pcm.len(), 50 * FRAME_SAMPLES * CHANNELS);
        let expected = 0.5 / 2f64.sqrt() * f64::from(i16::MAX);
        assert!((level(&pcm, 5..50) / expected - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_short_loss_is_concealed() {
        let frames = timed(tone(50)).filter(|(timestamp, _)| !(20..22).contains(&(timestamp / 960)));
        let pcm = record(frames);
        assert_eq!(pcm.len(), 50 * FRAME_SAMPLES * CHANNELS);
        assert!(level(&pcm, 20..22) > 0.3 * level(&pcm, 10..20));
    }

    #[test]
    fn a_long_gap_is_silent() {
        let frames = timed(tone(50)).filter(|(timestamp, _)| !(20..40).contains(&(timestamp / 960)));
        let pcm = record(frames);
        assert_eq!(pcm.len(), 50 * FRAME_SAMPLES * CHANNELS);
        assert!(level(&pcm, 22..40) < 1.0);
        assert!(level(&pcm, 42..50) > 1000.0);
    }

    #[test]
    fn the_end_of_a_spurt_is_left_out() {
        let mut frames = tone(10);
        frames.extend(vec![SILENCE_FRAME.to_vec(); 5]);
        assert_eq!(record(timed(frames)).len(), 10 * FRAME_SAMPLES * CHANNELS);
    }

    #[test]
    fn silence_between_spurts_is_kept() {
        let mut frames = tone(10);
        frames.extend(vec![SILENCE_FRAME.to_vec(); 5]);
        frames.extend(tone(10));
        let pcm = record(timed(frames));
        assert_eq!(pcm.len(), 25 * FRAME_SAMPLES * CHANNELS);
        assert!(level(&pcm, 12..15) < 1.0);
    }

    #[test]
    fn frames_of_any_length_keep_the_clock() {
        let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
        let (mut packet, mut timestamp, mut frames) = ([0; 1276], 0, Vec::new());
        for samples in [120, 240, 480, 960, 1920, 2880] {
            let len = encoder.encode(&vec![0.1; samples * CHANNELS], &mut packet).unwrap();
            frames.push((timestamp, packet[..len].to_vec()));
            timestamp += u32::try_from(samples).unwrap();
        }
        assert_eq!(record(frames).len(), timestamp as usize * CHANNELS);
    }

    #[test]
    fn what_does_not_decode_takes_its_time() {
        let mut frames = tone(10);
        // Well-formed framing around noise.
        frames[4] = [&[0xFC][..], &[0xA5; 300]].concat();
        assert_eq!(record(timed(frames)).len(), 10 * FRAME_SAMPLES * CHANNELS);
    }

    #[test]
    fn a_full_file_says_so() {
        let mut writer = WavWriter::new(Cursor::new(Vec::new()), RecordOptions::default()).unwrap();
        writer.written = MAX_SAMPLES - 100;
        assert!(matches!(writer.write(0, &[0xFC, 0xFF, 0xFE]), Err(RecordError::Full)));
    }
}
