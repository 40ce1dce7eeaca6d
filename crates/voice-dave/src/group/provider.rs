//! The engine's cryptography, with a memory of the signatures that hold.
//!
//! The engine checks both signatures of every key package once more in each commit over it, and a new proposal
//! means a new commit over all of them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mls_rs::{
    CipherSuite, CipherSuiteProvider, CryptoProvider,
    crypto::{HpkeCiphertext, HpkePsk, HpkePublicKey, HpkeSecretKey, SignaturePublicKey, SignatureSecretKey},
};
use mls_rs_crypto_awslc::{AwsLcCipherSuite, AwsLcCryptoProvider};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::wire::{BadSignature, verify};

/// The one suite of a call.
#[derive(Clone, Default)]
pub(super) struct Provider {
    verified: Verified,
    /// The keys that anything was authenticated with: what a member who lies knows as well.
    #[cfg(test)]
    pub(super) mac_keys: Arc<Mutex<HashSet<Vec<u8>>>>,
}

impl Provider {
    /// Checks a signature; one that was checked before costs a hash.
    pub(super) fn verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.verified.check(key, message, signature, || verify(key, message, signature))
    }
}

impl CryptoProvider for Provider {
    type CipherSuiteProvider = Suite;

    fn supported_cipher_suites(&self) -> Vec<CipherSuite> {
        vec![CipherSuite::P256_AES128]
    }

    fn cipher_suite_provider(&self, suite: CipherSuite) -> Option<Suite> {
        let enabled = AwsLcCryptoProvider::with_enabled_cipher_suites(self.supported_cipher_suites());
        let inner = enabled.cipher_suite_provider(suite)?;
        Some(Suite {
            inner,
            verified: self.verified.clone(),
            #[cfg(test)]
            mac_keys: Arc::clone(&self.mac_keys),
        })
    }
}

/// Hashes of key, message and signature that belong together.
#[derive(Clone, Default)]
struct Verified(Arc<Mutex<HashSet<[u8; 32]>>>);

