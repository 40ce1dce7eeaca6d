//! A call on its way from one process to another.

use std::{
    error::Error,
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use voice_crypto::Mode;
use voice_dave::CallState;
use voice_model::{ChannelId, GuildId, SessionId, Token, UserId};
use voice_rtp::{Sequence, Ssrc, Timestamp};
use voice_udp::StreamPosition;
use voice_ws::{Detached, Identity};
use zeroize::{Zeroize, Zeroizing};

use crate::join::endpoint_text;

/// A call that one process has [given up](crate::VoiceClient::detach) for another to take over, with a
/// [manager](crate::VoiceManager::attach) or [without](crate::Driver::attach),
/// within one resume of its session: a bot restarts, or a node is drained, and the call goes on.
///
/// It holds the session id, the token and the key of the transport encryption: whoever has its
/// [encoded form](Self::encode) can be this user in the call. It can be taken over once, and for as long as the voice
/// server keeps the session, which is some seconds. The group of the end-to-end encryption is not in it: the other process
/// is added to that by a new key.
#[derive(Debug)]
pub struct Handover(pub(crate) Parts);

/// What a call is made of in another process.
#[derive(Deserialize, Serialize)]
pub(crate) struct Parts {
    version: u32,
    channel_id: u64,
    server_id: u64,
    user_id: u64,
    endpoint: String,
    /// Secret.
    session_id: String,
    /// Secret.
    token: String,
    sequence: Option<u16>,
    mode: String,
    /// Secret.
    key: [u8; 32],
    ssrc: u32,
    server: SocketAddr,
    local: SocketAddr,
    rtp_sequence: u16,
    rtp_timestamp: u32,
    nonce: u32,
    packets_left: u32,
    /// Microseconds since 1970; writers of earlier versions do not tell.
    #[serde(default)]
    given_up_at: Option<u64>,
    speaking: bool,
    self_mute: bool,
    self_deaf: bool,
    speakers: Vec<(u32, u64)>,
    dave_version: u16,
    dave_external_sender: Option<Vec<u8>>,
    dave_users: Vec<u64>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.session_id.zeroize();
        self.token.zeroize();
        self.key.zeroize();
    }
}

/// The parts of a call as the call itself has them.
pub(crate) struct Attached {
    pub(crate) session: Detached,
    pub(crate) mode: Mode,
    pub(crate) key: Zeroizing<[u8; 32]>,
    pub(crate) ssrc: Ssrc,
    /// The media server.
    pub(crate) server: SocketAddr,
    /// Where the media server sends to.
    pub(crate) local: SocketAddr,
    pub(crate) position: StreamPosition,
    /// When it was given up.
    pub(crate) given_up_at: Option<SystemTime>,
    pub(crate) speaking: bool,
    pub(crate) speakers: Vec<(Ssrc, UserId)>,
    pub(crate) encryption: CallState,
    /// Whether this user has muted and deafened itself.
    pub(crate) own: (bool, bool),
}

impl Handover {
    /// Writes it as JSON. The text is a secret for as long as the call lasts.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(&self.0).expect("numbers and texts can be written")
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`HandoverError`]: it was written by something else, or by another version of this crate.
    pub fn decode(text: &str) -> Result<Self, HandoverError> {
        let parts: Parts = serde_json::from_str(text).map_err(|_| HandoverError)?;
        let handover = Self(parts);
        handover.parts().map(|_| ())?;
        Ok(handover)
    }

    /// The guild of the call.
    #[must_use]
    pub const fn guild_id(&self) -> GuildId {
        GuildId::new(self.0.server_id)
    }

    /// The user of the call.
    #[must_use]
    pub const fn user_id(&self) -> UserId {
        UserId::new(self.0.user_id)
    }

    /// The channel of the call.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        ChannelId::new(self.0.channel_id)
    }

    pub(crate) fn new(attached: &Attached) -> Self {
        let Attached {
            session,
            mode,
            key,
            ssrc,
            server,
            local,
            position,
            given_up_at,
            speaking,
            speakers,
            encryption,
            own,
        } = attached;
        Self(Parts {
            version: FORMAT,
            channel_id: session.identity.channel_id.get(),
            server_id: session.identity.server_id.get(),
            user_id: session.identity.user_id.get(),
            endpoint: endpoint_text(&session.identity.endpoint),
            session_id: session.identity.session_id.expose().to_owned(),
            token: session.identity.token.expose().to_owned(),
            sequence: session.sequence,
            mode: mode.wire_name().to_owned(),
            key: **key,
            ssrc: ssrc.get(),
            server: *server,
            local: *local,
            rtp_sequence: position.sequence.get(),
            rtp_timestamp: position.timestamp.get(),
            nonce: position.nonce,
            packets_left: position.packets_left,
            given_up_at: given_up_at
                .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
                .and_then(|since| u64::try_from(since.as_micros()).ok()),
            speaking: *speaking,
            self_mute: own.0,
            self_deaf: own.1,
            speakers: speakers.iter().map(|(ssrc, user)| (ssrc.get(), user.get())).collect(),
            dave_version: encryption.version,
            dave_external_sender: encryption.external_sender.clone(),
            dave_users: encryption.users.iter().map(|user| user.get()).collect(),
        })
    }

    pub(crate) fn parts(&self) -> Result<Attached, HandoverError> {
        let parts = &self.0;
        if parts.version != FORMAT {
            return Err(HandoverError);
        }
        let identity = Identity {
            channel_id: ChannelId::new(parts.channel_id),
            endpoint: parts.endpoint.parse().map_err(|_| HandoverError)?,
            server_id: GuildId::new(parts.server_id),
            session_id: SessionId::new(parts.session_id.as_str()),
            token: Token::new(parts.token.as_str()),
            user_id: UserId::new(parts.user_id),
        };
        Ok(Attached {
            session: Detached::new(identity, parts.sequence),
            mode: parts.mode.parse().map_err(|_| HandoverError)?,
            key: Zeroizing::new(parts.key),
            ssrc: Ssrc::new(parts.ssrc),
            server: parts.server,
            local: parts.local,
            position: StreamPosition {
                sequence: Sequence::new(parts.rtp_sequence),
                timestamp: Timestamp::new(parts.rtp_timestamp),
                nonce: parts.nonce,
                packets_left: parts.packets_left,
            },
            given_up_at: parts
                .given_up_at
                .and_then(|micros| SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros))),
            speaking: parts.speaking,
            speakers: parts.speakers.iter().map(|(ssrc, user)| (Ssrc::new(*ssrc), UserId::new(*user))).collect(),
            encryption: CallState {
                version: parts.dave_version,
                external_sender: parts.dave_external_sender.clone(),
                users: parts.dave_users.iter().map(|user| UserId::new(*user)).collect(),
            },
            own: (parts.self_mute, parts.self_deaf),
        })
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("channel_id", &self.channel_id)
            .field("server_id", &self.server_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// The text is not that of a call (the caller).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandoverError;

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a call that another process of this version has given up")
    }
}

impl Error for HandoverError {}

/// The version of what is written.
const FORMAT: u32 = 2;
