//! Tells a path that is lost for good from packets that are.

use std::{
    error::Error,
    fmt, io,
    time::{Duration, Instant},
};

use super::{Arrival, OpenError};

/// Watches what arrives on a media socket and the errors that it reports, and says when media does not get through any
/// more. A single packet, or a single error, never does.
///
/// A path on which simply nothing arrives is no fault: nobody may be speaking, and the server need not answer pings.
///
/// ```
/// use std::{io, time::{Duration, Instant}};
/// use voice_udp::{MediaFault, MediaHealth};
///
/// let now = Instant::now();
/// let mut health = MediaHealth::new(Duration::from_secs(10));
/// let refused = io::ErrorKind::ConnectionRefused;
/// assert_eq!(health.handle_socket_error(now, refused), None);
/// assert_eq!(health.handle_socket_error(now + Duration::from_secs(5), refused), None);
/// let fault = health.handle_socket_error(now + Duration::from_secs(10), refused);
/// assert_eq!(fault, Some(MediaFault::Unreachable));
/// ```
#[derive(Clone, Debug)]
pub struct MediaHealth {
    limit: Duration,
    not_authentic: Option<Run>,
    unreachable: Option<Run>,
    unreachable_total: u64,
    unsent: Option<Run>,
    /// Datagrams that had left before those.
    sent: u64,
}

/// Failures without a success between them.
#[derive(Clone, Copy, Debug)]
struct Run {
    since: Instant,
    last: Instant,
    count: u32,
}

/// How media does not get through any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MediaFault {
    /// Packets came and none of them was authentic, for as long as is [waited](MediaHealth::new): the key is another one
    /// than the media server's (the peer).
    NotAuthentic,
    /// The network says for that long that the media server's port cannot be reached (the network, or the peer).
    Unreachable,
    /// The system let no datagram leave for that long: a firewall of this machine forbids it, or it has no memory or no
    /// route for it (who runs the machine).
    NotSent,
    /// The key has sealed nearly as many packets as it safely can; only a new session brings another (nobody's fault).
    KeySpent,
}

impl MediaHealth {
    /// Begins to watch. A fault is one only after it has lasted for `limit`; 10 s is a good one.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, not_authentic: None, unreachable: None, unreachable_total: 0, unsent: None, sent: 0 }
    }

    /// Takes what [`Receiver::open`](super::Receiver::open) made of a datagram.
    pub fn handle_datagram(&mut self, now: Instant, opened: &Result<Arrival, OpenError>) -> Option<MediaFault> {
        self.handle_unopened();
        match opened {
            Err(OpenError(voice_crypto::OpenError::Auth)) => {
                let run = Run::add(&mut self.not_authentic, now);
                if run.count > MAX_NOT_AUTHENTIC && run.lasted() >= self.limit {
                    return Some(MediaFault::NotAuthentic);
                }
            }
            // Neither says anything about the key.
            Ok(Arrival::Pong(_) | Arrival::Ignored) | Err(OpenError(voice_crypto::OpenError::TooShort)) => {}
            // Also what is authentic and impossible.
            Ok(_) | Err(_) => self.not_authentic = None,
        }
        None
    }

    /// Takes the arrival of a datagram that nobody wants to open: the path is there.
    pub const fn handle_unopened(&mut self) {
        self.unreachable = None;
    }

    /// Takes an error of sending or receiving. What says nothing about the path to the server is ignored.
    ///
    /// A datagram that was sent without an error proves nothing: the network's answer to it comes later, if it comes.
    pub fn handle_socket_error(&mut self, now: Instant, error: io::ErrorKind) -> Option<MediaFault> {
        let is_about_path = matches!(
            error,
            io::ErrorKind::ConnectionRefused
                // What a refused port is called on Windows.
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
        );
        if !is_about_path {
            return None;
        }
        self.unreachable_total += 1;
        // Keepalives went out meanwhile, and were not refused.
        self.unreachable.take_if(|run| now.saturating_duration_since(run.last) > MAX_GAP);
        let run = Run::add(&mut self.unreachable, now);
        (run.count >= MIN_UNREACHABLE && run.lasted() >= self.limit).then_some(MediaFault::Unreachable)
    }

    /// Takes a datagram that the system did not let leave, whatever the reason, a full buffer included, and how many have
    /// left over this path so far.
    pub fn handle_unsent(&mut self, now: Instant, sent: u64) -> Option<MediaFault> {
        if sent > self.sent {
            (self.sent, self.unsent) = (sent, None);
        }
        let run = Run::add(&mut self.unsent, now);
        (run.count >= MIN_UNSENT && run.lasted() >= self.limit).then_some(MediaFault::NotSent)
    }

    /// Errors so far that said that the server cannot be reached.
    #[must_use]
    pub const fn unreachable(&self) -> u64 {
        self.unreachable_total
    }
}

