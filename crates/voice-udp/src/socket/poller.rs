//! Waiting for sockets, for a deadline, and for other threads.

use std::{io, sync::Arc, time::Instant};

use mio::{Events, Interest, Poll, Token};

use super::Socket;

/// Waits for any of many sockets, until a deadline that is kept to well below a millisecond where the system
/// has timers for it.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    events: Events,
    waker: Arc<mio::Waker>,
    timer: timer::Timer,
}

impl Poller {
    /// Creates a poller.
    ///
    /// # Errors
    ///
    /// The operating system's, when it has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        let timer = timer::Timer::new(poll.registry())?;
        Ok(Self { poll, events: Events::with_capacity(MAX_EVENTS), waker, timer })
    }

    /// Reports `key` from [`wait`](Self::wait) when the socket has datagrams. After that the socket must be
    /// read until it has none, or it is not reported again.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn add(&mut self, socket: &mut Socket, key: usize) -> io::Result<()> {
        self.poll.registry().register(&mut socket.inner, Token(key), Interest::READABLE)
    }

    /// Stops to report a socket.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn remove(&mut self, socket: &mut Socket) -> io::Result<()> {
        self.poll.registry().deregister(&mut socket.inner)
    }

    /// Waits for a socket, for [`Waker::wake`], or for the deadline, and appends the keys of the sockets that
    /// have datagrams. It may return early with nothing.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn wait(&mut self, deadline: Option<Instant>, readable: &mut Vec<usize>) -> io::Result<()> {
        let timeout = self.timer.set(deadline)?;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        readable
            .extend(self.events.iter().map(|event| event.token()).filter(|token| token.0 < TIMER.0).map(usize::from));
        Ok(())
    }

    /// Lets time pass, so that more can be read with the next wait. Nothing ends it early: not for more than a few
    /// milliseconds.
    pub fn pause(&self, until: Instant) {
        #[expect(clippy::disallowed_methods, reason = "waiting is where the clock is read")]
        let pause = until.saturating_duration_since(Instant::now());
        if pause.is_zero() {
            return;
        }
        #[cfg(target_os = "linux")]
        if let Ok(pause) = pause.try_into() {
            let _ = rustix::thread::nanosleep(&pause);
        }
        #[cfg(not(target_os = "linux"))]
        #[expect(clippy::disallowed_methods, reason = "the point is to wait")]
        std::thread::sleep(pause);
    }

    /// A handle with which other threads end a wait.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }
}

/// Ends the wait of a [`Poller`] from any thread. It needs no lock.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Ends the current wait, or the next one.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// Sockets reported by one wait; more are reported by the next.
const MAX_EVENTS: usize = 1_024;

#[cfg(target_os = "linux")]
mod timer {
    //! A timer descriptor: the system call's own timeout counts whole milliseconds.

    use std::{
        io,
        os::fd::{AsRawFd, OwnedFd},
        time::{Duration, Instant},
    };

    use mio::{Interest, Registry, unix::SourceFd};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    #[derive(Debug)]
    pub(super) struct Timer {
        descriptor: OwnedFd,
        set: Option<Instant>,
    }

    impl Timer {
        pub(super) fn new(registry: &Registry) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&descriptor.as_raw_fd()), super::TIMER, Interest::READABLE)?;
            Ok(Self { descriptor, set: None })
        }

        /// Arms the timer; the wait itself then needs no timeout.
        pub(super) fn set(&mut self, deadline: Option<Instant>) -> io::Result<Option<Duration>> {
            #[expect(clippy::disallowed_methods, reason = "waiting is where the clock is read")]
            let wait = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if wait == Some(Duration::ZERO) {
                return Ok(wait);
            }
            if self.set != deadline {
                let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
                // Zero disarms.
                let it_value = wait.map_or(Ok(zero), Timespec::try_from).unwrap_or(zero);
                let times = Itimerspec { it_interval: zero, it_value };
                timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &times)?;
                self.set = deadline;
            }
            Ok(None)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    //! The system call's own timeout.

    use std::{
        io,
        time::{Duration, Instant},
    };

    use mio::Registry;

    #[derive(Debug)]
    pub(super) struct Timer;

    impl Timer {
        pub(super) fn new(_registry: &Registry) -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) fn set(&mut self, deadline: Option<Instant>) -> io::Result<Option<Duration>> {
            #[expect(clippy::disallowed_methods, reason = "waiting is where the clock is read")]
            Ok(deadline.map(|at| at.saturating_duration_since(Instant::now())))
        }
    }
}
