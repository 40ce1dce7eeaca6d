//! Anything may happen at any time, and what must always hold still holds.
//!
//! The world itself watches that calls are established or over within their limits, ask for nothing after their
//! end, use no nonce twice, and that nothing spins. In the end, when all is well again, whoever believes to be in
//! the call hears whoever else does.

mod common;

use std::{env, time::Duration};

use common::is_small;
use voice_testkit::{
    CHANNEL, Conditions, GUILD, World, for_each_seed,
    server::{Command, Direction, Fault, FaultKind, Impairment},
    voice::model::{ChannelId, CloseCode, Opcode, UserId},
};

#[test]
fn calls_survive_any_schedule_of_the_first_hundred() {
    (0..100).for_each(run_and_forget);
}

#[test]
fn calls_survive_any_schedule_of_the_second_hundred() {
    (100..200).for_each(run_and_forget);
}

#[test]
fn calls_survive_any_schedule_of_the_third_hundred() {
    (200..300).for_each(run_and_forget);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 1_000..1_010 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1_000), run(1_001));
}

/// `VOICE_TESTKIT_SEEDS` says how many seeds, `VOICE_TESTKIT_FIRST_SEED` where to begin.
#[test]
#[ignore = "runs for as long as it is told to"]
fn calls_survive_as_many_schedules_as_wanted() {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first: u64 = number("VOICE_TESTKIT_FIRST_SEED", 10_000);
    for_each_seed(first..first + number("VOICE_TESTKIT_SEEDS", 3_000), run_and_forget);
}

fn run_and_forget(seed: u64) {
    run(seed);
}

/// Runs one schedule to its end. Returns the hash of all that happened, and in how many steps.
fn run(seed: u64) -> (u64, u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5EED);
    let mut world = World::builder()
        .seed(seed)
        .latency(Duration::from_millis(rng.u64(0..120)))
        .jitter(Duration::from_millis(rng.u64(0..30)))
        .build();
    let users: Vec<UserId> = (1..=rng.u64(2..=4)).map(UserId::new).collect();
    for &user in &users {
        world.begin_join(user);
    }
    for _ in 0..rng.usize(5..25) {
        let pause_ms = if rng.u8(..4) == 0 { rng.u64(..20_000) } else { rng.u64(..1_500) };
        world.run_for(Duration::from_millis(pause_ms));
        let user = users[rng.usize(..users.len())];
        act(&mut world, &mut rng, user);
    }
    recover(&mut world, &users);
    all_hear_all(&mut world, &users);
    let outcome = (world.trace_hash(), world.steps());
    is_small(seed, world);
    outcome
}

/// Lets one thing happen.
fn act(world: &mut World, rng: &mut fastrand::Rng, user: UserId) {
    match rng.u8(..20) {
        0..4 if !world.client(user).is_in_call() => world.begin_join(user),
        0 => world.leave(user),
        1 => world.update(user),
        2..6 => world.speak(user, rng.u32(1..40)),
        6 => world.reset(user),
        7 => world.stall(user, Duration::from_millis(rng.u64(..40_000))),
        8 => {
            let refused = rng.bool();
            world.refuse(user, refused);
        }
        9 | 10 => {
            let conditions = Conditions {
                latency: Duration::from_millis(rng.u64(..300)),
                jitter: Duration::from_millis(rng.u64(..100)),
                loss: rng.f64() * rng.f64(),
                duplicate: rng.f64() * rng.f64(),
                reorder: rng.f64() * rng.f64(),
            };
            world.impair(user, direction(rng), conditions);
        }
        11 => world.command(command(rng, user)),
        _ => {
            let kind = fault(rng);
            let everybody = rng.u8(..5) == 0;
            world.fault(if everybody { Fault::all(kind) } else { Fault::user(user, kind) });
        }
    }
}

fn command(rng: &mut fastrand::Rng, user: UserId) -> Command {
    match rng.u8(..3) {
        0 => Command::Disconnect { guild: GUILD, user },
        1 => Command::Rehome { guild: GUILD, user },
        _ => Command::Move { guild: GUILD, user, channel: ChannelId::new(CHANNEL.get() + 1) },
    }
}

fn fault(rng: &mut fastrand::Rng) -> FaultKind {
    // Numbered messages are never lost on a stream: only what is not numbered may stay away.
    let from_server = [Opcode::Hello, Opcode::Ready, Opcode::SessionDescription, Opcode::HeartbeatAck, Opcode::Resumed];
    // An op 5 that a server reads and ignores would leave its client deaf, and the server wrong.
    let from_client = [Opcode::Identify, Opcode::SelectProtocol, Opcode::Heartbeat, Opcode::Resume];
    let count = rng.u32(1..4);
    match rng.u8(..16) {
        0..3 => FaultKind::Close(close_code(rng)),
        3 => FaultKind::Reset,
        4 => FaultKind::Stall,
        5 => FaultKind::Forget,
        6 => FaultKind::Delay(Duration::from_millis(rng.u64(..4_000))),
        7 => FaultKind::DropOutgoing { opcode: from_server[rng.usize(..from_server.len())], count },
        8 => FaultKind::IgnoreIncoming { opcode: from_client[rng.usize(..from_client.len())], count },
        9 => {
            let opcode = if rng.bool() { Opcode::Speaking } else { from_client[rng.usize(..from_client.len())] };
            FaultKind::CloseOn { opcode, code: close_code(rng), count }
        }
        10 => FaultKind::IgnoreDiscovery { count: rng.u32(1..7) },
        11 => FaultKind::ForgeDiscovery { count },
        12 => FaultKind::Impair { direction: direction(rng), impairment: impairment(rng) },
        13 => FaultKind::SendText(text(rng)),
        14 => FaultKind::SendBinary(bytes(rng, 40)),
        _ if rng.bool() => FaultKind::SendDatagram(bytes(rng, 200)),
        _ => {
            // A sealed packet that may be anything behind its first byte.
            let mut packet = bytes(rng, 200);
            packet.resize(packet.len().max(12), 0);
            packet[0] = 0x80 | (packet[0] & 0x3F);
            packet[1] = 120;
            FaultKind::SendRtp(packet)
        }
    }
}

