//! Proposals, and the lists of them that a voice gateway sends.

use std::fmt;

use super::{
    ErrorKind, KeyPackage, LeafNode, PROPOSAL_ADD, PROPOSAL_REMOVE, PublicMessage, WireError,
    key_package::extensions,
    reader::{Reader, write_vector},
    sign::sign_content,
};

/// A proposed change of the group (RFC 9420, section 12.1).
#[expect(clippy::large_enum_variant, reason = "a view lives on the stack; a box would allocate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposal<'a> {
    /// Adds who made the key package.
    Add(KeyPackage<'a>),
    /// Removes the member at this leaf.
    Remove(u32),
    /// A change that has no place in a call.
    Other {
        /// The type of the proposal.
        kind: u16,
        /// What follows the type.
        body: &'a [u8],
    },
}

impl<'a> Proposal<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let unknown = reader.error(ErrorKind::Value);
        let kind = reader.u16()?;
        let start = reader.position();
        match kind {
            PROPOSAL_ADD => return KeyPackage::read(reader).map(Self::Add),
            PROPOSAL_REMOVE => return reader.u32().map(Self::Remove),
            UPDATE => {
                LeafNode::read(reader)?;
            }
            PRE_SHARED_KEY => {
                let unknown = reader.error(ErrorKind::Value);
                match reader.u8()? {
                    1 => {
                        reader.vector()?;
                    }
                    2 => {
                        reader.u8()?;
                        reader.vector()?;
                        reader.u64()?;
                    }
                    _ => return Err(unknown),
                }
                reader.vector()?;
            }
            RE_INIT => {
                reader.vector()?;
                reader.u32()?;
                extensions(reader)?;
            }
            EXTERNAL_INIT => {
                reader.vector()?;
            }
            GROUP_CONTEXT_EXTENSIONS => {
                extensions(reader)?;
            }
            _ => return Err(unknown),
        }
        Ok(Self::Other { kind, body: reader.since(start) })
    }

    /// Writes it from its parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Add(package) => {
                out.extend_from_slice(&PROPOSAL_ADD.to_be_bytes());
                package.write(out);
            }
            Self::Remove(leaf) => ProposalBody::Remove(*leaf).write(out),
            Self::Other { kind, body } => ProposalBody::Other { kind: *kind, body }.write(out),
        }
    }
}

const UPDATE: u16 = 2;
const PRE_SHARED_KEY: u16 = 4;
const RE_INIT: u16 = 5;
const EXTERNAL_INIT: u16 = 6;
const GROUP_CONTEXT_EXTENSIONS: u16 = 7;

/// The hash that names a proposal in a commit (RFC 9420, section 5.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProposalRef(pub [u8; 32]);

impl ProposalRef {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let wrong = reader.error(ErrorKind::Value);
        reader.vector()?.try_into().map(Self).map_err(|_| wrong)
    }
}

impl fmt::Debug for ProposalRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "ProposalRef({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// The messages of opcode 27 that append proposals (DAVE protocol, "dave_mls_proposals").
#[derive(Clone, Copy)]
pub struct AppendList<'a>(Reader<'a>);

impl<'a> AppendList<'a> {
    /// Reads the payload after the operation.
    ///
    /// # Errors
    ///
    /// The payload is not one vector. What is in it is checked by the iteration.
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        whole_vector(payload).map(Self)
    }
}

/// Yields each message with its bytes; ends after the first that cannot be read.
impl<'a> Iterator for AppendList<'a> {
    type Item = Result<(PublicMessage<'a>, &'a [u8]), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_item(&mut self.0, |reader| {
            let start = reader.position();
            let message = PublicMessage::read(reader)?;
            Ok((message, reader.since(start)))
        })
    }
}

/// The references of opcode 27 that revoke proposals (DAVE protocol, "dave_mls_proposals").
#[derive(Clone, Copy)]
pub struct RevokeList<'a>(Reader<'a>);