impl Verified {
    fn check<E>(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
        verify: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut hash = Sha256::new();
        for part in [key, message, signature] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let hash = hash.finalize().into();
        if self.lock().contains(&hash) {
            return Ok(());
        }
        verify()?;
        let mut verified = self.lock();
        if verified.len() >= MAX_VERIFIED {
            verified.clear();
        }
        verified.insert(hash);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many signatures are remembered: those of the key packages and leaves of a large call.
const MAX_VERIFIED: usize = 1024;

/// The suite of aws-lc; only the check of signatures is not passed on as it is.
#[derive(Clone)]
pub(super) struct Suite {
    inner: AwsLcCipherSuite,
    verified: Verified,
    #[cfg(test)]
    mac_keys: Arc<Mutex<HashSet<Vec<u8>>>>,
}

type InnerError = <AwsLcCipherSuite as CipherSuiteProvider>::Error;

impl CipherSuiteProvider for Suite {
    type Error = InnerError;
    type HpkeContextR = <AwsLcCipherSuite as CipherSuiteProvider>::HpkeContextR;
    type HpkeContextS = <AwsLcCipherSuite as CipherSuiteProvider>::HpkeContextS;

    fn verify(&self, key: &SignaturePublicKey, signature: &[u8], data: &[u8]) -> Result<(), InnerError> {
        self.verified.check(key, data, signature, || self.inner.verify(key, signature, data))
    }

    fn cipher_suite(&self) -> CipherSuite {
        self.inner.cipher_suite()
    }

    fn hash(&self, data: &[u8]) -> Result<Vec<u8>, InnerError> {
        self.inner.hash(data)
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, InnerError> {
        #[cfg(test)]
        self.mac_keys.lock().unwrap().insert(key.to_vec());
        self.inner.mac(key, data)
    }

    fn aead_seal(&self, key: &[u8], data: &[u8], aad: Option<&[u8]>, nonce: &[u8]) -> Result<Vec<u8>, InnerError> {
        self.inner.aead_seal(key, data, aad, nonce)
    }

    fn aead_open(
        &self,
        key: &[u8],
        ciphertext: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, InnerError> {
        self.inner.aead_open(key, ciphertext, aad, nonce)
    }

    fn aead_key_size(&self) -> usize {
        self.inner.aead_key_size()
    }

    fn aead_nonce_size(&self) -> usize {
        self.inner.aead_nonce_size()
    }

    fn kdf_extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Zeroizing<Vec<u8>>, InnerError> {
        self.inner.kdf_extract(salt, ikm)
    }

    fn kdf_expand(&self, prk: &[u8], info: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, InnerError> {
        self.inner.kdf_expand(prk, info, len)
    }

    fn kdf_extract_size(&self) -> usize {
        self.inner.kdf_extract_size()
    }

    fn hpke_seal(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        pt: &[u8],
    ) -> Result<HpkeCiphertext, InnerError> {
        self.inner.hpke_seal(remote_key, info, aad, pt)
    }

    fn hpke_seal_psk(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        pt: &[u8],
        psk: HpkePsk<'_>,
    ) -> Result<HpkeCiphertext, InnerError> {
        self.inner.hpke_seal_psk(remote_key, info, aad, pt, psk)
    }

    fn hpke_open(
        &self,
        ciphertext: &HpkeCiphertext,
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, InnerError> {
        self.inner.hpke_open(ciphertext, local_secret, local_public, info, aad)
    }

    fn hpke_open_psk(
        &self,
        ciphertext: &HpkeCiphertext,
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        psk: HpkePsk<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, InnerError> {
        self.inner.hpke_open_psk(ciphertext, local_secret, local_public, info, aad, psk)
    }

    fn hpke_setup_s(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
    ) -> Result<(Vec<u8>, Self::HpkeContextS), InnerError> {
        self.inner.hpke_setup_s(remote_key, info)
    }

    fn hpke_setup_r(
        &self,
        kem_output: &[u8],
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
    ) -> Result<Self::HpkeContextR, InnerError> {
        self.inner.hpke_setup_r(kem_output, local_secret, local_public, info)
    }

    fn kem_derive(&self, ikm: &[u8]) -> Result<(HpkeSecretKey, HpkePublicKey), InnerError> {
        self.inner.kem_derive(ikm)
    }

    fn kem_generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey), InnerError> {
        self.inner.kem_generate()
    }

    fn kem_public_key_validate(&self, key: &HpkePublicKey) -> Result<(), InnerError> {
        self.inner.kem_public_key_validate(key)
    }

    fn random_bytes(&self, out: &mut [u8]) -> Result<(), InnerError> {
        self.inner.random_bytes(out)
    }

    fn signature_key_generate(&self) -> Result<(SignatureSecretKey, SignaturePublicKey), InnerError> {
        self.inner.signature_key_generate()
    }

    fn signature_key_derive_public(&self, secret_key: &SignatureSecretKey) -> Result<SignaturePublicKey, InnerError> {
        self.inner.signature_key_derive_public(secret_key)
    }

    fn sign(&self, secret_key: &SignatureSecretKey, data: &[u8]) -> Result<Vec<u8>, InnerError> {
        self.inner.sign(secret_key, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    #[test]
    fn only_what_holds_is_remembered() {
        let (provider, key) = (Provider::default(), SigningKey::generate());
        let (public, signature) = (key.public_key(), key.sign(b"message"));
        for _ in 0..2 {
            assert!(provider.verify(&public, b"massage", &signature).is_err());
            assert!(provider.verify(&public, b"message", &signature[1..]).is_err());
            assert!(provider.verify(&public, b"message", &signature).is_ok());
        }
        assert_eq!(provider.verified.lock().len(), 1);
    }

    #[test]
    fn parts_are_told_apart_and_the_memory_is_bounded() {
        let verified = Verified::default();
        let refuse = || Err(());
        assert_eq!(verified.check(b"key", b"message", b"", || Ok::<_, ()>(())), Ok(()));
        assert_eq!(verified.check(b"key", b"message", b"", refuse), Ok(()));
        assert_eq!(verified.check(b"keym", b"essage", b"", refuse), Err(()));
        for number in 0..5000u32 {
            verified.check(&number.to_be_bytes(), b"", b"", || Ok::<_, ()>(())).unwrap();
            assert!(verified.lock().len() <= MAX_VERIFIED);
        }
    }
}
