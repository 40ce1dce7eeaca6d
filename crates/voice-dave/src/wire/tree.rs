//! The shape of a group's tree: which nodes there are, without their keys.

use super::{ErrorKind, LeafNode, UpdatePath, WireError, reader::Reader};

/// Which nodes of a ratchet tree are blank, and which leaves are not merged yet (RFC 9420, section 4.1).
///
/// From it follows how many new keys a commit must have on its path, and for how many members each of them must be
/// encrypted. Who checks that needs no key, and no engine.
///
/// ```
/// use voice_dave::wire::TreeShape;
///
/// let mut tree = TreeShape::founder();
/// let second = tree.add();
/// assert_eq!((second, tree.len()), (Some(1), 2));
/// // The founder's commit that adds them has one new key, at the root; the one who is added gets it by the welcome.
/// assert_eq!(tree.path(0, &[1]), [0]);
/// tree.commit_path(0);
/// // From now on it is encrypted for them.
/// assert_eq!(tree.path(0, &[]), [1]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeShape {
    /// In the order of RFC 9420, appendix C: leaves at even places. Always the whole tree, of a power of two of leaves.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Node {
    #[default]
    Blank,
    Leaf,
    /// With the leaves below it that do not know its key.
    Parent(Vec<u32>),
}

impl TreeShape {
    /// The tree of a group with one member, at leaf 0.
    #[must_use]
    pub fn founder() -> Self {
        Self { nodes: vec![Node::Leaf] }
    }

