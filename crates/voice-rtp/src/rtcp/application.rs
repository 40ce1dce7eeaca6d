//! Packets whose content only the application knows: RFC 3550, section 6.7.

use super::{ParseError, split_ssrc};
use crate::number::Ssrc;

/// Something only the application knows: RFC 3550, section 6.7.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Application<'a> {
    /// Which packet of those with this name it is, 0 to 31.
    pub subtype: u8,
    /// Who speaks.
    pub ssrc: Ssrc,
    /// Who defined the packet: four characters, usually ASCII.
    pub name: [u8; 4],
    /// The content; to be written, its length must be a multiple of four bytes.
    pub data: &'a [u8],
}

impl<'a> Application<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        let (ssrc, body) = split_ssrc(body).ok_or(ParseError::FieldOverrun)?;
        let (&name, data) = body.split_first_chunk().ok_or(ParseError::FieldOverrun)?;
        Ok(Self { subtype: count, ssrc, name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, packets};
    use super::*;

    #[test]
    fn an_application_packet_has_a_name() {
        let bytes = [0x85, 0xCC, 0, 3, 0, 0, 0, 7, b'T', b'E', b'S', b'T', 1, 2, 3, 4];
        let application = Application { subtype: 5, ssrc: Ssrc::new(7), name: *b"TEST", data: &[1, 2, 3, 4] };
        assert_eq!(packets(&bytes).next(), Some(Ok(Packet::Application(application))));
        for words in 0..2_u8 {
            let short = [0x85, 0xCC, 0, words, 0, 0, 0, 7];
            assert_eq!(packets(&short).next(), Some(Err(ParseError::FieldOverrun)));
        }
    }
}
