//! What errors say.
#![cfg(feature = "serde")]

use std::error::Error;

use voice_model::{
    BinaryMessage, ClientMessage, ClientVideo, DecodeError, MainGatewayCommand, MainGatewayError, MainGatewayEvent,
    SelectProtocol, ServerMessage, UserId,
};

fn client(text: &str) -> DecodeError {
    ClientMessage::decode(text).unwrap_err()
}

#[test]
fn decode_errors_say_what_is_wrong() {
    let deep = format!(r#"{{"op":1,"d":{}"#, "[".repeat(40));
    let cases = [
        (client(&" ".repeat((1 << 20) + 1)), "message of 1048577 bytes is larger than 1048576"),
        (client(&deep), "message is nested deeper than 32"),
        (client("{"), "message is not JSON (line 1 column 1)"),
        (client("[]"), "message is not a JSON object"),
        (client(r#"{"op":1,"op":1}"#), "message has op, d or seq twice"),
        (client("{}"), "message has no numeric op"),
        (
            ServerMessage::decode(r#"{"op":5,"seq":-1}"#).unwrap_err(),
            "sequence number of opcode 5 (Speaking) is no unsigned integer",
        ),
        (client(r#"{"op":5}"#), "payload of opcode 5 (Speaking) is wrong: expected an object"),
        (
            client(r#"{"op":23,"d":{"transition_id":65536}}"#),
            "payload of opcode 23 (DaveTransitionReady) is wrong: expected u16 at line 1 column 22",
        ),
        (BinaryMessage::decode_server(&[1]).unwrap_err(), "binary message of 1 bytes is shorter than its header"),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none());
        assert!(error.opcode().is_some() == text.contains("opcode "), "{text}");
    }
}

#[test]
fn main_gateway_errors_say_what_is_wrong() {
    let event = |text: &str| MainGatewayEvent::decode(text).unwrap_err();
    let state = |member: &str| format!(r#"{{"op":0,"t":"VOICE_STATE_UPDATE","d":{member}}}"#);
    let cases = [
        (MainGatewayCommand::decode(&" ".repeat(4097)).unwrap_err(), "payload of 4097 bytes is too large"),
        (event(&state(&format!("{}{}", "[".repeat(33), "]".repeat(33)))), "payload is nested too deep"),
        (event("{"), "message is not JSON (line 1 column 1)"),
        (event("{}"), "message is not an object with an opcode"),
        (event(&state("[]")), "payload of VOICE_STATE_UPDATE is wrong: expected an object"),
        (event(&state("{}")), "payload of VOICE_STATE_UPDATE is wrong: missing field `user_id` at line 1 column 2"),
        (
            event(r#"{"op":0,"t":"VOICE_SERVER_UPDATE","d":{"token":"t","guild_id":1,"endpoint":"a/b"}}"#),
            "payload of VOICE_SERVER_UPDATE is wrong: expected host[:port] of at most 255 bytes at line 1 column 43",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none());
    }
    assert_eq!(event("1"), MainGatewayError::NotAMessage);
    assert_eq!("x".parse::<UserId>().unwrap_err().to_string(), "an id is a decimal number of at most 64 bits");
}

#[test]
fn what_bots_send_is_short_to_make() {
    let select = ClientMessage::SelectProtocol(SelectProtocol::udp("203.0.113.7", 50004, "m"));
    let text = r#"{"op":1,"d":{"protocol":"udp","data":{"address":"203.0.113.7","port":50004,"mode":"m"}}}"#;
    assert_eq!(select.encode(), text);
    let none = ClientMessage::Video(ClientVideo::none());
    let text = r#"{"op":12,"d":{"audio_ssrc":0,"video_ssrc":0,"rtx_ssrc":0,"streams":[]}}"#;
    assert_eq!(none.encode(), text);
    assert_eq!(ClientMessage::decode(text), Ok(none));
}
