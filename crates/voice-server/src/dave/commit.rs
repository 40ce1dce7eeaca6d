//! Which commit wins: the first that is valid.

use std::collections::{BTreeMap, BTreeSet};

use voice_dave::wire::{CIPHER_SUITE, CommitWelcome, Content, LeafSource, Sender, UpdatePath, Welcome, verify};
use voice_model::UserId;

use crate::dave::proposals::{Change, Proposed};
use crate::dave::stats::DaveRefusal;

/// What a commit of a user has to fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) group_id: &'a [u8],
    pub(crate) epoch: u64,
    pub(crate) user: UserId,
    /// Where the user is in the tree, and the key it signs with; `None` for who is no member.
    pub(crate) leaf: Option<(u32, &'a [u8])>,
    /// What the user was sent and must commit, all of it.
    pub(crate) proposals: &'a [&'a Proposed],
}

/// A commit that is valid.
#[derive(Debug)]
pub(crate) struct Winner<'a> {
    /// The message as it came.
    pub(crate) commit: &'a [u8],
    /// What it does, in its own order.
    pub(crate) changes: Vec<Change>,
    pub(crate) welcome: Option<Welcome<'a>>,
    /// The committer's new key, if there is a path.
    pub(crate) encryption_key: Option<&'a [u8]>,
}

impl Expected<'_> {
    /// Takes the payload of op 28.
    pub(crate) fn check<'p>(&self, payload: &'p [u8], limit: usize) -> Result<Winner<'p>, DaveRefusal> {
        if payload.len() > limit {
            return Err(DaveRefusal::CommitTooLong);
        }
        let CommitWelcome { commit: message, welcome } =
            CommitWelcome::parse(payload).map_err(|_| DaveRefusal::CommitMalformed)?;
        let Content::Commit(commit) = message.content else { return Err(DaveRefusal::CommitContent) };
        if message.group_id != self.group_id {
            return Err(DaveRefusal::CommitGroup);
        }
        if message.epoch != self.epoch {
            return Err(DaveRefusal::CommitEpoch);
        }
        let (leaf, signature_key) = self.leaf.ok_or(DaveRefusal::CommitSender)?;
        if message.sender != Sender::Member(leaf) {
            return Err(DaveRefusal::CommitSender);
        }
        let references = commit.references().ok_or(DaveRefusal::CommitInline)?;
        if references.is_empty() {
            return Err(DaveRefusal::CommitEmpty);
        }
        // Each reference takes its proposal away, so that none counts twice and none is left.
        let mut open: BTreeMap<_, _> = self.proposals.iter().map(|it| (it.reference, it.change)).collect();
        let changes: Option<Vec<_>> = references.iter().map(|reference| open.remove(reference)).collect();
        let changes = changes.filter(|_| open.is_empty()).ok_or(DaveRefusal::CommitReferences)?;
        match &commit.path {
            Some(path) => self.check_path(path, leaf, signature_key)?,
            // RFC 9420, section 12.4: only additions alone need none.
            None if changes.iter().any(|it| matches!(it, Change::Remove(_))) => {
                return Err(DaveRefusal::CommitPathMissing);
            }
            None => {}
        }
        check_welcome(&changes, welcome.as_ref())?;
        let encryption_key = commit.path.map(|path| path.leaf.encryption_key);
        Ok(Winner { commit: message.raw(), changes, welcome, encryption_key })
    }

    fn check_path(&self, path: &UpdatePath<'_>, leaf: u32, signature_key: &[u8]) -> Result<(), DaveRefusal> {
        let new = &path.leaf;
        let same = new.credential.user_id() == Some(self.user)
            && new.signature_key == signature_key
            && matches!(new.source, LeafSource::Commit { .. });
        let signed = new.signed_bytes(self.group_id, leaf);
        if !same || verify(signature_key, &signed, new.signature).is_err() {
            return Err(DaveRefusal::CommitPathIdentity);
        }
        Ok(())
    }
}

/// A welcome is there for all who are added, and only if somebody is.
fn check_welcome(changes: &[Change], welcome: Option<&Welcome<'_>>) -> Result<(), DaveRefusal> {
    let added = changes.iter().filter_map(|it| if let Change::Add(_, package) = it { Some(package) } else { None });
    let mut uncovered: BTreeSet<&[u8]> = added.map(|package| package.as_slice()).collect();
    match welcome {
        None if uncovered.is_empty() => Ok(()),
        None => Err(DaveRefusal::WelcomeMissing),
        Some(_) if uncovered.is_empty() => Err(DaveRefusal::WelcomeUnwanted),
        Some(welcome) => {
            for secret in welcome.secrets {
                uncovered.remove(secret.key_package_ref);
            }
            let complete = welcome.cipher_suite == CIPHER_SUITE && uncovered.is_empty();
            if complete { Ok(()) } else { Err(DaveRefusal::WelcomeIncomplete) }
        }
    }
}