    /// Reads the tree as it is in a welcome's group info (RFC 9420, section 12.4.3.3).
    ///
    /// # Errors
    ///
    /// The bytes are not a tree: a node is at a place for one of the other kind, an unmerged leaf is outside of the tree,
    /// or there are more than [`MAX_LEAVES`](Self::MAX_LEAVES) leaves.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut outer = Reader::new(bytes);
        let mut reader = outer.sub()?;
        outer.finish()?;
        let mut nodes = Vec::new();
        while !reader.is_empty() {
            let wrong = reader.error(ErrorKind::Value);
            if nodes.len() >= 2 * Self::MAX_LEAVES {
                return Err(wrong);
            }
            let is_leaf_place = nodes.len().is_multiple_of(2);
            nodes.push(match reader.u8()? {
                0 => Node::Blank,
                1 => match reader.u8()? {
                    1 if is_leaf_place => {
                        LeafNode::read(&mut reader)?;
                        Node::Leaf
                    }
                    2 if !is_leaf_place => {
                        reader.vector()?;
                        reader.vector()?;
                        let mut list = reader.sub()?;
                        let mut unmerged = Vec::new();
                        while !list.is_empty() {
                            unmerged.push(list.u32()?);
                        }
                        Node::Parent(unmerged)
                    }
                    _ => return Err(wrong),
                },
                _ => return Err(wrong),
            });
        }
        // It ends with a leaf.
        if nodes.len().is_multiple_of(2) {
            return Err(outer.error(ErrorKind::Value));
        }
        let leaves = nodes.len().div_ceil(2).next_power_of_two();
        nodes.resize(2 * leaves - 1, Node::Blank);
        let outside = |node: &Node| matches!(node, Node::Parent(unmerged) if unmerged.iter().any(|leaf| *leaf as usize >= leaves));
        if nodes.iter().any(outside) {
            return Err(outer.error(ErrorKind::Value));
        }
        Ok(Self { nodes })
    }

    /// Leaves that a tree may have: many times as many as a call has had members.
    pub const MAX_LEAVES: usize = 1 << 15;

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.iter().filter(|node| **node == Node::Leaf).count()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a member at this leaf.
    #[must_use]
    pub fn has(&self, leaf: u32) -> bool {
        self.nodes.get(leaf as usize * 2) == Some(&Node::Leaf)
    }

    /// Takes a member out, and blanks the nodes whose keys it knew (RFC 9420, section 12.1.3).
    pub fn remove(&mut self, leaf: u32) {
        let place = leaf as usize * 2;
        if !self.has(leaf) {
            return;
        }
        self.set(place, Node::Blank);
        for node in self.direct_path(place) {
            self.set(node, Node::Blank);
        }
        // A right half without members is cut off.
        while self.nodes.len() > 1
            && self.nodes.iter().skip(self.nodes.len() / 2 + 1).step_by(2).all(|leaf| *leaf == Node::Blank)
        {
            self.nodes.truncate(self.nodes.len() / 2);
        }
    }

    /// Puts a new member at the first free leaf and says which; `None` if there is no place (RFC 9420, section 12.1.1).
    pub fn add(&mut self) -> Option<u32> {
        let free = self.nodes.iter().step_by(2).position(|node| *node == Node::Blank);
        let leaf = free.unwrap_or_else(|| self.nodes.len().div_ceil(2));
        if leaf >= Self::MAX_LEAVES {
            return None;
        }
        if leaf * 2 >= self.nodes.len() {
            self.nodes.resize(2 * self.nodes.len() + 1, Node::Blank);
        }
        let index = leaf as u32;
        for node in self.direct_path(leaf * 2) {
            if let Some(Node::Parent(unmerged)) = self.nodes.get_mut(node) {
                unmerged.push(index);
            }
        }
        self.set(leaf * 2, Node::Leaf);
        Some(index)
    }

    /// For how many members, or groups of members, each new key on the path of a commit of `leaf` has to be encrypted, from
    /// the bottom up; those whom it adds are not among them, because they get theirs by the welcome (RFC 9420, section 7.5).
    ///
    /// The proposals of the commit are to be applied before.
    #[must_use]
    pub fn path(&self, leaf: u32, added: &[u32]) -> Vec<usize> {
        let copath = self.copath(leaf as usize * 2);
        let resolutions = copath.map(|(_, below)| self.resolution(below)).filter(|resolution| !resolution.is_empty());
        resolutions
            .map(|nodes| nodes.iter().filter(|node| !added.iter().any(|leaf| **node == *leaf as usize * 2)).count())
            .collect()
    }

    /// Whether the path of a commit of `leaf` has the keys that it must have, each encrypted as often as it must be.
    #[must_use]
    pub fn fits(&self, path: &UpdatePath<'_>, leaf: u32, added: &[u32]) -> bool {
        self.path(leaf, added).into_iter().eq(path.ciphertexts())
    }

    /// Puts the new keys of a commit of `leaf` in place.
    pub fn commit_path(&mut self, leaf: u32) {
        let copath: Vec<_> = self.copath(leaf as usize * 2).collect();
        for (node, below) in copath {
            let has_key = !self.resolution(below).is_empty();
            self.set(node, if has_key { Node::Parent(Vec::new()) } else { Node::Blank });
        }
    }

    fn set(&mut self, place: usize, node: Node) {
        if let Some(old) = self.nodes.get_mut(place) {
            *old = node;
        }
    }

    /// The nodes above one, from the bottom up.
    fn direct_path(&self, place: usize) -> impl Iterator<Item = usize> + use<> {
        let root = self.nodes.len() / 2;
        std::iter::successors(Some(place), move |node| (*node < 2 * root + 1 && *node != root).then(|| parent(*node)))
            .skip(1)
    }

    /// The nodes above one, each with its child on the other side.
    fn copath(&self, place: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let mut below = place;
        self.direct_path(place).map(move |node| {
            let other = sibling(node, below);
            below = node;
            (node, other)
        })
    }

    /// The nodes that together stand for all members below one (RFC 9420, section 4.1.1).
    fn resolution(&self, place: usize) -> Vec<usize> {
        let (mut open, mut nodes) = (vec![place], Vec::new());
        while let Some(place) = open.pop() {
            match self.nodes.get(place) {
                Some(Node::Blank) if place % 2 == 1 => open.extend(children(place)),
                Some(Node::Blank) | None => {}
                Some(Node::Leaf) => nodes.push(place),
                Some(Node::Parent(unmerged)) => {
                    nodes.push(place);
                    nodes.extend(unmerged.iter().map(|leaf| *leaf as usize * 2));
                }
            }
        }
        nodes
    }
}

