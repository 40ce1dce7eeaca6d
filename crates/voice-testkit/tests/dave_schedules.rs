//! End-to-end encryption under anything that may happen: who comes and goes when, sockets that are lost and resumed,
//! messages that are late or come twice, commits that compete, a delivery service that misbehaves.
//!
//! The world itself watches that no frame leaves or is accepted in the clear and that no key stream comes twice. What is
//! checked here: whoever stays hears all others who stay soon after each transition, and nobody is stuck in the end.

use std::{env, sync::Arc, time::Duration};

use voice_testkit::{
    Conditions, World, for_each_seed,
    server::{DaveFault, DaveMode, Direction, Event, Fault, FaultKind, ProposalFault, Tamper},
    voice::{
        Config, E2ee, EndReason,
        model::{Opcode, UserId},
    },
};

#[test]
fn members_hear_each_other_after_any_schedule_of_the_first_fifty() {
    (0..50).for_each(run_and_forget);
}

#[test]
fn members_hear_each_other_after_any_schedule_of_the_second_fifty() {
    (50..100).for_each(run_and_forget);
}

#[test]
fn members_hear_each_other_soon_after_every_transition_of_calm_schedules() {
    for seed in 0..30 {
        calm(seed, false);
    }
}

#[test]
fn members_hear_each_other_soon_after_every_transition_whatever_needs_no_recovery() {
    for seed in 0..30 {
        calm(seed, true);
    }
}

#[test]
fn schedules_that_once_failed_pass() {
    // A key package that crossed with proposals for a group that was not founded yet.
    run(36_445);
    // A transition that was executed after the one that ends the encryption was prepared.
    run(51_113);
    // An answer said again after a resume, whose number stood for another transition by then.
    run(37_349);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 1_000..1_005 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1_000), run(1_001));
}

/// `VOICE_TESTKIT_DAVE_SEEDS` says how many seeds, `VOICE_TESTKIT_FIRST_SEED` where to begin. Every fourth one is calm, and every
/// second of those has faults that need no recovery.
#[test]
#[ignore = "runs for as long as it is told to"]
fn members_hear_each_other_after_as_many_schedules_as_wanted() {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first: u64 = number("VOICE_TESTKIT_FIRST_SEED", 10_000);
    for_each_seed(first..first + number("VOICE_TESTKIT_DAVE_SEEDS", 1_000), |seed| {
        if seed % 4 == 0 { calm(seed, seed % 8 == 4) } else { run_and_forget(seed) }
    });
}

fn run_and_forget(seed: u64) {
    run(seed);
}

fn config(e2ee: E2ee) -> Config {
    let mut config = Config::default();
    config.modes.sort_by_key(|mode| mode.wire_name());
    config.e2ee = e2ee;
    config
}

fn world(seed: u64, rng: &mut fastrand::Rng, e2ee: E2ee, mode: DaveMode) -> World {
    World::builder()
        .seed(seed)
        .latency(Duration::from_millis(rng.u64(0..100)))
        // Both ways together less than a frame: no packet is overtaken.
        .jitter(Duration::from_millis(rng.u64(0..10)))
        .call(config(e2ee))
        .dave(mode)
        // In every second one, so that what a client repeats without need is not hidden.
        .repeated_packages(seed % 2 == 1)
        .build()
}

/// Members come, go, lose their sockets and speak, and all is well otherwise but for faults that a member passes over:
/// after every transition all hear all.
fn calm(seed: u64, faulty: bool) {
    let mut rng = fastrand::Rng::with_seed(seed ^ if faulty { 0xFA17 } else { 0xCA15 });
    let mut world = world(seed, &mut rng, E2ee::Prefer, DaveMode::Required);
    let users: Vec<UserId> = (1..=rng.u64(2..=6)).map(UserId::new).collect();
    for &user in &users {
        world.begin_join(user);
    }
    for _ in 0..rng.usize(3..10) {
        let user = users[rng.usize(..users.len())];
        for _ in 0..if faulty { rng.u8(1..4) } else { 0 } {
            let kind = FaultKind::Dave(passing_fault(&mut rng));
            world.fault(if rng.bool() { Fault::all(kind) } else { Fault::user(user, kind) });
        }
        match rng.u8(..6) {
            0..3 if !world.client(user).is_in_call() => world.begin_join(user),
            0 | 1 => world.leave(user),
            2 | 3 => world.reset(user),
            4 => world.speak(user, rng.u32(1..40)),
            _ => world.update(user),
        }
        if rng.bool() {
            // The next thing happens in the middle of what this one began.
            world.run_for(Duration::from_millis(rng.u64(..600)));
            continue;
        }
        settle(&mut world, &users);
        all_hear_all(&mut world, &users);
    }
    settle(&mut world, &users);
    all_hear_all(&mut world, &users);
}

