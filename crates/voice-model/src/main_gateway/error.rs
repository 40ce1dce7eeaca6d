//! Why a message of the main gateway could not be decoded.

use core::{error::Error, fmt};

use crate::error::without_value;

/// Why a message of the main gateway could not be decoded.
///
/// Never holds anything the message said: it may carry credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MainGatewayError {
    /// A payload is larger than [`MAX_MESSAGE_LEN`](crate::MAX_MESSAGE_LEN), or a command larger than
    /// [`MAX_COMMAND_LEN`](crate::MAX_COMMAND_LEN).
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// Arrays and objects of a payload are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep,
    /// The text is not JSON.
    NotJson {
        /// Line of the mistake, from 1.
        line: usize,
        /// Column of the mistake, from 1.
        column: usize,
    },
    /// The text is no object with an opcode.
    NotAMessage,
    /// The payload is not what the event or the opcode calls for.
    WrongPayload {
        /// The event or the opcode.
        name: &'static str,
        /// What is wrong, without the offending value.
        detail: String,
    },
}

impl MainGatewayError {
    pub(super) fn wrong_payload(name: &'static str, error: &serde_json::Error) -> Self {
        Self::WrongPayload { name, detail: without_value(&error.to_string()) }
    }
}

impl fmt::Display for MainGatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len } => write!(f, "payload of {len} bytes is too large"),
            Self::TooDeep => f.write_str("payload is nested too deep"),
            Self::NotJson { line, column } => write!(f, "message is not JSON (line {line} column {column})"),
            Self::NotAMessage => f.write_str("message is not an object with an opcode"),
            Self::WrongPayload { name, detail } => write!(f, "payload of {name} is wrong: {detail}"),
        }
    }
}

impl Error for MainGatewayError {}
