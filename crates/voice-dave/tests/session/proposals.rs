//! Opcode 27: what is queued, what is refused, and what is committed.

use voice_dave::{
    DaveMessage, Refusal, SigningKey,
    wire::{CommitWelcome, Content, ExternalProposal, KeyPackage, ProposalBody, proposal_ref},
};

use crate::call::{Call, Client, Gateway, Step, split};

#[test]
fn a_proposal_delivered_twice_is_one() {
    let (mut call, add) = call_with_newcomer();
    let client = call.client(1);
    client.append(&[add.clone(), add.clone()]);
    let payload = client.take_commit().unwrap();
    assert_eq!(count(&payload), 1);
    client.append(std::slice::from_ref(&add));
    // The commit over it is sent again as it was: it may have won already.
    assert_eq!(client.take_commit(), Some(payload.clone()));
    assert_eq!(client.session.stats().refused(Refusal::Duplicate), 2);
    client.announce(4, &split(&payload).0);
    assert!(client.take().contains(&Step::Ready(4)));
}

#[test]
fn every_batch_is_answered_by_a_commit_over_all_that_is_queued() {
    let (mut call, add) = call_with_newcomer();
    let remove = call.gateway.remove(1, other_leaf(&call, 1));
    let client = call.client(1);
    client.append(&[add]);
    assert_eq!(count(&client.take_commit().unwrap()), 1);
    client.append(&[remove]);
    let payload = client.take_commit().unwrap();
    assert_eq!(count(&payload), 2);
    let parsed = CommitWelcome::parse(&payload).unwrap();
    let Content::Commit(commit) = parsed.commit.content else { panic!() };
    assert!(commit.path.is_some(), "a removal needs a path");
    assert!(parsed.welcome.is_some());
}

#[test]
fn a_commit_that_adds_only_has_no_path() {
    let (mut call, add) = call_with_newcomer();
    call.client(1).append(&[add]);
    let payload = call.client(1).take_commit().unwrap();
    let Content::Commit(commit) = CommitWelcome::parse(&payload).unwrap().commit.content else { panic!() };
    assert!(commit.path.is_none());
}

#[test]
fn revoking_one_leaves_the_others() {
    let (mut call, add) = call_with_newcomer();
    let remove = call.gateway.remove(1, other_leaf(&call, 1));
    let client = call.client(1);
    client.append(&[add.clone(), remove.clone()]);
    client.take();
    client.revoke(&[proposal_ref(&remove)]);
    let payload = client.take_commit().unwrap();
    let Content::Commit(commit) = CommitWelcome::parse(&payload).unwrap().commit.content else { panic!() };
    assert_eq!(commit.references().unwrap(), [proposal_ref(&add)]);
}

#[test]
fn revoking_all_sends_nothing_and_forgets_the_own_commit() {
    let (mut call, add) = call_with_newcomer();
    let client = call.client(1);
    client.append(std::slice::from_ref(&add));
    let (commit, _) = split(&client.take_commit().unwrap());
    client.revoke(&[proposal_ref(&add)]);
    assert_eq!(client.take(), []);
    client.announce(5, &commit);
    assert_eq!(client.session.stats().refused(Refusal::UnknownReference), 1);
}

#[test]
fn revoking_the_unknown_stops_and_sends_nothing() {
    let (mut call, add) = call_with_newcomer();
    let other = call.gateway.remove(1, 63);
    let client = call.client(1);
    client.append(std::slice::from_ref(&add));
    client.take();
    client.revoke(&[proposal_ref(&other), proposal_ref(&add)]);
    assert_eq!(client.take(), []);
    assert_eq!(client.session.stats().refused(Refusal::UnknownReference), 1);
    // What came after the unknown one is still queued.
    client.append(&[add]);
    assert_eq!(count(&client.take_commit().unwrap()), 1);
}

#[test]
fn d1_an_add_of_a_user_who_is_not_in_the_call_is_refused() {
    let mut call = Call::with_members([1, 2]);
    let mut stranger = Client::new(66);
    stranger.describe(1);
    let add = call.gateway.add(1, &stranger.take_key_package());
    refuses(&mut call, &add, Refusal::UnknownUser);
}

#[test]
fn an_own_add_is_refused_and_does_not_stand_in_the_way_of_others() {
    let (mut call, add) = call_with_newcomer();
    let mut twin = Client::new(1);
    twin.describe(1);
    let own = call.gateway.add(1, &twin.take_key_package());
    refuses(&mut call, &own, Refusal::OwnAdd);
    call.client(1).append(&[add]);
    assert!(call.client(1).take_commit().is_some());
}

#[test]
fn d1_an_add_of_a_user_who_left_is_refused() {
    let (mut call, add) = call_with_newcomer();
    call.client(1).disconnect(3);
    refuses(&mut call, &add, Refusal::UnknownUser);
}

#[test]
fn removals_of_oneself_or_of_nobody_are_refused() {
    let mut call = Call::with_members([1, 2]);
    let own = call.gateway.remove(1, call.leaf_of(1));
    refuses(&mut call, &own, Refusal::OwnRemoval);
    let blank = call.gateway.remove(1, 9);
    refuses(&mut call, &blank, Refusal::BlankLeaf);
}

