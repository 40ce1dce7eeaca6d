//! The MLS group of one call: what a member takes from the voice gateway, and what it refuses.

mod engine;
#[cfg(test)]
mod liar;
mod proposals;
mod provider;
#[cfg(test)]
mod tests;

use voice_model::{ChannelId, UserId};

use self::engine::{Engine, Failure, MlsGroup, Prepared};
pub(crate) use self::proposals::Batch;
use crate::{
    BaseSecret, Refusal,
    wire::{
        Commit, Content, ExternalSender, ProposalRef, PublicMessage, Sender, SigningKey, Welcome, is_public_key, verify,
    },
};

/// The MLS state of one user from an init to the next: a key package, and what group there is.
pub(crate) struct Membership {
    engine: Engine,
    group_id: [u8; 8],
    user: UserId,
    sender: Option<Vec<u8>>,
    /// The newest key package.
    package: Vec<u8>,
    epoch: Option<Epoch>,
}

/// A group in one epoch: the own local one of epoch 0, or an established one.
struct Epoch {
    group: MlsGroup,
    queue: Vec<Queued>,
    prepared: Option<Prepared>,
    /// How many of those queued it commits.
    covered: usize,
    own_removals: Vec<ProposalRef>,
    saw_proposals: bool,
}

/// A proposal that waits for a commit.
struct Queued {
    reference: ProposalRef,
    message: Vec<u8>,
    change: Change,
}

/// What a queued proposal does, as far as it bears on others.
enum Change {
    Remove(u32),
    Add { user: UserId, signature_key: Vec<u8>, encryption_key: Vec<u8> },
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitOutcome {
    /// The next epoch is there.
    Applied,
    /// The others go on without this member.
    Removed,
    /// Nothing is to be done, and nothing to be answered.
    Ignored(Refusal),
    /// The gateway must be told.
    Refused(Refusal),
}

/// A member of an established group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) user: UserId,
    pub(crate) signature_key: Vec<u8>,
}

/// How the group knows who is in the call.
pub(crate) trait Known {
    /// Whether the user is in the call now.
    fn is_here(&self, user: UserId) -> bool;

    /// Whether the user is, or has been since the connection was made.
    fn was_here(&self, user: UserId) -> bool;

    /// How many users that is.
    fn count(&self) -> usize;
}

impl Membership {
    /// Starts anew, with the own local group if the external sender is known.
    pub(crate) fn new(user: UserId, channel: ChannelId, key: &SigningKey, sender: Option<&[u8]>) -> Self {
        let group_id = channel.get().to_be_bytes();
        let engine = Engine::new(user, key);
        let mut membership = Self { engine, group_id, user, sender: None, package: Vec::new(), epoch: None };
        if let Some(sender) = sender {
            // It was checked when it came.
            let _ = membership.set_sender(sender);
        }
        membership
    }

    /// Makes the key package to send; the one before cannot be used any more.
    pub(crate) fn key_package(&mut self) -> Result<&[u8], Refusal> {
        self.package = self.engine.key_package().ok_or(Refusal::Crypto)?;
        Ok(&self.package)
    }

    /// The newest key package, if this member still waits to be added by it.
    pub(crate) fn open_key_package(&self) -> Option<&[u8]> {
        let open = !self.is_established() && !self.is_spent();
        open.then_some(self.package.as_slice())
    }

    /// The last own commit with its welcome, if it was not announced and is over all that is queued.
    pub(crate) fn own_commit(&self) -> Option<Vec<u8>> {
        let epoch = self.epoch.as_ref()?;
        epoch.prepared.as_ref().filter(|_| epoch.covered == epoch.queue.len()).map(Prepared::payload)
    }

    /// Whether the keys of the last key package are gone.
    pub(crate) fn is_spent(&self) -> bool {
        self.engine.key_package_ref().is_none()
    }

    pub(crate) fn is_established(&self) -> bool {
        self.established().is_some()
    }

    /// Takes the external sender and makes the own local group.
    pub(crate) fn set_sender(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.is_established() {
            return Err(Refusal::LateExternalSender);
        }
        if self.epoch.is_some() && self.sender.as_deref() == Some(bytes) {
            // Making the group anew would forget the proposals that it has.
            return Ok(());
        }
        let sender = checked_sender(bytes)?;
        let group = self.engine.create(self.group_id, &sender).ok_or(Refusal::BadExternalSender)?;
        self.epoch = Some(Epoch::new(group));
        self.sender = Some(bytes.to_vec());
        Ok(())
    }

