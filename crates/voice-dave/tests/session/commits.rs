//! Opcode 29: which commits are followed, which are refused, and which are ignored.

use voice_dave::{
    DaveEvent, DaveMessage, Refusal,
    wire::{Commit, CommitWelcome, Content, ProposalOrRef, PublicMessage},
};
use voice_model::UserId;

use crate::call::{Call, Client, Gateway, Step, split};

#[test]
fn of_competing_commits_all_follow_the_announced_one() {
    for winner in [1, 2] {
        let mut call = Call::with_members([1, 2]);
        let (commits, package) = proposed(&mut call);
        let (commit, welcome) = split(&commits[winner as usize - 1]);
        call.client(1).announce(8, &commit);
        call.client(2).announce(8, &commit);
        let reference = voice_dave::wire::key_package_ref(&package);
        let welcome = voice_dave::wire::Welcome::parse(&welcome.unwrap()).unwrap().cut_for(&reference).unwrap();
        call.client(3).welcome(8, &welcome);
        call.epoch = 2;
        call.leaves.push(Some(3));
        for user in [1, 2, 3] {
            call.client(user).execute(8);
        }
        call.assert_together();
    }
}

#[test]
fn only_the_last_own_commit_is_followed() {
    let mut call = Call::with_members([1, 2]);
    let (commits, _) = proposed(&mut call);
    let (old, _) = split(&commits[0]);
    let remove = call.gateway.remove(1, 1 - call.leaf_of(1));
    let client = call.client(1);
    client.append(&[remove]);
    let (new, _) = split(&client.take_commit().unwrap());
    client.announce(4, &old);
    assert_recovers(client, 4, Refusal::StaleOwnCommit);
    // The last one would have been followed.
    let mut call = Call::with_members([1, 2]);
    let (commits, _) = proposed(&mut call);
    let (last, _) = split(&commits[0]);
    call.client(1).announce(4, &last);
    assert!(call.client(1).take().contains(&Step::Ready(4)));
    assert_ne!(new, last);
}

#[test]
fn a_commit_before_any_proposal_is_ignored() {
    let mut call = Call::with_members([1, 2]);
    let (commits, _) = proposed(&mut call);
    let (commit, _) = split(&commits[0]);
    // One without a group, one with its own local group.
    for sender in [None, Some(call.gateway.sender())] {
        let mut client = Client::new(9);
        client.describe(1);
        if let Some(sender) = sender {
            client.external_sender(&sender);
        }
        client.take();
        client.announce(3, &commit);
        assert_eq!(client.take(), [], "no answer to what is ignored");
        assert_eq!(client.session.stats().refused(Refusal::EarlyCommit), 1);
    }
}

#[test]
fn a_foreign_commit_before_the_welcome_is_refused() {
    let gateway = Gateway::new();
    let [mut one, mut two] = [1, 2].map(|user| {
        let mut client = Client::new(user);
        client.describe(1);
        client.external_sender(&gateway.sender());
        client.connect(&[3 - user]);
        client
    });
    let (first, second) = (one.take_key_package(), two.take_key_package());
    one.append(&[gateway.add(0, &second)]);
    two.append(&[gateway.add(0, &first)]);
    let (commit, _) = split(&one.take_commit().unwrap());
    two.take();
    two.announce(2, &commit);
    assert_recovers(&mut two, 2, Refusal::ForeignCommit);
}

#[test]
fn a_replayed_commit_is_refused() {
    let mut call = Call::with_members([1, 2]);
    let (commits, _) = proposed(&mut call);
    let (commit, _) = split(&commits[1]);
    call.client(1).announce(4, &commit);
    call.client(1).take();
    call.client(1).announce(5, &commit);
    assert_recovers(call.client(1), 5, Refusal::NothingQueued);
}

#[test]
fn a_commit_over_a_proposal_that_is_not_known_is_refused() {
    let mut call = Call::with_members([1, 2]);
    let (commits, _) = proposed(&mut call);
    let remove = call.gateway.remove(1, 7);
    let (commit, _) = split(&commits[1]);
    let message = PublicMessage::parse_all(&commit).unwrap();
    let Content::Commit(Commit { mut proposals, .. }) = message.content else { panic!() };
    let Some(ProposalOrRef::Reference(reference)) = proposals.next() else { panic!() };
    let other = voice_dave::wire::proposal_ref(&remove);
    let changed = replace(&commit, &reference.0, &other.0);
    call.client(1).announce(6, &changed);
    assert_recovers(call.client(1), 6, Refusal::UnknownReference);
}

