//! Media that comes before the message that announces it: the network carries them in different ways.

mod common;

use std::time::Duration;

use common::world::{ALICE, BOB, Client, World, resume};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use voice_server::CoreConfig;

const TURN: Duration = Duration::from_millis(20);

/// The patience of the default configuration.
const PATIENCE: Duration = Duration::from_millis(500);

/// Alice, who has a key and has said nothing, and Bob, who listens.
fn quiet() -> (World, Client, Client) {
    let mut world = World::new();
    let bob = world.join(BOB);
    let alice = world.connected(ALICE);
    (world, alice, bob)
}

fn payloads(world: &mut World, of: &Client) -> Vec<Vec<u8>> {
    of.open(&world.datagrams(of.address)).iter().map(|plain| plain[12..].to_vec()).collect()
}

#[test]
fn media_that_overtakes_op_5_is_dropped_and_counted_and_costs_nothing_else() {
    let (mut world, mut alice, bob) = quiet();
    for _ in 0..24 {
        world.frame(&mut alice, b"early");
        world.advance(TURN);
    }
    assert!(world.datagrams(bob.address).is_empty());
    world.send(alice.connection, alice.speaking(1));
    world.frame(&mut alice, b"announced");
    world.advance(10 * PATIENCE);
    assert_eq!(world.closed(alice.connection), None);
    assert_eq!(payloads(&mut world, &bob), [b"announced"]);
    let stats = world.core.stats();
    assert_eq!((stats.packets_early, stats.packets_refused, stats.closes), (24, 0, 0));
}

#[test]
fn media_that_nothing_announces_is_4020_when_patience_ends() {
    let (mut world, mut alice, bob) = quiet();
    // A first frame may come at any time, long after the key.
    world.advance(Duration::from_secs(10));
    world.frame(&mut alice, b"never announced");
    world.advance(PATIENCE - Duration::from_millis(1));
    world.frame(&mut alice, b"never announced");
    assert_eq!(world.closed(alice.connection), None);
    world.advance(Duration::from_millis(1));
    assert_eq!((world.closed(alice.connection), world.closed(bob.connection)), (Some(4020), None));
    assert!(world.datagrams(bob.address).is_empty());
    assert_eq!(world.core.stats().packets_early, 2);
}

#[test]
fn an_announcement_that_was_lost_with_its_connection_may_come_again_after_a_resume() {
    let (mut world, mut alice, bob) = quiet();
    world.frame(&mut alice, b"early");
    world.lose(alice.connection, None);
    for _ in 0..100 {
        world.frame(&mut alice, b"early");
        world.advance(TURN);
    }
    let connection = world.open("/?v=8");
    world.send(connection, resume(&alice.ticket, None));
    alice.connection = connection;
    world.advance(PATIENCE / 2);
    for _ in 0..24 {
        world.frame(&mut alice, b"early");
        world.advance(TURN);
    }
    assert_eq!(world.closed(alice.connection), None, "patience begins anew");
    world.send(alice.connection, alice.speaking(1));
    world.frame(&mut alice, b"announced");
    assert_eq!(payloads(&mut world, &bob), [b"announced"]);

    // And without one it ends there too.
    let (mut world, mut alice, _) = quiet();
    world.lose(alice.connection, None);
    let connection = world.open("/?v=8");
    world.send(connection, resume(&alice.ticket, None));
    world.frame(&mut alice, b"never announced");
    world.advance(PATIENCE);
    assert_eq!(world.closed(connection), Some(4020));
}

#[test]
fn patience_and_what_follows_can_be_chosen() {
    let patience = Duration::from_secs(3);
    let mut world = World::with(CoreConfig { speaking_patience: patience, ..CoreConfig::default() });
    let mut alice = world.connected(ALICE);
    world.frame(&mut alice, b"early");
    world.advance(patience - Duration::from_millis(1));
    assert_eq!(world.closed(alice.connection), None);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.closed(alice.connection), Some(4020));

    let mut world = World::with(CoreConfig { speaking_patience: Duration::ZERO, ..CoreConfig::default() });
    let mut alice = world.connected(ALICE);
    world.frame(&mut alice, b"early");
    world.advance(Duration::ZERO);
    assert_eq!(world.closed(alice.connection), Some(4020));

    let mut world = World::with(CoreConfig { on_bad_media: None, ..CoreConfig::default() });
    let bob = world.join(BOB);
    let mut alice = world.connected(ALICE);
    for _ in 0..100 {
        world.frame(&mut alice, b"early");
        world.advance(TURN);
    }
    assert_eq!(world.closed(alice.connection), None);
    assert!(world.datagrams(bob.address).is_empty());
    assert_eq!(world.core.stats().packets_early, 100);
}

#[test]
fn one_who_leaves_while_the_server_waits_is_forgotten() {
    let (mut world, mut alice, _) = quiet();
    world.frame(&mut alice, b"early");
    world.lose(alice.connection, Some(1000));
    let again = world.connected(ALICE);
    world.advance(2 * PATIENCE);
    assert_eq!(world.closed(again.connection), None, "the next session has done nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Messages and datagrams each keep their order, or datagrams not even that; nothing else is promised.
    #[test]
    fn whatever_a_network_reorders_within_patience_closes_nobody(
        begin in 0_u64..5_000,
        announced in 0_u64..500,
        packets in prop::collection::vec(0_u64..2_000, 1..60),
        lost in any::<bool>(),
    ) {
        let (mut world, mut alice, bob) = quiet();
        let start = world.now + Duration::from_millis(begin);
        // Op 5 comes within patience of the first of them.
        let mut packets = packets;
        packets.sort_unstable();
        let announced = packets[0] + announced;
        let (before, after): (Vec<u64>, Vec<u64>) = packets.into_iter().partition(|&at| at < announced);
        let advance_to = |world: &mut World, at: u64| world.advance((start + Duration::from_millis(at)) - world.now);
        for &at in &before {
            advance_to(&mut world, at);
            world.frame(&mut alice, b"early");
        }
        if lost {
            world.lose(alice.connection, None);
            alice.connection = world.open("/?v=8");
            world.send(alice.connection, resume(&alice.ticket, None));
        }
        advance_to(&mut world, announced);
        world.send(alice.connection, alice.speaking(1));
        for &at in &after {
            advance_to(&mut world, at);
            world.frame(&mut alice, b"announced");
        }
        world.advance(Duration::from_secs(5));
        assert_eq!(world.closed(alice.connection), None);
        assert_eq!(payloads(&mut world, &bob), vec![b"announced".to_vec(); after.len()]);
        assert_eq!(world.core.stats().packets_early, before.len() as u64);
    }
}
