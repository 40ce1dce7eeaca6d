//! Text messages of the voice gateway, in both directions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voice_model::{ClientMessage, DecodeError, MAX_MESSAGE_LEN, ServerMessage};

fuzz_target!(|text: &str| {
    match ClientMessage::decode(text) {
        Ok(message) => {
            let again = ClientMessage::decode(&message.encode()).expect("what was decoded encodes to a message");
            assert_eq!(again, message);
            assert_eq!(again.opcode(), message.opcode());
        }
        Err(error) => check_error(text, &error),
    }

    match ServerMessage::decode(text) {
        Ok(decoded) => {
            let encoded = decoded.message.encode(decoded.sequence);
            let again = ServerMessage::decode(&encoded).expect("what was decoded encodes to a message");
            assert_eq!(again, decoded);
            // Written without a number it has none, and is otherwise the same.
            let unnumbered = ServerMessage::decode(&decoded.message.encode(None)).expect("a number is optional");
            assert_eq!((unnumbered.sequence, unnumbered.message), (None, decoded.message));
        }
        Err(error) => check_error(text, &error),
    }
});

fn check_error(text: &str, error: &DecodeError) {
    assert!(!error.to_string().is_empty());
    match error {
        DecodeError::WrongPayload { opcode, .. } => assert_eq!(error.opcode(), Some(*opcode)),
        DecodeError::TooLarge { len } => assert!(*len == text.len() && *len > MAX_MESSAGE_LEN),
        DecodeError::TooShort { .. } => panic!("text messages have no header"),
        _ => {}
    }
}
