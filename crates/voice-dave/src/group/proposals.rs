//! Proposals of the voice gateway and the commits over them.

use voice_model::UserId;

use super::{Change, Epoch, Known, Membership, Queued};
use crate::{
    Refusal,
    wire::{
        AppendList, BASIC_CREDENTIAL, CIPHER_SUITE, Content, KeyPackage, LeafNode, LeafSource, MLS_10, Proposal,
        PublicMessage, RevokeList, Sender, is_public_key,
    },
};

/// What came of a batch of proposals.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The payload of opcode 28 to send: a commit, and a welcome directly behind it.
    pub(crate) commit: Option<Vec<u8>>,
    /// What stopped the batch; nothing is sent then.
    pub(crate) refusal: Option<Refusal>,
    /// How many proposals were there already.
    pub(crate) duplicates: u64,
}

impl Membership {
    /// Takes in proposals; after the first bad one nothing more, and nothing is sent.
    pub(crate) fn append(&mut self, payload: &[u8], known: &impl Known) -> Batch {
        let mut batch = Batch::default();
        let group_id = self.group_id;
        self.change_queue(&mut batch, |epoch, batch| {
            for item in AppendList::parse(payload).map_err(|_| Refusal::Malformed)? {
                let (message, bytes) = item.map_err(|_| Refusal::Malformed)?;
                if !epoch.append(&message, bytes, &group_id, known)? {
                    batch.duplicates += 1;
                }
            }
            Ok(())
        });
        batch
    }

    /// Takes back proposals; after the first unknown one nothing more, and nothing is sent.
    pub(crate) fn revoke(&mut self, payload: &[u8]) -> Batch {
        let mut batch = Batch::default();
        self.change_queue(&mut batch, |epoch, _| {
            let mut result = Ok(());
            let before = epoch.queue.len();
            for item in RevokeList::parse(payload).map_err(|_| Refusal::Malformed)? {
                let queued = item.map_err(|_| Refusal::Malformed).and_then(|reference| {
                    epoch.own_removals.retain(|removal| *removal != reference);
                    let queued = epoch.queue.iter().position(|queued| queued.reference == reference);
                    queued.ok_or(Refusal::UnknownReference)
                });
                match queued {
                    Ok(index) => drop(epoch.queue.remove(index)),
                    Err(refusal) => {
                        result = Err(refusal);
                        break;
                    }
                }
            }
            if epoch.queue.len() != before {
                epoch.refill()?;
            }
            result
        });
        batch
    }

    fn change_queue(&mut self, batch: &mut Batch, change: impl FnOnce(&mut Epoch, &mut Batch) -> Result<(), Refusal>) {
        let Some(epoch) = &mut self.epoch else {
            batch.refusal = Some(Refusal::NoGroup);
            return;
        };
        epoch.saw_proposals = true;
        let result = change(epoch, batch).and_then(|()| match &epoch.prepared {
            // Nothing new: the commit that was sent may have won already, so it must stay the last one.
            Some(prepared) if epoch.queue.len() == epoch.covered => Ok(Some(prepared.payload())),
            _ => epoch.prepare(),
        });
        match result {
            Ok(commit) => batch.commit = commit,
            Err(refusal) => batch.refusal = Some(refusal),
        }
    }
}

impl Epoch {
    /// Whether the proposal is new; the same one can be delivered twice.
    fn append(
        &mut self,
        message: &PublicMessage<'_>,
        bytes: &[u8],
        group_id: &[u8],
        known: &impl Known,
    ) -> Result<bool, Refusal> {
        if message.group_id != group_id {
            return Err(Refusal::WrongGroup);
        }
        if message.epoch != self.group.epoch() {
            return Err(Refusal::WrongEpoch);
        }
        let Content::Proposal(proposal) = message.content else { return Err(Refusal::WrongContent) };
        if message.sender != Sender::External(0) {
            return Err(Refusal::WrongSender);
        }
        let reference = message.reference();
        if self.queue.iter().any(|queued| queued.reference == reference) {
            return Ok(false);
        }
        if self.queue.len() >= MAX_QUEUED {
            return Err(Refusal::QueueFull);
        }
        let change = match &proposal {
            Proposal::Add(package) => self.check_add(package, known)?,
            Proposal::Remove(leaf) if *leaf == self.group.own_leaf() => {
                self.note_own_removal(message);
                return Err(Refusal::OwnRemoval);
            }
            Proposal::Remove(leaf) => {
                self.group.leaf(*leaf).ok_or(Refusal::BlankLeaf)?;
                Change::Remove(*leaf)
            }
            Proposal::Other { .. } => return Err(Refusal::WrongProposal),
        };
        self.group.queue(bytes).map_err(|failure| failure.or(Refusal::BadSignature))?;
        self.queue.push(Queued { reference, message: bytes.to_vec(), change });
        Ok(true)
    }

