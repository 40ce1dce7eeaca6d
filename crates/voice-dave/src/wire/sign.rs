//! What is hashed and what is signed.

use sha2::{Digest, Sha256};

use super::{ProposalRef, reader::write_vector};

/// The reference of a proposal (RFC 9420, section 5.2).
///
/// `message` is the whole public message of a proposal that is not from a member. Too short for one, it has the
/// reference of nothing.
#[must_use]
pub fn proposal_ref(message: &[u8]) -> ProposalRef {
    ProposalRef(ref_hash("MLS 1.0 Proposal Reference", message.get(2..).unwrap_or_default()))
}

/// The reference of a bare key package (RFC 9420, section 5.2).
#[must_use]
pub fn key_package_ref(key_package: &[u8]) -> [u8; 32] {
    ref_hash("MLS 1.0 KeyPackage Reference", key_package)
}

fn ref_hash(label: &str, value: &[u8]) -> [u8; 32] {
    let mut input = Vec::with_capacity(label.len() + value.len() + 8);
    write_vector(&mut input, label.as_bytes());
    write_vector(&mut input, value);
    Sha256::digest(&input).into()
}

/// The bytes that are signed for a content under a label, without the prefix that all labels have
/// (RFC 9420, section 5.1.2, "SignWithLabel").
///
/// The content is given in pieces that follow each other.
#[must_use]
pub fn sign_content(label: &str, content: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(label.len() + content.iter().map(|piece| piece.len()).sum::<usize>() + 16);
    write_vector(&mut out, &[b"MLS 1.0 ", label.as_bytes()].concat());
    write_vector(&mut out, &content.concat());
    out
}
