//! The binary messages by opcode: what surrounds the MLS bytes, which stay as they are.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use core::fmt;

use crate::{BinaryMessage, DecodeError, Numbered, Opcode};

/// A binary message of a server (DAVE protocol, "Opcodes").
///
/// Borrows from the message. `Debug` prints lengths of what is MLS.
///
/// ```
/// use voice_model::ServerBinary;
///
/// let bytes = [0, 4, 30, 0, 7, 0xAA, 0xBB]; // from a server of gateway version 8
/// let decoded = ServerBinary::decode(8, &bytes)?;
/// assert_eq!(decoded.sequence, Some(4));
/// assert_eq!(decoded.message, ServerBinary::Welcome { transition_id: 7, welcome: &[0xAA, 0xBB] });
/// assert_eq!(decoded.message.encode(decoded.sequence), bytes);
/// # Ok::<(), voice_model::DecodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerBinary<'a> {
    /// Opcode 25: the credential of the external sender, an MLS `ExternalSender`.
    ExternalSender(&'a [u8]),
    /// Opcode 27: proposals to add or to take back.
    Proposals {
        /// What to do with them.
        operation: ProposalsOperation,
        /// A vector of MLS messages, or of references to revoke.
        proposals: &'a [u8],
    },
    /// Opcode 29: the commit that was chosen.
    AnnounceCommitTransition {
        /// The transition that makes it take effect.
        transition_id: u16,
        /// The commit, an MLS message.
        commit: &'a [u8],
    },
    /// Opcode 30: our way into the group.
    Welcome {
        /// The transition that makes it take effect.
        transition_id: u16,
        /// The MLS `Welcome`, without the header of an MLS message.
        welcome: &'a [u8],
    },
    /// Any other opcode.
    Unknown {
        /// The kind of the message.
        opcode: Opcode,
        /// What follows the header.
        payload: &'a [u8],
    },
}

/// A binary message of a client (DAVE protocol, "Opcodes").
///
/// Borrows from the message. `Debug` prints lengths of what is MLS.
///
/// ```
/// use voice_model::ClientBinary;
///
/// let message = ClientBinary::KeyPackage(&[0, 1, 0, 2]);
/// assert_eq!(message.encode(), [26, 0, 1, 0, 2]);
/// assert_eq!(ClientBinary::decode(&[26, 0, 1, 0, 2]), Ok(message));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientBinary<'a> {
    /// Opcode 26: a key package, an MLS `KeyPackage` without the header of an MLS message.
    KeyPackage(&'a [u8]),
    /// Opcode 28: a commit, an MLS message; directly after it a `Welcome` when somebody is added.
    ///
    /// Only who reads MLS can tell where the commit ends.
    CommitWelcome(&'a [u8]),
    /// Any other opcode.
    Unknown {
        /// The kind of the message.
        opcode: Opcode,
        /// What follows the header.
        payload: &'a [u8],
    },
}

/// What to do with the proposals of opcode 27.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProposalsOperation {
    /// They are new.
    Append,
    /// They do not hold any more.
    Revoke,
    /// A number that has no name here.
    ///
    /// Made by `from`, it never holds the number of a named one.
    Unknown(u8),
}

impl ProposalsOperation {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Append => 0,
            Self::Revoke => 1,
            Self::Unknown(code) => code,
        }
    }
}

impl From<u8> for ProposalsOperation {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::Append,
            1 => Self::Revoke,
            _ => Self::Unknown(code),
        }
    }
}

impl<'a> ServerBinary<'a> {
    /// Decodes a message of a server; the gateway version tells whether it is numbered.
    ///
    /// # Errors
    ///
    /// The message is larger than [`MAX_MESSAGE_LEN`](crate::MAX_MESSAGE_LEN), or shorter than what comes before the
    /// MLS bytes; [`DecodeError::sequence`] has the number as far as it is there.
    pub fn decode(version: u8, bytes: &'a [u8]) -> Result<Numbered<Self>, DecodeError> {
        let message = BinaryMessage::decode_server_on(version, bytes)?;
        Ok(Numbered { sequence: message.sequence, message: Self::from_message(message)? })
    }

    /// Reads what surrounds the MLS bytes of a message.
    ///
    /// # Errors
    ///
    /// The payload is shorter than what comes before the MLS bytes.
    pub fn from_message(message: BinaryMessage<'a>) -> Result<Self, DecodeError> {
        let BinaryMessage { opcode, payload, .. } = message;
        Ok(match opcode {
            Opcode::MlsExternalSender => Self::ExternalSender(payload),
            Opcode::MlsProposals => {
                let [operation, proposals @ ..] = payload else { return Err(too_short(&message, "an operation")) };
                Self::Proposals { operation: (*operation).into(), proposals }
            }
            Opcode::MlsAnnounceCommitTransition => {
                let (transition_id, commit) = transition(&message)?;
                Self::AnnounceCommitTransition { transition_id, commit }
            }
            Opcode::MlsWelcome => {
                let (transition_id, welcome) = transition(&message)?;
                Self::Welcome { transition_id, welcome }
            }
            opcode => Self::Unknown { opcode, payload },
        })
    }

