//! AES-128-GCM with a tag of 8 bytes (NIST SP 800-38D), the only place that names its implementation.
//!
//! The block cipher and the hash are those of RustCrypto. They are put together here, and not by its `aes-gcm`,
//! because a frame of audio is short: there, a call for one block costs more than half of a call for sixteen. So all
//! blocks of such a frame go through either in one call. Tests compare with `aes-gcm`.

use std::fmt;

use aes::{
    Aes128Enc, Block,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use ghash::{GHash, universal_hash::UniversalHash};
use subtle::ConstantTimeEq;

use super::ratchet::Key;

/// The cipher of one generation, with its key schedule.
pub(super) struct Cipher {
    aes: Aes128Enc,
    /// Nothing hashed yet.
    ghash: GHash,
}

impl Cipher {
    pub(super) fn new(key: &Key) -> Self {
        let aes = Aes128Enc::new(key.expose().into());
        let mut subkey = Block::default();
        aes.encrypt_block(&mut subkey);
        let ghash = GHash::new(&subkey);
        zeroize::Zeroize::zeroize(subkey.as_mut_slice());
        Self { aes, ghash }
    }

    /// Encrypts in place and returns the tag.
    pub(super) fn seal(&self, nonce: u32, clear: &[u8], secret: &mut [u8]) -> [u8; TAG_LEN] {
        let mut first = [Block::default(); SHORT];
        self.start(nonce, secret.len(), &mut first);
        self.apply(nonce, &first, secret);
        self.tag(&first[0], clear, secret)
    }

    /// Decrypts in place; when the tag is not that of these bytes, which is compared in constant time, nothing
    /// is changed.
    #[must_use]
    pub(super) fn open(&self, nonce: u32, clear: &[u8], secret: &mut [u8], tag: &[u8; TAG_LEN]) -> bool {
        let mut first = [Block::default(); SHORT];
        self.start(nonce, secret.len(), &mut first);
        let authentic: bool = self.tag(&first[0], clear, secret).ct_eq(tag).into();
        if authentic {
            self.apply(nonce, &first, secret);
        }
        authentic
    }

    #[inline]
    fn start(&self, nonce: u32, len: usize, first: &mut First) {
        self.keystream(nonce, 1, &mut first[..SHORT.min(1 + len.div_ceil(BLOCK_LEN))]);
    }

    /// Encrypts or decrypts, which is the same.
    #[inline]
    fn apply(&self, nonce: u32, first: &First, bytes: &mut [u8]) {
        let (head, rest) = bytes.split_at_mut(bytes.len().min((SHORT - 1) * BLOCK_LEN));
        xor(head, &first[1..]);
        if !rest.is_empty() {
            self.apply_long(nonce, rest);
        }
    }

    fn apply_long(&self, nonce: u32, bytes: &mut [u8]) {
        let mut blocks = [Block::default(); LONG];
        for (part, counter) in bytes.chunks_mut(LONG * BLOCK_LEN).zip((1 + SHORT as u32..).step_by(LONG)) {
            let blocks = &mut blocks[..part.len().div_ceil(BLOCK_LEN)];
            self.keystream(nonce, counter, blocks);
            xor(part, blocks);
        }
    }

    /// Blocks from a counter on; no frame has as many as there are counters.
    #[inline]
    fn keystream(&self, nonce: u32, counter: u32, blocks: &mut [Block]) {
        for (block, counter) in blocks.iter_mut().zip(counter..) {
            // The nonce of the trailer at the end of AES-GCM's, little-endian (DAVE protocol, "Payload Format").
            block[..8].fill(0);
            block[8..12].copy_from_slice(&nonce.to_le_bytes());
            block[12..].copy_from_slice(&counter.to_be_bytes());
        }
        self.aes.encrypt_blocks(blocks);
    }

    /// The tag of bytes in the clear and of encrypted ones (section 7.1, steps 5 to 7).
    fn tag(&self, mask: &Block, clear: &[u8], encrypted: &[u8]) -> [u8; TAG_LEN] {
        let lengths = ((bits(clear) << 64) | bits(encrypted)).to_be_bytes();
        let count = clear.len().div_ceil(BLOCK_LEN) + encrypted.len().div_ceil(BLOCK_LEN) + 1;
        let mut ghash = self.ghash.clone();
        if count <= SHORT {
            let mut blocks = [Block::default(); SHORT];
            // Zeros before the first block change nothing, and fours of blocks are hashed faster than single ones.
            let end = count.next_multiple_of(HASHED_AT_ONCE);
            let begin = end - count;
            let (front, back) = blocks[begin..end].split_at_mut(clear.len().div_ceil(BLOCK_LEN));
            copy_padded(clear, front);
            copy_padded(encrypted, back);
            blocks[end - 1] = lengths.into();
            ghash.update(&blocks[..end]);
        } else {
            ghash.update_padded(clear);
            ghash.update_padded(encrypted);
            ghash.update(&[lengths.into()]);
        }
        let hash = ghash.finalize();
        std::array::from_fn(|index| hash[index] ^ mask[index])
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher([..])")
    }
}

/// The beginning of a nonce's key stream: the block that hides the tag, and as many after it as are needed.
type First = [Block; SHORT];

fn xor(bytes: &mut [u8], keystream: &[Block]) {
    let (whole, rest) = bytes.as_chunks_mut();
    for (bytes, key) in whole.iter_mut().zip(keystream) {
        *bytes = (u128::from_ne_bytes(*bytes) ^ u128::from_ne_bytes((*key).into())).to_ne_bytes();
    }
    let last = keystream.get(whole.len()).into_iter().flatten();
    for (byte, key) in rest.iter_mut().zip(last) {
        *byte ^= key;
    }
}

/// Fills blocks of zeros with bytes.
fn copy_padded(bytes: &[u8], blocks: &mut [Block]) {
    let (whole, rest) = bytes.as_chunks();
    for (bytes, block) in whole.iter().zip(&mut *blocks) {
        *block = (*bytes).into();
    }
    if let Some(block) = blocks.get_mut(whole.len()) {
        block[..rest.len()].copy_from_slice(rest);
    }
}

fn bits(bytes: &[u8]) -> u128 {
    bytes.len() as u128 * 8
}

/// The first 8 of AES-GCM's 16 tag bytes (DAVE protocol, "Payload Format").
pub(super) const TAG_LEN: usize = 8;

/// The length of a block of AES in bytes.
const BLOCK_LEN: usize = 16;

/// How many blocks are encrypted, and hashed, in one call for a frame of up to 240 bytes.
const SHORT: usize = 16;

/// How many blocks of the rest of a longer one are encrypted in one call.
const LONG: usize = 64;

/// How many blocks the hash takes together; [`SHORT`] is a multiple of it.
const HASHED_AT_ONCE: usize = 4;

#[cfg(test)]
mod tests {
    use aes_gcm::{
        AeadInOut, AesGcm,
        aead::consts::{U8, U12},
        aes::Aes128,
    };
    use proptest::prelude::*;

    use super::*;

    type Reference = AesGcm<Aes128, U12, U8>;

    #[test]
    fn every_length_of_a_frame_is_encrypted_as_the_reference_does() {
        for len in (0..600).chain([1275, 4096, 70_001]) {
            check([7; 16], 0x0102_0304, &[], &vec![0xA5; len]);
        }
        for len in 0..70 {
            check([9; 16], u32::MAX, &vec![3; len], &vec![0x5A; 70 - len]);
        }
    }

    proptest! {
        #[test]
        fn any_frame_is_encrypted_as_the_reference_does(
            key: [u8; 16],
            nonce: u32,
            clear in proptest::collection::vec(any::<u8>(), 0..400),
            secret in proptest::collection::vec(any::<u8>(), 0..1500),
        ) {
            check(key, nonce, &clear, &secret);
        }

        #[test]
        fn a_changed_bit_is_refused_and_changes_nothing(
            clear in proptest::collection::vec(any::<u8>(), 0..40),
            secret in proptest::collection::vec(any::<u8>(), 0..400),
            place: proptest::sample::Index,
            bit in 0..8,
        ) {
            let cipher = Cipher::new(&Key::new([7; 16]));
            let (mut sealed, mut clear) = (secret, clear);
            let mut tag = cipher.seal(1, &clear, &mut sealed);
            let index = place.index(clear.len() + sealed.len() + TAG_LEN);
            *clear.iter_mut().chain(&mut sealed).chain(&mut tag).nth(index).unwrap() ^= 1_u8 << bit;
            let mut opened = sealed.clone();
            prop_assert!(!cipher.open(1, &clear, &mut opened, &tag));
            prop_assert_eq!(opened, sealed);
        }
    }

    fn check(key: [u8; 16], nonce: u32, clear: &[u8], secret: &[u8]) {
        let (cipher, reference) = (Cipher::new(&Key::new(key)), Reference::new(&key.into()));
        let mut full_nonce = [0; 12];
        full_nonce[8..].copy_from_slice(&nonce.to_le_bytes());
        let (mut sealed, mut expected) = (secret.to_vec(), secret.to_vec());
        let tag = cipher.seal(nonce, clear, &mut sealed);
        let reference =
            reference.encrypt_inout_detached(&full_nonce.into(), clear, expected.as_mut_slice().into()).unwrap();
        assert_eq!((&sealed, tag.as_slice()), (&expected, reference.as_slice()));
        assert!(cipher.open(nonce, clear, &mut sealed, &tag));
        assert_eq!(sealed, secret);
    }
}
