//! IP discovery: learning the own public address from the media server.

use std::{
    error::Error,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use voice_rtp::{
    Ssrc,
    discovery::{Request, Response},
};

pub use voice_rtp::discovery::DISCOVERY_LEN;

/// One attempt to learn the own address: five requests, a second apart, on the socket that media will use.
///
/// Anything but a valid answer for the own SSRC is ignored and waited past: a forged datagram cannot end the
/// attempt.
///
/// ```
/// use std::time::Instant;
/// use voice_rtp::{Ssrc, discovery::Response};
/// use voice_udp::Discovery;
///
/// let now = Instant::now();
/// let mut discovery = Discovery::new(now, Ssrc::new(1));
/// let mut datagram = [0; 74];
/// assert!(discovery.poll_transmit(now, &mut datagram));
///
/// Response { ssrc: Ssrc::new(1), address: "203.0.113.7".parse()?, port: 50_004 }.write(&mut datagram);
/// discovery.handle_datagram(&datagram);
/// assert_eq!(discovery.outcome(), Some(Ok("203.0.113.7:50004".parse()?)));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Discovery {
    ssrc: Ssrc,
    sent: u32,
    next_at: Instant,
    outcome: Option<Result<SocketAddr, DiscoveryError>>,
    ignored: u64,
    unreachable: bool,
}

impl Discovery {
    /// Starts an attempt for the SSRC that the gateway assigned; the first request is due at once.
    #[must_use]
    pub const fn new(now: Instant, ssrc: Ssrc) -> Self {
        Self { ssrc, sent: 0, next_at: now, outcome: None, ignored: 0, unreachable: false }
    }

    /// Takes a datagram from the media server.
    pub fn handle_datagram(&mut self, datagram: &[u8]) {
        match Response::parse(datagram, self.ssrc) {
            Ok(response) if self.outcome.is_none() => {
                self.outcome = Some(Ok(SocketAddr::new(response.address, response.port)));
            }
            Ok(_) | Err(_) => self.ignored += 1,
        }
    }

    /// Takes an error of the socket that says that the server cannot be reached. It may be forged, or pass: it only tells
    /// why nothing came, if nothing comes.
    pub const fn handle_unreachable(&mut self) {
        self.unreachable = true;
    }

    /// Writes a request into `out` when one is due and returns whether it did; gives up when the last one was
    /// not answered in time.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8; DISCOVERY_LEN]) -> bool {
        if self.outcome.is_some() || now < self.next_at {
            return false;
        }
        if self.sent == ATTEMPTS {
            let error = if self.unreachable { DiscoveryError::Unreachable } else { DiscoveryError::NoAnswer };
            self.outcome = Some(Err(error));
            return false;
        }
        Request { ssrc: self.ssrc }.write(out);
        self.sent += 1;
        self.next_at = now + RETRY_AFTER;
        true
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) next; `None` once there is an outcome.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outcome.is_none().then_some(self.next_at)
    }

    /// The own public address, or why it could not be learned; `None` while it is being discovered.
    #[must_use]
    pub const fn outcome(&self) -> Option<Result<SocketAddr, DiscoveryError>> {
        self.outcome
    }

    /// Datagrams that were not a valid answer, or came after it.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }
}

/// Why the own address could not be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// None of the requests was answered (the network): UDP to the media server is most likely blocked.
    NoAnswer,
    /// The network said that the media server's port cannot be reached (the network, or the peer), and nothing was answered
    /// after that either.
    Unreachable,
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => {
                "no answer to IP discovery over UDP; does a firewall block UDP to or from the media server?"
            }
            Self::Unreachable => "the media server's UDP port cannot be reached; does a firewall refuse UDP to it?",
        })
    }
}

impl Error for DiscoveryError {}

/// Requests sent before giving up.
const ATTEMPTS: u32 = 5;
/// How long each request may take to be answered.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Ssrc = Ssrc::new(369_020);

    #[test]
    fn five_requests_a_second_apart_then_a_clear_failure() {
        let start = start();
        let mut discovery = Discovery::new(start, SSRC);
        let mut datagram = [0; DISCOVERY_LEN];
        for second in 0..5 {
            let now = start + Duration::from_secs(second);
            assert_eq!(discovery.poll_timeout(), Some(now));
            assert!(discovery.poll_transmit(now, &mut datagram));
            assert!(!discovery.poll_transmit(now, &mut datagram), "once per second");
            assert_eq!(Request::parse(&datagram), Ok(Request { ssrc: SSRC }));
        }
        assert_eq!(discovery.outcome(), None);
        assert!(!discovery.poll_transmit(start + Duration::from_secs(5), &mut datagram));
        assert_eq!(discovery.outcome(), Some(Err(DiscoveryError::NoAnswer)));
        assert_eq!(discovery.poll_timeout(), None);
    }

    #[test]
    fn an_unreachable_server_is_asked_as_often_and_then_said_to_be_unreachable() {
        let mut discovery = Discovery::new(start(), SSRC);
        let mut datagram = [0; DISCOVERY_LEN];
        let mut sent = 0;
        for second in 0..=5 {
            sent += u32::from(discovery.poll_transmit(start() + Duration::from_secs(1 + second), &mut datagram));
            assert_eq!(discovery.outcome().is_some(), second == 5);
            discovery.handle_unreachable();
        }
        assert_eq!(sent, 5);
        assert_eq!(discovery.outcome(), Some(Err(DiscoveryError::Unreachable)));

        let mut discovery = Discovery::new(start(), SSRC);
        discovery.handle_unreachable();
        let answer = Response { ssrc: SSRC, address: "203.0.113.7".parse().expect("an address"), port: 2 };
        answer.write(&mut datagram);
        discovery.handle_datagram(&datagram);
        assert!(matches!(discovery.outcome(), Some(Ok(_))), "an answer overrules the error");
    }

    #[test]
    fn forged_answers_are_waited_past() {
        let mut discovery = Discovery::new(start(), SSRC);
        let mut answer = [0; DISCOVERY_LEN];
        let address = "203.0.113.7".parse().expect("an address");
        Response { ssrc: Ssrc::new(1), address, port: 1 }.write(&mut answer);
        discovery.handle_datagram(&answer);
        discovery.handle_datagram(&[]);
        discovery.handle_datagram(&answer[..73]);
        assert_eq!(discovery.outcome(), None);
        Response { ssrc: SSRC, address, port: 2 }.write(&mut answer);
        discovery.handle_datagram(&answer);
        assert_eq!(discovery.outcome(), Some(Ok(SocketAddr::new(address, 2))));
        Response { ssrc: SSRC, address, port: 3 }.write(&mut answer);
        discovery.handle_datagram(&answer);
        assert_eq!(discovery.outcome(), Some(Ok(SocketAddr::new(address, 2))), "the first answer counts");
        assert_eq!(discovery.ignored(), 4);
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }
}
