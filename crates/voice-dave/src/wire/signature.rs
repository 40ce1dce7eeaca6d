//! ECDSA with P-256 and SHA-256, the signatures of DAVE's protocol version 1.

use std::{error::Error, fmt, sync::Arc};

use aws_lc_rs::{
    encoding::AsBigEndian,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
        UnparsedPublicKey,
    },
};
use zeroize::Zeroizing;

/// A private key that signs, of a member or of a voice gateway.
///
/// Clones share the key; it is erased with the last one. `Debug` prints nothing of it.
///
/// ```
/// use voice_dave::{SigningKey, wire};
///
/// let key = SigningKey::generate();
/// let signature = key.sign(b"message");
/// assert!(wire::verify(&key.public_key(), b"message", &signature).is_ok());
///
/// // The same key again, from what was kept of it.
/// let same = SigningKey::from_bytes(&key.to_bytes())?;
/// assert_eq!(same.public_key(), key.public_key());
/// # Ok::<(), wire::BadKey>(())
/// ```
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    pair: EcdsaKeyPair,
    public: [u8; PUBLIC_LEN],
    private: Zeroizing<[u8; PRIVATE_LEN]>,
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Panics
    ///
    /// The operating system has no randomness.
    #[must_use]
    pub fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key needs only randomness");
        Self::from_pair(pair).expect("a new key has the form of its curve")
    }

    /// Takes a key that was kept: the private number of 32 bytes, big-endian.
    ///
    /// # Errors
    ///
    /// The number is 0 or not below the order of the curve.
    pub fn from_bytes(private: &[u8; PRIVATE_LEN]) -> Result<Self, BadKey> {
        // RFC 5915 without the public key, which the library then computes.
        let mut der = Zeroizing::new(Vec::with_capacity(DER_PREFIX.len() + PRIVATE_LEN + DER_SUFFIX.len()));
        der.extend_from_slice(&DER_PREFIX);
        der.extend_from_slice(private);
        der.extend_from_slice(&DER_SUFFIX);
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &der)
            .ok()
            .and_then(Self::from_pair)
            .ok_or(BadKey(()))
    }

    /// Takes a key that was kept in the form PKCS #8.
    ///
    /// # Errors
    ///
    /// The bytes are not a key of P-256 in that form.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadKey> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
            .ok()
            .and_then(Self::from_pair)
            .ok_or(BadKey(()))
    }

    fn from_pair(pair: EcdsaKeyPair) -> Option<Self> {
        let public = pair.public_key().as_ref().try_into().ok()?;
        let scalar = pair.private_key().as_be_bytes().ok()?;
        let mut private = Zeroizing::new([0; PRIVATE_LEN]);
        private.copy_from_slice(scalar.as_ref().get(..PRIVATE_LEN)?);
        Some(Self(Arc::new(Inner { pair, public, private })))
    }

    /// The private number, to be kept in a safe place: who has it can speak as this user.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; PRIVATE_LEN]> {
        self.0.private.clone()
    }

    /// The public key, an uncompressed point.
    #[must_use]
    pub fn public_key(&self) -> [u8; PUBLIC_LEN] {
        self.0.public
    }

    /// The signature over a message, in DER.
    ///
    /// # Panics
    ///
    /// The operating system has no randomness.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.pair.sign(&SystemRandom::new(), message).expect("signing needs only randomness").as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([..])")
    }
}

/// The length of a private number of P-256 in bytes (SEC 1, section 2.3.7).
const PRIVATE_LEN: usize = 32;

/// The length of an uncompressed point of P-256 in bytes (SEC 1, section 2.3.3).
const PUBLIC_LEN: usize = 65;

/// Start of an `ECPrivateKey` in DER: version 1, an octet string of 32 bytes (RFC 5915, section 3).
const DER_PREFIX: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];

/// End of it: the curve P-256 by its object identifier (RFC 5480, section 2.1.1.1).
const DER_SUFFIX: [u8; 12] = [0xA0, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];

/// Checks the signature of a public key over a message.
///
/// # Errors
///
/// The key is not a point of P-256, or the signature is not its signature over the message.
pub fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    // Calls use the uncompressed form only; the library would take others too.
    if public_key.len() != PUBLIC_LEN {
        return Err(BadSignature(()));
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key).verify(message, signature).map_err(|_| BadSignature(()))
}

/// Whether the bytes are a public key: an uncompressed point that lies on the curve.
#[must_use]
pub fn is_public_key(bytes: &[u8]) -> bool {
    bytes.len() == PUBLIC_LEN && ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bytes).is_ok()
}

/// A signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSignature(());

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature does not hold")
    }
}

impl Error for BadSignature {}

/// Bytes are not a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey(());

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are not a private key of P-256")
    }
}

impl Error for BadKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let (key, other) = (SigningKey::generate(), SigningKey::generate());
        let signature = key.sign(b"message");
        assert_eq!(verify(&key.public_key(), b"message", &signature), Ok(()));
        assert_eq!(verify(&other.public_key(), b"message", &signature), Err(BadSignature(())));
        assert_eq!(verify(&key.public_key(), b"massage", &signature), Err(BadSignature(())));
        assert_eq!(verify(&key.public_key(), b"message", &signature[1..]), Err(BadSignature(())));
        assert_eq!(verify(&[], b"message", &signature), Err(BadSignature(())));
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        let key = SigningKey::generate();
        let again = SigningKey::from_bytes(&key.to_bytes()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(verify(&key.public_key(), b"message", &again.sign(b"message")), Ok(()));
        assert_eq!(format!("{key:?}"), "SigningKey([..])");
    }

    #[test]
    fn points_off_the_curve_are_no_public_keys() {
        let mut point = SigningKey::generate().public_key();
        assert!(is_public_key(&point));
        assert!(!is_public_key(&point[1..]));
        point[64] ^= 1;
        assert!(!is_public_key(&point));
        assert!(!is_public_key(&[4; 65]));
    }

    #[test]
    fn numbers_outside_of_the_curve_are_no_keys() {
        assert!(SigningKey::from_bytes(&[0; 32]).is_err());
        assert!(SigningKey::from_bytes(&[0xFF; 32]).is_err());
        assert!(SigningKey::from_pkcs8(&[0x30, 0x00]).is_err());
    }
}
