//! Receiving anywhere: one datagram at a time, and only this process knows when it read it.

use std::io;
use std::time::Instant;

use tokio::net::UdpSocket;

use super::{BUFFER_LEN, Left, Meta};

/// Reads datagrams.
pub(super) struct Receiver {
    began: Instant,
}

impl Receiver {
    /// The most datagrams that are read at once.
    pub(super) const BATCH_LEN: usize = 64;

    #[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
    pub(super) fn new(_is_v4: bool, _udp: &UdpSocket) -> Self {
        Self { began: Instant::now() }
    }

    pub(super) fn tell_arrivals(_udp: &UdpSocket, _wanted: bool) -> bool {
        false
    }

    pub(super) fn overflow(&self) -> u64 {
        0
    }

    /// Reads what is there, as much of it as the buffers hold.
    ///
    /// # Errors
    ///
    /// Returns what the system says. That there is nothing to read is no error.
    pub(super) fn receive(&self, udp: &UdpSocket, buffers: &mut [u8], metas: &mut Vec<Meta>) -> io::Result<Left> {
        for buffer in buffers.chunks_mut(BUFFER_LEN) {
            match udp.try_recv_from(buffer) {
                Ok((len, from)) => metas.push(Meta { len, from, arrival: Some(self.began.elapsed()) }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Left::Nothing),
                Err(error) if metas.is_empty() => return Err(error),
                Err(_) => return Ok(Left::Perhaps),
            }
        }
        Ok(Left::Perhaps)
    }
}

/// As far as the system allows.
pub(super) fn set_buffer_len(udp: &UdpSocket, len: usize) {
    let options = socket2::SockRef::from(udp);
    // The system cuts what is too much and says so to nobody; its default is the fallback.
    let _ = options.set_recv_buffer_size(len);
    let _ = options.set_send_buffer_size(len);
}
