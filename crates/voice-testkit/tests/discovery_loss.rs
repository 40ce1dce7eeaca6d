//! IP discovery on a network that loses datagrams: some are made up for, all are a clear failure.

use std::time::Duration;

use voice_testkit::{
    Conditions, World,
    server::{Direction, Fault, FaultKind},
    voice::{EndReason, Event, model::UserId},
};

const ALICE: UserId = UserId::new(1);
const LATENCY: Duration = Duration::from_millis(40);

fn world(seed: u64) -> World {
    World::builder().seed(seed).latency(LATENCY).build()
}

fn ended_without_an_answer(world: &World) -> bool {
    matches!(world.client(ALICE).ended(), Some(EndReason::Discovery { .. }))
}

#[test]
fn w7_lost_requests_are_repeated_once_a_second() {
    for lost in 1..5 {
        let mut world = world(1);
        world.fault(Fault::user(ALICE, FaultKind::IgnoreDiscovery { count: lost }));
        world.join(ALICE);
        let late = Duration::from_secs(u64::from(lost));
        // Open and Ready; the request; Select Protocol and the session description; the SSRC and its confirmation.
        assert_eq!(world.elapsed(), late + LATENCY * 10, "{lost} requests lost");
        assert_eq!(world.server_stats().discoveries, 1);
    }
}

#[test]
fn w7_lost_answers_are_asked_for_again() {
    let mut world = world(2);
    world.begin_join(ALICE);
    let deaf = Conditions { latency: LATENCY, loss: 1.0, ..Conditions::default() };
    world.impair(ALICE, Direction::ToClient, deaf);
    world.run_for(Duration::from_millis(2_500));
    assert!(!world.client(ALICE).is_established());
    world.impair(ALICE, Direction::ToClient, Conditions { latency: LATENCY, ..Conditions::default() });
    world.run_until(|world| world.client(ALICE).is_established());
    assert!(world.server_stats().discoveries > 2);
}

#[test]
fn w7_an_address_that_cannot_be_discovered_ends_the_call() {
    for direction in [Direction::FromClient, Direction::ToClient] {
        let mut world = world(3);
        world.begin_join(ALICE);
        world.impair(ALICE, direction, Conditions { latency: LATENCY, loss: 1.0, ..Conditions::default() });
        world.run_until(|world| world.client(ALICE).ended().is_some());
        assert!(ended_without_an_answer(&world), "{:?}", world.client(ALICE).ended());
        assert_eq!(world.elapsed(), LATENCY * 4 + Duration::from_secs(5), "five requests, a second each");
        assert!(!world.client(ALICE).saw(|event| matches!(event, Event::Connected)));
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.server_stats().sessions, 0, "the server was told");
        // And nothing stands in the way of another attempt.
        world.impair(ALICE, direction, Conditions { latency: LATENCY, ..Conditions::default() });
        world.join(ALICE);
    }
}

#[test]
fn w7_forged_answers_are_waited_past() {
    let mut world = world(4);
    world.fault(Fault::user(ALICE, FaultKind::ForgeDiscovery { count: 1 }));
    world.join(ALICE);
    assert_eq!(world.elapsed(), LATENCY * 10);
}
