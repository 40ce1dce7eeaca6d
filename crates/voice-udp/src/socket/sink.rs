//! The ways out of a media thread: one system call a datagram, or many at a time.

use std::{fmt, io, str::FromStr};

use super::Socket;
use crate::PacketBuf;

/// Where a thread's datagrams leave. Each is laid out in memory that the sink lends, and leaves with the next
/// [`flush`](Self::flush): first many are sealed and then many are sent, so that neither pushes the other out of the
/// processor's caches for each datagram.
///
/// ```
/// use std::net::UdpSocket;
/// use voice_udp::socket::{DatagramSink, PlainSink, Socket};
/// # use voice_udp::{MediaConfig, media};
/// # let (mut sender, _) = media(MediaConfig {
/// #     key: voice_crypto::SecretKey::new([7; 32]),
/// #     mode: voice_crypto::Mode::Aes256GcmRtpsize,
/// #     seed: 1,
/// #     ssrc: voice_rtp::Ssrc::new(1),
/// # });
/// # sender.set_mode(voice_dave::SendMode::Passthrough);
///
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let mut sockets = vec![Socket::connect(server.local_addr()?)?];
/// let mut sink = PlainSink::new();
/// sink.add(&sockets[0], 0)?;
/// let len = sender.seal(&[0xF8, 0xFF, 0xFE], sink.buffer())?.len();
/// sink.queue(0, len);
/// sink.flush(&mut sockets);
/// assert_eq!(sink.next_failure().map(|failure| failure.key), None);
/// assert_eq!(server.recv(&mut [0; 2048])?, len);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait DatagramSink: fmt::Debug {
    /// Makes a socket known, under a key that no other one has, small and from 0 upwards.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn add(&mut self, socket: &Socket, key: usize) -> io::Result<()>;

    /// Forgets a socket. What is queued for it is dropped.
    fn remove(&mut self, key: usize);

    /// Memory for the next datagram.
    fn buffer(&mut self) -> &mut PacketBuf;

    /// Queues the first `len` bytes of [`buffer`](Self::buffer) for a socket. They leave with the next
    /// [`flush`](Self::flush), which is due now if it [is full](Self::is_full): what is queued beyond that is dropped.
    fn queue(&mut self, key: usize, len: usize);

    /// Whether there is no room for another datagram.
    fn is_full(&self) -> bool;

    /// Lets everything leave that is queued. What the system has no room for is dropped: the next is due in 20 ms anyway.
    fn flush(&mut self, sockets: &mut dyn Sockets);

    /// What did not leave, one at a time. To be asked after each [`flush`](Self::flush).
    fn next_failure(&mut self) -> Option<SendFailure>;

    /// Which one this is.
    fn backend(&self) -> SendBackend;
}

/// The sockets that a sink sends on, by their keys.
pub trait Sockets {
    /// The socket with this key, if it is still there.
    fn socket(&mut self, key: usize) -> Option<&mut Socket>;
}

impl Sockets for Vec<Socket> {
    fn socket(&mut self, key: usize) -> Option<&mut Socket> {
        self.get_mut(key)
    }
}

/// A datagram that did not leave.
#[derive(Debug)]
pub struct SendFailure {
    /// The socket's key.
    pub key: usize,
    /// Why. [`WouldBlock`](io::ErrorKind::WouldBlock): the system had no room for it.
    pub error: io::Error,
}

/// How datagrams leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendBackend {
    /// One system call each, on connected sockets.
    #[default]
    Plain,
    /// Many with one system call, through `io_uring`: Linux, where the kernel and its policies allow it.
    IoUring,
}

impl fmt::Display for SendBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::IoUring => "io_uring",
        })
    }
}

impl FromStr for SendBackend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "plain" => Ok(Self::Plain),
            "io_uring" => Ok(Self::IoUring),
            _ => Err(UnknownBackend),
        }
    }
}

/// The name is that of no way to send (the caller must use `plain` or `io_uring`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownBackend;

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither plain nor io_uring")
    }
}

impl std::error::Error for UnknownBackend {}

/// Makes the sink that is asked for or, where the system does not have it, a plain one. To be called on the thread that
/// will use it.
#[must_use]
pub fn sink(backend: SendBackend) -> Box<dyn DatagramSink> {
    #[cfg(target_os = "linux")]
    if backend == SendBackend::IoUring
        && let Ok(ring) = super::linux::RingSink::new()
    {
        return Box::new(ring);
    }
    let _ = backend;
    Box::new(PlainSink::new())
}

/// Datagrams that wait for a flush, in memory that is used again and again.
pub(super) struct Batch {
    pub(super) buffers: Box<[PacketBuf]>,
    /// The socket's key and the length of each that waits.
    pub(super) queued: Vec<(usize, usize)>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let buffers = vec![PacketBuf::new(); BATCH + 1].into_boxed_slice();
        Self { buffers, queued: Vec::with_capacity(BATCH) }
    }

    pub(super) fn buffer(&mut self) -> &mut PacketBuf {
        &mut self.buffers[self.queued.len()]
    }

    pub(super) fn queue(&mut self, key: usize, len: usize) {
        if !self.is_full() {
            self.queued.push((key, len));
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.queued.len() == BATCH
    }

    pub(super) fn remove(&mut self, key: usize) {
        // In its place, so that each other one stays with its buffer.
        self.queued.iter_mut().filter(|(other, _)| *other == key).for_each(|entry| *entry = (usize::MAX, 0));
    }

    /// Sends each with a system call of its own.
    pub(super) fn send(&mut self, sockets: &mut dyn Sockets, failures: &mut Vec<SendFailure>) {
        for (&(key, len), buffer) in self.queued.iter().zip(&self.buffers) {
            if let Some(socket) = sockets.socket(key)
                && let Err(error) = socket.send(buffer.filled(len))
            {
                failures.push(SendFailure { key, error });
            }
        }
        self.queued.clear();
    }
}