    /// The kind of the message.
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        match self {
            Self::ExternalSender(_) => Opcode::MlsExternalSender,
            Self::Proposals { .. } => Opcode::MlsProposals,
            Self::AnnounceCommitTransition { .. } => Opcode::MlsAnnounceCommitTransition,
            Self::Welcome { .. } => Opcode::MlsWelcome,
            Self::Unknown { opcode, .. } => *opcode,
        }
    }

    /// Encodes the message, with its number if it has one.
    ///
    /// # Panics
    ///
    /// The number of an unknown opcode does not fit in a byte, which no decoded message has.
    #[must_use]
    pub fn encode(&self, sequence: Option<u16>) -> Vec<u8> {
        let opcode = self.opcode();
        let of = |payload: &[u8]| BinaryMessage { sequence, opcode, payload }.encode();
        match self {
            Self::ExternalSender(payload) | Self::Unknown { payload, .. } => of(payload),
            Self::Proposals { operation, proposals } => of(&[&[operation.code()], *proposals].concat()),
            Self::AnnounceCommitTransition { transition_id, commit: mls }
            | Self::Welcome { transition_id, welcome: mls } => of(&[&transition_id.to_be_bytes(), *mls].concat()),
        }
    }
}

impl<'a> ClientBinary<'a> {
    /// Decodes a message of a client.
    ///
    /// # Errors
    ///
    /// The message is empty or larger than [`MAX_MESSAGE_LEN`](crate::MAX_MESSAGE_LEN).
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        BinaryMessage::decode_client(bytes).map(Self::from_message)
    }

    /// Names the parts of a message.
    #[must_use]
    pub const fn from_message(message: BinaryMessage<'a>) -> Self {
        let BinaryMessage { opcode, payload, .. } = message;
        match opcode {
            Opcode::MlsKeyPackage => Self::KeyPackage(payload),
            Opcode::MlsCommitWelcome => Self::CommitWelcome(payload),
            opcode => Self::Unknown { opcode, payload },
        }
    }

    /// The kind of the message.
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        match self {
            Self::KeyPackage(_) => Opcode::MlsKeyPackage,
            Self::CommitWelcome(_) => Opcode::MlsCommitWelcome,
            Self::Unknown { opcode, .. } => *opcode,
        }
    }

    /// What follows the header.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::KeyPackage(payload) | Self::CommitWelcome(payload) | Self::Unknown { payload, .. } => payload,
        }
    }

    /// Encodes the message.
    ///
    /// # Panics
    ///
    /// The number of an unknown opcode does not fit in a byte, which no decoded message has.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        BinaryMessage { sequence: None, opcode: self.opcode(), payload: self.payload() }.encode()
    }
}

fn transition<'a>(message: &BinaryMessage<'a>) -> Result<(u16, &'a [u8]), DecodeError> {
    let [high, low, mls @ ..] = message.payload else { return Err(too_short(message, "a transition id")) };
    Ok((u16::from_be_bytes([*high, *low]), mls))
}

fn too_short(message: &BinaryMessage<'_>, expected: &str) -> DecodeError {
    let BinaryMessage { opcode, sequence, .. } = *message;
    DecodeError::WrongPayload { opcode, sequence, detail: format!("expected {expected}") }
}

/// Prints as a length.
struct Mls<'a>(&'a [u8]);

impl fmt::Debug for Mls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[.. {} bytes]", self.0.len())
    }
}

impl fmt::Debug for ServerBinary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExternalSender(payload) => f.debug_tuple("ExternalSender").field(&Mls(payload)).finish(),
            Self::Proposals { operation, proposals } => {
                f.debug_struct("Proposals").field("operation", operation).field("proposals", &Mls(proposals)).finish()
            }
            Self::AnnounceCommitTransition { transition_id, commit } => f
                .debug_struct("AnnounceCommitTransition")
                .field("transition_id", transition_id)
                .field("commit", &Mls(commit))
                .finish(),
            Self::Welcome { transition_id, welcome } => {
                f.debug_struct("Welcome").field("transition_id", transition_id).field("welcome", &Mls(welcome)).finish()
            }
            Self::Unknown { opcode, payload } => {
                f.debug_struct("Unknown").field("opcode", opcode).field("payload", &Mls(payload)).finish()
            }
        }
    }
}