#[test]
fn proposals_for_another_group_epoch_or_by_another_sender_are_refused() {
    let (mut call, _) = call_with_newcomer();
    let leaf = other_leaf(&call, 1);
    let body = ProposalBody::Remove(leaf);
    let good = ExternalProposal { group_id: &call.gateway.group, epoch: 1, sender_index: 0, body };
    let key = call.gateway.key.clone();
    let group = [7; 8];
    let cases = [
        (ExternalProposal { epoch: 0, ..good }.sign(&key), Refusal::WrongEpoch),
        (ExternalProposal { epoch: 2, ..good }.sign(&key), Refusal::WrongEpoch),
        (ExternalProposal { group_id: &group, ..good }.sign(&key), Refusal::WrongGroup),
        (ExternalProposal { sender_index: 1, ..good }.sign(&key), Refusal::WrongSender),
        (good.sign(&SigningKey::generate()), Refusal::BadSignature),
        (good.with_signature(b""), Refusal::BadSignature),
        (
            ExternalProposal { body: ProposalBody::Other { kind: 7, body: &[0] }, ..good }.sign(&key),
            Refusal::WrongProposal,
        ),
        (ExternalProposal { body: ProposalBody::Other { kind: 99, body: &[] }, ..good }.sign(&key), Refusal::Malformed),
    ];
    for (message, reason) in cases {
        refuses(&mut call, &message, reason);
    }
}

#[test]
fn bad_key_packages_are_refused() {
    let (mut call, _) = call_with_newcomer();
    let mut newcomer = Client::new(3);
    newcomer.describe(1);
    let package = newcomer.take_key_package();
    let mut changed = package.clone();
    *changed.last_mut().unwrap() ^= 1;
    let message = call.gateway.add(1, &changed);
    refuses(&mut call, &message, Refusal::BadSignature);
    let mut suite = package.clone();
    suite[3] = 1;
    let message = call.gateway.add(1, &suite);
    refuses(&mut call, &message, Refusal::BadKeyPackage);
    let mut point = package;
    point[20] ^= 1;
    let message = call.gateway.add(1, &point);
    refuses(&mut call, &message, Refusal::BadKeyPackage);
}

#[test]
fn an_addition_that_would_make_every_commit_impossible_is_refused() {
    let (mut call, add) = call_with_newcomer();
    let key = SigningKey::generate();
    let [mut fourth, mut fifth] = [4, 5].map(Client::new);
    let [fourth, fifth] = [&mut fourth, &mut fifth].map(|client| {
        client.describe(1);
        client.take_key_package()
    });
    call.client(1).connect(&[4, 5]);
    let adding = |call: &mut Call, package: &[u8], key: &SigningKey, change: &dyn Fn(&mut KeyPackage<'_>)| {
        call.gateway.add(1, &signed_anew(package, key, change))
    };
    let extended = adding(&mut call, &fourth, &key, &|package| package.leaf.extensions = EXTENSION);
    refuses(&mut call, &extended, Refusal::BadKeyPackage);
    let good = adding(&mut call, &fourth, &key, &|_| {});
    let encryption_key = KeyPackage::parse(&fourth).unwrap().leaf.encryption_key;
    let same_signer = adding(&mut call, &fifth, &key, &|_| {});
    let other = SigningKey::generate();
    let same_leaf = adding(&mut call, &with_encryption_key(&fifth, encryption_key), &other, &|_| {});
    let client = call.client(1);
    client.append(&[add, good]);
    assert_eq!(count(&client.take_commit().unwrap()), 2);
    for bad in [same_signer, same_leaf] {
        let before = client.session.stats().refused(Refusal::BadKeyPackage);
        client.append(&[bad]);
        assert_eq!(client.take(), []);
        assert_eq!(client.session.stats().refused(Refusal::BadKeyPackage), before + 1);
    }
    // What was there before can still be committed.
    let remove = call.gateway.remove(1, other_leaf(&call, 1));
    let client = call.client(1);
    client.append(&[remove]);
    assert_eq!(count(&client.take_commit().unwrap()), 3);
}

#[test]
fn a_signing_key_of_another_member_is_refused_unless_that_member_goes() {
    let mut call = Call::with_members([1, 2]);
    let mut second = Client::new(2);
    second.describe(1);
    let key = SigningKey::generate();
    let package = signed_anew(&second.take_key_package(), &key, |_| {});
    let add = call.gateway.add(1, &package);
    let remove = call.gateway.remove(1, call.leaf_of(2));
    // The second user comes back with the key, and a fourth one claims it.
    call.client(1).append(&[remove, add]);
    let payload = call.client(1).take_commit().unwrap();
    call.client(1).announce(9, &split(&payload).0);
    call.client(1).take();
    let mut fourth = Client::new(4);
    fourth.describe(1);
    let add = call.gateway.add(2, &signed_anew(&fourth.take_key_package(), &key, |_| {}));
    let remove = call.gateway.remove(2, call.leaf_of(2));
    let client = call.client(1);
    client.connect(&[4]);
    client.append(std::slice::from_ref(&add));
    assert_eq!((client.take(), client.session.stats().refused(Refusal::BadKeyPackage)), (vec![], 1));
    client.append(&[remove, add]);
    assert_eq!(count(&client.take_commit().unwrap()), 2);
}

