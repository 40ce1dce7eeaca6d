//! When keys change: opcodes 4, 21, 22, 24, 29 and 30 together.

use voice_dave::{DaveEvent, Refusal};
use voice_model::UserId;

use crate::call::{Call, Client, Gateway, Step, split};

#[test]
fn readiness_is_said_after_the_keys_of_the_others_are_installed_and_before_the_own_change() {
    let (mut call, commit, _) = prepared();
    let old = call.client(1).speak().unwrap();
    call.client(1).announce(5, &commit);
    let steps = call.client(1).take();
    let ready = steps.iter().position(|step| *step == Step::Ready(5)).unwrap();
    let receive: Vec<_> =
        steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Receive(_, "decrypt"))).collect();
    assert_eq!(receive.len(), 2);
    assert!(receive.iter().all(|(index, _)| *index < ready));
    assert!(!steps.iter().any(|step| matches!(step, Step::Send(_))));
    // Frames still leave with the old key, which the others still know.
    let frame = call.client(1).speak().unwrap();
    assert!(call.client(2).hears(UserId::new(1), &old));
    assert!(call.client(2).hears(UserId::new(1), &frame));
    call.client(1).execute(5);
    assert_eq!(call.client(1).take(), [Step::Send("encrypt")]);
    let frame = call.client(1).speak().unwrap();
    assert!(!call.client(2).hears(UserId::new(1), &frame), "2 has not heard of the commit");
    call.client(2).announce(5, &commit);
    assert!(call.client(2).hears(UserId::new(1), &frame));
}

#[test]
fn unknown_and_repeated_executions_are_ignored() {
    let (mut call, commit, _) = prepared();
    let client = call.client(1);
    client.execute(4);
    client.announce(5, &commit);
    client.take();
    client.execute(5);
    client.take();
    client.execute(5);
    assert_eq!(client.take(), []);
    assert_eq!(client.session.stats().refused(Refusal::UnknownTransition), 2);
}

#[test]
fn the_own_key_is_that_of_the_epoch_the_transition_was_prepared_for() {
    // Two transitions open at once: the first must not jump to the second's epoch.
    let (mut call, first, _) = prepared();
    call.client(1).announce(5, &first);
    call.client(2).announce(5, &first);
    call.client(1).take();
    call.client(2).take();
    let remove = call.gateway.remove(2, 2);
    call.client(1).append(std::slice::from_ref(&remove));
    let (second, _) = split(&call.client(1).take_commit().unwrap());
    call.client(1).announce(6, &second);
    call.client(1).execute(5);
    let frame = call.client(1).speak().unwrap();
    assert!(call.client(2).hears(UserId::new(1), &frame), "2 knows the first epoch only");
    call.client(1).execute(6);
    let frame = call.client(1).speak().unwrap();
    assert!(!call.client(2).hears(UserId::new(1), &frame));
}

#[test]
fn executing_a_later_transition_forgets_the_earlier_one() {
    let (mut call, first, _) = prepared();
    call.client(1).announce(5, &first);
    call.client(1).prepare(6, 1);
    call.client(1).execute(6);
    call.client(1).take();
    call.client(1).execute(5);
    assert_eq!(call.client(1).take(), []);
}

#[test]
fn a_reset_in_the_middle_of_a_transition_keeps_the_media_keys() {
    let (mut call, commit, _) = prepared();
    call.client(1).announce(5, &commit);
    call.client(1).take();
    call.client(1).epoch(1);
    let steps = call.client(1).take();
    assert!(matches!(&steps[..], [Step::KeyPackage(_)]), "{steps:?}");
    assert_eq!(call.client(1).session.status().epoch, None);
    let frame = call.client(1).speak().expect("the key stays");
    assert!(call.client(2).hears(UserId::new(1), &frame));
    let frame = call.client(2).speak().unwrap();
    assert!(call.client(1).hears(UserId::new(2), &frame));
    // A late commit of the old group must not cause another reset.
    call.client(1).announce(6, &commit);
    assert_eq!(call.client(1).take(), []);
    // The transition is still executed, with the key that the others installed.
    call.client(2).announce(5, &commit);
    call.client(1).execute(5);
    let frame = call.client(1).speak().unwrap();
    assert!(call.client(2).hears(UserId::new(1), &frame));
}

#[test]
fn a_new_group_forms_after_a_reset_of_all() {
    let mut call = Call::with_members([1, 2, 3]);
    call.epoch = 0;
    call.leaves.clear();
    for user in [1, 2, 3] {
        call.client(user).epoch(1);
    }
    call.run();
    assert_eq!(call.epoch, 1);
    call.assert_together();
}

