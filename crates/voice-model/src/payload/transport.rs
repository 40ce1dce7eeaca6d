//! Payloads that set the transport up: opcodes 1 and 4.

use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny, ser::SerializeStruct};
use serde_json::value::RawValue;

use super::Codec;
use crate::{
    DecodeError, Sdp, SecretKey,
    codec::Envelope,
    field::{lenient, lenient_or_default, or_default},
};

/// Opcode 1: chooses the transport.
///
/// Bots make it with [`SelectProtocol::udp`]; everything besides `protocol` and `data` is from community
/// documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectProtocol {
    /// `udp`; browsers use `webrtc`.
    pub protocol: String,
    /// Where and how we receive.
    ///
    /// Empty when a decoded message asks for another protocol than `udp` with other data.
    pub data: SelectProtocolData,
    /// What browsers send in place of [`data`](Self::data): part of a session description.
    pub sdp: Option<Sdp>,
    /// The codecs we can do, at most [`MAX_CODECS`](crate::MAX_CODECS); without it Opus, and no video.
    pub codecs: Option<Vec<Codec>>,
    /// A name of the connection in reports.
    pub rtc_connection_id: Option<String>,
    /// Names of experiments, at most [`MAX_EXPERIMENTS`](crate::MAX_EXPERIMENTS).
    pub experiments: Option<Vec<String>>,
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

/// Opcode 4: the transport key, and the version of end-to-end encryption.
///
/// That of browsers is [`WebRtcDescription`].
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
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub audio_codec: Option<String>,
    /// The video codec that we should send (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub video_codec: Option<String>,
    /// A name of the media session in reports (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub media_session_id: Option<String>,
    /// Milliseconds between key frames of video (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub keyframe_interval: Option<u32>,
    /// The server's part of a session description, for browsers (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub sdp: Option<Sdp>,
}

/// Opcode 4 for the protocol `webrtc`: an `sdp`, and neither mode nor key (community documentation).
///
/// Browsers encrypt media with keys of their own, so a client that selected `udp` has no use for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebRtcDescription {
    /// The server's part of a session description.
    pub sdp: Sdp,
    /// Version of end-to-end encryption; 0 is none, and what a missing value means.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub dave_protocol_version: u16,
    /// The audio codec that we should send.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub audio_codec: Option<String>,
    /// The video codec that we should send.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub video_codec: Option<String>,
    /// A name of the media session in reports.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub media_session_id: Option<String>,
    /// Milliseconds between key frames of video.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub keyframe_interval: Option<u32>,
}

impl SelectProtocol {
    /// The protocol of bots: media over UDP.
    pub const UDP: &str = "udp";

    /// Chooses UDP with the address that IP discovery found, and a mode.
    #[must_use]
    pub fn udp(address: impl Into<String>, port: u16, mode: impl Into<String>) -> Self {
        let data = SelectProtocolData { address: address.into(), port, mode: mode.into() };
        Self {
            protocol: Self::UDP.to_owned(),
            data,
            sdp: None,
            codecs: None,
            rtc_connection_id: None,
            experiments: None,
        }
    }

    pub(crate) fn decode(envelope: &Envelope<'_>) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Parts<'a> {
            protocol: String,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
            #[serde(default, deserialize_with = "lenient")]
            codecs: Option<Vec<Codec>>,
            #[serde(default, deserialize_with = "lenient")]
            rtc_connection_id: Option<String>,
            #[serde(default, deserialize_with = "lenient")]
            experiments: Option<Vec<String>>,
        }

        let Parts { protocol, data: raw, codecs, rtc_connection_id, experiments } = envelope.object()?;
        // Of another protocol its name has to arrive, which is what the answer depends on.
        let (mut data, mut sdp) = (SelectProtocolData::default(), None);
        match envelope.inner_object(raw) {
            Ok(found) => data = found,
            Err(error) if protocol == Self::UDP => return Err(error),
            Err(_) => sdp = raw.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        }
        Ok(Self { protocol, data, sdp, codecs, rtc_connection_id, experiments })
    }
}

impl Serialize for SelectProtocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("SelectProtocol", 5)?;
        fields.serialize_field("protocol", &self.protocol)?;
        // Under UDP only the address can be read back.
        match self.sdp.as_ref().filter(|_| self.protocol != Self::UDP) {
            Some(sdp) => fields.serialize_field("data", sdp)?,
            None => fields.serialize_field("data", &self.data)?,
        }
        if let Some(codecs) = &self.codecs {
            fields.serialize_field("codecs", codecs)?;
        }
        if let Some(id) = &self.rtc_connection_id {
            fields.serialize_field("rtc_connection_id", id)?;
        }
        if let Some(experiments) = &self.experiments {
            fields.serialize_field("experiments", experiments)?;
        }
        fields.end()
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
            keyframe_interval: None,
            sdp: None,
        }
    }
}

