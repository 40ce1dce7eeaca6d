//! What the operating system knows of this process, and what it wants of it.

#[cfg(unix)]
use std::task::Poll;
use std::time::Duration;

/// The processor time used so far, in user and system mode, of all threads; `None` where it cannot be told.
pub(crate) fn cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
    }
    #[cfg(not(unix))]
    None
}

/// Lets this process have as many files and sockets open as it may ask for.
pub(crate) fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // What there is has to do then.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Whether there is a process with this id. Where it cannot be told there may be one.
pub(crate) fn is_running(id: u32) -> bool {
    #[cfg(unix)]
    {
        use rustix::{io::Errno, process};

        let id = i32::try_from(id).ok().and_then(process::Pid::from_raw);
        // One of another user is there, and may not be sent signals.
        id.is_some_and(|id| process::test_kill_process(id) != Err(Errno::SRCH))
    }
    #[cfg(not(unix))]
    {
        let _ = id;
        true
    }
}

/// Waits for Ctrl-C, or on Unix for SIGTERM or SIGHUP, which a terminal sends as it closes. From the call on, before anything
/// is waited for, these no longer end the process by themselves.
pub(crate) fn asked_to_stop() -> impl Future<Output = ()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let told = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        async move {
            let mut told = told;
            std::future::poll_fn(|cx| {
                // One that cannot be waited for ends the process as ever.
                let is_told = told.iter_mut().flatten().any(|signal| signal.poll_recv(cx).is_ready());
                if is_told { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }
    #[cfg(not(unix))]
    async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
