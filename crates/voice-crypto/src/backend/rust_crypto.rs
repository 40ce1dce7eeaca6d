//! The ciphers of the RustCrypto project.
//!
//! Both compare the tag in constant time and before they decrypt.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::XChaCha20Poly1305;

use super::Refused;
use crate::key::SecretKey;
use crate::mode::{SUFFIX_LEN, TAG_LEN};

/// A cipher and its key. Both erase what they hold when dropped.
#[expect(clippy::large_enum_variant, reason = "boxing needs an allocator")]
pub(crate) enum Aead {
    /// The key schedule is computed once.
    Aes(Aes256Gcm),
    /// The session key, from which each packet's subkey is derived on the stack.
    XChaCha(XChaCha20Poly1305),
}

impl Aead {
    pub(crate) fn aes(key: &[u8; SecretKey::LEN]) -> Self {
        Self::Aes(Aes256Gcm::new(key.into()))
    }

    pub(crate) fn xchacha(key: &[u8; SecretKey::LEN]) -> Self {
        Self::XChaCha(XChaCha20Poly1305::new(key.into()))
    }

    /// Encrypts `in_out` in place and writes the tag.
    pub(crate) fn seal(
        &self,
        suffix: [u8; SUFFIX_LEN],
        clear: &[u8],
        in_out: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let sealed = match self {
            Self::Aes(aead) => aead.encrypt_inout_detached((&zero_padded(suffix)).into(), clear, in_out.into()),
            Self::XChaCha(aead) => aead.encrypt_inout_detached((&zero_padded(suffix)).into(), clear, in_out.into()),
        };
        *tag = sealed.map_err(|_| Refused)?.into();
        Ok(())
    }

    /// Decrypts `in_out` in place, which ends with the tag.
    pub(crate) fn open(&self, suffix: [u8; SUFFIX_LEN], clear: &[u8], in_out: &mut [u8]) -> Result<(), Refused> {
        let (body, tag) = in_out.split_last_chunk_mut::<TAG_LEN>().ok_or(Refused)?;
        let tag = (&*tag).into();
        let opened = match self {
            Self::Aes(aead) => aead.decrypt_inout_detached((&zero_padded(suffix)).into(), clear, body.into(), tag),
            Self::XChaCha(aead) => aead.decrypt_inout_detached((&zero_padded(suffix)).into(), clear, body.into(), tag),
        };
        opened.map_err(|_| Refused)
    }
}

/// Returns the nonce: the suffix and as many zero bytes as the cipher wants.
fn zero_padded<const LEN: usize>(suffix: [u8; SUFFIX_LEN]) -> [u8; LEN] {
    let mut nonce = [0; LEN];
    for (to, from) in nonce.iter_mut().zip(suffix) {
        *to = from;
    }
    nonce
}
