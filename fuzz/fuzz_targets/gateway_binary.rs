//! Binary messages of the voice gateway, in both directions and with and without numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voice_model::{BinaryMessage, ClientBinary, DecodeError, NUMBERED_SINCE, Opcode, ServerBinary};

fuzz_target!(|bytes: &[u8]| {
    match ClientBinary::decode(bytes) {
        Ok(message) => {
            assert_eq!(message.encode(), bytes);
            assert_eq!(message.opcode().code(), u64::from(bytes[0]));
            assert_eq!(message.payload(), &bytes[1..]);
            assert_eq!(ClientBinary::from_message(BinaryMessage::decode_client(bytes).unwrap()), message);
            if let ClientBinary::Unknown { opcode, .. } = message {
                assert!(!matches!(opcode, Opcode::MlsKeyPackage | Opcode::MlsCommitWelcome));
            }
        }
        Err(error) => assert!(bytes.is_empty() && error == DecodeError::TooShort { len: 0 }),
    }

    for version in [NUMBERED_SINCE - 1, NUMBERED_SINCE] {
        let header = if version < NUMBERED_SINCE { 1 } else { 3 };
        let message = match BinaryMessage::decode_server_on(version, bytes) {
            Ok(message) => message,
            Err(error) => {
                assert!(bytes.len() < header && error == DecodeError::TooShort { len: bytes.len() });
                assert_eq!(ServerBinary::decode(version, bytes), Err(error));
                continue;
            }
        };
        assert_eq!(message.encode(), bytes);
        assert_eq!(message.payload, &bytes[header..]);
        assert_eq!(message.sequence.is_some(), header == 3);
        match ServerBinary::decode(version, bytes) {
            Ok(decoded) => {
                assert_eq!(decoded.message.encode(decoded.sequence), bytes);
                assert_eq!((decoded.sequence, decoded.message.opcode()), (message.sequence, message.opcode));
                let (before, mls) = match decoded.message {
                    ServerBinary::ExternalSender(mls) | ServerBinary::Unknown { payload: mls, .. } => (0, mls),
                    ServerBinary::Proposals { proposals, .. } => (1, proposals),
                    ServerBinary::AnnounceCommitTransition { commit, .. } => (2, commit),
                    ServerBinary::Welcome { welcome, .. } => (2, welcome),
                    _ => panic!("a kind that is not checked here"),
                };
                // The very bytes of the message, not a copy.
                assert!(std::ptr::eq(mls, &message.payload[before..]));
            }
            Err(error) => {
                assert_eq!((error.sequence(), error.opcode()), (message.sequence, Some(message.opcode)));
                assert!(message.opcode.is_binary() && message.payload.len() < 2);
            }
        }
    }
});
