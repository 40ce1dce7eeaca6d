//! Messages that a client sends.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{
    ChannelId, DecodeError, GuildId, Heartbeat, Opcode, SessionId, SpeakingFlags, Token, UnknownMessage, UserId,
    codec::{self, Envelope},
};

/// A text message of a client.
///
/// ```
/// use voice_model::{ClientMessage, ClientSpeaking, SpeakingFlags};
///
/// let message = ClientMessage::Speaking(ClientSpeaking {
///     speaking: SpeakingFlags::MICROPHONE,
///     delay: 0,
///     ssrc: 369020,
/// });
/// let text = message.encode();
/// assert_eq!(text, r#"{"op":5,"d":{"speaking":1,"delay":0,"ssrc":369020}}"#);
/// assert_eq!(ClientMessage::decode(&text)?, message);
/// # Ok::<(), voice_model::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientMessage {
    /// Begins a session.
    Identify(Identify),
    /// Chooses the transport.
    SelectProtocol(SelectProtocol),
    /// Keeps the connection alive.
    Heartbeat(Heartbeat),
    /// Tells how we speak, and with which SSRC.
    Speaking(ClientSpeaking),
    /// Continues a session.
    Resume(Resume),
    /// Any other opcode, those of servers included.
    Unknown(UnknownMessage),
}

/// Opcode 0: begins a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identify {
    /// The guild.
    pub server_id: GuildId,
    /// Our own user.
    pub user_id: UserId,
    /// The session of our user in the guild.
    pub session_id: SessionId,
    /// The token of the voice server.
    pub token: Token,
    /// The highest version of end-to-end encryption we can do; 0 is none, and what a missing
    /// value means.
    #[serde(default, deserialize_with = "or_default")]
    pub max_dave_protocol_version: u16,
    /// The channel; gateway version 9 requires it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
}

/// Opcode 1: chooses the transport.
///
/// What servers take besides (`codecs`, analytics) is neither read nor sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelectProtocol {
    /// `udp`; browsers use `webrtc`.
    pub protocol: String,
    /// Where and how we receive.
    ///
    /// Empty when a decoded message asks for another protocol than `udp` with other data.
    pub data: SelectProtocolData,
}

/// Where and how a client receives media.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelectProtocolData {
    /// Our external address, found by IP discovery.
    pub address: String,
    /// Our external UDP port, found by IP discovery.
    pub port: u16,
    /// One of the modes of [`Ready`](crate::Ready).
    pub mode: String,
}

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

/// Opcode 7: continues a session on a new connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The guild.
    pub server_id: GuildId,
    /// The session of our user in the guild.
    pub session_id: SessionId,
    /// The token of the voice server.
    pub token: Token,
    /// The number of the last numbered message, after which the server replays; -1 or `None`
    /// when there was none. Gateway version 8 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq_ack: Option<i64>,
    /// The channel; gateway version 9 requires it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
}

impl ClientMessage {
    /// Decodes a text message, as a server does.
    ///
    /// Keys without a meaning here are ignored, and so is a `seq`.
    ///
    /// # Errors
    ///
    /// The text is no message, keeps not to the limits, or its payload is not what its opcode
    /// calls for.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let envelope = Envelope::from_client(text)?;
        Ok(match envelope.opcode {
            Opcode::Identify => Self::Identify(envelope.object()?),
            Opcode::SelectProtocol => Self::SelectProtocol(SelectProtocol::decode(&envelope)?),
            Opcode::Heartbeat => Self::Heartbeat(Heartbeat::decode(&envelope)?),
            Opcode::Speaking => Self::Speaking(envelope.object()?),
            Opcode::Resume => Self::Resume(envelope.object()?),
            _ => Self::Unknown(envelope.unknown()),
        })
    }

    /// The kind of the message.
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        match self {
            Self::Identify(_) => Opcode::Identify,
            Self::SelectProtocol(_) => Opcode::SelectProtocol,
            Self::Heartbeat(_) => Opcode::Heartbeat,
            Self::Speaking(_) => Opcode::Speaking,
            Self::Resume(_) => Opcode::Resume,
            Self::Unknown(message) => message.opcode,
        }
    }

    /// Encodes the message as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let opcode = self.opcode();
        match self {
            Self::Identify(data) => codec::encode(opcode, data, None),
            Self::SelectProtocol(data) => codec::encode(opcode, data, None),
            Self::Heartbeat(data) => data.encode(),
            Self::Speaking(data) => codec::encode(opcode, data, None),
            Self::Resume(data) => codec::encode(opcode, data, None),
            Self::Unknown(message) => codec::encode(opcode, message.raw(), None),
        }
    }
}

impl SelectProtocol {
    /// The protocol of bots: media over UDP.
    pub const UDP: &str = "udp";