impl<'a> RevokeList<'a> {
    /// Reads the payload after the operation.
    ///
    /// # Errors
    ///
    /// The payload is not one vector. What is in it is checked by the iteration.
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        whole_vector(payload).map(Self)
    }
}

/// Yields each reference; ends after the first that cannot be read.
impl Iterator for RevokeList<'_> {
    type Item = Result<ProposalRef, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_item(&mut self.0, ProposalRef::read)
    }
}

fn whole_vector(payload: &[u8]) -> Result<Reader<'_>, WireError> {
    let mut outer = Reader::new(payload);
    let inner = outer.sub()?;
    outer.finish()?;
    Ok(inner)
}

fn next_item<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, WireError>,
) -> Option<Result<T, WireError>> {
    if reader.is_empty() {
        return None;
    }
    let item = read(reader);
    if item.is_err() {
        *reader = Reader::new(&[]);
    }
    Some(item)
}

/// Writes the payload of an appending opcode 27, after the operation.
#[must_use]
pub fn write_append<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut inner = Vec::new();
    for message in messages {
        inner.extend_from_slice(message);
    }
    in_vector(&inner)
}

/// Writes the payload of a revoking opcode 27, after the operation.
#[must_use]
pub fn write_revoke(refs: impl IntoIterator<Item = ProposalRef>) -> Vec<u8> {
    let mut inner = Vec::new();
    for reference in refs {
        write_vector(&mut inner, &reference.0);
    }
    in_vector(&inner)
}

fn in_vector(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inner.len() + 4);
    write_vector(&mut out, inner);
    out
}

/// A proposal of the voice gateway to be written, an MLS message from an external sender.
#[derive(Clone, Copy, Debug)]
pub struct ExternalProposal<'a> {
    /// The group that it is for.
    pub group_id: &'a [u8],
    /// The epoch that it is for.
    pub epoch: u64,
    /// Which of the group's external senders speaks; 0 in a call.
    pub sender_index: u32,
    /// The change.
    pub body: ProposalBody<'a>,
}

/// The change in an [`ExternalProposal`].
#[derive(Clone, Copy, Debug)]
pub enum ProposalBody<'a> {
    /// Adds who made this bare key package.
    Add(&'a [u8]),
    /// Removes the member at this leaf.
    Remove(u32),
    /// Any other change, which members refuse.
    Other {
        /// The type of the proposal.
        kind: u16,
        /// What follows the type.
        body: &'a [u8],
    },
}

impl ProposalBody<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Add(package) => {
                out.extend_from_slice(&PROPOSAL_ADD.to_be_bytes());
                out.extend_from_slice(package);
            }
            Self::Remove(leaf) => {
                out.extend_from_slice(&PROPOSAL_REMOVE.to_be_bytes());
                out.extend_from_slice(&leaf.to_be_bytes());
            }
            Self::Other { kind, body } => {
                out.extend_from_slice(&kind.to_be_bytes());
                out.extend_from_slice(body);
            }
        }
    }
}

impl ExternalProposal<'_> {
    /// The message without its signature.
    fn unsigned(&self) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 1];
        write_vector(&mut out, self.group_id);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&self.sender_index.to_be_bytes());
        out.extend_from_slice(&[0, 2]);
        self.body.write(&mut out);
        out
    }

    /// The bytes that the external sender signs (RFC 9420, section 6.1).
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        sign_content("FramedContentTBS", &[&self.unsigned()])
    }

    /// The message with a signature made over [`signed_bytes`](Self::signed_bytes).
    #[must_use]
    pub fn with_signature(&self, signature: &[u8]) -> Vec<u8> {
        let mut out = self.unsigned();
        write_vector(&mut out, signature);
        out
    }

    /// The message, signed.
    #[cfg(feature = "signature")]
    #[must_use]
    pub fn sign(&self, key: &super::SigningKey) -> Vec<u8> {
        self.with_signature(&key.sign(&self.signed_bytes()))
    }
}
