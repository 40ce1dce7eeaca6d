//! The UDP socket of a call and the poller in which a media thread waits for many of them.

mod inbox;
#[cfg(target_os = "linux")]
mod linux;
mod poller;
mod sink;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Type};

pub use inbox::{Inbox, RECEIVE_BUFFER_LEN};
pub use poller::{Poller, Waker};
pub use sink::{DatagramSink, PlainSink, SendBackend, SendFailure, Sockets, UnknownBackend, sink};

/// Has the current thread run before all threads of the machine that are not real-time themselves, for as long as it has
/// something to do: with the lowest priority of the policy `SCHED_FIFO`. Threads that it starts do not inherit it.
///
/// # Errors
///
/// The operating system's, when it does not allow it; [`Unsupported`](io::ErrorKind::Unsupported) where there is no such thing.
pub fn run_in_real_time() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return linux::run_in_real_time();
    #[cfg(not(target_os = "linux"))]
    return Err(io::ErrorKind::Unsupported.into());
}

/// A non-blocking UDP socket that talks to one media server and hears only that one.
#[derive(Debug)]
pub struct Socket {
    inner: mio::net::UdpSocket,
}

impl Socket {
    /// Opens a socket on any local port, connected to the media server.
    ///
    /// # Errors
    ///
    /// The operating system's, when there is no route or no free socket.
    pub fn connect(server: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        socket.bind(&any.into())?;
        socket.connect(&server.into())?;
        Self::from_std(socket.into())
    }

    /// Takes over a connected socket, such as the one that IP discovery was made with.
    ///
    /// # Errors
    ///
    /// The operating system's, when the socket cannot be made non-blocking.
    pub fn from_std(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { inner: mio::net::UdpSocket::from_std(socket) })
    }

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// The operating system's; [`WouldBlock`](io::ErrorKind::WouldBlock) when it has no room for the datagram, which is
    /// dropped: the next is due in 20 ms anyway.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.inner.send(datagram).map(drop)
    }

    /// Receives the datagrams that are there, as many as the inbox holds, in place of what is in it. Returns whether
    /// there may be more.
    ///
    /// # Errors
    ///
    /// The operating system's; a refused port of the peer is reported here by some. Datagrams may be there nevertheless.
    pub fn receive(&mut self, inbox: &mut Inbox) -> io::Result<bool> {
        inbox.receive(&self.inner)
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "real sockets live in real time")]
    fn datagrams_of_others_are_not_heard_and_the_poller_wakes_for_the_servers() -> io::Result<()> {
        let server = UdpSocket::bind("127.0.0.1:0")?;
        let stranger = UdpSocket::bind("127.0.0.1:0")?;
        let mut socket = Socket::connect(server.local_addr()?)?;
        let mut poller = Poller::new()?;
        poller.add(&mut socket, 7)?;

        stranger.send_to(b"stranger", socket.local_addr()?)?;
        server.send_to(b"server", socket.local_addr()?)?;
        let mut readable = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while readable.is_empty() && Instant::now() < deadline {
            poller.wait(Some(deadline), &mut readable)?;
        }
        assert_eq!(readable, [7]);
        let mut inbox = Inbox::new();
        assert!(!socket.receive(&mut inbox)?);
        assert_eq!(inbox.datagrams().collect::<Vec<_>>(), [b"server"]);
        assert!(!socket.receive(&mut inbox)?);
        assert_eq!(inbox.datagrams().count(), 0);
        poller.remove(&mut socket)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the point is to measure the wait")]
    fn the_poller_wakes_at_its_deadline_and_not_before() -> io::Result<()> {
        let mut poller = Poller::new()?;
        let deadline = Instant::now() + Duration::from_micros(2_300);
        let mut readable = Vec::new();
        while Instant::now() < deadline {
            poller.wait(Some(deadline), &mut readable)?;
        }
        assert!(readable.is_empty());
        assert!(Instant::now() < deadline + Duration::from_secs(2));
        Ok(())
    }

    #[test]
    fn a_thread_runs_in_real_time_or_is_told_why_not() {
        std::thread::spawn(|| match run_in_real_time() {
            Ok(()) => {}
            Err(error) => {
                let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::Unsupported];
                assert!(kinds.contains(&error.kind()), "{error}");
            }
        })
        .join()
        .expect("the thread ends");
    }

    #[test]
    fn another_thread_can_wake_the_poller() -> io::Result<()> {
        let mut poller = Poller::new()?;
        let waker = poller.waker();
        let thread = std::thread::spawn(move || waker.wake());
        poller.wait(None, &mut Vec::new())?;
        thread.join().expect("the thread ends")
    }
}
