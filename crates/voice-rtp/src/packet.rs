//! A validated view of one plain RTP packet.

use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

use crate::extension::Extension;
use crate::header::{CSRC_COUNT, EXTENSION, PADDING, RtpHeader};
use crate::number::Ssrc;

mod write;

pub use self::write::{Layout, WriteError};

/// A plain (unsealed or decrypted) RTP packet, checked once and read without copying.
///
/// Every length in the packet was compared with the bytes present before this value existed, so no
/// accessor can fail.
///
/// ```
/// use voice_rtp::Packet;
///
/// let datagram = [
///     0xB0, 0x78, 0, 15, 0, 0, 0x38, 0x40, 0, 5, 0xA1, 0x7C, // header: extension and padding
///     0xBE, 0xDE, 0, 1, 0x10, 0xFF, 0x90, 0x00, // audio level 127, no speaker flag
///     0xF8, 0xFF, 0xFE, // the Opus silence frame
///     0, 0, 3, // three bytes of padding
/// ];
/// let packet = Packet::parse(&datagram)?;
/// assert_eq!(packet.payload(), [0xF8, 0xFF, 0xFE]);
/// assert_eq!(packet.payload_range(), 20..23);
/// assert_eq!(packet.header().sequence.get(), 15);
/// let level = packet.extension().and_then(|x| x.audio_level()).unwrap();
/// assert_eq!(level.minus_dbov(), 127);
/// # Ok::<(), voice_rtp::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    header: RtpHeader,
    csrcs: &'a [[u8; 4]],
    extension: Option<Extension<'a>>,
    payload: &'a [u8],
    payload_start: usize,
    padding_len: usize,
}

impl<'a> Packet<'a> {
    /// Checks a whole plain packet and returns its view.
    ///
    /// # Errors
    ///
    /// The first of these that applies, in this order: [`ParseError::TooShort`],
    /// [`BadVersion`](ParseError::BadVersion), [`CsrcOverrun`](ParseError::CsrcOverrun),
    /// [`ExtensionPreambleOverrun`](ParseError::ExtensionPreambleOverrun),
    /// [`ExtensionOverrun`](ParseError::ExtensionOverrun),
    /// [`PaddingOverrun`](ParseError::PaddingOverrun) or [`PaddingZero`](ParseError::PaddingZero).
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (fixed, rest) = bytes.split_first_chunk::<{ RtpHeader::LEN }>().ok_or(ParseError::TooShort)?;
        let header = RtpHeader::parse(fixed)?;
        let flags = fixed[0];

        let (csrcs, rest) = rest.split_at_checked(csrc_len(flags)).ok_or(ParseError::CsrcOverrun)?;
        let (csrcs, _) = csrcs.as_chunks::<4>();

        let (extension, rest) = if flags & EXTENSION == 0 {
            (None, rest)
        } else {
            let (&[p0, p1, w0, w1], rest) =
                rest.split_first_chunk::<{ PREAMBLE_LEN }>().ok_or(ParseError::ExtensionPreambleOverrun)?;
            let words = u16::from_be_bytes([w0, w1]);
            let (body, rest) = rest.split_at_checked(usize::from(words) * 4).ok_or(ParseError::ExtensionOverrun)?;
            let profile = u16::from_be_bytes([p0, p1]);
            (Some(Extension::new(profile, body)), rest)
        };

        let payload_start = bytes.len() - rest.len();
        let (payload, padding_len) = if flags & PADDING == 0 {
            (rest, 0)
        } else {
            let count = usize::from(*rest.last().ok_or(ParseError::PaddingOverrun)?);
            if count == 0 {
                return Err(ParseError::PaddingZero);
            }
            let kept = rest.len().checked_sub(count).ok_or(ParseError::PaddingOverrun)?;
            let (payload, _) = rest.split_at_checked(kept).ok_or(ParseError::PaddingOverrun)?;
            (payload, count)
        };

