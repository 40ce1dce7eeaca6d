//! A world notices what must not be, and says its seed.

use std::time::Duration;

use voice_testkit::{
    World,
    server::{Fault, FaultKind},
    voice::model::{CloseCode, Opcode, UserId},
};

const ALICE: UserId = UserId::new(1);

#[test]
#[should_panic(expected = "seed 1: not the case within 30s")]
fn what_never_happens_is_not_waited_for_for_ever() {
    let mut world = World::builder().seed(1).time_limit(Duration::from_secs(30)).build();
    world.join(ALICE);
    world.run_until(|world| world.client(ALICE).ended().is_some());
}

#[test]
#[should_panic(expected = "seed 2: 1 did not get in")]
fn a_join_that_fails_is_not_taken_for_one_that_succeeds() {
    let mut world = World::builder().seed(2).build();
    let code = CloseCode::AUTHENTICATION_FAILED;
    world.fault(Fault::all(FaultKind::CloseOn { opcode: Opcode::Identify, code, count: 10 }));
    world.join(ALICE);
}

#[test]
#[should_panic(expected = "seed 3: 40 steps within one virtual second")]
fn more_than_the_limit_within_a_second_is_a_busy_loop() {
    let mut world = World::builder().seed(3).steps_per_second(40).build();
    world.join(ALICE);
    world.speak(ALICE, 100);
    world.run_for(Duration::from_secs(2));
}

#[test]
fn time_passes_also_when_nothing_happens() {
    let mut world = World::builder().build();
    world.run_for(Duration::from_secs(3_600));
    assert_eq!((world.elapsed(), world.steps()), (Duration::from_secs(3_600), 0));
}
