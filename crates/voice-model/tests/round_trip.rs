//! Every sample message is read, and written as it was.
#![cfg(feature = "serde")]

mod samples;

use samples::{CLIENT, CLIENT_LENIENT, SERVER, SERVER_LENIENT};
use voice_model::{ClientMessage, DecodeError, Opcode, ServerMessage, UpdateVoiceState, VoiceServerUpdate, VoiceState};

#[test]
fn server_samples_are_written_as_they_were_read() {
    for text in SERVER {
        assert_eq!(through_server(text), *text);
    }
}

#[test]
fn client_samples_are_written_as_they_were_read() {
    for text in CLIENT {
        assert_eq!(through_client(text), *text);
    }
}

#[test]
fn other_spellings_are_read_and_written_in_ours() {
    for (text, expected) in SERVER_LENIENT {
        assert_eq!(through_server(text), *expected);
        assert_eq!(ServerMessage::decode(text), ServerMessage::decode(expected));
    }
    for (text, expected) in CLIENT_LENIENT {
        assert_eq!(through_client(text), *expected);
        assert_eq!(ClientMessage::decode(text), ClientMessage::decode(expected));
    }
}

#[test]
fn only_opcodes_with_a_payload_type_are_typed() {
    for text in samples::server() {
        let message = ServerMessage::decode(text).unwrap().message;
        let typed = matches!(message.opcode().code(), 2..=6 | 8 | 9 | 11 | 13);
        assert_eq!(matches!(message, ServerMessage::Unknown(_)), !typed, "{text}");
    }
    for text in samples::client() {
        let message = ClientMessage::decode(text).unwrap();
        let typed = matches!(message.opcode().code(), 0 | 1 | 3 | 5 | 7);
        assert_eq!(matches!(message, ClientMessage::Unknown(_)), !typed, "{text}");
    }
}

#[test]
fn the_other_side_s_messages_never_panic_and_keep_their_opcode() {
    let code = |text: &str| {
        let rest = text.split_once("\"op\":").unwrap().1;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        Opcode::from(digits.parse::<u64>().unwrap())
    };
    for text in samples::client() {
        match ServerMessage::decode(text) {
            Ok(decoded) => assert_eq!(decoded.message.opcode(), code(text)),
            Err(error) => assert_eq!(error.opcode(), Some(code(text)), "{text}"),
        }
    }
    for text in samples::server() {
        match ClientMessage::decode(text) {
            Ok(message) => assert_eq!(message.opcode(), code(text)),
            Err(error) => assert_eq!(error.opcode(), Some(code(text)), "{text}"),
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    for text in samples::server().chain(samples::client()) {
        assert!(text.is_ascii());
        for len in 0..text.len() {
            let cut = &text[..len];
            assert!(matches!(ServerMessage::decode(cut), Err(DecodeError::NotJson { .. })), "{cut}");
            assert!(matches!(ClientMessage::decode(cut), Err(DecodeError::NotJson { .. })), "{cut}");
        }
    }
}

#[test]
fn main_gateway_samples() {
    let update =
        r#"{"guild_id":"613425648685547541","channel_id":"127121515262115840","self_mute":false,"self_deaf":false}"#;
    let decoded: UpdateVoiceState = serde_json::from_str(update).unwrap();
    assert_eq!(serde_json::to_string(&decoded).unwrap(), update);
    assert_eq!(decoded.encode(), format!(r#"{{"op":4,"d":{update}}}"#));

    let state = r#"{"guild_id":"613425648685547541","channel_id":"127121515262115840","user_id":"852892297661906993","session_id":"4f1d0c9be27a8e63","deaf":false,"mute":false,"self_deaf":false,"self_mute":false,"self_video":false,"suppress":false,"request_to_speak_timestamp":null}"#;
    let decoded: VoiceState = serde_json::from_str(state).unwrap();
    assert_eq!(serde_json::to_string(&decoded).unwrap(), state);

    let server =
        r#"{"token":"a6d2c81e07b94f35","guild_id":"613425648685547541","endpoint":"sample-1234.example.net:443"}"#;
    let decoded: VoiceServerUpdate = serde_json::from_str(server).unwrap();
    assert_eq!(serde_json::to_string(&decoded).unwrap(), server);
}

/// Decodes and encodes as a server's message.
fn through_server(text: &str) -> String {
    let decoded = ServerMessage::decode(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    decoded.message.encode(decoded.sequence)
}

/// Decodes and encodes as a client's message.
fn through_client(text: &str) -> String {
    ClientMessage::decode(text).unwrap_or_else(|error| panic!("{text}: {error}")).encode()
}
