//! The fixed part of an RTP header: what a sender writes and every receiver reads first.

use crate::extension::AudioExtension;
use crate::number::{Sequence, Ssrc, Timestamp};
use crate::packet::ParseError;

/// The twelve bytes that start every RTP packet, without the flags that describe what follows.
///
/// [`write`](Self::write) makes the plain header of a voice sender: no padding, no extension, no
/// contributing sources. [`parse`](Self::parse) reads these fields from any RTP packet;
/// [`Packet`](crate::Packet) reads the rest.
///
/// ```
/// use voice_rtp::{OPUS_PAYLOAD_TYPE, RtpHeader, Sequence, Ssrc, Timestamp};
///
/// let header = RtpHeader {
///     marker: false,
///     payload_type: OPUS_PAYLOAD_TYPE,
///     sequence: Sequence::new(1),
///     timestamp: Timestamp::new(960),
///     ssrc: Ssrc::new(369_020),
/// };
/// let mut bytes = [0; RtpHeader::LEN];
/// header.write(&mut bytes);
/// assert_eq!(bytes, [0x80, 0x78, 0, 1, 0, 0, 3, 0xC0, 0, 5, 0xA1, 0x7C]);
/// assert_eq!(RtpHeader::parse(&bytes), Ok(header));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RtpHeader {
    /// The marker bit. Voice senders leave it clear and receivers must not depend on it.
    pub marker: bool,
    /// The payload type, 0 to 127; [`OPUS_PAYLOAD_TYPE`] for voice.
    pub payload_type: u8,
    /// The packet counter.
    pub sequence: Sequence,
    /// The media clock, in ticks.
    pub timestamp: Timestamp,
    /// The stream this packet belongs to.
    pub ssrc: Ssrc,
}

impl RtpHeader {
    /// The length of the fixed header, in bytes: RFC 3550, section 5.1.
    pub const LEN: usize = 12;

    /// Reads the fixed part of the RTP packet that starts `bytes`.
    ///
    /// The flags for padding, extension and contributing sources are not looked at, and nothing
    /// after the twelfth byte is: this works on sealed packets too.
    ///
    /// # Errors
    ///
    /// [`ParseError::TooShort`] below [`LEN`](Self::LEN) bytes, [`ParseError::BadVersion`] when the
    /// version is not 2.
    #[inline]
    pub const fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let Some(fixed) = bytes.first_chunk::<{ Self::LEN }>() else {
            return Err(ParseError::TooShort);
        };
        if fixed[0] >> 6 != VERSION {
            return Err(ParseError::BadVersion);
        }
        Ok(Self::from_fixed(fixed))
    }

    /// Writes the header to `out`, with version 2 and nothing following but the payload.
    ///
    /// Only the low seven bits of [`payload_type`](Self::payload_type) fit the wire; the eighth is
    /// dropped.
    #[inline]
    pub const fn write(&self, out: &mut [u8; Self::LEN]) {
        let second = (self.payload_type & 0x7F) | if self.marker { MARKER } else { 0 };
        let [q0, q1] = self.sequence.get().to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.get().to_be_bytes();
        let [s0, s1, s2, s3] = self.ssrc.get().to_be_bytes();
        *out = [VERSION << 6, second, q0, q1, t0, t1, t2, t3, s0, s1, s2, s3];
    }

    /// Writes the header followed by the extension that voice clients attach to their audio.
    ///
    /// The result is twenty bytes, of which the last four (the extension body) are sealed together
    /// with the payload.
    pub fn write_with_audio(&self, audio: AudioExtension, out: &mut [u8; Self::LEN + AudioExtension::LEN]) {
        let mut fixed = [0; Self::LEN];
        self.write(&mut fixed);
        fixed[0] |= EXTENSION;
        for (byte, value) in out.iter_mut().zip(fixed.into_iter().chain(audio.to_bytes())) {
            *byte = value;
        }
    }

    /// Reads the fields that do not depend on the version.
    #[inline]
    pub(crate) const fn from_fixed(fixed: &[u8; Self::LEN]) -> Self {
        let [_, second, q0, q1, t0, t1, t2, t3, s0, s1, s2, s3] = *fixed;
        Self {
            marker: second & MARKER != 0,
            payload_type: second & 0x7F,
            sequence: Sequence::new(u16::from_be_bytes([q0, q1])),
            timestamp: Timestamp::new(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: Ssrc::new(u32::from_be_bytes([s0, s1, s2, s3])),
        }
    }
}

/// The payload type of Opus unless the gateway negotiated another.
///
/// Discord docs, Voice Connections, "Encrypting and Sending Voice".
pub const OPUS_PAYLOAD_TYPE: u8 = 120;

/// The only version of RTP: RFC 3550, section 5.1.
pub const VERSION: u8 = 2;

/// The padding flag in the first byte: RFC 3550, section 5.1.
pub(crate) const PADDING: u8 = 0x20;

/// The extension flag in the first byte: RFC 3550, section 5.1.
pub(crate) const EXTENSION: u8 = 0x10;

/// The bits of the first byte that count the contributing sources: RFC 3550, section 5.1.
pub(crate) const CSRC_COUNT: u8 = 0x0F;

/// The marker flag in the second byte: RFC 3550, section 5.1.
const MARKER: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oversized_payload_type_does_not_set_the_marker() {
        let header = RtpHeader { payload_type: 0xF8, ..RtpHeader::default() };
        let mut bytes = [0; 12];
        header.write(&mut bytes);
        assert_eq!(bytes[1], 0x78);
    }

    #[test]
    fn short_and_foreign_versions_are_refused() {
        assert_eq!(RtpHeader::parse(&[0x80; 11]), Err(ParseError::TooShort));
        assert_eq!(RtpHeader::parse(&[0x00; 11]), Err(ParseError::TooShort));
        for first in [0x00, 0x40, 0xC0] {
            let mut bytes = [0; 12];
            bytes[0] = first;
            assert_eq!(RtpHeader::parse(&bytes), Err(ParseError::BadVersion));
        }
    }
}