/// Changes a key package and signs it with another key.
fn signed_anew(package: &[u8], key: &SigningKey, change: impl FnOnce(&mut KeyPackage<'_>)) -> Vec<u8> {
    let public = key.public_key();
    let mut package = KeyPackage::parse(package).unwrap();
    change(&mut package);
    package.leaf.signature_key = &public;
    let signature = key.sign(&KeyPackage::parse(&written(&package)).unwrap().leaf.signed_bytes(&[], 0));
    package.leaf.signature = &signature;
    let signature = key.sign(&KeyPackage::parse(&written(&package)).unwrap().signed_bytes());
    package.signature = &signature;
    written(&package)
}

fn with_encryption_key(package: &[u8], encryption_key: &[u8]) -> Vec<u8> {
    let mut package = KeyPackage::parse(package).unwrap();
    package.leaf.encryption_key = encryption_key;
    written(&package)
}

fn written(package: &KeyPackage<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    package.write(&mut bytes);
    bytes
}

/// An extension that no leaf claims to understand.
const EXTENSION: &[u8] = &[0xF0, 0x99, 1, 0x55];

#[test]
fn what_was_accepted_before_the_bad_one_stays_queued() {
    let (mut call, add) = call_with_newcomer();
    let bad = call.gateway.remove(1, 9);
    let remove = call.gateway.remove(1, other_leaf(&call, 1));
    let client = call.client(1);
    client.append(&[add, bad, remove.clone()]);
    assert_eq!(client.take(), []);
    client.append(&[remove]);
    assert_eq!(count(&client.take_commit().unwrap()), 2);
}

#[test]
fn a_commit_over_less_than_is_queued_is_not_sent_again() {
    let (mut call, add) = call_with_newcomer();
    let bad = call.gateway.remove(1, 9);
    let remove = call.gateway.remove(1, other_leaf(&call, 1));
    let client = call.client(1);
    client.append(std::slice::from_ref(&add));
    assert_eq!(count(&client.take_commit().unwrap()), 1);
    client.append(&[remove, bad]);
    assert_eq!(client.take(), []);
    client.handle(DaveMessage::Resumed);
    assert_eq!(client.take(), []);
    client.append(&[add]);
    assert_eq!(count(&client.take_commit().unwrap()), 2, "what came with the bad one counts");
}

#[test]
fn what_cannot_be_committed_sends_nothing_and_needs_no_recovery() {
    // The user is a member already; without a removal before it the add is not possible.
    let mut call = Call::with_members([1, 2]);
    let mut twin = Client::new(2);
    twin.describe(1);
    let add = call.gateway.add(1, &twin.take_key_package());
    let remove = call.gateway.remove(1, call.leaf_of(2));
    let client = call.client(1);
    client.append(&[add]);
    assert_eq!(client.take(), []);
    assert_eq!(client.session.stats().refused(Refusal::Uncommittable), 1);
    client.append(&[remove]);
    assert_eq!(count(&client.take_commit().unwrap()), 2);
}

#[test]
fn proposals_without_a_group_are_ignored() {
    let gateway = Gateway::new();
    let mut client = Client::new(1);
    client.describe(1);
    client.take();
    client.append(&[gateway.remove(0, 1)]);
    assert_eq!(client.take(), []);
    assert_eq!(client.session.stats().refused(Refusal::NoGroup), 1);
}

#[test]
fn a_truncated_batch_is_refused() {
    let (mut call, add) = call_with_newcomer();
    for cut in [1, 5, 40, add.len() - 1] {
        refuses(&mut call, &add[..cut], Refusal::Malformed);
    }
}

/// Two members, a user who is not one yet, and the proposal to add them.
fn call_with_newcomer() -> (Call, Vec<u8>) {
    let mut call = Call::with_members([1, 2]);
    call.connect(3);
    let package = call.client(3).take_key_package();
    let add = call.gateway.add(1, &package);
    (call, add)
}

fn other_leaf(call: &Call, user: u64) -> u32 {
    1 - call.leaf_of(user)
}

fn refuses(call: &mut Call, message: &[u8], reason: Refusal) {
    let client = call.client(1);
    client.take();
    let before = client.session.stats().refused(reason);
    client.append(&[message.to_vec()]);
    let steps: Vec<Step> = client.take();
    assert_eq!(steps, [], "{reason}");
    assert_eq!(client.session.stats().refused(reason), before + 1, "{reason}: {:?}", client.session.stats());
}

fn count(payload: &[u8]) -> usize {
    let Content::Commit(commit) = CommitWelcome::parse(payload).unwrap().commit.content else { panic!() };
    commit.proposals.count()
}
