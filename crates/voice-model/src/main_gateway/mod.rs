//! The messages of the bot's main gateway that voice needs.

mod channel;
mod error;
mod state;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use channel::{
    AnimationKind, ChannelInfo, ChannelInfoEntry, ChannelInfoField, MAX_CHANNELS, RequestChannelInfo,
    VoiceChannelEffect, VoiceChannelStartTime, VoiceChannelStatus,
};
pub use error::MainGatewayError;
pub use state::{UpdateVoiceState, VoiceServerUpdate, VoiceState};

use crate::codec::{MAX_MESSAGE_LEN, check_depth, starts_an_object};

/// Largest payload that the main gateway takes, in bytes (Discord docs, Gateway, "Sending Events").
pub const MAX_COMMAND_LEN: usize = 4096;

/// An event of the main gateway that concerns voice.
///
/// ```
/// use voice_model::MainGatewayEvent;
///
/// let text = r#"{"op":0,"t":"VOICE_SERVER_UPDATE","s":42,"d":{"token":"a6d2c81e07b94f35","guild_id":"613425648685547541","endpoint":null}}"#;
/// let Some(MainGatewayEvent::VoiceServer(update)) = MainGatewayEvent::decode(text)? else { unreachable!() };
/// assert_eq!(update.endpoint, None);
/// assert_eq!(MainGatewayEvent::decode(r#"{"op":0,"t":"TYPING_START","s":43,"d":{}}"#)?, None);
/// # Ok::<(), voice_model::MainGatewayError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MainGatewayEvent {
    /// `VOICE_STATE_UPDATE`: where a user is.
    VoiceState(Box<VoiceState>),
    /// `VOICE_SERVER_UPDATE`: the voice server of our call in a guild.
    VoiceServer(VoiceServerUpdate),
    /// `VOICE_CHANNEL_EFFECT_SEND`: an emoji or a sound in our channel.
    ChannelEffect(VoiceChannelEffect),
    /// `VOICE_CHANNEL_STATUS_UPDATE`: what the members of a channel say they do.
    ChannelStatus(VoiceChannelStatus),
    /// `VOICE_CHANNEL_START_TIME_UPDATE`: since when a channel is in use.
    ChannelStartTime(VoiceChannelStartTime),
    /// `CHANNEL_INFO`: the answer to [`RequestChannelInfo`].
    ChannelInfo(ChannelInfo),
}

/// A message to the main gateway that concerns voice.
///
/// ```
/// use voice_model::MainGatewayCommand;
///
/// assert_eq!(MainGatewayCommand::PingVoiceServer.encode(), r#"{"op":5,"d":null}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MainGatewayCommand {
    /// Opcode 4: joins, moves to or leaves a voice channel.
    UpdateVoiceState(UpdateVoiceState),
    /// Opcode 5: asks to check the voice server; may bring another one (community documentation).
    PingVoiceServer,
    /// Opcode 43: asks about the voice channels of a guild.
    RequestChannelInfo(RequestChannelInfo),
}

impl MainGatewayEvent {
    /// Decodes a message of the main gateway; `None` when it is another event, or no event.
    ///
    /// # Errors
    ///
    /// The text is no message, or it is one of these events and keeps not to the limits of size and nesting or has not
    /// the documented form.
    pub fn decode(text: &str) -> Result<Option<Self>, MainGatewayError> {
        let parts = Parts::parse(text)?;
        if parts.op()? != DISPATCH {
            return Ok(None);
        }
        let Some(name) = parts.t.and_then(|raw| serde_json::from_str(raw.get()).ok()) else { return Ok(None) };
        Self::decode_parts(name, parts.data())
    }

    /// Decodes an event that a gateway library took apart: its name (`t`) and its JSON (`d`).
    ///
    /// # Errors
    ///
    /// It is one of these events and keeps not to the limits of size and nesting or has not the documented form.
    pub fn decode_parts(name: &str, data: &str) -> Result<Option<Self>, MainGatewayError> {
        Ok(Some(match name {
            VOICE_STATE => Self::VoiceState(Box::new(payload(VOICE_STATE, data)?)),
            VOICE_SERVER => Self::VoiceServer(payload(VOICE_SERVER, data)?),
            CHANNEL_EFFECT => Self::ChannelEffect(payload(CHANNEL_EFFECT, data)?),
            CHANNEL_STATUS => Self::ChannelStatus(payload(CHANNEL_STATUS, data)?),
            CHANNEL_START_TIME => Self::ChannelStartTime(payload(CHANNEL_START_TIME, data)?),
            CHANNEL_INFO => Self::ChannelInfo(payload(CHANNEL_INFO, data)?),
            _ => return Ok(None),
        }))
    }

