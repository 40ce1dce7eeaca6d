//! Messages that a server sends.

use core::{fmt, marker::PhantomData, net::IpAddr, net::SocketAddr, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::{
    DecodeError, HeartbeatAck, Opcode, SecretKey, SpeakingFlags, UnknownMessage, UserId,
    client::or_default,
    codec::{self, Envelope},
};

/// Most users that one [`ClientsConnect`] may name; more is a malformed payload.
pub const MAX_USER_IDS: usize = 20_000;

/// Most modes that one [`Ready`] may offer; more is a malformed payload.
pub const MAX_MODES: usize = 64;

/// A message with the number under which it counts as received.
///
/// The first number of a session is 0, and they wrap after 65535. Text and binary messages share
/// one counter. Some opcodes are not numbered, and before gateway version 8 none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered<T> {
    /// The number, when the message has one.
    pub sequence: Option<u16>,
    /// The message.
    pub message: T,
}

/// A text message of a server.
///
/// ```
/// use voice_model::ServerMessage;
///
/// let text = r#"{"op":5,"d":{"speaking":1,"ssrc":341124,"user_id":"104694319306248192"},"seq":3}"#;
/// let decoded = ServerMessage::decode(text)?;
/// assert_eq!(decoded.sequence, Some(3));
/// let ServerMessage::Speaking(speaking) = &decoded.message else { unreachable!() };
/// assert_eq!(speaking.ssrc, 341124);
/// assert_eq!(decoded.message.encode(decoded.sequence), text);
/// # Ok::<(), voice_model::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerMessage {
    /// The session begins.
    Ready(Ready),
    /// The server asks for a heartbeat, to be sent at once.
    Heartbeat,
    /// The transport is set up.
    SessionDescription(SessionDescription),
    /// How a user speaks, and with which SSRC.
    Speaking(ServerSpeaking),
    /// Answer to a heartbeat.
    HeartbeatAck(HeartbeatAck),
    /// First message of a connection.
    Hello(Hello),
    /// The session continues.
    Resumed,
    /// Users who are in the call or joined it.
    ClientsConnect(ClientsConnect),
    /// A user left the call.
    ClientDisconnect(ClientDisconnect),
    /// Any other opcode, those of clients included.
    Unknown(UnknownMessage),
}

/// Opcode 2: the identified session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Our SSRC for audio.
    pub ssrc: u32,
    /// UDP address of the media server.
    pub ip: String,
    /// UDP port of the media server.
    pub port: u16,
    /// Transport modes in the order of the server, at most [`MAX_MODES`].
    #[serde(deserialize_with = "at_most::<MAX_MODES, _, _>")]
    pub modes: Vec<String>,
}

/// Opcode 4: the transport key, and the version of end-to-end encryption.
///
/// That of browsers, which has an `sdp` and no key, is not decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDescription {
    /// The mode that is in use.
    pub mode: String,
    /// The key of both directions.
    pub secret_key: SecretKey,
    /// Version of end-to-end encryption; 0 is none, and what a missing value means.
    #[serde(default, deserialize_with = "or_default")]
    pub dave_protocol_version: u16,
    /// The audio codec that we should send (community documentation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_codec: Option<String>,
    /// The video codec that we should send (community documentation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_codec: Option<String>,
    /// A name of the media session in reports (community documentation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_session_id: Option<String>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<u32>,
}

/// Opcode 8: first message of a connection; may come again with another interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Longest gap between heartbeats in milliseconds, as the server said it.
    ///
    /// See [`Hello::interval`] for what is safe to use.
    #[serde(rename = "heartbeat_interval", serialize_with = "whole_if_possible")]
    pub heartbeat_interval_ms: f64,
    /// The gateway version in use (`v`).
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u8>,
}

/// Opcode 11: users who are in the call, or joined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsConnect {
    /// The users, at most [`MAX_USER_IDS`].
    #[serde(deserialize_with = "at_most::<MAX_USER_IDS, _, _>")]
    pub user_ids: Vec<UserId>,
}

/// Opcode 13: a user left the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientDisconnect {
    /// The user.
    pub user_id: UserId,
}

impl ServerMessage {
    /// Decodes a text message, as a client does.
    ///
    /// Keys without a meaning here are ignored.
    ///
    /// # Errors
    ///
    /// The text is no message, keeps not to the limits, or its payload is not what its opcode
    /// calls for; [`DecodeError::sequence`] still has the number in the last case.
    pub fn decode(text: &str) -> Result<Numbered<Self>, DecodeError> {
        let envelope = Envelope::from_server(text)?;
        let message = match envelope.opcode {
            Opcode::Ready => Self::Ready(envelope.object()?),
            Opcode::Heartbeat => Self::Heartbeat,
            Opcode::SessionDescription => Self::SessionDescription(envelope.object()?),
            Opcode::Speaking => Self::Speaking(envelope.object()?),
            Opcode::HeartbeatAck => Self::HeartbeatAck(HeartbeatAck::decode(&envelope)?),
            Opcode::Hello => Self::Hello(envelope.object()?),
            Opcode::Resumed => Self::Resumed,
            Opcode::ClientsConnect => Self::ClientsConnect(envelope.object()?),
            Opcode::ClientDisconnect => Self::ClientDisconnect(envelope.object()?),
            _ => Self::Unknown(envelope.unknown()),
        };
        Ok(Numbered { sequence: envelope.sequence, message })
    }

