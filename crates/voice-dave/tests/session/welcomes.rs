//! Opcode 30: which groups are joined.

use voice_dave::Refusal;
use voice_model::UserId;

use crate::{
    call::{Call, Client, Gateway, Step, split},
    commits::assert_recovers,
};

#[test]
fn a_welcome_that_lists_a_stranger_is_refused() {
    let (mut joiner, welcome) = welcome_for_third(|joiner| joiner.connect(&[1]));
    joiner.welcome(5, &welcome);
    assert_recovers(&mut joiner, 5, Refusal::Stranger);
}

#[test]
fn a_welcome_that_lists_a_user_who_left_is_followed() {
    let (mut joiner, welcome) = welcome_for_third(|joiner| {
        joiner.connect(&[1, 2]);
        joiner.disconnect(2);
    });
    joiner.welcome(5, &welcome);
    let steps = joiner.take();
    assert!(steps.contains(&Step::Ready(5)), "{steps:?}");
    assert!(steps.contains(&Step::Receive(UserId::new(1), "decrypt")));
    assert!(!steps.contains(&Step::Receive(UserId::new(2), "decrypt")), "who left needs no keys");
    // Unless they are there again before the others know.
    joiner.connect(&[2]);
    assert_eq!(joiner.take(), [Step::Receive(UserId::new(2), "decrypt")]);
}

#[test]
fn a_welcome_for_an_older_key_package_is_refused() {
    let (mut joiner, welcome) = welcome_for_third(|joiner| {
        joiner.connect(&[1, 2]);
        joiner.epoch(1);
    });
    joiner.take();
    joiner.welcome(5, &welcome);
    assert_recovers(&mut joiner, 5, Refusal::NotForUs);
}

#[test]
fn a_welcome_to_a_member_is_refused() {
    let (mut joiner, welcome) = welcome_for_third(|joiner| joiner.connect(&[1, 2]));
    joiner.welcome(5, &welcome);
    joiner.take();
    joiner.welcome(6, &welcome);
    assert_recovers(&mut joiner, 6, Refusal::AlreadyMember);
}

#[test]
fn a_welcome_into_the_group_of_another_gateway_is_refused() {
    let (mut joiner, welcome) = welcome_for_third(|joiner| {
        joiner.connect(&[1, 2]);
        joiner.external_sender(&Gateway::new().sender());
    });
    joiner.welcome(5, &welcome);
    assert_recovers(&mut joiner, 5, Refusal::WrongExternalSender);
}

#[test]
fn a_welcome_without_an_external_sender_is_refused() {
    let mut joiner = Client::new(3);
    joiner.describe(1);
    joiner.take();
    joiner.welcome(5, &[0, 2, 0, 0]);
    assert_recovers(&mut joiner, 5, Refusal::NoExternalSender);
}

#[test]
fn truncated_welcomes_are_refused() {
    let (mut joiner, welcome) = welcome_for_third(|joiner| joiner.connect(&[1, 2]));
    for (id, len) in [0, 1, 2, 3, 40, welcome.len() - 1].into_iter().enumerate() {
        let id = id as u16 + 1;
        joiner.welcome(id, &welcome[..len]);
        assert_recovers(&mut joiner, id, Refusal::Malformed);
    }
    // A length near the largest possible is no reason to reserve that much.
    joiner.welcome(99, &[0, 2, 0xBF, 0xFF, 0xFF, 0xFF, 0]);
    assert_recovers(&mut joiner, 99, Refusal::Malformed);
}

#[test]
fn with_transition_0_keys_are_installed_at_once_and_nothing_is_answered() {
    let (mut joiner, welcome) = welcome_for_third(|joiner| joiner.connect(&[1, 2]));
    joiner.welcome(0, &welcome);
    let steps = joiner.take();
    assert!(steps.contains(&Step::Send("encrypt")), "{steps:?}");
    assert!(steps.contains(&Step::Receive(UserId::new(1), "decrypt")));
    assert!(!steps.iter().any(|step| matches!(step, Step::Ready(_))));
    assert!(joiner.speak().is_some());
}

/// A user who was added to the group of 1 and 2 and has not seen the welcome yet.
fn welcome_for_third(prepare: impl FnOnce(&mut Client)) -> (Client, Vec<u8>) {
    let mut call = Call::with_members([1, 2]);
    let mut joiner = Client::new(3);
    joiner.describe(1);
    joiner.external_sender(&call.gateway.sender());
    let add = call.gateway.add(1, &joiner.take_key_package());
    call.client(1).connect(&[3]);
    call.client(1).append(&[add]);
    let (_, welcome) = split(&call.client(1).take_commit().unwrap());
    prepare(&mut joiner);
    joiner.take();
    (joiner, welcome.unwrap())
}