    fn check_add(&self, package: &KeyPackage<'_>, known: &impl Known) -> Result<Change, Refusal> {
        let leaf = &package.leaf;
        let user = leaf.credential.user_id().ok_or(Refusal::BadKeyPackage)?;
        if !known.is_here(user) {
            return Err(Refusal::UnknownUser);
        }
        if self.group.leaf(self.group.own_leaf()).is_some_and(|own| own.user == Some(user)) {
            // The removal that would have to come with it cannot be committed here: nothing could be any more.
            return Err(Refusal::OwnAdd);
        }
        let capabilities = &leaf.capabilities;
        let suits = package.cipher_suite == CIPHER_SUITE
            && matches!(leaf.source, LeafSource::KeyPackage(_))
            && package.init_key != leaf.encryption_key
            && [package.init_key, leaf.encryption_key, leaf.signature_key].into_iter().all(is_public_key)
            && capabilities.versions.iter().any(|version| version == MLS_10)
            && capabilities.cipher_suites.iter().any(|suite| suite == CIPHER_SUITE)
            && capabilities.credentials.iter().any(|credential| credential == BASIC_CREDENTIAL)
            && leaf.claims_its_extensions();
        // It would make every commit impossible.
        if !suits || self.is_taken(user, leaf) {
            return Err(Refusal::BadKeyPackage);
        }
        let key = leaf.signature_key;
        self.group
            .verify(key, &package.signed_bytes(), package.signature)
            .and_then(|()| self.group.verify(key, &leaf.signed_bytes(&[], 0), leaf.signature))
            .map_err(|_| Refusal::BadSignature)?;
        Ok(Change::Add { user, signature_key: key.to_vec(), encryption_key: leaf.encryption_key.to_vec() })
    }

    /// Whether another user has a key of a leaf (RFC 9420, section 7.3). The same one may come back with it: its old
    /// leaf goes.
    fn is_taken(&self, by: UserId, leaf: &LeafNode<'_>) -> bool {
        let queued = self.queue.iter().any(|queued| match &queued.change {
            Change::Add { user, signature_key, encryption_key } => {
                *user != by && (signature_key == leaf.signature_key || encryption_key == leaf.encryption_key)
            }
            Change::Remove(_) => false,
        });
        let leaves = || self.group.leaves().filter(|other| other.user != Some(by));
        let goes = |index| self.queue.iter().any(|it| matches!(it.change, Change::Remove(leaf) if leaf == index));
        queued || leaves().any(|other| other.signature_key == leaf.signature_key && !goes(other.index))
    }

    /// Remembers the reference, to know the commit that makes it true. That commit is checked by itself.
    fn note_own_removal(&mut self, message: &PublicMessage<'_>) {
        let reference = message.reference();
        if self.own_removals.len() < MAX_OWN_REMOVALS && !self.own_removals.contains(&reference) {
            self.own_removals.push(reference);
        }
    }

    /// Puts what is still queued into the engine, which cannot take out a single one.
    fn refill(&mut self) -> Result<(), Refusal> {
        // The last own commit is over a proposal that does not hold any more.
        self.prepared = None;
        self.group.clear_queue();
        let Self { group, queue, .. } = self;
        queue.iter().try_for_each(|queued| group.queue(&queued.message)).map_err(|failure| failure.or(Refusal::Crypto))
    }

    /// Makes a commit over all that is queued; the own one before it is dead from then on.
    fn prepare(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        self.prepared = None;
        if self.queue.is_empty() {
            return Ok(None);
        }
        let prepared = self.group.commit().map_err(|failure| failure.or(Refusal::Uncommittable))?;
        let payload = prepared.payload();
        self.prepared = Some(prepared);
        self.covered = self.queue.len();
        Ok(Some(payload))
    }
}

/// How many proposals of one epoch are kept: more than a call has members, and than fit into one message that commits
/// them.
const MAX_QUEUED: usize = 512;

/// How many proposals against this member are remembered in one epoch.
const MAX_OWN_REMOVALS: usize = 16;
