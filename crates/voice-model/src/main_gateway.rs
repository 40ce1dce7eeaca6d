//! The three payloads of the bot's main gateway that voice needs.

use serde::{Deserialize, Serialize};

use crate::{ChannelId, GuildId, Opcode, SessionId, Token, UserId, client::or_default, codec};

/// Opcode 4 of the main gateway: joins, moves to or leaves a voice channel.
///
/// All four are always sent: a mute toggle repeats the channel, and `null` leaves it.
///
/// ```
/// use voice_model::{GuildId, UpdateVoiceState};
///
/// let leave = UpdateVoiceState {
///     guild_id: GuildId::new(613425648685547541),
///     channel_id: None,
///     self_mute: false,
///     self_deaf: false,
/// };
/// assert_eq!(
///     leave.encode(),
///     r#"{"op":4,"d":{"guild_id":"613425648685547541","channel_id":null,"self_mute":false,"self_deaf":false}}"#,
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UpdateVoiceState {
    /// The guild.
    pub guild_id: GuildId,
    /// The channel to be in; `None` leaves.
    pub channel_id: Option<ChannelId>,
    /// Whether we are shown as muted, and send nothing.
    pub self_mute: bool,
    /// Whether we are shown as deafened, and may receive nothing.
    pub self_deaf: bool,
}

/// The main gateway's `VOICE_STATE_UPDATE`: where a user is.
///
/// Our own one brings the session id of a voice connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceState {
    /// The guild; missing where the surrounding event has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guild_id: Option<GuildId>,
    /// The channel; `None` when the user left.
    pub channel_id: Option<ChannelId>,
    /// The user.
    pub user_id: UserId,
    /// The session of the user in this guild.
    pub session_id: SessionId,
    /// Whether the guild deafened the user.
    #[serde(default, deserialize_with = "or_default")]
    pub deaf: bool,
    /// Whether the guild muted the user.
    #[serde(default, deserialize_with = "or_default")]
    pub mute: bool,
    /// Whether the user is self-deafened.
    #[serde(default, deserialize_with = "or_default")]
    pub self_deaf: bool,
    /// Whether the user is self-muted.
    #[serde(default, deserialize_with = "or_default")]
    pub self_mute: bool,
    /// Whether the user's camera is on.
    #[serde(default, deserialize_with = "or_default")]
    pub self_video: bool,
    /// Whether the user has no right to speak: for example the audience of a stage.
    #[serde(default, deserialize_with = "or_default")]
    pub suppress: bool,
    /// When the user asked to speak on a stage, in ISO 8601.
    pub request_to_speak_timestamp: Option<String>,
}

/// The main gateway's `VOICE_SERVER_UPDATE`: the voice server of our call in a guild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceServerUpdate {
    /// The token for the voice server.
    pub token: Token,
    /// The guild.
    pub guild_id: GuildId,
    /// Host, and usually port, of the voice gateway; `None` while a new server is sought.
    pub endpoint: Option<String>,
}

impl UpdateVoiceState {
    /// Encodes the whole main gateway message, opcode included.
    #[must_use]
    pub fn encode(&self) -> String {
        // The main gateway has numbers of its own: its 4 is not the session description.
        codec::encode(Opcode::from(4), self, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voice_state_needs_only_user_and_session() {
        let state: VoiceState =
            serde_json::from_str(r#"{"user_id":1,"session_id":"s","member":{"nick":null}}"#).unwrap();
        assert_eq!((state.user_id, state.session_id.expose()), (UserId::new(1), "s"));
        assert_eq!((state.guild_id, state.channel_id), (None, None));
        assert!(!state.mute && !state.suppress);
        assert!(serde_json::from_str::<VoiceState>(r#"{"user_id":1}"#).is_err());
    }

    #[test]
    fn null_endpoint_is_no_endpoint() {
        let update: VoiceServerUpdate =
            serde_json::from_str(r#"{"token":"t","guild_id":"1","endpoint":null}"#).unwrap();
        assert_eq!(update.endpoint, None);
        assert_eq!(serde_json::to_string(&update).unwrap(), r#"{"token":"t","guild_id":"1","endpoint":null}"#);
    }
}
