//! Measuring two operations side by side.
//!
//! On a shared machine a slow second hits whatever runs in it. So the operations take turns in
//! short batches, and of each only its fastest batch counts: both had the same chance of a quiet
//! moment, and their ratio is steadier than either number.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

/// What an operation costs, and the least it could cost or what it costs elsewhere.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What is measured.
    pub name: String,
    /// The fastest batch of the operation, in nanoseconds per call.
    pub ours_ns: f64,
    /// The fastest batch of the floor, in nanoseconds per call.
    pub floor_ns: f64,
    /// What it is compared with: `"floor"` unless [`against`](Self::against) says otherwise.
    pub other: &'static str,
}

impl Comparison {
    /// Runs `ours` and `floor` in turns for about `time` and keeps the fastest batch of each.
    pub fn measure(name: impl Into<String>, time: Duration, mut ours: impl FnMut(), mut floor: impl FnMut()) -> Self {
        let calls = batch_size(&mut floor);
        let mut fastest = [f64::INFINITY; 2];
        let mut spent = Duration::ZERO;
        while spent < time {
            let ours_took = batch(calls, &mut ours);
            let floor_took = batch(calls, &mut floor);
            spent += ours_took + floor_took;
            for (fastest, took) in fastest.iter_mut().zip([ours_took, floor_took]) {
                *fastest = fastest.min(took.as_secs_f64() * 1e9 / f64::from(calls));
            }
        }
        let [ours_ns, floor_ns] = fastest;
        Self { name: name.into(), ours_ns, floor_ns, other: "floor" }
    }

    /// Names what was measured in place of a floor.
    #[must_use]
    pub fn against(self, other: &'static str) -> Self {
        Self { other, ..self }
    }

    /// Returns how many times the floor the operation costs.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.ours_ns / self.floor_ns
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<44} {:>8.1} ns   {} {:>8.1} ns   ratio {:.2}",
            self.name,
            self.ours_ns,
            self.other,
            self.floor_ns,
            self.ratio()
        )
    }
}

/// Finds how many calls take about [`BATCH`], so that reading the clock does not count.
fn batch_size(operation: &mut impl FnMut()) -> u32 {
    let mut calls = 1;
    while calls < MAX_CALLS && batch(calls, operation) < BATCH {
        calls *= 2;
    }
    calls
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn batch(calls: u32, operation: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        operation();
    }
    start.elapsed()
}

/// How long a batch should take: long for the clock, short for the scheduler.
const BATCH: Duration = Duration::from_micros(100);

/// Bounds the search when the optimiser left nothing of an operation.
const MAX_CALLS: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_work_has_a_ratio_well_above_one() {
        let work = |rounds: u32| {
            let mut sum = 0_u32;
            for round in 0..std::hint::black_box(rounds) {
                sum = std::hint::black_box(sum.wrapping_mul(31) ^ round);
            }
        };
        let compared = Comparison::measure("work", Duration::from_millis(20), || work(4_000), || work(1_000));
        assert!(compared.ratio() > 2.0, "{compared}");
    }
}