/// Waits for those who are on their way, and then until two seconds after the last transition began.
fn settle(world: &mut World, users: &[UserId]) {
    let settled = |world: &World| {
        users.iter().all(|user| world.client(*user).is_established() != world.client(*user).ended().is_some())
    };
    world.run_until(settled);
    loop {
        let begun = world.server_events().iter().rev().find(|(_, event)| matches!(event, Event::EpochBegan { .. }));
        let end = begun.map_or(Duration::ZERO, |(at, _)| *at) + TRANSITION + ROUND_TRIP;
        let Some(left) = end.checked_sub(world.elapsed()).filter(|left| !left.is_zero()) else { break };
        world.run_for(left);
    }
    // What came last may not have led to a commit yet.
    world.run_for(ROUND_TRIP * 4);
    world.run_until(settled);
}

/// Runs one schedule to its end. Returns the hash of all that happened, and in how many steps.
fn run(seed: u64) -> (u64, u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xDA7E);
    let e2ee = if rng.bool() { E2ee::Require } else { E2ee::Prefer };
    // In every fifth schedule the last user has a client from before there was encryption.
    let mixed = seed % 5 == 3;
    let mut world = world(seed, &mut rng, e2ee, if mixed { DaveMode::Optional } else { DaveMode::Required });
    let users: Vec<UserId> = (1..=rng.u64(2..=6)).map(UserId::new).collect();
    let plain = users.last().copied().filter(|_| mixed);
    for &user in &users {
        begin_join(&mut world, user, plain);
    }
    for _ in 0..rng.usize(5..30) {
        let pause_ms = if rng.u8(..4) == 0 { rng.u64(..8_000) } else { rng.u64(..700) };
        world.run_for(Duration::from_millis(pause_ms));
        let user = users[rng.usize(..users.len())];
        act(&mut world, &mut rng, user, (e2ee, plain));
    }
    recover(&mut world, &users);
    all_hear_all(&mut world, &users);
    (world.trace_hash(), world.steps())
}

fn begin_join(world: &mut World, user: UserId, plain: Option<UserId>) {
    if plain == Some(user) {
        let mut without = config(E2ee::Prefer);
        without.session.max_dave_protocol_version = 0;
        world.begin_join_with(user, &Arc::new(without));
    } else {
        world.begin_join(user);
    }
}

/// Lets one thing happen.
fn act(world: &mut World, rng: &mut fastrand::Rng, user: UserId, (e2ee, plain): (E2ee, Option<UserId>)) {
    match rng.u8(..20) {
        0..3 if !world.client(user).is_in_call() => begin_join(world, user, plain),
        0 | 1 => world.leave(user),
        2 => world.update(user),
        3..6 => world.speak(user, rng.u32(1..40)),
        6 => world.reset(user),
        7 => world.stall(user, Duration::from_millis(rng.u64(..8_000))),
        8 => {
            let conditions = Conditions {
                latency: Duration::from_millis(rng.u64(..300)),
                jitter: Duration::from_millis(rng.u64(..100)),
                loss: rng.f64() * rng.f64() * 0.5,
                duplicate: rng.f64() * rng.f64(),
                reorder: rng.f64() * rng.f64(),
            };
            let direction = if rng.bool() { Direction::FromClient } else { Direction::ToClient };
            world.impair(user, direction, conditions);
        }
        9 => {
            let delay = FaultKind::Delay(Duration::from_millis(rng.u64(..2_000)));
            world.fault(Fault::user(user, delay));
        }
        _ => {
            let fault = fault(rng, e2ee);
            // Where the call may be without encryption, nobody can tell that these are not true.
            let lie = matches!(fault, DaveFault::PrepareTransition { .. } | DaveFault::PrepareEpoch { .. });
            if lie && plain.is_some() {
                return;
            }
            let kind = FaultKind::Dave(fault);
            let everybody = rng.u8(..4) == 0;
            world.fault(if everybody { Fault::all(kind) } else { Fault::user(user, kind) });
        }
    }
}

/// A fault that the protocol can find out and mend. What it cannot is a WebSocket that loses messages and a server that
/// lies about its own key.
fn fault(rng: &mut fastrand::Rng, e2ee: E2ee) -> DaveFault {
    let (transition_id, count) = (rng.u16(..6), rng.u32(1..4));
    match rng.u8(..19) {
        0 => DaveFault::RepeatProposals,
        1..4 => DaveFault::Propose(PROPOSALS[rng.usize(..PROPOSALS.len())]),
        4 => DaveFault::RevokeOne,
        5 => DaveFault::RevokeAll,
        6 => DaveFault::RevokeUnknown,
        7 => DaveFault::RepeatExternalSender,
        8 => DaveFault::ExecuteUnknown,
        9 => DaveFault::ExecuteAgain,
        10 => {
            // Only who requires encryption ends the call instead of believing it.
            let may_lie = e2ee == E2ee::Require && rng.u8(..4) == 0;
            DaveFault::PrepareTransition { transition_id, protocol_version: u16::from(!may_lie) }
        }
        11 => DaveFault::PrepareEpoch { epoch: rng.u64(1..4), protocol_version: 1 },
        12 => DaveFault::ReplayCommit { transition_id },
        13 => DaveFault::ReplayWelcome { transition_id },
        14 => DaveFault::RefuseCommits { count },
        15 => DaveFault::TransitionZero { count },
        16 => DaveFault::CommitBeforeWelcome { count },
        17 => DaveFault::MisaddressWelcome { count },
        _ => {
            let opcode = OPCODES[rng.usize(..OPCODES.len())];
            let answered = matches!(opcode, Opcode::MlsAnnounceCommitTransition | Opcode::MlsWelcome);
            let how = match rng.u8(..3) {
                1 if answered => Tamper::Truncate { len: rng.usize(1..40) },
                2 if answered => Tamper::Flip,
                _ => Tamper::Duplicate,
            };
            DaveFault::Tamper { opcode, how, count }
        }
    }
}

