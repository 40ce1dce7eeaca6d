//! Payloads of opcode 5, of which clients and servers have one each.

use serde::{Deserialize, Serialize};

use crate::{
    SpeakingFlags, UserId,
    field::{lenient, or_default},
};

/// Opcode 5 of a client: tells how we speak, and with which SSRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientSpeaking {
    /// How we speak.
    pub speaking: SpeakingFlags,
    /// Voice delay in milliseconds; bots send 0.
    #[serde(default, deserialize_with = "or_default")]
    pub delay: u32,
    /// Our SSRC, from [`Ready`](crate::Ready).
    pub ssrc: u32,
}

/// Opcode 5 of a server: how a user speaks, and with which SSRC.
///
/// Sent once per user and when the flags change, not for each burst of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerSpeaking {
    /// How the user speaks.
    pub speaking: SpeakingFlags,
    /// The SSRC of the user's audio.
    pub ssrc: u32,
    /// The user.
    pub user_id: UserId,
    /// Voice delay in milliseconds; usually missing.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub delay: Option<u32>,
}
