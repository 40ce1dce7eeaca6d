//! Messages that a server sends.

use crate::{
    ClientDisconnect, ClientFlags, ClientPlatform, ClientsConnect, DaveExecuteTransition, DavePrepareEpoch,
    DavePrepareTransition, DecodeError, HeartbeatAck, Hello, MediaSinkWants, Opcode, Ready, ServerSessionUpdate,
    ServerSpeaking, ServerVideo, SessionDescription, UnknownMessage, VoiceBackendVersion, WebRtcDescription,
    codec::{self, Envelope},
};

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
    /// The transport is set up for the protocol `webrtc` (community documentation).
    WebRtcDescription(WebRtcDescription),
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
    /// The SSRCs of a user (community documentation).
    Video(ServerVideo),
    /// Codecs changed (community documentation).
    SessionUpdate(ServerSessionUpdate),
    /// The wanted quality of our streams (community documentation).
    MediaSinkWants(MediaSinkWants),
    /// The versions of the server, which were asked for (community documentation).
    VoiceBackendVersion(VoiceBackendVersion),
    /// Settings of a user (community documentation).
    ClientFlags(ClientFlags),
    /// The kind of device of a user (community documentation).
    ClientPlatform(ClientPlatform),
    /// A change of the end-to-end protocol version is coming.
    DavePrepareTransition(DavePrepareTransition),
    /// The announced change takes place.
    DaveExecuteTransition(DaveExecuteTransition),
    /// An epoch or a group of end-to-end encryption is coming.
    DavePrepareEpoch(DavePrepareEpoch),
    /// Any other opcode: those of clients, dead ones (10, 17, 19) and those to come; and what only community
    /// documentation describes, in another form.
    Unknown(UnknownMessage),
}

impl ServerMessage {
    /// Decodes a text message, as a client does.
    ///
    /// A payload that only community documentation describes, and that has another form than that, comes as
    /// `Unknown`: nobody promised it. Keys without a meaning here are ignored.
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
            Opcode::SessionDescription => match envelope.object() {
                Ok(description) => Self::SessionDescription(description),
                Err(error) => WebRtcDescription::decode(&envelope).map(Self::WebRtcDescription).ok_or(error)?,
            },
            Opcode::Speaking => Self::Speaking(envelope.object()?),
            Opcode::HeartbeatAck => Self::HeartbeatAck(HeartbeatAck::decode(&envelope)?),
            Opcode::Hello => Self::Hello(envelope.object()?),
            Opcode::Resumed => Self::Resumed,
            Opcode::ClientsConnect => Self::ClientsConnect(envelope.object()?),
            Opcode::ClientDisconnect => Self::ClientDisconnect(envelope.object()?),
            Opcode::Video => envelope.described().map_or_else(Self::Unknown, Self::Video),
            Opcode::SessionUpdate => envelope.described().map_or_else(Self::Unknown, Self::SessionUpdate),
            Opcode::MediaSinkWants => envelope.described().map_or_else(Self::Unknown, Self::MediaSinkWants),
            Opcode::VoiceBackendVersion => envelope.described().map_or_else(Self::Unknown, Self::VoiceBackendVersion),
            Opcode::ClientFlags => envelope.described().map_or_else(Self::Unknown, Self::ClientFlags),
            Opcode::ClientPlatform => envelope.described().map_or_else(Self::Unknown, Self::ClientPlatform),
            Opcode::DavePrepareTransition => Self::DavePrepareTransition(envelope.object()?),
            Opcode::DaveExecuteTransition => Self::DaveExecuteTransition(envelope.object()?),
            Opcode::DavePrepareEpoch => Self::DavePrepareEpoch(envelope.object()?),
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
            Self::SessionDescription(_) | Self::WebRtcDescription(_) => Opcode::SessionDescription,
            Self::Speaking(_) => Opcode::Speaking,
            Self::HeartbeatAck(_) => Opcode::HeartbeatAck,
            Self::Hello(_) => Opcode::Hello,
            Self::Resumed => Opcode::Resumed,
            Self::ClientsConnect(_) => Opcode::ClientsConnect,
            Self::ClientDisconnect(_) => Opcode::ClientDisconnect,
            Self::Video(_) => Opcode::Video,
            Self::SessionUpdate(_) => Opcode::SessionUpdate,
            Self::MediaSinkWants(_) => Opcode::MediaSinkWants,
            Self::VoiceBackendVersion(_) => Opcode::VoiceBackendVersion,
            Self::ClientFlags(_) => Opcode::ClientFlags,
            Self::ClientPlatform(_) => Opcode::ClientPlatform,
            Self::DavePrepareTransition(_) => Opcode::DavePrepareTransition,
            Self::DaveExecuteTransition(_) => Opcode::DaveExecuteTransition,
            Self::DavePrepareEpoch(_) => Opcode::DavePrepareEpoch,
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
            Self::WebRtcDescription(data) => codec::encode(opcode, data, sequence),
            Self::Speaking(data) => codec::encode(opcode, data, sequence),
            Self::HeartbeatAck(data) => data.encode(sequence),
            Self::Hello(data) => codec::encode(opcode, data, sequence),
            Self::Heartbeat | Self::Resumed => codec::encode(opcode, &(), sequence),
            Self::ClientsConnect(data) => codec::encode(opcode, data, sequence),
            Self::ClientDisconnect(data) => codec::encode(opcode, data, sequence),
            Self::Video(data) => codec::encode(opcode, data, sequence),
            Self::SessionUpdate(data) => codec::encode(opcode, data, sequence),
            Self::MediaSinkWants(data) => codec::encode(opcode, data, sequence),
            Self::VoiceBackendVersion(data) => codec::encode(opcode, data, sequence),
            Self::ClientFlags(data) => codec::encode(opcode, data, sequence),
            Self::ClientPlatform(data) => codec::encode(opcode, data, sequence),
            Self::DavePrepareTransition(data) => codec::encode(opcode, data, sequence),
            Self::DaveExecuteTransition(data) => codec::encode(opcode, data, sequence),
            Self::DavePrepareEpoch(data) => codec::encode(opcode, data, sequence),
            Self::Unknown(message) => codec::encode(opcode, message.raw(), sequence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> ServerMessage {
        ServerMessage::decode(text).unwrap().message
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
}
