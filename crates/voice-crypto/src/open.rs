//! Opening packets: nothing of a datagram is believed before it is authenticated.

use core::fmt;
use core::ops::Range;

use voice_rtp::{Packet, ParseError, RtpHeader, Sequence};

use crate::backend::{Backend, Cipher};
use crate::key::SecretKey;
use crate::mode::{Mode, OVERHEAD, SUFFIX_LEN, TAG_LEN};
#[cfg(feature = "legacy")]
use crate::nonce::zero_padded;
use crate::replay::{ReplayError, ReplayWindow};

/// Opens the packets of one session, in place and without allocating.
///
/// It keeps no state between packets: the nonce is in each packet, and whether a packet was seen
/// before is for the receiver of the stream to decide, by its sequence number or with a
/// [`ReplayWindow`].
///
/// In every mode the plain packet is at the start of the buffer afterwards; where the tag was
/// between header and ciphertext, the body was moved.
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
/// Sealer::new(Mode::XChaCha20Poly1305Rtpsize, key, 1).seal_rtp(&mut datagram, 17).unwrap();
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
        Self::with_backend(Backend::preferred(), mode, key)
    }

    /// Makes an opener that decrypts with `backend`.
    #[must_use]
    pub fn with_backend(backend: Backend, mode: Mode, key: &SecretKey) -> Self {
        Self { cipher: Cipher::new(backend, mode, key), mode }
    }

    /// Opens a sealed RTP packet in place and says where in it the media is.
    ///
    /// The payload is exact: the body of the extension and the padding are not part of it. It may
    /// be empty: packets of padding alone are valid and carry nothing.
    ///
    /// # Errors
    ///
    /// Every [`OpenError`] but [`Replayed`](OpenError::Replayed). After
    /// [`TooShort`](OpenError::TooShort) `packet` is as it was, after the others its contents behind
    /// the clear part are unspecified and must not be used.
    pub fn open_rtp(&self, packet: &mut [u8]) -> Result<OpenedRtp, OpenError> {
        let clear_len = self.mode.rtp_clear_len(packet).map_err(|_| OpenError::TooShort)?;
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

    /// Opens a sealed RTP packet like [`open_rtp`](Self::open_rtp), unless `window` says that it was
    /// opened before.
    ///
    /// The window has to be that of the packet's SSRC, which the caller looks up; one window for two
    /// streams would refuse true packets. It is asked before anything is decrypted, and told only of
    /// packets that are authentic: a forged one changes nothing. For an SSRC without a window, open
    /// with a new one and keep it when the packet opened: whoever keeps windows for SSRCs that
    /// anybody can invent keeps them without limit.
    ///
    /// # Errors
    ///
    /// Those of [`open_rtp`](Self::open_rtp), and [`OpenError::Replayed`], with nothing changed.
    pub fn open_rtp_once<const WORDS: usize>(
        &self,
        window: &mut ReplayWindow<WORDS>,
        packet: &mut [u8],
    ) -> Result<OpenedRtp, OpenError> {
        let Some(&[_, _, s0, s1, ..]) = packet.first_chunk::<{ RtpHeader::LEN }>() else {
            return Err(OpenError::TooShort);
        };
        let sequence = Sequence::new(u16::from_be_bytes([s0, s1]));
        window.check(sequence).map_err(OpenError::Replayed)?;
        let opened = self.open_rtp(packet);
        // An authentic packet of a bad shape was received as well: it cannot come twice.
        if !matches!(opened, Err(OpenError::TooShort | OpenError::Auth)) {
            window.accept(sequence);
        }
        opened
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
    /// The first `clear_len` bytes stay as they are; the plain packet is they and the decrypted
    /// bytes behind them.
    ///
    /// # Errors
    ///
    /// [`OpenError::TooShort`] when there is no room for the clear part, tag and nonce suffix, with
    /// nothing changed. [`OpenError::Auth`] when the packet is not authentic; the bytes behind the
    /// clear part are then unspecified.
    #[inline]
    pub fn open(&self, packet: &mut [u8], clear_len: usize) -> Result<usize, OpenError> {
        match &self.cipher {
            Cipher::Aead(aead) => {
                let (rest, suffix) = packet.split_last_chunk_mut::<SUFFIX_LEN>().ok_or(OpenError::TooShort)?;
                let (clear, sealed) = rest.split_at_mut_checked(clear_len).ok_or(OpenError::TooShort)?;
                if sealed.len() < TAG_LEN {
                    return Err(OpenError::TooShort);
                }
                aead.open(*suffix, clear, sealed).map_err(|_| OpenError::Auth)?;
                Ok(packet.len() - OVERHEAD)
            }
            #[cfg(feature = "legacy")]
            Cipher::Secretbox(secretbox) => {
                let end = packet.len().checked_sub(self.mode.suffix_len()).ok_or(OpenError::TooShort)?;
                let (rest, suffix) = packet.split_at_mut_checked(end).ok_or(OpenError::TooShort)?;
                let (clear, sealed) = rest.split_at_mut_checked(clear_len).ok_or(OpenError::TooShort)?;
                let (tag, body) = sealed.split_first_chunk_mut::<TAG_LEN>().ok_or(OpenError::TooShort)?;
                // The nonce is at the end of the packet or, without a suffix, is the header.
                let nonce = zero_padded(if suffix.is_empty() { clear } else { suffix });
                secretbox.open(&nonce, tag, body).map_err(|_| OpenError::Auth)?;
                sealed.copy_within(TAG_LEN.., 0);
                Ok(packet.len() - self.mode.overhead())
            }
        }
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
    /// The header, now authentic if [`Mode::authenticates_header`].
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
    /// The packet was opened before, or is too old to tell. Only from
    /// [`Opener::open_rtp_once`].
    Replayed(ReplayError),
    /// The packet is authentic and its RTP version is not 2.
    BadVersion,
    /// The packet is authentic and has fewer contributing sources than it announces.
    ///
    /// Only in modes that encrypt the sources; in the others it is [`TooShort`](Self::TooShort).
    CsrcOverrun,
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
            Self::Replayed(_) => "the packet may have been opened before",
            Self::BadVersion => "rtp version is not 2",
            Self::CsrcOverrun => "contributing sources run past the end",
            Self::ExtensionOverrun => "extension body runs past the end",
            Self::PaddingZero => "padding count is zero",
            Self::PaddingOverrun => "padding is larger than the payload",
        })
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Replayed(source) => Some(source),
            _ => None,
        }
    }
}

impl From<ParseError> for OpenError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::BadVersion => Self::BadVersion,
            ParseError::CsrcOverrun => Self::CsrcOverrun,
            ParseError::ExtensionPreambleOverrun | ParseError::ExtensionOverrun => Self::ExtensionOverrun,
            ParseError::PaddingZero => Self::PaddingZero,
            ParseError::PaddingOverrun => Self::PaddingOverrun,
            // The fixed header was there before opening, so nothing else is left.
            _ => Self::TooShort,
        }
    }
}

/// What of an RTCP packet stays clear, in bytes: the common header and the sender's SSRC.
///
/// RFC 3711, section 3.4, which Discord keeps in every mode.
pub(crate) const RTCP_CLEAR_LEN: usize = 8;
