//! Payloads that begin, continue and describe a session: opcodes 0, 2, 7 and 8.

use core::{net::IpAddr, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Stream;
use crate::{
    ChannelId, GuildId, SessionId, Token, UserId,
    field::{at_most, lenient, nearest_float, or_default, whole_if_possible},
};

/// Most modes that one [`Ready`] may offer; more is a malformed payload.
pub const MAX_MODES: usize = 64;

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
    /// The channel; gateway version 9 requires it (community documentation).
    ///
    /// Not read leniently: a wrong one is not taken for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
    /// Whether video is offered (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub video: Option<bool>,
    /// The layers of video that are offered, at most [`MAX_STREAMS`](crate::MAX_STREAMS) (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<Stream>>,
}

/// Opcode 2: the identified session.
///
/// A `heartbeat_interval` in it is wrong, and is not read: that of [`Hello`] counts.
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
    /// Names of experiments, at most [`MAX_EXPERIMENTS`](crate::MAX_EXPERIMENTS) (community documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub experiments: Option<Vec<String>>,
    /// The streams that Identify offered, with their SSRCs, at most [`MAX_STREAMS`](crate::MAX_STREAMS) (community
    /// documentation).
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<Stream>>,
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
    /// The channel; gateway version 9 requires it (community documentation).
    ///
    /// Not read leniently: a wrong one is not taken for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
}

/// Opcode 8: first message of a connection; may come again with another interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Longest gap between heartbeats in milliseconds, as the server said it.
    ///
    /// See [`Hello::interval`] for what is safe to use. What is there but no number is read as 0, and so is
    /// not-a-number written; a number beyond all floats is read, and an infinity written, as the nearest float.
    #[serde(rename = "heartbeat_interval", deserialize_with = "nearest_float", serialize_with = "whole_if_possible")]
    pub heartbeat_interval_ms: f64,
    /// The gateway version in use (`v`).
    #[serde(rename = "v", default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub version: Option<u8>,
}

impl Identify {
    /// Identifies without end-to-end encryption and without video.
    #[must_use]
    pub const fn new(server_id: GuildId, user_id: UserId, session_id: SessionId, token: Token) -> Self {
        Self {
            server_id,
            user_id,
            session_id,
            token,
            max_dave_protocol_version: 0,
            channel_id: None,
            video: None,
            streams: None,
        }
    }
}

impl Ready {
    /// Describes a session, without the parts that only community documentation names.
    #[must_use]
    pub fn new(ssrc: u32, ip: impl Into<String>, port: u16, modes: Vec<String>) -> Self {
        Self { ssrc, ip: ip.into(), port, modes, experiments: None, streams: None }
    }

    /// The UDP address of the media server, unless it is not an IP address or the port is 0.
    #[must_use]
    pub fn media_addr(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.ip.parse().ok()?;
        (self.port != 0).then_some(SocketAddr::new(ip, self.port))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_STREAMS, ServerMessage};

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
        let ready = |ip: &str, port| Ready::new(1, ip, port, Vec::new());
        assert_eq!(ready("127.0.0.1", 50007).media_addr(), Some(([127, 0, 0, 1], 50007).into()));
        assert_eq!(ready("2001:db8::1", 1).media_addr(), Some("[2001:db8::1]:1".parse().unwrap()));
        for (ip, port) in [("127.0.0.1", 0), ("example.net", 1), ("", 1), ("127.0.0.1 ", 1), ("[::1]", 1)] {
            assert_eq!(ready(ip, port).media_addr(), None, "{ip:?} {port}");
        }
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
    fn streams_and_experiments_of_ready_cost_no_session() {
        for (streams, expected) in [
            ("null", None),
            ("7", None),
            ("[]", Some(0)),
            (r#"[{"type":"video","ssrc":"x","quality":-1}]"#, Some(1)),
            ("[1,{}]", Some(1)),
        ] {
            let text = format!(
                r#"{{"op":2,"d":{{"ssrc":1,"ip":"","port":1,"modes":[],"heartbeat_interval":"x","experiments":{{}},"streams":{streams}}}}}"#
            );
            let ServerMessage::Ready(ready) = decode(&text) else { panic!("{text}") };
            assert_eq!(ready.streams.map(|streams| streams.len()), expected, "{text}");
            assert_eq!(ready.experiments, None);
        }
    }

    #[test]
    fn streams_of_ready_are_limited() {
        let of = |count: usize| {
            let streams = vec!["{}"; count].join(",");
            format!(r#"{{"op":2,"d":{{"ssrc":1,"ip":"","port":1,"modes":[],"streams":[{streams}]}}}}"#)
        };
        for (count, read) in [(MAX_STREAMS, Some(MAX_STREAMS)), (MAX_STREAMS + 1, None)] {
            let ServerMessage::Ready(ready) = decode(&of(count)) else { panic!() };
            assert_eq!(ready.streams.map(|streams| streams.len()), read);
        }
    }
}