    /// Takes the announced commit.
    pub(crate) fn commit(&mut self, bytes: &[u8]) -> CommitOutcome {
        let established = self.is_established();
        let Some(epoch) = self.epoch.as_mut().filter(|epoch| established || epoch.saw_proposals) else {
            return CommitOutcome::Ignored(Refusal::EarlyCommit);
        };
        if established && epoch.removes_self(bytes, &self.group_id) {
            self.epoch = None;
            return CommitOutcome::Removed;
        }
        match epoch.commit(bytes, &self.group_id, established) {
            Ok(()) => {
                epoch.start();
                self.engine.spend_key_package();
                CommitOutcome::Applied
            }
            Err(refusal) => CommitOutcome::Refused(refusal),
        }
    }

    /// Joins by a welcome.
    pub(crate) fn welcome(&mut self, bytes: &[u8], known: &impl Known) -> Result<(), Refusal> {
        if self.is_established() {
            return Err(Refusal::AlreadyMember);
        }
        let sender = self.sender.as_deref().ok_or(Refusal::NoExternalSender)?;
        let sender = ExternalSender::parse(sender).map_err(|_| Refusal::BadExternalSender)?;
        let reference = self.engine.key_package_ref().ok_or(Refusal::NoKeyPackage)?;
        // Reading the tree in it costs far more than sending it, if most of its nodes are blank.
        if bytes.len() > WELCOME_LEN + WELCOME_LEN_PER_USER * known.count() {
            return Err(Refusal::WelcomeTooLong);
        }
        let mut welcome = Welcome::parse(bytes).map_err(|_| Refusal::Malformed)?.secrets;
        if !welcome.any(|secret| secret.key_package_ref == reference) {
            return Err(Refusal::NotForUs);
        }
        let group = self.engine.join(bytes).map_err(|failure| failure.or(Refusal::BadWelcome))?;
        if group.id() != self.group_id {
            return Err(Refusal::WrongGroup);
        }
        if !group.has_external_sender(&sender) {
            return Err(Refusal::WrongExternalSender);
        }
        let members = roster(&group)?;
        if !members.iter().all(|member| member.user == self.user || known.was_here(member.user)) {
            return Err(Refusal::Stranger);
        }
        self.epoch = Some(Epoch::new(group));
        Ok(())
    }

    /// The epoch of the established group.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.established().map(MlsGroup::epoch)
    }

    /// The members of the established group.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.established().and_then(|group| roster(group).ok()).unwrap_or_default()
    }

    /// What the frames of a user are encrypted with in the established group's epoch.
    pub(crate) fn base_secret(&self, user: UserId) -> Option<BaseSecret> {
        self.established()?.base_secret(user)
    }

    /// What members compare to know that they are in the same group.
    pub(crate) fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        self.established()?.epoch_authenticator()
    }

    fn established(&self) -> Option<&MlsGroup> {
        self.epoch.as_ref().map(|epoch| &epoch.group).filter(|group| group.epoch() > 0)
    }
}

impl Epoch {
    const fn new(group: MlsGroup) -> Self {
        Self { group, queue: Vec::new(), prepared: None, covered: 0, own_removals: Vec::new(), saw_proposals: false }
    }

    /// Forgets what belonged to the epoch before.
    fn start(&mut self) {
        self.queue.clear();
        self.prepared = None;
        self.own_removals.clear();
        self.saw_proposals = false;
    }

    fn commit(&mut self, bytes: &[u8], group_id: &[u8], established: bool) -> Result<(), Refusal> {
        // Proposals that were all taken back leave an empty commit, which others make of them (libdave 1.2 does).
        if established && !self.saw_proposals {
            return Err(Refusal::NothingQueued);
        }
        let is_own_last = self.prepared.as_ref().is_some_and(|prepared| prepared.commit == bytes);
        if !established && !is_own_last {
            return Err(Refusal::ForeignCommit);
        }
        let (_, commit, leaf) = self.parse(bytes, group_id)?;
        let references = commit.references().ok_or(Refusal::InlineProposal)?;
        if !references.iter().all(|reference| self.queue.iter().any(|queued| queued.reference == *reference)) {
            return Err(Refusal::UnknownReference);
        }
        let applied = match self.prepared.take() {
            Some(prepared) if is_own_last => self.group.apply_own(prepared),
            _ if leaf == self.group.own_leaf() => return Err(Refusal::StaleOwnCommit),
            _ if !self.path_fits(&commit, leaf, &references) => return Err(Refusal::BadPath),
            _ => self.group.apply(bytes),
        };
        applied.map_err(|failure| failure.or(Refusal::BadCommit))?;
        roster(&self.group).map(drop)
    }

