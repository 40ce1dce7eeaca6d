//! A member who knows all that a member knows, and sends commits that no honest engine makes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;
use voice_model::{ChannelId, UserId};

use super::{Batch, CommitOutcome, Known, Membership};
use crate::{
    Refusal,
    wire::{
        CommitWelcome, Content, ExternalProposal, ExternalSender, ProposalBody, PublicMessage, SigningKey, Welcome,
        sign_content, write_append, write_revoke,
    },
};

struct Everybody;

impl Known for Everybody {
    fn is_here(&self, _: UserId) -> bool {
        true
    }

    fn was_here(&self, _: UserId) -> bool {
        true
    }

    fn count(&self) -> usize {
        100
    }
}

/// A group of honest members and one, the founder, who lies.
struct World {
    gateway: SigningKey,
    liar_key: SigningKey,
    members: Vec<Membership>,
}

impl World {
    /// All are members of epoch 1; nobody but the founder has committed yet.
    fn new(len: u64) -> Self {
        let (gateway, liar_key) = (SigningKey::generate(), SigningKey::generate());
        let public = gateway.public_key();
        let mut sender = Vec::new();
        ExternalSender { signature_key: &public, credential_type: 1, identity: &[0, 1, 1, 0] }.write(&mut sender);
        let member = |user, key: &SigningKey| Membership::new(UserId::new(user), ChannelId::new(9), key, Some(&sender));
        let mut members = vec![member(1, &liar_key)];
        members.extend((2..=len).map(|user| member(user, &SigningKey::generate())));
        let mut world = Self { gateway, liar_key, members };
        let adds: Vec<_> = (1..world.members.len())
            .map(|index| {
                let package = world.members[index].key_package().unwrap().to_vec();
                world.proposal(ProposalBody::Add(&package))
            })
            .collect();
        let payload = made(world.members[0].append(&append(&adds), &Everybody));
        let (commit, welcome) = split(&payload);
        assert_eq!(world.members[0].commit(commit), CommitOutcome::Applied);
        for member in &mut world.members[1..] {
            assert_eq!(member.welcome(welcome, &Everybody), Ok(()));
        }
        world
    }

    fn proposal(&self, body: ProposalBody<'_>) -> Vec<u8> {
        let epoch = self.members[0].epoch().unwrap_or(0);
        ExternalProposal { group_id: &self.members[0].group_id, epoch, sender_index: 0, body }.sign(&self.gateway)
    }

    /// A proposal to remove the last member, and the liar's honest commit over it.
    fn honest_commit(&mut self) -> Vec<u8> {
        let leaf = self.members.pop().unwrap().established().unwrap().own_leaf();
        let proposals = append(&[self.proposal(ProposalBody::Remove(leaf))]);
        let commits: Vec<_> =
            self.members.iter_mut().map(|member| made(member.append(&proposals, &Everybody))).collect();
        commits[0].clone()
    }

    /// The commit with other nodes on its path, signed and authenticated as the liar can.
    fn with_path(&self, commit: &[u8], nodes: &[PathNode]) -> Vec<u8> {
        let liar = &self.members[0];
        let context = liar.established().unwrap().context().unwrap();
        let message = PublicMessage::parse_all(commit).unwrap();
        let membership_key = {
            let whole =
                authenticated(&content_of(commit), &context, message.signature, message.confirmation_tag.unwrap());
            let tag = message.membership_tag.unwrap();
            let mut keys = liar.engine.mac_keys().into_iter();
            keys.find(|key| mac(key, &whole) == tag).expect("the engine made the tag")
        };
        let mut content = content_of(commit);
        content.truncate(path_start(commit));
        vector(&mut content, &nodes.iter().flat_map(PathNode::bytes).collect::<Vec<_>>());
        let signature = self.liar_key.sign(&sign_content("FramedContentTBS", &[&content, &context]));
        let confirmation = message.confirmation_tag.unwrap();
        let tag = mac(&membership_key, &authenticated(&content, &context, &signature, confirmation));
        for part in [&signature[..], confirmation, &tag] {
            vector(&mut content, part);
        }
        content
    }

    /// What each honest member makes of a commit. None of them may panic.
    fn outcomes(&mut self, commit: &[u8]) -> Vec<CommitOutcome> {
        let honest = self.members[1..].iter_mut();
        honest
            .map(|member| catch_unwind(AssertUnwindSafe(|| member.commit(commit))).expect("a member panicked"))
            .collect()
    }
}

/// A new key on a path, and what it is encrypted to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PathNode {
    key: Vec<u8>,
    ciphertexts: Vec<[Vec<u8>; 2]>,
}

impl PathNode {
    fn bytes(&self) -> Vec<u8> {
        let (mut list, mut out) = (Vec::new(), Vec::new());
        self.ciphertexts.iter().flatten().for_each(|part| vector(&mut list, part));
        vector(&mut out, &self.key);
        vector(&mut out, &list);
        out
    }
}

