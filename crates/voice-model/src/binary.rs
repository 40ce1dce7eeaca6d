//! Binary messages: the MLS opcodes of end-to-end encryption.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use core::fmt;

use crate::{DecodeError, Opcode, codec::MAX_MESSAGE_LEN};

/// A binary message: the opcodes 25 to 30, whose payload is not JSON.
///
/// `Debug` prints the length of the payload, not the payload.
///
/// ```
/// use voice_model::{BinaryMessage, Opcode};
///
/// let message = BinaryMessage::decode_server(&[0, 4, 25, 0xAA, 0xBB])?;
/// assert_eq!(message.sequence, Some(4));
/// assert_eq!(message.opcode, Opcode::MlsExternalSender);
/// assert_eq!(message.payload, [0xAA, 0xBB]);
/// assert_eq!(message.encode(), [0, 4, 25, 0xAA, 0xBB]);
/// # Ok::<(), voice_model::DecodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BinaryMessage<'a> {
    /// The number under which it counts as received; `None` from clients, and from servers
    /// before gateway version 8.
    pub sequence: Option<u16>,
    /// The kind of the message.
    pub opcode: Opcode,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl fmt::Debug for BinaryMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BinaryMessage")
            .field("sequence", &self.sequence)
            .field("opcode", &self.opcode)
            .field("payload", &format_args!("[.. {} bytes]", self.payload.len()))
            .finish()
    }
}

/// The first gateway version whose servers number binary messages (Discord docs, Voice Connections, "Buffered
/// Resume").
pub const NUMBERED_SINCE: u8 = 8;

impl<'a> BinaryMessage<'a> {
    /// Decodes a message of a server on any gateway version: only since [`NUMBERED_SINCE`] it begins with a number.
    ///
    /// # Errors
    ///
    /// The message is shorter than its header or larger than [`MAX_MESSAGE_LEN`].
    pub fn decode_server_on(version: u8, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if version >= NUMBERED_SINCE { Self::decode_server(bytes) } else { Self::decode_client(bytes) }
    }

    /// Decodes a message of a server on gateway version 8 or later: a big-endian 16-bit number,
    /// the opcode in one byte, the payload.
    ///
    /// # Errors
    ///
    /// The message is shorter than 3 bytes or larger than [`MAX_MESSAGE_LEN`].
    pub fn decode_server(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        check_len(bytes)?;
        let [high, low, opcode, payload @ ..] = bytes else {
            return Err(DecodeError::TooShort { len: bytes.len() });
        };
        let sequence = Some(u16::from_be_bytes([*high, *low]));
        Ok(Self { sequence, opcode: u64::from(*opcode).into(), payload })
    }

    /// Decodes a message of a client, or of a server before gateway version 8: the opcode in one
    /// byte, the payload.
    ///
    /// # Errors
    ///
    /// The message is empty or larger than [`MAX_MESSAGE_LEN`].
    pub fn decode_client(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        check_len(bytes)?;
        let [opcode, payload @ ..] = bytes else {
            return Err(DecodeError::TooShort { len: bytes.len() });
        };
        Ok(Self { sequence: None, opcode: u64::from(*opcode).into(), payload })
    }

    /// Encodes the message, with the number in front if it has one.
    ///
    /// # Panics
    ///
    /// The number of the opcode does not fit in a byte, which no decoded binary message has.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let opcode = u8::try_from(self.opcode.code()).expect("opcode of a binary message is a byte");
        let mut bytes = Vec::with_capacity(3 + self.payload.len());
        if let Some(sequence) = self.sequence {
            bytes.extend_from_slice(&sequence.to_be_bytes());
        }
        bytes.push(opcode);
        bytes.extend_from_slice(self.payload);
        bytes
    }
}

fn check_len(bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.len() > MAX_MESSAGE_LEN {
        return Err(DecodeError::TooLarge { len: bytes.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_numbers_are_big_endian_and_unsigned() {
        for (bytes, sequence) in [([0, 0], 0), ([0x01, 0x02], 0x0102), ([0x80, 0x00], 32768), ([0xFF, 0xFF], 65535)] {
            let bytes = [bytes[0], bytes[1], 27, 1];
            let message = BinaryMessage::decode_server(&bytes).unwrap();
            assert_eq!(message.sequence, Some(sequence));
            assert_eq!(message.opcode, Opcode::MlsProposals);
            assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn debug_prints_the_length_of_the_payload() {
        let message = BinaryMessage { sequence: Some(4), opcode: Opcode::MlsWelcome, payload: &[201; 3] };
        let text = "BinaryMessage { sequence: Some(4), opcode: MlsWelcome, payload: [.. 3 bytes] }";
        assert_eq!(format!("{message:?}"), text);
    }

    #[test]
    fn client_messages_have_no_number() {
        let message = BinaryMessage::decode_client(&[26, 1, 2]).unwrap();
        let expected = BinaryMessage { sequence: None, opcode: Opcode::MlsKeyPackage, payload: &[1, 2] };
        assert_eq!(message, expected);
        assert_eq!(message.encode(), [26, 1, 2]);
    }

    #[test]
    fn unknown_opcodes_and_empty_payloads_are_values() {
        let message = BinaryMessage::decode_server(&[0, 1, 200]).unwrap();
        assert_eq!((message.opcode, message.payload), (Opcode::Unknown(200), &[][..]));
        assert_eq!(BinaryMessage::decode_client(&[5]).unwrap().opcode, Opcode::Speaking);
    }

    #[test]
    fn too_short_and_too_large_are_refused() {
        for len in 0..3 {
            let error = BinaryMessage::decode_server(&[0; 3][..len]).unwrap_err();
            assert_eq!(error, DecodeError::TooShort { len });
        }
        assert_eq!(BinaryMessage::decode_client(&[]), Err(DecodeError::TooShort { len: 0 }));
        let large = vec![0; MAX_MESSAGE_LEN + 1];
        let error = DecodeError::TooLarge { len: large.len() };
        assert_eq!(BinaryMessage::decode_server(&large), Err(error.clone()));
        assert_eq!(BinaryMessage::decode_client(&large), Err(error));
        assert!(BinaryMessage::decode_client(&large[1..]).is_ok());
    }
}
