//! A call of other people's members, as their delivery service saw it.

use serde_json::Value;
use voice_dave::SigningKey;
use voice_dave::wire::{ExternalSender, PublicMessage, verify};
use voice_model::UserId;

use crate::dave::commit::{Expected, Winner};
use crate::dave::key_package::{KeptPackage, LeafKeys};
use crate::dave::proposals::{Change, Proposed};
use crate::dave::roster::Roster;
use crate::dave::sender::Signer;
use crate::dave::stats::DaveRefusal;
use crate::random::Random;

/// `delivery.json`: five epochs of members that run libdave.
fn steps() -> (Vec<u8>, Vec<Value>) {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/delivery.json")).unwrap();
    let group: u64 = file["group"].as_str().unwrap().parse().unwrap();
    (group.to_be_bytes().to_vec(), file["steps"].as_array().unwrap().clone())
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn user(step: &Value, name: &str) -> UserId {
    UserId::new(step[name].as_str().unwrap().parse().unwrap())
}

fn is(step: &Value, what: &str) -> bool {
    step["step"].as_str().unwrap().starts_with(what)
}

/// One commit of the call, and everything that was there before it.
struct Scene {
    group: Vec<u8>,
    epoch: u64,
    committer: UserId,
    leaf: u32,
    signature_key: Vec<u8>,
    proposals: Vec<Proposed>,
    payload: Vec<u8>,
}

impl Scene {
    fn expected<'a>(&'a self, proposals: &'a [&'a Proposed]) -> Expected<'a> {
        let leaf = Some((self.leaf, self.signature_key.as_slice()));
        Expected { group_id: &self.group, epoch: self.epoch, user: self.committer, leaf, proposals }
    }

    fn check_payload(&self, payload: &[u8]) -> Result<Vec<Change>, DaveRefusal> {
        let proposals: Vec<_> = self.proposals.iter().collect();
        self.expected(&proposals).check(payload, 65_536).map(|winner| winner.changes)
    }

    fn check(&self) -> Result<Vec<Change>, DaveRefusal> {
        self.check_payload(&self.payload)
    }
}

/// Walks through the call, comparing all that is stated, and returns its four commits.
fn play() -> Vec<Scene> {
    let (group, steps) = steps();
    let mut sender_key = Vec::new();
    let mut packages: Vec<(UserId, KeptPackage)> = Vec::new();
    let mut proposals = Vec::new();
    let mut roster = Roster::default();
    let mut welcomes: Vec<(UserId, Vec<u8>)> = Vec::new();
    let mut scenes = Vec::new();
    let mut cut = 0;
    for step in &steps {
        if is(step, "external sender") {
            sender_key = ExternalSender::parse(&bytes(&step["payload"])).unwrap().signature_key.to_vec();
        } else if is(step, "key package") {
            let user = user(step, "user");
            let package = KeptPackage::check(user, &bytes(&step["payload"]), 1_024).unwrap();
            if step["ref"].is_string() {
                assert_eq!(package.reference.to_vec(), bytes(&step["ref"]));
                assert_eq!(package.leaf.signature, bytes(&step["signature_key"]));
            }
            packages.retain(|(other, _)| *other != user);
            packages.push((user, package));
        } else if is(step, "external proposal") {
            let message = bytes(&step["payload"]);
            let parsed = PublicMessage::parse_all(&message).unwrap();
            assert!(verify(&sender_key, &parsed.signed_bytes(), parsed.signature).is_ok());
            let change = match parsed.content {
                voice_dave::wire::Content::Proposal(voice_dave::wire::Proposal::Remove(leaf)) => Change::Remove(leaf),
                voice_dave::wire::Content::Proposal(voice_dave::wire::Proposal::Add(package)) => {
                    Change::Add(package.leaf.credential.user_id().unwrap(), package.reference())
                }
                _ => unreachable!("the call only adds and removes"),
            };
            let proposed = Proposed::new(change, message);
            assert_eq!(proposed.reference.0.to_vec(), bytes(&step["ref"]));
            proposals.push(proposed);
        } else if is(step, "proposals") {
            let list = voice_dave::wire::write_append(proposals.iter().map(|it: &Proposed| it.message.as_slice()));
            assert_eq!([&[0], list.as_slice()].concat(), bytes(&step["payload"]));
        } else if is(step, "commit") {
            let committer = user(step, "by");
            let leaf = u32::try_from(step["sender_leaf"].as_u64().unwrap()).unwrap();
            let own = packages.iter().find(|(user, _)| *user == committer);
            let signature_key = roster.signature_key(leaf).map(<[u8]>::to_vec);
            let scene = Scene {
                group: group.clone(),
                epoch: step["epoch"].as_u64().unwrap(),
                committer,
                leaf,
                signature_key: signature_key.unwrap_or_else(|| own.unwrap().1.leaf.signature.clone()),
                proposals: core::mem::take(&mut proposals),
                payload: bytes(&step["payload"]),
            };
            if scene.epoch == 0 {
                roster.add(committer, LeafKeys { signature: scene.signature_key.clone(), ..LeafKeys::default() });
            }
            welcomes = follow(&scene, step, &mut roster, &mut packages);
            cut = 0;
            scenes.push(scene);
        } else if is(step, "welcome for one") {
            let (to, welcome) = &welcomes[cut];
            assert_eq!((*to, welcome.clone()), (user(step, "user"), bytes(&step["payload"])));
            cut += 1;
        } else if is(step, "epoch reached") {
            assert_eq!(cut, welcomes.len(), "every welcome is compared");
            let leaves = step["leaves"].as_object().unwrap();
            assert_eq!(leaves.len(), roster.live().count());
            for (leaf, name) in leaves {
                let name = UserId::new(name.as_str().unwrap().parse().unwrap());
                assert_eq!(roster.user(leaf.parse().unwrap()), Some(name), "leaf {leaf}");
            }
        }
    }
    scenes
}

