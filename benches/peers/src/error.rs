//! Why there are no figures.

use std::{fmt, io, path::PathBuf, time::Duration};

/// Why there are no figures.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The server's program could not be started.
    StartServer {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server ended, or closed its input or output.
    ServerEnded,
    /// The server said nothing for too long.
    ServerSilent {
        /// What it was asked for.
        wanted: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// What the server said is not what it was asked for.
    ServerAnswer {
        /// What it was asked for.
        wanted: &'static str,
        /// What is wrong with the answer.
        source: serde_json::Error,
    },
    /// The server named no address, no port, or one that cannot be used.
    Address {
        /// What it named.
        address: String,
    },
    /// This machine does not have the processor, or it may not be used.
    Pin {
        /// Its number.
        processor: usize,
        /// Why.
        source: io::Error,
    },
    /// The system allows too few open files.
    Files {
        /// How many are needed.
        needed: u64,
        /// How many there may be.
        allowed: u64,
    },
    /// The system's account of this process could not be read.
    Status {
        /// Why.
        source: io::Error,
    },
    /// A socket could not be opened or used.
    Socket {
        /// Why.
        source: io::Error,
    },
    /// The recording of the project could not be read.
    Recording {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An encoder or decoder failed.
    Codec {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A call could not be joined, or ended.
    Call {
        /// The number of the call, from zero.
        call: u32,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something did not happen in time.
    TimedOut {
        /// What.
        what: &'static str,
    },
    /// The program could not start itself again with its certificate.
    Restart {
        /// Why.
        source: io::Error,
    },
    /// The figures cannot be written as JSON, or written.
    Report {
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartServer { program, .. } => write!(f, "the server {} did not start", program.display()),
            Self::ServerEnded => f.write_str("the server ended"),
            Self::ServerSilent { wanted, waited } => {
                write!(f, "the server was asked for {wanted} and said nothing for {} s", waited.as_secs())
            }
            Self::ServerAnswer { wanted, .. } => write!(f, "the server was asked for {wanted} and said something else"),
            Self::Address { address } => write!(f, "the server named the address {address}, which is none"),
            Self::Pin { processor, .. } => write!(f, "processor {processor} cannot be used (see --no-pin)"),
            Self::Files { needed, allowed } => {
                write!(f, "{needed} open files are needed and {allowed} are allowed (see ulimit -Hn)")
            }
            Self::Status { .. } => f.write_str("the system does not tell what this process uses"),
            Self::Socket { .. } => f.write_str("a socket failed"),
            Self::Recording { .. } => f.write_str("the bundled recording cannot be read"),
            Self::Codec { .. } => f.write_str("the codec failed"),
            Self::Call { call, .. } => write!(f, "call {call} failed"),
            Self::TimedOut { what } => write!(f, "{what} took too long"),
            Self::Restart { .. } => f.write_str("the program did not start again with its certificate"),
            Self::Report { .. } => f.write_str("the figures cannot be printed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::StartServer { source, .. }
            | Self::Pin { source, .. }
            | Self::Status { source }
            | Self::Socket { source }
            | Self::Restart { source }
            | Self::Report { source } => Some(source),
            Self::ServerAnswer { source, .. } => Some(source),
            Self::Recording { source } | Self::Codec { source } | Self::Call { source, .. } => Some(&**source),
            Self::ServerEnded
            | Self::ServerSilent { .. }
            | Self::Address { .. }
            | Self::Files { .. }
            | Self::TimedOut { .. } => None,
        }
    }
}
