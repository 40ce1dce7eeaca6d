//! What follows the loss of a socket: the close codes' policy, and how often each was used.

use std::time::Instant;

use voice_model::{CloseAction, CloseCode, ClosePolicy};

use crate::{Advice, Cause, SessionConfig, event::ProtocolViolation};

/// What a session does after it lost its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Open another socket and resume there.
    Resume,
    /// Open another socket and identify there.
    Identify,
    End(Advice),
}

/// Remembers which causes were met since the session last ran well, for the limits of their policies.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Newest first.
    met: Vec<(CloseCode, Instant)>,
}

impl Ledger {
    /// `established`: there is a session that could be resumed.
    pub(crate) fn judge(&mut self, now: Instant, config: &SessionConfig, cause: Cause, established: bool) -> Verdict {
        let code = match cause {
            Cause::Closed(code) => code,
            Cause::Left => return Verdict::End(Advice::Stop),
            Cause::Protocol(ProtocolViolation::MessageTooBig) => CloseCode::MESSAGE_TOO_BIG,
            Cause::Protocol(_) => return Verdict::End(Advice::Rejoin),
            _ => CloseCode::ABNORMAL,
        };
        let policy = config.policy(code, established);
        let earlier = self.earlier(now, code, &policy);
        let too_big = code == CloseCode::MESSAGE_TOO_BIG;
        if policy.limit.is_some() || too_big {
            self.met.truncate(MAX_ENTRIES - 1);
            self.met.insert(0, (code, now));
        }
        // The same message may come with every replay.
        if too_big && earlier >= MAX_TOO_BIG {
            return Verdict::End(Advice::Rejoin);
        }
        match policy.action_after(earlier) {
            CloseAction::Resume if established => Verdict::Resume,
            CloseAction::Resume | CloseAction::Identify => Verdict::Identify,
            CloseAction::Rejoin => Verdict::End(Advice::Rejoin),
            CloseAction::Wait => Verdict::End(Advice::Wait),
            CloseAction::Stop => Verdict::End(Advice::Stop),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.met.clear();
    }

    fn earlier(&self, now: Instant, code: CloseCode, policy: &ClosePolicy) -> u32 {
        let window = policy.limit.and_then(|limit| limit.window);
        let counts = |at: &Instant| window.is_none_or(|window| now.saturating_duration_since(*at) <= window);
        let earlier = self.met.iter().filter(|(met, at)| *met == code && counts(at)).count();
        u32::try_from(earlier).unwrap_or(u32::MAX)
    }
}

/// More than any limit of a policy.
const MAX_ENTRIES: usize = 64;
/// Messages of more than 1 MiB, one way or the other, after which resuming is given up.
const MAX_TOO_BIG: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_code_are_counted_since_the_session_ran_well() {
        let now = start();
        let (mut ledger, config) = (Ledger::default(), SessionConfig::default());
        let timeout = Cause::Closed(CloseCode::SESSION_TIMEOUT);
        assert_eq!(ledger.judge(now, &config, timeout, true), Verdict::Resume);
        assert_eq!(ledger.judge(now, &config, timeout, true), Verdict::End(Advice::Rejoin));
        ledger.clear();
        assert_eq!(ledger.judge(now, &config, timeout, true), Verdict::Resume);
    }

    #[test]
    fn codes_without_a_future_stop() {
        let now = start();
        for code in [CloseCode::E2EE_REQUIRED, CloseCode::UNKNOWN_PROTOCOL, CloseCode::RATE_LIMITED] {
            for established in [false, true] {
                let verdict = Ledger::default().judge(now, &SessionConfig::default(), Cause::Closed(code), established);
                assert_eq!(verdict, Verdict::End(Advice::Stop), "{code}");
            }
        }
    }

    #[test]
    fn only_the_main_gateway_can_tell_what_a_disconnect_means() {
        for code in [CloseCode::DISCONNECTED, CloseCode::CALL_TERMINATED] {
            let verdict = Ledger::default().judge(start(), &SessionConfig::default(), Cause::Closed(code), true);
            assert_eq!(verdict, Verdict::End(Advice::Wait));
        }
    }

    #[test]
    fn the_caller_decides_otherwise() {
        let mut config = SessionConfig::default();
        let resume = ClosePolicy::new(CloseAction::Resume).at_most(1, CloseAction::Stop);
        config.close_policies.insert(CloseCode::DISCONNECTED, resume);
        let mut ledger = Ledger::default();
        let kicked = Cause::Closed(CloseCode::DISCONNECTED);
        assert_eq!(ledger.judge(start(), &config, kicked, true), Verdict::Resume);
        assert_eq!(ledger.judge(start(), &config, kicked, true), Verdict::End(Advice::Stop));
        assert_eq!(Ledger::default().judge(start(), &config, kicked, false), Verdict::Identify);
        let other = ledger.judge(start(), &config, Cause::Closed(CloseCode::CALL_TERMINATED), true);
        assert_eq!(other, Verdict::End(Advice::Wait));
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }
}