/// Does what a commit says, and returns the welcomes in the order of the file.
fn follow(
    scene: &Scene,
    step: &Value,
    roster: &mut Roster,
    packages: &mut Vec<(UserId, KeptPackage)>,
) -> Vec<(UserId, Vec<u8>)> {
    let proposals: Vec<_> = scene.proposals.iter().collect();
    let Winner { commit, changes, welcome, .. } = scene.expected(&proposals).check(&scene.payload, 65_536).unwrap();
    assert_eq!(commit, bytes(&step["commit"]));
    let mut welcomes = Vec::new();
    for change in &changes {
        if let Change::Remove(leaf) = change {
            roster.remove(*leaf);
        }
    }
    for change in &changes {
        let Change::Add(user, reference) = change else { continue };
        let at = packages.iter().position(|(name, _)| name == user).unwrap();
        let (_, package) = packages.remove(at);
        assert_eq!(package.reference, *reference);
        roster.add(*user, package.leaf);
        welcomes.push((*user, welcome.as_ref().unwrap().cut_for(reference).unwrap()));
    }
    welcomes
}

/// The commit of the call that adds two, and the one that removes and adds.
fn two_scenes() -> (Scene, Scene) {
    let mut scenes = play();
    let both = scenes.remove(3);
    (scenes.remove(1), both)
}

#[test]
fn the_whole_call_is_accepted_with_the_leaves_and_welcomes_it_states() {
    assert_eq!(play().len(), 4);
}

#[test]
fn what_comes_too_early_too_late_or_from_somebody_else_is_refused() {
    let wrong = |change: fn(&mut Scene), reason| {
        let (mut scene, _) = two_scenes();
        assert!(scene.check().is_ok());
        change(&mut scene);
        assert_eq!(scene.check(), Err(reason));
    };
    wrong(|scene| scene.group[0] ^= 1, DaveRefusal::CommitGroup);
    wrong(|scene| scene.epoch += 1, DaveRefusal::CommitEpoch);
    wrong(|scene| scene.epoch -= 1, DaveRefusal::CommitEpoch);
    wrong(|scene| scene.leaf = 0, DaveRefusal::CommitSender);
    wrong(|scene| scene.payload.push(0), DaveRefusal::CommitMalformed);
    wrong(|scene| scene.payload[3] = 2, DaveRefusal::CommitMalformed);
    wrong(|scene| scene.payload = scene.proposals[0].message.clone(), DaveRefusal::CommitContent);
}

#[test]
fn a_commit_that_is_cut_off_anywhere_is_refused() {
    let (_, scene) = two_scenes();
    let commit_len = commit_len(&scene);
    for len in 0..scene.payload.len() {
        let expected = if len == commit_len { DaveRefusal::WelcomeMissing } else { DaveRefusal::CommitMalformed };
        assert_eq!(scene.check_payload(&scene.payload[..len]), Err(expected), "{len}");
    }
}