#[test]
fn a_commit_with_a_proposal_inside_is_refused() {
    let mut call = Call::with_members([1, 2]);
    let (commits, _) = proposed(&mut call);
    let (commit, _) = split(&commits[1]);
    // A list of one reference of 34 bytes becomes a list of one removal of 7.
    let at = commit.windows(3).position(|bytes| bytes == [34, 2, 32]).unwrap();
    let inline = [&commit[..at], &[7, 1, 0, 3, 0, 0, 0, 0], &commit[at + 35..]].concat();
    PublicMessage::parse_all(&inline).unwrap();
    call.client(1).announce(6, &inline);
    assert_recovers(call.client(1), 6, Refusal::InlineProposal);
}

#[test]
fn commits_for_another_group_or_epoch_or_not_whole_are_refused() {
    for (change, reason) in [
        (replace as fn(&[u8], &[u8], &[u8]) -> Vec<u8>, Refusal::WrongGroup),
        (|commit: &[u8], _: &[u8], _: &[u8]| commit[..commit.len() - 1].to_vec(), Refusal::Malformed),
        (|commit: &[u8], _: &[u8], _: &[u8]| [commit, &[0]].concat(), Refusal::Malformed),
        (|commit: &[u8], _: &[u8], _: &[u8]| [&[0, 1, 0, 2], &commit[4..]].concat(), Refusal::Malformed),
        (|commit: &[u8], _: &[u8], _: &[u8]| [&commit[..20], &[9], &commit[21..]].concat(), Refusal::WrongEpoch),
        (
            |commit: &[u8], _: &[u8], _: &[u8]| {
                let mut commit = commit.to_vec();
                *commit.last_mut().unwrap() ^= 1;
                commit
            },
            Refusal::BadCommit,
        ),
    ] {
        let mut call = Call::with_members([1, 2]);
        let (commits, _) = proposed(&mut call);
        let (commit, _) = split(&commits[1]);
        let group = call.gateway.group;
        call.client(1).announce(6, &change(&commit, &group, &[9; 8]));
        assert_recovers(call.client(1), 6, reason);
    }
}

#[test]
fn a_proposal_where_a_commit_should_be_is_refused() {
    let mut call = Call::with_members([1, 2]);
    proposed(&mut call);
    let remove = call.gateway.remove(1, 0);
    call.client(1).announce(6, &remove);
    assert_recovers(call.client(1), 6, Refusal::WrongContent);
}

#[test]
fn whom_a_commit_removes_waits_to_be_added_again() {
    let mut call = Call::with_members([1, 2, 3]);
    let remove = call.gateway.remove(call.epoch, call.leaf_of(2));
    for user in [1, 2, 3] {
        call.client(user).append(std::slice::from_ref(&remove));
    }
    let (commit, _) = split(&call.client(1).take_commit().unwrap());
    let removed = call.client(2);
    assert_eq!(removed.take(), []);
    removed.announce(9, &commit);
    let steps = removed.take();
    assert!(
        matches!(&steps[..], [Step::Send("hold"), Step::Event(DaveEvent::Removed), Step::KeyPackage(_)]),
        "{steps:?}"
    );
    assert_eq!(removed.speak(), None);
    assert_eq!(removed.session.status().epoch, None);
    // A transition of the time before does not bring the old key back.
    removed.execute(9);
    assert_eq!(removed.take(), []);
}

#[test]
fn a_forged_removal_does_not_remove() {
    let mut call = Call::with_members([1, 2, 3]);
    let remove = call.gateway.remove(call.epoch, call.leaf_of(2));
    for user in [1, 2, 3] {
        call.client(user).append(std::slice::from_ref(&remove));
    }
    let (mut commit, _) = split(&call.client(1).take_commit().unwrap());
    let leaf = commit.iter().skip(21).position(|byte| *byte == 1).unwrap() + 21;
    commit[leaf + 4] = call.leaf_of(3) as u8;
    call.client(2).announce(9, &commit);
    assert_recovers(call.client(2), 9, Refusal::UnknownReference);
}

