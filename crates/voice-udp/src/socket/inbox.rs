//! Memory for the datagrams that one look at a socket brings.

use std::{fmt, io};

/// Where datagrams are received: up to 32 at a time, each in a buffer of its own, all used again and again.
///
/// ```no_run
/// use voice_udp::socket::{Inbox, Socket};
///
/// let mut socket = Socket::connect("203.0.113.7:50004".parse()?)?;
/// let mut inbox = Inbox::new();
/// while socket.receive(&mut inbox)? {
///     for datagram in inbox.datagrams() {
///         println!("{} bytes", datagram.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Inbox {
    buffers: Box<[Buffer; BATCH]>,
    lens: [usize; BATCH],
    count: usize,
}

pub(super) type Buffer = [u8; RECEIVE_BUFFER_LEN];

impl Inbox {
    /// Creates an empty one, of 64 KiB.
    #[must_use]
    pub fn new() -> Self {
        let buffers = vec![[0; RECEIVE_BUFFER_LEN]; BATCH].into_boxed_slice();
        let buffers = buffers.try_into().expect("as many as were asked for");
        Self { buffers, lens: [0; BATCH], count: 0 }
    }

    /// What was received last, to be opened in place. A datagram of [`RECEIVE_BUFFER_LEN`] bytes was cut, and is to be
    /// dropped.
    pub fn datagrams(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let Self { buffers, lens, count } = self;
        buffers.iter_mut().zip(lens).take(*count).map(|(buffer, len)| &mut buffer[..*len])
    }

    /// How many datagrams that is.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was received.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Nothing is there, or one that fills the inbox brings the rest later.
    pub(super) fn receive(&mut self, socket: &mio::net::UdpSocket) -> io::Result<bool> {
        self.count = 0;
        match read(socket, &mut self.buffers, &mut self.lens) {
            Ok(count) => {
                self.count = count;
                Ok(count == BATCH)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("len", &self.count).finish_non_exhaustive()
    }
}

#[cfg(target_os = "linux")]
fn read(socket: &mio::net::UdpSocket, buffers: &mut [Buffer; BATCH], lens: &mut [usize; BATCH]) -> io::Result<usize> {
    super::linux::receive_many(socket, buffers, lens)
}

#[cfg(not(target_os = "linux"))]
fn read(socket: &mio::net::UdpSocket, buffers: &mut [Buffer; BATCH], lens: &mut [usize; BATCH]) -> io::Result<usize> {
    for (count, (buffer, len)) in buffers.iter_mut().zip(lens).enumerate() {
        match socket.recv(buffer) {
            Ok(received) => *len = received,
            Err(error) if count == 0 => return Err(error),
            // An error that is not lost is reported by the next call; the others are of datagrams that are gone.
            Err(_) => return Ok(count),
        }
    }
    Ok(BATCH)
}

/// Datagrams received at a time.
pub(super) const BATCH: usize = 32;

/// Bytes to receive into. A datagram that fills it was cut and is to be dropped.
pub const RECEIVE_BUFFER_LEN: usize = 2_048;
