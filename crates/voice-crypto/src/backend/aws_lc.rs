//! The ciphers of AWS-LC.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use chacha20::hchacha;
use zeroize::{Zeroize, Zeroizing};

use super::Refused;
use crate::key::SecretKey;
use crate::mode::{SUFFIX_LEN, TAG_LEN};

/// A cipher and its key.
pub(crate) enum Aead {
    /// The key schedule is computed once.
    Aes(LessSafeKey),
    /// The session key. Each packet has its own subkey, because the counter is in the part of the
    /// nonce that the subkey is derived from.
    XChaCha(Zeroizing<[u8; SecretKey::LEN]>),
}

impl Aead {
    pub(crate) fn aes(key: &[u8; SecretKey::LEN]) -> Self {
        Self::Aes(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes")))
    }

    pub(crate) fn xchacha(key: &[u8; SecretKey::LEN]) -> Self {
        Self::XChaCha(Zeroizing::new(*key))
    }

    /// Encrypts `in_out` in place and writes the tag.
    pub(crate) fn seal(
        &self,
        suffix: [u8; SUFFIX_LEN],
        clear: &[u8],
        in_out: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        self.with_key(suffix, |key, nonce| {
            // The tag goes where the packet wants it, without a detour through a `Tag`.
            key.seal_in_place_scatter(nonce, Aad::from(clear), in_out, &[], tag)
        })
    }

    /// Decrypts `in_out` in place, which ends with the tag.
    pub(crate) fn open(&self, suffix: [u8; SUFFIX_LEN], clear: &[u8], in_out: &mut [u8]) -> Result<(), Refused> {
        self.with_key(suffix, |key, nonce| key.open_in_place(nonce, Aad::from(clear), in_out).map(|_| ()))
    }

    /// Runs `operation` with the AEAD key and the 12-byte nonce that belong to `suffix`.
    fn with_key(
        &self,
        suffix: [u8; SUFFIX_LEN],
        operation: impl FnOnce(&LessSafeKey, Nonce) -> Result<(), aws_lc_rs::error::Unspecified>,
    ) -> Result<(), Refused> {
        let [s0, s1, s2, s3] = suffix;
        let done = match self {
            // Nonce: the suffix and eight zero bytes.
            Self::Aes(key) => {
                let nonce = [s0, s1, s2, s3, 0, 0, 0, 0, 0, 0, 0, 0];
                operation(key, Nonce::assume_unique_for_key(nonce))
            }
            // The 24-byte nonce is the suffix and twenty zero bytes. Its first sixteen make the
            // subkey, its last eight follow four zero bytes in the nonce of the inner cipher:
            // draft-irtf-cfrg-xchacha-03, section 2.3.
            Self::XChaCha(key) => {
                let input = [s0, s1, s2, s3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                let mut subkey = hchacha::<chacha20::R20>((&**key).into(), (&input).into());
                let inner = UnboundKey::new(&CHACHA20_POLY1305, subkey.as_slice());
                subkey.as_mut_slice().zeroize();
                let inner = LessSafeKey::new(inner.map_err(|_| Refused)?);
                operation(&inner, Nonce::assume_unique_for_key([0; NONCE_LEN]))
            }
        };
        done.map_err(|_| Refused)
    }
}
