//! The media socket: many datagrams at a time where the system can, one at a time elsewhere.

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "batched.rs"]
mod receiver;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "single.rs"]
mod receiver;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use self::receiver::Receiver;

/// What is known of a datagram besides its bytes.
#[derive(Clone, Copy, Debug)]
struct Meta {
    len: usize,
    from: SocketAddr,
    /// When it came, since some moment that is the same for all.
    arrival: Option<Duration>,
}

/// A socket and the memory that receiving reuses.
pub(crate) struct MediaSocket {
    udp: UdpSocket,
    receiver: Receiver,
    buffers: Vec<u8>,
    metas: Vec<Meta>,
    /// Datagrams that the socket did not take.
    pub(crate) sends_failed: u64,
}

/// Whether there may be more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Perhaps,
}

impl MediaSocket {
    /// Opens a socket whose buffers hold so many bytes, as far as the system allows.
    pub(crate) async fn bind(address: SocketAddr, buffer_len: usize) -> io::Result<Self> {
        let udp = UdpSocket::bind(address).await?;
        receiver::set_buffer_len(&udp, buffer_len);
        // Sending without waiting works only once the socket is known to be writable.
        udp.writable().await?;
        let receiver = Receiver::new(udp.local_addr()?.is_ipv4(), &udp);
        let (buffers, metas) = (vec![0; Receiver::BATCH_LEN * BUFFER_LEN], Vec::with_capacity(Receiver::BATCH_LEN));
        Ok(Self { udp, receiver, buffers, metas, sends_failed: 0 })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Waits until there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.udp.readable().await
    }

    /// Whether the system can tell when datagrams come, and not only this process when it reads them. It does so from
    /// now on, or no more.
    pub(crate) fn tell_arrivals(&self, wanted: bool) -> bool {
        Receiver::tell_arrivals(&self.udp, wanted)
    }

    /// Datagrams that the system has dropped because the socket's buffer was full, as far as it has told.
    pub(crate) fn overflow(&self) -> u64 {
        self.receiver.overflow()
    }

    /// Reads a batch of what is there, and gives each datagram to `take` with its sender and its arrival.
    pub(crate) fn receive(
        &mut self,
        mut take: impl FnMut(&mut Sender<'_>, SocketAddr, Option<Duration>, &mut [u8]),
    ) -> Left {
        let Self { udp, receiver, buffers, metas, sends_failed } = self;
        metas.clear();
        // An error is an answer to something sent earlier, for example by a closed port.
        let left = receiver.receive(udp, buffers, metas).unwrap_or(Left::Perhaps);
        let mut sender = Sender { udp, failed: sends_failed };
        for (meta, buffer) in metas.iter().zip(buffers.chunks_mut(BUFFER_LEN)) {
            if let Some(datagram) = buffer.get_mut(..meta.len) {
                take(&mut sender, meta.from, meta.arrival, datagram);
            }
        }
        left
    }

    /// What sends on this socket.
    pub(crate) fn sender(&mut self) -> Sender<'_> {
        Sender { udp: &self.udp, failed: &mut self.sends_failed }
    }
}

/// Sends without waiting.
pub(crate) struct Sender<'a> {
    udp: &'a UdpSocket,
    failed: &'a mut u64,
}

impl Sender<'_> {
    /// Sends a datagram, or counts that the socket did not take it.
    pub(crate) fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.udp.try_send_to(bytes, to).is_err() {
            *self.failed += 1;
        }
    }
}

/// A datagram that fills the buffer may have been cut, and is not looked at.
const BUFFER_LEN: usize = 2_048;
