//! A measurement of a running server: its packets, and what its counters did meanwhile.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use voice_rtp::{Kind, RtpHeader, classify};

use crate::driver::Order;
use crate::measure::Recorder;
use crate::{MeasureLimits, Measurement, Server, ServerStats};

impl Server {
    /// Begins to measure what arrives; what was measured before is forgotten.
    ///
    /// # Errors
    ///
    /// Returns [`MeasureError::Stopped`] when the server has stopped.
    pub async fn measure_begin(&self, limits: MeasureLimits) -> Result<(), MeasureError> {
        let (done, begun) = oneshot::channel();
        self.order(Order::Begin(limits, done)).await?;
        begun.await.map_err(|_| MeasureError::Stopped)
    }

    /// Ends a measurement and says what it found.
    ///
    /// ```
    /// use voice_server::{MeasureLimits, Server, ServerConfig};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let server = Server::bind(ServerConfig::default()).await?;
    /// server.measure_begin(MeasureLimits::default()).await?;
    /// // Here clients send.
    /// let measurement = server.measure_end().await?;
    /// println!("{} lost, 99 % within {:?} of their grid", measurement.lost, measurement.deviation.p99);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`MeasureError`] when nothing is measured, or the server has stopped.
    pub async fn measure_end(&self) -> Result<Measurement, MeasureError> {
        let (done, ended) = oneshot::channel();
        self.order(Order::End(done)).await?;
        let ended = ended.await.map_err(|_| MeasureError::Stopped)?.ok_or(MeasureError::NotMeasuring)?;
        // Long enough to be noticed by everything else that happens on this thread.
        tokio::task::spawn_blocking(|| ended.finish()).await.map_err(|_| MeasureError::Stopped)
    }
}

/// Why there is no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MeasureError {
    /// None was begun.
    NotMeasuring,
    /// The server has stopped.
    Stopped,
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMeasuring => "no measurement was begun",
            Self::Stopped => "the server has stopped",
        })
    }
}

impl std::error::Error for MeasureError {}

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
            refused: after.packets_refused + after.packets_early - before.packets_refused - before.packets_early,
            not_sent: after.sends_failed - before.sends_failed,
            closes: after.closes - before.closes,
            sessions: after.sessions,
            ..recorder.finish()
        }
    }
}