    /// Chooses UDP with the address that IP discovery found, and a mode.
    #[must_use]
    pub fn udp(address: impl Into<String>, port: u16, mode: impl Into<String>) -> Self {
        let data = SelectProtocolData { address: address.into(), port, mode: mode.into() };
        Self { protocol: Self::UDP.to_owned(), data }
    }

    fn decode(envelope: &Envelope<'_>) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Parts<'a> {
            protocol: String,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
        }

        let Parts { protocol, data } = envelope.object()?;
        // Of another protocol its name has to arrive, which is what the answer depends on.
        let data = match envelope.inner_object(data) {
            Err(_) if protocol != Self::UDP => SelectProtocolData::default(),
            data => data?,
        };
        Ok(Self { protocol, data })
    }
}

/// Reads `null` like a missing key.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_payload(text: &str) -> Opcode {
        match ClientMessage::decode(text) {
            Err(error @ DecodeError::WrongPayload { .. }) => error.opcode().unwrap(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn missing_and_null_mean_the_default() {
        for version in ["", r#","max_dave_protocol_version":null"#, r#","max_dave_protocol_version":0"#] {
            let text =
                format!(r#"{{"op":0,"d":{{"server_id":"1","user_id":2,"session_id":"s","token":"t"{version}}}}}"#);
            let Ok(ClientMessage::Identify(identify)) = ClientMessage::decode(&text) else { panic!("{text}") };
            assert_eq!(identify.max_dave_protocol_version, 0);
            assert_eq!((identify.server_id.get(), identify.user_id.get()), (1, 2));
            assert_eq!(identify.channel_id, None);
        }
        for delay in ["", r#","delay":null"#, r#","delay":0"#] {
            let text = format!(r#"{{"op":5,"d":{{"speaking":1,"ssrc":4294967295{delay}}}}}"#);
            let Ok(ClientMessage::Speaking(speaking)) = ClientMessage::decode(&text) else { panic!("{text}") };
            assert_eq!((speaking.delay, speaking.ssrc), (0, u32::MAX));
        }
    }

    #[test]
    fn incomplete_and_mistyped_payloads_name_their_opcode() {
        let cases = [
            (r#"{"op":0}"#, Opcode::Identify),
            (r#"{"op":0,"d":{"server_id":"1","user_id":"2","session_id":"s"}}"#, Opcode::Identify),
            (r#"{"op":0,"d":{"server_id":"1","user_id":"x","session_id":"s","token":"t"}}"#, Opcode::Identify),
            (r#"{"op":0,"d":["1","2","s","t",1,null]}"#, Opcode::Identify),
            (r#"{"op":1,"d":{"protocol":"udp"}}"#, Opcode::SelectProtocol),
            (r#"{"op":1,"d":{"protocol":"udp","data":["a",1,"m"]}}"#, Opcode::SelectProtocol),
            (
                r#"{"op":1,"d":{"protocol":"udp","data":{"address":"a","port":65536,"mode":"m"}}}"#,
                Opcode::SelectProtocol,
            ),
            (r#"{"op":5,"d":{"speaking":1}}"#, Opcode::Speaking),
            (r#"{"op":5,"d":{"speaking":1,"ssrc":-1}}"#, Opcode::Speaking),
            (r#"{"op":7,"d":{"server_id":"1","session_id":"s","token":"t","seq_ack":"1"}}"#, Opcode::Resume),
        ];
        for (text, opcode) in cases {
            assert_eq!(wrong_payload(text), opcode);
        }
    }

    #[test]
    fn another_protocol_arrives_by_name() {
        for data in [r#""v=0\r\no=- 1""#, "null", "{}", "[1]"] {
            let text = format!(r#"{{"op":1,"d":{{"protocol":"webrtc","data":{data}}}}}"#);
            let Ok(ClientMessage::SelectProtocol(select)) = ClientMessage::decode(&text) else { panic!("{text}") };
            assert_eq!(select.protocol, "webrtc");
            assert_eq!(select.data, SelectProtocolData::default());
        }
    }

    #[test]
    fn opcodes_of_servers_are_unknown_to_a_server() {
        let text = r#"{"op":8,"d":{"v":8,"heartbeat_interval":13750}}"#;
        let Ok(ClientMessage::Unknown(message)) = ClientMessage::decode(text) else { panic!() };
        assert_eq!(message.opcode, Opcode::Hello);
    }

    #[test]
    fn a_sequence_number_means_nothing_from_a_client() {
        for seq in ["0", "-1", "\"x\""] {
            let text = format!(r#"{{"op":16,"d":{{}},"seq":{seq}}}"#);
            assert!(ClientMessage::decode(&text).is_ok(), "{text}");
        }
    }
}
