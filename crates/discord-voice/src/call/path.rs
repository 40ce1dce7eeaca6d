//! The way that media takes, before media takes it: whether the server knows our SSRC, and has heard of our socket.

use std::time::{Duration, Instant};

use voice_rtp::Ping;

/// What has to be known before a call counts as connected. The server forwards nothing to a socket of which it has heard
/// nothing since there is a key: what others said between our join and a first ping that a busy machine sent late was lost.
#[derive(Debug)]
pub(super) struct Path {
    ping: Ping,
    next_at: Instant,
    until: Instant,
    /// The answer came, or is not waited for any longer: there are servers that give none.
    is_heard: bool,
    is_confirmed: bool,
}

impl Path {
    /// The first ping is due at once. All have the same bytes: an answer to any of them is one.
    pub(super) const fn new(now: Instant, until: Instant, bytes: [u8; 4]) -> Self {
        Self { ping: Ping(bytes), next_at: now, until, is_heard: false, is_confirmed: false }
    }

    /// The ping to send, when one is due.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<[u8; Ping::LEN]> {
        self.is_heard |= now >= self.until;
        if self.is_heard || now < self.next_at {
            return None;
        }
        self.next_at = now + INTERVAL;
        Some(self.ping.request())
    }

    /// Takes a datagram, of which only the answer means something.
    pub(super) fn handle_datagram(&mut self, datagram: &[u8]) {
        self.is_heard |= Ping::parse_response(datagram) == Some(self.ping);
    }

    /// The server has taken the message that names our SSRC.
    pub(super) const fn confirmed(&mut self) {
        self.is_confirmed = true;
    }

    /// Whether media can flow both ways, as far as can be known.
    pub(super) const fn is_open(&self) -> bool {
        self.is_confirmed && self.is_heard
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_heard).then(|| self.next_at.min(self.until))
    }
}

/// Between pings that have no answer yet.
const INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_open_with_both_answers_or_when_pings_have_none() {
        #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
        let start = Instant::now();
        let until = start + Duration::from_secs(1);
        let mut path = Path::new(start, until, [1, 2, 3, 4]);
        let mut silent = Path::new(start, until, [1, 2, 3, 4]);
        assert_eq!(path.poll_transmit(start), Some(Ping([1, 2, 3, 4]).request()));
        assert_eq!(path.poll_transmit(start), None);
        path.handle_datagram(&Ping([9; 4]).response());
        path.confirmed();
        assert!(!path.is_open(), "that was the answer to another one");
        path.handle_datagram(&Ping([1, 2, 3, 4]).response());
        assert!(path.is_open());
        assert_eq!((path.poll_timeout(), path.poll_transmit(until)), (None, None));

        let (mut now, mut sent) = (start, 0);
        while let Some(at) = silent.poll_timeout() {
            now = at.max(now);
            sent += u32::from(silent.poll_transmit(now).is_some());
        }
        assert_eq!((sent, now), (5, until), "and then no more");
        assert!(!silent.is_open());
        silent.confirmed();
        assert!(silent.is_open());
    }
}
