//! Messages that a client sends.

use crate::{
    ClientSessionUpdate, ClientSpeaking, ClientVideo, DaveTransitionReady, DecodeError, Heartbeat, Identify,
    MediaSinkWants, MlsInvalidCommitWelcome, Opcode, Resume, SelectProtocol, UnknownMessage,
    codec::{self, Envelope},
    field::Empty,
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
    /// Tells which video we send (community documentation).
    Video(ClientVideo),
    /// Our codecs changed (community documentation).
    SessionUpdate(ClientSessionUpdate),
    /// Tells what we want to receive (community documentation).
    MediaSinkWants(MediaSinkWants),
    /// Asks for the versions of the server (community documentation).
    VoiceBackendVersion,
    /// Ready for a transition of end-to-end encryption.
    DaveTransitionReady(DaveTransitionReady),
    /// A commit or a welcome could not be processed.
    MlsInvalidCommitWelcome(MlsInvalidCommitWelcome),
    /// The transport could not be set up (community documentation).
    NoRoute,
    /// Any other opcode: those of servers, dead ones (10, 17, 19) and those to come; and what only community
    /// documentation describes, in another form.
    Unknown(UnknownMessage),
}

impl ClientMessage {
    /// Decodes a text message, as a server does.
    ///
    /// A payload that only community documentation describes, and that has another form than that, comes as
    /// `Unknown`: nobody promised it. Keys without a meaning here are ignored, and so is a `seq`.
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
            Opcode::Video => envelope.described().map_or_else(Self::Unknown, Self::Video),
            Opcode::SessionUpdate => envelope.described().map_or_else(Self::Unknown, Self::SessionUpdate),
            Opcode::MediaSinkWants => envelope.described().map_or_else(Self::Unknown, Self::MediaSinkWants),
            Opcode::VoiceBackendVersion => Self::VoiceBackendVersion,
            Opcode::DaveTransitionReady => Self::DaveTransitionReady(envelope.object()?),
            Opcode::MlsInvalidCommitWelcome => Self::MlsInvalidCommitWelcome(envelope.object()?),
            Opcode::NoRoute => Self::NoRoute,
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
            Self::Video(_) => Opcode::Video,
            Self::SessionUpdate(_) => Opcode::SessionUpdate,
            Self::MediaSinkWants(_) => Opcode::MediaSinkWants,
            Self::VoiceBackendVersion => Opcode::VoiceBackendVersion,
            Self::DaveTransitionReady(_) => Opcode::DaveTransitionReady,
            Self::MlsInvalidCommitWelcome(_) => Opcode::MlsInvalidCommitWelcome,
            Self::NoRoute => Opcode::NoRoute,
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
            Self::Video(data) => codec::encode(opcode, data, None),
            Self::SessionUpdate(data) => codec::encode(opcode, data, None),
            Self::MediaSinkWants(data) => codec::encode(opcode, data, None),
            Self::DaveTransitionReady(data) => codec::encode(opcode, data, None),
            Self::MlsInvalidCommitWelcome(data) => codec::encode(opcode, data, None),
            Self::VoiceBackendVersion | Self::NoRoute => codec::encode(opcode, &Empty {}, None),
            Self::Unknown(message) => codec::encode(opcode, message.raw(), None),
        }
    }
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
