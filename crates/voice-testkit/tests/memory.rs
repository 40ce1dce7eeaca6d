//! What calls and the server hold does not grow with the time that they last, nor with what befalls them.

mod common;

use std::time::Duration;

use common::memory;
use voice_testkit::{
    CHANNEL, GUILD, OTHER_CHANNEL, World,
    server::{Command, Fault, FaultKind},
    voice::model::{CloseCode, UserId},
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

#[test]
fn many_hours_of_faults_hold_no_more_than_the_first() {
    // Whatever is kept up to a limit is full by then.
    let (first, last) = (memory(after(40)), memory(after(200)));
    assert!(last < first + SLACK, "{first} bytes became {last}");
}

/// A call of two in which so often everything happened.
fn after(rounds: u32) -> World {
    let mut world = World::builder().seed(1).latency(Duration::from_millis(40)).build();
    world.join_through(ALICE);
    world.join_through(BOB);
    for round in 0..rounds {
        for what in 0..10 {
            befall(&mut world, what, round);
            world.run_for(Duration::from_secs(100));
            for user in [ALICE, BOB] {
                assert!(world.client(user).is_established(), "{user} after {what}: {:?}", world.client(user).ended());
                world.speak(user, 20);
            }
        }
    }
    world.run_for(Duration::from_secs(10));
    world
}

fn befall(world: &mut World, what: u32, round: u32) {
    match what {
        0 => world.reset(ALICE),
        1 => world.fault(Fault::user(ALICE, FaultKind::Close(CloseCode::VOICE_SERVER_CRASHED))),
        2 => world.fault(Fault::user(ALICE, FaultKind::Close(CloseCode::SESSION_NO_LONGER_VALID))),
        3 => world.command(Command::Rehome { guild: GUILD, user: ALICE }),
        4 => {
            let channel = if round.is_multiple_of(2) { OTHER_CHANNEL } else { CHANNEL };
            for user in [ALICE, BOB] {
                world.command(Command::Move { guild: GUILD, user, channel });
            }
        }
        5 => world.reset_main_gateway(ALICE),
        6 => world.fault(Fault::user(ALICE, FaultKind::GatewayReconnect)),
        7 => world.set_self(ALICE, round.is_multiple_of(2), false),
        8 => {
            for text in ["{", r#"{"op":99,"d":{}}"#, r#"{"op":13,"d":{"user_id":"99"}}"#] {
                world.fault(Fault::user(ALICE, FaultKind::SendText(text.to_owned())));
            }
        }
        _ => {
            world.leave(BOB);
            world.run_for(Duration::from_secs(2));
            world.join_through(BOB);
        }
    }
}

/// What is random in length: keys, and messages with them.
const SLACK: u64 = 8 * 1024;
