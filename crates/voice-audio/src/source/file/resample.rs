//! Stereo audio of any rate to 48 kHz.

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

use crate::{CHANNELS, SAMPLE_RATE};

/// Rates that make sense, in hertz; a header may claim any number and the filter's memory grows with it.
pub(super) const RATES: core::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Resamples a stream chunk by chunk, without its delay and to its exact length.
pub(super) struct Resampler {
    fft: Fft<f32>,
    rate: u32,
    /// Interleaved input that does not fill a chunk yet.
    pending: Vec<f32>,
    chunk_in: usize,
    chunk_out: Vec<f32>,
    /// Samples per channel still to drop at the start: the filter's delay.
    skip: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// From `rate`, which lies in [`RATES`].
    pub(super) fn new(rate: u32) -> Result<Self, rubato::ResamplerConstructionError> {
        let rate_in = rate as usize;
        let fft = Fft::new(rate_in, SAMPLE_RATE as usize, rate_in / 50, CHANNELS, FixedSync::Both)?;
        let chunk_in = fft.input_frames_next();
        Ok(Self {
            rate,
            pending: Vec::with_capacity(chunk_in * CHANNELS),
            chunk_in,
            chunk_out: vec![0.0; fft.output_frames_max() * CHANNELS],
            skip: fft.output_delay(),
            taken: 0,
            given: 0,
            fft,
        })
    }

    /// Takes interleaved samples and appends what is ready to `out`.
    pub(super) fn push(&mut self, mut pcm: &[f32], out: &mut Vec<f32>) -> rubato::ResampleResult<()> {
        let chunk_len = self.chunk_in * CHANNELS;
        self.taken += (pcm.len() / CHANNELS) as u64;
        while !pcm.is_empty() {
            let room = chunk_len - self.pending.len();
            let (now, later) = pcm.split_at(room.min(pcm.len()));
            self.pending.extend_from_slice(now);
            pcm = later;
            if self.pending.len() == chunk_len {
                self.process(out)?;
            }
        }
        Ok(())
    }

    /// Appends what is left to `out`, so that the whole output lasts as long as the whole input.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) -> rubato::ResampleResult<()> {
        let total = (self.taken * u64::from(SAMPLE_RATE)).div_ceil(u64::from(self.rate));
        while self.given < total {
            self.process(out)?;
        }
        let excess = usize::try_from(self.given - total).unwrap_or(usize::MAX);
        out.truncate(out.len().saturating_sub(excess * CHANNELS));
        self.given = total;
        Ok(())
    }

    /// Resamples one chunk; missing input counts as silence.
    fn process(&mut self, out: &mut Vec<f32>) -> rubato::ResampleResult<()> {
        let frames_in = self.pending.len() / CHANNELS;
        self.pending.resize(self.chunk_in * CHANNELS, 0.0);
        let frames_out = self.chunk_out.len() / CHANNELS;
        let input = InterleavedSlice::new(&self.pending, CHANNELS, self.chunk_in)
            .expect("the chunk was resized to this length");
        let mut output = InterleavedSlice::new_mut(&mut self.chunk_out, CHANNELS, frames_out)
            .expect("the chunk was made with this length");
        let indexing = Indexing { partial_len: Some(frames_in), ..Indexing::default() };
        let (_, made) = self.fft.process_into_buffer(&input, &mut output, Some(&indexing))?;
        self.pending.clear();
        let skipped = self.skip.min(made);
        self.skip -= skipped;
        self.given += (made - skipped) as u64;
        out.extend_from_slice(self.chunk_out.get(skipped * CHANNELS..made * CHANNELS).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, samples: usize) -> Vec<f32> {
        (0..samples)
            .flat_map(|n| {
                let t = n as f32 / rate as f32;
                let value = (core::f32::consts::TAU * 440.0 * t).sin();
                [value, -value]
            })
            .collect()
    }

    #[test]
    fn the_output_lines_up_with_the_input_and_lasts_as_long() {
        for (rate, samples, step) in [(44_100, 44_100, 1152), (8_000, 4_001, 7), (96_000, 50_000, 4096)] {
            let mut resampler = Resampler::new(rate).unwrap();
            let mut out = Vec::new();
            for piece in sine(rate, samples).chunks(step * CHANNELS) {
                resampler.push(piece, &mut out).unwrap();
            }
            resampler.finish(&mut out).unwrap();
            let expected = (samples * 48_000).div_ceil(rate as usize);
            assert_eq!(out.len(), expected * CHANNELS, "{rate}");
            let wanted = sine(48_000, expected);
            // The ends ring: the signal starts and stops at once there.
            let inner = 2_000..out.len() - 2_000;
            let worst = out[inner.clone()].iter().zip(&wanted[inner]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.01, "{rate}: {worst}");
        }
    }

    #[test]
    fn nothing_in_is_nothing_out() {
        let mut resampler = Resampler::new(44_100).unwrap();
        let mut out = Vec::new();
        resampler.finish(&mut out).unwrap();
        assert!(out.is_empty());
    }

    #[test]
    fn a_single_sample_comes_out() {
        let mut resampler = Resampler::new(44_100).unwrap();
        let mut out = Vec::new();
        resampler.push(&[1.0, 1.0], &mut out).unwrap();
        resampler.finish(&mut out).unwrap();
        assert_eq!(out.len(), 2 * CHANNELS);
    }

    #[test]
    fn every_rate_in_the_range_is_taken() {
        for rate in [*RATES.start(), 11_025, 22_050, 44_099, *RATES.end()] {
            assert!(Resampler::new(rate).is_ok(), "{rate}");
        }
    }
}
