//! Pings that keep the path through address translators open and measure the round trip.

use std::time::{Duration, Instant};

use voice_rtp::Ping;

/// A ping every five seconds, from the first moment, independent of audio.
///
/// A missing answer is only a figure: it never means that the connection is lost.
#[derive(Clone, Debug)]
pub struct Keepalive {
    next_at: Instant,
    count: u32,
    sent_at: Option<Instant>,
    round_trip: Option<Duration>,
    answered: u64,
}

impl Keepalive {
    /// Starts pinging; the first ping is due at once.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { next_at: now, count: 0, sent_at: None, round_trip: None, answered: 0 }
    }

    /// The ping to send, when one is due.
    pub fn poll(&mut self, now: Instant) -> Option<Ping> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now + INTERVAL;
        self.count = self.count.wrapping_add(1);
        self.sent_at = Some(now);
        Some(Ping(self.count.to_be_bytes()))
    }

    /// Takes an answer; anything but the answer to the last ping is ignored.
    pub fn handle_pong(&mut self, now: Instant, pong: Ping) {
        if pong.0 == self.count.to_be_bytes()
            && let Some(sent_at) = self.sent_at.take()
        {
            self.round_trip = Some(now.saturating_duration_since(sent_at));
            self.answered += 1;
        }
    }

    /// When the next ping is due.
    #[must_use]
    pub const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// The last measured time to the media server and back.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Pings that were answered.
    #[must_use]
    pub const fn answered(&self) -> u64 {
        self.answered
    }
}

const INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_every_five_seconds_and_only_the_last_answer_counts() {
        #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
        let start = Instant::now();
        let mut keepalive = Keepalive::new(start);
        let first = keepalive.poll(start).expect("due at once");
        assert_eq!(keepalive.poll(start + Duration::from_millis(4_999)), None);
        let second = keepalive.poll(start + INTERVAL).expect("due");
        assert_ne!(first, second);
        let later = start + INTERVAL + Duration::from_millis(40);
        keepalive.handle_pong(later, first);
        assert_eq!(keepalive.round_trip(), None);
        keepalive.handle_pong(later, second);
        keepalive.handle_pong(later + INTERVAL, second);
        assert_eq!(keepalive.round_trip(), Some(Duration::from_millis(40)));
        assert_eq!(keepalive.answered(), 1);
    }
}
