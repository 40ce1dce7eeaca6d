//! The MLS messages of a call as they are on the wire: views that borrow, and writers.
//!
//! No MLS engine is behind this: it reads what a delivery service has to check and what a member checks
//! before its engine sees a message. Nothing is allocated while reading; every length is compared with the
//! bytes that are there, and lengths must have their shortest form.
//!
//! ```
//! use voice_dave::wire::{ExternalProposal, ProposalBody, PublicMessage, Content, Proposal};
//!
//! let remove = ExternalProposal { group_id: &[7; 8], epoch: 3, sender_index: 0, body: ProposalBody::Remove(2) };
//! let message = remove.with_signature(b"signature");
//! let (read, used) = PublicMessage::parse(&message)?;
//! assert_eq!((read.epoch, used), (3, message.len()));
//! assert!(matches!(read.content, Content::Proposal(Proposal::Remove(2))));
//! # Ok::<(), voice_dave::wire::WireError>(())
//! ```
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod commit;
mod key_package;
mod message;
mod proposal;
mod reader;
mod sign;
#[cfg(feature = "signature")]
mod signature;
mod tree;
mod welcome;

use std::{error::Error, fmt};

pub use commit::{Commit, ProposalOrRef, ProposalsOrRefs, UpdatePath};
pub use key_package::{Capabilities, Credential, KeyPackage, LeafNode, LeafSource, Lifetime, U16s};
pub use message::{CommitWelcome, Content, PublicMessage, Sender};
pub use proposal::{
    AppendList, ExternalProposal, Proposal, ProposalBody, ProposalRef, RevokeList, write_append, write_revoke,
};
pub use sign::{key_package_ref, proposal_ref, sign_content};
#[cfg(feature = "signature")]
pub use signature::{BadKey, BadSignature, SigningKey, is_public_key, verify};
pub use tree::TreeShape;
pub use welcome::{ExternalSender, Secrets, Welcome, WelcomeSecret};

/// The version of MLS, 1.0 (RFC 9420, section 17.4 "protocol versions").
pub const MLS_10: u16 = 1;

/// The suite of DAVE's protocol version 1: P-256, AES-128-GCM, SHA-256 (RFC 9420, section 17.1).
pub const CIPHER_SUITE: u16 = 2;

/// The credential that is a plain identity (RFC 9420, section 17.5).
pub const BASIC_CREDENTIAL: u16 = 1;

/// The type of a proposal that adds a member (RFC 9420, section 17.4).
pub const PROPOSAL_ADD: u16 = 1;

/// The type of a proposal that removes a member (RFC 9420, section 17.4).
pub const PROPOSAL_REMOVE: u16 = 3;

/// A message is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError {
    kind: ErrorKind,
    offset: usize,
}

impl WireError {
    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it is wrong, in bytes from the start of what was parsed.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            ErrorKind::Truncated => "the bytes end too early",
            ErrorKind::Trailing => "bytes follow the end",
            ErrorKind::Length => "a length is not in its shortest form",
            ErrorKind::Value => "a value has no meaning here",
            ErrorKind::Version => "not a message of MLS 1.0",
            ErrorKind::NotPublic => "not a public message",
        };
        write!(f, "{text} (at byte {})", self.offset)
    }
}

impl Error for WireError {}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes end before the structure does.
    Truncated,
    /// The structure ends before the bytes do.
    Trailing,
    /// A length is not in its shortest form, or in the form that has no meaning.
    Length,
    /// A value is none of those that the structure allows.
    Value,
    /// The protocol version is not MLS 1.0.
    Version,
    /// The message is of another kind than a public one.
    NotPublic,
}
