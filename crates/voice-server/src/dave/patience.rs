//! How soon a member that could not follow is added again.

use core::time::Duration;
use std::time::Instant;

/// The failures of one member.
///
/// Each is an epoch or two for everybody in the group, so one that never follows has to wait for the next one.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
    last: Option<Instant>,
}

impl Patience {
    /// Notes that the member could not follow.
    pub(crate) fn fail(&mut self, now: Instant) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) >= FORGIVEN) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when it is not added; `None` if it may be at once.
    pub(crate) fn until(&self) -> Option<Instant> {
        let beyond = self.failures.checked_sub(AT_ONCE + 1)?;
        let wait = FIRST_WAIT.saturating_mul(1_u32.checked_shl(beyond).unwrap_or(u32::MAX)).min(LONGEST_WAIT);
        Some(self.last? + wait)
    }
}

/// Failures after which a member is added again at once: one, and one because of the first.
const AT_ONCE: u32 = 2;

const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Short enough for who is well again to be in the call before giving up.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// After so long without a failure the earlier ones do not count.
const FORGIVEN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn waits_grow_to_a_limit_and_are_forgiven() {
        let mut now = Instant::now();
        let mut patience = Patience::default();
        assert_eq!(patience.until(), None);
        for wait in [None, None, Some(1), Some(2), Some(4), Some(8), Some(8)] {
            patience.fail(now);
            assert_eq!(patience.until(), wait.map(|seconds| now + Duration::from_secs(seconds)));
        }
        for _ in 0..100 {
            patience.fail(now);
        }
        assert_eq!(patience.until(), Some(now + LONGEST_WAIT));
        now += FORGIVEN;
        patience.fail(now);
        assert_eq!(patience.until(), None);
    }
}
