//! The key of a session.

use core::fmt;

use zeroize::Zeroize;

/// The 32-byte key of a session: erased when dropped, printed as `[..]`, never copied.
///
/// It is the `secret_key` of the session description, used without derivation for both directions
/// and for RTP and RTCP alike.
///
/// ```
/// let key = voice_crypto::SecretKey::new([7; 32]);
/// assert_eq!(format!("{key:?}"), "SecretKey([..])");
/// ```
pub struct SecretKey([u8; Self::LEN]);

impl SecretKey {
    /// The length of a key, in bytes.
    pub const LEN: usize = 32;

    /// Makes a key of `bytes`. The caller's copy is the caller's to erase.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    #[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
    pub(crate) const fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<&[u8; 32]> for SecretKey {
    /// Copies the key from where it is, without a second copy on the stack to erase.
    fn from(bytes: &[u8; 32]) -> Self {
        let mut key = Self([0; Self::LEN]);
        key.0.copy_from_slice(bytes);
        key
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey([..])")
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
