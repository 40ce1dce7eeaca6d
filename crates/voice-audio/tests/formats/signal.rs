//! What the files are made of: sound without a period, other on each channel, below 3 kHz so that every rate holds it.

use std::f64::consts::TAU;
use std::fs;
use std::io;
use std::path::Path;

/// How a signal is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Signal {
    /// Hertz.
    pub(crate) rate: u32,
    pub(crate) channels: u16,
}

/// Length of every signal in seconds.
pub(crate) const SECONDS: f64 = 4.0;

impl Signal {
    /// The name of its WAV file.
    pub(crate) fn file_name(self) -> String {
        format!("signal-{}-{}.wav", self.rate, self.channels)
    }

    /// Writes it as a WAV file of 32-bit floating-point samples.
    pub(crate) fn write(self, dir: &Path) -> io::Result<()> {
        let samples = (f64::from(self.rate) * SECONDS) as usize;
        let mut data = Vec::with_capacity(samples * usize::from(self.channels) * 4);
        for sample in 0..samples {
            let t = sample as f64 / f64::from(self.rate);
            for channel in 0..self.channels {
                data.extend_from_slice(&(value(t, channel) as f32).to_le_bytes());
            }
        }
        let block = self.channels * 4;
        let len = data.len() as u32;
        let mut wav = Vec::with_capacity(data.len() + 44);
        wav.extend_from_slice(b"RIFF");
        wav.extend_from_slice(&(36 + len).to_le_bytes());
        wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x03\0");
        wav.extend_from_slice(&self.channels.to_le_bytes());
        wav.extend_from_slice(&self.rate.to_le_bytes());
        wav.extend_from_slice(&(self.rate * u32::from(block)).to_le_bytes());
        wav.extend_from_slice(&block.to_le_bytes());
        wav.extend_from_slice(b"\x20\0data");
        wav.extend_from_slice(&len.to_le_bytes());
        wav.extend_from_slice(&data);
        fs::write(dir.join(self.file_name()), wav)
    }
}

/// Three slow chirps, and a beat that never comes back at the same place.
fn value(t: f64, channel: u16) -> f64 {
    let c = f64::from(channel);
    let low = (TAU * (170.0 + 37.0 * c) * t + 60.0 * t * t).sin();
    let middle = (TAU * ((520.0 + 61.0 * c) * t + (55.0 + 7.0 * c) * t * t)).sin();
    let high = (TAU * ((1_300.0 + 90.0 * c) * t + 110.0 * t * t)).sin();
    let beat = 0.65 + 0.35 * (TAU * (0.7 + 0.13 * c) * t * (1.0 + 0.1 * t)).sin();
    // A channel more is a little quieter, so that swapped ones show in the level too.
    (0.16 * low + 0.13 * middle + 0.06 * high) * beat * (1.0 - 0.08 * c)
}
