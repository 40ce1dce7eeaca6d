//! System calls that take many datagrams at once. The only file of the project that may hold `unsafe` code.
#![expect(unsafe_code, reason = "recvmmsg and io_uring have no safe interface that keeps its buffers")]

use std::{
    array, fmt, io, mem,
    os::fd::{AsRawFd, RawFd},
    ptr,
};

use io_uring::{IoUring, opcode, squeue, types};

use super::{
    DatagramSink, SendBackend, SendFailure, Socket,
    inbox::{BATCH, Buffer},
};
use crate::PacketBuf;

/// Receives what is there, up to as many datagrams as there are buffers. Fewer than that means that no more are there.
pub(super) fn receive_many(
    socket: &mio::net::UdpSocket,
    buffers: &mut [Buffer; BATCH],
    lens: &mut [usize; BATCH],
) -> io::Result<usize> {
    let mut vectors = buffers
        .each_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
    let mut headers: [libc::mmsghdr; BATCH] = array::from_fn(|_| {
        // SAFETY: all zeroes is a valid `mmsghdr`: no name, no vectors, no control data.
        unsafe { mem::zeroed() }
    });
    for (header, vector) in headers.iter_mut().zip(&mut vectors) {
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
    }
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: each header points to one vector, each vector to one buffer of the length that it says; all outlive the
    // call, and nothing else refers to the buffers, which are borrowed exclusively.
    let received =
        unsafe { libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as _, flags as _, ptr::null_mut()) };
    let count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (len, header) in lens.iter_mut().zip(&headers).take(count) {
        *len = header.msg_len as usize;
    }
    Ok(count)
}

/// Sends many datagrams with one system call, through `io_uring`.
pub(super) struct RingSink {
    /// Before the buffers, so that the kernel lets go of them first.
    ring: IoUring,
    buffers: Box<[PacketBuf]>,
    /// Buffers that the kernel has nothing to do with.
    free: Vec<usize>,
    /// The one that is lent out.
    lent: usize,
    /// Sends that the kernel has not reported on.
    under_way: usize,
    /// Which keys have a place in the ring's table of files; the others go by their descriptor.
    registered: Vec<bool>,
    failures: Vec<SendFailure>,
}

impl RingSink {
    /// Sets a ring up.
    ///
    /// # Errors
    ///
    /// The operating system's, where it has no such thing or does not allow it.
    pub(super) fn new() -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(RING_LEN)
            .or_else(|_| IoUring::new(RING_LEN))?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Send::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let has_table = ring.submitter().register_files_sparse(MAX_FILES).is_ok();
        Ok(Self {
            ring,
            buffers: vec![PacketBuf::new(); RING_LEN as usize].into_boxed_slice(),
            free: (1..RING_LEN as usize).collect(),
            lent: 0,
            under_way: 0,
            registered: vec![false; if has_table { MAX_FILES as usize } else { 0 }],
            failures: Vec::new(),
        })
    }

    /// Tells the kernel of what is queued, and waits until it has reported on so many of all that it was told of.
    fn submit(&mut self, wait_for: usize) {
        loop {
            match self.ring.submit_and_wait(wait_for) {
                Ok(_) => break,
                // Completions have to be taken first, or a signal came.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EINTR)) => self.reap(),
                // What is queued stays so; when no buffer is free any more, sends fail.
                Err(_) => break,
            }
        }
        self.reap();
    }

    /// Takes the kernel's reports: only after its report is a buffer used again.
    fn reap(&mut self) {
        for report in self.ring.completion() {
            let (key, buffer) = unpack(report.user_data());
            self.free.push(buffer);
            self.under_way -= 1;
            if report.result() < 0 {
                self.failures.push(SendFailure { key, error: io::Error::from_raw_os_error(-report.result()) });
            }
        }
    }
}

impl DatagramSink for RingSink {
    fn add(&mut self, socket: &Socket, key: usize) -> io::Result<()> {
        if let Some(registered) = self.registered.get_mut(key) {
            self.ring.submitter().register_files_update(key as u32, &[socket.inner.as_raw_fd()])?;
            *registered = true;
        }
        Ok(())
    }

    fn remove(&mut self, key: usize) {
        self.flush();
        if let Some(registered) = self.registered.get_mut(key).filter(|registered| **registered) {
            *registered = false;
            // What fails leaves a socket open that nobody uses.
            let _ = self.ring.submitter().register_files_update(key as u32, &[NO_FILE]);
        }
    }

    fn buffer(&mut self) -> &mut PacketBuf {
        &mut self.buffers[self.lent]
    }

    fn send(&mut self, socket: &mut Socket, key: usize, len: usize) {
        if self.free.is_empty() {
            self.submit(1);
        }
        let Some(next) = self.free.pop() else {
            self.failures.push(SendFailure { key, error: io::ErrorKind::WouldBlock.into() });
            return;
        };
        let datagram = self.buffers[self.lent].filled(len);
        let (start, len) = (datagram.as_ptr(), datagram.len() as u32);
        let entry = if self.registered.get(key).is_some_and(|registered| *registered) {
            opcode::Send::new(types::Fixed(key as u32), start, len).flags(libc::MSG_DONTWAIT).build()
        } else {
            opcode::Send::new(types::Fd(socket.inner.as_raw_fd()), start, len).flags(libc::MSG_DONTWAIT).build()
        };
        let entry: squeue::Entry = entry.user_data(pack(key, self.lent));
        // SAFETY: the bytes are in a buffer of this sink, which is neither moved nor lent out before the kernel has
        // reported on this entry, and outlives the ring.
        let queued = unsafe { self.ring.submission().push(&entry) };
        if queued.is_ok() {
            self.under_way += 1;
            self.lent = next;
        } else {
            // There are as many places as buffers, so this cannot be.
            self.free.push(next);
            self.failures.push(SendFailure { key, error: io::ErrorKind::WouldBlock.into() });
        }
    }

    fn flush(&mut self) {
        if self.under_way > 0 {
            self.submit(self.under_way);
        }
    }

    fn next_failure(&mut self) -> Option<SendFailure> {
        self.failures.pop()
    }

    fn backend(&self) -> SendBackend {
        SendBackend::IoUring
    }
}

impl Drop for RingSink {
    fn drop(&mut self) {
        self.flush();
        if self.under_way > 0 {
            // The kernel did not report on them, so it may read them still.
            mem::forget(mem::take(&mut self.buffers));
        }
    }
}

impl fmt::Debug for RingSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingSink").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

fn pack(key: usize, buffer: usize) -> u64 {
    (key as u64) << 32 | buffer as u64
}

fn unpack(data: u64) -> (usize, usize) {
    ((data >> 32) as usize, (data & u64::from(u32::MAX)) as usize)
}

/// Datagrams that leave with one system call.
const RING_LEN: u32 = 128;
/// Sockets that have a place in the ring's table; 8 bytes each, of the kernel's.
const MAX_FILES: u32 = 16_384;
/// Empties a place of the table.
const NO_FILE: RawFd = -1;
