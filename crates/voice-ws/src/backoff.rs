//! How long to wait before the next attempt.

use std::time::Duration;

/// Delays that double with every attempt, jittered, from a seed.
///
/// The first attempt is made at once; each delay after it is between half and all of its step, so that many
/// clients that lost one server do not come back together.
///
/// ```
/// use std::time::Duration;
/// use voice_ws::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15), 7);
/// assert_eq!(backoff.next_delay(), Duration::ZERO);
/// assert!((250..=500).contains(&backoff.next_delay().as_millis()));
/// assert!((500..=1_000).contains(&backoff.next_delay().as_millis()));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    step: Duration,
    cap: Duration,
    attempts: u32,
    rng: fastrand::Rng,
}

impl Backoff {
    /// Creates delays of `step`, `2 × step`, … up to `cap`.
    #[must_use]
    pub fn new(step: Duration, cap: Duration, seed: u64) -> Self {
        // Far beyond use, and safe to multiply.
        let cap = cap.min(Duration::from_secs(u32::MAX as u64));
        Self { step, cap, attempts: 0, rng: fastrand::Rng::with_seed(seed) }
    }

    /// Counts an attempt and returns how long to wait before making it.
    pub fn next_delay(&mut self) -> Duration {
        let attempt = self.attempts;
        self.attempts = attempt.saturating_add(1);
        match attempt {
            0 => Duration::ZERO,
            n => {
                let doubled = self.step.saturating_mul(2u32.saturating_pow(n - 1));
                doubled.min(self.cap).mul_f64(0.5 + self.rng.f64() / 2.0)
            }
        }
    }

    /// How many attempts were counted since the start or the last [`reset`](Self::reset).
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Forgets the attempts: the next one is made at once again.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_attempt_is_made_at_once_and_delays_stay_within_their_bounds() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15), seed);
            assert_eq!(backoff.next_delay(), Duration::ZERO);
            for attempt in 0..40 {
                let step = 500u64.saturating_mul(1 << attempt.min(20)).min(15_000);
                let delay = backoff.next_delay().as_millis() as u64;
                assert!((step / 2..=step).contains(&delay), "seed {seed}, attempt {attempt}: {delay} ms");
            }
            backoff.reset();
            assert_eq!(backoff.next_delay(), Duration::ZERO);
        }
    }
}
