//! What is not documented costs no message.
#![cfg(feature = "serde")]

use std::time::Duration;

use voice_model::{
    ClientMessage, DecodeError, Hello, MAX_EXPERIMENTS, MAX_STREAMS, MainGatewayCommand, MainGatewayEvent, Opcode,
    ServerMessage, VoiceState,
};

/// JSON that no type here takes as it is.
fn unreadable() -> Vec<String> {
    let texts = [
        r#""\ud800""#,
        r#"["\ud800"]"#,
        r#"{"a":"\ud800"}"#,
        r#"{"\ud800":1}"#,
        "1e999",
        "-1e999",
        "[1e999]",
        r#"[{"ssrc":1e999,"name":"\ud800"}]"#,
        r#"[{"ssrc":1,"ssrc":1,"name":"a","name":"a"}]"#,
        r#"{"a":1e999}"#,
        "1.5",
        "-1",
        "true",
        "18446744073709551616",
        "\"\"",
        "[]",
        "{}",
        "null",
    ];
    let long = format!("[{}]", vec!["{}"; 5000].join(","));
    let deep = format!("{}{}", "[".repeat(30), "]".repeat(30));
    texts.into_iter().map(str::to_owned).chain([long, deep]).collect()
}

const READY: &str = r#""ssrc":1,"ip":"","port":1,"modes":[]"#;
const KEY: &str = "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,255";
const IDENTIFY: &str = r#""server_id":"1","user_id":"2","session_id":"s","token":"t""#;
const SELECT: &str = r#""protocol":"udp","data":{"address":"a","port":1,"mode":"m"}"#;

