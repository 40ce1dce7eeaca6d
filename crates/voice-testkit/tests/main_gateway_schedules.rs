//! Anything may happen to calls that go through the main gateway: to the voice server, to the main gateway, and to where
//! users are put, at any time and together.
//!
//! The world itself watches that calls are established or over within their limits, ask for nothing after their end, use
//! no nonce twice, hear each under his own name, that no numbered message and no event of the main gateway is lost or
//! comes twice, and that nothing spins. In the end, when all is well again, whoever believes to be in a channel hears
//! whoever else does, and whoever joins gets in.

mod common;

use std::{env, time::Duration};

use common::is_small;
use voice_testkit::{
    CHANNEL, Conditions, GUILD, OTHER_CHANNEL, Telling, World, for_each_seed,
    server::{Command, DaveMode, Direction, EventOrder, Fault, FaultKind, JoinAnswer},
    voice::{
        EndReason,
        model::{ChannelId, CloseCode, Opcode, UserId},
    },
};

#[test]
fn calls_come_back_after_any_schedule_of_the_first_thousand() {
    for_each_seed(0..1_000, run_and_forget);
}

#[test]
fn calls_come_back_after_any_schedule_of_the_second_thousand() {
    for_each_seed(1_000..2_000, run_and_forget);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 5_000..5_020 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(5_000), run(5_001));
}

/// `VOICE_TESTKIT_SEEDS` says how many seeds, `VOICE_TESTKIT_FIRST_SEED` where to begin.
#[test]
#[ignore = "runs for as long as it is told to"]
fn calls_come_back_after_as_many_schedules_as_wanted() {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first: u64 = number("VOICE_TESTKIT_FIRST_SEED", 10_000);
    for_each_seed(first..first + number("VOICE_TESTKIT_SEEDS", 100_000), run_and_forget);
}

fn run_and_forget(seed: u64) {
    run(seed);
    if seed.is_multiple_of(8) {
        is_small(seed, begun(seed).0);
    }
}

/// Runs one schedule to its end. Returns the hash of all that happened, and in how many steps.
fn run(seed: u64) -> (u64, u64) {
    let (mut world, users) = begun(seed);
    recover(&mut world, &users, telling(seed));
    all_hear_all(&mut world, &users);
    all_can_join(&mut world, &users);
    let outcome = (world.trace_hash(), world.steps());
    is_small(seed, world);
    outcome
}

/// A schedule up to where everything is to become well again.
fn begun(seed: u64) -> (World, Vec<UserId>) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x6A7E);
    // The encryption, which has schedules of its own, takes most of the time.
    let dave = if seed.is_multiple_of(64) { DaveMode::Optional } else { DaveMode::Off };
    let mut world = World::builder()
        .seed(seed)
        .latency(Duration::from_millis(rng.u64(0..120)))
        .jitter(Duration::from_millis(rng.u64(0..30)))
        .queue_updates(rng.bool())
        .telling(telling(seed))
        .dave(dave)
        .build();
    let users: Vec<UserId> = (1..=rng.u64(2..=3)).map(UserId::new).collect();
    for &user in &users {
        world.begin_join_through(user);
    }
    for _ in 0..rng.usize(4..12) {
        let pause_ms = match rng.u8(..8) {
            0 => rng.u64(..20_000),
            1..4 => rng.u64(..2_500),
            _ => rng.u64(..300),
        };
        world.run_for(Duration::from_millis(pause_ms));
        let user = users[rng.usize(..users.len())];
        act(&mut world, &mut rng, user);
    }
    (world, users)
}

/// What the bots' library tells of its connections, and in which order.
const fn telling(seed: u64) -> Telling {
    match seed % 4 {
        0 => Telling::LossLate,
        1 => Telling::NoResumed,
        2 => Telling::NoLoss,
        _ => Telling::InOrder,
    }
}