/// The nodes of an honest commit's path.
fn path(commit: &[u8]) -> Vec<PathNode> {
    let mut rest = &commit[path_start(commit)..];
    let mut list = take(&mut rest);
    let mut nodes = Vec::new();
    while !list.is_empty() {
        let key = take(&mut list).to_vec();
        let (mut ciphertexts, mut parts) = (Vec::new(), take(&mut list));
        while !parts.is_empty() {
            ciphertexts.push([take(&mut parts).to_vec(), take(&mut parts).to_vec()]);
        }
        nodes.push(PathNode { key, ciphertexts });
    }
    nodes
}

/// Where the list of a path's nodes begins.
fn path_start(commit: &[u8]) -> usize {
    let Content::Commit(content) = PublicMessage::parse_all(commit).unwrap().content else { panic!("no commit") };
    let leaf = content.path.expect("a removal needs a path").leaf.raw();
    commit.windows(leaf.len()).position(|window| window == leaf).unwrap() + leaf.len()
}

/// What is signed: everything before the signature.
fn content_of(commit: &[u8]) -> Vec<u8> {
    let mut rest = &commit[path_start(commit)..];
    take(&mut rest);
    commit[..commit.len() - rest.len()].to_vec()
}

/// RFC 9420, section 6.2, AuthenticatedContentTBM.
fn authenticated(content: &[u8], context: &[u8], signature: &[u8], confirmation: &[u8]) -> Vec<u8> {
    let mut whole = [content, context].concat();
    vector(&mut whole, signature);
    vector(&mut whole, confirmation);
    whole
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// Writes a vector with its length in front.
fn vector(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        len @ 0..=0x3F => out.push(len as u8),
        len => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
    }
    out.extend_from_slice(bytes);
}

/// Takes a vector off the front.
fn take<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let (len, prefix) = match bytes[0] >> 6 {
        0 => (usize::from(bytes[0]), 1),
        _ => (usize::from(u16::from_be_bytes([bytes[0], bytes[1]]) & 0x3FFF), 2),
    };
    let (vector, rest) = bytes[prefix..].split_at(len);
    *bytes = rest;
    vector
}

fn append(messages: &[Vec<u8>]) -> Vec<u8> {
    write_append(messages.iter().map(Vec::as_slice))
}

fn split(payload: &[u8]) -> (&[u8], &[u8]) {
    payload.split_at(CommitWelcome::parse(payload).unwrap().commit.raw().len())
}

fn made(batch: Batch) -> Vec<u8> {
    assert_eq!(batch.refusal, None);
    batch.commit.expect("there is something to commit")
}

/// One thing that a liar does to a list.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Drop(usize),
    Repeat(usize),
    Swap(usize, usize),
    Truncate(usize),
}

impl Lie {
    fn tell<T: Clone>(self, list: &mut Vec<T>) {
        let len = list.len();
        if len == 0 {
            return;
        }
        match self {
            Self::Drop(at) => drop(list.remove(at % len)),
            Self::Repeat(at) => list.insert(at % len, list[at % len].clone()),
            Self::Swap(a, b) => list.swap(a % len, b % len),
            Self::Truncate(at) => list.truncate(at % len),
        }
    }
}

fn lies() -> impl Strategy<Value = Vec<(u8, usize, Lie)>> {
    let lie = prop_oneof![
        any::<usize>().prop_map(Lie::Drop),
        any::<usize>().prop_map(Lie::Repeat),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Lie::Swap(a, b)),
        any::<usize>().prop_map(Lie::Truncate),
    ];
    proptest::collection::vec((0u8..5, any::<usize>(), lie), 1..4)
}

fn tell(lies: &[(u8, usize, Lie)], nodes: &mut Vec<PathNode>) {
    for (level, at, lie) in lies {
        if *level == 0 || nodes.is_empty() {
            lie.tell(nodes);
            continue;
        }
        let node = *at % nodes.len();
        let PathNode { key, ciphertexts } = &mut nodes[node];
        match level {
            1 => lie.tell(ciphertexts),
            2 => lie.tell(key),
            _ if ciphertexts.is_empty() => {}
            level => {
                let ciphertext = *at / 7 % ciphertexts.len();
                lie.tell(&mut ciphertexts[ciphertext][usize::from(*level == 4)]);
            }
        }
    }
}

fn counts(nodes: &[PathNode]) -> Vec<usize> {
    nodes.iter().map(|node| node.ciphertexts.len()).collect()
}

