//! AES-128-GCM with a tag of 8 bytes, the only place that names its implementation.

use std::fmt;

use aes_gcm::{
    AeadInOut, AesGcm, KeyInit,
    aead::consts::{U8, U12},
    aes::Aes128Enc,
};

use super::ratchet::Key;

/// The cipher of one generation, with its key schedule.
pub(super) struct Cipher(AesGcm<Aes128Enc, U12, U8>);

impl Cipher {
    pub(super) fn new(key: &Key) -> Self {
        Self(AesGcm::new(key.expose().into()))
    }

    /// Encrypts in place and returns the tag.
    pub(super) fn seal(&self, nonce: u32, clear: &[u8], secret: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self.0.encrypt_inout_detached(&full_nonce(nonce).into(), clear, secret.into());
        tag.expect("a frame is shorter than AES-GCM's limit of 64 GiB").into()
    }

    /// Decrypts in place; when the tag is not that of these bytes, which is compared in constant time, nothing
    /// is changed.
    #[must_use]
    pub(super) fn open(&self, nonce: u32, clear: &[u8], secret: &mut [u8], tag: &[u8; TAG_LEN]) -> bool {
        self.0.decrypt_inout_detached(&full_nonce(nonce).into(), clear, secret.into(), tag.into()).is_ok()
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher([..])")
    }
}

/// The nonce of the trailer at the end of AES-GCM's, little-endian (DAVE protocol, "Payload Format").
fn full_nonce(nonce: u32) -> [u8; 12] {
    let mut full = [0; 12];
    full[8..].copy_from_slice(&nonce.to_le_bytes());
    full
}

/// The first 8 of AES-GCM's 16 tag bytes (DAVE protocol, "Payload Format").
pub(super) const TAG_LEN: usize = 8;
