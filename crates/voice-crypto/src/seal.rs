//! Protecting packets, and owning the numbers that must never repeat.

use core::fmt;

use voice_rtp::ParseError;

use crate::backend::{Backend, Cipher};
use crate::key::SecretKey;
use crate::mode::{Mode, OVERHEAD, SUFFIX_LEN, TAG_LEN};
use crate::nonce::{MAX_PACKETS, NonceStart, Nonces, SuffixOrder};
use crate::open::RTCP_CLEAR_LEN;

/// Seals the packets of one direction of one session, in place and without allocating.
///
/// It owns the nonces. Their counter is shared by RTP and RTCP, moves with every packet and cannot
/// be set, and the sealer cannot be cloned, so no two packets of one sealer share a nonce. Where the
/// header is the nonce (`xsalsa20_poly1305`), a header that could repeat one is refused. A sealer takes
/// the key, which cannot be cloned, so there is one per key: make the [`Opener`](crate::Opener) of
/// the other direction first, and keep both as long as the session, also when it resumes.
///
/// In every mode the caller puts the plain packet at the start of a buffer and gets the sealed one
/// there, [`Mode::overhead`] bytes longer. Where the tag belongs between header and ciphertext (the
/// `xsalsa20_poly1305` modes), the sealer moves the body.
///
/// ```
/// use voice_crypto::{Mode, OVERHEAD, Opener, Sealer, SecretKey};
///
/// let key = SecretKey::new([7; 32]);
/// let opener = Opener::new(Mode::Aes256GcmRtpsize, &key);
/// let mut sealer = Sealer::new(Mode::Aes256GcmRtpsize, key, 1);
///
/// let plain = [0x80, 0x78, 0, 1, 0, 0, 3, 0xC0, 0, 5, 0xA1, 0x7C, 0xF8, 0xFF, 0xFE];
/// let mut datagram = [0; 15 + OVERHEAD];
/// datagram[..15].copy_from_slice(&plain);
/// let len = sealer.seal_rtp(&mut datagram, 15)?;
/// assert_eq!(len, 35);
/// assert_eq!(datagram[..12], plain[..12]); // the header stays readable
/// assert_eq!(datagram[31..], [0, 0, 0, 1]); // the nonce suffix
///
/// let opened = opener.open_rtp(&mut datagram).unwrap();
/// assert_eq!(datagram[opened.payload], [0xF8, 0xFF, 0xFE]);
/// # Ok::<(), voice_crypto::SealError>(())
/// ```
///
/// A copy would repeat the nonces of the original, and so would a second sealer with the same key, so
/// there are none:
///
/// ```compile_fail,E0599
/// # use voice_crypto::{Mode, Sealer, SecretKey};
/// let sealer = Sealer::new(Mode::Aes256GcmRtpsize, SecretKey::new([7; 32]), 1);
/// let copy = sealer.clone();
/// ```
///
/// ```compile_fail,E0382
/// # use voice_crypto::{Mode, Sealer, SecretKey};
/// let key = SecretKey::new([7; 32]);
/// let sealer = Sealer::new(Mode::Aes256GcmRtpsize, key, 1);
/// let second = Sealer::new(Mode::Aes256GcmRtpsize, key, 1);
/// ```
pub struct Sealer {
    cipher: Cipher,
    mode: Mode,
    nonces: Nonces,
}

impl Sealer {
    /// Makes a sealer whose nonces begin at `start`, for most a random `u32`.
    #[must_use]
    pub fn new(mode: Mode, key: SecretKey, start: impl Into<NonceStart>) -> Self {
        Self::with_limit(mode, key, start, MAX_PACKETS)
    }

    /// Makes a sealer that encrypts with `backend`.
    #[must_use]
    pub fn with_backend(backend: Backend, mode: Mode, key: SecretKey, start: impl Into<NonceStart>) -> Self {
        Self { cipher: Cipher::new(backend, mode, &key), mode, nonces: Nonces::new(start.into(), MAX_PACKETS) }
    }

    /// Makes a sealer that refuses after `packets` packets, at most [`MAX_PACKETS`].
    ///
    /// For sessions that must renew their key earlier, and for tests of what happens then.
    ///
    /// ```
    /// use voice_crypto::{Mode, SealError, Sealer, SecretKey};
    ///
    /// let mut sealer = Sealer::with_limit(Mode::Aes256GcmRtpsize, SecretKey::new([7; 32]), 0, 1);
    /// let mut rtcp = [0; 28];
    /// assert_eq!(sealer.seal_rtcp(&mut rtcp, 8), Ok(28));
    /// assert_eq!(sealer.seal_rtcp(&mut rtcp, 8), Err(SealError::NonceExhausted));
    /// ```
    #[must_use]
    pub fn with_limit(mode: Mode, key: SecretKey, start: impl Into<NonceStart>, packets: u32) -> Self {
        let cipher = Cipher::new(Backend::preferred(), mode, &key);
        Self { cipher, mode, nonces: Nonces::new(start.into(), packets) }
    }

    /// Chooses how the counter is written at the end of a packet, before the first one.
    ///
    /// Changing it between packets could repeat a nonce.
    ///
    /// # Panics
    ///
    /// When a packet was already sealed.
    #[must_use]
    pub fn with_suffix_order(mut self, order: SuffixOrder) -> Self {
        self.nonces.set_order(order);
        self
    }

    /// Seals the plain RTP packet in `buffer[..len]` and returns the sealed length.
    ///
    /// Like [`seal`](Self::seal), with the clear part computed from the packet's own header.
    ///
    /// # Errors
    ///
    /// Those of [`seal`](Self::seal), and [`SealError::Header`] when the packet is too short for
    /// the header it announces.
    pub fn seal_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SealError> {
        let plain = buffer.get(..len).ok_or(SealError::Bounds)?;
        let clear_len = self.mode.rtp_clear_len(plain).map_err(SealError::Header)?;
        self.seal(buffer, clear_len, len)
    }

