//! By which keys members know each other.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use voice_model::UserId;

use crate::{code, group::Member};

/// The public keys of two members, to be compared by the two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    own: (UserId, Vec<u8>),
    peer: (UserId, Vec<u8>),
}

impl Verification {
    pub(super) const fn new(own: (UserId, Vec<u8>), peer: (UserId, Vec<u8>)) -> Self {
        Self { own, peer }
    }

    /// This user.
    #[must_use]
    pub const fn own_user(&self) -> UserId {
        self.own.0
    }

    /// This user's public key.
    #[must_use]
    pub fn own_key(&self) -> &[u8] {
        &self.own.1
    }

    /// The other user.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.peer.0
    }

    /// The other user's public key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.peer.1
    }

    /// 45 digits that both users see if nobody is between them (DAVE protocol, "Verification Code").
    ///
    /// Takes tens of milliseconds and 16 MiB on purpose: not for a thread that has to be on time.
    #[must_use]
    pub fn code(&self) -> String {
        let (own, peer) = (&self.own, &self.peer);
        code::verification_code(&code::pairwise_fingerprint((own.0, &own.1), (peer.0, &peer.1)))
    }
}

/// The keys that members had the last time, to tell whose verification code is another one now.
#[derive(Default)]
pub(super) struct KnownKeys(BTreeMap<UserId, [u8; 32]>);

impl KnownKeys {
    /// Takes over the keys of the members. Tells whose were not known and whose were others, in the order of their ids.
    pub(super) fn update(&mut self, members: &[Member]) -> (Vec<UserId>, Vec<UserId>) {
        if self.0.len() + members.len() > MAX_KNOWN {
            self.0.retain(|user, _| members.iter().any(|member| member.user == *user));
        }
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        for Member { user, signature_key } in members {
            let key = Sha256::digest(signature_key).into();
            match self.0.insert(*user, key) {
                None => new.push(*user),
                Some(before) if before != key => changed.push(*user),
                Some(_) => {}
            }
        }
        new.sort_unstable();
        changed.sort_unstable();
        (new, changed)
    }
}

/// How many users' keys are remembered, members of the group not counted.
const MAX_KNOWN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_new_once_and_when_they_change() {
        let mut known = KnownKeys::default();
        assert_eq!(known.update(&[member(3, 1), member(2, 2)]), (users([2, 3]), vec![]));
        assert_eq!(known.update(&[member(3, 1)]), (vec![], vec![]));
        assert_eq!(known.update(&[member(2, 2), member(3, 9)]), (vec![], users([3])), "2 came back as who they were");
    }

    #[test]
    fn users_without_end_fill_no_memory() {
        let mut known = KnownKeys::default();
        for user in 0..10_000 {
            let (new, changed) = known.update(&[member(1_000_000, 1), member(user, 1)]);
            assert_eq!((new.len(), changed.len()), (if user == 0 { 2 } else { 1 }, 0));
            assert!(known.0.len() <= MAX_KNOWN);
        }
    }

    fn users<const N: usize>(ids: [u64; N]) -> Vec<UserId> {
        ids.map(UserId::new).to_vec()
    }

    fn member(user: u64, key: u8) -> Member {
        Member { user: UserId::new(user), signature_key: vec![key; 65] }
    }
}
