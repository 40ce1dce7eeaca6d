//! What the operating system knows of this process, and what it wants of it.

use std::{fs, io, time::Duration};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

use crate::Error;

/// The processor time used so far, in user and system mode, of all threads.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Memory and threads of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// Threads.
    pub threads: u64,
}

impl Status {
    /// As it is now.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] where the system does not tell.
    pub fn now() -> Result<Self, Error> {
        let text = fs::read_to_string("/proc/self/status").map_err(|source| Error::Status { source })?;
        Self::parse(&text).ok_or_else(|| Error::Status { source: io::ErrorKind::InvalidData.into() })
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self { rss_kib: number("VmRSS:")?, threads: number("Threads:")? })
    }
}

/// Keeps this thread, and those that it starts from now on, on one processor.
///
/// # Errors
///
/// [`Error::Pin`] when there is no such processor.
pub fn pin(processor: Option<usize>) -> Result<(), Error> {
    let Some(processor) = processor else { return Ok(()) };
    let fail = |source| Error::Pin { processor, source };
    if processor >= CpuSet::MAX_CPU {
        return Err(fail(io::ErrorKind::InvalidInput.into()));
    }
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).map_err(|errno| fail(errno.into()))
}

/// Has the system allow so many open files.
///
/// # Errors
///
/// [`Error::Files`] when it does not.
pub fn allow_files(needed: u64) -> Result<(), Error> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum_wanted = maximum.map(|maximum| maximum.max(needed));
    let raised = [maximum, maximum_wanted].into_iter().any(|maximum| {
        maximum.is_none_or(|maximum| maximum >= needed)
            && setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).is_ok()
    });
    if raised { Ok(()) } else { Err(Error::Files { needed, allowed: maximum.unwrap_or(needed) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read() {
        let text = "Name:\tpeer\nVmRSS:\t    4711 kB\nThreads:\t3\n";
        assert_eq!(Status::parse(text), Some(Status { rss_kib: 4711, threads: 3 }));
        assert_eq!(Status::parse("Name:\tpeer\n"), None);
        assert!(Status::now().is_ok_and(|status| status.rss_kib > 0 && status.threads > 0));
    }

    #[test]
    fn work_takes_processor_time() {
        let before = cpu_time();
        let mut work = 0_u64;
        while cpu_time() < before + Duration::from_millis(1) {
            work = std::hint::black_box(work.wrapping_add(1));
        }
        assert!(work > 0);
    }

    #[test]
    fn a_processor_that_is_not_there_is_an_error() {
        assert!(matches!(pin(Some(usize::MAX)), Err(Error::Pin { .. })));
        assert!(pin(None).is_ok());
    }
}