/// Sends each datagram with a system call of its own.
pub struct PlainSink {
    batch: Batch,
    failures: Vec<SendFailure>,
}

impl PlainSink {
    /// Creates one.
    #[must_use]
    pub fn new() -> Self {
        Self { batch: Batch::new(), failures: Vec::new() }
    }
}

impl Default for PlainSink {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PlainSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainSink").field("queued", &self.batch.queued.len()).finish_non_exhaustive()
    }
}

impl DatagramSink for PlainSink {
    fn add(&mut self, _socket: &Socket, _key: usize) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, key: usize) {
        self.batch.remove(key);
    }

    fn buffer(&mut self) -> &mut PacketBuf {
        self.batch.buffer()
    }

    fn queue(&mut self, key: usize, len: usize) {
        self.batch.queue(key, len);
    }

    fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    fn flush(&mut self, sockets: &mut dyn Sockets) {
        self.batch.send(sockets, &mut self.failures);
    }

    fn next_failure(&mut self) -> Option<SendFailure> {
        self.failures.pop()
    }

    fn backend(&self) -> SendBackend {
        SendBackend::Plain
    }
}

/// Datagrams that are sealed before they are sent.
pub(super) const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use voice_rtp::Ssrc;

    use super::*;
    use crate::{MediaConfig, media};

    /// More than leave at a time, from several sockets; each arrives once and whole, from its own socket.
    fn everything_arrives_in_order(mut sink: Box<dyn DatagramSink>) -> io::Result<()> {
        let server = UdpSocket::bind("127.0.0.1:0")?;
        let mut sockets: Vec<_> = (0..5).map(|_| Socket::connect(server.local_addr()?)).collect::<io::Result<_>>()?;
        let (mut sender, _) = media(MediaConfig {
            key: voice_crypto::SecretKey::new([7; 32]),
            mode: voice_crypto::Mode::Aes256GcmRtpsize,
            seed: 1,
            ssrc: Ssrc::new(1),
        });
        sender.set_mode(voice_dave::SendMode::Passthrough);
        for (key, socket) in sockets.iter().enumerate() {
            sink.add(socket, key)?;
        }
        let mut sent = Vec::new();
        for n in 0..200_usize {
            let key = n % sockets.len();
            let len = sender.seal(&vec![n as u8; 1 + n], sink.buffer()).expect("it may be sent").len();
            sent.push((sockets[key].local_addr()?, sink.buffer().filled(len).to_vec()));
            sink.queue(key, len);
            if sink.is_full() {
                sink.flush(&mut sockets);
            }
        }
        sink.flush(&mut sockets);
        assert!(sink.next_failure().is_none());
        let mut buffer = [0; 2048];
        for (from, datagram) in sent {
            let (len, address) = server.recv_from(&mut buffer)?;
            assert_eq!((address.port(), &buffer[..len]), (from.port(), &datagram[..]));
        }
        for key in 0..sockets.len() {
            sink.remove(key);
        }
        Ok(())
    }

    #[test]
    fn what_is_queued_for_a_socket_that_is_gone_is_dropped_alone() -> io::Result<()> {
        for backend in [SendBackend::Plain, SendBackend::IoUring] {
            let mut sink = sink(backend);
            let server = UdpSocket::bind("127.0.0.1:0")?;
            let mut sockets = vec![Socket::connect(server.local_addr()?)?, Socket::connect(server.local_addr()?)?];
            for (key, socket) in sockets.iter().enumerate() {
                sink.add(socket, key)?;
            }
            sink.queue(0, 7);
            sink.queue(1, 8);
            sink.remove(0);
            sink.flush(&mut sockets);
            assert!(sink.next_failure().is_none());
            assert_eq!(server.recv(&mut [0; 20])?, 8, "{backend}");
        }
        Ok(())
    }

    #[test]
    fn plain_sends_leave_in_order() -> io::Result<()> {
        everything_arrives_in_order(Box::new(PlainSink::new()))
    }

    #[test]
    fn what_the_system_has_sends_in_order() -> io::Result<()> {
        everything_arrives_in_order(sink(SendBackend::IoUring))
    }

    #[test]
    fn a_datagram_that_nobody_takes_is_reported_with_its_key() -> io::Result<()> {
        for backend in [SendBackend::Plain, SendBackend::IoUring] {
            let mut sink = sink(backend);
            let gone = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
            let mut sockets = vec![Socket::connect(gone)?];
            sink.add(&sockets[0], 0)?;
            // The refusal of the first is told with the second, as soon as the system knows of it.
            let failure = (0..1_000).find_map(|_| {
                sink.queue(0, 20);
                sink.flush(&mut sockets);
                sink.next_failure()
            });
            let failure = failure.expect("a refusal");
            assert_eq!((failure.key, failure.error.kind()), (0, io::ErrorKind::ConnectionRefused), "{backend}");
        }
        Ok(())
    }
}