/// A fault that costs nobody its place in the group: what comes twice and changes nothing, what is no transition, what
/// may not be committed, what is taken back.
fn passing_fault(rng: &mut fastrand::Rng) -> DaveFault {
    match rng.u8(..9) {
        0 => DaveFault::RepeatProposals,
        1 | 2 => DaveFault::Propose(PROPOSALS[rng.usize(..PROPOSALS.len())]),
        3 => DaveFault::RevokeOne,
        4 => DaveFault::RevokeAll,
        5 => DaveFault::RevokeUnknown,
        6 => DaveFault::RepeatExternalSender,
        7 => {
            if rng.bool() {
                DaveFault::ExecuteUnknown
            } else {
                DaveFault::ExecuteAgain
            }
        }
        _ => {
            let opcode = PASSING[rng.usize(..PASSING.len())];
            DaveFault::Tamper { opcode, how: Tamper::Duplicate, count: rng.u32(1..4) }
        }
    }
}

/// Everything that goes wrong ends, and every call finds its way back or its end.
fn recover(world: &mut World, users: &[UserId]) {
    world.fault(Fault::all(FaultKind::Clear));
    let good = Conditions { latency: Duration::from_millis(40), ..Conditions::default() };
    for &user in users {
        world.impair(user, Direction::FromClient, good);
        world.impair(user, Direction::ToClient, good);
    }
    // The longest stall, the time until a dead socket is noticed, and that until it is replaced or given up.
    world.run_for(Duration::from_secs(8 + 24 + 60));
    for &user in users {
        let client = world.client(user);
        assert!(client.is_established() != client.ended().is_some(), "{user} is neither in the call nor out of it");
        let fair = |reason: &EndReason| match reason {
            // On a path so bad that the own address is not found out; no fault of the encryption.
            EndReason::Discovery { .. } => true,
            EndReason::Left | EndReason::Downgraded | EndReason::NotEncrypted | EndReason::Session { .. } => true,
            _ => false,
        };
        assert!(client.ended().is_none_or(fair), "{user}: {:?}", client.ended());
    }
}

/// Who is in the call hears everybody else who is.
fn all_hear_all(world: &mut World, users: &[UserId]) {
    let present: Vec<UserId> = users.iter().copied().filter(|user| world.client(*user).is_established()).collect();
    if present.len() < 2 {
        return;
    }
    world.run_until(|world| present.iter().all(|user| world.client(*user).waiting_frames() == 0));
    let before: Vec<usize> = present.iter().map(|user| world.client(*user).said().len()).collect();
    for &user in &present {
        world.speak(user, 3);
    }
    world.run_for(Duration::from_millis(1_200));
    for (&speaker, before) in present.iter().zip(before) {
        let said: Vec<&[u8]> = world.client(speaker).said()[before..].iter().map(|said| &said.frame[..]).collect();
        assert!(said.len() >= 8, "{speaker} has no key: {:#?}", world.client(speaker).e2ee());
        for &listener in present.iter().filter(|listener| **listener != speaker) {
            let (client, heard) = (world.client(listener), world.client(listener).frames_from(speaker));
            let encryption = (world.client(speaker).e2ee(), client.e2ee(), client.receive_stats());
            assert!(heard.ends_with(&said), "{listener} does not hear {speaker}: {encryption:#?}");
        }
    }
}

/// How long a transition waits for those who are not ready.
const TRANSITION: Duration = Duration::from_secs(2);
/// There and back on the worst of the calm paths.
const ROUND_TRIP: Duration = Duration::from_millis(240);

const PROPOSALS: [ProposalFault; 12] = [
    ProposalFault::WrongEpoch,
    ProposalFault::OtherGroup,
    ProposalFault::ForeignSigner,
    ProposalFault::SenderIndex(1),
    ProposalFault::Stranger,
    ProposalFault::OwnAdd,
    ProposalFault::OwnRemoval,
    ProposalFault::BlankLeaf,
    ProposalFault::Update,
    ProposalFault::GroupContextExtensions,
    ProposalFault::Truncated,
    ProposalFault::HugeLength,
];

/// Those that say nothing new when they come again.
const PASSING: [Opcode; 4] =
    [Opcode::MlsExternalSender, Opcode::MlsProposals, Opcode::DavePrepareTransition, Opcode::DaveExecuteTransition];

const OPCODES: [Opcode; 7] = [
    Opcode::MlsExternalSender,
    Opcode::MlsProposals,
    Opcode::MlsAnnounceCommitTransition,
    Opcode::MlsWelcome,
    Opcode::DavePrepareTransition,
    Opcode::DaveExecuteTransition,
    Opcode::DavePrepareEpoch,
];