    /// The name of the event (`t`).
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::VoiceState(_) => VOICE_STATE,
            Self::VoiceServer(_) => VOICE_SERVER,
            Self::ChannelEffect(_) => CHANNEL_EFFECT,
            Self::ChannelStatus(_) => CHANNEL_STATUS,
            Self::ChannelStartTime(_) => CHANNEL_START_TIME,
            Self::ChannelInfo(_) => CHANNEL_INFO,
        }
    }

    /// Encodes the whole message, with its number.
    #[must_use]
    pub fn encode(&self, sequence: u64) -> String {
        match self {
            Self::VoiceState(data) => self.write(data, sequence),
            Self::VoiceServer(data) => self.write(data, sequence),
            Self::ChannelEffect(data) => self.write(data, sequence),
            Self::ChannelStatus(data) => self.write(data, sequence),
            Self::ChannelStartTime(data) => self.write(data, sequence),
            Self::ChannelInfo(data) => self.write(data, sequence),
        }
    }

    fn write<T: Serialize>(&self, data: &T, s: u64) -> String {
        #[derive(Serialize)]
        struct Written<'a, T> {
            op: u64,
            t: &'a str,
            s: u64,
            d: &'a T,
        }

        serde_json::to_string(&Written { op: DISPATCH, t: self.name(), s, d: data })
            .expect("payloads have string keys only and their Serialize does not fail")
    }
}

impl MainGatewayCommand {
    /// Decodes a message to the main gateway; `None` when it has another opcode.
    ///
    /// # Errors
    ///
    /// The text is no message or longer than [`MAX_COMMAND_LEN`], or one of these commands has not the documented form.
    pub fn decode(text: &str) -> Result<Option<Self>, MainGatewayError> {
        if text.len() > MAX_COMMAND_LEN {
            return Err(MainGatewayError::TooLarge { len: text.len() });
        }
        let parts = Parts::parse(text)?;
        Ok(Some(match parts.op()? {
            UPDATE_VOICE_STATE => Self::UpdateVoiceState(payload("opcode 4", parts.data())?),
            PING_VOICE_SERVER => Self::PingVoiceServer,
            REQUEST_CHANNEL_INFO => Self::RequestChannelInfo(payload("opcode 43", parts.data())?),
            _ => return Ok(None),
        }))
    }

    /// Encodes the whole message.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::UpdateVoiceState(data) => command(UPDATE_VOICE_STATE, data),
            Self::PingVoiceServer => command(PING_VOICE_SERVER, &()),
            Self::RequestChannelInfo(data) => command(REQUEST_CHANNEL_INFO, data),
        }
    }
}

impl UpdateVoiceState {
    /// Encodes the whole main gateway message, opcode included.
    #[must_use]
    pub fn encode(&self) -> String {
        command(UPDATE_VOICE_STATE, self)
    }
}

const VOICE_STATE: &str = "VOICE_STATE_UPDATE";
const VOICE_SERVER: &str = "VOICE_SERVER_UPDATE";
const CHANNEL_EFFECT: &str = "VOICE_CHANNEL_EFFECT_SEND";
const CHANNEL_STATUS: &str = "VOICE_CHANNEL_STATUS_UPDATE";
const CHANNEL_START_TIME: &str = "VOICE_CHANNEL_START_TIME_UPDATE";
const CHANNEL_INFO: &str = "CHANNEL_INFO";

// Discord docs, Gateway Opcodes.
const DISPATCH: u64 = 0;
const UPDATE_VOICE_STATE: u64 = 4;
const PING_VOICE_SERVER: u64 = 5;
const REQUEST_CHANNEL_INFO: u64 = 43;

/// A message whose payload is still JSON; nothing of it was copied.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    op: Option<&'a RawValue>,
    #[serde(borrow)]
    t: Option<&'a RawValue>,
    #[serde(borrow)]
    d: Option<&'a RawValue>,
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self, MainGatewayError> {
        // Derived types would take an array of their fields, too.
        if !starts_an_object(text) {
            return Err(MainGatewayError::NotAMessage);
        }
        serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                MainGatewayError::NotAMessage
            } else {
                MainGatewayError::NotJson { line: error.line(), column: error.column() }
            }
        })
    }

    fn op(&self) -> Result<u64, MainGatewayError> {
        let op = self.op.and_then(|raw| serde_json::from_str(raw.get()).ok());
        op.ok_or(MainGatewayError::NotAMessage)
    }

    fn data(&self) -> &'a str {
        self.d.map_or("null", RawValue::get)
    }
}

