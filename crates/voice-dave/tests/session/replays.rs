//! No frame opens twice, whatever takes a key away and gives it back; and a key ends with its member.

use voice_dave::{DaveEvent, DaveMessage};
use voice_model::UserId;

use crate::call::{Call, Client, Step, split};

#[test]
fn a_frame_is_not_heard_again_after_its_sender_was_said_to_leave_and_come() {
    let mut call = Call::with_members([1, 2, 3]);
    let frame = call.client(2).speak().unwrap();
    assert!(call.client(1).hears(UserId::new(2), &frame));
    call.client(1).disconnect(2);
    call.client(1).connect(&[2]);
    call.client(1).take();
    assert!(!call.client(1).hears(UserId::new(2), &frame));
    let next = call.client(2).speak().unwrap();
    assert!(call.client(1).hears(UserId::new(2), &next), "what is new is heard");
}

#[test]
fn a_frame_is_not_heard_again_after_a_downgrade_that_was_taken_back() {
    let mut call = Call::with_members([1, 2]);
    let frame = call.client(2).speak().unwrap();
    assert!(call.client(1).hears(UserId::new(2), &frame));
    call.client(1).prepare(8, 0);
    call.client(1).later(11);
    call.client(1).prepare(9, 1);
    assert!(!call.client(1).hears(UserId::new(2), &frame));
    let next = call.client(2).speak().unwrap();
    assert!(call.client(1).hears(UserId::new(2), &next));
}

#[test]
fn a_downgrade_that_was_taken_back_ends_no_key() {
    let mut call = Call::with_members([1, 2]);
    call.client(1).prepare(8, 0);
    call.client(1).later(3);
    call.client(1).prepare(9, 1);
    call.client(1).later(60);
    let frame = call.client(2).speak().unwrap();
    assert!(call.client(1).hears(UserId::new(2), &frame), "the epoch goes on, and so does its key");
}

#[test]
fn the_key_of_who_was_removed_from_the_group_runs_out_although_they_are_still_in_the_call() {
    let mut call = Call::with_members([1, 2, 3]);
    let (epoch, leaf) = (call.epoch, call.leaf_of(3));
    let remove = call.gateway.remove(epoch, leaf);
    call.client(1).append(&[remove]);
    let (commit, _) = split(&call.client(1).take_commit().unwrap());
    // Already when the transition is prepared: a gateway may never execute it.
    call.client(1).announce(50, &commit);
    assert!(!call.client(1).session.status().members.contains(&UserId::new(3)));
    let frame = call.client(3).speak().unwrap();
    assert!(call.client(1).hears(UserId::new(3), &frame), "what was on its way is heard");
    call.client(1).later(11);
    let frame = call.client(3).speak().unwrap();
    assert!(!call.client(1).hears(UserId::new(3), &frame));
}

#[test]
fn a_downgrade_prepared_before_another_transition_is_executed_lets_plaintext_in() {
    let mut call = Call::with_members([1, 2]);
    call.client(1).connect(&[5]);
    call.client(1).prepare(8, 1);
    call.client(1).prepare(9, 0);
    call.client(1).execute(8);
    call.client(1).take();
    assert!(call.client(1).hears(UserId::new(5), b"audio"), "who does not encrypt is there already");
    call.client(1).execute(9);
    call.client(1).take();
    assert!(call.client(1).hears(UserId::new(5), b"audio"));
}

#[test]
fn a_downgrade_before_the_first_key_is_told_too() {
    let mut client = Client::new(1);
    client.describe(1);
    client.connect(&[2]);
    client.prepare(3, 0);
    client.take();
    client.execute(3);
    assert!(client.take().contains(&Step::Event(DaveEvent::Downgraded)));
}

#[test]
fn an_answer_that_may_be_lost_is_said_again_with_a_new_key_package() {
    let mut call = Call::with_members([1, 2]);
    call.connect(3);
    let package = call.client(3).take_key_package();
    let add = call.gateway.add(1, &package);
    call.client(1).append(&[add]);
    call.client(1).take();
    call.client(1).announce(9, b"nonsense");
    let said = call.client(1).take();
    let answers = |steps: &[Step]| {
        let said = |name: &str| steps.iter().position(|step| format!("{step:?}").contains(name));
        (said("Invalid("), said("KeyPackage"))
    };
    assert!(matches!(answers(&said), (Some(answer), Some(package)) if answer < package), "{said:?}");
    call.client(1).handle(DaveMessage::Resumed);
    let again = call.client(1).take();
    assert!(matches!(answers(&again), (Some(answer), Some(package)) if answer < package), "{again:?}");
    // The number of the answer may stand for another transition by now: the package says what holds.
    let package =
        |steps: &[Step]| steps.iter().find(|step| matches!(step, Step::KeyPackage(_))).map(|it| format!("{it:?}"));
    assert_ne!(package(&said), package(&again));
}

#[test]
fn nothing_is_said_again_where_the_encryption_has_ended() {
    let mut call = Call::with_members([1, 2]);
    call.client(1).announce(9, b"nonsense");
    call.client(1).prepare(10, 0);
    call.client(1).execute(10);
    call.client(1).take();
    call.client(1).handle(DaveMessage::Resumed);
    assert_eq!(call.client(1).take(), []);
}