    /// Whether a commit of another member has the path that the tree demands after its proposals: the engine relies on it.
    fn path_fits(&self, commit: &Commit<'_>, leaf: u32, references: &[ProposalRef]) -> bool {
        let Some(mut tree) = self.group.shape() else { return false };
        let changes = || {
            let of = |reference: &ProposalRef| self.queue.iter().find(|queued| queued.reference == *reference);
            references.iter().filter_map(of).map(|queued| &queued.change)
        };
        // RFC 9420, section 12.3: what is removed goes first.
        changes().for_each(|change| match change {
            Change::Remove(leaf) => tree.remove(*leaf),
            Change::Add { .. } => {}
        });
        let added = changes().filter(|change| matches!(change, Change::Add { .. })).map(|_| tree.add());
        let Some(added) = added.collect::<Option<Vec<_>>>() else { return false };
        tree.has(leaf) && !added.contains(&leaf) && commit.path.is_none_or(|path| tree.fits(&path, leaf, &added))
    }

    /// Reads a commit of a member of this group and epoch.
    fn parse<'a>(&self, bytes: &'a [u8], group_id: &[u8]) -> Result<(PublicMessage<'a>, Commit<'a>, u32), Refusal> {
        let message = PublicMessage::parse_all(bytes).map_err(|_| Refusal::Malformed)?;
        if message.group_id != group_id {
            return Err(Refusal::WrongGroup);
        }
        if message.epoch != self.group.epoch() {
            return Err(Refusal::WrongEpoch);
        }
        let Content::Commit(commit) = message.content else { return Err(Refusal::WrongContent) };
        let Sender::Member(leaf) = message.sender else { return Err(Refusal::WrongSender) };
        Ok((message, commit, leaf))
    }

    /// Whether this is a commit of another member over a proposal that removes this one.
    ///
    /// Such a proposal was not queued, so the engine cannot follow the commit; its signature is checked here.
    fn removes_self(&self, bytes: &[u8], group_id: &[u8]) -> bool {
        if self.own_removals.is_empty() {
            return false;
        }
        let Ok((message, commit, leaf)) = self.parse(bytes, group_id) else { return false };
        let Some(references) = commit.references() else { return false };
        if leaf == self.group.own_leaf() || !references.iter().any(|reference| self.own_removals.contains(reference)) {
            return false;
        }
        let (Some(committer), Some(context)) = (self.group.leaf(leaf), self.group.context()) else { return false };
        verify(&committer.signature_key, &message.signed_bytes_in(&context), message.signature).is_ok()
    }
}

/// Bytes that a welcome may have, whoever is in the call: the group's own state, and the blank nodes that a call of
/// hundreds leaves behind.
const WELCOME_LEN: usize = 4_096;

/// Bytes that it may have for each user in addition: a leaf, the node above it, and what they are welcomed with take about
/// 600.
const WELCOME_LEN_PER_USER: usize = 1_024;

impl Failure {
    /// What it says of a message that would be refused for this.
    fn or(self, refused: Refusal) -> Refusal {
        match self {
            Self::Refused => refused,
            Self::Panicked => Refusal::EnginePanicked,
        }
    }
}

/// Reads an external sender that can sign.
pub(crate) fn checked_sender(bytes: &[u8]) -> Result<ExternalSender<'_>, Refusal> {
    let sender = ExternalSender::parse(bytes).map_err(|_| Refusal::BadExternalSender)?;
    if is_public_key(sender.signature_key) { Ok(sender) } else { Err(Refusal::BadExternalSender) }
}

/// The members, if each is a user and none is twice.
fn roster(group: &MlsGroup) -> Result<Vec<Member>, Refusal> {
    let members: Option<Vec<_>> =
        group.leaves().map(|leaf| leaf.user.map(|user| Member { user, signature_key: leaf.signature_key })).collect();
    let members = members.ok_or(Refusal::BadRoster)?;
    let mut users: Vec<_> = members.iter().map(|member| member.user).collect();
    users.sort_unstable();
    let distinct = users.windows(2).all(|pair| pair.first() != pair.last());
    if distinct { Ok(members) } else { Err(Refusal::BadRoster) }
}
