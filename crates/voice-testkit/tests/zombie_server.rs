//! A server that stops answering is noticed, and the call goes on or ends; it never hangs.

use std::time::Duration;

use voice_testkit::{
    World,
    server::{Fault, FaultKind},
    voice::{
        Cause, EndReason, Event,
        model::{Opcode, UserId},
    },
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

/// The interval that the server names, and the grace after it.
const NOTICED_WITHIN: Duration = Duration::from_millis(13_750 + 10_000);

fn world(seed: u64) -> World {
    let mut world = World::builder().seed(seed).latency(Duration::from_millis(40)).build();
    world.join(ALICE);
    world.join(BOB);
    world.run_for(Duration::from_secs(1));
    world
}

#[test]
fn w3_a_server_that_went_silent_on_one_socket_is_resumed_on_another() {
    for seed in 0..20 {
        let mut world = world(seed);
        world.run_for(Duration::from_secs(seed));
        world.fault(Fault::user(ALICE, FaultKind::Stall));
        world.speak(BOB, 1_500);
        let noticed = world.run_until(|world| !world.client(ALICE).is_established());
        assert!(noticed <= NOTICED_WITHIN, "{noticed:?}");
        let resumed = world.run_until(|world| world.client(ALICE).is_established());
        assert!(resumed <= Duration::from_secs(1), "{resumed:?}");
        let zombie = |event: &Event| matches!(event, Event::Interrupted(Cause::Zombie));
        assert_eq!(world.client(ALICE).count(zombie), 1);
        assert_eq!(world.client(ALICE).count(|event| matches!(event, Event::Resumed)), 1);
        world.run_for(Duration::from_secs(35));
        assert_eq!(world.client(ALICE).media_starts(), 1);
        let said: Vec<&[u8]> = world.client(BOB).said().iter().map(|said| &said.frame[..]).collect();
        assert!(world.client(ALICE).frames_from(BOB) == said, "audio never stopped");
    }
}

#[test]
fn heartbeats_that_nobody_acknowledges_mean_a_dead_socket() {
    let mut world = world(30);
    world.fault(Fault::user(ALICE, FaultKind::DropOutgoing { opcode: Opcode::HeartbeatAck, count: 1_000 }));
    let noticed = world.run_until(|world| !world.client(ALICE).is_established());
    assert!(noticed <= Duration::from_millis(13_750 * 3), "{noticed:?}");
    let resumed = world.run_until(|world| world.client(ALICE).is_established());
    assert!(resumed <= Duration::from_secs(1), "{resumed:?}");
}

#[test]
fn a_server_that_stays_silent_ends_the_call_within_its_limits() {
    for seed in 40..60 {
        let mut world = world(seed);
        world.stall(ALICE, Duration::from_secs(600));
        let noticed = world.run_until(|world| !world.client(ALICE).is_established());
        assert!(noticed <= NOTICED_WITHIN, "{noticed:?}");
        let ended = world.run_until(|world| world.client(ALICE).ended().is_some());
        assert!(ended <= Duration::from_secs(30), "{ended:?}");
        assert!(matches!(world.client(ALICE).ended(), Some(EndReason::Session { .. })));
        // What was held comes after all, and must not wake the dead.
        world.run_for(Duration::from_secs(600));
        assert_eq!(world.server_stats().connections, 1, "only the one of Bob is left");
    }
}

#[test]
fn a_short_stall_is_no_reason_to_give_a_socket_up() {
    let mut world = world(70);
    world.speak(BOB, 500);
    world.stall(ALICE, Duration::from_secs(8));
    world.run_for(Duration::from_secs(60));
    assert!(!world.client(ALICE).saw(|event| matches!(event, Event::Interrupted(_))));
    assert_eq!(world.client(ALICE).frames_from(BOB).len(), 505);
}

#[test]
fn a_server_that_never_says_hello_is_given_up() {
    let mut world = World::builder().seed(80).latency(Duration::from_millis(40)).build();
    world.begin_join(ALICE);
    world.stall(ALICE, Duration::from_secs(120));
    let ended = world.run_until(|world| world.client(ALICE).ended().is_some());
    assert!(ended <= Duration::from_secs(20), "{ended:?}");
}

#[test]
fn a_message_of_the_handshake_that_never_comes_is_given_up_in_time() {
    for opcode in [Opcode::Ready, Opcode::SessionDescription] {
        let mut world = World::builder().seed(81).latency(Duration::from_millis(40)).build();
        world.fault(Fault::user(ALICE, FaultKind::DropOutgoing { opcode, count: 100 }));
        world.begin_join(ALICE);
        let ended = world.run_until(|world| world.client(ALICE).ended().is_some());
        assert!(ended <= Duration::from_secs(20), "{opcode:?}: {ended:?}");
    }
}