        Ok(Self { bytes, header, csrcs, extension, payload, payload_start, padding_len })
    }

    /// Returns the whole packet as it was parsed.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the fixed header.
    #[must_use]
    pub const fn header(&self) -> RtpHeader {
        self.header
    }

    /// Returns the contributing sources, 0 to 15 of them.
    #[must_use]
    pub fn csrcs(&self) -> Csrcs<'a> {
        Csrcs(self.csrcs.iter())
    }

    /// Returns the header extension, if the packet has one.
    #[must_use]
    pub const fn extension(&self) -> Option<Extension<'a>> {
        self.extension
    }

    /// Returns where the body of the header extension is in the packet, in bytes.
    ///
    /// The four bytes before the body (profile and length) are not part of it.
    #[must_use]
    #[inline]
    pub fn extension_range(&self) -> Option<Range<usize>> {
        let len = self.extension?.body().len();
        Some(self.payload_start - len..self.payload_start)
    }

    /// Returns the media: without extension body, without padding. It may be empty.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns where [`payload`](Self::payload) is in the packet, in bytes.
    #[must_use]
    #[inline]
    pub const fn payload_range(&self) -> Range<usize> {
        self.payload_start..self.payload_start + self.payload.len()
    }

    /// Returns how many bytes of padding follow the payload, its count byte included.
    #[must_use]
    pub const fn padding_len(&self) -> usize {
        self.padding_len
    }
}

/// The contributing sources of a [`Packet`], in wire order.
#[derive(Clone, Debug)]
pub struct Csrcs<'a>(core::slice::Iter<'a, [u8; 4]>);

impl Iterator for Csrcs<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        self.0.next().map(|bytes| Ssrc::new(u32::from_be_bytes(*bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Csrcs<'_> {}
impl FusedIterator for Csrcs<'_> {}

/// Returns how many bytes at the start of an RTP datagram stay readable when it is sealed.
///
/// That is the fixed header, the contributing sources and, if there is an extension, its four-byte
/// preamble but not its body. The "rtpsize" transport modes authenticate exactly these bytes.
/// The version is not looked at: that is for after authentication, when it can be believed.
///
/// Discord docs, Voice Connections, "Transport Encryption Modes".
///
/// ```
/// let mut datagram = [0; 36];
/// datagram[0] = 0x91; // one contributing source and an extension
/// assert_eq!(voice_rtp::unencrypted_len(&datagram), Ok(12 + 4 + 4));
/// ```
///
/// # Errors
///
/// [`ParseError::TooShort`], [`CsrcOverrun`](ParseError::CsrcOverrun) or
/// [`ExtensionPreambleOverrun`](ParseError::ExtensionPreambleOverrun) when the datagram ends before
/// that many bytes.
#[inline]
pub const fn unencrypted_len(datagram: &[u8]) -> Result<usize, ParseError> {
    let Some(&[flags, ..]) = datagram.first_chunk::<{ RtpHeader::LEN }>() else {
        return Err(ParseError::TooShort);
    };
    let mut len = RtpHeader::LEN + csrc_len(flags);
    if datagram.len() < len {
        return Err(ParseError::CsrcOverrun);
    }
    if flags & EXTENSION != 0 {
        len += PREAMBLE_LEN;
        if datagram.len() < len {
            return Err(ParseError::ExtensionPreambleOverrun);
        }
    }
    Ok(len)
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer bytes than the fixed header has.
    TooShort,
    /// The version is not 2.
    BadVersion,
    /// The list of contributing sources runs past the end.
    CsrcOverrun,
    /// The profile and length of the extension run past the end.
    ExtensionPreambleOverrun,
    /// The body of the extension runs past the end.
    ExtensionOverrun,
    /// The padding flag is set and the padding count is zero.
    PaddingZero,
    /// The padding is larger than what follows the header.
    PaddingOverrun,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than an rtp header",
            Self::BadVersion => "rtp version is not 2",
            Self::CsrcOverrun => "contributing sources run past the end",
            Self::ExtensionPreambleOverrun => "extension preamble runs past the end",
            Self::ExtensionOverrun => "extension body runs past the end",
            Self::PaddingZero => "padding count is zero",
            Self::PaddingOverrun => "padding is larger than the payload",
        })
    }
}

impl core::error::Error for ParseError {}

/// The longest datagram a sender should make, in bytes.
///
/// 1 500 bytes of Ethernet, minus 20 to 40 of IP and 8 of UDP, rounded down; it holds the largest
/// Opus frame with every overhead.
pub const MAX_DATAGRAM_LEN: usize = 1_460;

/// How many contributing sources a packet can name: RFC 3550, section 5.1.
pub const MAX_CSRCS: usize = CSRC_COUNT as usize;

/// The length of the profile and length fields of an extension: RFC 3550, section 5.3.1.
const PREAMBLE_LEN: usize = 4;

/// Returns the length of the contributing sources, in bytes, from the first byte of the header.
const fn csrc_len(flags: u8) -> usize {
    (flags & CSRC_COUNT) as usize * 4
}