#[test]
fn a_commit_without_its_path_secrets_is_refused_before_the_engine_reads_it() {
    for len in [3, 4, 6, 9] {
        for keep in 0..3 {
            let mut world = World::new(len);
            let payload = world.honest_commit();
            let (commit, _) = split(&payload);
            let mut nodes = path(commit);
            if keep < nodes.len() {
                nodes.truncate(keep);
                let lie = world.with_path(commit, &nodes);
                let refused = vec![CommitOutcome::Refused(Refusal::BadPath); world.members.len() - 1];
                assert_eq!(world.outcomes(&lie), refused, "{keep} of the path's nodes among {len} members");
            }
            let mut world = World::new(len);
            let payload = world.honest_commit();
            let (commit, _) = split(&payload);
            let mut nodes = path(commit);
            nodes.iter_mut().for_each(|node| node.ciphertexts.clear());
            let lie = world.with_path(commit, &nodes);
            let refused = vec![CommitOutcome::Refused(Refusal::BadPath); world.members.len() - 1];
            assert_eq!(world.outcomes(&lie), refused, "no secrets among {len} members");
        }
    }
}

#[test]
fn the_empty_commit_that_others_make_of_revoked_proposals_is_taken() {
    let mut world = World::new(4);
    let removed = world.members.pop().unwrap().established().unwrap().own_leaf();
    let proposal = world.proposal(ProposalBody::Remove(removed));
    let reference = PublicMessage::parse_all(&proposal).unwrap().reference();
    for member in &mut world.members {
        made(member.append(&append(std::slice::from_ref(&proposal)), &Everybody));
        let batch = member.revoke(&write_revoke([reference]));
        assert_eq!((batch.refusal, batch.commit), (None, None), "nothing is left to commit");
    }
    // What libdave does at this moment.
    let commit = world.members[0].epoch.as_mut().unwrap().group.commit().unwrap().commit;
    assert_eq!(PublicMessage::parse_all(&commit).map(|message| message.epoch), Ok(1));
    assert_eq!(world.outcomes(&commit), [CommitOutcome::Applied; 2]);
    let honest = &world.members[1..];
    assert_eq!(honest.iter().map(|member| member.epoch()).collect::<Vec<_>>(), [Some(2); 2]);
    assert_eq!(honest[0].epoch_authenticator(), honest[1].epoch_authenticator());
    assert_eq!(honest[0].members().len(), 4, "the one who was to be removed is still there");
}

#[test]
fn a_welcome_longer_than_a_group_of_the_call_is_not_read() {
    let mut world = World::new(3);
    let mut joiner =
        Membership::new(UserId::new(9), ChannelId::new(9), &SigningKey::generate(), world.members[0].sender.as_deref());
    let package = joiner.key_package().unwrap().to_vec();
    let proposals = append(&[world.proposal(ProposalBody::Add(&package))]);
    let payload = made(world.members[0].append(&proposals, &Everybody));
    let (_, welcome) = split(&payload);
    let mut long = Vec::new();
    let Welcome { cipher_suite, secrets, encrypted_group_info } = Welcome::parse(welcome).unwrap();
    let padded = [encrypted_group_info, &[0; 110_000]].concat();
    Welcome { cipher_suite, secrets, encrypted_group_info: &padded }.write(&mut long);
    assert_eq!(joiner.welcome(&long, &Everybody), Err(Refusal::WelcomeTooLong));
    assert_eq!(joiner.welcome(welcome, &Everybody), Ok(()), "the key package is not spent on it");
}

#[test]
fn a_panic_of_the_engine_costs_the_group_and_no_more() {
    let mut world = World::new(3);
    let payload = world.honest_commit();
    let (commit, _) = split(&payload);
    let victim = world.members.last_mut().unwrap();
    let epoch = victim.epoch.as_mut().unwrap();
    assert_eq!(epoch.group.panic(), super::Failure::Panicked);
    // The group is not used any more, and the session asks for another.
    assert_eq!(victim.commit(commit), CommitOutcome::Refused(Refusal::EnginePanicked));
    assert_eq!(victim.commit(commit), CommitOutcome::Refused(Refusal::EnginePanicked));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_commit_of_a_liar_reaches_a_fault_of_the_engine(len in 3u64..9, lies in lies()) {
        let mut world = World::new(len);
        let payload = world.honest_commit();
        let (commit, _) = split(&payload);
        let honest = path(commit);
        let mut nodes = honest.clone();
        tell(&lies, &mut nodes);
        let lie = world.with_path(commit, &nodes);
        for outcome in world.outcomes(&lie) {
            prop_assert_ne!(outcome, CommitOutcome::Refused(Refusal::EnginePanicked));
            if counts(&nodes) != counts(&honest) {
                prop_assert_eq!(outcome, CommitOutcome::Refused(Refusal::BadPath));
            } else {
                // Another signature means another transcript, which the tag of the honest commit does not confirm.
                prop_assert_eq!(outcome, CommitOutcome::Refused(Refusal::BadCommit));
            }
        }
    }
}
