//! Heartbeats: when to send one, whether the last ones were answered, how long the answer took.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Times heartbeats and matches their acknowledgements.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    next_at: Instant,
    heard_at: Instant,
    /// Beats sent and not acknowledged, oldest first.
    outstanding: VecDeque<(u64, Instant)>,
    unanswered: u32,
    history: History,
}

/// What outlives a socket: nonces never repeat within a session, and latencies stay readable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    pub(crate) last_nonce: u64,
    pub(crate) latency: Option<Duration>,
    pub(crate) mean: Option<Duration>,
}

impl Heartbeat {
    /// Starts with the first beat after a random part of the interval, drawn by the caller as `0.0..1.0`.
    pub(crate) fn start(now: Instant, interval: Duration, part: f64, history: History) -> Self {
        Self {
            interval,
            next_at: now + interval.mul_f64(part),
            heard_at: now,
            outstanding: VecDeque::with_capacity(KEPT_BEATS),
            unanswered: 0,
            history,
        }
    }

    /// Takes a new interval from a repeated Hello.
    pub(crate) fn set_interval(&mut self, now: Instant, interval: Duration) {
        self.interval = interval;
        self.next_at = now + interval;
    }

    pub(crate) const fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// The nonce of a beat that is due, or why the connection counts as dead.
    pub(crate) fn poll(&mut self, now: Instant) -> Beat {
        if now >= self.heard_at + self.interval + SILENCE_GRACE {
            return Beat::Dead;
        }
        if now < self.next_at {
            return Beat::NotYet;
        }
        if self.unanswered >= MAX_UNANSWERED {
            return Beat::Dead;
        }
        // An instant that was missed by far is not made up for with a burst.
        self.next_at = (self.next_at + self.interval).max(now + self.interval / 2);
        Beat::Send(self.beat(now))
    }

    /// Counts a beat outside of the schedule, for a server that asks for one.
    pub(crate) fn beat(&mut self, now: Instant) -> u64 {
        self.history.last_nonce += 1;
        if self.outstanding.len() == KEPT_BEATS {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((self.history.last_nonce, now));
        self.unanswered += 1;
        self.history.last_nonce
    }

    /// Takes an acknowledgement; one with an unknown nonce is ignored.
    pub(crate) fn acknowledge(&mut self, now: Instant, nonce: u64) -> Option<Duration> {
        let index = self.outstanding.iter().position(|(sent, _)| *sent == nonce)?;
        let (_, sent_at) = self.outstanding.remove(index)?;
        self.outstanding.drain(..index);
        self.unanswered = 0;
        let latency = now.saturating_duration_since(sent_at);
        let mean = self.history.mean.map_or(latency, |mean| (mean * (MEAN_BEATS - 1) + latency) / MEAN_BEATS);
        (self.history.latency, self.history.mean) = (Some(latency), Some(mean));
        Some(latency)
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.next_at.min(self.heard_at + self.interval + SILENCE_GRACE)
    }

    pub(crate) const fn history(&self) -> History {
        self.history
    }
}

/// What is to be done about the heartbeat now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    NotYet,
    Send(u64),
    /// Two beats without an answer, or no message at all for too long: the socket is dead.
    Dead,
}

/// Beats whose time of sending is kept for the latency.
const KEPT_BEATS: usize = 8;
/// Discord disconnects after two missed beats itself; so do we.
const MAX_UNANSWERED: u32 = 2;
/// How long after an interval without any message a socket counts as dead.
const SILENCE_GRACE: Duration = Duration::from_secs(10);
/// Beats over which the mean latency moves.
const MEAN_BEATS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn two_unanswered_beats_mean_a_dead_socket() {
        let now = start();
        let mut heartbeat = Heartbeat::start(now, INTERVAL, 0.5, History { last_nonce: 100, ..History::default() });
        assert_eq!(heartbeat.poll(now + Duration::from_secs(4)), Beat::NotYet);
        assert_eq!(heartbeat.poll(now + Duration::from_secs(5)), Beat::Send(101));
        heartbeat.heard(now + Duration::from_secs(14));
        assert_eq!(heartbeat.poll(now + Duration::from_secs(15)), Beat::Send(102));
        assert_eq!(heartbeat.poll(now + Duration::from_secs(25)), Beat::Dead);
    }

    #[test]
    fn silence_means_a_dead_socket_even_between_beats() {
        let now = start();
        let mut heartbeat = Heartbeat::start(now, INTERVAL, 0.9, History::default());
        assert_eq!(heartbeat.deadline(), now + Duration::from_secs(9));
        assert_eq!(heartbeat.poll(now + Duration::from_secs(9)), Beat::Send(1));
        assert_eq!(heartbeat.poll(now + Duration::from_secs(20)), Beat::Dead);
    }

    #[test]
    fn acknowledgement_gives_the_latency_and_an_unknown_one_is_ignored() {
        let now = start();
        let mut heartbeat = Heartbeat::start(now, INTERVAL, 0.0, History::default());
        assert_eq!(heartbeat.poll(now), Beat::Send(1));
        assert_eq!(heartbeat.acknowledge(now, 77), None);
        let later = now + Duration::from_millis(30);
        assert_eq!(heartbeat.acknowledge(later, 1), Some(Duration::from_millis(30)));
        assert_eq!(heartbeat.acknowledge(later, 1), None, "answered once");
        assert_eq!(heartbeat.history().mean, Some(Duration::from_millis(30)));
        heartbeat.heard(now + INTERVAL);
        assert_eq!(heartbeat.poll(now + INTERVAL), Beat::Send(2));
    }

    #[test]
    fn a_late_wake_up_does_not_cause_a_burst() {
        let now = start();
        let mut heartbeat = Heartbeat::start(now, INTERVAL, 0.0, History::default());
        let late = now + Duration::from_secs(19);
        assert_eq!(heartbeat.poll(late), Beat::Send(1));
        assert_eq!(heartbeat.poll(late), Beat::NotYet);
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }
}