fn close_code(rng: &mut fastrand::Rng) -> CloseCode {
    let code = match rng.u8(..4) {
        0 => CloseCode::new(rng.u16(4_000..5_000)),
        1 => CloseCode::VOICE_SERVER_CRASHED,
        _ => CloseCode::NAMED[rng.usize(..CloseCode::NAMED.len())],
    };
    if code.is_sendable() { code } else { CloseCode::GOING_AWAY }
}

fn impairment(rng: &mut fastrand::Rng) -> Impairment {
    Impairment {
        drop: rng.f64() * rng.f64(),
        duplicate: rng.f64() * rng.f64(),
        reorder: rng.f64() * rng.f64(),
        corrupt: rng.f64() * rng.f64(),
        delay: Duration::from_millis(rng.u64(..300)),
        jitter: Duration::from_millis(rng.u64(..100)),
        pad: rng.f64(),
        padding_only: rng.f64() * rng.f64(),
        extension: rng.bool(),
        silence: rng.f64() * rng.f64(),
    }
}

/// A message that no server should send, or not now.
fn text(rng: &mut fastrand::Rng) -> String {
    let messages = [
        "",
        "{",
        "null",
        r#"{"op":8,"d":{"heartbeat_interval":0}}"#,
        r#"{"op":8,"d":{"heartbeat_interval":1e300}}"#,
        r#"{"op":8,"d":{"heartbeat_interval":-5}}"#,
        r#"{"op":3,"d":null}"#,
        r#"{"op":6,"d":{"t":7}}"#,
        r#"{"op":9,"d":null}"#,
        r#"{"op":2,"d":{"ssrc":0,"ip":"","port":0,"modes":[]}}"#,
        r#"{"op":2,"d":{"ssrc":9,"ip":"127.0.0.1","port":9,"modes":["none"]}}"#,
        r#"{"op":4,"d":{"mode":"aead_aes256_gcm_rtpsize","secret_key":[]}}"#,
        r#"{"op":5,"d":{"speaking":1,"ssrc":4294967295,"user_id":"99"}}"#,
        r#"{"op":11,"d":{"user_ids":["99"]}}"#,
        r#"{"op":13,"d":{"user_id":"99"}}"#,
        r#"{"op":99,"d":{}}"#,
    ];
    messages[rng.usize(..messages.len())].to_owned()
}

fn bytes(rng: &mut fastrand::Rng, limit: usize) -> Vec<u8> {
    let len = rng.usize(..limit);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

fn direction(rng: &mut fastrand::Rng) -> Direction {
    if rng.bool() { Direction::FromClient } else { Direction::ToClient }
}

/// Everything that goes wrong ends, and every call finds its way back or its end.
fn recover(world: &mut World, users: &[UserId]) {
    world.fault(Fault::all(FaultKind::Clear));
    let good = Conditions { latency: Duration::from_millis(40), ..Conditions::default() };
    for &user in users {
        world.refuse(user, false);
        world.impair(user, Direction::FromClient, good);
        world.impair(user, Direction::ToClient, good);
    }
    // The longest stall, the time until a dead socket is noticed, and that until it is replaced or given up.
    world.run_for(Duration::from_secs(40 + 24 + 60));
    for &user in users {
        let client = world.client(user);
        assert!(client.is_established() != client.ended().is_some(), "{user} is neither in the call nor out of it");
    }
    // Nothing is left on the server of those who are gone.
    let present = users.iter().filter(|user| world.client(**user).is_established()).count() as u64;
    let stats = world.server_stats();
    assert_eq!((stats.sessions, stats.connections, stats.rooms), (present, present, u64::from(present > 0)));
}

/// Who is in the call hears everybody else who is.
fn all_hear_all(world: &mut World, users: &[UserId]) {
    let present: Vec<UserId> = users.iter().copied().filter(|user| world.client(*user).is_established()).collect();
    if present.len() < 2 {
        // Who is alone in an encrypted call has no key to speak with.
        return;
    }
    for &user in &present {
        world.speak(user, 5);
    }
    world.run_for(Duration::from_secs(2));
    for &speaker in &present {
        let client = world.client(speaker);
        assert!(client.is_established(), "{speaker} was in the call, and all was well: {:?}", client.ended());
        let said = client.said();
        let last: Vec<&[u8]> = said[said.len() - 10..].iter().map(|said| &said.frame[..]).collect();
        for &listener in present.iter().filter(|listener| **listener != speaker) {
            let (client, heard) = (world.client(listener), world.client(listener).frames_from(speaker));
            let encryption = (world.client(speaker).e2ee(), client.e2ee());
            assert!(
                heard.ends_with(&last),
                "{listener} does not hear {speaker}: {encryption:#?} {:#?}",
                client.receive_stats()
            );
        }
    }
}
