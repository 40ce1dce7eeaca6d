//! What can go wrong, each as one line that says what to do.

use std::{error::Error as StdError, fmt, io, path::PathBuf, time::Duration};

use discord_voice::{CertificateError, ConnectError, EndpointError};

/// Why there are no figures.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum Error {
    /// There is no server to start.
    NoServer { path: PathBuf },
    /// This program does not know where it is.
    NoProgram { source: io::Error },
    /// A process cannot be started.
    Start { name: &'static str, source: io::Error },
    /// A process ended.
    Gone { name: &'static str, last: String },
    /// A process did not say what it should in time.
    Silent { name: &'static str, limit: Duration },
    /// What a process says cannot be read.
    Read { name: &'static str, source: io::Error },
    /// A process wrote a line without an end.
    LongLine { name: &'static str },
    /// A process said something else than it should.
    NotUnderstood { name: &'static str, source: serde_json::Error },
    /// The server cannot measure.
    NotMeasured { error: String },
    /// The endpoint of the server is none.
    BadEndpoint { source: EndpointError },
    /// The certificate cannot be read.
    ReadCertificate { path: PathBuf, source: io::Error },
    /// The file holds no usable certificate.
    BadCertificate { path: PathBuf, source: CertificateError },
    /// There is no such processor, or it may not be used.
    NoProcessor { processor: usize, source: Option<io::Error> },
    /// The runtime or the media threads cannot start.
    Threads { source: io::Error },
    /// The bundled recording cannot be used.
    Audio { source: Box<dyn StdError + Send + Sync> },
    /// Not all calls could be opened.
    NoCall { failed: u64, first: Option<ConnectError> },
    /// The other members of the calls could not join.
    Peers { failed: u64, first: String },
    /// The figures are no JSON.
    Report { source: serde_json::Error },
}

impl Error {
    /// Wraps what is wrong with the recording.
    pub(crate) fn audio(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Audio { source: source.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer { path } => write!(
                f,
                "there is no server to start at {}; build it with `cargo build --release -p voice-cli`, or name one \
                 with --server-binary or --endpoint",
                path.display()
            ),
            Self::NoProgram { .. } => f.write_str("this program does not know where it is; use --server-binary"),
            Self::Start { name, .. } => write!(f, "{name} cannot be started"),
            Self::Gone { name, last } => write!(f, "{name} has ended: {last}"),
            Self::Silent { name, limit } => write!(f, "{name} said nothing for {limit:?}"),
            Self::Read { name, .. } => write!(f, "what {name} says cannot be read"),
            Self::LongLine { name } => write!(f, "{name} wrote a line without an end"),
            Self::NotUnderstood { name, .. } => write!(f, "{name} said something else than it should"),
            Self::NotMeasured { error } => write!(f, "the voice server does not measure: {error}"),
            Self::BadEndpoint { .. } => f.write_str("the server's endpoint is none"),
            Self::ReadCertificate { path, .. } => write!(f, "the certificate {} cannot be read", path.display()),
            Self::BadCertificate { path, .. } => write!(f, "{} holds no usable certificate", path.display()),
            Self::NoProcessor { processor, .. } => {
                write!(
                    f,
                    "processor {processor} cannot be used; choose others with --pin-client and --pin-server, or --no-pin"
                )
            }
            Self::Threads { .. } => f.write_str("the threads cannot be started"),
            Self::Audio { .. } => f.write_str("the bundled recording cannot be used"),
            Self::NoCall { failed, .. } => write!(f, "{failed} calls could not be opened"),
            Self::Peers { failed, first } => {
                write!(f, "{failed} of the calls' other members could not join, the first because: {first}")
            }
            Self::Report { .. } => f.write_str("the figures cannot be written"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::NoServer { .. }
            | Self::Gone { .. }
            | Self::Silent { .. }
            | Self::LongLine { .. }
            | Self::NotMeasured { .. }
            | Self::Peers { .. } => None,
            Self::NoProgram { source }
            | Self::Start { source, .. }
            | Self::Read { source, .. }
            | Self::ReadCertificate { source, .. }
            | Self::Threads { source } => Some(source),
            Self::NotUnderstood { source, .. } | Self::Report { source } => Some(source),
            Self::BadEndpoint { source } => Some(source),
            Self::BadCertificate { source, .. } => Some(source),
            Self::NoProcessor { source, .. } => source.as_ref().map(|source| source as _),
            Self::Audio { source } => Some(&**source),
            Self::NoCall { first, .. } => first.as_ref().map(|first| first as _),
        }
    }
}