/// Lets one thing happen.
fn act(world: &mut World, rng: &mut fastrand::Rng, user: UserId) {
    let in_call = world.client(user).is_in_call();
    match rng.u8(..35) {
        0..12 if !in_call => world.begin_join_through(user),
        // In place of a call or a join, which is given up without a word to the main gateway.
        32 => world.begin_join_through(user),
        // A voice server that takes every resume, and a network that soon breaks it again.
        34 => {
            for _ in 0..rng.u8(..12) {
                world.run_for(Duration::from_millis(rng.u64(..3_000)));
                world.reset(user);
            }
        }
        // Perhaps of a join that is under way.
        33 => world.leave(user),
        0 => world.leave(user),
        1 | 2 => world.move_to(user, channel(rng)),
        3 => world.set_self(user, rng.bool(), rng.bool()),
        4..7 => world.speak(user, rng.u32(1..30)),
        7..9 => world.command(Command::Move { guild: GUILD, user, channel: channel(rng) }),
        9 => world.command(Command::Disconnect { guild: GUILD, user }),
        10..12 => world.command(Command::Rehome { guild: GUILD, user }),
        12..14 => world.command(Command::SetJoinAnswer(answer(rng))),
        14 => world.reset(user),
        15 => world.stall(user, Duration::from_millis(rng.u64(..40_000))),
        16 => {
            let refused = rng.bool();
            world.refuse(user, refused);
        }
        17 | 18 => world.reset_main_gateway(user),
        19 => world.stall_main_gateway(user, Duration::from_millis(rng.u64(..100_000))),
        20 => {
            let refused = rng.bool();
            world.refuse_main_gateway(user, refused);
        }
        21 => world.fault(Fault::user(user, FaultKind::GatewayInvalidate)),
        22 => world.fault(Fault::user(user, FaultKind::GatewayReconnect)),
        23 => world.fault(Fault::user(user, FaultKind::GatewayClose(main_gateway_code(rng)))),
        24 if rng.bool() => world.take_over(user),
        24 => world.log_out_rival(user),
        25 => {
            let conditions = Conditions {
                latency: Duration::from_millis(rng.u64(..300)),
                jitter: Duration::from_millis(rng.u64(..100)),
                loss: rng.f64() * rng.f64(),
                duplicate: rng.f64() * rng.f64(),
                reorder: rng.f64() * rng.f64(),
            };
            let direction = if rng.bool() { Direction::FromClient } else { Direction::ToClient };
            world.impair(user, direction, conditions);
        }
        _ => {
            let kind = fault(rng);
            let everybody = rng.u8(..5) == 0;
            world.fault(if everybody { Fault::all(kind) } else { Fault::user(user, kind) });
        }
    }
}

fn channel(rng: &mut fastrand::Rng) -> ChannelId {
    if rng.bool() { CHANNEL } else { OTHER_CHANNEL }
}

/// How the main gateway answers from now on.
fn answer(rng: &mut fastrand::Rng) -> JoinAnswer {
    JoinAnswer {
        order: if rng.bool() { EventOrder::StateFirst } else { EventOrder::ServerFirst },
        delay: Duration::from_millis(if rng.bool() { 0 } else { rng.u64(..12_000) }),
        null_endpoint_first: (rng.u8(..3) == 0).then(|| Duration::from_millis(rng.u64(..12_000))),
        silent: rng.u8(..6) == 0,
    }
}

fn main_gateway_code(rng: &mut fastrand::Rng) -> CloseCode {
    CloseCode::new(if rng.bool() { 4_000 } else { 1_000 + rng.u16(..2) })
}

fn fault(rng: &mut fastrand::Rng) -> FaultKind {
    let count = rng.u32(1..4);
    match rng.u8(..10) {
        0..4 => FaultKind::Close(close_code(rng)),
        4 => FaultKind::Reset,
        5 => FaultKind::Stall,
        6 => FaultKind::Forget,
        7 => FaultKind::Delay(Duration::from_millis(rng.u64(..4_000))),
        8 => FaultKind::CloseOn { opcode: Opcode::Identify, code: close_code(rng), count },
        _ => FaultKind::IgnoreIncoming { opcode: Opcode::Resume, count },
    }
}

fn close_code(rng: &mut fastrand::Rng) -> CloseCode {
    let code = CloseCode::NAMED[rng.usize(..CloseCode::NAMED.len())];
    if code.is_sendable() { code } else { CloseCode::GOING_AWAY }
}

