//! A server that does not encrypt, or that ends the encryption for no reason that anybody can see.

use std::time::Duration;

use voice_testkit::{
    World,
    server::{DaveFault, DaveMode, Fault, FaultKind},
    voice::{Config, E2ee, EndReason, Event, dave::DaveEvent, model::UserId},
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

fn world(e2ee: E2ee, mode: DaveMode) -> World {
    let mut config = Config::default();
    config.e2ee = e2ee;
    World::builder().seed(4).latency(Duration::from_millis(40)).call(config).dave(mode).build()
}

fn ended(world: &World, user: UserId) -> Option<&EndReason> {
    world.client(user).events().iter().find_map(|(_, event)| match event {
        Event::Ended(reason) => Some(reason),
        _ => None,
    })
}

/// D4: whoever requires encryption does not stay where there is none.
#[test]
fn d4_a_call_without_encryption_ends_for_who_requires_it_before_a_frame_leaves() {
    let mut world = world(E2ee::Require, DaveMode::Off);
    world.begin_join(ALICE);
    world.speak(ALICE, 50);
    world.run_until(|world| ended(world, ALICE).is_some());
    assert_eq!(ended(&world, ALICE), Some(&EndReason::NotEncrypted));
    assert!(world.client(ALICE).said().is_empty());
}

/// D4: nor does anything leave or come in the clear when the server takes the encryption away.
#[test]
fn d4_a_downgrade_ends_a_call_that_requires_encryption_before_a_frame_leaves() {
    for transition_id in [0, 77] {
        let mut world = world(E2ee::Require, DaveMode::Optional);
        world.join(ALICE);
        world.join(BOB);
        world.run_until(|world| world.client(ALICE).saw(|event| matches!(event, Event::E2ee(DaveEvent::Upgraded))));
        world.speak(ALICE, 100);
        world.run_for(Duration::from_secs(1));
        let downgrade = DaveFault::PrepareTransition { transition_id, protocol_version: 0 };
        world.fault(Fault::all(FaultKind::Dave(downgrade)));
        world.run_for(Duration::from_secs(2));
        for user in [ALICE, BOB] {
            assert_eq!(ended(&world, user), Some(&EndReason::Downgraded), "transition {transition_id}");
        }
        let (said, heard) = (world.client(ALICE).said().len(), world.client(BOB).frames_from(ALICE).len());
        assert!((30..100).contains(&said) && heard >= 30, "{said} frames left, {heard} came");
    }
}

/// Who only prefers encryption goes on without it.
#[test]
fn a_downgrade_goes_unheard_where_encryption_is_only_preferred() {
    let mut world = world(E2ee::Prefer, DaveMode::Optional);
    world.join(ALICE);
    world.join(BOB);
    world.run_until(|world| world.client(ALICE).saw(|event| matches!(event, Event::E2ee(DaveEvent::Upgraded))));
    world.speak(ALICE, 100);
    world.run_for(Duration::from_millis(500));
    let downgrade = DaveFault::PrepareTransition { transition_id: 0, protocol_version: 0 };
    world.fault(Fault::all(FaultKind::Dave(downgrade)));
    world.run_for(Duration::from_secs(4));
    assert_eq!((ended(&world, ALICE), ended(&world, BOB)), (None, None));
    assert!(world.client(ALICE).saw(|event| matches!(event, Event::E2ee(DaveEvent::Downgraded))));
    let said: Vec<&[u8]> = world.client(ALICE).said().iter().map(|said| &said.frame[..]).collect();
    assert_eq!(world.client(BOB).frames_from(ALICE), said, "every frame, in order");
}
