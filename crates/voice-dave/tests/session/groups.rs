//! Groups form, grow, shrink, and form again.

use voice_dave::{DaveEvent, DaveSession, wire::ProposalBody};
use voice_model::UserId;

use crate::call::{Call, Client, Step, split};

#[test]
fn groups_of_two_three_ten_and_fifty_form() {
    for size in [2, 3, 10, 50] {
        let mut call = Call::with_members(1..=size);
        call.assert_together();
    }
}

#[test]
fn members_join_one_by_one() {
    let mut call = Call::with_members([1, 2]);
    for user in 3..=8 {
        call.connect(user);
        call.run();
        call.assert_together();
    }
    assert_eq!(call.epoch, 7);
}

#[test]
fn members_leave_and_others_come_in_one_commit() {
    let mut call = Call::with_members(1..=6);
    call.leave(2);
    call.leave(5);
    call.connect(7);
    call.run();
    call.assert_together();
    call.connect(2);
    call.run();
    call.assert_together();
}

#[test]
fn the_founder_may_leave() {
    let mut call = Call::with_members(1..=4);
    let founder = call.leaves[0].unwrap();
    call.leave(founder);
    call.run();
    call.assert_together();
}

#[test]
fn those_who_left_do_not_understand_what_comes_after() {
    let mut call = Call::with_members([1, 2, 3]);
    let mut gone = call.clients.remove(&3).unwrap();
    call.clients.insert(3, Client::new(3));
    call.leave(3);
    call.run();
    call.assert_together();
    let frame = call.client(1).speak().unwrap();
    assert!(!gone.hears(UserId::new(1), &frame));
    assert!(call.client(2).hears(UserId::new(1), &frame));
}

#[test]
fn d6_everybody_is_told_the_same_privacy_code_and_members() {
    let mut call = Call::with_members([1, 2]);
    call.connect(3);
    // What `run` would do, but looking at the events.
    let package = call.client(3).take_key_package();
    let add = call.gateway.add(1, &package);
    for user in [1, 2] {
        call.client(user).append(std::slice::from_ref(&add));
    }
    let (commit, welcome) = split(&call.client(1).take_commit().unwrap());
    call.client(2).take();
    call.client(1).announce(9, &commit);
    call.client(2).announce(9, &commit);
    call.client(3).welcome(9, &welcome.unwrap());
    let events: Vec<_> = [1, 2, 3]
        .map(|user| call.client(user).take().into_iter().find(|step| matches!(step, Step::Event(_))).unwrap())
        .to_vec();
    let Step::Event(DaveEvent::EpochChanged { epoch: 2, privacy_code, members }) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(privacy_code.len(), 30);
    assert_eq!(members.len(), 3);
    assert!(events.iter().all(|event| *event == events[0]));
}

#[test]
fn d6_two_members_see_the_same_verification_code() {
    let mut call = Call::with_members([1, 2, 3]);
    let codes =
        [(1, 2), (2, 1), (1, 3)].map(|(own, peer)| call.client(own).session.verification(UserId::new(peer)).unwrap());
    assert_eq!(codes[0].code().len(), 45);
    assert_eq!(codes[0].code(), codes[1].code());
    assert_ne!(codes[0].code(), codes[2].code());
    assert!(call.client(1).session.verification(UserId::new(1)).is_none());
    assert!(call.client(1).session.verification(UserId::new(4)).is_none());
}

#[test]
fn d6_whose_verification_code_is_a_new_one_is_told() {
    let mut call = Call::with_members([1, 2]);
    let third = vec![UserId::new(3)];
    call.connect(3);
    let package = call.client(3).take_key_package();
    assert_eq!(commit(&mut call, 1, &[ProposalBody::Add(&package)]), [(third.clone(), vec![])]);
    // Who comes back with the key that they had is who they were; with another one they may be somebody else.
    for (same_key, told) in [(true, vec![]), (false, vec![(vec![], third)])] {
        let epoch = call.client(1).session.status().epoch.unwrap();
        if !same_key {
            call.clients.insert(3, Client::new(3));
        }
        call.client(3).describe(1);
        let package = call.client(3).take_key_package();
        assert_eq!(commit(&mut call, epoch, &[ProposalBody::Remove(2), ProposalBody::Add(&package)]), told);
    }
}

#[test]
fn d6_who_is_known_stays_known_over_a_new_session() {
    let mut call = Call::with_members([1, 2]);
    let channel = crate::call::CHANNEL;
    for user in [1, 2] {
        let client = call.client(user);
        client.take();
        client.session.restart(channel);
        assert_eq!((client.session.status().epoch, client.session.stats().welcomes_applied), (None, 0));
    }
    let mut again = Call::new();
    for user in [1, 2] {
        again.connect(user);
        again.clients.get_mut(&user).unwrap().session = call.clients.remove(&user).unwrap().session;
    }
    for user in [1, 2] {
        let sender = again.gateway.sender();
        let client = again.client(user);
        client.take();
        client.external_sender(&sender);
        client.describe(1);
        client.connect(&[3 - user]);
    }
    let package = again.client(2).take_key_package();
    again.client(1).take_key_package();
    let told = commit(&mut again, 0, &[ProposalBody::Add(&package)]);
    assert_eq!(again.client(1).session.status().members.len(), 2);
    assert_eq!(told, [], "the keys are those of before");
}

/// Whose codes are new, and whose are others.
type Told = (Vec<UserId>, Vec<UserId>);

/// Lets the first member commit proposals; what it then tells of verification codes.
fn commit(call: &mut Call, epoch: u64, proposals: &[ProposalBody<'_>]) -> Vec<Told> {
    let proposals: Vec<_> = proposals.iter().map(|body| call.gateway.proposal(epoch, *body)).collect();
    let client = call.client(1);
    client.append(&proposals);
    let (commit, _) = split(&client.take_commit().unwrap());
    client.announce(9, &commit);
    client.take().into_iter().filter_map(told_of_codes).collect()
}

fn told_of_codes(step: Step) -> Option<Told> {
    if let Step::Event(DaveEvent::VerificationChanged { new, changed }) = step { Some((new, changed)) } else { None }
}

#[test]
fn a_session_prints_no_secret_and_can_move_to_another_thread() {
    const fn assert_send<T: Send>() {}
    assert_send::<DaveSession>();
    let mut call = Call::with_members([1, 2]);
    let printed = format!("{:?}", call.client(1).session);
    assert!(printed.len() < 200 && printed.contains("epoch"), "{printed}");
}
