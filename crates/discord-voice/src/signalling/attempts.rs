//! How often, and when, a call is joined again.

use std::time::{Duration, Instant};

use voice_model::{CloseAction, CloseCode};
use voice_ws::{Backoff, Cause};

use crate::{Config, EndReason, call::later};

/// The attempts to come back since the call last ran well.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    /// The call was connected at some time.
    was_connected: bool,
    is_connected: bool,
    stable_after: Duration,
    /// When earlier attempts are forgotten.
    stable_at: Option<Instant>,
    count: u32,
    /// The close codes that led to them.
    codes: Vec<(CloseCode, Instant)>,
}

/// What is done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Rejoin {
        attempt: u32,
        after: Duration,
        /// The mode that was selected is the trouble.
        fall_back: bool,
    },
    /// The main gateway is left to say what follows.
    Wait(Cause),
    GiveUp,
}

impl Attempts {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(config.rejoin_step, config.rejoin_cap, seed),
            was_connected: false,
            is_connected: false,
            stable_after: config.session.stable_after,
            stable_at: None,
            count: 0,
            codes: Vec::new(),
        }
    }

    /// Attempts in a row, so far.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Whether the call never was connected, and nothing was tried but the first join.
    pub(super) const fn is_first(&self) -> bool {
        !self.was_connected && self.count == 0
    }

    pub(super) fn connected(&mut self, now: Instant) {
        (self.was_connected, self.is_connected) = (true, true);
        self.stable_at = Some(later(now, self.stable_after));
    }

    /// Whether it runs well is open again: its connection is lost and being resumed.
    pub(super) const fn interrupted(&mut self) {
        self.stable_at = None;
    }

    /// It runs again.
    pub(super) fn recovered(&mut self, now: Instant) {
        if self.is_connected {
            self.stable_at = Some(later(now, self.stable_after));
        }
    }

    /// Whether it was connected until now.
    pub(super) fn disconnected(&mut self) -> bool {
        self.stable_at = None;
        std::mem::take(&mut self.is_connected)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.stable_at.take_if(|at| now >= *at).is_some() {
            self.count = 0;
            self.codes.clear();
            self.backoff.reset();
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.stable_at
    }

    /// Decides about another attempt, for this reason.
    pub(super) fn next(&mut self, now: Instant, reason: &EndReason, config: &Config) -> Next {
        let mut fall_back = false;
        if let EndReason::Session { cause: Cause::Closed(code), .. } = *reason {
            let policy = config.session.policy(code, self.was_connected);
            let window = policy.limit.and_then(|limit| limit.window);
            let counts = |at: Instant| window.is_none_or(|window| now.saturating_duration_since(at) <= window);
            let earlier = self.codes.iter().filter(|(met, at)| *met == code && counts(*at)).count();
            match policy.action_after(u32::try_from(earlier).unwrap_or(u32::MAX)) {
                CloseAction::Stop => return Next::GiveUp,
                CloseAction::Wait => return Next::Wait(Cause::Closed(code)),
                _ => {}
            }
            self.codes.push((code, now));
            fall_back = policy.fallback_mode;
        }
        if self.count >= config.max_rejoins {
            return Next::GiveUp;
        }
        self.count += 1;
        Next::Rejoin { attempt: self.count, after: self.backoff.next_delay(), fall_back }
    }
}
