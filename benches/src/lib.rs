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

    /// The same for long operations that use something up, which is made, and dropped, outside of the time.
    ///
    /// Each is run once a turn. What an operation returns is dropped outside of the time too.
    pub fn measure_prepared<A, B, R, S>(
        name: impl Into<String>,
        time: Duration,
        (mut prepare_ours, mut ours): (impl FnMut() -> A, impl FnMut(A) -> R),
        (mut prepare_floor, mut floor): (impl FnMut() -> B, impl FnMut(B) -> S),
    ) -> Self {
        let mut fastest = [f64::INFINITY; 2];
        let mut spent = Duration::ZERO;
        while spent < time {
            let ours_took = once(prepare_ours(), &mut ours);
            let floor_took = once(prepare_floor(), &mut floor);
            spent += ours_took + floor_took;
            for (fastest, took) in fastest.iter_mut().zip([ours_took, floor_took]) {
                *fastest = fastest.min(took.as_secs_f64() * 1e9);
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
            "{:<44} {}   {} {}   ratio {:.2}",
            self.name,
            Time(self.ours_ns),
            self.other,
            Time(self.floor_ns),
            self.ratio()
        )
    }
}

/// A time in nanoseconds, printed in a unit that suits it.
struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1e5 { write!(f, "{:>8.1} ns", self.0) } else { write!(f, "{:>8.3} ms", self.0 / 1e6) }
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

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn once<A, R>(input: A, operation: &mut impl FnMut(A) -> R) -> Duration {
    let start = Instant::now();
    let output = operation(input);
    let took = start.elapsed();
    drop(output);
    took
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

    #[test]
    fn what_is_prepared_does_not_count() {
        let work = |rounds: u32| (0..rounds).fold(0_u32, |sum, round| std::hint::black_box(sum ^ round));
        let compared = Comparison::measure_prepared(
            "work",
            Duration::from_millis(1),
            (|| work(400_000), |_| work(4_000)),
            (|| work(400_000), |_| work(4_000)),
        );
        assert!((0.1..10.0).contains(&compared.ratio()), "{compared}");
        assert!(compared.ours_ns < 0.1 * once_ns(&mut || work(400_000)), "{compared}");
    }

    fn once_ns(operation: &mut impl FnMut() -> u32) -> f64 {
        once((), &mut |()| operation()).as_secs_f64() * 1e9
    }
}
