//! What can go wrong, each as one line that says what to do.

use std::{fmt, io, path::PathBuf, time::Duration};

use discord_voice::{
    Cause, CertificateError, ConnectError, EndReason, Endpoint, JoinError, PlaybackEnd, TransportError,
    model::CloseCode,
};
use voice_audio::{OpenError, record::RecordError};
use voice_server::BindError;

use crate::bot::TOKEN_VARIABLE;

/// Why a command failed.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The file cannot be played.
    Open { path: PathBuf, source: OpenError },
    /// The recording would overwrite what is played.
    SameFile { path: PathBuf },
    /// The recording cannot be written.
    Recording { path: PathBuf, source: RecordError },
    /// The certificate cannot be read.
    ReadCertificate { path: PathBuf, source: io::Error },
    /// The file holds no usable certificate.
    BadCertificate { path: PathBuf, source: CertificateError },
    /// The certificate cannot be written.
    WriteCertificate { path: PathBuf, source: io::Error },
    /// The embedded server cannot start.
    Embedded { source: BindError },
    /// The server cannot start.
    Bind { addresses: String, source: BindError },
    /// Clients cannot be told where an address without a host is.
    NoAdvertised,
    /// The media threads cannot start.
    Driver { source: io::Error },
    /// No call.
    Connect { endpoint: Endpoint, timeout: Duration, source: ConnectError },
    /// There is no bot's token in the environment.
    NoBotToken,
    /// The main gateway cannot be reached.
    GatewayUnreachable { source: Option<Box<dyn std::error::Error + Send + Sync>> },
    /// The main gateway did not log us in in time.
    LoginTimedOut { limit: Duration },
    /// The main gateway does not want us.
    LoginRefused { code: Option<u16> },
    /// No call through the main gateway.
    Join { limit: Duration, source: JoinError },
    /// The playback ended early.
    Playback { end: PlaybackEnd },
    /// The call ended early.
    Ended { reason: EndReason },
    /// The operating system gives no randomness.
    NoRandomness,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, source: OpenError::NotFound } => {
                write!(f, "there is no file {}; check its name", path.display())
            }
            Self::Open { path, source: source @ (OpenError::NotAudio | OpenError::NoAudioTrack) } => {
                let path = path.display();
                write!(f, "{path} cannot be played: {source}; give Ogg Opus, WAV, FLAC, MP3, Ogg Vorbis, WebM or MP4")
            }
            Self::Open { path, source: OpenError::UnsupportedCodec } => {
                let path = path.display();
                write!(f, "{path} cannot be played: the audio codec is not supported; convert it, for example to FLAC")
            }
            Self::Open { path, source } => write!(f, "{} cannot be played: {}", path.display(), Chain(source)),
            Self::SameFile { path } => {
                write!(f, "{} is what is played; record to another file", path.display())
            }
            Self::Recording { path, source: RecordError::Full } => {
                write!(f, "{} holds no more than 4 GiB; record to .ogg", path.display())
            }
            Self::Recording { path, source } => {
                write!(
                    f,
                    "cannot record to {}: {}; choose another place with --record or OUT",
                    path.display(),
                    Chain(source)
                )
            }
            Self::ReadCertificate { path, source } => {
                write!(f, "cannot read {}: {source}; check --ca-cert", path.display())
            }
            Self::BadCertificate { path, source } => {
                write!(f, "{} cannot be trusted: {}; give a PEM file with --ca-cert", path.display(), Chain(source))
            }
            Self::WriteCertificate { path, source } => {
                write!(f, "cannot write {}: {source}; choose another place with --cert-out", path.display())
            }
            Self::Embedded { source } => {
                write!(f, "the embedded server cannot start: {}; join another one with --endpoint", Chain(source))
            }
            Self::Bind { addresses, source } => {
                write!(f, "cannot listen on {addresses}: {}; choose others with --listen and --udp", Chain(source))
            }
            Self::NoAdvertised => {
                f.write_str("clients cannot be sent to an unspecified address; say which is yours with --advertise")
            }
            Self::Driver { source } => write!(f, "no media threads: {source}; close other programs"),
            Self::Connect { endpoint, timeout, source } => {
                write_connect(f, endpoint, "get a new one, it is for one join", *timeout, source)
            }
            Self::NoBotToken => write!(f, "no bot token; put it into the environment variable {TOKEN_VARIABLE}"),
            Self::GatewayUnreachable { source } => {
                f.write_str("the main gateway cannot be reached")?;
                if let Some(source) = source {
                    write!(f, ": {}", Chain(source.as_ref()))?;
                }
                f.write_str("; check the network, and --gateway if given")
            }
            Self::LoginTimedOut { limit } => {
                let limit = limit.as_secs_f64();
                write!(f, "the main gateway did not log us in within {limit} s; check --gateway, or raise --timeout")
            }
            Self::LoginRefused { code: Some(4004) } => {
                write!(f, "the main gateway refused the bot token; check the environment variable {TOKEN_VARIABLE}")
            }
            Self::LoginRefused { code: Some(code) } => {
                write!(f, "the main gateway refused the login with close code {code}; check the bot's settings")
            }
            Self::LoginRefused { code: None } => f.write_str("the main gateway refused the login; try again later"),
            Self::Join { limit, source: JoinError::Connect(source) } => {
                write_connect(f, "the voice server", "join again", *limit, source)
            }
            Self::Join { source, .. } => {
                write!(f, "{}; check --guild, --channel and the bot's permissions, or raise --timeout", Chain(source))
            }
            Self::Playback { end } => write!(f, "playing stopped: {}", Chain(end)),
            Self::Ended { reason } => write!(f, "the call ended: {reason}"),
            Self::NoRandomness => f.write_str("the operating system gives no randomness; give --token"),
        }
    }
}

/// Says what a failed connection with `place` means; `on_refusal`: what to do when the token is not taken.
fn write_connect(
    f: &mut fmt::Formatter<'_>,
    place: impl fmt::Display,
    on_refusal: &str,
    limit: Duration,
    error: &ConnectError,
) -> fmt::Result {
    let code = match error {
        ConnectError::Ended { reason: EndReason::Session { cause: Cause::Closed(code), .. }, .. } => Some(*code),
        _ => None,
    };
    match error {
        ConnectError::TimedOut => {
            let limit = limit.as_secs_f64();
            write!(f, "{place} did not let us in within {limit} s; check the address, or raise --timeout")
        }
        _ if code == Some(CloseCode::AUTHENTICATION_FAILED) => write!(f, "{place} refused the token; {on_refusal}"),
        _ if code == Some(CloseCode::SESSION_NO_LONGER_VALID) => {
            write!(f, "{place} refused the session id; it must be the one that the token was made for")
        }
        _ if code == Some(CloseCode::SERVER_NOT_FOUND) => {
            write!(f, "{place} does not know the guild; check --server-id")
        }
        ConnectError::Ended { cause: Some(cause), .. } => {
            let advice = match **cause {
                TransportError::Connect(_) => "check the address, and that the server runs",
                TransportError::Tls(_) => "trust a certificate of its own with --ca-cert",
                _ => "check that a voice server listens there",
            };
            write!(f, "no connection with {place}: {}; {advice}", Chain(cause.as_ref()))
        }
        ConnectError::Ended { reason, .. } => write!(f, "{place} did not let us in: {reason}"),
        other => write!(f, "no call with {place}: {}", Chain(other)),
    }
}

/// An error and its sources, joined by colons.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Some libraries repeat their source in their own text.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            source = error.source();
        }
        Ok(())
    }
}