    /// Seals the plain RTCP packet in `buffer[..len]` and returns the sealed length.
    ///
    /// Eight bytes stay clear: the common header and the sender's SSRC.
    ///
    /// # Errors
    ///
    /// Those of [`seal`](Self::seal); [`SealError::Bounds`] also below eight bytes.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SealError> {
        self.seal(buffer, RTCP_CLEAR_LEN, len)
    }

    /// Seals the plain packet in `buffer[..len]` in place and returns the sealed length.
    ///
    /// The first `clear_len` bytes stay readable and, if the mode does that, are authenticated; the
    /// rest is encrypted. `buffer` needs [`Mode::overhead`] bytes after `len`; bytes behind those are
    /// left alone.
    ///
    /// For callers who know the clear part without reading it from the packet. In
    /// `xsalsa20_poly1305` the clear part is the nonce, so it is 12 bytes for RTP or 8 for RTCP.
    ///
    /// # Errors
    ///
    /// [`SealError::Bounds`] or [`SealError::NoRoom`] when the lengths do not fit, with nothing
    /// changed. [`SealError::NonceExhausted`] when the key is used up and
    /// [`SealError::NonceReused`] when the header would repeat a nonce, with nothing changed.
    /// [`SealError::Cipher`] when the cipher failed; the buffer must not be sent.
    #[inline]
    pub fn seal(&mut self, buffer: &mut [u8], clear_len: usize, len: usize) -> Result<usize, SealError> {
        let (plain, room) = buffer.split_at_mut_checked(len).ok_or(SealError::Bounds)?;
        let (clear, secret) = plain.split_at_mut_checked(clear_len).ok_or(SealError::Bounds)?;
        match &self.cipher {
            Cipher::Aead(aead) => {
                let (tag, room) = room.split_first_chunk_mut::<TAG_LEN>().ok_or(SealError::NoRoom)?;
                let suffix = room.first_chunk_mut::<SUFFIX_LEN>().ok_or(SealError::NoRoom)?;
                *suffix = self.nonces.next_suffix()?;
                aead.seal(*suffix, clear, secret, tag).map_err(|_| SealError::Cipher)?;
                Ok(len + OVERHEAD)
            }
            #[cfg(feature = "legacy")]
            Cipher::Secretbox(secretbox) => {
                let (suffix_len, secret_len) = (self.mode.suffix_len(), secret.len());
                if room.len() < self.mode.overhead() {
                    return Err(SealError::NoRoom);
                }
                let nonce = self.nonces.next_secretbox(self.mode, clear)?;

                // Tag, ciphertext and suffix follow the clear part, so the body moves.
                let (_, rest) = buffer.split_at_mut_checked(clear_len).ok_or(SealError::Bounds)?;
                rest.copy_within(..secret_len, TAG_LEN);
                let (tag, rest) = rest.split_first_chunk_mut::<TAG_LEN>().ok_or(SealError::NoRoom)?;
                let (secret, rest) = rest.split_at_mut_checked(secret_len).ok_or(SealError::NoRoom)?;
                secretbox.seal(&nonce, secret, tag).map_err(|_| SealError::Cipher)?;
                for (to, from) in rest.iter_mut().zip(nonce.iter().take(suffix_len)) {
                    *to = *from;
                }
                Ok(len + self.mode.overhead())
            }
        }
    }

    /// The counter of the next packet's nonce, for another sealer of the same key to go on with after this one is gone:
    /// with this start and [`remaining`](Self::remaining) as its limit no nonce comes twice. Not for the
    /// `xsalsa20_poly1305` modes, whose nonces are more than a counter.
    #[must_use]
    pub const fn next_counter(&self) -> u32 {
        self.nonces.counter()
    }

    /// Returns how many packets this sealer can still seal.
    ///
    /// Rejoin the call, which brings a new key, well before it reaches 0. In `xsalsa20_poly1305` it
    /// is an upper bound: headers run out earlier, see [`SealError::NonceExhausted`].
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.nonces.remaining() as u64
    }

    /// Returns the mode of the session.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("mode", &self.mode).field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SealError {
    /// The packet is longer than the buffer, or its clear part longer than the packet.
    Bounds,
    /// The packet is too short for the header it announces.
    Header(ParseError),
    /// The buffer has no room for the tag and the nonce suffix behind the packet.
    NoRoom,
    /// Every nonce the sealer may use is spent; the session needs a new key.
    ///
    /// In `xsalsa20_poly1305` also when the timestamps of a stream went once around, almost (24.8
    /// hours of audio), at the ninth SSRC, and at the ninth different RTCP header.
    NonceExhausted,
    /// The header is or could be that of an earlier packet and would repeat its nonce.
    ///
    /// Only in `xsalsa20_poly1305`. There each SSRC must go forward: a later timestamp (by less
    /// than half the range), or the same one and a sequence number that did not have it yet. SSRC 0
    /// is refused. An RTCP header is sealed once, so a second report of the same type and length is
    /// refused: that mode cannot protect both.
    NonceReused,
    /// The cipher failed.
    Cipher,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bounds => "the packet does not fit its buffer",
            Self::Header(_) => "the packet has no complete rtp header",
            Self::NoRoom => "no room for tag and nonce behind the packet",
            Self::NonceExhausted => "every nonce of this key is spent",
            Self::NonceReused => "the header would repeat a nonce",
            Self::Cipher => "the cipher failed",
        })
    }
}

impl core::error::Error for SealError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Header(source) => Some(source),
            _ => None,
        }
    }
}