    /// The kind of the message.
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        match self {
            Self::Ready(_) => Opcode::Ready,
            Self::Heartbeat => Opcode::Heartbeat,
            Self::SessionDescription(_) => Opcode::SessionDescription,
            Self::Speaking(_) => Opcode::Speaking,
            Self::HeartbeatAck(_) => Opcode::HeartbeatAck,
            Self::Hello(_) => Opcode::Hello,
            Self::Resumed => Opcode::Resumed,
            Self::ClientsConnect(_) => Opcode::ClientsConnect,
            Self::ClientDisconnect(_) => Opcode::ClientDisconnect,
            Self::Unknown(message) => message.opcode,
        }
    }

    /// Encodes the message as text, with its number if it has one.
    #[must_use]
    pub fn encode(&self, sequence: Option<u16>) -> String {
        let opcode = self.opcode();
        match self {
            Self::Ready(data) => codec::encode(opcode, data, sequence),
            Self::SessionDescription(data) => codec::encode(opcode, data, sequence),
            Self::Speaking(data) => codec::encode(opcode, data, sequence),
            Self::HeartbeatAck(data) => data.encode(sequence),
            Self::Hello(data) => codec::encode(opcode, data, sequence),
            Self::Heartbeat | Self::Resumed => codec::encode(opcode, &(), sequence),
            Self::ClientsConnect(data) => codec::encode(opcode, data, sequence),
            Self::ClientDisconnect(data) => codec::encode(opcode, data, sequence),
            Self::Unknown(message) => codec::encode(opcode, message.raw(), sequence),
        }
    }
}

impl Ready {
    /// The UDP address of the media server, unless it is not an IP address or the port is 0.
    #[must_use]
    pub fn media_addr(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.ip.parse().ok()?;
        (self.port != 0).then_some(SocketAddr::new(ip, self.port))
    }
}

impl SessionDescription {
    /// Describes a session, without the parts that only community documentation names.
    #[must_use]
    pub fn new(mode: impl Into<String>, secret_key: SecretKey, dave_protocol_version: u16) -> Self {
        Self {
            mode: mode.into(),
            secret_key,
            dave_protocol_version,
            audio_codec: None,
            video_codec: None,
            media_session_id: None,
        }
    }
}

impl Hello {
    /// Shortest interval that [`Hello::interval`] returns.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(1);
    /// Longest interval that [`Hello::interval`] returns.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(60);
    /// What [`Hello::interval`] returns when the server's number makes no sense.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

    /// The longest gap between heartbeats, limited to 1 to 60 seconds.
    ///
    /// Zero, a negative number and not-a-number give 5 seconds.
    #[must_use]
    pub fn interval(&self) -> Duration {
        if self.heartbeat_interval_ms.is_nan() || self.heartbeat_interval_ms <= 0.0 {
            return Self::DEFAULT_INTERVAL;
        }
        let max_ms = Self::MAX_INTERVAL.as_secs_f64() * 1000.0;
        Duration::from_secs_f64(self.heartbeat_interval_ms.min(max_ms) / 1000.0)
            .clamp(Self::MIN_INTERVAL, Self::MAX_INTERVAL)
    }
}

/// Servers write the interval as an integer; clients exist that do not take `13750.0`.
fn whole_if_possible<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    /// Up to here every integer is exact in an `f64`.
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < LIMIT {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}

