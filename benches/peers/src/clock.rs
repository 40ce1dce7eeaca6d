//! The one place that reads the clock and waits.

use std::{num::NonZeroU64, time::Duration};

use rustix::{
    io::Errno,
    thread::{clock_nanosleep_absolute, set_current_timer_slack},
    time::{ClockId, Timespec, clock_gettime},
};

/// A point in time, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        Self(time.tv_sec.unsigned_abs() * NANOS_PER_SECOND + time.tv_nsec.unsigned_abs())
    }

    /// So much later.
    #[must_use]
    pub const fn plus(self, later: Duration) -> Self {
        Self(self.0 + later.as_nanos() as u64)
    }

    /// How long ago that was; zero for what is still to come.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(Self::now().0.saturating_sub(self.0))
    }

    /// How much later this is than `earlier`; zero when it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Waits until then, and not at all for what is over.
    ///
    /// # Panics
    ///
    /// When the system has no monotonic clock.
    pub fn wait(self) {
        let until = Timespec {
            tv_sec: (self.0 / NANOS_PER_SECOND).cast_signed(),
            tv_nsec: (self.0 % NANOS_PER_SECOND).cast_signed(),
        };
        while let Err(error) = clock_nanosleep_absolute(ClockId::Monotonic, &until) {
            assert_eq!(error, Errno::INTR, "the clock can be waited for");
        }
    }
}

/// Waits so long.
pub fn wait(duration: Duration) {
    Time::now().plus(duration).wait();
}

/// Has the system wake this thread as exactly as it can, instead of within its usual 50 µs.
pub fn wake_exactly() {
    // Without it the thread is a little late, which the figures then show.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
