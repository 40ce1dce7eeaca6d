//! Public messages: proposals and commits with who sent them.

use super::{
    Commit, ErrorKind, MLS_10, Proposal, ProposalRef, Welcome, WireError, proposal_ref,
    reader::{Reader, write_vector},
    sign::sign_content,
};

/// An MLS message that is public (RFC 9420, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicMessage<'a> {
    /// The group; a channel id of 8 bytes, big-endian, in a call.
    pub group_id: &'a [u8],
    /// The epoch that it is for.
    pub epoch: u64,
    /// Who sent it.
    pub sender: Sender,
    /// Signed with it; empty in a call.
    pub authenticated_data: &'a [u8],
    /// What it says.
    pub content: Content<'a>,
    /// The sender's signature.
    pub signature: &'a [u8],
    /// Shows that the committer knows the next epoch; there if and only if it is a commit.
    pub confirmation_tag: Option<&'a [u8]>,
    /// Shows that the sender is a member; there if and only if it says so.
    pub membership_tag: Option<&'a [u8]>,
    raw: &'a [u8],
    content_len: usize,
    authenticated_len: usize,
}

impl<'a> PublicMessage<'a> {
    /// Reads a message from the front of the bytes and says how many it used.
    ///
    /// # Errors
    ///
    /// The bytes do not start with a public message of MLS 1.0.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), WireError> {
        let mut reader = Reader::new(bytes);
        let message = Self::read(&mut reader)?;
        Ok((message, reader.position()))
    }

    /// Reads a message that fills the bytes.
    ///
    /// # Errors
    ///
    /// The bytes are not a public message of MLS 1.0.
    pub fn parse_all(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let message = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(message)
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let start = reader.position();
        let error = *reader;
        if reader.u16()? != MLS_10 {
            return Err(error.error(ErrorKind::Version));
        }
        let error = *reader;
        if reader.u16()? != PUBLIC_MESSAGE {
            return Err(error.error(ErrorKind::NotPublic));
        }
        let group_id = reader.vector()?;
        let epoch = reader.u64()?;
        let sender = Sender::read(reader)?;
        let authenticated_data = reader.vector()?;
        let content = Content::read(reader)?;
        let content_len = reader.since(start).len();
        let signature = reader.vector()?;
        let confirmation_tag = match content {
            Content::Commit(_) => Some(reader.vector()?),
            _ => None,
        };
        let authenticated_len = reader.since(start).len();
        let membership_tag = match sender {
            Sender::Member(_) => Some(reader.vector()?),
            _ => None,
        };
        Ok(Self {
            group_id,
            epoch,
            sender,
            authenticated_data,
            content,
            signature,
            confirmation_tag,
            membership_tag,
            raw: reader.since(start),
            content_len,
            authenticated_len,
        })
    }

    /// The bytes that were read.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The hash that names it in a commit, if it is a proposal.
    #[must_use]
    pub fn reference(&self) -> ProposalRef {
        proposal_ref(self.raw.get(..self.authenticated_len).unwrap_or_default())
    }

    /// The bytes that an external sender signs; for a member the group's context is missing from them.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        sign_content("FramedContentTBS", &[self.raw.get(..self.content_len).unwrap_or_default()])
    }

    /// The bytes that a member signs; the group's context belongs to them (RFC 9420, section 6.1).
    #[must_use]
    pub fn signed_bytes_in(&self, group_context: &[u8]) -> Vec<u8> {
        sign_content("FramedContentTBS", &[self.raw.get(..self.content_len).unwrap_or_default(), group_context])
    }

    /// Writes it from its parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MLS_10.to_be_bytes());
        out.extend_from_slice(&PUBLIC_MESSAGE.to_be_bytes());
        write_vector(out, self.group_id);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        self.sender.write(out);
        write_vector(out, self.authenticated_data);
        self.content.write(out);
        write_vector(out, self.signature);
        for tag in [self.confirmation_tag, self.membership_tag].into_iter().flatten() {
            write_vector(out, tag);
        }
    }
}

/// The number of a public message among the kinds of MLS messages (RFC 9420, section 17.2).
const PUBLIC_MESSAGE: u16 = 1;

/// Who sent a message (RFC 9420, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The member at this leaf.
    Member(u32),
    /// One of the group's external senders, by its place in their list.
    External(u32),
    /// Somebody who proposes to be added.
    NewMemberProposal,
    /// Somebody who adds itself.
    NewMemberCommit,
}

impl Sender {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let unknown = reader.error(ErrorKind::Value);
        match reader.u8()? {
            1 => reader.u32().map(Self::Member),
            2 => reader.u32().map(Self::External),
            3 => Ok(Self::NewMemberProposal),
            4 => Ok(Self::NewMemberCommit),
            _ => Err(unknown),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        let (kind, index) = match self {
            Self::Member(leaf) => (1, Some(leaf)),
            Self::External(index) => (2, Some(index)),
            Self::NewMemberProposal => (3, None),
            Self::NewMemberCommit => (4, None),
        };
        out.push(kind);
        if let Some(index) = index {
            out.extend_from_slice(&index.to_be_bytes());
        }
    }
}

/// What a message says (RFC 9420, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Data of an application, which calls do not send this way.
    Application(&'a [u8]),
    /// A proposed change.
    Proposal(Proposal<'a>),
    /// The next epoch.
    Commit(Commit<'a>),
}

impl<'a> Content<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let unknown = reader.error(ErrorKind::Value);
        match reader.u8()? {
            1 => reader.vector().map(Self::Application),
            2 => Proposal::read(reader).map(Self::Proposal),
            3 => Commit::read(reader).map(Self::Commit),
            _ => Err(unknown),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Application(data) => {
                out.push(1);
                write_vector(out, data);
            }
            Self::Proposal(proposal) => {
                out.push(2);
                proposal.write(out);
            }
            Self::Commit(commit) => {
                out.push(3);
                commit.write(out);
            }
        }
    }
}

/// The payload of opcode 28: a commit and, when it adds somebody, a welcome directly behind it
/// (DAVE protocol, "dave_mls_commit_welcome").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitWelcome<'a> {
    /// The commit.
    pub commit: PublicMessage<'a>,
    /// The welcome for all who are added.
    pub welcome: Option<Welcome<'a>>,
}

impl<'a> CommitWelcome<'a> {
    /// Reads the payload.
    ///
    /// The message in front may be of any content: who needs a commit checks that it is one.
    ///
    /// # Errors
    ///
    /// The payload is not a public message, or what follows it is not a welcome.
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let commit = PublicMessage::read(&mut reader)?;
        let welcome = if reader.is_empty() { None } else { Some(Welcome::read(&mut reader)?) };
        reader.finish()?;
        Ok(Self { commit, welcome })
    }
}
