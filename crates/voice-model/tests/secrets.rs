//! Nothing that prints a message prints a secret of it.
#![cfg(feature = "serde")]

mod samples;

use voice_model::{
    ClientMessage, DecodeError, MainGatewayCommand, MainGatewayError, MainGatewayEvent, Numbered, Sdp, ServerMessage,
    SessionId, Token, VoiceServerUpdate, VoiceState,
};

const SESSION_ID: &str = "4f1d0c9be27a8e63";
const TOKEN: &str = "a6d2c81e07b94f35";
/// Part of the key in the sample of opcode 4, as `Debug` would print it.
const KEY: [&str; 2] = ["7, 99, 18, 240", "99,\n"];

fn assert_prints_none(printed: &str) {
    for secret in [SESSION_ID, TOKEN].iter().chain(&KEY) {
        assert!(!printed.contains(secret), "{printed}");
    }
}

fn assert_debug_prints_none(value: &impl core::fmt::Debug) {
    assert_prints_none(&format!("{value:?}"));
    assert_prints_none(&format!("{value:#?}"));
}

#[test]
fn debug_of_every_message_prints_no_secret() {
    let mut redacted = 0;
    for text in samples::client().chain(samples::server()) {
        // Each in both directions: what one side has no type for must not be printed either.
        let client = ClientMessage::decode(text);
        let server = ServerMessage::decode(text);
        assert_debug_prints_none(&client);
        assert_debug_prints_none(&server);
        redacted += usize::from(format!("{client:?}{server:?}").contains("[..]"));
    }
    assert!(redacted >= 6, "the samples hold secrets: Identify, Resume, Session Description");
}

#[test]
fn debug_of_main_gateway_payloads_prints_no_secret() {
    assert_debug_prints_none(&VoiceServerUpdate {
        token: Token::new(TOKEN),
        guild_id: 1.into(),
        endpoint: Some("sample-1234.example.net:443".to_owned()),
    });
    let json = format!(r#"{{"user_id":"1","session_id":"{SESSION_ID}"}}"#);
    let state: VoiceState = serde_json::from_str(&json).unwrap();
    assert_debug_prints_none(&state);
    assert_debug_prints_none(&Numbered { sequence: None, message: SessionId::new(SESSION_ID) });
}

#[test]
fn debug_of_main_gateway_messages_prints_no_secret() {
    let mut redacted = 0;
    for text in samples::MAIN_GATEWAY.lines() {
        let (event, command) = (MainGatewayEvent::decode(text), MainGatewayCommand::decode(text));
        assert_debug_prints_none(&event);
        assert_debug_prints_none(&command);
        redacted += usize::from(format!("{event:?}").contains("[.."));
    }
    assert!(redacted >= 5, "the samples hold sessions, tokens, a member and an emoji");
    assert_debug_prints_none(&Sdp::new(TOKEN));
}

#[test]
fn errors_of_the_main_gateway_quote_nothing() {
    let state = r#""t":"VOICE_STATE_UPDATE""#;
    let server = r#""t":"VOICE_SERVER_UPDATE""#;
    let cases = [
        format!(r#"{{"op":0,{state},"d":{{"user_id":"{TOKEN}","session_id":"{SESSION_ID}"}}}}"#),
        format!(r#"{{"op":0,{state},"d":"{SESSION_ID}"}}"#),
        format!(r#"{{"op":0,{server},"d":{{"token":["{TOKEN}"]}}}}"#),
        format!(r#"{{"op":0,{server},"d":{{"token":"{TOKEN}","guild_id":"1","endpoint":"{TOKEN}@x"}}}}"#),
        format!(r#"{{"op":0,{server},"d":{{"token":"{TOKEN}","guild_id":"{TOKEN}"}}}}"#),
        format!(r#"{{"op":"{TOKEN}"}}"#),
        format!(r#"{{"op":0,{server},"d":{{"token":"{TOKEN}"#),
        format!(r#"{{"op":4,"d":{{"guild_id":"{TOKEN}"}}}}"#),
        format!("\"{TOKEN}\""),
    ];
    for text in &cases {
        let errors: Vec<MainGatewayError> =
            [MainGatewayEvent::decode(text).err(), MainGatewayCommand::decode(text).err()]
                .into_iter()
                .flatten()
                .collect();
        assert!(!errors.is_empty(), "{text}");
        for error in errors {
            assert_debug_prints_none(&error);
            assert_prints_none(&error.to_string());
        }
    }
}

#[test]
fn errors_quote_nothing_of_a_malformed_message() {
    let cases = [
        // A secret where another type belongs.
        format!(r#"{{"op":0,"d":{{"server_id":"{TOKEN}","user_id":"1"}}}}"#),
        format!(r#"{{"op":0,"d":{{"server_id":"{TOKEN}, expected {SESSION_ID}","user_id":"1"}}}}"#),
        format!(r#"{{"op":0,"d":"{TOKEN}"}}"#),
        format!(r#"{{"op":1,"d":{{"protocol":"udp","data":"{TOKEN}"}}}}"#),
        format!(r#"{{"op":3,"d":{{"t":"{TOKEN}"}}}}"#),
        format!(r#"{{"op":3,"d":"{TOKEN}"}}"#),
        format!(r#"{{"op":4,"d":{{"mode":"m","secret_key":"{TOKEN}"}}}}"#),
        format!(r#"{{"op":4,"d":{{"mode":"m","secret_key":["{TOKEN}"]}}}}"#),
        format!(r#"{{"op":5,"d":{{"speaking":"{TOKEN}"}}}}"#),
        format!(r#"{{"op":6,"d":{{"t":"{TOKEN}"}}}}"#),
        format!(r#"{{"op":22,"d":{{"transition_id":"{TOKEN}"}}}}"#),
        format!(r#"{{"op":24,"d":{{"protocol_version":1,"epoch":"{TOKEN}"}}}}"#),
        format!(r#"{{"op":31,"d":{{"transition_id":["{TOKEN}"]}}}}"#),
        format!(r#"{{"op":13,"d":{{"user_id":"{TOKEN}"}}}}"#),
        // A secret in a text that is no message.
        format!(r#"{{"op":0,"d":{{"token":"{TOKEN}","session_id":"{SESSION_ID}""#),
        format!(r#"{{"op":"{TOKEN}"}}"#),
        format!(r#"{{"op":5,"d":{{}},"seq":"{TOKEN}"}}"#),
        format!(r#"{{"{TOKEN}":1,"op":1,"op":2}}"#),
        format!("\"{TOKEN}\""),
        TOKEN.to_owned(),
    ];
    for text in &cases {
        let errors: Vec<DecodeError> =
            [ServerMessage::decode(text).err(), ClientMessage::decode(text).err()].into_iter().flatten().collect();
        assert!(!errors.is_empty(), "{text}");
        for error in errors {
            assert_debug_prints_none(&error);
            assert_prints_none(&error.to_string());
        }
    }
}
