//! All streams of a measurement.

use core::time::Duration;
use std::collections::HashMap;

use voice_rtp::RtpHeader;

use super::spread::{Spread, median};
use super::stream::{Stream, Taken, UNIT};
use super::{MeasureLimits, Measurement};

/// Keeps what arrives, and makes a [`Measurement`] of it.
pub(crate) struct Recorder {
    limits: MeasureLimits,
    by_ssrc: HashMap<u32, usize>,
    streams: Vec<Stream>,
    samples: usize,
    unsampled: u64,
    untracked: u64,
}

impl Recorder {
    pub(crate) fn new(limits: MeasureLimits) -> Self {
        let (by_ssrc, streams) = (HashMap::new(), Vec::new());
        Self { limits, by_ssrc, streams, samples: 0, unsampled: 0, untracked: 0 }
    }

    /// Takes a packet that came at this time since some moment, if that is known.
    pub(crate) fn record(&mut self, arrival: Option<Duration>, header: RtpHeader) {
        let Self { limits, by_ssrc, streams, .. } = self;
        let known = by_ssrc.get(&header.ssrc.get()).copied();
        let index = match known {
            Some(index) => index,
            None if streams.len() >= limits.streams => {
                self.untracked += 1;
                return;
            }
            None => {
                streams.push(Stream::new(header));
                by_ssrc.insert(header.ssrc.get(), streams.len() - 1);
                streams.len() - 1
            }
        };
        let Some(stream) = streams.get_mut(index) else { return };
        match stream.receive(header, arrival, self.samples < limits.samples) {
            Taken::Sampled => self.samples += 1,
            Taken::Unsampled => self.unsampled += 1,
            Taken::Duplicate => {}
        }
    }

    /// What the packets say; everything else is left at zero.
    pub(crate) fn finish(self) -> Measurement {
        let Self { streams, samples, unsampled, untracked, .. } = self;
        let mut measurement = Measurement {
            streams: streams.len() as u64,
            packets: untracked,
            unsampled,
            untracked,
            ..Default::default()
        };
        let mut deviations = Vec::with_capacity(samples);
        let mut jitters = Vec::with_capacity(streams.len());
        for mut stream in streams {
            let counts = stream.total();
            measurement.packets += counts.packets;
            measurement.lost += counts.lost;
            measurement.gaps += counts.gaps;
            measurement.skipped += counts.skipped;
            measurement.out_of_order += counts.out_of_order;
            measurement.duplicates += counts.duplicates;
            jitters.push(u32::try_from(stream.jitter().as_nanos()).unwrap_or(u32::MAX));
            if let Some(median) = median(&mut stream.samples) {
                deviations.extend(stream.samples.iter().map(|sample| sample.abs_diff(median)));
            }
        }
        measurement.deviation = Spread::of(&mut deviations, UNIT);
        measurement.jitter = Spread::of(&mut jitters, Duration::from_nanos(1));
        measurement
    }
}
