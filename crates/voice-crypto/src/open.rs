//! Opening packets: nothing of a datagram is believed before it is authenticated.

use core::fmt;
use core::ops::Range;

use voice_rtp::{Packet, ParseError, RtpHeader, unencrypted_len};

use crate::backend::Cipher;
use crate::key::SecretKey;
use crate::mode::{Mode, OVERHEAD, SUFFIX_LEN, TAG_LEN};

/// Opens the packets of one session, in place and without allocating.
///
/// It keeps no state between packets: the nonce is in each packet, and whether a packet was seen
/// before is for the receiver of the stream to decide, by its sequence number.
///
/// ```
/// use voice_crypto::{Mode, OpenError, Opener, Sealer, SecretKey};
///
/// let key = SecretKey::new([7; 32]);
/// let opener = Opener::new(Mode::XChaCha20Poly1305Rtpsize, &key);
///
/// let mut datagram = [0; 37];
/// datagram[..17].copy_from_slice(&[
///     0xA0, 0x78, 0, 1, 0, 0, 3, 0xC0, 0, 5, 0xA1, 0x7C, 0xF8, 0xFF, 0xFE, 0, 2,
/// ]);
/// Sealer::new(Mode::XChaCha20Poly1305Rtpsize, &key, 1).seal_rtp(&mut datagram, 17).unwrap();
///
/// let opened = opener.open_rtp(&mut datagram)?;
/// assert_eq!(opened.header.ssrc.get(), 369_020);
/// assert_eq!(datagram[opened.payload], [0xF8, 0xFF, 0xFE]); // the padding is gone
///
/// assert_eq!(opener.open_rtp(&mut datagram), Err(OpenError::Auth));
/// assert_eq!(opener.open_rtp(&mut datagram[..31]), Err(OpenError::TooShort));
/// # Ok::<(), OpenError>(())
/// ```
pub struct Opener {
    cipher: Cipher,
    mode: Mode,
}

impl Opener {
    /// Makes an opener for a session.
    #[must_use]
    pub fn new(mode: Mode, key: &SecretKey) -> Self {
        Self { cipher: Cipher::new(mode, key.bytes()), mode }
    }

    /// Opens a sealed RTP packet in place and says where in it the media is.
    ///
    /// The payload is exact: the body of the extension and the padding are not part of it. It may
    /// be empty: packets of padding alone are valid and carry nothing.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. The contents of `packet` behind its header are then unspecified and must
    /// not be used.
    pub fn open_rtp(&self, packet: &mut [u8]) -> Result<OpenedRtp, OpenError> {
        let clear_len = unencrypted_len(packet).map_err(|_| OpenError::TooShort)?;
        let plain_len = self.open(packet, clear_len)?;
        let plain = packet.get(..plain_len).ok_or(OpenError::TooShort)?;
        let view = Packet::parse(plain)?;
        Ok(OpenedRtp {
            header: view.header(),
            payload: view.payload_range(),
            extension: view.extension_range(),
            plain_len,
        })
    }

    /// Opens a sealed RTCP packet in place and returns its plain length, in bytes.
    ///
    /// The result may be several packets one after another; it is not checked here.
    ///
    /// # Errors
    ///
    /// [`OpenError::TooShort`] or [`OpenError::Auth`].
    pub fn open_rtcp(&self, packet: &mut [u8]) -> Result<usize, OpenError> {
        self.open(packet, RTCP_CLEAR_LEN)
    }

    /// Opens a sealed packet in place and returns its plain length, in bytes.
    ///
    /// The first `clear_len` bytes are authenticated and stay as they are; the plain packet is
    /// they and the decrypted bytes behind them.
    ///
    /// # Errors
    ///
    /// [`OpenError::TooShort`] when there is no room for the clear part, tag and nonce suffix, with
    /// nothing changed. [`OpenError::Auth`] when the packet is not authentic; the bytes behind the
    /// clear part are then unspecified.
    pub fn open(&self, packet: &mut [u8], clear_len: usize) -> Result<usize, OpenError> {
        let (rest, suffix) = packet.split_last_chunk_mut::<SUFFIX_LEN>().ok_or(OpenError::TooShort)?;
        let (clear, sealed) = rest.split_at_mut_checked(clear_len).ok_or(OpenError::TooShort)?;
        if sealed.len() < TAG_LEN {
            return Err(OpenError::TooShort);
        }
        self.cipher.open(*suffix, clear, sealed).map_err(|_| OpenError::Auth)?;
        Ok(packet.len() - OVERHEAD)
    }

    /// Returns the mode of the session.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Where things are in an RTP packet that was opened in place.
///
/// The ranges count from the start of the packet, in bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OpenedRtp {
    /// The header, now authentic.
    pub header: RtpHeader,
    /// The media, without extension body and padding. It may be empty.
    pub payload: Range<usize>,
    /// The body of the header extension, if there is one.
    pub extension: Option<Range<usize>>,
    /// The length of the plain packet: [`voice_rtp::Packet::parse`] accepts that many bytes.
    pub plain_len: usize,
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// Too few bytes for the clear part, the tag and the nonce suffix.
    TooShort,
    /// The packet is not authentic: damaged, forged, or sealed with another key or mode.
    Auth,
    /// The packet is authentic and its RTP version is not 2.
    BadVersion,
    /// The packet is authentic and its extension is longer than what was encrypted.
    ExtensionOverrun,
    /// The packet is authentic and its padding count is zero.
    PaddingZero,
    /// The packet is authentic and its padding is larger than what follows the extension.
    PaddingOverrun,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "too short for a sealed packet",
            Self::Auth => "the packet is not authentic",
            Self::BadVersion => "rtp version is not 2",
            Self::ExtensionOverrun => "extension body runs past the end",
            Self::PaddingZero => "padding count is zero",
            Self::PaddingOverrun => "padding is larger than the payload",
        })
    }
}

impl core::error::Error for OpenError {}

impl From<ParseError> for OpenError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::BadVersion => Self::BadVersion,
            ParseError::ExtensionOverrun => Self::ExtensionOverrun,
            ParseError::PaddingZero => Self::PaddingZero,
            ParseError::PaddingOverrun => Self::PaddingOverrun,
            // The clear part was measured before opening, so only these could be left.
            _ => Self::TooShort,
        }
    }
}

/// What of an RTCP packet stays clear, in bytes: the common header and the sender's SSRC.
///
/// RFC 3711, section 3.4, which Discord keeps in every mode.
pub(crate) const RTCP_CLEAR_LEN: usize = 8;