impl Run {
    fn add(run: &mut Option<Self>, now: Instant) -> Self {
        let run = run.get_or_insert(Self { since: now, last: now, count: 0 });
        run.last = now;
        run.count = run.count.saturating_add(1);
        *run
    }

    fn lasted(&self) -> Duration {
        self.last.saturating_duration_since(self.since)
    }
}

impl fmt::Display for MediaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAuthentic => "no packet from the voice server was authentic any more",
            Self::Unreachable => "the voice server's UDP port could not be reached any more; is a firewall in the way?",
            Self::NotSent => "the system let no packet leave any more; does a firewall of this machine forbid it?",
            Self::KeySpent => "the key has sealed nearly as many packets as it safely can",
        })
    }
}

impl Error for MediaFault {}

/// Packets in a row that need not be authentic: forged ones are cheap, for who knows both addresses.
const MAX_NOT_AUTHENTIC: u32 = 250;
/// Errors that make a fault, however short the limit is.
const MIN_UNREACHABLE: u32 = 3;
/// Datagrams that make a fault, however short the limit is.
const MIN_UNSENT: u32 = 3;
/// Errors further apart do not belong together: two keepalives went out between them.
const MAX_GAP: Duration = Duration::from_secs(11);

#[cfg(test)]
mod tests {
    use io::ErrorKind;
    use voice_rtp::{Ping, Ssrc};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const FORGED: Result<Arrival, OpenError> = Err(OpenError(voice_crypto::OpenError::Auth));
    const AUTHENTIC: Result<Arrival, OpenError> = Ok(Arrival::Packet(Ssrc::new(1)));

    /// Forged datagrams, so many a second, until there is a fault.
    fn forged_until_fault(health: &mut MediaHealth, from: Instant, per_second: u32) -> Option<Duration> {
        (0..per_second * 100).find_map(|number| {
            let after = Duration::from_secs(1) * number / per_second;
            health.handle_datagram(from + after, &FORGED).map(|fault| {
                assert_eq!(fault, MediaFault::NotAuthentic);
                after
            })
        })
    }

    #[test]
    fn forged_packets_are_a_fault_when_they_are_many_and_last() {
        // A flood lasts for its ten seconds, a trickle comes to its 251 packets.
        assert_eq!(forged_until_fault(&mut MediaHealth::new(LIMIT), start(), 1_000), Some(LIMIT));
        assert_eq!(forged_until_fault(&mut MediaHealth::new(LIMIT), start(), 10), Some(Duration::from_secs(25)));
        assert_eq!(forged_until_fault(&mut MediaHealth::new(LIMIT), start(), 2), None);
    }

    #[test]
    fn one_authentic_packet_clears_all_forged_ones() {
        for authentic in
            [AUTHENTIC, Ok(Arrival::Stale), Ok(Arrival::NotAudio), Err(OpenError(voice_crypto::OpenError::PaddingZero))]
        {
            let mut health = MediaHealth::new(LIMIT);
            for second in 0..100 {
                let now = start() + Duration::from_secs(second);
                for _ in 0..1_000 {
                    assert_eq!(health.handle_datagram(now, &FORGED), None);
                }
                if second % 9 == 8 {
                    assert_eq!(health.handle_datagram(now, &authentic), None);
                }
            }
        }
    }

