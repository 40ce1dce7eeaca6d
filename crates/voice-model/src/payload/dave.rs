//! Payloads of end-to-end encryption that are text: opcodes 21 to 24 and 31.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{field::lenient, id::DecimalVisitor};

/// Opcode 21: a change of the end-to-end protocol version is coming (DAVE protocol, "Opcodes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DavePrepareTransition {
    /// The version to come; 0 is none.
    pub protocol_version: u16,
    /// The transition that executes it; 0 executes at once.
    pub transition_id: u16,
}

/// Opcode 22: the announced transition takes place (DAVE protocol, "Opcodes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DaveExecuteTransition {
    /// The transition.
    pub transition_id: u16,
}

/// Opcode 23 of a client: it is ready for the announced transition (DAVE protocol, "Opcodes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DaveTransitionReady {
    /// The transition.
    pub transition_id: u16,
}

/// Opcode 24: an epoch or a group is coming (DAVE protocol, "Opcodes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DavePrepareEpoch {
    /// The version of the epoch.
    pub protocol_version: u16,
    /// The epoch, read from an integer or a text; 1 is a new group.
    #[serde(deserialize_with = "decimal")]
    pub epoch: u64,
    /// The transition, which the documentation names and servers leave out.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub transition_id: Option<u16>,
}

/// Opcode 31 of a client: a commit or a welcome could not be processed (DAVE protocol, "Opcodes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MlsInvalidCommitWelcome {
    /// The transition of the message that failed.
    pub transition_id: u16,
}

fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(DecimalVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, ServerMessage};

    #[test]
    fn epoch_is_a_number_or_a_text_and_needs_no_transition() {
        for (more, epoch, transition_id) in [
            (r#""epoch":1"#, 1, None),
            (r#""epoch":"1""#, 1, None),
            (r#""epoch":18446744073709551615"#, u64::MAX, None),
            (r#""epoch":2,"transition_id":9"#, 2, Some(9)),
            (r#""epoch":2,"transition_id":null"#, 2, None),
            (r#""epoch":2,"transition_id":"9""#, 2, None),
        ] {
            let text = format!(r#"{{"op":24,"d":{{"protocol_version":1,{more}}}}}"#);
            let message = ServerMessage::decode(&text).unwrap().message;
            let expected = DavePrepareEpoch { protocol_version: 1, epoch, transition_id };
            assert_eq!(message, ServerMessage::DavePrepareEpoch(expected), "{text}");
        }
    }

    #[test]
    fn transitions_are_16_bits() {
        for (id, fits) in
            [("0", true), ("65535", true), ("65536", false), ("-1", false), ("\"1\"", false), ("null", false)]
        {
            let text = format!(r#"{{"op":22,"d":{{"transition_id":{id}}},"seq":4}}"#);
            match ServerMessage::decode(&text) {
                Ok(decoded) => assert!(fits && decoded.message.encode(decoded.sequence) == text, "{text}"),
                Err(error) => {
                    assert!(!fits && matches!(error, DecodeError::WrongPayload { .. }), "{text}");
                    assert_eq!(error.sequence(), Some(4));
                }
            }
        }
    }
}