/// Everything that goes wrong ends, and every call finds its way back or its end.
fn recover(world: &mut World, users: &[UserId], telling: Telling) {
    world.fault(Fault::all(FaultKind::Clear));
    world.command(Command::SetJoinAnswer(JoinAnswer::default()));
    let good = Conditions { latency: Duration::from_millis(40), ..Conditions::default() };
    for &user in users {
        world.refuse(user, false);
        world.refuse_main_gateway(user, false);
        world.impair(user, Direction::FromClient, good);
        world.impair(user, Direction::ToClient, good);
        world.log_out_rival(user);
    }
    // The longest stall, the time until a dead connection is noticed, and that until it is replaced or given up.
    world.run_for(Duration::from_secs(100 + 83 + 20));
    if telling == Telling::NoResumed {
        // Where nothing happens in the guild nothing says that the connection is back, and it is given up.
        world.run_for(Duration::from_secs(330));
    }
    // Attempts that were made before may have become rare.
    for _ in 0..60 {
        if users.iter().all(|user| is_settled(world, *user)) {
            break;
        }
        world.run_for(Duration::from_secs(1));
    }
    for &user in users {
        let client = world.client(user);
        assert!(
            is_settled(world, user),
            "{user} is {:?}, {:?}, online: {}, asked {:#?} and was told {:#?}",
            client.state(),
            client.ended(),
            world.is_online(user),
            client.updates(),
            client.events(),
        );
        let is_given_up = client.ended() == Some(&EndReason::GatewayLost);
        assert!(!is_given_up || telling == Telling::NoResumed, "{user}: it was away for less than five minutes");
    }
    world.run_for(Duration::from_secs(5));
    // Nothing is left on the server of those who are gone.
    let present = users.iter().filter(|user| world.client(**user).is_established()).count() as u64;
    let channels = [CHANNEL, OTHER_CHANNEL].map(|channel| members(world, users, channel).len());
    let rooms = channels.into_iter().filter(|members| *members > 0).count() as u64;
    let (stats, online) = (world.server_stats(), users.len() as u64);
    let expected = (present, present + online, rooms, online);
    assert_eq!((stats.sessions, stats.connections, stats.rooms, stats.gateway_sessions), expected);
    assert_eq!(stats.held_overflow, 0);
}

/// Logged in, and in the call or out of it.
fn is_settled(world: &World, user: UserId) -> bool {
    let client = world.client(user);
    world.is_online(user) && (client.is_established() || client.ended().is_some())
}

/// Who believes to be in a channel.
fn members(world: &World, users: &[UserId], channel: ChannelId) -> Vec<UserId> {
    let is_there = |user: &UserId| {
        let client = world.client(*user);
        client.is_established() && client.channel() == Some(channel)
    };
    users.iter().copied().filter(is_there).collect()
}

/// Whatever happened before, and wherever a user is: who joins gets in.
fn all_can_join(world: &mut World, users: &[UserId]) {
    for &user in users {
        world.join_through(user);
    }
}

/// Who is in a channel hears everybody else who is.
fn all_hear_all(world: &mut World, users: &[UserId]) {
    let channels = [CHANNEL, OTHER_CHANNEL].map(|channel| members(world, users, channel));
    for &user in channels.iter().flatten() {
        assert_eq!(world.untold(user), 0, "{user} was not told everything");
        world.speak(user, 5);
    }
    world.run_for(Duration::from_secs(2));
    for present in channels.iter().filter(|present| present.len() > 1) {
        for &speaker in present {
            let client = world.client(speaker);
            assert!(client.is_established(), "{speaker} was in the call, and all was well: {:?}", client.ended());
            let said = client.said();
            let last: Vec<&[u8]> = said[said.len() - 10..].iter().map(|said| &said.frame[..]).collect();
            for &listener in present.iter().filter(|listener| **listener != speaker) {
                let heard = world.client(listener).frames_from(speaker);
                assert!(heard.ends_with(&last), "{listener} does not hear {speaker}");
            }
        }
    }
}
