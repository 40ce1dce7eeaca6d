//! What a sender's keys are made of.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

/// The secret that one sender's keys of one epoch are made of.
///
/// It is the MLS exporter's output for that sender (DAVE protocol, "Sender Key Derivation"). It is not `Clone`,
/// is never printed, and is wiped when it is dropped.
///
/// ```
/// use voice_dave::BaseSecret;
///
/// let secret = BaseSecret::new([7; 16]);
/// assert_eq!(format!("{secret:?}"), "BaseSecret([..])");
/// ```
pub struct BaseSecret([u8; Self::LEN]);

impl BaseSecret {
    /// The length of a base secret in bytes (DAVE protocol, "Sender Key Derivation").
    pub const LEN: usize = 16;

    /// Takes over a secret.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// What tells it from others for as long as it takes, after it is gone itself.
    pub(crate) fn id(&self) -> SecretId {
        SecretId(Sha256::digest(self.0).into())
    }
}

/// The hash of a base secret: says which one it was, and nothing of what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecretId([u8; 32]);

impl Drop for BaseSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for BaseSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BaseSecret([..])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_only_in_all_their_bytes() {
        let id = BaseSecret::new([5; 16]).id();
        assert_eq!(id, BaseSecret::new([5; 16]).id());
        for index in 0..16 {
            let mut bytes = [5; 16];
            bytes[index] ^= 0x80;
            assert_ne!(id, BaseSecret::new(bytes).id());
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", BaseSecret::new([0xAB; 16])), "BaseSecret([..])");
    }
}