/// Reads an array of at most `MAX` items, and stops at the first one above that.
fn at_most<'de, const MAX: usize, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an array of at most {MAX} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut vec = Vec::new();
            while let Some(item) = items.next_element()? {
                if vec.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                vec.push(item);
            }
            Ok(vec)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> ServerMessage {
        ServerMessage::decode(text).unwrap().message
    }

    fn hello(json: &str) -> Hello {
        match decode(&format!(r#"{{"op":8,"d":{{"heartbeat_interval":{json}}}}}"#)) {
            ServerMessage::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn heartbeat_interval_is_integer_or_float_and_written_whole() {
        for json in ["13750", "13750.0", "1.375e4"] {
            let hello = hello(json);
            assert_eq!(hello.heartbeat_interval_ms, 13750.0);
            assert_eq!(hello.interval(), Duration::from_millis(13750));
            assert_eq!(ServerMessage::Hello(hello).encode(None), r#"{"op":8,"d":{"heartbeat_interval":13750}}"#);
        }
        let hello = hello("41250.5");
        assert_eq!(ServerMessage::Hello(hello).encode(None), r#"{"op":8,"d":{"heartbeat_interval":41250.5}}"#);
    }

    #[test]
    fn usable_heartbeat_interval_is_limited() {
        let interval = |heartbeat_interval_ms| Hello { heartbeat_interval_ms, version: None }.interval();
        for nonsense in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(interval(nonsense), Duration::from_secs(5), "{nonsense}");
        }
        for (ms, seconds) in [(f64::MIN_POSITIVE, 1), (999.9, 1), (60_000.1, 60), (1e300, 60), (f64::INFINITY, 60)] {
            assert_eq!(interval(ms), Duration::from_secs(seconds), "{ms}");
        }
        assert_eq!(interval(1500.5), Duration::from_micros(1_500_500));
    }

    #[test]
    fn media_address_needs_an_ip_address_and_a_port() {
        let ready = |ip: &str, port| Ready { ssrc: 1, ip: ip.to_owned(), port, modes: Vec::new() };
        assert_eq!(ready("127.0.0.1", 50007).media_addr(), Some(([127, 0, 0, 1], 50007).into()));
        assert_eq!(ready("2001:db8::1", 1).media_addr(), Some("[2001:db8::1]:1".parse().unwrap()));
        for (ip, port) in [("127.0.0.1", 0), ("example.net", 1), ("", 1), ("127.0.0.1 ", 1), ("[::1]", 1)] {
            assert_eq!(ready(ip, port).media_addr(), None, "{ip:?} {port}");
        }
    }

    #[test]
    fn user_ids_are_limited() {
        let of = |count: usize| {
            let ids = vec!["1"; count].join(",");
            format!(r#"{{"op":11,"d":{{"user_ids":[{ids}]}},"seq":0}}"#)
        };
        let ServerMessage::ClientsConnect(users) = decode(&of(MAX_USER_IDS)) else { panic!() };
        assert_eq!(users.user_ids.len(), MAX_USER_IDS);
        let error = ServerMessage::decode(&of(MAX_USER_IDS + 1)).unwrap_err();
        assert_eq!((error.opcode(), error.sequence()), (Some(Opcode::ClientsConnect), Some(0)));
    }

    #[test]
    fn modes_are_limited() {
        let of = |count: usize| {
            let modes = vec!["\"m\""; count].join(",");
            format!(r#"{{"op":2,"d":{{"ssrc":1,"ip":"","port":1,"modes":[{modes}]}}}}"#)
        };
        assert!(ServerMessage::decode(&of(MAX_MODES)).is_ok());
        assert!(ServerMessage::decode(&of(MAX_MODES + 1)).is_err());
    }

    #[test]
    fn sequence_zero_is_kept_whatever_the_payload_is() {
        let typed = r#"{"op":13,"d":{"user_id":"80351110224678912"},"seq":0}"#;
        assert_eq!(ServerMessage::decode(typed).unwrap().sequence, Some(0));
        let unknown = ServerMessage::decode(r#"{"op":77,"seq":0}"#).unwrap();
        assert_eq!(unknown.sequence, Some(0));
        assert_eq!(unknown.message.encode(unknown.sequence), r#"{"op":77,"d":null,"seq":0}"#);
        for wrong in [r#"{"op":13,"seq":0}"#, r#"{"op":13,"d":{"user_id":-1},"seq":0}"#, r#"{"seq":0,"op":6,"d":{}}"#] {
            let error = ServerMessage::decode(wrong).unwrap_err();
            assert!(matches!(error, DecodeError::WrongPayload { .. }));
            assert_eq!(error.sequence(), Some(0));
        }
        let none = ServerMessage::decode(r#"{"op":13,"d":{"user_id":"1"}}"#).unwrap();
        assert_eq!(none.sequence, None);
    }

    #[test]
    fn messages_without_payload_take_any() {
        for d in ["null", "{}", "[1,2]", "\"x\"", "{\"_trace\":[]}"] {
            assert_eq!(decode(&format!(r#"{{"op":9,"d":{d}}}"#)), ServerMessage::Resumed);
            assert_eq!(decode(&format!(r#"{{"op":3,"d":{d}}}"#)), ServerMessage::Heartbeat);
        }
        assert_eq!(ServerMessage::Heartbeat.encode(None), r#"{"op":3,"d":null}"#);
    }

    #[test]
    fn key_of_another_length_is_a_wrong_payload() {
        for len in [0, 31, 33] {
            let key = vec!["7"; len].join(",");
            let text = format!(r#"{{"op":4,"d":{{"mode":"m","secret_key":[{key}]}}}}"#);
            let error = ServerMessage::decode(&text).unwrap_err();
            assert_eq!(error.opcode(), Some(Opcode::SessionDescription), "{len}");
        }
    }
}
