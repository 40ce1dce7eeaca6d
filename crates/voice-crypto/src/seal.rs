//! Protecting packets, and owning the numbers that must never repeat.

use core::fmt;

use voice_rtp::{ParseError, unencrypted_len};

use crate::backend::Cipher;
use crate::key::SecretKey;
use crate::mode::{Mode, OVERHEAD, SUFFIX_LEN, TAG_LEN};
use crate::open::RTCP_CLEAR_LEN;

/// Seals the packets of one direction of one session, in place and without allocating.
///
/// It owns the nonce counter. The counter moves with every packet and cannot be set, and the sealer
/// cannot be cloned, so no two packets of one sealer share a nonce. Make **one** sealer per key and
/// direction and keep it as long as the key: a resumed session keeps both.
///
/// ```
/// use voice_crypto::{Mode, OVERHEAD, Opener, Sealer, SecretKey};
///
/// let key = SecretKey::new([7; 32]);
/// let mut sealer = Sealer::new(Mode::Aes256GcmRtpsize, &key, 1);
///
/// let plain = [0x80, 0x78, 0, 1, 0, 0, 3, 0xC0, 0, 5, 0xA1, 0x7C, 0xF8, 0xFF, 0xFE];
/// let mut datagram = [0; 15 + OVERHEAD];
/// datagram[..15].copy_from_slice(&plain);
/// let len = sealer.seal_rtp(&mut datagram, 15)?;
/// assert_eq!(len, 35);
/// assert_eq!(datagram[..12], plain[..12]); // the header stays readable
/// assert_eq!(datagram[31..], [0, 0, 0, 1]); // the nonce suffix
///
/// let opened = Opener::new(Mode::Aes256GcmRtpsize, &key).open_rtp(&mut datagram).unwrap();
/// assert_eq!(datagram[opened.payload], [0xF8, 0xFF, 0xFE]);
/// # Ok::<(), voice_crypto::SealError>(())
/// ```
///
/// A copy would repeat the nonces of the original, so there are none:
///
/// ```compile_fail,E0599
/// # use voice_crypto::{Mode, Sealer, SecretKey};
/// let sealer = Sealer::new(Mode::Aes256GcmRtpsize, &SecretKey::new([7; 32]), 1);
/// let copy = sealer.clone();
/// ```
pub struct Sealer {
    cipher: Cipher,
    mode: Mode,
    order: SuffixOrder,
    first_nonce: u32,
    used: u32,
    limit: u32,
}

impl Sealer {
    /// Makes a sealer whose first packet has the nonce `first_nonce`.
    ///
    /// Both directions use one key, so a random start makes it unlikely that the counters of the
    /// two sides meet.
    #[must_use]
    pub fn new(mode: Mode, key: &SecretKey, first_nonce: u32) -> Self {
        Self::with_limit(mode, key, first_nonce, MAX_PACKETS)
    }

    /// Makes a sealer that refuses after `packets` packets, at most [`MAX_PACKETS`].
    ///
    /// For sessions that must renew their key earlier, and for tests of what happens then.
    ///
    /// ```
    /// use voice_crypto::{Mode, SealError, Sealer, SecretKey};
    ///
    /// let mut sealer = Sealer::with_limit(Mode::Aes256GcmRtpsize, &SecretKey::new([7; 32]), 0, 1);
    /// let mut rtcp = [0; 28];
    /// assert_eq!(sealer.seal_rtcp(&mut rtcp, 8), Ok(28));
    /// assert_eq!(sealer.seal_rtcp(&mut rtcp, 8), Err(SealError::NonceExhausted));
    /// ```
    #[must_use]
    pub fn with_limit(mode: Mode, key: &SecretKey, first_nonce: u32, packets: u32) -> Self {
        Self {
            cipher: Cipher::new(mode, key.bytes()),
            mode,
            order: SuffixOrder::BigEndian,
            first_nonce,
            used: 0,
            limit: packets.min(MAX_PACKETS),
        }
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
        assert!(self.used == 0, "the suffix order is chosen before the first packet");
        self.order = order;
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
        let clear_len = unencrypted_len(plain).map_err(SealError::Header)?;
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
    /// The first `clear_len` bytes stay readable and are authenticated, the rest is encrypted. The
    /// tag and the nonce suffix go behind it, so `buffer` needs [`OVERHEAD`] bytes after `len`.
    ///
    /// # Errors
    ///
    /// [`SealError::Bounds`] or [`SealError::NoRoom`] when the lengths do not fit, with nothing
    /// changed. [`SealError::NonceExhausted`] when the key is used up, with nothing changed.
    /// [`SealError::Cipher`] when the cipher failed; the buffer must not be sent.
    pub fn seal(&mut self, buffer: &mut [u8], clear_len: usize, len: usize) -> Result<usize, SealError> {
        let (plain, room) = buffer.split_at_mut_checked(len).ok_or(SealError::Bounds)?;
        let (clear, secret) = plain.split_at_mut_checked(clear_len).ok_or(SealError::Bounds)?;
        let (tag, room) = room.split_first_chunk_mut::<TAG_LEN>().ok_or(SealError::NoRoom)?;
        let suffix = room.first_chunk_mut::<SUFFIX_LEN>().ok_or(SealError::NoRoom)?;

        *suffix = self.next_suffix()?;
        self.cipher.seal(*suffix, clear, secret, tag).map_err(|_| SealError::Cipher)?;
        Ok(len + OVERHEAD)
    }

    /// Returns how many packets this sealer can still seal.
    ///
    /// Rejoin the call, which brings a new key, well before it reaches 0.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        (self.limit - self.used) as u64
    }

    /// Returns the mode of the session.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes the next value of the counter. It is spent whatever happens to the packet.
    fn next_suffix(&mut self) -> Result<[u8; SUFFIX_LEN], SealError> {
        if self.used >= self.limit {
            return Err(SealError::NonceExhausted);
        }
        let nonce = self.first_nonce.wrapping_add(self.used);
        self.used += 1;
        Ok(match self.order {
            SuffixOrder::BigEndian => nonce.to_be_bytes(),
            SuffixOrder::LittleEndian => nonce.to_le_bytes(),
        })
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("mode", &self.mode).field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

/// How a sealer writes its counter at the end of a packet.
///
/// Receivers copy the four bytes without interpreting them, so either order is understood.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum SuffixOrder {
    /// The order of most clients.
    #[default]
    BigEndian,
    /// The order of the media servers.
    LittleEndian,
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
    NonceExhausted,
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

/// How many packets one sealer seals at most: 65 536 fewer than there are nonces.
///
/// At 50 packets a second that is 994 days. Stopping early leaves room for counting wrongly by a
/// little, and none for repeating a nonce.
pub const MAX_PACKETS: u32 = u32::MAX - 0xFFFF;