    #[test]
    fn what_needs_no_key_says_nothing_about_it() {
        let mut health = MediaHealth::new(LIMIT);
        let now = start();
        for second in 0..60 {
            for other in [
                Ok(Arrival::Ignored),
                Ok(Arrival::Pong(Ping([0; 4]))),
                Err(OpenError(voice_crypto::OpenError::TooShort)),
            ] {
                for _ in 0..1_000 {
                    assert_eq!(health.handle_datagram(now + Duration::from_secs(second), &other), None);
                }
            }
        }
        for _ in 0..300 {
            assert_eq!(health.handle_datagram(now, &FORGED), None);
        }
        for other in [Ok(Arrival::Ignored), Ok(Arrival::Pong(Ping([0; 4])))] {
            assert_eq!(health.handle_datagram(now + LIMIT, &other), None);
        }
        let fault = health.handle_datagram(now + LIMIT, &FORGED);
        assert_eq!(fault, Some(MediaFault::NotAuthentic), "a pong can be forged, too");
    }

    #[test]
    fn an_unreachable_port_is_a_fault_after_the_limit() {
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable] {
            let mut health = MediaHealth::new(LIMIT);
            for frame in 0..500 {
                let now = start() + Duration::from_millis(20 * frame);
                assert_eq!(health.handle_socket_error(now, kind), None);
            }
            assert_eq!(health.handle_socket_error(start() + LIMIT, kind), Some(MediaFault::Unreachable));
            assert_eq!(health.unreachable(), 501);
        }
    }

    #[test]
    fn keepalives_alone_suffice_to_notice_it() {
        let mut health = MediaHealth::new(LIMIT);
        let mut faults = (0..).map(|beat| {
            let now = start() + Duration::from_secs(5) * beat;
            health.handle_socket_error(now, ErrorKind::ConnectionRefused)
        });
        assert_eq!(faults.position(|fault| fault.is_some()), Some(2));
    }

    #[test]
    fn whatever_arrives_clears_the_errors() {
        let mut health = MediaHealth::new(LIMIT);
        for second in 0..100 {
            let now = start() + Duration::from_secs(second);
            assert_eq!(health.handle_socket_error(now, ErrorKind::ConnectionRefused), None);
            match second % 10 {
                4 => assert_eq!(health.handle_datagram(now, &AUTHENTIC), None),
                9 => health.handle_unopened(),
                _ => {}
            }
        }
    }

    #[test]
    fn errors_now_and_then_are_no_fault() {
        let mut health = MediaHealth::new(LIMIT);
        for minute in 0..100 {
            let now = start() + Duration::from_secs(60 * minute);
            assert_eq!(health.handle_socket_error(now, ErrorKind::ConnectionRefused), None);
        }
    }

    #[test]
    fn errors_of_the_system_say_nothing_about_the_path() {
        let mut health = MediaHealth::new(LIMIT);
        for second in 0..100 {
            let now = start() + Duration::from_secs(second);
            for kind in [ErrorKind::OutOfMemory, ErrorKind::InvalidInput, ErrorKind::Other] {
                assert_eq!(health.handle_socket_error(now, kind), None);
            }
        }
        assert_eq!(health.unreachable(), 0);
    }

    #[test]
    fn a_path_on_which_nothing_leaves_is_a_fault_after_the_limit() {
        for millis in [20, 1_000, 5_000] {
            let mut health = MediaHealth::new(LIMIT);
            let after = |number| Duration::from_millis(millis) * number;
            let fault =
                (0..).find_map(|number| Some((after(number), health.handle_unsent(start() + after(number), 7)?)));
            assert_eq!(fault, Some((LIMIT, MediaFault::NotSent)), "every {millis} ms");
        }
    }

    #[test]
    fn what_arrives_does_not_clear_it_and_one_that_leaves_does() {
        let mut health = MediaHealth::new(LIMIT);
        for second in 0..100 {
            let now = start() + Duration::from_secs(second);
            // One leaves every nine seconds, by all that is counted.
            assert_eq!(health.handle_unsent(now, second / 9), None);
            assert_eq!(health.handle_datagram(now, &AUTHENTIC), None);
        }
        let mut health = MediaHealth::new(LIMIT);
        assert!((0..=10).any(|second| {
            let now = start() + Duration::from_secs(second);
            let fault = health.handle_unsent(now, 0);
            assert_eq!(health.handle_datagram(now, &AUTHENTIC), None);
            fault == Some(MediaFault::NotSent)
        }));
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }
}
