//! What a sender's keys are made of.

use std::{fmt, hint::black_box};

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

    /// Compares without telling by its duration where they differ.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
        difference == 0
    }
}

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
        let secret = BaseSecret::new([5; 16]);
        assert!(secret.same_as(&BaseSecret::new([5; 16])));
        for index in 0..16 {
            let mut bytes = [5; 16];
            bytes[index] ^= 0x80;
            assert!(!secret.same_as(&BaseSecret::new(bytes)));
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", BaseSecret::new([0xAB; 16])), "BaseSecret([..])");
    }
}
