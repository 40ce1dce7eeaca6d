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
    outstanding: VecDeque<Sent>,
    /// Beats of the schedule without an answer to them or a later one.
    unanswered: usize,
    history: History,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    nonce: u64,
    at: Instant,
    /// Part of the schedule: beats that the server asked for say nothing about whether it answers in time.
    scheduled: bool,
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
    ///
    /// The interval is the longest gap, so a beat that is due earlier stays: Hello after Hello must not put it
    /// off for ever.
    pub(crate) fn set_interval(&mut self, now: Instant, interval: Duration) {
        self.interval = interval;
        self.next_at = self.next_at.min(now + interval);
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
        self.unanswered += 1;
        Beat::Send(self.sent(now, true))
    }

    /// Counts a beat outside of the schedule, for a server that asks for one.
    pub(crate) fn beat(&mut self, now: Instant) -> u64 {
        self.sent(now, false)
    }

    /// Takes an acknowledgement; one with an unknown nonce is ignored.
    pub(crate) fn acknowledge(&mut self, now: Instant, nonce: u64) -> Option<Duration> {
        let index = self.outstanding.iter().position(|sent| sent.nonce == nonce)?;
        let Sent { at, .. } = self.outstanding.drain(..=index).next_back()?;
        self.unanswered = self.outstanding.iter().filter(|sent| sent.scheduled).count();
        let latency = now.saturating_duration_since(at);
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

    fn sent(&mut self, at: Instant, scheduled: bool) -> u64 {
        if self.outstanding.len() == KEPT_BEATS {
            self.outstanding.pop_front();
        }
        let nonce = self.history.next_nonce();
        self.outstanding.push_back(Sent { nonce, at, scheduled });
        nonce
    }
}

impl History {
    pub(crate) const fn next_nonce(&mut self) -> u64 {
        self.last_nonce += 1;
        self.last_nonce
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
const MAX_UNANSWERED: usize = 2;
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

    #[test]
    fn beats_that_the_server_asks_for_do_not_count_as_unanswered() {
        let now = start();
        let mut heartbeat = Heartbeat::start(now, INTERVAL, 0.0, History::default());
        assert_eq!(heartbeat.poll(now), Beat::Send(1));
        assert_eq!((2..=4).map(|_| heartbeat.beat(now)).collect::<Vec<_>>(), [2, 3, 4]);
        heartbeat.heard(now + INTERVAL);
        assert_eq!(heartbeat.poll(now + INTERVAL), Beat::Send(5));
    }

    #[test]
    fn late_answer_to_the_first_beat_leaves_the_second_unanswered() {
        let now = start();
        let mut heartbeat = Heartbeat::start(now, INTERVAL, 0.0, History::default());
        for beat in 0..2 {
            heartbeat.heard(now + INTERVAL * beat);
            assert_eq!(heartbeat.poll(now + INTERVAL * beat), Beat::Send(u64::from(beat) + 1));
        }
        assert!(heartbeat.acknowledge(now + INTERVAL * 3 / 2, 1).is_some());
        heartbeat.heard(now + INTERVAL * 3);
        assert_eq!(heartbeat.poll(now + INTERVAL * 2), Beat::Send(3));
        assert_eq!(heartbeat.poll(now + INTERVAL * 3), Beat::Dead, "beats 2 and 3");
    }

    #[test]
    fn repeated_hello_changes_the_interval_but_never_delays_a_beat() {
        let now = start();
        let mut heartbeat = Heartbeat::start(now, INTERVAL, 0.5, History::default());
        heartbeat.set_interval(now, INTERVAL * 2);
        assert_eq!(heartbeat.deadline(), now + INTERVAL / 2);
        heartbeat.set_interval(now, INTERVAL / 5);
        assert_eq!(heartbeat.deadline(), now + INTERVAL / 5);
        assert_eq!(heartbeat.poll(now + INTERVAL / 5), Beat::Send(1));
        assert_eq!(heartbeat.deadline(), now + INTERVAL * 2 / 5);
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }
}
