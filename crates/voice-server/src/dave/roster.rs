//! Who is at which leaf of the group's tree.

use voice_model::UserId;

use crate::dave::key_package::{KeptPackage, LeafKeys};

/// The leaves of the tree, as far as a delivery service can know them.
#[derive(Debug, Default)]
pub(crate) struct Roster(Vec<Option<Leaf>>);

#[derive(Debug)]
struct Leaf {
    user: UserId,
    keys: LeafKeys,
    /// False when its user has left, or cannot follow: it is to be removed.
    live: bool,
}

impl Roster {
    /// Puts a user at the lowest blank leaf, else at the end (RFC 9420, section 12.1.1 "Add").
    pub(crate) fn add(&mut self, user: UserId, keys: LeafKeys) -> u32 {
        let leaf = Leaf { user, keys, live: true };
        let index = match self.0.iter_mut().position(|place| place.is_none()) {
            Some(index) => {
                if let Some(place) = self.0.get_mut(index) {
                    *place = Some(leaf);
                }
                index
            }
            None => {
                self.0.push(Some(leaf));
                self.0.len() - 1
            }
        };
        u32::try_from(index).expect("a group is limited far below 2^32")
    }

    /// Blanks a leaf.
    pub(crate) fn remove(&mut self, leaf: u32) {
        if let Some(place) = self.0.get_mut(leaf as usize) {
            *place = None;
        }
        while self.0.pop_if(|place| place.is_none()).is_some() {}
    }

    /// Notes that the user at a leaf is no member any more, though the leaf is still there.
    pub(crate) fn kill(&mut self, leaf: u32) {
        if let Some(Some(leaf)) = self.0.get_mut(leaf as usize) {
            leaf.live = false;
        }
    }

    /// The members, by leaf.
    pub(crate) fn live(&self) -> impl Iterator<Item = UserId> {
        self.0.iter().flatten().filter(|leaf| leaf.live).map(|leaf| leaf.user)
    }

    /// The leaves that are to be removed.
    pub(crate) fn dead(&self) -> impl Iterator<Item = u32> {
        let leaves = (0..).zip(&self.0);
        leaves.filter(|(_, leaf)| leaf.as_ref().is_some_and(|leaf| !leaf.live)).map(|(index, _)| index)
    }

    /// The first leaf without anybody.
    pub(crate) fn blank(&self) -> u32 {
        let blank = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        u32::try_from(blank).expect("a group is limited far below 2^32")
    }

    /// Who is at a leaf.
    #[cfg(test)]
    pub(crate) fn user(&self, leaf: u32) -> Option<UserId> {
        self.0.get(leaf as usize)?.as_ref().map(|leaf| leaf.user)
    }

    /// The key that verifies what the user at a leaf signs.
    pub(crate) fn signature_key(&self, leaf: u32) -> Option<&[u8]> {
        self.0.get(leaf as usize)?.as_ref().map(|leaf| leaf.keys.signature.as_slice())
    }

    /// Notes the key that a path has given a leaf.
    pub(crate) fn set_encryption_key(&mut self, leaf: u32, key: &[u8]) {
        if let Some(Some(leaf)) = self.0.get_mut(leaf as usize) {
            leaf.keys.encryption = key.to_vec();
        }
    }

    /// Whether somebody else has a key of a user's key package. Its own leaf is removed when it is added again.
    pub(crate) fn has_keys_of(&self, user: UserId, package: &KeptPackage) -> bool {
        let others = self.0.iter().flatten().filter(|leaf| leaf.user != user);
        others.map(|leaf| &leaf.keys).any(|keys| keys.overlap(&package.leaf) || keys.encryption == package.init_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(signature: u8) -> LeafKeys {
        LeafKeys { signature: vec![signature], encryption: vec![signature, 0] }
    }

    #[test]
    fn a_key_of_another_leaf_is_known_as_the_last_path_has_it() {
        let package = |signature, encryption: &[u8], init: &[u8]| KeptPackage {
            bytes: Vec::new(),
            reference: [0; 32],
            init_key: init.to_vec(),
            leaf: LeafKeys { signature: vec![signature], encryption: encryption.to_vec() },
        };
        let [alice, bob] = [1, 2].map(UserId::new);
        let mut roster = Roster::default();
        let leaf = roster.add(alice, keys(1));
        assert!(roster.has_keys_of(bob, &package(1, &[8], &[9])));
        assert!(roster.has_keys_of(bob, &package(2, &[1, 0], &[9])));
        assert!(roster.has_keys_of(bob, &package(2, &[8], &[1, 0])));
        assert!(!roster.has_keys_of(bob, &package(2, &[8], &[9])));
        assert!(!roster.has_keys_of(alice, &package(1, &[1, 0], &[9])), "its own leaf goes");
        roster.set_encryption_key(leaf, &[7]);
        assert!(!roster.has_keys_of(bob, &package(2, &[1, 0], &[9])));
        assert!(roster.has_keys_of(bob, &package(2, &[7], &[9])));
        roster.kill(leaf);
        assert!(roster.has_keys_of(bob, &package(2, &[7], &[9])), "it is still in the tree");
        roster.remove(leaf);
        assert!(!roster.has_keys_of(bob, &package(1, &[7], &[9])));
    }

    #[test]
    fn the_lowest_blank_leaf_is_filled_first() {
        let mut roster = Roster::default();
        let add = |roster: &mut Roster, user| roster.add(UserId::new(user), LeafKeys::default());
        assert_eq!([1, 2, 3, 4].map(|user| add(&mut roster, user)), [0, 1, 2, 3]);
        roster.remove(2);
        roster.remove(0);
        assert_eq!(roster.blank(), 0);
        assert_eq!([5, 6, 7].map(|user| add(&mut roster, user)), [0, 2, 4]);
        roster.remove(4);
        roster.remove(3);
        assert_eq!((roster.blank(), roster.user(3)), (3, None));
        assert_eq!(add(&mut roster, 8), 3);
    }

    #[test]
    fn a_dead_leaf_keeps_its_place_until_it_is_removed() {
        let mut roster = Roster::default();
        roster.add(UserId::new(1), keys(1));
        let dead = roster.add(UserId::new(2), keys(2));
        roster.kill(dead);
        assert_eq!(roster.live().collect::<Vec<_>>(), [UserId::new(1)]);
        assert_eq!(roster.dead().collect::<Vec<_>>(), [dead]);
        assert_eq!(roster.add(UserId::new(2), keys(3)), 2);
        assert_eq!(roster.signature_key(dead), Some(&[2][..]));
        roster.remove(dead);
        assert_eq!((roster.dead().count(), roster.signature_key(dead)), (0, None));
    }
}