/// How far above the leaves a node is (RFC 9420, appendix C).
const fn level(node: usize) -> u32 {
    node.trailing_ones()
}

const fn parent(node: usize) -> usize {
    let level = level(node);
    (node | 1 << level) & !(1 << (level + 1))
}

/// Of a node that is no leaf: left and right.
const fn children(node: usize) -> [usize; 2] {
    let half = 1 << (level(node) - 1);
    [node ^ half, node ^ (half | half << 1)]
}

/// The other child of a node.
const fn sibling(parent: usize, child: usize) -> usize {
    let [left, right] = children(parent);
    if child == left { right } else { left }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(members: u32) -> TreeShape {
        let mut tree = TreeShape::founder();
        (1..members).for_each(|leaf| assert_eq!(tree.add(), Some(leaf)));
        tree
    }

    #[test]
    fn nodes_stand_as_in_the_figure_of_the_specification() {
        // RFC 9420, appendix C: seven nodes, 3 the root, 1 and 5 below it.
        assert_eq!([0, 1, 2, 4, 5, 6].map(parent), [1, 3, 1, 5, 3, 5]);
        assert_eq!((children(1), children(3), children(5)), ([0, 2], [1, 5], [4, 6]));
        assert_eq!((sibling(3, 5), sibling(1, 0)), (1, 2));
        assert_eq!(of(4).direct_path(4).collect::<Vec<_>>(), [5, 3]);
        assert_eq!(of(4).copath(4).collect::<Vec<_>>(), [(5, 6), (3, 1)]);
    }

    #[test]
    fn new_keys_are_for_everybody_who_was_there() {
        let mut tree = of(4);
        // Nobody has committed yet: every member counts alone.
        assert_eq!(tree.path(0, &[]), [1, 2]);
        assert_eq!(tree.path(0, &[2, 3]), [1, 0]);
        tree.commit_path(3);
        assert_eq!(tree.path(0, &[]), [1, 1], "the node above 2 and 3 stands for both");
        assert_eq!(tree.add(), Some(4));
        assert_eq!(tree.path(0, &[4]), [1, 1, 0]);
        assert_eq!(tree.path(4, &[]), [1], "two nodes on its path have nobody on the other side");
        assert_eq!(tree.path(4, &[]).len(), 1);
    }

    #[test]
    fn who_is_removed_takes_the_keys_along_and_the_tree_shrinks() {
        let mut tree = of(5);
        tree.commit_path(0);
        tree.remove(4);
        assert_eq!((tree.len(), tree.nodes.len()), (4, 7));
        tree.remove(1);
        assert_eq!(tree.path(0, &[]), [2], "nobody is beside leaf 0, and the node above 2 and 3 never had a key");
        assert_eq!(tree.add(), Some(1), "the first free leaf is taken");
    }

    #[test]
    fn a_member_who_came_later_counts_beside_the_node_that_does_not_know_it() {
        let mut tree = of(3);
        tree.commit_path(2);
        tree.commit_path(0);
        tree.remove(1);
        tree.commit_path(0);
        assert_eq!(tree.add(), Some(1));
        assert_eq!(tree.path(2, &[]), [2], "the root's other child is blank: both leaves count");
        tree.commit_path(0);
        tree.remove(1);
        tree.commit_path(0);
        assert_eq!(tree.add(), Some(1));
        assert_eq!(tree.path(2, &[1]), [1]);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        assert_eq!(TreeShape::parse(&[3, 0, 0, 0]).map(|tree| tree.len()), Ok(0));
        // A leaf where a parent belongs, a parent where a leaf belongs, an unknown kind, more than one byte of presence.
        for bytes in [&[3, 0, 1, 1][..], &[2, 1, 2], &[2, 1, 3], &[1, 2], &[2, 0], &[1], &[0], &[2, 0, 0]] {
            assert!(TreeShape::parse(bytes).is_err(), "{bytes:?}");
        }
        // A parent whose unmerged leaf is far outside.
        let parent = [11, 0, 1, 2, 0, 0, 4, 0, 0, 0, 9, 0];
        assert!(TreeShape::parse(&parent).is_err());
    }
}