#[test]
fn another_epoch_in_opcode_24_resets_nothing() {
    let mut call = Call::with_members([1, 2]);
    for epoch in [0, 2, u64::MAX] {
        call.client(1).epoch(epoch);
        assert_eq!(call.client(1).take(), []);
    }
    call.assert_together();
}

#[test]
fn the_last_one_in_a_call_drops_frames_until_somebody_comes() {
    let mut call = Call::with_members([1, 2]);
    call.clients.remove(&2);
    let client = call.client(1);
    client.disconnect(2);
    client.epoch(1);
    client.prepare(0, 1);
    let steps = client.take();
    assert!(matches!(steps.first(), Some(Step::Forget(_))));
    assert!(steps.contains(&Step::Send("hold")));
    assert!(!steps.iter().any(|step| matches!(step, Step::Ready(_))));
    assert_eq!(client.speak(), None, "there is no key, and never plaintext");
    client.external_sender(&Gateway::new().sender());
    assert_eq!(client.take(), []);
}

#[test]
fn the_first_after_a_pause_founds_a_new_group() {
    let mut call = Call::with_members([1, 2]);
    call.leave(2);
    let client = call.client(1);
    client.take();
    client.epoch(1);
    client.prepare(0, 1);
    let package = client.take_key_package();
    let mut again = Call::new();
    again.gateway = std::mem::replace(&mut call.gateway, Gateway::new());
    again.clients = std::mem::take(&mut call.clients);
    again.connect(4);
    // The one who waited has sent its key package before.
    let add = again.gateway.add(0, &package);
    let newcomer = again.client(4).take_key_package();
    again.client(4).append(&[add]);
    let add = again.gateway.add(0, &newcomer);
    again.client(1).append(&[add]);
    let (commit, _) = split(&again.client(1).take_commit().unwrap());
    let (_, welcome) = {
        let payload = again.client(4).take_commit();
        assert!(payload.is_some(), "every member answers");
        split(&payload.unwrap())
    };
    assert!(welcome.is_some());
    again.client(1).announce(7, &commit);
    assert!(again.client(1).take().contains(&Step::Ready(7)));
}

#[test]
fn a_call_without_encryption_is_in_the_clear() {
    let mut client = Client::new(1);
    assert_eq!(client.speak(), None, "nothing leaves before the gateway has said so");
    client.connect(&[2]);
    client.describe(0);
    assert_eq!(client.speak().as_deref(), Some(&b"audio"[..]));
    assert!(client.hears(UserId::new(2), b"audio"));
    client.connect(&[3]);
    assert!(client.hears(UserId::new(3), b"audio"), "who comes later too");
    assert!(!client.take().iter().any(|step| matches!(step, Step::KeyPackage(_) | Step::Event(_))));
}

#[test]
fn d2_a_call_is_upgraded_while_people_speak() {
    let gateway = Gateway::new();
    let [mut one, mut two] = [1, 2].map(|user| {
        let mut client = Client::new(user);
        client.describe(0);
        client.connect(&[3 - user]);
        client.take();
        client.epoch(1);
        client.external_sender(&gateway.sender());
        client
    });
    let (first, second) = (one.take_key_package(), two.take_key_package());
    one.append(&[gateway.add(0, &second)]);
    two.append(&[gateway.add(0, &first)]);
    let (commit, welcome) = split(&one.take_commit().unwrap());
    one.announce(3, &commit);
    two.welcome(3, &welcome.unwrap());
    // Plain until the transition is executed; understood on both sides of it.
    let frame = one.speak().unwrap();
    assert_eq!(frame, b"audio");
    assert!(two.hears(one.user, &frame));
    one.execute(3);
    let steps = one.take();
    assert!(steps.ends_with(&[Step::Send("encrypt"), Step::Event(DaveEvent::Upgraded)]), "{steps:?}");
    let frame = one.speak().unwrap();
    assert_ne!(frame, b"audio");
    assert!(two.hears(one.user, &frame));
    let late = two.speak().unwrap();
    assert_eq!(late, b"audio");
    assert!(one.hears(two.user, &late), "the window is still open");
    two.execute(3);
    let frame = two.speak().unwrap();
    assert!(one.hears(two.user, &frame));
    one.later(11);
    assert!(!one.hears(two.user, b"audio"), "and then it is closed");
}

