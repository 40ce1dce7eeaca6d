//! Why a message could not be decoded.

use core::{error::Error, fmt};

use crate::{
    Opcode,
    codec::{MAX_DEPTH, MAX_MESSAGE_LEN},
};

/// Why a message could not be decoded.
///
/// Never holds anything the message said, apart from its opcode and sequence number: a message
/// may carry credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message is larger than [`MAX_MESSAGE_LEN`](crate::MAX_MESSAGE_LEN).
    TooLarge {
        /// Length of the message in bytes.
        len: usize,
    },
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep,
    /// The text is not JSON.
    NotJson {
        /// Line of the mistake, from 1.
        line: usize,
        /// Column of the mistake, from 1.
        column: usize,
    },
    /// The text is JSON, but no object.
    NotAnObject,
    /// One of `op`, `d` and `seq` occurs twice.
    DuplicateKey,
    /// There is no `op`, or it is no unsigned integer.
    MissingOpcode {
        /// The sequence number, when there is a valid one.
        sequence: Option<u16>,
    },
    /// `seq` is there, but is no unsigned integer.
    InvalidSequence {
        /// The kind of the message.
        opcode: Opcode,
    },
    /// `d` is not what the opcode calls for.
    WrongPayload {
        /// The kind of the message.
        opcode: Opcode,
        /// The sequence number; it counts as received although the payload is of no use.
        sequence: Option<u16>,
        /// What is wrong, without the offending value.
        detail: String,
    },
    /// A binary message is shorter than its header.
    TooShort {
        /// Length of the message in bytes.
        len: usize,
    },
}

impl DecodeError {
    /// The kind of the message, as far as it was read.
    #[must_use]
    pub const fn opcode(&self) -> Option<Opcode> {
        match self {
            Self::InvalidSequence { opcode } | Self::WrongPayload { opcode, .. } => Some(*opcode),
            _ => None,
        }
    }

    /// The sequence number of the message, as far as it was read.
    #[must_use]
    pub const fn sequence(&self) -> Option<u16> {
        match self {
            Self::MissingOpcode { sequence } | Self::WrongPayload { sequence, .. } => *sequence,
            _ => None,
        }
    }

    pub(crate) fn wrong_payload(opcode: Opcode, sequence: Option<u16>, error: &serde_json::Error) -> Self {
        Self::WrongPayload { opcode, sequence, detail: without_value(&error.to_string()) }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len } => {
                write!(f, "message of {len} bytes is larger than {MAX_MESSAGE_LEN}")
            }
            Self::TooDeep => write!(f, "message is nested deeper than {MAX_DEPTH}"),
            Self::NotJson { line, column } => {
                write!(f, "message is not JSON (line {line} column {column})")
            }
            Self::NotAnObject => f.write_str("message is not a JSON object"),
            Self::DuplicateKey => f.write_str("message has op, d or seq twice"),
            Self::MissingOpcode { .. } => f.write_str("message has no numeric op"),
            Self::InvalidSequence { opcode } => {
                write!(f, "sequence number of opcode {opcode} is no unsigned integer")
            }
            Self::WrongPayload { opcode, detail, .. } => {
                write!(f, "payload of opcode {opcode} is wrong: {detail}")
            }
            Self::TooShort { len } => {
                write!(f, "binary message of {len} bytes is shorter than its header")
            }
        }
    }
}

impl Error for DecodeError {}

/// Keeps of a serde message what our own types said, and drops what it quotes of the input.
pub(crate) fn without_value(message: &str) -> String {
    const FROM_TYPES: [&str; 2] = ["missing field `", "duplicate field `"];
    const EXPECTED: &str = ", expected ";
    if FROM_TYPES.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    // The input is quoted before the last of these: what follows is ours.
    match message.rsplit_once(EXPECTED) {
        Some((_, expected)) => format!("expected {expected}"),
        None => "it has not the documented form".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_never_quotes_the_input() {
        let cases = [
            ("missing field `ssrc` at line 1 column 2", "missing field `ssrc` at line 1 column 2"),
            (
                "invalid type: string \"secret, expected x\", expected u32 at line 1 column 9",
                "expected u32 at line 1 column 9",
            ),
            ("something about secret", "it has not the documented form"),
        ];
        for (message, detail) in cases {
            assert_eq!(without_value(message), detail);
        }
    }
}
