//! How long things took, in few bytes.

use std::{fmt, time::Duration};

/// A distribution of durations from a microsecond to about four seconds, four steps to an octave: a quantile is at most a
/// quarter too high, and too low only by what is lost to whole microseconds. Of fixed size, so that recording allocates nothing and every call can have one.
///
/// ```
/// use std::time::Duration;
/// use discord_voice::Histogram;
///
/// let mut lateness = Histogram::default();
/// (1..=100).for_each(|n| lateness.record(Duration::from_micros(n)));
/// assert_eq!(lateness.count(), 100);
/// assert_eq!(lateness.max(), Duration::from_micros(100));
/// assert_eq!(lateness.quantile(0.5), Duration::from_micros(55));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    max: Duration,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.max = self.max.max(duration);
    }

    /// Any of it, to have it read.
    #[cfg(feature = "tokio")]
    pub(crate) const fn first(&self) -> u64 {
        self.counts[PREFETCHED] ^ self.max.subsec_nanos() as u64
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The longest of all.
    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// What so large a part of all is not longer than: 0.99 for the 99th percentile. Zero when nothing was counted.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (part.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in self.buckets() {
            seen += count;
            if seen >= rank {
                return bound.min(self.max);
            }
        }
        self.max
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.max = self.max.max(other.max);
    }

    /// What was counted, from the shortest on: the upper bound of each step, and how many were in it. The last step has no
    /// bound; it is told with the longest of all.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bounds = (0..BUCKETS - 1).map(|bucket| Duration::from_micros(upper(bucket)));
        bounds.chain([self.max]).zip(self.counts)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], max: Duration::ZERO }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| self.quantile(part));
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &p50)
            .field("p99", &p99)
            .field("p99_9", &p999)
            .field("max", &self.max)
            .finish()
    }
}

/// Below four microseconds each has its own step; from there on the two bits after the first one tell it.
const fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let octave = micros.ilog2();
    let step = (micros >> (octave - STEP_BITS)) & (STEPS - 1);
    let bucket = (octave - STEP_BITS + 1) as usize * STEPS as usize + step as usize;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The largest number of microseconds in a bucket.
const fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64 + 1;
    if bucket < STEPS {
        return bucket - 1;
    }
    let octave = bucket / STEPS + STEP_BITS as u64 - 1;
    (((bucket % STEPS) + STEPS) << (octave - STEP_BITS as u64)) - 1
}

/// A bucket that is used often: 96 us.
#[cfg(feature = "tokio")]
const PREFETCHED: usize = 22;
const STEP_BITS: u32 = 2;
const STEPS: u64 = 1 << STEP_BITS;
/// The last one begins at 2^22 microseconds.
const BUCKETS: usize = 85;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_meet_without_a_gap_and_are_a_quarter_of_an_octave() {
        for bucket_number in 0..BUCKETS - 1 {
            let last = upper(bucket_number);
            assert_eq!(bucket(last), bucket_number, "{last} us");
            assert_eq!(bucket(last + 1), bucket_number + 1, "{} us", last + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper(BUCKETS - 2) + 1, 1 << 22);
    }

    #[test]
    fn quantiles_are_never_too_low_and_hardly_too_high() {
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|n| histogram.record(Duration::from_micros(n)));
        for (part, exact) in [(0.5, 5_000.0), (0.9, 9_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let ratio = histogram.quantile(part).as_secs_f64() * 1e6 / exact;
            assert!((1.0..=1.25).contains(&ratio), "{part}: {ratio}");
        }
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
    }

    #[test]
    fn what_is_merged_counts_as_if_recorded_here() {
        let (mut one, mut other, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for n in 0..1_000 {
            let duration = Duration::from_micros(n * n);
            if n % 3 == 0 {
                one.record(duration)
            } else {
                other.record(duration)
            }
            both.record(duration);
        }
        one.merge(&other);
        assert_eq!(one, both);
    }
}
