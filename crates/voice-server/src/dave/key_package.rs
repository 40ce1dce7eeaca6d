//! What a key package has to be before anybody is told of it.

use core::ops::RangeInclusive;

use voice_dave::wire::{
    BASIC_CREDENTIAL, CIPHER_SUITE, KeyPackage, LeafSource, Lifetime, MLS_10, is_public_key, verify,
};
use voice_model::UserId;

use crate::dave::stats::DaveRefusal;

/// A key package that is good, until it is used.
#[derive(Debug)]
pub(crate) struct KeptPackage {
    pub(crate) bytes: Vec<u8>,
    /// The hash that names it in a welcome.
    pub(crate) reference: [u8; 32],
    pub(crate) init_key: Vec<u8>,
    pub(crate) leaf: LeafKeys,
}

/// The keys of a leaf, which no other leaf of a tree may have (RFC 9420, section 7.3).
#[derive(Clone, Debug, Default)]
pub(crate) struct LeafKeys {
    pub(crate) signature: Vec<u8>,
    pub(crate) encryption: Vec<u8>,
}

impl LeafKeys {
    pub(crate) fn overlap(&self, other: &Self) -> bool {
        self.signature == other.signature || self.encryption == other.encryption
    }
}

impl KeptPackage {
    /// Takes the payload of op 26 from a user.
    pub(crate) fn check(user: UserId, bytes: &[u8], limit: usize) -> Result<Self, DaveRefusal> {
        if bytes.len() > limit {
            return Err(DaveRefusal::KeyPackageTooLong);
        }
        let package = KeyPackage::parse(bytes).map_err(|_| DaveRefusal::KeyPackageMalformed)?;
        let leaf = &package.leaf;
        // Members refuse to add somebody who does not claim to understand the group.
        let understands = leaf.capabilities.versions.iter().any(|version| version == MLS_10)
            && leaf.capabilities.cipher_suites.iter().any(|suite| suite == CIPHER_SUITE)
            && leaf.capabilities.credentials.iter().any(|kind| kind == BASIC_CREDENTIAL);
        // RFC 9420, section 7.2: what everybody understands must not be listed.
        let lists_defaults = leaf.capabilities.extensions.iter().any(|kind| DEFAULT_EXTENSIONS.contains(&kind))
            || leaf.capabilities.proposals.iter().any(|kind| DEFAULT_PROPOSALS.contains(&kind));
        if package.cipher_suite != CIPHER_SUITE || !understands || lists_defaults {
            return Err(DaveRefusal::KeyPackageSuite);
        }
        // DAVE protocol, "Leaf Node Contents": there are none, so nobody has to understand them.
        if !package.extensions.is_empty() || !leaf.extensions.is_empty() {
            return Err(DaveRefusal::KeyPackageExtensions);
        }
        if leaf.credential.user_id() != Some(user) {
            return Err(DaveRefusal::KeyPackageCredential);
        }
        if leaf.source != LeafSource::KeyPackage(Lifetime::UNLIMITED) {
            return Err(DaveRefusal::KeyPackageLifetime);
        }
        // Nobody could commit the addition, nor any other that is proposed with it.
        let keys = [package.init_key, leaf.encryption_key];
        if !keys.into_iter().all(is_public_key) || package.init_key == leaf.encryption_key {
            return Err(DaveRefusal::KeyPackageKeys);
        }
        // A leaf of a key package has no place in a tree yet.
        let signed = [
            verify(leaf.signature_key, &leaf.signed_bytes(&[], 0), leaf.signature),
            verify(leaf.signature_key, &package.signed_bytes(), package.signature),
        ];
        if signed.iter().any(Result::is_err) {
            return Err(DaveRefusal::KeyPackageSignature);
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            reference: package.reference(),
            init_key: package.init_key.to_vec(),
            leaf: LeafKeys { signature: leaf.signature_key.to_vec(), encryption: leaf.encryption_key.to_vec() },
        })
    }

    /// Whether a group cannot have both: nobody could commit that.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.leaf.overlap(&other.leaf)
            || self.init_key == other.init_key
            || self.init_key == other.leaf.encryption
            || self.leaf.encryption == other.init_key
    }
}

/// Types of extensions that everybody understands (RFC 9420, section 17.3).
const DEFAULT_EXTENSIONS: RangeInclusive<u16> = 1..=5;

/// Types of proposals that everybody understands (RFC 9420, section 17.4).
const DEFAULT_PROPOSALS: RangeInclusive<u16> = 1..=7;
