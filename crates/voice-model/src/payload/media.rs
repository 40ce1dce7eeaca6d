//! Codecs and versions of the media server: opcodes 14 and 16.

use serde::{Deserialize, Serialize};

use crate::field::{Item, lenient, lenient_objects, lenient_or_default, texts};

/// Most codecs that are read of one message; a list of more counts as missing.
pub const MAX_CODECS: usize = 64;

/// A codec that a client can do (community documentation).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Codec {
    /// Its name: `opus`, `H264` and others; empty when it was missing.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub name: String,
    /// What it carries (`type`).
    #[serde(rename = "type", default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub kind: Option<CodecKind>,
    /// Rank among codecs of the same kind: 1000 is the first, 2000 the second.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub priority: u32,
    /// RTP payload type.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub payload_type: u8,
    /// RTP payload type of retransmissions.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub rtx_payload_type: Option<u8>,
    /// Whether the client can send it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub encode: Option<bool>,
    /// Whether the client can receive it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub decode: Option<bool>,
}

/// Opcode 14 of a client: its codecs changed (community documentation).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ClientSessionUpdate {
    /// The codecs, at most [`MAX_CODECS`].
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub codecs: Vec<Codec>,
}

/// Opcode 14 of a server: what changed of the session description (community documentation).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ServerSessionUpdate {
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

/// Opcode 16 of a server: the versions of its parts (community documentation).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct VoiceBackendVersion {
    /// Version of the voice server.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// Version of the part that forwards media.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub rtc_worker: Option<String>,
}

texts! {
    /// What a [`Codec`] carries.
    CodecKind {
        /// Sound.
        Audio = "audio",
        /// Pictures.
        Video = "video",
    }
}

lenient_objects! { Codec }

impl Item for Codec {
    const MAX: usize = MAX_CODECS;
}

impl Codec {
    /// Opus as servers assume it when no codecs are named: payload type 120.
    #[must_use]
    pub fn opus() -> Self {
        Self {
            name: "opus".to_owned(),
            kind: Some(CodecKind::Audio),
            priority: 1000,
            payload_type: 120,
            rtx_payload_type: None,
            encode: None,
            decode: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientMessage, ServerMessage};

    #[test]
    fn codecs_are_read_and_written() {
        let text = r#"{"op":14,"d":{"codecs":[{"name":"opus","type":"audio","priority":1000,"payload_type":120},{"name":"H264","type":"video","priority":1000,"payload_type":105,"rtx_payload_type":106,"encode":true,"decode":false}]}}"#;
        let h264 = Codec {
            name: "H264".to_owned(),
            kind: Some(CodecKind::Video),
            payload_type: 105,
            rtx_payload_type: Some(106),
            encode: Some(true),
            decode: Some(false),
            ..Codec::opus()
        };
        let expected = ClientMessage::SessionUpdate(ClientSessionUpdate { codecs: vec![Codec::opus(), h264] });
        assert_eq!(ClientMessage::decode(text), Ok(expected.clone()));
        assert_eq!(expected.encode(), text);
    }

    #[test]
    fn codecs_of_an_update_are_limited() {
        let of = |count: usize| format!(r#"{{"op":14,"d":{{"codecs":[{}]}}}}"#, vec!["{}"; count].join(","));
        for (count, read) in [(MAX_CODECS, MAX_CODECS), (MAX_CODECS + 1, 0)] {
            let Ok(ClientMessage::SessionUpdate(update)) = ClientMessage::decode(&of(count)) else { panic!() };
            assert_eq!(update.codecs.len(), read);
        }
    }

    #[test]
    fn an_update_holds_any_part_of_the_description() {
        let whole = r#"{"op":14,"d":{"audio_codec":"opus","video_codec":"VP8","media_session_id":"0f","keyframe_interval":5000}}"#;
        for text in [whole, r#"{"op":14,"d":{"keyframe_interval":5000}}"#, r#"{"op":14,"d":{}}"#] {
            let decoded = ServerMessage::decode(text).unwrap();
            assert!(matches!(decoded.message, ServerMessage::SessionUpdate(_)));
            assert_eq!(decoded.message.encode(None), text);
        }
    }
}
