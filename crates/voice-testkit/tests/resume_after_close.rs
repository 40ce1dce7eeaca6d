//! A lost WebSocket is resumed: audio never stops, and what was missed comes once.

use std::time::Duration;

use voice_testkit::{
    World,
    server::{DaveMode, Fault, FaultKind},
    voice::{
        Event,
        model::{CloseCode, UserId},
    },
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);
const CAROL: UserId = UserId::new(3);

fn world(seed: u64) -> World {
    with_dave(seed, DaveMode::Required)
}

fn with_dave(seed: u64, mode: DaveMode) -> World {
    let mut world = World::builder().seed(seed).latency(Duration::from_millis(40)).dave(mode).build();
    world.join(ALICE);
    world.join(BOB);
    world.run_for(Duration::from_secs(1));
    world
}

fn is_resumed(event: &Event) -> bool {
    matches!(event, Event::Resumed)
}

#[test]
fn w4_resume_replays_what_the_socket_lost() {
    // Without end-to-end encryption: a member that cannot answer holds up those who come.
    let mut world = with_dave(7, DaveMode::Off);
    world.fault(Fault::user(ALICE, FaultKind::Close(CloseCode::VOICE_SERVER_CRASHED)));
    // While Alice has no socket, Carol comes and speaks: Alice can only learn it from the replay.
    world.refuse(ALICE, true);
    world.join(CAROL);
    world.speak(CAROL, 200);
    world.run_for(Duration::from_millis(400));
    assert!(!world.client(ALICE).speakers().contains(&CAROL));
    world.refuse(ALICE, false);
    world.run_until(|world| world.client(ALICE).saw(is_resumed));
    world.run_for(Duration::from_secs(5));

    let alice = world.client(ALICE);
    let of_carol = alice.speakers().iter().filter(|speaker| **speaker == CAROL).count();
    // First the mode she joined with, then that she speaks.
    assert_eq!(of_carol, 2, "redelivered, once");
    assert_eq!(alice.count(|event| matches!(event, Event::UsersConnected(users) if users.contains(&CAROL))), 1);
    assert_eq!(alice.media_starts(), 1, "audio never stopped");
    let stats = alice.session_stats().expect("it is in a call");
    assert_eq!((stats.resumes, stats.sequence_gaps), (1, 0));
    let said: Vec<&[u8]> = world.client(CAROL).said().iter().map(|said| &said.frame[..]).collect();
    assert!(said.ends_with(&alice.frames_from(CAROL)), "in order, each once");
    assert!(alice.frames_from(CAROL).len() >= 200, "at most a second is given up before it is known whose it is");
}

#[test]
fn audio_goes_on_in_both_directions_while_the_socket_is_gone() {
    for cause in [
        FaultKind::Close(CloseCode::VOICE_SERVER_CRASHED),
        FaultKind::Close(CloseCode::SESSION_TIMEOUT),
        FaultKind::Close(CloseCode::NORMAL),
        FaultKind::Reset,
    ] {
        let mut world = world(8);
        world.speak(ALICE, 300);
        world.speak(BOB, 300);
        world.run_for(Duration::from_secs(1));
        world.fault(Fault::user(ALICE, cause.clone()));
        world.run_for(Duration::from_secs(7));
        assert!(world.client(ALICE).saw(|event| matches!(event, Event::Interrupted(_))), "{cause:?}");
        assert_eq!(world.client(ALICE).count(is_resumed), 1, "{cause:?}");
        for (speaker, listener) in [(ALICE, BOB), (BOB, ALICE)] {
            let said: Vec<&[u8]> = world.client(speaker).said().iter().map(|said| &said.frame[..]).collect();
            assert_eq!(said.len(), 305);
            assert!(world.client(listener).frames_from(speaker) == said, "{cause:?}");
        }
        assert_eq!(world.client(ALICE).media_starts(), 1);
    }
}

#[test]
fn w4_nothing_is_redelivered_that_came_before() {
    let mut world = world(9);
    let before = (world.client(ALICE).speakers(), world.client(ALICE).events().len());
    for _ in 0..3 {
        world.reset(ALICE);
        world.run_until(|world| world.client(ALICE).is_established());
        world.run_for(Duration::from_secs(90));
    }
    let alice = world.client(ALICE);
    assert_eq!(alice.speakers(), before.0);
    assert_eq!(alice.events().len(), before.1 + 6, "three interruptions, three resumes");
    assert_eq!(alice.session_stats().expect("it is in a call").resumes, 3);
}

#[test]
fn a_session_that_the_server_forgot_ends_with_advice() {
    let mut world = world(10);
    world.fault(Fault::user(ALICE, FaultKind::Forget));
    world.run_until(|world| world.client(ALICE).ended().is_some());
    let expected = "closed by the voice server with 4006";
    let ended = world.client(ALICE).ended().expect("it ended").to_string();
    assert!(ended.starts_with(expected), "{ended}");
}

#[test]
fn a_listener_whose_first_op_5_was_lost_hears_after_the_resume() {
    // The socket breaks at every instant around the end of the handshake, also when op 5 is on its way.
    for ms in (0..200).step_by(5) {
        let mut world = World::builder().seed(11).latency(Duration::from_millis(40)).build();
        world.join(BOB);
        world.begin_join(ALICE);
        world.run_until(|world| world.client(ALICE).is_established());
        world.run_for(Duration::from_millis(ms));
        world.reset(ALICE);
        world.run_until(|world| world.client(ALICE).is_established());
        world.run_for(Duration::from_secs(6));
        world.speak(BOB, 50);
        world.run_for(Duration::from_secs(2));
        assert_eq!(world.client(ALICE).frames_from(BOB).len(), 55, "broken {ms} ms after the handshake");
    }
}
