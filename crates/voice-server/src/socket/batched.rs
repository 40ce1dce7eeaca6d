//! Receiving on Linux: recvmmsg, with the kernel's timestamps and its count of what it dropped.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{BUFFER_LEN, Left, Meta};

/// Reads batches of datagrams.
pub(super) struct Receiver {
    is_v4: bool,
    /// How many to ask for next: headers are made anew each time, because the kernel shrinks their room for control
    /// messages to what the last datagram needed, and as many as are likely to be used.
    batch_len: usize,
    /// The kernel's count as it was told last; it wraps.
    last_overflow: u32,
    overflow: u64,
}

impl Receiver {
    /// The most datagrams that are read at once.
    pub(super) const BATCH_LEN: usize = 64;

    pub(super) fn new(is_v4: bool, udp: &UdpSocket) -> Self {
        // Without it nothing is lost but a count.
        let _ = setsockopt(udp, sockopt::RxqOvfl, &1);
        Self { is_v4, batch_len: LEAST_BATCH_LEN, last_overflow: 0, overflow: 0 }
    }

    pub(super) fn tell_arrivals(udp: &UdpSocket, wanted: bool) -> bool {
        setsockopt(udp, sockopt::ReceiveTimestampns, &wanted).is_ok()
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Reads what is there, as much of it as the buffers hold.
    ///
    /// # Errors
    ///
    /// Returns what the system says. That there is nothing to read is no error.
    pub(super) fn receive(&mut self, udp: &UdpSocket, buffers: &mut [u8], metas: &mut Vec<Meta>) -> io::Result<Left> {
        let mut overflow = None;
        let batch_len = self.batch_len;
        let read = udp.try_io(Interest::READABLE, || {
            let fd = udp.as_raw_fd();
            if self.is_v4 {
                read::<SockaddrIn>(fd, batch_len, buffers, metas, &mut overflow)?;
            } else {
                read::<SockaddrIn6>(fd, batch_len, buffers, metas, &mut overflow)?;
            }
            // Nothing is left of what was there, and what comes next wakes us: no need to try it out.
            if metas.len() < batch_len { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        self.batch_len = (2 * metas.len()).clamp(LEAST_BATCH_LEN, Self::BATCH_LEN);
        if let Some(overflow) = overflow {
            self.overflow += u64::from(overflow.wrapping_sub(self.last_overflow));
            self.last_overflow = overflow;
        }
        match read {
            Ok(()) => Ok(Left::Perhaps),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Left::Nothing),
            Err(error) => Err(error),
        }
    }
}

/// Reads a batch.
fn read<S: SockaddrLike + Copy + Into<SocketAddr>>(
    fd: RawFd,
    batch_len: usize,
    buffers: &mut [u8],
    metas: &mut Vec<Meta>,
    overflow: &mut Option<u32>,
) -> io::Result<()> {
    let mut headers = MultiHeaders::<S>::preallocate(batch_len, Some(cmsg_space!(TimeSpec, u32)));
    let mut slices: Vec<[IoSliceMut<'_>; 1]> =
        buffers.chunks_mut(BUFFER_LEN).take(batch_len).map(|buffer| [IoSliceMut::new(buffer)]).collect();
    for message in recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)? {
        let mut arrival = None;
        for control in message.cmsgs().into_iter().flatten() {
            match control {
                ControlMessageOwned::ScmTimestampns(at) => arrival = Some(Duration::from(at)),
                ControlMessageOwned::RxqOvfl(count) => *overflow = Some(count),
                _ => {}
            }
        }
        if let Some(from) = message.address {
            metas.push(Meta { len: message.bytes, from: from.into(), arrival });
        }
    }
    Ok(())
}

/// Enough for when little is going on.
const LEAST_BATCH_LEN: usize = 8;

/// Beyond the system's limit where this process may, and up to it elsewhere.
pub(super) fn set_buffer_len(udp: &UdpSocket, len: usize) {
    let options = socket2::SockRef::from(udp);
    // The system cuts what is too much and says so to nobody; its default is the fallback.
    if setsockopt(udp, sockopt::RcvBufForce, &len).is_err() {
        let _ = options.set_recv_buffer_size(len);
    }
    if setsockopt(udp, sockopt::SndBufForce, &len).is_err() {
        let _ = options.set_send_buffer_size(len);
    }
}