#[test]
fn a_transition_is_answered_by_a_refusal_once() {
    let mut call = Call::with_members([1, 2]);
    let (commits, _) = proposed(&mut call);
    let (commit, _) = split(&commits[1]);
    let client = call.client(1);
    client.announce(6, &commit[1..]);
    client.take();
    // Without proposals for the new group the same commit is not even looked at.
    client.announce(6, &commit);
    assert_eq!(client.take(), []);
    client.welcome(6, &[0, 2, 0, 0]);
    let steps = client.take();
    assert!(!steps.contains(&Step::Invalid(6)), "{steps:?}");
    client.welcome(7, &[0, 2, 0, 0]);
    assert!(client.take().contains(&Step::Invalid(7)));
}

#[test]
fn a_number_that_comes_back_does_not_keep_a_member_out() {
    let mut call = Call::with_members([1, 2]);
    let client = call.client(1);
    client.announce(6, b"nonsense");
    assert_recovers(client, 6, Refusal::NothingQueued);
    // The gateway adds the member again, with the same number, and the welcome is damaged on its way.
    client.welcome(6, &[0, 2, 0, 0]);
    assert!(matches!(client.take()[..], [Step::Event(DaveEvent::Recovering { .. }), Step::KeyPackage(_)]));
    for _ in 0..2 {
        client.welcome(0, &[0, 2, 0, 0]);
        assert_recovers(client, 0, Refusal::NotForUs);
    }
}

#[test]
fn who_recovers_is_added_again_and_heard() {
    let mut call = Call::with_members([1, 2, 3]);
    call.client(2).announce(77, b"nonsense");
    let steps = call.client(2).take();
    assert_eq!(steps[0], Step::Invalid(77));
    // Until then it understands with the keys that it has.
    let frame = call.client(1).speak().unwrap();
    assert!(call.client(2).hears(UserId::new(1), &frame));
    // The gateway removes it, and adds it by its new key package, all in one commit.
    let Some(Step::KeyPackage(package)) = steps.last() else { panic!("{steps:?}") };
    let epoch = call.epoch;
    let batch = [call.gateway.remove(epoch, call.leaf_of(2)), call.gateway.add(epoch, package)];
    for user in [1, 3] {
        call.client(user).append(&batch);
    }
    let (commit, welcome) = split(&call.client(3).take_commit().unwrap());
    for user in [1, 3] {
        call.client(user).announce(78, &commit);
    }
    call.client(2).welcome(78, &welcome.unwrap());
    for user in [1, 2, 3] {
        assert!(call.client(user).take().contains(&Step::Ready(78)));
        call.client(user).execute(78);
    }
    call.epoch += 1;
    call.assert_together();
}

#[test]
fn commits_in_a_call_without_encryption_are_ignored() {
    let mut client = Client::new(1);
    client.handle(DaveMessage::SessionDescription { version: 0 });
    client.take();
    client.announce(1, b"anything");
    client.welcome(2, b"anything");
    assert_eq!(client.take(), []);
}

/// The answers of members 1 and 2 to the proposal to add 3, and 3's key package.
fn proposed(call: &mut Call) -> ([Vec<u8>; 2], Vec<u8>) {
    call.connect(3);
    let package = call.client(3).take_key_package();
    let add = call.gateway.add(call.epoch, &package);
    let commits = [1, 2].map(|user| {
        call.client(user).append(std::slice::from_ref(&add));
        call.client(user).take_commit().unwrap()
    });
    assert!(CommitWelcome::parse(&commits[0]).unwrap().welcome.is_some());
    (commits, package)
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

pub(crate) fn assert_recovers(client: &mut Client, id: u16, reason: Refusal) {
    let steps = client.take();
    assert!(
        matches!(
            &steps[..],
            [Step::Invalid(invalid), Step::Event(DaveEvent::Recovering { reason: why }), Step::KeyPackage(_)]
                if *invalid == id && *why == reason
        ),
        "{reason}: {steps:?}"
    );
    assert_eq!(client.session.status().epoch, None);
}