impl fmt::Debug for ClientBinary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyPackage(payload) => f.debug_tuple("KeyPackage").field(&Mls(payload)).finish(),
            Self::CommitWelcome(payload) => f.debug_tuple("CommitWelcome").field(&Mls(payload)).finish(),
            Self::Unknown { opcode, payload } => {
                f.debug_struct("Unknown").field("opcode", opcode).field("payload", &Mls(payload)).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_server_messages_are_told_apart() {
        let cases: [(&[u8], ServerBinary<'_>, &str); 6] = [
            (&[25, 1, 2], ServerBinary::ExternalSender(&[1, 2]), "ExternalSender([.. 2 bytes])"),
            (
                &[27, 0, 9],
                ServerBinary::Proposals { operation: ProposalsOperation::Append, proposals: &[9] },
                "Proposals { operation: Append, proposals: [.. 1 bytes] }",
            ),
            (
                &[27, 1],
                ServerBinary::Proposals { operation: ProposalsOperation::Revoke, proposals: &[] },
                "Proposals { operation: Revoke, proposals: [.. 0 bytes] }",
            ),
            (
                &[29, 0xFF, 0xFE, 7],
                ServerBinary::AnnounceCommitTransition { transition_id: 0xFFFE, commit: &[7] },
                "AnnounceCommitTransition { transition_id: 65534, commit: [.. 1 bytes] }",
            ),
            (
                &[30, 0, 0],
                ServerBinary::Welcome { transition_id: 0, welcome: &[] },
                "Welcome { transition_id: 0, welcome: [.. 0 bytes] }",
            ),
            (
                &[99, 5],
                ServerBinary::Unknown { opcode: Opcode::Unknown(99), payload: &[5] },
                "Unknown { opcode: Unknown(99), payload: [.. 1 bytes] }",
            ),
        ];
        for (bytes, expected, printed) in cases {
            assert_eq!(format!("{expected:?}"), printed);
            let numbered = [&[0x80, 0x01], bytes].concat();
            for version in [NUMBERED, 9] {
                let decoded = ServerBinary::decode(version, &numbered).unwrap();
                assert_eq!((decoded.sequence, decoded.message), (Some(0x8001), expected));
                assert_eq!(decoded.message.encode(decoded.sequence), numbered);
            }
            for version in 4..NUMBERED {
                let decoded = ServerBinary::decode(version, bytes).unwrap();
                assert_eq!((decoded.sequence, decoded.message), (None, expected));
                assert_eq!(decoded.message.encode(None), bytes);
            }
            assert_eq!(u64::from(bytes[0]), expected.opcode().code());
        }
    }

    #[test]
    fn parts_of_client_messages_are_told_apart() {
        let cases: [(&[u8], ClientBinary<'_>, &str); 3] = [
            (&[26, 1, 2], ClientBinary::KeyPackage(&[1, 2]), "KeyPackage([.. 2 bytes])"),
            (&[28], ClientBinary::CommitWelcome(&[]), "CommitWelcome([.. 0 bytes])"),
            (
                &[25, 5],
                ClientBinary::Unknown { opcode: Opcode::MlsExternalSender, payload: &[5] },
                "Unknown { opcode: MlsExternalSender, payload: [.. 1 bytes] }",
            ),
        ];
        for (bytes, expected, printed) in cases {
            assert_eq!(ClientBinary::decode(bytes), Ok(expected));
            assert_eq!(expected.encode(), bytes);
            assert_eq!(format!("{expected:?}"), printed);
        }
        assert_eq!(ClientBinary::decode(&[]), Err(DecodeError::TooShort { len: 0 }));
    }

    #[test]
    fn what_is_missing_before_the_mls_bytes_keeps_the_number() {
        for bytes in [&[0, 5, 27][..], &[0, 5, 29], &[0, 5, 29, 0], &[0, 5, 30], &[0, 5, 30, 0]] {
            let error = ServerBinary::decode(8, bytes).unwrap_err();
            assert_eq!((error.sequence(), error.opcode().map(Opcode::code)), (Some(5), Some(bytes[2].into())));
        }
        assert_eq!(ServerBinary::decode(8, &[0, 5]), Err(DecodeError::TooShort { len: 2 }));
        assert_eq!(ServerBinary::decode(4, &[]), Err(DecodeError::TooShort { len: 0 }));
    }

    #[test]
    fn operations_without_a_name_are_kept() {
        for code in 0..=255 {
            assert_eq!(ProposalsOperation::from(code).code(), code);
        }
        assert_eq!(ProposalsOperation::from(2), ProposalsOperation::Unknown(2));
    }

    const NUMBERED: u8 = crate::NUMBERED_SINCE;
}
