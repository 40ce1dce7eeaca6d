//! System calls that take many datagrams at once. The only file of the project that may hold `unsafe` code.
#![expect(unsafe_code, reason = "recvmmsg and io_uring have no safe interface that keeps its buffers")]

use std::{
    array, fmt, io, mem,
    os::fd::{AsRawFd, RawFd},
    ptr,
};

use io_uring::{IoUring, opcode, types};

use super::{
    DatagramSink, SendBackend, SendFailure, Socket, Sockets,
    inbox::{BATCH, Buffer},
    sink::Batch,
};
use crate::PacketBuf;

/// Receives what is there, up to as many datagrams as there are buffers. Fewer than that means that no more are there.
pub(super) fn receive_many(
    socket: &mio::net::UdpSocket,
    buffers: &mut [Buffer; BATCH],
    lens: &mut [usize; BATCH],
) -> io::Result<usize> {
    let mut vectors =
        buffers.each_mut().map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
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

/// Gives the current thread the lowest real-time priority; threads that it starts begin without it.
pub(super) fn run_in_real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the kernel reads the parameters, which outlive the call, and nothing else of ours. 0 is the current thread. The C
    // library's function is not used, because some of them refuse it.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends many datagrams with one system call, through `io_uring`.
pub(super) struct RingSink {
    /// Before the buffers, so that the kernel lets go of them first.
    ring: IoUring,
    batch: Batch,
    /// Sends that the kernel has not reported on.
    under_way: usize,
    /// The ring has failed, and is used no more.
    is_broken: bool,
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
            .build(BATCH_LEN)
            .or_else(|_| IoUring::new(BATCH_LEN))?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Send::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // A table may not be larger than the number of files that a process may have open.
        let places = MAX_FILES.into_iter().find(|places| ring.submitter().register_files_sparse(*places).is_ok());
        Ok(Self {
            ring,
            batch: Batch::new(),
            under_way: 0,
            is_broken: false,
            registered: vec![false; places.unwrap_or(0) as usize],
            failures: Vec::new(),
        })
    }

    /// Tells the kernel of everything that is queued, and waits until it has reported on all of it: only then may a
    /// buffer be used again.
    fn submit(&mut self) {
        while self.under_way > 0 {
            match self.ring.submit_and_wait(self.under_way) {
                Ok(_) => self.reap(),
                // Reports have to be taken first, or a signal came.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EINTR)) => self.reap(),
                Err(error) => {
                    let failed = self.batch.queued.iter().filter(|(key, _)| *key != usize::MAX);
                    let kind = error.kind();
                    self.failures.extend(failed.map(|(key, _)| SendFailure { key: *key, error: kind.into() }));
                    // The kernel may read them still, so nobody may write to them any more.
                    mem::forget(mem::replace(&mut self.batch, Batch::new()));
                    (self.is_broken, self.under_way) = (true, 0);
                }
            }
        }
    }

    fn reap(&mut self) {
        for report in self.ring.completion() {
            self.under_way -= 1;
            if report.result() < 0 {
                let error = io::Error::from_raw_os_error(-report.result());
                self.failures.push(SendFailure { key: report.user_data() as usize, error });
            }
        }
    }
}

impl DatagramSink for RingSink {
    fn add(&mut self, socket: &Socket, key: usize) -> io::Result<()> {
        if let Some(registered) = self.registered.get_mut(key) {
            let place = key as u32;
            *registered =
                self.ring.submitter().register_files_update(place, &[socket.inner.as_raw_fd()]).is_ok_and(|n| n == 1);
        }
        Ok(())
    }

    fn remove(&mut self, key: usize) {
        self.batch.remove(key);
        if let Some(registered) = self.registered.get_mut(key).filter(|registered| **registered) {
            *registered = false;
            // What fails leaves a socket open that nobody uses.
            let _ = self.ring.submitter().register_files_update(key as u32, &[NO_FILE]);
        }
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
        if self.is_broken {
            return self.batch.send(sockets, &mut self.failures);
        }
        for (&(key, len), buffer) in self.batch.queued.iter().zip(&self.batch.buffers) {
            let datagram = buffer.filled(len);
            let (start, len) = (datagram.as_ptr(), datagram.len() as u32);
            let entry = if self.registered.get(key).is_some_and(|registered| *registered) {
                opcode::Send::new(types::Fixed(key as u32), start, len).flags(libc::MSG_DONTWAIT).build()
            } else if let Some(socket) = sockets.socket(key) {
                opcode::Send::new(types::Fd(socket.inner.as_raw_fd()), start, len).flags(libc::MSG_DONTWAIT).build()
            } else {
                continue;
            };
            // SAFETY: the bytes are in a buffer of the batch, which is not written to before the kernel has reported on
            // this entry, and is never freed if it does not.
            match unsafe { self.ring.submission().push(&entry.user_data(key as u64)) } {
                Ok(()) => self.under_way += 1,
                // Cannot be: there are as many places as buffers.
                Err(_) => self.failures.push(SendFailure { key, error: io::ErrorKind::WouldBlock.into() }),
            }
        }
        self.submit();
        self.batch.queued.clear();
    }

    fn next_failure(&mut self) -> Option<SendFailure> {
        self.failures.pop()
    }

    fn backend(&self) -> SendBackend {
        if self.is_broken { SendBackend::Plain } else { SendBackend::IoUring }
    }
}

impl fmt::Debug for RingSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingSink").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

const BATCH_LEN: u32 = super::sink::BATCH as u32;
/// Sockets that have a place in the ring's table; 8 bytes each, of the kernel's.
const MAX_FILES: [u32; 3] = [16_384, 4_096, 1_024];
/// Empties a place of the table.
const NO_FILE: RawFd = -1;
