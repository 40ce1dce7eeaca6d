//! The proposals of an epoch, and who was sent which of them.

use std::collections::{BTreeMap, BTreeSet};

use voice_dave::wire::{ProposalRef, proposal_ref};
use voice_model::UserId;

/// What a proposal does. Removals come before additions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Removes the member at a leaf.
    Remove(u32),
    /// Adds a user by the key package with this reference.
    Add(UserId, [u8; 32]),
}

/// A proposal that was made.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) reference: ProposalRef,
    pub(crate) change: Change,
    /// The MLS message.
    pub(crate) message: Vec<u8>,
}

impl Proposed {
    pub(crate) fn new(change: Change, message: Vec<u8>) -> Self {
        Self { reference: proposal_ref(&message), change, message }
    }

    /// A user is not asked to add itself.
    fn concerns(&self, user: UserId) -> bool {
        !matches!(self.change, Change::Add(added, _) if added == user)
    }
}

/// All proposals of an epoch that were made and not revoked.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    made: Vec<Proposed>,
    held: BTreeMap<UserId, BTreeSet<ProposalRef>>,
}

impl Proposals {
    pub(crate) fn push(&mut self, proposed: Proposed) {
        self.made.push(proposed);
    }

    pub(crate) fn len(&self) -> usize {
        self.made.len()
    }

    pub(crate) fn has(&self, change: &Change) -> bool {
        self.made.iter().any(|proposed| proposed.change == *change)
    }

    pub(crate) fn made(&self) -> &[Proposed] {
        &self.made
    }

    /// Drops all proposals but those that do one of these, and returns who has to be told of
    /// which, and how many were dropped.
    pub(crate) fn keep_only(&mut self, wanted: &BTreeSet<Change>) -> (Vec<(UserId, Vec<ProposalRef>)>, usize) {
        let dropped: Vec<_> = self.made.extract_if(.., |it| !wanted.contains(&it.change)).collect();
        let mut told = Vec::new();
        if !dropped.is_empty() {
            for (user, held) in &mut self.held {
                let theirs: Vec<_> = dropped.iter().map(|it| it.reference).filter(|it| held.remove(it)).collect();
                if !theirs.is_empty() {
                    told.push((*user, theirs));
                }
            }
        }
        (told, dropped.len())
    }

    /// The user whose addition is all that is proposed.
    pub(crate) fn lone_addition(&self) -> Option<UserId> {
        match self.made.as_slice() {
            [Proposed { change: Change::Add(user, _), .. }] => Some(*user),
            _ => None,
        }
    }

    /// Whether a user has not been sent all that concerns it.
    pub(crate) fn lacks(&self, user: UserId) -> bool {
        let held = self.held.get(&user);
        let missing = |it: &Proposed| it.concerns(user) && held.is_none_or(|held| !held.contains(&it.reference));
        self.made.iter().any(missing)
    }

    /// The messages a user has not been sent yet, which it now has.
    pub(crate) fn hand_out(&mut self, user: UserId) -> Vec<&[u8]> {
        let held = self.held.entry(user).or_default();
        let missing = self.made.iter().filter(|it| it.concerns(user) && held.insert(it.reference));
        missing.map(|it| it.message.as_slice()).collect()
    }

    /// What a user was sent.
    pub(crate) fn of(&self, user: UserId) -> Vec<&Proposed> {
        let held = self.held.get(&user);
        self.made.iter().filter(|it| held.is_some_and(|held| held.contains(&it.reference))).collect()
    }

    /// The references of what a user was sent.
    pub(crate) fn held_by(&self, user: UserId) -> Vec<ProposalRef> {
        self.held.get(&user).into_iter().flatten().copied().collect()
    }

    /// Whether anybody was sent anything.
    pub(crate) fn is_out(&self) -> bool {
        self.held.values().any(|held| !held.is_empty())
    }

    /// Notes that a user has forgotten what it was sent.
    pub(crate) fn forget(&mut self, user: UserId) {
        self.held.remove(&user);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: UserId = UserId::new(1);
    const BOB: UserId = UserId::new(2);

    fn proposals() -> Proposals {
        let mut proposals = Proposals::default();
        proposals.push(Proposed::new(Change::Add(ALICE, [1; 32]), b"..alice".to_vec()));
        proposals.push(Proposed::new(Change::Remove(7), b"..seven".to_vec()));
        proposals
    }

    #[test]
    fn nobody_is_told_of_its_own_addition_or_twice() {
        let mut proposals = proposals();
        assert!(proposals.lacks(ALICE) && proposals.lacks(BOB) && !proposals.is_out());
        assert_eq!(proposals.hand_out(ALICE), [b"..seven"]);
        assert_eq!(proposals.hand_out(BOB), [b"..alice", b"..seven"]);
        assert!(proposals.hand_out(BOB).is_empty());
        assert!(!proposals.lacks(ALICE) && !proposals.lacks(BOB) && proposals.is_out());
        proposals.forget(BOB);
        assert_eq!(proposals.hand_out(BOB).len(), 2);
    }

    #[test]
    fn what_is_not_wanted_is_taken_back_from_those_who_have_it() {
        let mut proposals = proposals();
        proposals.hand_out(ALICE);
        proposals.hand_out(BOB);
        let alice = proposals.of(BOB)[0].reference;
        let (told, dropped) = proposals.keep_only(&[Change::Remove(7)].into());
        assert_eq!((told, dropped), (vec![(BOB, vec![alice])], 1));
        assert_eq!((proposals.of(BOB).len(), proposals.of(ALICE).len(), proposals.len()), (1, 1, 1));
    }
}
