//! Time that passes only when the simulation says so.

use std::time::{Duration, Instant};

/// A virtual clock: one instant taken from the system when it is made, and the time that passed since in the
/// simulation.
///
/// ```
/// use std::time::Duration;
/// use voice_testkit::Clock;
///
/// let mut clock = Clock::new();
/// let start = clock.now();
/// clock.advance_to(start + Duration::from_secs(3_600));
/// assert_eq!(clock.elapsed(), Duration::from_secs(3_600));
/// clock.advance_to(start);
/// assert_eq!(clock.elapsed(), Duration::from_secs(3_600), "time never runs backwards");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
    elapsed: Duration,
}

impl Clock {
    /// Starts a clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock; it is taken once")]
    pub fn new() -> Self {
        Self { base: Instant::now(), elapsed: Duration::ZERO }
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.base + self.elapsed
    }

    /// The time since the start.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The instant so long after the start.
    #[must_use]
    pub fn at(&self, since_start: Duration) -> Instant {
        self.base + since_start
    }

    /// Lets time pass up to that instant; one that has passed already changes nothing.
    pub fn advance_to(&mut self, at: Instant) {
        self.elapsed = self.elapsed.max(at.saturating_duration_since(self.base));
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
