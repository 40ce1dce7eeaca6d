//! Commits.

use super::{
    ErrorKind, LeafNode, Proposal, ProposalRef, WireError,
    reader::{Reader, write_vector},
};

/// A commit: the proposals that make the next epoch (RFC 9420, section 12.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// What is committed, in order.
    pub proposals: ProposalsOrRefs<'a>,
    /// New keys from the committer's leaf to the root.
    pub path: Option<UpdatePath<'a>>,
}

impl<'a> Commit<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut list = reader.sub()?;
        let proposals = ProposalsOrRefs(list.rest());
        while !list.is_empty() {
            ProposalOrRef::read(&mut list)?;
        }
        let unknown = reader.error(ErrorKind::Value);
        let path = match reader.u8()? {
            0 => None,
            1 => Some(UpdatePath::read(reader)?),
            _ => return Err(unknown),
        };
        Ok(Self { proposals, path })
    }

    /// The references in order, if every proposal is one.
    #[must_use]
    pub fn references(&self) -> Option<Vec<ProposalRef>> {
        self.proposals
            .map(|proposal| match proposal {
                ProposalOrRef::Reference(reference) => Some(reference),
                ProposalOrRef::Proposal(_) => None,
            })
            .collect()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        for proposal in self.proposals {
            proposal.write(&mut list);
        }
        write_vector(out, &list);
        match &self.path {
            None => out.push(0),
            Some(path) => {
                out.push(1);
                path.leaf.write(out);
                write_vector(out, path.nodes);
            }
        }
    }
}

/// The list in a [`Commit`], which was read once before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposalsOrRefs<'a>(&'a [u8]);

impl<'a> Iterator for ProposalsOrRefs<'a> {
    type Item = ProposalOrRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.0);
        let item = ProposalOrRef::read(&mut reader).ok()?;
        self.0 = reader.rest();
        Some(item)
    }
}

/// One entry of a commit (RFC 9420, section 12.4).
#[expect(clippy::large_enum_variant, reason = "a view lives on the stack; a box would allocate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalOrRef<'a> {
    /// A proposal inside the commit, which calls do not allow.
    Proposal(Proposal<'a>),
    /// The reference of a proposal that was sent before.
    Reference(ProposalRef),
}

impl<'a> ProposalOrRef<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let unknown = reader.error(ErrorKind::Value);
        match reader.u8()? {
            1 => Proposal::read(reader).map(Self::Proposal),
            2 => ProposalRef::read(reader).map(Self::Reference),
            _ => Err(unknown),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Proposal(proposal) => {
                out.push(1);
                proposal.write(out);
            }
            Self::Reference(reference) => {
                out.push(2);
                write_vector(out, &reference.0);
            }
        }
    }
}

/// The new keys in a commit (RFC 9420, section 7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdatePath<'a> {
    /// The committer's new leaf.
    pub leaf: LeafNode<'a>,
    nodes: &'a [u8],
}

impl<'a> UpdatePath<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let leaf = LeafNode::read(reader)?;
        let mut list = reader.sub()?;
        let nodes = list.rest();
        while !list.is_empty() {
            list.vector()?;
            let mut ciphertexts = list.sub()?;
            while !ciphertexts.is_empty() {
                ciphertexts.vector()?;
                ciphertexts.vector()?;
            }
        }
        Ok(Self { leaf, nodes })
    }

    /// For each new key, from the bottom up, how often it is encrypted.
    pub fn ciphertexts(&self) -> impl Iterator<Item = usize> + 'a {
        let mut list = Reader::new(self.nodes);
        std::iter::from_fn(move || {
            // It was read once before.
            list.vector().ok()?;
            let mut ciphertexts = list.sub().ok()?;
            let mut count = 0;
            while !ciphertexts.is_empty() {
                ciphertexts.vector().ok()?;
                ciphertexts.vector().ok()?;
                count += 1;
            }
            Some(count)
        })
    }
}
