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
        // Until the first answer it is not known that the server has heard of this address at all.
        let unheard = self.answered == 0 && self.count < EAGER_PINGS;
        self.next_at = now + if unheard { EAGER_INTERVAL } else { INTERVAL };
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

    /// Pings that were sent.
    #[must_use]
    pub const fn sent(&self) -> u32 {
        self.count
    }

    /// Pings that were answered.
    #[must_use]
    pub const fn answered(&self) -> u64 {
        self.answered
    }
}

const INTERVAL: Duration = Duration::from_secs(5);
/// Between pings that nobody has answered yet, as long as there are few.
const EAGER_INTERVAL: Duration = Duration::from_secs(1);
const EAGER_PINGS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_every_five_seconds_and_only_the_last_answer_counts() {
        let start = start();
        let mut keepalive = Keepalive::new(start);
        let first = keepalive.poll(start).expect("due at once");
        keepalive.handle_pong(start, first);
        let soon = start + EAGER_INTERVAL;
        let second = keepalive.poll(soon).expect("due");
        assert_eq!(keepalive.poll(soon + Duration::from_millis(4_999)), None);
        let third = keepalive.poll(soon + INTERVAL).expect("due");
        assert_ne!(second, third);
        let later = soon + INTERVAL + Duration::from_millis(40);
        keepalive.handle_pong(later, second);
        assert_eq!(keepalive.round_trip(), Some(Duration::ZERO));
        keepalive.handle_pong(later, third);
        keepalive.handle_pong(later + INTERVAL, third);
        assert_eq!(keepalive.round_trip(), Some(Duration::from_millis(40)));
        assert_eq!(keepalive.answered(), 2);
    }

    #[test]
    fn a_lost_first_ping_is_repeated_soon_and_a_server_without_answers_is_not_flooded() {
        let start = start();
        let mut keepalive = Keepalive::new(start);
        let mut sent = Vec::new();
        for second in 0..20 {
            if keepalive.poll(start + Duration::from_secs(second)).is_some() {
                sent.push(second);
            }
        }
        assert_eq!(sent, [0, 1, 2, 3, 4, 9, 14, 19]);
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }
}
