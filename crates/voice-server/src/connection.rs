//! One WebSocket as the core sees it: what it is for, and what waits to be sent on it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::core::Output;
use crate::registry::SessionKey;
use crate::timers::TimerId;

/// Names a WebSocket connection; the driver chooses the numbers and uses none twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// A connection with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a connection is for, and how far it got.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Voice {
        version: u8,
        session: Option<SessionKey>,
    },
    Gateway {
        /// The number of the main-gateway session.
        session: Option<u64>,
    },
}

pub(crate) struct Connection {
    pub(crate) role: Role,
    /// A fault: nothing is read, nothing is written, the socket stays open.
    pub(crate) stalled: bool,
    /// A fault: how late everything is sent.
    pub(crate) delay: Duration,
    pub(crate) heartbeat: Option<TimerId>,
    pub(crate) outbox: Option<TimerId>,
    waiting: VecDeque<(Instant, Output)>,
    window_end: Instant,
    window_messages: u32,
}

impl Connection {
    pub(crate) fn new(now: Instant, role: Role) -> Self {
        Self {
            role,
            stalled: false,
            delay: Duration::ZERO,
            heartbeat: None,
            outbox: None,
            waiting: VecDeque::new(),
            window_end: now + WINDOW,
            window_messages: 0,
        }
    }

    /// Counts an incoming message; false when there were too many.
    pub(crate) fn admits(&mut self, now: Instant, limit: u32) -> bool {
        if now >= self.window_end {
            self.window_end = now + WINDOW;
            self.window_messages = 0;
        }
        self.window_messages = self.window_messages.saturating_add(1);
        self.window_messages <= limit
    }

    /// Whether a message may go out at once instead of waiting its turn.
    pub(crate) fn is_prompt(&self) -> bool {
        self.delay.is_zero() && self.waiting.is_empty()
    }

    /// Queues a message and returns when it is due; `None` when too many wait.
    pub(crate) fn queue(&mut self, now: Instant, output: Output, limit: usize) -> Option<Instant> {
        if self.waiting.len() >= limit {
            return None;
        }
        // Never before the one queued last: a delay that shrinks must not reorder.
        let last = self.waiting.back().map_or(now, |(at, _)| *at);
        let due = (now + self.delay).max(last);
        self.waiting.push_back((due, output));
        Some(due)
    }

    /// The next queued message that is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Output> {
        self.waiting.pop_front_if(|(at, _)| *at <= now).map(|(_, output)| output)
    }

    /// When the next queued message is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }
}

/// How long messages are counted for the rate limit.
const WINDOW: Duration = Duration::from_secs(10);
