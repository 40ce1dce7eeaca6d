//! Opcode 27: what is queued, what is refused, and what is committed.

use voice_dave::{
    Refusal, SigningKey,
    wire::{CommitWelcome, Content, ExternalProposal, ProposalBody, proposal_ref},
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
    assert_eq!(client.session.stats().refused(Refusal::NothingQueued), 1);
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
