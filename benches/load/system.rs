//! What is asked of the operating system beforehand: processors, descriptors, and that nothing outlives this process.

use std::{ffi::OsString, process::Command, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{args::PinArgs, error::Error};

/// The processors of the calls, and of everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pins {
    pub(crate) client: Option<usize>,
    pub(crate) server: Option<usize>,
}

impl Pins {
    /// What was asked for, or what suits this machine.
    pub(crate) fn new(args: PinArgs) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::on(args, processors)
    }

    fn on(PinArgs { pin_client, pin_server, no_pin }: PinArgs, processors: usize) -> Self {
        let default = |processor| Some(processor).filter(|_| !no_pin && processors > 1);
        Self { client: pin_client.or_else(|| default(0)), server: pin_server.or_else(|| default(1)) }
    }
}

/// Puts this thread, and all that it starts from now on, on one processor.
pub(crate) fn pin(processor: Option<usize>) -> Result<(), Error> {
    let Some(processor) = processor else { return Ok(()) };
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_setaffinity};

        if processor >= CpuSet::MAX_CPU {
            return Err(Error::NoProcessor { processor, source: None });
        }
        let mut set = CpuSet::new();
        set.set(processor);
        sched_setaffinity(None, &set).map_err(|error| Error::NoProcessor { processor, source: Some(error.into()) })
    }
    #[cfg(not(target_os = "linux"))]
    Err(Error::NoProcessor { processor, source: None })
}

/// Allows as many open files as this process may have: two for each call.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, calls fail and say why.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Becomes another program, which ends with the process that started this one, however that ends.
///
/// A server that is killed only by its owner's last words would stay when the owner has none.
pub(crate) fn become_server(mut line: impl Iterator<Item = OsString>) -> Result<(), Error> {
    use std::os::unix::process::CommandExt as _;

    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let Some(program) = line.next() else { return Ok(()) };
    Err(Error::Start { name: "the voice server", source: Command::new(program).args(line).exec() })
}

/// What this program's first argument is if it is to become the server.
pub(crate) const AS_SERVER: &str = "--as-server";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_and_server_are_kept_apart_where_there_is_room() {
        let none = PinArgs { pin_client: None, pin_server: None, no_pin: false };
        assert_eq!(Pins::on(none, 2), Pins { client: Some(0), server: Some(1) });
        assert_eq!(Pins::on(none, 1), Pins { client: None, server: None });
        assert_eq!(Pins::on(PinArgs { no_pin: true, ..none }, 2), Pins { client: None, server: None });
        assert_eq!(Pins::on(PinArgs { pin_client: Some(3), ..none }, 4), Pins { client: Some(3), server: Some(1) });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_processor_that_is_not_there_is_an_error() {
        assert!(matches!(pin(Some(100_000)), Err(Error::NoProcessor { .. })));
    }
}
