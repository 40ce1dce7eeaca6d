//! Sockets: opening one, losing it, and what follows.

use std::time::Instant;

use voice_model::CloseCode;

use super::{Session, State};
use crate::{
    Advice, Backoff, Cause, Ended, Output, ProtocolViolation, SessionConfig, SessionEvent, config::later,
    policy::Verdict,
};

/// The attempts since the session last ran well.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) backoff: Backoff,
    /// Failed attempts in a row, to shake hands or to resume.
    failures: u32,
    /// Until when attempts are made. `None` while the session runs.
    give_up_at: Option<Instant>,
}

impl Trouble {
    pub(super) fn new(now: Instant, config: &SessionConfig, seed: u64) -> Self {
        let mut backoff = Backoff::new(config.backoff_step, config.backoff_cap, seed);
        // The attempt that a new session makes at once.
        backoff.next_delay();
        Self { backoff, failures: 0, give_up_at: Some(later(now, config.handshake_timeout)) }
    }

    /// The deadline, or the end of all attempts if that comes first.
    pub(super) fn limit(&self, deadline: Instant) -> Instant {
        self.give_up_at.map_or(deadline, |at| at.min(deadline))
    }

    /// The session runs; it shows yet whether for long.
    pub(super) const fn run(&mut self) {
        self.give_up_at = None;
    }

    /// All is well.
    pub(super) const fn over(&mut self) {
        (self.failures, self.give_up_at) = (0, None);
    }
}

/// What a resumed session has to show before it counts as resumed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    until: Instant,
    /// The server has acknowledged a heartbeat on the present socket.
    is_answered: bool,
}

impl Trial {
    pub(super) const fn new(until: Instant) -> Self {
        Self { until, is_answered: false }
    }

    pub(super) const fn handle_answer(&mut self) {
        self.is_answered = true;
    }

    pub(super) fn is_passed(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| now >= at)
    }

    /// When it is passed, as far as that takes only time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.is_answered.then_some(self.until)
    }
}

/// What follows the loss of a socket.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Another socket at this instant.
    Connect(Instant),
    End(Advice, Cause),
}

impl Session {
    pub(super) fn connect(&mut self, now: Instant) {
        self.state = State::Opening { deadline: self.trouble.limit(later(now, self.config.connect_timeout)) };
        self.connect_taken = false;
        self.outputs.push_back(Output::Connect(self.identity.endpoint.clone()));
    }

    /// Gives up the socket, which is still open or opening.
    pub(super) fn fail(&mut self, now: Instant, cause: Cause) {
        let next = self.judge(now, cause);
        let code = match (cause, next) {
            (Cause::Protocol(ProtocolViolation::MessageTooBig), _) => CloseCode::MESSAGE_TOO_BIG,
            (Cause::Protocol(ProtocolViolation::TooManyMalformed), _) => CloseCode::PROTOCOL_ERROR,
            (_, Next::End(..)) => CloseCode::NORMAL,
            (_, Next::Connect(_)) => RECONNECTING,
        };
        self.outputs.push_back(Output::Close(code));
        self.follow(now, cause, next);
    }

    /// Goes on after the socket is gone.
    pub(super) fn lost(&mut self, now: Instant, cause: Cause) {
        let next = self.judge(now, cause);
        self.follow(now, cause, next);
    }

    pub(super) fn end(&mut self, advice: Advice, cause: Cause) {
        self.leave_socket();
        self.drop_held();
        self.state = State::Ended;
        self.event(SessionEvent::Ended(Ended { advice, cause }));
    }

    /// Decides what follows, and counts the attempt.
    fn judge(&mut self, now: Instant, cause: Cause) -> Next {
        let was_established = self.established;
        match self.ledger.judge(now, &self.config, cause, was_established) {
            Verdict::End(advice) => return Next::End(advice, cause),
            Verdict::Resume => {}
            Verdict::Identify => self.established = false,
        }
        let (limit, patience) = if self.established {
            (self.config.max_resumes, self.config.resume_window)
        } else {
            (self.config.max_handshakes, self.config.handshake_timeout)
        };
        let is_fruitless = self.trial.take().is_some();
        if was_established && !self.established {
            // A new session begins, with attempts of its own.
            self.trouble.over();
            self.drop_held();
        } else if self.state != State::Established || is_fruitless {
            self.trouble.failures += 1;
        }
        let give_up_at = *self.trouble.give_up_at.get_or_insert_with(|| later(now, patience));
        let at = later(now, self.trouble.backoff.next_delay());
        if self.trouble.failures >= limit.max(1) || at >= give_up_at {
            return Next::End(Advice::Rejoin, if is_fruitless { Cause::FruitlessResumes } else { cause });
        }
        Next::Connect(at)
    }

    fn follow(&mut self, now: Instant, cause: Cause, next: Next) {
        let was_running = self.state == State::Established;
        self.leave_socket();
        if was_running {
            self.stats.interruptions += 1;
        }
        match next {
            Next::End(advice, cause) => self.end(advice, cause),
            Next::Connect(at) => {
                if was_running {
                    self.event(SessionEvent::Interrupted(cause));
                }
                if at <= now {
                    self.connect(now);
                } else {
                    self.state = State::BackingOff { until: at };
                }
            }
        }
    }

    /// Forgets what belongs to the socket alone.
    fn leave_socket(&mut self) {
        self.history = self.history();
        self.heartbeat = None;
        self.hello_by = None;
        self.stable_at = None;
    }

    fn drop_held(&mut self) {
        self.held.clear();
        self.held_len = 0;
    }

    /// Notes that the session runs, on a socket of which everything expected has come.
    pub(super) fn run(&mut self, now: Instant) {
        self.state = State::Established;
        self.stable_at = Some(later(now, self.config.stable_after));
        self.trouble.run();
    }
}

/// What a socket is closed with that is given up while the session is to go on: 1000 would end it on the server.
pub(super) const RECONNECTING: CloseCode = CloseCode::new(4900);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnecting_is_a_code_that_may_be_sent_and_does_not_end_the_session() {
        assert!(RECONNECTING.is_sendable());
        assert_ne!(RECONNECTING, CloseCode::NORMAL);
        assert!(!CloseCode::NAMED.contains(&RECONNECTING));
    }

    #[test]
    fn deadlines_end_with_the_attempts() {
        #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
        let now = Instant::now();
        let second = std::time::Duration::from_secs(1);
        let mut trouble = Trouble::new(now, &SessionConfig::default(), 7);
        assert_eq!(trouble.limit(now + second), now + second);
        assert_eq!(trouble.limit(now + second * 60), now + second * 20);
        trouble.over();
        assert_eq!(trouble.limit(now + second * 60), now + second * 60);
    }
}
