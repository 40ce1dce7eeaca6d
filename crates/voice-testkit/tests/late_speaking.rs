//! Packets that arrive before anybody said whose they are: held, and given out once it is known.
//!
//! Without end-to-end encryption, whose keys travel with the same messages.

use std::time::Duration;

use voice_testkit::{
    World,
    server::DaveMode,
    voice::{Event, model::UserId},
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

/// Bob listens, and hears from the gateway later than from the media server.
fn world(seed: u64, stall: Duration) -> World {
    let mut world = World::builder().seed(seed).latency(Duration::from_millis(40)).dave(DaveMode::Off).build();
    world.join(BOB);
    world.run_for(Duration::from_secs(1));
    world.stall(BOB, stall);
    world.join(ALICE);
    world.speak(ALICE, 200);
    world
}

#[test]
fn packets_before_op_5_are_held_and_given_out_in_order() {
    for seed in 0..10 {
        let mut world = world(seed, Duration::from_millis(1_200));
        world.run_until(|world| world.client(BOB).receive_stats().is_some_and(|stats| stats.packets >= 20));
        assert!(!world.client(BOB).speakers().contains(&ALICE));
        assert_eq!(world.client(BOB).heard(), [], "nobody knows yet whose stream it is");
        let late = world.run_until(|world| world.client(BOB).speakers().contains(&ALICE));
        let replayed = world.client(BOB).heard().to_vec();
        assert!(replayed.len() >= 20, "all at once when it is known: {} after {late:?}", replayed.len());
        assert!(replayed.iter().all(|heard| heard.at == world.elapsed() && heard.user == ALICE));
        world.run_for(Duration::from_secs(6));
        let said: Vec<&[u8]> = world.client(ALICE).said().iter().map(|said| &said.frame[..]).collect();
        assert_eq!(said.len(), 205);
        assert!(world.client(BOB).frames_from(ALICE) == said, "seed {seed}");
        assert_eq!(world.client(BOB).lost_from(ALICE), 0);
    }
}

#[test]
fn packets_are_not_held_for_ever() {
    let mut world = world(20, Duration::from_secs(4));
    world.run_for(Duration::from_secs(10));
    let bob = world.client(BOB);
    assert!(bob.saw(|event| matches!(event, Event::Speaking { user, .. } if *user == ALICE)));
    let stats = bob.receive_stats().expect("it is in a call");
    assert!(stats.unclaimed > 0, "{stats:?}");
    assert_eq!(stats.frames + stats.unclaimed + stats.dropped, 205, "each frame is accounted for");
    let said: Vec<&[u8]> = world.client(ALICE).said().iter().map(|said| &said.frame[..]).collect();
    assert!(said.ends_with(&bob.frames_from(ALICE)), "what is heard is what is newest, in order");
}
