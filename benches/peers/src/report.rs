//! The line of JSON that a program prints; its keys are those of the project's own `load`.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use crate::Error;

/// What a load cost. What does not apply is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The program.
    pub program: &'static str,
    /// What the calls did.
    pub mode: &'static str,
    /// How many calls there were.
    pub calls: u32,
    /// For how long was measured.
    pub seconds: f64,
    /// Whether calls were encrypted end to end.
    pub dave: bool,
    /// From joining to being connected, per call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<Percentiles>,
    /// From being connected to the arrival of the first packet, per call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_rtp_ms: Option<Percentiles>,
    /// From the first join until all were connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_all_s: Option<f64>,
    /// Processor time, user and system, while it was measured.
    pub client_cpu_s: f64,
    /// The same per call and second.
    pub client_cpu_ms_per_call_s: f64,
    /// Resident memory before the first call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_start_kib: Option<u64>,
    /// Resident memory with all calls connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_connected_kib: Option<u64>,
    /// Resident memory at the end of the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_playing_kib: Option<u64>,
    /// What a connected call adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kib_per_idle_call: Option<f64>,
    /// What a playing call adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kib_per_playing_call: Option<f64>,
    /// Threads of the program.
    pub threads: u64,
    /// What the calls should have sent while it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_expected: Option<u64>,
    /// What is particular to the program.
    #[serde(flatten)]
    pub own: serde_json::Map<String, Value>,
    /// What arrived, as the server tells.
    pub server: Option<Value>,
}

impl Report {
    /// Writes it to the standard output, in one line.
    ///
    /// # Errors
    ///
    /// [`Error::Report`] when that fails.
    pub fn print(&self) -> Result<(), Error> {
        let line = serde_json::to_string(self).map_err(|error| Error::Report { source: error.into() })?;
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|source| Error::Report { source })
    }

    /// Enters the processor time of so many calls over so much time.
    pub fn set_cpu(&mut self, cpu: Duration, calls: u32, measured: Duration) {
        self.seconds = round(measured.as_secs_f64(), 3);
        self.client_cpu_s = round(cpu.as_secs_f64(), 4);
        self.client_cpu_ms_per_call_s = round(cpu.as_secs_f64() * 1e3 / (f64::from(calls) * measured.as_secs_f64()), 4);
    }
}

/// Where the values of a sample lie, in the sample's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them are not higher.
    pub p50: f64,
    /// 99 of 100 are not higher.
    pub p99: f64,
    /// The highest.
    pub max: f64,
}

impl Percentiles {
    /// Of these times, in milliseconds; nothing without any.
    #[must_use]
    pub fn of_ms(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let max = times.last()?.as_secs_f64() * 1e3;
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1].as_secs_f64() * 1e3;
        Some(Self { p50: round(at(50), 3), p99: round(at(99), 3), max: round(max, 3) })
    }
}

/// A difference of memory per call, in KiB.
#[must_use]
pub fn per_call(before_kib: u64, after_kib: u64, calls: u32) -> f64 {
    round((after_kib as f64 - before_kib as f64) / f64::from(calls), 1)
}

/// With so many digits behind the point.
#[must_use]
pub fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let ms = |range: std::ops::RangeInclusive<u64>| range.map(Duration::from_millis).collect::<Vec<_>>();
        assert_eq!(Percentiles::of_ms(ms(1..=100)), Some(Percentiles { p50: 50.0, p99: 99.0, max: 100.0 }));
        assert_eq!(Percentiles::of_ms(ms(7..=7)), Some(Percentiles { p50: 7.0, p99: 7.0, max: 7.0 }));
        assert_eq!(Percentiles::of_ms(Vec::new()), None);
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let mut report = Report { program: "floor-send", mode: "passthrough", calls: 2, ..Report::default() };
        report.set_cpu(Duration::from_millis(4), 2, Duration::from_secs(2));
        let value = serde_json::to_value(&report).expect("numbers and texts");
        assert_eq!(value["client_cpu_ms_per_call_s"], 1.0);
        assert!(value.get("connect_ms").is_none());
        assert!(value["server"].is_null());
    }
}
