//! Why a channel was not joined.

use std::{error::Error, fmt};

use voice_ws::EndpointError;

use crate::{ConnectError, Missing};

/// Why a channel was not joined.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The main gateway took no opcode 4 (the caller's gateway connection).
    Gateway(Box<dyn Error + Send + Sync>),
    /// The main gateway did not answer in time. It never refuses: the channel may be full or unknown, or the
    /// bot may lack the permission to see it or to connect.
    TimedOut(Missing),
    /// The main gateway named an unusable voice server (the peer).
    Endpoint(EndpointError),
    /// The voice server did not let us in.
    Connect(ConnectError),
    /// The call that was to be taken over is another user's (the caller).
    OtherUser,
    /// We were taken out of the channel again while we connected (a moderator).
    Disconnected,
    /// Another join or leave for the guild took this one's place (the caller).
    Superseded,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(_) => f.write_str("the main gateway did not take the join"),
            Self::TimedOut(missing) => missing.fmt(f),
            Self::Endpoint(_) => f.write_str("the main gateway named an unusable voice server"),
            Self::Connect(_) => f.write_str("the voice server did not let us in"),
            Self::OtherUser => f.write_str("the call to take over is another user's"),
            Self::Disconnected => f.write_str("taken out of the channel again while joining"),
            Self::Superseded => f.write_str("another join or leave for the guild took this one's place"),
        }
    }
}

impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Gateway(error) => Some(error.as_ref() as _),
            Self::Endpoint(error) => Some(error),
            Self::Connect(error) => Some(error),
            Self::TimedOut(_) | Self::OtherUser | Self::Disconnected | Self::Superseded => None,
        }
    }
}