impl WebRtcDescription {
    /// Describes a session, without codecs and what is for reports.
    #[must_use]
    pub const fn new(sdp: Sdp, dave_protocol_version: u16) -> Self {
        Self {
            sdp,
            dave_protocol_version,
            audio_codec: None,
            video_codec: None,
            media_session_id: None,
            keyframe_interval: None,
        }
    }

    /// Decodes an opcode 4 that is no [`SessionDescription`]; one that has parts of it is not of this form either.
    pub(crate) fn decode(envelope: &Envelope<'_>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Other {
            mode: Option<IgnoredAny>,
            secret_key: Option<IgnoredAny>,
        }

        let other: Other = envelope.object().ok()?;
        if other.mode.is_some() || other.secret_key.is_some() {
            return None;
        }
        envelope.object().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientMessage, MAX_CODECS, Opcode, ServerMessage};

    fn select(text: &str) -> SelectProtocol {
        match ClientMessage::decode(text) {
            Ok(ClientMessage::SelectProtocol(select)) => select,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn another_protocol_arrives_by_name() {
        for (data, sdp) in [(r#""v=0\r\no=- 1""#, Some("v=0\r\no=- 1")), ("null", None), ("{}", None), ("[1]", None)] {
            let select = select(&format!(r#"{{"op":1,"d":{{"protocol":"webrtc","data":{data}}}}}"#));
            assert_eq!(select.protocol, "webrtc");
            assert_eq!(select.data, SelectProtocolData::default());
            assert_eq!(select.sdp.as_ref().map(Sdp::expose), sdp);
            assert_eq!(
                ClientMessage::decode(&ClientMessage::SelectProtocol(select.clone()).encode()),
                Ok(ClientMessage::SelectProtocol(select))
            );
        }
        assert!(ClientMessage::decode(r#"{"op":1,"d":{"protocol":"udp","data":"v=0"}}"#).is_err());
    }

    #[test]
    fn codecs_are_limited() {
        let of = |count: usize| {
            let codecs = vec![r#"{"name":"opus","type":"audio"}"#; count].join(",");
            format!(
                r#"{{"op":1,"d":{{"protocol":"udp","data":{{"address":"","port":1,"mode":""}},"codecs":[{codecs}]}}}}"#
            )
        };
        assert_eq!(select(&of(MAX_CODECS)).codecs.map(|codecs| codecs.len()), Some(MAX_CODECS));
        assert_eq!(select(&of(MAX_CODECS + 1)).codecs, None);
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

    #[test]
    fn description_of_webrtc_has_neither_mode_nor_key() {
        let whole = r#"{"op":4,"d":{"sdp":"m=audio 50007 UDP/TLS/RTP/SAVPF 111\na=ice-pwd:a6d2c81e07b94f35","dave_protocol_version":1,"audio_codec":"opus","video_codec":"H264","media_session_id":"0f52","keyframe_interval":5000},"seq":2}"#;
        let decoded = ServerMessage::decode(whole).unwrap();
        let ServerMessage::WebRtcDescription(description) = &decoded.message else { panic!("{decoded:?}") };
        assert!(description.sdp.expose().ends_with("a=ice-pwd:a6d2c81e07b94f35"));
        assert_eq!((description.dave_protocol_version, description.keyframe_interval), (1, Some(5000)));
        assert!(!format!("{decoded:?}").contains("ice-pwd"));
        assert_eq!(decoded.message.opcode(), Opcode::SessionDescription);
        assert_eq!(decoded.message.encode(decoded.sequence), whole);

        let least = r#"{"op":4,"d":{"secret_key":null,"sdp":"m=audio","mode":null,"audio_codec":1e999,"dave_protocol_version":"x"}}"#;
        let expected = ServerMessage::WebRtcDescription(WebRtcDescription::new(Sdp::new("m=audio"), 0));
        assert_eq!(ServerMessage::decode(least).unwrap().message, expected);
    }

    #[test]
    fn description_with_a_mode_or_a_key_or_without_all_is_none_of_webrtc() {
        let key = vec!["7"; SecretKey::LEN].join(",");
        for d in [
            r#"{"sdp":"m=audio","mode":"m"}"#,
            &format!(r#"{{"sdp":"m=audio","secret_key":[{key}]}}"#),
            r#"{"sdp":"m=audio","mode":"m","secret_key":[7]}"#,
            r#"{"sdp":7}"#,
            r#"{"sdp":"\ud800"}"#,
            r#"{"sdp":null}"#,
            "{}",
            r#"["m=audio"]"#,
        ] {
            let error = ServerMessage::decode(&format!(r#"{{"op":4,"d":{d},"seq":2}}"#)).expect_err(d);
            assert!(matches!(error, DecodeError::WrongPayload { opcode: Opcode::SessionDescription, .. }), "{d}");
            assert_eq!(error.sequence(), Some(2));
        }
        let both = format!(r#"{{"op":4,"d":{{"sdp":"m=audio","mode":"m","secret_key":[{key}]}}}}"#);
        assert!(matches!(ServerMessage::decode(&both).unwrap().message, ServerMessage::SessionDescription(_)));
    }
}
