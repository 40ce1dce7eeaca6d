//! The UDP socket of a call and the poller in which a media thread waits for many of them.

mod poller;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Type};

pub use poller::{Poller, Waker};

/// A non-blocking UDP socket that talks to one media server and hears only that one.
#[derive(Debug)]
pub struct Socket {
    inner: mio::net::UdpSocket,
    blocked: u64,
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
        Ok(Self { inner: mio::net::UdpSocket::from_std(socket), blocked: 0 })
    }

    /// Sends one datagram. One that the system has no room for is dropped and counted: the next is due in
    /// 20 ms anyway.
    ///
    /// # Errors
    ///
    /// The operating system's, except for a full send buffer.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        match self.inner.send(datagram) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Receives one datagram into `buffer` and returns its length; `None` when there is none.
    ///
    /// # Errors
    ///
    /// The operating system's; a refused port of the peer is reported here by some.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            return match self.inner.recv(buffer) {
                Ok(len) => Ok(Some(len)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(None),
                    io::ErrorKind::Interrupted => continue,
                    _ => Err(error),
                },
            };
        }
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Datagrams dropped because the system's send buffer was full.
    #[must_use]
    pub const fn blocked(&self) -> u64 {
        self.blocked
    }
}

/// Bytes to receive into. A datagram that fills it was cut and is to be dropped.
pub const RECEIVE_BUFFER_LEN: usize = 2_048;

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
        let mut buffer = [0; RECEIVE_BUFFER_LEN];
        let len = socket.receive(&mut buffer)?.expect("a datagram");
        assert_eq!(&buffer[..len], b"server");
        assert_eq!(socket.receive(&mut buffer)?, None);
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
    fn another_thread_can_wake_the_poller() -> io::Result<()> {
        let mut poller = Poller::new()?;
        let waker = poller.waker();
        let thread = std::thread::spawn(move || waker.wake());
        poller.wait(None, &mut Vec::new())?;
        thread.join().expect("the thread ends")
    }
}