#[test]
fn a_commit_longer_than_the_limit_is_not_even_read() {
    let (scene, _) = two_scenes();
    let proposals: Vec<_> = scene.proposals.iter().collect();
    let check = |limit| scene.expected(&proposals).check(&scene.payload, limit).map(|it| it.changes.len());
    assert_eq!(check(scene.payload.len()), Ok(2));
    assert_eq!(check(scene.payload.len() - 1), Err(DaveRefusal::CommitTooLong));
}

#[test]
fn a_user_who_is_no_member_cannot_commit() {
    let (scene, _) = two_scenes();
    let proposals: Vec<_> = scene.proposals.iter().collect();
    let expected = Expected { leaf: None, ..scene.expected(&proposals) };
    assert_eq!(expected.check(&scene.payload, 65_536).map(|_| ()), Err(DaveRefusal::CommitSender));
}

#[test]
fn all_proposals_are_committed_and_no_other_ones() {
    // One that the committer does not have.
    let (mut scene, _) = two_scenes();
    scene.proposals.pop();
    assert_eq!(scene.check(), Err(DaveRefusal::CommitReferences));
    // One more than the commit has.
    let (mut scene, other) = two_scenes();
    scene.proposals.extend(other.proposals);
    assert_eq!(scene.check(), Err(DaveRefusal::CommitReferences));
    // The same one twice instead of both.
    let (mut scene, _) = two_scenes();
    let [first, second] = [0, 1].map(|at| scene.proposals[at].reference.0);
    replace(&mut scene.payload, &second, &first);
    assert_eq!(scene.check(), Err(DaveRefusal::CommitReferences));
}

#[test]
fn a_commit_of_nothing_is_refused() {
    let (scene, _) = two_scenes();
    let mut payload = scene.payload.clone();
    payload.splice(LIST_AT..LIST_AT + 2 + 68, [0]);
    assert_eq!(scene.check_payload(&payload), Err(DaveRefusal::CommitEmpty));
}

#[test]
fn a_proposal_inside_of_a_commit_is_refused() {
    let (scene, _) = two_scenes();
    let mut payload = scene.payload.clone();
    // 68 bytes of references become nine: a proposal of six, and padding is not possible.
    payload.splice(LIST_AT..LIST_AT + 2 + 68, [7, 1, 0, 3, 0, 0, 0, 2]);
    assert_eq!(scene.check_payload(&payload), Err(DaveRefusal::CommitInline));
}

#[test]
fn a_removal_needs_a_path_and_a_path_does_not_change_who_its_sender_is() {
    let (_, mut scene) = two_scenes();
    let key = scene.signature_key.clone();
    scene.signature_key = vec![4; 65];
    assert_eq!(scene.check(), Err(DaveRefusal::CommitPathIdentity));
    scene.signature_key.clone_from(&key);
    let committer = core::mem::replace(&mut scene.committer, UserId::new(9));
    assert_eq!(scene.check(), Err(DaveRefusal::CommitPathIdentity));
    scene.committer = committer;
    // Another leaf than the one that is signed.
    let at = position(&scene.payload, &key) - 69;
    assert_eq!(scene.payload[at..at + 2], [0x40, 0x41]);
    let mut payload = scene.payload.clone();
    payload[at + 30] ^= 1;
    assert_eq!(scene.check_payload(&payload), Err(DaveRefusal::CommitPathIdentity));
    // No path at all.
    let list_end = LIST_AT + 2 + 68;
    assert_eq!(scene.payload[list_end], 1);
    let parsed = PublicMessage::parse(&scene.payload).unwrap().0;
    let tail = position(&scene.payload, parsed.signature) - 2;
    let tail = if parsed.signature.len() < 64 { tail + 1 } else { tail };
    let mut payload = scene.payload.clone();
    payload.splice(list_end..tail, [0]);
    assert_eq!(scene.check_payload(&payload), Err(DaveRefusal::CommitPathMissing));
}

#[test]
fn a_welcome_is_there_when_somebody_is_added_and_for_all_of_them() {
    let (scene, _) = two_scenes();
    let commit_len = commit_len(&scene);
    assert_eq!(scene.check_payload(&scene.payload[..commit_len]), Err(DaveRefusal::WelcomeMissing));
    let mut other_suite = scene.payload.clone();
    other_suite[commit_len + 1] = 1;
    assert_eq!(scene.check_payload(&other_suite), Err(DaveRefusal::WelcomeIncomplete));
    for proposed in &scene.proposals {
        let Change::Add(_, reference) = proposed.change else { unreachable!("the commit adds two") };
        let mut payload = scene.payload.clone();
        let at = commit_len + position(&payload[commit_len..], &reference);
        payload[at] ^= 1;
        assert_eq!(scene.check_payload(&payload), Err(DaveRefusal::WelcomeIncomplete));
    }
    let removal = play().remove(2);
    assert!(removal.check().is_ok());
    let payload = [removal.payload.as_slice(), &scene.payload[commit_len..]].concat();
    assert_eq!(removal.check_payload(&payload), Err(DaveRefusal::WelcomeUnwanted));
}

