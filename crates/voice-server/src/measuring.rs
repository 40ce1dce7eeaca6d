//! A measurement of a running server: its packets, and what its counters did meanwhile.

use std::time::{Duration, Instant};

use voice_rtp::{Kind, RtpHeader, classify};

use crate::measure::Recorder;
use crate::{MeasureLimits, Measurement, ServerStats};

/// A measurement that goes on.
pub(crate) struct Measuring {
    began: Instant,
    recorder: Recorder,
    before: ServerStats,
    has_arrivals: bool,
}

impl Measuring {
    pub(crate) fn new(now: Instant, limits: MeasureLimits, before: ServerStats, has_arrivals: bool) -> Self {
        Self { began: now, recorder: Recorder::new(limits), before, has_arrivals }
    }

    /// Looks at a datagram, of which nothing is known but its bytes.
    pub(crate) fn take(&mut self, arrival: Option<Duration>, datagram: &[u8]) {
        if classify(datagram) == Kind::Rtp
            && let Ok(header) = RtpHeader::parse(datagram)
        {
            self.recorder.record(arrival, header);
        }
    }

    pub(crate) fn end(self, now: Instant, after: ServerStats) -> Ended {
        Ended { measured: now.saturating_duration_since(self.began), measuring: self, after }
    }
}

/// A measurement that has ended, but for the arithmetic.
pub(crate) struct Ended {
    measured: Duration,
    measuring: Measuring,
    after: ServerStats,
}

impl Ended {
    /// Does the arithmetic, which takes a while: tens of nanoseconds for each packet.
    pub(crate) fn finish(self) -> Measurement {
        let Self { measured, measuring: Measuring { recorder, before, has_arrivals, .. }, after } = self;
        Measurement {
            measured,
            kernel_timestamps: has_arrivals,
            receive_overflow: after.receive_overflow - before.receive_overflow,
            unauthentic: after.packets_unauthentic - before.packets_unauthentic,
            malformed: after.packets_malformed - before.packets_malformed,
            unknown: after.packets_unknown - before.packets_unknown,
            refused: after.packets_refused - before.packets_refused,
            not_sent: after.sends_failed - before.sends_failed,
            closes: after.closes - before.closes,
            sessions: after.sessions,
            ..recorder.finish()
        }
    }
}
