//! What a call tells its owner.

use std::{error::Error, fmt, net::SocketAddr, time::Duration};

use voice_dave::DaveEvent;
use voice_model::{ChannelId, SpeakingFlags, UserId};
use voice_rtp::Ssrc;
use voice_udp::{DiscoveryError, MediaFault};
use voice_ws::{Advice, Cause, EndpointError};

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
    /// The main gateway took the voice server away, for want of one or to name another; audio waits until it does.
    ServerLost,
    /// The main gateway named another voice server, or the same one with a new token: the call goes on there, and audio
    /// waits until it is [connected](Self::Connected).
    ServerChanged,
    /// We were moved to another channel; a connection to its server follows.
    Moved(ChannelId),
    /// Nothing came of a move that this side asked for: the channel may be full or unknown, or the bot may lack the
    /// permission to connect. The call stays where it is.
    MoveFailed(ChannelId),
    /// What the server lets this user do has changed.
    Restricted(Restrictions),
    /// The call is lost and joined again through the main gateway; audio waits meanwhile.
    Rejoining {
        /// Which attempt it is in a row, from 1.
        attempt: u32,
        /// When it is made, from now.
        after: Duration,
        /// What made it necessary.
        why: EndReason,
    },
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
    /// The call was [given up](crate::VoiceClient::detach) for another process to take over.
    Detached,
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
    Discovery {
        /// Why.
        error: DiscoveryError,
        /// Where the media server is.
        server: SocketAddr,
    },
    /// The voice server offers no transport encryption that this side accepts (the peer, or the configuration).
    NoCommonMode,
    /// The voice server's Ready names no usable media address (the peer).
    BadMediaAddress,
    /// The local socket for media failed (the local system).
    Socket(String),
    /// Media did not get through any more (the network).
    Media(MediaFault),
    /// The main gateway took no opcode 4 (the caller's gateway connection).
    Gateway(String),
    /// The main gateway did not answer a join in time. It never refuses: the channel may be full or unknown, or the bot
    /// may lack the permission to see it or to connect.
    NoAnswer(Missing),
    /// The main gateway took the voice server away and named no other in time (the peer).
    NoServer,
    /// The main gateway named an unusable voice server (the peer).
    Endpoint(EndpointError),
    /// The bot's own connection to the main gateway was lost for too long (the caller's gateway connection).
    GatewayLost,
    /// The bot's own connection to the main gateway began a new session, which is in no channel (the caller's gateway
    /// connection).
    GatewaySession,
    /// Another process with the same token is in voice in place of this one (the caller).
    TakenOver,
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
    /// The task that controls the call died: it panicked (this library, or something of the caller's that it called), or the
    /// runtime on which it was started has ended (the caller). [`Metrics::dead_controls`](crate::Metrics::dead_controls)
    /// counts them.
    Internal,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("left"),
            Self::Detached => f.write_str("given up for another process"),
            Self::Disconnected => f.write_str("disconnected from the channel"),
            Self::Session { cause, .. } => cause.fmt(f),
            Self::Discovery { error, server } => write!(f, "{error} (media server {server})"),
            Self::NoCommonMode => f.write_str("the voice server offers no transport encryption that is accepted here"),
            Self::BadMediaAddress => f.write_str("the voice server names no usable media address"),
            Self::Socket(error) => write!(f, "the local media socket failed: {error}"),
            Self::Media(fault) => fault.fmt(f),
            Self::Gateway(error) => write!(f, "the main gateway did not take an update of the voice state: {error}"),
            Self::NoAnswer(missing) => missing.fmt(f),
            Self::NoServer => f.write_str("the main gateway named no voice server in time"),
            Self::Endpoint(error) => write!(f, "the main gateway named an unusable voice server: {error}"),
            Self::GatewayLost => f.write_str("the connection to the main gateway was lost for too long"),
            Self::GatewaySession => f.write_str("the connection to the main gateway began a new session"),
            Self::TakenOver => f.write_str("another process with the same token has taken the place in voice"),
            Self::NotEncrypted => f.write_str("the call is not end-to-end encrypted, as it is required to be"),
            Self::Downgraded => f.write_str("the voice server ended the end-to-end encryption, which is required"),
            Self::E2eeVersion { version } => {
                write!(
                    f,
                    "the voice server demands version {version} of end-to-end encryption, which is not spoken here"
                )
            }
            Self::Internal => f.write_str("internal: the task that controls the call died"),
        }
    }
}

impl Error for EndReason {}

/// What the main gateway did not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The own voice state in the wanted channel.
    pub voice_state: bool,
    /// The voice server.
    pub voice_server: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.voice_state, self.voice_server) {
            (true, true) => {
                "the main gateway did not answer the join in time (channel full, unknown, or permission missing)"
            }
            (false, true) => "the main gateway named no voice server in time",
            _ => "the main gateway did not confirm the channel in time",
        })
    }
}

/// What the server keeps this user from; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Restrictions {
    /// Muted by a moderator: what is sent is not heard.
    pub mute: bool,
    /// Deafened by a moderator: nothing is received.
    pub deaf: bool,
    /// In the audience of a stage, or without the permission to speak: what is sent is not heard.
    pub suppress: bool,
}
