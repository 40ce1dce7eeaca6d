//! Every sample message is read, and written as it was.
#![cfg(feature = "serde")]

mod samples;

use std::collections::BTreeSet;

use samples::{CLIENT, CLIENT_LENIENT, DOCUMENTED_CLIENT, DOCUMENTED_SERVER, MAIN_GATEWAY, SERVER, SERVER_LENIENT};
use voice_model::{
    ClientBinary, ClientMessage, DecodeError, MainGatewayCommand, MainGatewayEvent, Opcode, ServerBinary, ServerMessage,
};

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
        let typed = matches!(message.opcode().code(), 2..=6 | 8 | 9 | 11..=16 | 18 | 20..=22 | 24);
        let typed = typed && !text.contains("of nobody");
        assert_eq!(matches!(message, ServerMessage::Unknown(_)), !typed, "{text}");
    }
    for text in samples::client() {
        let message = ClientMessage::decode(text).unwrap();
        let typed = matches!(message.opcode().code(), 0 | 1 | 3 | 5 | 7 | 12 | 14..=16 | 23 | 31 | 32);
        assert_eq!(matches!(message, ClientMessage::Unknown(_)), !typed, "{text}");
    }
}

#[test]
fn the_other_side_s_messages_never_panic_and_keep_their_opcode() {
    let code = |text: &str| Opcode::from(opcode(text));
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
fn documented_messages_keep_every_value() {
    for text in DOCUMENTED_SERVER.lines() {
        assert_eq!(value(&through_server(text)), value(text));
    }
    for text in DOCUMENTED_CLIENT.lines() {
        assert_eq!(value(&through_client(text)), value(text));
    }
    for text in MAIN_GATEWAY.lines() {
        let again = match (MainGatewayEvent::decode(text).unwrap(), MainGatewayCommand::decode(text).unwrap()) {
            (Some(event), None) => event.encode(value(text)["s"].as_u64().unwrap()),
            (None, Some(command)) => command.encode(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(value(&again), value(text));
    }
}

#[test]
fn documented_messages_are_of_every_opcode_in_use() {
    let opcodes: BTreeSet<u64> = DOCUMENTED_SERVER.lines().chain(DOCUMENTED_CLIENT.lines()).map(opcode).collect();
    let binary = samples::binary().map(|(server, bytes)| u64::from(bytes[if server { 2 } else { 0 }]));
    let opcodes: Vec<u64> = opcodes.into_iter().chain(binary).filter(|code| *code <= 32).collect();
    for opcode in Opcode::NAMED {
        let dead = matches!(opcode, Opcode::Signal | Opcode::ChannelOptionsUpdate | Opcode::SpeedTest);
        assert_eq!(opcodes.contains(&opcode.code()), !dead, "{opcode}");
    }
}

#[test]
fn binary_samples_are_written_as_they_were_read_and_cut_short_never_panic() {
    for (server, bytes) in samples::binary() {
        if !server {
            assert_eq!(ClientBinary::decode(&bytes).unwrap().encode(), bytes);
            continue;
        }
        let decoded = ServerBinary::decode(8, &bytes).unwrap();
        assert_eq!(decoded.message.encode(decoded.sequence), bytes);
        let old = ServerBinary::decode(7, &bytes[2..]).unwrap();
        assert_eq!((old.sequence, old.message), (None, decoded.message));
        for len in 0..bytes.len() {
            let cut = ServerBinary::decode(8, &bytes[..len]);
            match len {
                0..3 => assert_eq!(cut, Err(DecodeError::TooShort { len })),
                _ => assert_eq!(cut.map_or_else(|error| error.sequence(), |it| it.sequence), decoded.sequence),
            }
        }
    }
}

#[test]
fn keys_that_nobody_knows_are_ignored_wherever_they_are() {
    // Of these messages a copy as it came is kept, or keys are all there is to it.
    let opaque = |text: &str| matches!(opcode(text), 10 | 15 | 17 | 19 | 33..) || text.contains("of nobody");
    for text in samples::server().filter(|text| !opaque(text)) {
        assert_eq!(ServerMessage::decode(&crowded(text)), ServerMessage::decode(text), "{text}");
    }
    for text in samples::client().filter(|text| !opaque(text)) {
        assert_eq!(ClientMessage::decode(&crowded(text)), ClientMessage::decode(text), "{text}");
    }
    for text in MAIN_GATEWAY.lines().filter(|text| !text.contains("\"member\"") && !text.contains("\"emoji\"")) {
        assert_eq!(MainGatewayEvent::decode(&crowded(text)), MainGatewayEvent::decode(text), "{text}");
        assert_eq!(MainGatewayCommand::decode(&crowded(text)), MainGatewayCommand::decode(text), "{text}");
    }
}

#[test]
fn every_truncation_of_the_main_gateway_is_an_error() {
    for text in MAIN_GATEWAY.lines() {
        for len in 0..text.len() {
            assert!(MainGatewayEvent::decode(&text[..len]).is_err());
            assert!(MainGatewayCommand::decode(&text[..len]).is_err());
        }
    }
}

/// The message with a key more at the start of each of its objects.
fn crowded(text: &str) -> String {
    text.replace('{', r#"{"nobody knows":[{"it":null}],"#).replace(",}", "}")
}

fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn opcode(text: &str) -> u64 {
    let rest = text.split_once("\"op\":").unwrap().1;
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
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
