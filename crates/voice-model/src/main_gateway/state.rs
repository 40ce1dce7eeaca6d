//! Who is in which voice channel, and on which server.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Unexpected},
};

use crate::{
    ChannelId, GuildId, Json, SessionId, Snowflake, Token, UserId,
    field::{lenient, or_default},
    json::not_null,
};

/// Opcode 4 of the main gateway: joins, moves to or leaves a voice channel.
///
/// All four are always sent: a mute toggle repeats the channel, and `null` leaves it. What users' clients send besides
/// is ignored.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoiceState {
    /// The guild; missing where the surrounding event has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guild_id: Option<GuildId>,
    /// The channel; `None` when the user left.
    pub channel_id: Option<ChannelId>,
    /// The user.
    pub user_id: UserId,
    /// The user as a member of the guild; missing where the surrounding event has it.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    pub member: Option<Json>,
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
    /// Whether the user shares a screen; usually missing when not.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub self_stream: Option<bool>,
    /// Whether the user's camera is on.
    #[serde(default, deserialize_with = "or_default")]
    pub self_video: bool,
    /// Whether the user has no right to speak: for example the audience of a stage.
    #[serde(default, deserialize_with = "or_default")]
    pub suppress: bool,
    /// When the user asked to speak on a stage, in ISO 8601.
    pub request_to_speak_timestamp: Option<String>,
    /// When the user connected, in seconds since the Unix epoch (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<i64>,
    /// Whether the user is shown where friends are listed (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub discoverable: Option<bool>,
    /// The lobby, for calls of games (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub lobby_id: Option<Snowflake>,
    /// Volume of the user, 100 being normal (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub user_volume: Option<f64>,
}

/// The main gateway's `VOICE_SERVER_UPDATE`: the voice server of our call in a guild.
///
/// That of private calls, which have no guild, is not for bots and not decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceServerUpdate {
    /// The token for the voice server.
    pub token: Token,
    /// The guild.
    pub guild_id: GuildId,
    /// Host, and usually port, of the voice gateway; `None` while a new server is sought.
    ///
    /// One that is read is at most 255 bytes long, and nothing but host and port stands behind a scheme.
    #[serde(default, deserialize_with = "endpoint")]
    pub endpoint: Option<String>,
}

impl VoiceState {
    /// Describes a user who is in no channel, and neither muted nor deaf.
    #[must_use]
    pub const fn new(user_id: UserId, session_id: SessionId) -> Self {
        Self {
            guild_id: None,
            channel_id: None,
            user_id,
            member: None,
            session_id,
            deaf: false,
            mute: false,
            self_deaf: false,
            self_mute: false,
            self_stream: None,
            self_video: false,
            suppress: false,
            request_to_speak_timestamp: None,
            connected_at: None,
            discoverable: None,
            lobby_id: None,
            user_volume: None,
        }
    }
}

/// Longest endpoint in bytes.
const MAX_ENDPOINT_LEN: usize = 255;

/// Refuses what could lead a URL made of it elsewhere than to the host.
fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let address = text.strip_prefix("wss://").or_else(|| text.strip_prefix("ws://")).unwrap_or(&text);
    let address = address.strip_suffix('/').unwrap_or(address);
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\".contains(c);
    if text.len() > MAX_ENDPOINT_LEN || address.is_empty() || address.contains(forbidden) {
        return Err(D::Error::invalid_value(Unexpected::Other("text"), &"host[:port] of at most 255 bytes"));
    }
    Ok(Some(text))
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

    #[test]
    fn endpoint_is_a_host_and_a_port() {
        let read = |endpoint: &str| {
            let json = serde_json::json!({ "token": "t", "guild_id": "1", "endpoint": endpoint }).to_string();
            serde_json::from_str::<VoiceServerUpdate>(&json).map(|update| update.endpoint)
        };
        let longest = format!("{}:443", "a".repeat(MAX_ENDPOINT_LEN - 4));
        for good in
            ["a", "sample-1234.example.net:443", "[::1]:2048", "wss://a.example:80", "ws://127.0.0.1:1/", &longest]
        {
            assert_eq!(read(good).unwrap().as_deref(), Some(good));
        }
        let too_long = format!("a{longest}");
        for bad in ["", "/", "wss://", "a/b", "a?v=4", "a#b", "me@a", "a b", "a\n", "a\\b", "a\u{0}", &too_long] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn voice_state_has_every_field() {
        let json = r#"{"guild_id":"1","channel_id":"2","user_id":"3","member":{"nick":null,"roles":["4"]},"session_id":"s","deaf":true,"mute":true,"self_deaf":true,"self_mute":true,"self_stream":true,"self_video":true,"suppress":true,"request_to_speak_timestamp":"2026-03-31T18:45:31.297561+00:00","connected_at":1785000000,"discoverable":false,"lobby_id":"5","user_volume":52.5}"#;
        let state: VoiceState = serde_json::from_str(json).unwrap();
        assert_eq!(state.member, Json::new(r#"{"nick":null,"roles":["4"]}"#));
        assert_eq!((state.lobby_id, state.user_volume), (Some(Snowflake::new(5)), Some(52.5)));
        assert_eq!(serde_json::to_string(&state).unwrap(), json);
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_value(&state).unwrap(), value);
        assert_eq!(serde_json::from_value::<VoiceState>(value).unwrap().connected_at, Some(1_785_000_000));
        let bare = VoiceState::new(UserId::new(1), SessionId::new("s"));
        assert_eq!(serde_json::from_str::<VoiceState>(&serde_json::to_string(&bare).unwrap()).unwrap(), bare);
    }

    #[test]
    fn undocumented_fields_of_a_voice_state_cost_nothing() {
        let json = r#"{"user_id":1,"session_id":"s","member":null,"self_stream":"x","connected_at":"x","discoverable":1,"lobby_id":{},"user_volume":[]}"#;
        let state: VoiceState = serde_json::from_str(json).unwrap();
        assert_eq!(state, VoiceState::new(UserId::new(1), SessionId::new("s")));
    }
}
