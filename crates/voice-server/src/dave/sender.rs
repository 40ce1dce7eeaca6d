//! The external sender: the voice gateway as one who proposes without being a member.

use voice_dave::SigningKey;
use voice_dave::wire::{
    BASIC_CREDENTIAL, CIPHER_SUITE, ExternalProposal, ExternalSender, MLS_10, ProposalBody, sign_content,
};
use voice_model::UserId;

use crate::random::Random;

/// The key of a channel's external sender.
pub(crate) struct Signer(SigningKey);

impl Signer {
    /// The key that a stream of random numbers determines.
    pub(crate) fn new(random: &mut Random) -> Self {
        loop {
            // All but one in 2^32 numbers of 32 bytes are a private key.
            if let Ok(key) = SigningKey::from_bytes(&random.bytes()) {
                return Self(key);
            }
        }
    }

    /// The payload of op 25.
    pub(crate) fn package(&self) -> Vec<u8> {
        let mut package = Vec::new();
        let signature_key = &self.0.public_key();
        ExternalSender { signature_key, credential_type: BASIC_CREDENTIAL, identity: &IDENTITY }.write(&mut package);
        package
    }

    /// A proposal as a message.
    pub(crate) fn propose(&self, group_id: &[u8], epoch: u64, body: ProposalBody<'_>) -> Vec<u8> {
        self.propose_as(0, group_id, epoch, body)
    }

    /// A good key package of a user with this key. Nobody can join by it: the other two keys are nobody's.
    pub(crate) fn key_package(&self, user: UserId) -> Vec<u8> {
        let [init, encryption] =
            [[1; 32], [2; 32]].map(|bytes| SigningKey::from_bytes(&bytes).expect("a small number"));
        self.key_package_of(user, &init.public_key(), &encryption.public_key())
    }

    /// A key package of a user with this key, to be added by the first of two others and be a member with the second.
    pub(crate) fn key_package_of(&self, user: UserId, init: &[u8], encryption: &[u8]) -> Vec<u8> {
        let [key, init, encryption] = [&self.0.public_key(), init, encryption].map(vector);
        let identity = vector(&user.get().to_be_bytes());
        let mut leaf = [&encryption, &key, &BASIC_CREDENTIAL.to_be_bytes()[..], &identity, &LEAF_END].concat();
        let signature = self.0.sign(&sign_content("LeafNodeTBS", &[&leaf]));
        leaf.extend_from_slice(&vector(&signature));
        let mut package = [&MLS_10.to_be_bytes()[..], &CIPHER_SUITE.to_be_bytes(), &init, &leaf, &[0]].concat();
        let signature = self.0.sign(&sign_content("KeyPackageTBS", &[&package]));
        package.extend_from_slice(&vector(&signature));
        package
    }

    /// A proposal in the name of another external sender of the group.
    pub(crate) fn propose_as(&self, sender_index: u32, group_id: &[u8], epoch: u64, body: ProposalBody<'_>) -> Vec<u8> {
        ExternalProposal { group_id, epoch, sender_index, body }.sign(&self.0)
    }
}

/// A vector of at most 16383 bytes (RFC 9420, section 2.1.2).
fn vector(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut out = match u8::try_from(len) {
        Ok(len @ ..=0x3F) => vec![len],
        _ => (len | 0x4000).to_be_bytes().to_vec(),
    };
    out.extend_from_slice(bytes);
    out
}

/// What a leaf of a key package says after its credential: MLS 1.0, suite 2, no extensions, no
/// proposals, basic credentials; from a key package of unlimited lifetime; no extensions.
const LEAF_END: [u8; 29] =
    [2, 0, 1, 2, 0, 2, 0, 0, 2, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0];

/// Any identity will do; this is the one of the known answers of DAVE libraries.
const IDENTITY: [u8; 4] = [0, 1, 1, 0];
