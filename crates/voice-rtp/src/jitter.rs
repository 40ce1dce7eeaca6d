//! How unevenly packets arrive.

use crate::number::Timestamp;

/// Estimates the interarrival jitter of one stream, as reports state it.
///
/// RFC 3550, section 6.4.1 and appendix A.8, in its integer arithmetic: the estimate moves by a
/// sixteenth of each deviation, rounded, and is kept in sixteenths of a tick. It knows no clock; the
/// caller says when a packet arrived, in ticks of the stream's clock.
///
/// ```
/// use std::time::Duration;
/// use voice_rtp::{Jitter, OPUS_CLOCK_HZ, Timestamp};
///
/// let mut jitter = Jitter::new();
/// for (sent_ms, arrived_ms) in [(0, 50), (20, 70), (40, 95), (60, 110)] {
///     let timestamp = Timestamp::new(sent_ms * 48);
///     let arrival = Timestamp::from_duration(Duration::from_millis(arrived_ms), OPUS_CLOCK_HZ);
///     jitter.update(arrival, timestamp);
/// }
/// assert_eq!(jitter.ticks(), 29); // once 5 ms too late: (240 + 240 * 15 / 16) / 16
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Jitter {
    transit: Option<Timestamp>,
    /// In sixteenths of a tick. With deviations below 2^31 it stays below 2^35 + 2^31.
    sixteenths: u64,
}

impl Jitter {
    /// Makes an estimate for a stream of which nothing arrived.
    #[must_use]
    pub const fn new() -> Self {
        Self { transit: None, sixteenths: 0 }
    }

    /// Takes a packet with `timestamp` that arrived at `arrival`.
    ///
    /// `arrival` is on any clock with the rate of the media clock, such as
    /// [`Timestamp::from_duration`] makes; only differences count. Packets are taken in the order of
    /// their arrival, whatever their numbers. The first one is what the second is compared with.
    pub const fn update(&mut self, arrival: Timestamp, timestamp: Timestamp) {
        let transit = Timestamp::new(arrival.get().wrapping_sub(timestamp.get()));
        if let Some(before) = self.transit {
            let deviation = transit.distance(before).unsigned_abs() as u64;
            // What is taken away is never more than there is: (x + 8) / 16 <= x for every x but 0,
            // where it is 0.
            let decay = self.sixteenths.saturating_add(8) >> 4;
            self.sixteenths = self.sixteenths.saturating_add(deviation).saturating_sub(decay);
        }
        self.transit = Some(transit);
    }

    /// Forgets when the last packet arrived, not the estimate.
    ///
    /// For a stream whose timestamps start anew: the step between the old and the new ones says
    /// nothing about the network.
    pub const fn restart(&mut self) {
        self.transit = None;
    }

    /// Returns the estimate in whole ticks, as a report states it.
    #[must_use]
    pub const fn ticks(&self) -> u32 {
        let ticks = self.sixteenths >> 4;
        if ticks > u32::MAX as u64 { u32::MAX } else { ticks as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_arrivals_have_no_jitter_even_across_the_wrap() {
        let mut jitter = Jitter::new();
        let mut timestamp = Timestamp::new(u32::MAX - 5_000);
        let mut arrival = Timestamp::new(u32::MAX - 2_000);
        for _ in 0..100 {
            jitter.update(arrival, timestamp);
            timestamp = timestamp.wrapping_add(960);
            arrival = arrival.wrapping_add(960);
        }
        assert_eq!(jitter, Jitter { sixteenths: 0, ..jitter });
    }

    #[test]
    fn alternating_arrivals_approach_their_deviation() {
        let mut jitter = Jitter::new();
        for step in 0..1_000_u32 {
            jitter.update(Timestamp::new(step * 960 + (step % 2) * 100), Timestamp::new(step * 960));
        }
        assert_eq!(jitter.ticks(), 99, "rounding stops it within half a tick of 100");
    }

    #[test]
    fn the_largest_deviations_do_not_overflow() {
        let mut jitter = Jitter::new();
        for step in 0..10_000_u32 {
            jitter.update(Timestamp::new((step % 2) << 31), Timestamp::new(0));
        }
        assert_eq!(jitter.ticks(), (1 << 31) - 1);
    }

    #[test]
    fn a_restart_keeps_the_estimate_and_ignores_the_step() {
        let mut jitter = Jitter::new();
        jitter.update(Timestamp::new(0), Timestamp::new(0));
        jitter.update(Timestamp::new(1_600), Timestamp::new(0));
        assert_eq!(jitter.ticks(), 100);
        jitter.restart();
        jitter.update(Timestamp::new(3_000), Timestamp::new(1 << 30));
        assert_eq!(jitter.ticks(), 100);
    }
}