#[test]
fn a_key_package_says_who_it_is_from_for_how_long_and_with_which_suite() {
    let owner = UserId::new(7);
    let good = Signer::new(&mut Random::new([1; 32])).key_package(owner);
    let check = |bytes: &[u8]| KeptPackage::check(owner, bytes, 1_024).map(|_| ());
    assert_eq!(check(&good), Ok(()));
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        assert_ne!(core::mem::replace(&mut bytes[at], value), value);
        check(&bytes)
    };
    assert_eq!(KeptPackage::check(UserId::new(8), &good, 1_024).map(|_| ()), Err(DaveRefusal::KeyPackageCredential));
    assert_eq!(KeptPackage::check(owner, &good, 100).map(|_| ()), Err(DaveRefusal::KeyPackageTooLong));
    assert_eq!(changed(3, 1), Err(DaveRefusal::KeyPackageSuite));
    // Version, suite, three keys of 67 bytes, then the credential.
    let credential = 4 + 3 * 67;
    assert_eq!(changed(credential + 1, 2), Err(DaveRefusal::KeyPackageCredential));
    assert_eq!(changed(credential + 10, 8), Err(DaveRefusal::KeyPackageCredential));
    let capabilities = credential + 11;
    assert_eq!(changed(capabilities + 2, 2), Err(DaveRefusal::KeyPackageSuite));
    assert_eq!(changed(capabilities + 5, 3), Err(DaveRefusal::KeyPackageSuite));
    assert_eq!(changed(capabilities + 10, 2), Err(DaveRefusal::KeyPackageSuite));
    let lifetime = capabilities + 12;
    assert_eq!(changed(lifetime + 7, 1), Err(DaveRefusal::KeyPackageLifetime));
    assert_eq!(changed(lifetime + 15, 0), Err(DaveRefusal::KeyPackageLifetime));
    // What is signed, and the outer signature.
    let signature = lifetime + 16 + 1 + 10;
    assert_eq!(changed(signature, good[signature] ^ 1), Err(DaveRefusal::KeyPackageSignature));
    assert_eq!(changed(good.len() - 1, good[good.len() - 1] ^ 1), Err(DaveRefusal::KeyPackageSignature));
    // Keys that members would not accept, well signed.
    let signer = Signer::new(&mut Random::new([1; 32]));
    let [key, other] = [[1; 32], [2; 32]].map(|bytes| SigningKey::from_bytes(&bytes).unwrap().public_key());
    let mut off_curve = key;
    off_curve[40] ^= 1;
    for (init, encryption) in [(&key[..], &key[..]), (&off_curve, &other), (&key, &off_curve), (&key[1..], &other)] {
        let package = signer.key_package_of(owner, init, encryption);
        assert_eq!(check(&package), Err(DaveRefusal::KeyPackageKeys));
    }
    assert_eq!(check(&signer.key_package_of(owner, &key, &other)), Ok(()));
    // As the specification has it, wrapped in an MLS message, and cut off anywhere.
    let wrapped = [&[0, 1, 0, 5], good.as_slice()].concat();
    assert_eq!(check(&wrapped), Err(DaveRefusal::KeyPackageMalformed));
    assert_eq!(check(&[good.as_slice(), &[0]].concat()), Err(DaveRefusal::KeyPackageMalformed));
    for len in 0..good.len() {
        assert_eq!(check(&good[..len]), Err(DaveRefusal::KeyPackageMalformed), "{len}");
    }
}

fn commit_len(scene: &Scene) -> usize {
    PublicMessage::parse(&scene.payload).unwrap().1
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let at = position(bytes, old);
    bytes[at..at + old.len()].copy_from_slice(new);
}

/// Where the list of proposals of a commit begins: after the version, the kind, the group, the
/// epoch, the sender, no authenticated data and the type of content.
const LIST_AT: usize = 4 + 9 + 8 + 5 + 1 + 1;
