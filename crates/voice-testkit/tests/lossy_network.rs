//! A bad network: what is lost is reported as lost, what comes is given out in order, and nothing is left over.

use std::time::Duration;

use voice_testkit::{
    Conditions, HeardContent, World,
    server::{Direction, Fault, FaultKind, Impairment},
    voice::model::UserId,
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

fn world(seed: u64) -> World {
    let mut world = World::builder().seed(seed).latency(Duration::from_millis(40)).build();
    world.join(ALICE);
    world.join(BOB);
    world.run_for(Duration::from_secs(1));
    world
}

/// Speaks with the ends of the speech on a good network, so that every loss lies between two frames that came.
fn speak_through(world: &mut World, worsen: impl Fn(&mut World), mend: impl Fn(&mut World)) {
    world.speak(ALICE, 1_000);
    world.run_for(Duration::from_millis(500));
    worsen(world);
    world.run_for(Duration::from_secs(18));
    mend(world);
    world.run_for(Duration::from_secs(5));
}

/// Every packet was heard or reported, in the order in which they were sent. Returns how many were lost.
fn check(world: &World) -> u64 {
    let (alice, bob) = (world.client(ALICE), world.client(BOB));
    assert_eq!(alice.said().len(), 1_005);
    let mut said = alice.said().iter();
    for heard in bob.heard() {
        match &heard.content {
            HeardContent::Lost { packets } => {
                let skipped = said.by_ref().take(usize::try_from(*packets).expect("few")).count();
                assert_eq!(skipped as u64, *packets, "no more is lost than was sent");
            }
            HeardContent::Frame { frame, .. } => {
                assert_eq!(said.next().map(|said| &said.frame), Some(frame), "at {:?}", heard.at);
            }
        }
    }
    assert_eq!(said.next(), None, "frames + lost == sent");
    let lost = bob.lost_from(ALICE);
    assert_eq!(bob.frames_from(ALICE).len() as u64 + lost, 1_005);
    assert_eq!(bob.receive_stats().expect("it is in a call").lost, lost);
    lost
}

#[test]
fn five_percent_loss_with_jitter_and_reordering_leaves_order_and_count() {
    for seed in 0..20 {
        let mut world = world(seed);
        let bad = Conditions {
            latency: Duration::from_millis(40),
            jitter: Duration::from_millis(30),
            loss: 0.05,
            duplicate: 0.02,
            reorder: 0.05,
        };
        let good = Conditions { latency: Duration::from_millis(40), ..Conditions::default() };
        let both = [(ALICE, Direction::FromClient), (BOB, Direction::ToClient)];
        speak_through(
            &mut world,
            |world| both.iter().for_each(|(user, direction)| world.impair(*user, *direction, bad)),
            |world| both.iter().for_each(|(user, direction)| world.impair(*user, *direction, good)),
        );
        let lost = check(&world);
        assert!((50..180).contains(&lost), "twice 5 % of 900, and what came too late: {lost}");
        let stats = world.client(BOB).receive_stats().expect("it is in a call");
        assert!(stats.reordered > 0 && stats.duplicate > 0, "{stats:?}");
        assert_eq!((stats.not_authentic, stats.malformed, stats.resynchronised, stats.dropped), (0, 0, 0, 0));
    }
}

#[test]
fn what_the_server_does_to_datagrams_is_survived_as_well() {
    for seed in 20..30 {
        let mut world = world(seed);
        let impairment = Impairment {
            drop: 0.05,
            duplicate: 0.05,
            reorder: 0.05,
            corrupt: 0.02,
            pad: 0.2,
            extension: true,
            jitter: Duration::from_millis(15),
            ..Impairment::default()
        };
        let bad = FaultKind::Impair { direction: Direction::ToClient, impairment };
        speak_through(
            &mut world,
            |world| world.fault(Fault::user(BOB, bad.clone())),
            |world| world.fault(Fault::all(FaultKind::Clear)),
        );
        let lost = check(&world);
        assert!(lost > 30, "{lost}");
        assert!(world.client(BOB).receive_stats().expect("it is in a call").not_authentic > 0);
    }
}

#[test]
fn a_network_that_is_only_late_loses_nothing() {
    let mut world = world(30);
    let late =
        Conditions { latency: Duration::from_millis(400), jitter: Duration::from_millis(50), ..Conditions::default() };
    world.impair(BOB, Direction::ToClient, late);
    world.speak(ALICE, 1_000);
    world.run_for(Duration::from_secs(24));
    assert_eq!(check(&world), 0);
}