#[test]
fn whatever_a_field_of_a_server_holds_that_only_communities_describe_the_message_arrives() {
    let description = format!(r#""mode":"m","secret_key":[{KEY}]"#);
    let fields = [
        (2, READY, "experiments"),
        (2, READY, "streams"),
        (2, READY, "heartbeat_interval"),
        (4, &description, "audio_codec"),
        (4, &description, "video_codec"),
        (4, &description, "media_session_id"),
        (4, &description, "keyframe_interval"),
        (4, &description, "sdp"),
        (5, r#""speaking":1,"ssrc":1,"user_id":"1""#, "delay"),
        (8, r#""heartbeat_interval":13750"#, "v"),
        (8, r#""v":8"#, "heartbeat_interval"),
        (12, r#""user_id":"1""#, "streams"),
        (12, r#""user_id":"1""#, "video_ssrc"),
        (14, r#""x":1"#, "audio_codec"),
        (14, r#""x":1"#, "keyframe_interval"),
        (15, r#""1":1"#, "any"),
        (15, r#""1":1"#, "2"),
        (15, r#""1":1"#, "pixelCounts"),
        (16, r#""x":1"#, "voice"),
        (18, r#""user_id":"1""#, "flags"),
        (20, r#""user_id":"1""#, "platform"),
        (24, r#""protocol_version":1,"epoch":1"#, "transition_id"),
    ];
    for (opcode, rest, name) in fields {
        for value in unreadable() {
            let text = format!(r#"{{"op":{opcode},"d":{{"{name}":{value},{rest}}},"seq":0}}"#);
            let decoded = ServerMessage::decode(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(decoded.message.opcode().code(), opcode);
            assert!(!matches!(decoded.message, ServerMessage::Unknown(_)), "{text}");
            let again = ServerMessage::decode(&decoded.message.encode(Some(0)));
            assert_eq!(again, Ok(decoded), "{text}");
        }
    }
}

#[test]
fn whatever_a_field_of_a_client_holds_that_only_communities_describe_the_message_arrives() {
    let fields = [
        (0, IDENTIFY, "video"),
        (0, IDENTIFY, "streams"),
        (1, SELECT, "codecs"),
        (1, SELECT, "rtc_connection_id"),
        (1, SELECT, "experiments"),
        (1, r#""protocol":"webrtc""#, "data"),
        (12, r#""audio_ssrc":1"#, "rtx_ssrc"),
        (12, r#""audio_ssrc":1"#, "streams"),
        (14, r#""x":1"#, "codecs"),
        (15, r#""any":1"#, "pixelCounts"),
    ];
    for (opcode, rest, name) in fields {
        for value in unreadable() {
            let text = format!(r#"{{"op":{opcode},"d":{{"{name}":{value},{rest}}}}}"#);
            let message = ClientMessage::decode(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(message.opcode().code(), opcode);
            assert!(!matches!(message, ClientMessage::Unknown(_)), "{text}");
            assert_eq!(ClientMessage::decode(&message.encode()), Ok(message), "{text}");
        }
    }
}

#[test]
fn whatever_a_field_of_the_main_gateway_holds_that_only_communities_describe_the_event_arrives() {
    for name in ["self_stream", "connected_at", "discoverable", "lobby_id", "user_volume"] {
        for value in unreadable() {
            let data = format!(r#"{{"user_id":"1","session_id":"s","{name}":{value}}}"#);
            let event = MainGatewayEvent::decode_parts("VOICE_STATE_UPDATE", &data);
            assert!(matches!(event, Ok(Some(MainGatewayEvent::VoiceState(_)))), "{data}");
        }
    }
    let fields = vec!["\"x\""; 17].join(",");
    let command = format!(r#"{{"op":43,"d":{{"guild_id":1,"fields":[{fields}]}}}}"#);
    let Ok(Some(MainGatewayCommand::RequestChannelInfo(request))) = MainGatewayCommand::decode(&command) else {
        panic!("{command}")
    };
    assert!(request.fields.is_empty());
}

#[test]
fn what_cannot_be_read_is_missing_and_what_is_beside_it_is_not() {
    let text = format!(
        r#"{{"op":4,"d":{{"audio_codec":"\ud800","mode":"m","keyframe_interval":1e999,"secret_key":[{KEY}],"video_codec":"VP8"}}}}"#
    );
    let Ok(ServerMessage::SessionDescription(description)) = ServerMessage::decode(&text).map(|it| it.message) else {
        panic!()
    };
    assert_eq!((description.audio_codec, description.keyframe_interval), (None, None));
    assert_eq!(description.video_codec.as_deref(), Some("VP8"));

    let text = r#"{"op":12,"d":{"user_id":1,"streams":[{"rid":"\ud800","ssrc":7},{"ssrc":1,"ssrc":2},{"max_resolution":{"width":1e999,"height":5}}]}}"#;
    let Ok(ServerMessage::Video(video)) = ServerMessage::decode(text).map(|it| it.message) else { panic!() };
    let streams = video.streams.unwrap();
    assert_eq!(streams.len(), 2);
    assert_eq!((streams[0].rid.as_deref(), streams[0].ssrc), (None, Some(7)));
    let size = streams[1].max_resolution.clone().unwrap();
    assert_eq!((size.width, size.height), (None, Some(5)));
}

#[test]
fn lists_over_their_limit_are_missing() {
    let experiments = |count: usize| {
        let text = format!(r#"{{"op":2,"d":{{{READY},"experiments":[{}]}}}}"#, vec!["\"a\""; count].join(","));
        match ServerMessage::decode(&text).unwrap().message {
            ServerMessage::Ready(ready) => ready.experiments.map(|names| names.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(experiments(MAX_EXPERIMENTS), Some(MAX_EXPERIMENTS));
    assert_eq!(experiments(MAX_EXPERIMENTS + 1), None);

    let streams = |count: usize| {
        let text = format!(r#"{{"op":0,"d":{{{IDENTIFY},"streams":[{}]}}}}"#, vec!["{}"; count].join(","));
        match ClientMessage::decode(&text).unwrap() {
            ClientMessage::Identify(identify) => identify.streams.map(|streams| streams.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((streams(MAX_STREAMS), streams(MAX_STREAMS + 1)), (Some(MAX_STREAMS), None));
}

#[test]
fn version_of_hello_is_information() {
    for (json, version) in [("8", Some(8)), ("8.0", Some(8)), ("256", None), ("\"8\"", None), ("-1", None)] {
        let text = format!(r#"{{"op":8,"d":{{"heartbeat_interval":13750,"v":{json}}}}}"#);
        let expected = Hello { heartbeat_interval_ms: 13750.0, version };
        assert_eq!(ServerMessage::decode(&text).unwrap().message, ServerMessage::Hello(expected), "{json}");
    }
}

#[test]
fn channel_of_gateway_version_9_is_read_strictly() {
    let cases = [(0, IDENTIFY), (7, r#""server_id":"1","session_id":"s","token":"t""#)];
    for (opcode, rest) in cases {
        let decode = |channel: &str| {
            ClientMessage::decode(&format!(r#"{{"op":{opcode},"d":{{{rest},"channel_id":{channel}}}}}"#))
        };
        assert!(decode("\"5\"").is_ok() && decode("5").is_ok() && decode("null").is_ok());
        for wrong in ["\"x\"", "[]", "-1", "1e999", r#""\ud800""#] {
            let error = decode(wrong).unwrap_err();
            assert!(matches!(error, DecodeError::WrongPayload { .. }), "{wrong}");
            assert_eq!(error.opcode().map(Opcode::code), Some(opcode));
        }
    }
}

#[test]
fn keys_that_occur_twice_are_refused_where_the_documentation_gives_the_form() {
    let text = format!(r#"{{"op":2,"d":{{{READY},"experiments":[],"experiments":[]}}}}"#);
    assert!(matches!(ServerMessage::decode(&text), Err(DecodeError::WrongPayload { .. })));
    let text = r#"{"op":16,"d":{"voice":"1","voice":"2"}}"#;
    assert!(matches!(ServerMessage::decode(text).unwrap().message, ServerMessage::Unknown(_)));
}

#[test]
fn heartbeat_intervals_that_are_none_are_usable_and_written_as_numbers() {
    for (json, seconds, written) in [
        ("1e999", 60, "1.7976931348623157e+308"),
        ("-1e999", 5, "-1.7976931348623157e+308"),
        ("-5", 5, "-5"),
        ("0", 5, "0"),
        ("null", 5, "0"),
        ("\"13750\"", 5, "0"),
        (r#""\ud800""#, 5, "0"),
        ("{\"a\":[]}", 5, "0"),
    ] {
        let text = format!(r#"{{"op":8,"d":{{"heartbeat_interval":{json},"v":8}}}}"#);
        let Ok(ServerMessage::Hello(hello)) = ServerMessage::decode(&text).map(|it| it.message) else {
            panic!("{text}")
        };
        assert_eq!(hello.interval(), Duration::from_secs(seconds), "{json}");
        let encoded = ServerMessage::Hello(hello).encode(None);
        assert_eq!(encoded, format!(r#"{{"op":8,"d":{{"heartbeat_interval":{written},"v":8}}}}"#));
        assert_eq!(ServerMessage::decode(&encoded).unwrap().message, ServerMessage::Hello(hello));
    }
    assert!(ServerMessage::decode(r#"{"op":8,"d":{"v":8}}"#).is_err());
    for (heartbeat_interval_ms, again) in [(f64::NAN, 0.0), (f64::INFINITY, f64::MAX), (f64::NEG_INFINITY, f64::MIN)] {
        let hello = Hello { heartbeat_interval_ms, version: None };
        let decoded = ServerMessage::decode(&ServerMessage::Hello(hello).encode(None)).unwrap().message;
        let ServerMessage::Hello(decoded) = decoded else { panic!() };
        assert_eq!(decoded.heartbeat_interval_ms, again);
        assert_eq!(decoded.interval(), hello.interval());
    }
}

#[test]
fn payload_types_are_read_from_json_that_was_taken_apart_before() {
    let json = r#"{"user_id":1,"session_id":"s","self_stream":true,"connected_at":"x"}"#;
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let state: VoiceState = serde_json::from_value(value).unwrap();
    assert_eq!((state.self_stream, state.connected_at), (Some(true), None));
    let state: VoiceState = serde_json::from_reader(json.as_bytes()).unwrap();
    assert_eq!((state.self_stream, state.connected_at), (Some(true), None));
}
