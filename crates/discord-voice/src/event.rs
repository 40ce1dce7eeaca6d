//! What a call tells its owner.

use std::{error::Error, fmt};

use voice_dave::DaveEvent;
use voice_model::{ChannelId, SpeakingFlags, UserId};
use voice_rtp::Ssrc;
use voice_udp::DiscoveryError;
use voice_ws::{Advice, Cause};

/// Something that happened in a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The voice server took us in: frames can flow. In an end-to-end encrypted call they leave as soon as somebody is
    /// there who could hear them. Comes again after a move to another server.
    Connected,
    /// The users in the call, at first those who were there before.
    UsersConnected(Vec<UserId>),
    /// A user left the call.
    UserLeft(UserId),
    /// A user announced to speak, and with which stream. Discord sends it once per user and stay, not for
    /// each talk spurt.
    Speaking {
        /// How: microphone, sound share, priority.
        flags: SpeakingFlags,
        /// The stream that the user sends.
        ssrc: Ssrc,
        /// Who.
        user: UserId,
    },
    /// The gateway's connection was lost; audio goes on while the session is resumed.
    Interrupted(Cause),
    /// The voice server ended the session without saying why; audio waits until the main gateway says what follows:
    /// another server, or the end.
    Released(Cause),
    /// The session was resumed.
    Resumed,
    /// We were moved to another channel; a connection to its server follows.
    Moved(ChannelId),
    /// The end-to-end encryption changed.
    E2ee(DaveEvent),
    /// So many events were dropped because nobody read them.
    Lagged {
        /// Their number.
        missed: u64,
    },
    /// The call is over; nothing follows.
    Ended(EndReason),
}

/// Why a call is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// This side left.
    Left,
    /// The main gateway says that we are no longer in a channel: kicked, or the channel was deleted.
    Disconnected,
    /// The voice gateway's session ended.
    Session {
        /// What ended it.
        cause: Cause,
        /// What to do about it.
        advice: Advice,
    },
    /// The own address could not be discovered (the network).
    Discovery(DiscoveryError),
    /// The voice server offers no transport encryption that this side accepts (the peer, or the configuration).
    NoCommonMode,
    /// The voice server's Ready names no usable media address (the peer).
    BadMediaAddress,
    /// The local socket for media failed (the local system).
    Socket(String),
    /// The voice server makes a call without end-to-end encryption, which [`E2ee::Require`](crate::E2ee::Require) does
    /// not accept (the peer, or the configuration).
    NotEncrypted,
    /// The voice server ended the end-to-end encryption of the call, which [`E2ee::Require`](crate::E2ee::Require) does
    /// not accept (the peer, or the configuration).
    Downgraded,
    /// The voice server demands a version of end-to-end encryption that is not spoken here (the peer).
    E2eeVersion {
        /// The version.
        version: u16,
    },
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("left"),
            Self::Disconnected => f.write_str("disconnected from the channel"),
            Self::Session { cause, .. } => cause.fmt(f),
            Self::Discovery(error) => error.fmt(f),
            Self::NoCommonMode => f.write_str("the voice server offers no transport encryption that is accepted here"),
            Self::BadMediaAddress => f.write_str("the voice server names no usable media address"),
            Self::Socket(error) => write!(f, "the local media socket failed: {error}"),
            Self::NotEncrypted => f.write_str("the call is not end-to-end encrypted, as it is required to be"),
            Self::Downgraded => f.write_str("the voice server ended the end-to-end encryption, which is required"),
            Self::E2eeVersion { version } => {
                write!(
                    f,
                    "the voice server demands version {version} of end-to-end encryption, which is not spoken here"
                )
            }
        }
    }
}

impl Error for EndReason {}