#[test]
fn a_call_is_downgraded_while_people_speak() {
    let mut call = Call::with_members([1, 2]);
    for user in [1, 2] {
        call.client(user).prepare(9, 0);
        let steps = call.client(user).take();
        assert!(steps.contains(&Step::Default("passthrough")));
        assert_eq!(steps.last(), Some(&Step::Ready(9)));
    }
    let frame = call.client(1).speak().unwrap();
    assert_ne!(frame, b"audio");
    assert!(call.client(2).hears(UserId::new(1), &frame));
    call.client(1).execute(9);
    assert_eq!(call.client(1).take(), [Step::Send("passthrough"), Step::Event(DaveEvent::Downgraded)]);
    let frame = call.client(1).speak().unwrap();
    assert_eq!(frame, b"audio");
    assert!(call.client(2).hears(UserId::new(1), &frame));
    let status = call.client(1).session.status();
    assert_eq!((status.version, status.active_version, status.epoch), (0, Some(0), None));
    // And up again: a group of its own, as if it were the first.
    call.client(1).epoch(1);
    assert!(matches!(&call.client(1).take()[..], [Step::KeyPackage(_)]));
}

#[test]
fn versions_that_are_not_spoken_here_hold_everything() {
    let mut client = Client::new(1);
    client.describe(2);
    assert_eq!(client.speak(), None);
    assert!(!client.take().iter().any(|step| matches!(step, Step::KeyPackage(_))));
    let mut call = Call::with_members([1, 2]);
    call.client(1).prepare(4, 7);
    assert_eq!(call.client(1).take(), []);
    assert_eq!(call.client(1).session.stats().refused(Refusal::UnsupportedVersion), 1);
}

#[test]
fn the_external_sender_may_come_before_or_after_and_twice() {
    let gateway = Gateway::new();
    let mut early = Client::new(1);
    early.external_sender(&gateway.sender());
    assert_eq!(early.take(), []);
    early.describe(1);
    early.connect(&[2]);
    early.take();
    let mut other = Client::new(2);
    other.describe(1);
    let add = gateway.add(0, &other.take_key_package());
    early.append(std::slice::from_ref(&add));
    let (commit, _) = split(&early.take_commit().unwrap());
    // The same once more does not throw away the group and its commit.
    early.external_sender(&gateway.sender());
    early.announce(2, &commit);
    assert!(early.take().contains(&Step::Ready(2)));
    // A member takes none at all.
    early.external_sender(&Gateway::new().sender());
    assert_eq!(early.take(), []);
    assert_eq!(early.session.stats().refused(Refusal::LateExternalSender), 1);
}

#[test]
fn another_external_sender_makes_another_local_group() {
    let gateway = Gateway::new();
    let mut client = Client::new(1);
    client.describe(1);
    client.connect(&[2]);
    client.external_sender(&Gateway::new().sender());
    client.external_sender(&gateway.sender());
    client.take();
    let mut other = Client::new(2);
    other.describe(1);
    client.append(&[gateway.add(0, &other.take_key_package())]);
    assert!(client.take_commit().is_some());
}

#[test]
fn what_cannot_be_an_external_sender_is_refused() {
    let mut client = Client::new(1);
    client.describe(1);
    client.take();
    let good = Gateway::new().sender();
    let mut bad = good.clone();
    bad[10] ^= 1;
    for bytes in [&[][..], &good[1..], &good[..20], &[good.as_slice(), &[0]].concat(), &bad] {
        client.external_sender(bytes);
    }
    assert_eq!(client.take(), []);
    assert_eq!(client.session.stats().refused(Refusal::BadExternalSender), 5);
}

#[test]
fn a_gateway_that_only_prepares_fills_no_memory() {
    let mut call = Call::with_members([1, 2]);
    for id in 1..=1000 {
        call.client(1).prepare(id, 1);
        call.client(1).take();
    }
    assert!(call.client(1).session.status().pending_transitions <= 16);
}

#[test]
fn names_of_users_without_end_fill_no_memory() {
    let mut client = Client::new(1);
    for start in (0..40_000).step_by(1000) {
        let users: Vec<_> = (start + 10..start + 1010).collect();
        client.connect(&users);
    }
    assert!(client.session.stats().refused(Refusal::TooManyUsers) > 20_000);
}

/// A call of two with a third to come: the commit that adds it, and its welcome.
fn prepared() -> (Call, Vec<u8>, Vec<u8>) {
    let mut call = Call::with_members([1, 2]);
    call.connect(3);
    let package = call.client(3).take_key_package();
    let add = call.gateway.add(1, &package);
    for user in [1, 2] {
        call.client(user).append(std::slice::from_ref(&add));
    }
    let (commit, welcome) = split(&call.client(1).take_commit().unwrap());
    call.client(2).take();
    (call, commit, welcome.unwrap())
}
