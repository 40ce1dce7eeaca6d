//! Payloads of opcode 12, and the streams that other payloads name as well.

use serde::{Deserialize, Serialize};

use crate::{
    UserId,
    field::{Item, lenient, lenient_objects, lenient_or_default, texts},
};

/// Most streams that are read of one message; a list of more counts as missing.
pub const MAX_STREAMS: usize = 64;

/// Opcode 12 of a client: the video it sends (community documentation).
///
/// ```
/// use voice_model::{ClientMessage, ClientVideo};
///
/// let none = ClientMessage::Video(ClientVideo::none());
/// assert_eq!(none.encode(), r#"{"op":12,"d":{"audio_ssrc":0,"video_ssrc":0,"rtx_ssrc":0,"streams":[]}}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientVideo {
    /// Our SSRC for audio; 0 is none, and what a missing value means.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub audio_ssrc: u32,
    /// Our SSRC for video; 0 is none, and what a missing value means.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub video_ssrc: u32,
    /// Our SSRC for retransmitted video.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
    /// Our streams, at most [`MAX_STREAMS`].
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<Stream>>,
}

/// Opcode 12 of a server: the SSRCs of a user (community documentation).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerVideo {
    /// The user.
    pub user_id: UserId,
    /// The SSRC of the user's audio; 0 is none, and what a missing value means.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub audio_ssrc: u32,
    /// The SSRC of the user's video; 0 is none: the camera is off.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub video_ssrc: u32,
    /// The user's streams, at most [`MAX_STREAMS`]; the form of old servers, "client connect", has none.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<Stream>>,
}

/// A stream of video (community documentation).
///
/// Every field may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Stream {
    /// What is shown (`type`).
    #[serde(rename = "type", default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub kind: Option<StreamKind>,
    /// Name of the layer: `50` or `100` for example.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// Quality of the layer, from 0 to 100.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub quality: Option<u32>,
    /// Whether the layer is sent.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// SSRC of the layer.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<u32>,
    /// SSRC for retransmissions of the layer.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
    /// Most bits per second.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<u64>,
    /// Most frames per second.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub max_framerate: Option<u32>,
    /// Largest picture.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub max_resolution: Option<Resolution>,
}

/// The size of pictures of a [`Stream`] (community documentation).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Resolution {
    /// What the size follows (`type`).
    #[serde(rename = "type", default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ResolutionKind>,
    /// Pixels per line.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Lines.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

texts! {
    /// What a [`Stream`] shows.
    StreamKind {
        /// A camera.
        Video = "video",
        /// A shared screen.
        Screen = "screen",
        /// A test of the connection.
        Test = "test",
    }
}

texts! {
    /// What a [`Resolution`] follows.
    ResolutionKind {
        /// The given size.
        Fixed = "fixed",
        /// The size of the source.
        Source = "source",
    }
}

lenient_objects! { Stream Resolution }

impl Item for Stream {
    const MAX: usize = MAX_STREAMS;
}

impl ClientVideo {
    /// Tells that no video is sent.
    #[must_use]
    pub const fn none() -> Self {
        Self { audio_ssrc: 0, video_ssrc: 0, rtx_ssrc: Some(0), streams: Some(Vec::new()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientMessage, ServerMessage};

    fn video(d: &str) -> ServerVideo {
        match ServerMessage::decode(&format!(r#"{{"op":12,"d":{d},"seq":4}}"#)).map(|decoded| decoded.message) {
            Ok(ServerMessage::Video(video)) => video,
            other => panic!("{d}: {other:?}"),
        }
    }

    #[test]
    fn every_field_of_a_stream_is_read() {
        let d = r#"{"user_id":"5","audio_ssrc":1,"video_ssrc":2,"streams":[{"type":"screen","rid":"100","quality":100,"active":true,"ssrc":2,"rtx_ssrc":3,"max_bitrate":10000000,"max_framerate":60,"max_resolution":{"type":"source","width":0,"height":0}}]}"#;
        let expected = ServerVideo {
            user_id: UserId::new(5),
            audio_ssrc: 1,
            video_ssrc: 2,
            streams: Some(vec![Stream {
                kind: Some(StreamKind::Screen),
                rid: Some("100".to_owned()),
                quality: Some(100),
                active: Some(true),
                ssrc: Some(2),
                rtx_ssrc: Some(3),
                max_bitrate: Some(10_000_000),
                max_framerate: Some(60),
                max_resolution: Some(Resolution {
                    kind: Some(ResolutionKind::Source),
                    width: Some(0),
                    height: Some(0),
                }),
            }]),
        };
        assert_eq!(video(d), expected);
        assert_eq!(ServerMessage::Video(expected).encode(None), format!(r#"{{"op":12,"d":{d}}}"#));
    }

    #[test]
    fn old_form_has_no_streams() {
        let d = r#"{"user_id":"5","audio_ssrc":1,"video_ssrc":0}"#;
        let old = video(d);
        assert_eq!((old.audio_ssrc, old.video_ssrc, &old.streams), (1, 0, &None));
        assert_eq!(ServerMessage::Video(old).encode(Some(4)), format!(r#"{{"op":12,"d":{d},"seq":4}}"#));
    }

    #[test]
    fn unknown_values_are_kept_and_misplaced_ones_left_out() {
        let stream = |json: &str| {
            let mut streams = video(&format!(r#"{{"user_id":5,"streams":[{json}]}}"#)).streams.unwrap();
            streams.pop().unwrap()
        };
        assert_eq!(stream(r#"{"type":"hologram"}"#).kind, Some(StreamKind::Unknown("hologram".to_owned())));
        let odd = r#"{"type":7,"rid":100,"quality":"high","active":1,"ssrc":null,"max_framerate":30.0,"max_resolution":[1],"x":{}}"#;
        assert_eq!(stream(odd), Stream { max_framerate: Some(30), ..Stream::default() });
        assert_eq!(video(r#"{"user_id":5,"streams":{}}"#).streams, None);
        assert_eq!(video(r#"{"user_id":5,"video_ssrc":"7"}"#).video_ssrc, 0);
    }

    #[test]
    fn streams_are_limited_in_both_directions() {
        let of =
            |count: usize| format!(r#"{{"op":12,"d":{{"user_id":"5","streams":[{}]}}}}"#, vec!["{}"; count].join(","));
        for (count, read) in [(MAX_STREAMS, Some(MAX_STREAMS)), (MAX_STREAMS + 1, None)] {
            let text = of(count);
            let Ok(ClientMessage::Video(client)) = ClientMessage::decode(&text) else { panic!() };
            let Ok(ServerMessage::Video(server)) = ServerMessage::decode(&text).map(|it| it.message) else { panic!() };
            assert_eq!(client.streams.map(|streams| streams.len()), read);
            assert_eq!(server.streams.map(|streams| streams.len()), read);
        }
    }
}
