//! Where and how urgently a media thread runs.

/// Puts the current thread on a core and before other threads, as far as the system lets it.
#[cfg(target_os = "linux")]
pub(super) fn settle(core: Option<usize>, nice: Option<i32>, real_time: bool) {
    use rustix::{
        process::{getpriority_process, setpriority_process},
        thread::{CpuSet, gettid, sched_setaffinity, set_current_timer_slack},
    };
    use voice_udp::socket::run_in_real_time;

    // A wait is a deadline to be kept; by default 50 us are added to it.
    let _ = set_current_timer_slack(std::num::NonZeroU64::new(1));
    let thread = Some(gettid());
    if let Some(core) = core {
        let mut cores = CpuSet::new();
        if core < CpuSet::MAX_CPU {
            cores.set(core);
        }
        if let Err(error) = sched_setaffinity(thread, &cores) {
            tracing::warn!(core, %error, "a media thread cannot run on the core that it was given");
        }
    }
    if real_time {
        match run_in_real_time() {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "media threads do not run in real time"),
        }
    }
    if let Some(nice) = nice
        && getpriority_process(thread).is_ok_and(|current| current > nice)
        && let Err(error) = setpriority_process(thread, nice)
    {
        tracing::debug!(nice, %error, "media threads have no precedence");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn settle(core: Option<usize>, _nice: Option<i32>, real_time: bool) {
    if core.is_some() {
        tracing::warn!("media threads cannot be put on cores here");
    }
    if real_time {
        tracing::warn!("media threads do not run in real time here");
    }
}

/// The processor time that the current thread has taken, where the system tells.
#[cfg(target_os = "linux")]
pub(super) fn cpu_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn cpu_time() -> std::time::Duration {
    std::time::Duration::ZERO
}
