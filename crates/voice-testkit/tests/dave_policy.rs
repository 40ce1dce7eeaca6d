//! What a call makes of encryption that somebody goes without: the whole call, one who speaks in the clear, one alone.

use std::{sync::Arc, time::Duration};

use voice_testkit::{
    World,
    server::{DaveMode, Fault, FaultKind},
    voice::{Config, E2ee, EndReason, Event, dave::DaveEvent, model::UserId, rtp::Ssrc},
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);
const CAROL: UserId = UserId::new(3);

fn config(e2ee: E2ee) -> Arc<Config> {
    let mut config = Config::default();
    config.modes.sort_by_key(|mode| mode.wire_name());
    config.e2ee = e2ee;
    Arc::new(config)
}

/// That of a client from before there was end-to-end encryption.
fn without() -> Arc<Config> {
    let mut config = config(E2ee::Prefer);
    Arc::make_mut(&mut config).session.max_dave_protocol_version = 0;
    config
}

fn world(seed: u64, mode: DaveMode) -> World {
    World::builder().seed(seed).latency(Duration::from_millis(40)).dave(mode).build()
}

/// Alice and Bob are in an encrypted call.
fn call(seed: u64, e2ee: E2ee) -> World {
    let mut world = world(seed, DaveMode::Optional);
    for user in [ALICE, BOB] {
        world.begin_join_with(user, &config(e2ee));
    }
    world.run_until(|world| {
        [ALICE, BOB].iter().all(|user| world.client(*user).e2ee().is_some_and(|it| it.is_encrypting))
    });
    world
}

fn said(world: &World, user: UserId) -> Vec<&[u8]> {
    world.client(user).said().iter().map(|said| &said.frame[..]).collect()
}

#[test]
fn w2_not_a_frame_is_lost_while_encryption_ends_and_begins_again() {
    for seed in 0..10 {
        let mut world = call(seed, E2ee::Prefer);
        world.speak(ALICE, 1_000);
        world.speak(BOB, 1_000);
        world.run_for(Duration::from_secs(3));
        world.begin_join_with(CAROL, &without());
        world.run_for(Duration::from_secs(6));
        for user in [ALICE, BOB] {
            let status = world.client(user).e2ee().expect("it is in a call");
            assert_eq!((status.version, status.active_version, status.is_encrypting), (0, Some(0), false));
            assert_eq!(world.client(user).count(|event| matches!(event, Event::E2ee(DaveEvent::Downgraded))), 1);
            assert!(!world.client(CAROL).frames_from(user).is_empty(), "who has no key hears what needs none");
        }
        world.leave(CAROL);
        world.run_for(Duration::from_secs(16));
        for (user, other) in [(ALICE, BOB), (BOB, ALICE)] {
            let client = world.client(user);
            assert!(client.e2ee().is_some_and(|status| status.is_encrypting));
            assert_eq!(client.count(|event| matches!(event, Event::E2ee(DaveEvent::Upgraded))), 2);
            assert_eq!((said(&world, user).len(), client.held_back().len()), (1_005, 0), "seed {seed}");
            assert!(world.client(other).frames_from(user) == said(&world, user), "seed {seed}");
            let stats = client.receive_stats().expect("it is in a call");
            assert!(stats.e2ee.plaintext > 0 && stats.e2ee.decrypted > 0);
            assert_eq!((stats.lost, stats.e2ee.missing_key, stats.e2ee.plaintext_refused), (0, 0, 0));
        }
    }
}

#[test]
fn who_requires_encryption_leaves_a_call_that_loses_it_and_says_why() {
    let mut world = call(20, E2ee::Require);
    world.speak(ALICE, 500);
    world.run_for(Duration::from_secs(1));
    let before = said(&world, ALICE).len();
    assert!(before > 20);
    world.begin_join_with(CAROL, &without());
    world.run_for(Duration::from_secs(10));
    for user in [ALICE, BOB] {
        assert_eq!(world.client(user).ended(), Some(&EndReason::Downgraded));
        assert!(world.client(CAROL).frames_from(user).is_empty(), "nothing leaves in the clear");
        assert!(!world.client(user).saw(|event| matches!(event, Event::E2ee(DaveEvent::Downgraded))));
    }
    assert!(world.client(BOB).frames_from(ALICE).len() >= before - 5, "what was encrypted was heard");
}

/// A packet that the server seals for Bob as one of Alice, with a frame that nobody encrypted.
fn forge(world: &mut World, number: u8) {
    let ssrc = world.client(BOB).events().iter().rev().find_map(|(_, event)| match event {
        Event::Speaking { ssrc, user, .. } if *user == ALICE => Some(*ssrc),
        _ => None,
    });
    let mut packet = vec![0x80, 120, 0, number, 0, 0, 0, 0];
    packet.extend(ssrc.map(Ssrc::get).expect("Alice was announced").to_be_bytes());
    packet.extend(FORGED);
    world.fault(Fault::user(BOB, FaultKind::SendRtp(packet)));
    world.run_for(Duration::from_secs(1));
}

const FORGED: [u8; 6] = *b"forged";

#[test]
fn plaintext_of_a_peer_in_an_encrypted_call_is_heard_only_where_it_is_allowed_and_counted() {
    for (e2ee, heard) in [(E2ee::Require, 0), (E2ee::Prefer, 0), (E2ee::Allow, 1)] {
        let mut world = call(30, e2ee);
        world.run_for(Duration::from_secs(12));
        forge(&mut world, 1);
        let bob = world.client(BOB);
        assert_eq!(bob.frames_from(ALICE), vec![FORGED.as_slice(); heard], "{e2ee:?}");
        let stats = bob.receive_stats().expect("it is in a call").e2ee;
        assert_eq!((stats.plaintext, stats.plaintext_refused), (heard as u64, 1 - heard as u64), "{e2ee:?}");
        // Frames that are encrypted are heard in any case, once the forged number is behind.
        world.speak(ALICE, 60);
        world.run_for(Duration::from_secs(3));
        assert!(world.client(BOB).frames_from(ALICE).ends_with(&said(&world, ALICE)[20..]), "{e2ee:?}");
    }
}

#[test]
fn frames_of_who_is_alone_are_dropped_and_counted_and_the_first_other_hears_what_follows() {
    let mut world = world(40, DaveMode::Required);
    world.join(ALICE);
    world.speak(ALICE, 200);
    world.run_for(Duration::from_secs(1));
    let alone = world.client(ALICE).held_back().len();
    assert!(alone > 40 && world.client(ALICE).said().is_empty());
    assert_eq!(world.client(ALICE).send_stats().expect("it is in a call").frames_held, alone as u64);
    world.join(BOB);
    world.run_for(Duration::from_secs(6));
    assert!(said(&world, ALICE).len() > 100);
    assert!(world.client(BOB).frames_from(ALICE) == said(&world, ALICE), "from the first frame that left");
}
