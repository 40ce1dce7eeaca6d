//! What the process has used, and figures made of many.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// What this process has used so far. What the system does not tell is `None`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// When this was asked.
    pub(crate) at: Instant,
    /// Processor time in user and system mode, of all threads.
    pub(crate) cpu: Duration,
    /// How often its threads waited for something.
    pub(crate) voluntary: Option<u64>,
    /// How often a thread had to make room for another.
    pub(crate) involuntary: Option<u64>,
}

impl Usage {
    /// Asks the system.
    pub(crate) fn now() -> Self {
        Self {
            voluntary: switches("voluntary_ctxt_switches:"),
            involuntary: switches("nonvoluntary_ctxt_switches:"),
            cpu: cpu_time(),
            at: now(),
        }
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The memory that is in use, in KiB.
pub(crate) fn resident_kib() -> Option<u64> {
    number_after("VmRSS:", &fs::read_to_string("/proc/self/status").ok()?)
}

/// How many threads there are.
pub(crate) fn threads() -> Option<usize> {
    Some(fs::read_dir("/proc/self/task").ok()?.count())
}

/// A counter of all threads that are there.
fn switches(name: &str) -> Option<u64> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    // A thread may be gone before it is asked.
    let texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    Some(texts.filter_map(|text| number_after(name, &text)).sum())
}

/// The number in the line that begins with a name.
fn number_after(name: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Of many durations: the middle one, the one that 99 % do not exceed, and the longest, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    /// `None` if there are none.
    pub(crate) fn of(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        sorted.sort_unstable();
        let rank = |permille| percentile(&sorted, permille).map(|duration| rounded(duration.as_secs_f64() * 1e3, 3));
        Some(Self { p50: rank(500)?, p99: rank(990)?, max: rank(1_000)? })
    }
}

/// The smallest value that so many thousandths of the sorted values do not exceed.
fn percentile(sorted: &[Duration], permille: usize) -> Option<Duration> {
    let rank = (sorted.len() * permille).div_ceil(1_000);
    sorted.get(rank.max(1) - 1).copied()
}

/// A number with so many decimals.
pub(crate) fn rounded(number: f64, decimals: i32) -> f64 {
    let unit = 10_f64.powi(decimals);
    (number * unit).round() / unit
}

#[expect(clippy::disallowed_methods, reason = "a load generator measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(range: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        range.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(Spread::of(millis((1..=200).rev())), Some(Spread { p50: 100.0, p99: 198.0, max: 200.0 }));
        assert_eq!(Spread::of(millis([7])), Some(Spread { p50: 7.0, p99: 7.0, max: 7.0 }));
        assert_eq!(Spread::of(millis([1, 2])), Some(Spread { p50: 1.0, p99: 2.0, max: 2.0 }));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([Duration::from_nanos(1_234_567)]).map(|spread| spread.max), Some(1.235));
    }

    #[test]
    fn lines_of_the_system_are_read() {
        let text = "Name:\tload\nVmRSS:\t   12345 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(number_after("VmRSS:", text), Some(12_345));
        assert_eq!(number_after("voluntary_ctxt_switches:", text), Some(7));
        assert_eq!(number_after("nonvoluntary_ctxt_switches:", text), Some(9));
        assert_eq!(number_after("Threads:", text), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_is_seen() {
        let before = Usage::now();
        let sum = (0..2_000_000_u64).fold(0, |sum: u64, number| std::hint::black_box(sum.wrapping_add(number)));
        assert!(sum > 0 && Usage::now().cpu > before.cpu);
        assert!(resident_kib() > Some(100) && threads() >= Some(1) && before.voluntary.is_some());
    }
}