fn payload<'a, T: Deserialize<'a>>(name: &'static str, data: &'a str) -> Result<T, MainGatewayError> {
    if data.len() > MAX_MESSAGE_LEN {
        return Err(MainGatewayError::TooLarge { len: data.len() });
    }
    check_depth(data).map_err(|_| MainGatewayError::TooDeep)?;
    if !starts_an_object(data) {
        return Err(MainGatewayError::WrongPayload { name, detail: "expected an object".to_owned() });
    }
    serde_json::from_str(data).map_err(|error| MainGatewayError::wrong_payload(name, &error))
}

fn command<T: Serialize>(op: u64, data: &T) -> String {
    #[derive(Serialize)]
    struct Written<'a, T> {
        op: u64,
        d: &'a T,
    }

    serde_json::to_string(&Written { op, d: data })
        .expect("payloads have string keys only and their Serialize does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelId, GuildId, Json, MAX_DEPTH, Snowflake, UserId};

    fn event(name: &str, d: &str) -> Result<Option<MainGatewayEvent>, MainGatewayError> {
        MainGatewayEvent::decode(&format!(r#"{{"t":"{name}","s":1,"op":0,"d":{d}}}"#))
    }

    #[test]
    fn other_events_and_opcodes_are_none_of_ours() {
        for text in [
            r#"{"op":11}"#,
            r#"{"op":10,"d":{"heartbeat_interval":41250},"s":null,"t":null}"#,
            r#"{"op":0,"t":null,"d":{}}"#,
            r#"{"op":0,"t":7,"d":{}}"#,
            r#"{"op":0,"t":"TYPING_START","d":[[[[]]]]}"#,
            r#"{"op":4,"t":"VOICE_STATE_UPDATE","d":{}}"#,
        ] {
            assert_eq!(MainGatewayEvent::decode(text), Ok(None), "{text}");
        }
        assert_eq!(MainGatewayCommand::decode(r#"{"op":1,"d":null}"#), Ok(None));
    }

    #[test]
    fn what_is_no_message_is_told() {
        for text in ["[0]", "1", "", r#"{"op":"0"}"#, r#"{"t":"VOICE_STATE_UPDATE"}"#, r#"{"op":0,"op":0}"#] {
            assert_eq!(MainGatewayEvent::decode(text), Err(MainGatewayError::NotAMessage), "{text}");
            assert_eq!(MainGatewayCommand::decode(text), Err(MainGatewayError::NotAMessage), "{text}");
        }
        let error = MainGatewayEvent::decode("{\"op\":0,\n\"t\"").unwrap_err();
        assert_eq!(error, MainGatewayError::NotJson { line: 2, column: 3 });
    }

    #[test]
    fn effects_are_emoji_or_sounds() {
        let d = r#"{"channel_id":"1","guild_id":"2","user_id":"3","emoji":{"id":null,"name":"wave"},"animation_type":1,"animation_id":7,"sound_id":9,"sound_volume":0.5}"#;
        let effect = VoiceChannelEffect {
            channel_id: ChannelId::new(1),
            guild_id: GuildId::new(2),
            user_id: UserId::new(3),
            emoji: Json::new(r#"{"id":null,"name":"wave"}"#),
            animation_type: Some(AnimationKind::Basic),
            animation_id: Some(7),
            sound_id: Some(Snowflake::new(9)),
            sound_volume: Some(0.5),
        };
        assert_eq!(event(CHANNEL_EFFECT, d), Ok(Some(MainGatewayEvent::ChannelEffect(effect))));
        let d = r#"{"channel_id":1,"guild_id":2,"user_id":3,"emoji":null,"animation_type":null,"sound_id":"9"}"#;
        let Ok(Some(MainGatewayEvent::ChannelEffect(bare))) = event(CHANNEL_EFFECT, d) else { panic!() };
        assert_eq!((bare.emoji, bare.animation_type, bare.sound_id), (None, None, Some(Snowflake::new(9))));
        for (code, kind) in [(0, AnimationKind::Premium), (1, AnimationKind::Basic), (2, AnimationKind::Unknown(2))] {
            assert_eq!((AnimationKind::from(code), kind.code()), (kind, code));
        }
    }

    #[test]
    fn channel_events_keep_null() {
        for (name, d) in [
            (CHANNEL_STATUS, r#"{"id":"1","guild_id":"2","status":null}"#),
            (CHANNEL_STATUS, r#"{"id":"1","guild_id":"2","status":"chess"}"#),
            (CHANNEL_START_TIME, r#"{"id":"1","guild_id":"2","voice_start_time":null}"#),
            (CHANNEL_START_TIME, r#"{"id":"1","guild_id":"2","voice_start_time":1785000000}"#),
            (
                CHANNEL_INFO,
                r#"{"guild_id":"2","channels":[{"id":"1","status":"chess"},{"id":"3","voice_start_time":5}]}"#,
            ),
            (CHANNEL_INFO, r#"{"guild_id":"2","channels":[]}"#),
        ] {
            let decoded = event(name, d).unwrap().unwrap();
            assert_eq!(decoded.name(), name);
            assert_eq!(decoded.encode(1), format!(r#"{{"op":0,"t":"{name}","s":1,"d":{d}}}"#));
            assert_eq!(MainGatewayEvent::decode_parts(name, d), Ok(Some(decoded)));
        }
    }

    #[test]
    fn channels_are_limited() {
        let of = |count: usize| format!(r#"{{"guild_id":"2","channels":[{}]}}"#, vec![r#"{"id":1}"#; count].join(","));
        assert!(event(CHANNEL_INFO, &of(MAX_CHANNELS)).is_ok());
        let error = event(CHANNEL_INFO, &of(MAX_CHANNELS + 1)).unwrap_err();
        assert!(matches!(error, MainGatewayError::WrongPayload { name: CHANNEL_INFO, .. }));
    }

    #[test]
    fn size_and_nesting_of_our_events_are_limited_and_of_others_are_not() {
        let state = |member: &str| format!(r#"{{"user_id":1,"session_id":"s","member":{member}}}"#);
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(event(VOICE_STATE, &state(&nested(MAX_DEPTH - 1))).is_ok());
        assert_eq!(event(VOICE_STATE, &state(&nested(MAX_DEPTH))), Err(MainGatewayError::TooDeep));
        assert_eq!(event("GUILD_CREATE", &nested(10_000)), Ok(None));

        let of_len = |len: usize| state(&format!("\"{}\"", "x".repeat(len - state("\"\"").len())));
        assert!(event(VOICE_STATE, &of_len(MAX_MESSAGE_LEN)).is_ok());
        let len = MAX_MESSAGE_LEN + 1;
        assert_eq!(event(VOICE_STATE, &of_len(len)), Err(MainGatewayError::TooLarge { len }));
        assert_eq!(event("GUILD_CREATE", &of_len(len)), Ok(None));
    }

    #[test]
    fn parts_may_have_space_around() {
        let data = r#"{"id":"1","guild_id":"2","status":null}"#;
        let expected = MainGatewayEvent::decode_parts(CHANNEL_STATUS, data);
        assert!(matches!(expected, Ok(Some(_))));
        assert_eq!(MainGatewayEvent::decode_parts(CHANNEL_STATUS, &format!(" \t\r\n{data}\n")), expected);
        for other in ["\u{a0}{}", "\u{feff}{}", " []", " ", ""] {
            assert!(MainGatewayEvent::decode_parts(CHANNEL_STATUS, other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn commands_are_read_and_written() {
        for text in [
            r#"{"op":4,"d":{"guild_id":"1","channel_id":null,"self_mute":true,"self_deaf":false}}"#,
            r#"{"op":5,"d":null}"#,
            r#"{"op":43,"d":{"guild_id":"1","fields":["status","voice_start_time","else"]}}"#,
        ] {
            assert_eq!(MainGatewayCommand::decode(text).unwrap().unwrap().encode(), text);
        }
        let more = r#"{"op":4,"d":{"guild_id":1,"channel_id":2,"self_mute":false,"self_deaf":false,"self_video":false,"preferred_region":null,"flags":2}}"#;
        let update = UpdateVoiceState {
            guild_id: GuildId::new(1),
            channel_id: Some(ChannelId::new(2)),
            self_mute: false,
            self_deaf: false,
        };
        assert_eq!(MainGatewayCommand::decode(more), Ok(Some(MainGatewayCommand::UpdateVoiceState(update))));
        assert_eq!(update.encode(), MainGatewayCommand::UpdateVoiceState(update).encode());
        assert!(MainGatewayCommand::decode(r#"{"op":4,"d":[1,2,false,false]}"#).is_err());
    }

    #[test]
    fn commands_are_limited() {
        let text = r#"{"op":5,"d":null}"#;
        let of_len = |len: usize| format!("{text}{}", " ".repeat(len - text.len()));
        assert_eq!(MainGatewayCommand::decode(&of_len(MAX_COMMAND_LEN)), Ok(Some(MainGatewayCommand::PingVoiceServer)));
        let len = MAX_COMMAND_LEN + 1;
        assert_eq!(MainGatewayCommand::decode(&of_len(len)), Err(MainGatewayError::TooLarge { len }));
        for (count, read) in [(16, 16), (17, 0)] {
            let fields = vec!["\"x\""; count].join(",");
            let text = format!(r#"{{"op":43,"d":{{"guild_id":1,"fields":[{fields}]}}}}"#);
            let Ok(Some(MainGatewayCommand::RequestChannelInfo(request))) = MainGatewayCommand::decode(&text) else {
                panic!("{text}")
            };
            assert_eq!(request.fields.len(), read);
        }
    }
}
