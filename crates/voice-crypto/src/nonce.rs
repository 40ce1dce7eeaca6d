//! The numbers that must never repeat.

use crate::mode::SUFFIX_LEN;
use crate::seal::SealError;
#[cfg(feature = "legacy")]
use crate::{
    mode::{Mode, NONCE_LEN},
    nonce::header::Headers,
};

#[cfg(feature = "legacy")]
pub(crate) mod header;

/// Where the nonces of a sealer begin.
///
/// Both directions of a session use one key, so a random start makes it unlikely that the nonces of
/// the two sides meet. Four random bytes ([`From<u32>`]) are all that most modes can use;
/// `xsalsa20_poly1305_suffix` has room for 24 (`From<[u8; 24]>`), and `xsalsa20_poly1305` uses none
/// of them, because there the header is the nonce.
///
/// ```
/// use voice_crypto::NonceStart;
///
/// let counter: NonceStart = 2_463_534_242.into();
/// let mut bytes = [0; 24];
/// bytes[..4].copy_from_slice(&2_463_534_242_u32.to_be_bytes());
/// assert_eq!(NonceStart::from(bytes), counter);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NonceStart {
    counter: u32,
    #[cfg(feature = "legacy")]
    rest: [u8; NONCE_LEN - SUFFIX_LEN],
}

impl From<u32> for NonceStart {
    /// The counter begins at `counter`; what else a nonce consists of is zero.
    fn from(counter: u32) -> Self {
        Self {
            counter,
            #[cfg(feature = "legacy")]
            rest: [0; NONCE_LEN - SUFFIX_LEN],
        }
    }
}

impl From<[u8; 24]> for NonceStart {
    /// The first four bytes are the counter, most significant first. The others stay as they are
    /// in every nonce of `xsalsa20_poly1305_suffix`, and are not used in other modes.
    fn from(bytes: [u8; 24]) -> Self {
        let [c0, c1, c2, c3, rest @ ..] = bytes;
        #[cfg(not(feature = "legacy"))]
        let _: [u8; 20] = rest;
        Self {
            counter: u32::from_be_bytes([c0, c1, c2, c3]),
            #[cfg(feature = "legacy")]
            rest,
        }
    }
}

/// How a sealer writes its counter at the end of a packet.
///
/// Receivers copy the four bytes without interpreting them, so either order is understood. The
/// 24 bytes of `xsalsa20_poly1305_suffix` always begin with a big-endian counter.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum SuffixOrder {
    /// The order of most clients.
    #[default]
    BigEndian,
    /// The order of the media servers.
    LittleEndian,
}

/// The nonces of one sealer: each is handed out once.
pub(crate) struct Nonces {
    start: NonceStart,
    order: SuffixOrder,
    used: u32,
    limit: u32,
    #[cfg(feature = "legacy")]
    headers: Headers,
}

impl Nonces {
    /// Begins at `start` and ends after `packets` packets, at most [`MAX_PACKETS`].
    pub(crate) fn new(start: NonceStart, packets: u32) -> Self {
        Self {
            start,
            order: SuffixOrder::BigEndian,
            used: 0,
            limit: packets.min(MAX_PACKETS),
            #[cfg(feature = "legacy")]
            headers: Headers::default(),
        }
    }

    /// # Panics
    ///
    /// When a nonce was already used: in another order it could come again.
    pub(crate) fn set_order(&mut self, order: SuffixOrder) {
        assert!(self.used == 0, "the suffix order is chosen before the first packet");
        self.order = order;
    }

    /// Takes the next four-byte nonce. It is spent whatever happens to the packet.
    #[inline]
    pub(crate) fn next_suffix(&mut self) -> Result<[u8; SUFFIX_LEN], SealError> {
        let counter = self.next_counter()?;
        Ok(match self.order {
            SuffixOrder::BigEndian => counter.to_be_bytes(),
            SuffixOrder::LittleEndian => counter.to_le_bytes(),
        })
    }

    /// Takes the next nonce for a packet with the clear part `clear`. It is spent whatever happens
    /// to the packet.
    ///
    /// `mode` is one over XSalsa20-Poly1305, and the same at every call.
    #[cfg(feature = "legacy")]
    pub(crate) fn next_secretbox(&mut self, mode: Mode, clear: &[u8]) -> Result<[u8; NONCE_LEN], SealError> {
        match mode {
            Mode::XSalsa20Poly1305 => {
                if self.remaining() == 0 {
                    return Err(SealError::NonceExhausted);
                }
                let nonce = self.headers.take(clear)?;
                self.used += 1;
                Ok(nonce)
            }
            Mode::XSalsa20Poly1305Suffix => {
                let mut nonce = [0; NONCE_LEN];
                let counter = self.next_counter()?.to_be_bytes();
                for (to, from) in nonce.iter_mut().zip(counter.iter().chain(&self.start.rest)) {
                    *to = *from;
                }
                Ok(nonce)
            }
            _ => Ok(zero_padded(&self.next_suffix()?)),
        }
    }

    pub(crate) const fn remaining(&self) -> u32 {
        self.limit - self.used
    }

    /// The counter of the next nonce.
    pub(crate) const fn counter(&self) -> u32 {
        self.start.counter.wrapping_add(self.used)
    }

    fn next_counter(&mut self) -> Result<u32, SealError> {
        if self.remaining() == 0 {
            return Err(SealError::NonceExhausted);
        }
        let counter = self.counter();
        self.used += 1;
        Ok(counter)
    }
}

/// Returns `bytes` and as many zeros as make a nonce.
#[cfg(feature = "legacy")]
pub(crate) fn zero_padded(bytes: &[u8]) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    for (to, from) in nonce.iter_mut().zip(bytes) {
        *to = *from;
    }
    nonce
}

/// How many packets one sealer seals at most: 65 536 fewer than there are nonces.
///
/// At 50 packets a second that is 994 days. Stopping early leaves room for counting wrongly by a
/// little, and none for repeating a nonce.
pub const MAX_PACKETS: u32 = u32::MAX - 0xFFFF;
