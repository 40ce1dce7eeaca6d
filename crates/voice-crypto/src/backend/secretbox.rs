//! XSalsa20-Poly1305, which NaCl calls a secretbox; for the discontinued modes.

use crypto_secretbox::{AeadInPlace, KeyInit, XSalsa20Poly1305};

use super::Refused;
use crate::key::SecretKey;
use crate::mode::{NONCE_LEN, TAG_LEN};

/// The cipher and its key, which is erased when dropped.
///
/// It authenticates nothing but what it encrypts, and compares the tag in constant time before it
/// decrypts.
pub(crate) struct Secretbox(XSalsa20Poly1305);

impl Secretbox {
    pub(crate) fn new(key: &[u8; SecretKey::LEN]) -> Self {
        Self(XSalsa20Poly1305::new(key.into()))
    }

    /// Encrypts `in_out` in place and writes the tag.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        in_out: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        *tag = self.0.encrypt_in_place_detached(nonce.into(), &[], in_out).map_err(|_| Refused)?.into();
        Ok(())
    }

    /// Decrypts `in_out` in place, or leaves it as it is.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], tag: &[u8; TAG_LEN], in_out: &mut [u8]) -> Result<(), Refused> {
        self.0.decrypt_in_place_detached(nonce.into(), &[], in_out, tag.into()).map_err(|_| Refused)
    }
}
