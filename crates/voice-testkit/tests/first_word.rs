//! The first word of a talk spurt is heard, however busy the machines are.

use std::{collections::BTreeMap, env, ops::Range, time::Duration};

use voice_testkit::{
    Client, Conditions, World, for_each_seed,
    server::{DaveMode, Direction},
    voice::model::UserId,
};

#[test]
fn no_frame_is_lost_to_whoever_had_joined_before_it_was_given() {
    run_all(0..300);
}

/// `VOICE_TESTKIT_SEEDS` says how many seeds, `VOICE_TESTKIT_FIRST_SEED` where to begin.
#[test]
#[ignore = "many seeds"]
fn no_frame_is_lost_in_as_many_schedules_as_wanted() {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first: u64 = number("VOICE_TESTKIT_FIRST_SEED", 10_000);
    run_all(first..first + number("VOICE_TESTKIT_SEEDS", 2_000));
}

fn run_all(seeds: Range<u64>) {
    for_each_seed(seeds, run);
}

/// Users come at about the same time, or one after the other. Each begins to speak in the moment in which its join returns.
fn run(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xF157);
    let dave = if rng.bool() { DaveMode::Off } else { DaveMode::Required };
    let mut world = World::builder().seed(seed).dave(dave).busy(Duration::from_millis(200)).build();
    let latency_ms = rng.u64(1..60);
    let users: Vec<UserId> = (1..=rng.u64(2..=4)).map(UserId::new).collect();
    // Those whose joins have returned, in that order.
    let mut joined: Vec<UserId> = Vec::new();
    // The first epoch of the group that each was in.
    let mut came = BTreeMap::new();
    for &user in &users {
        world.begin_join(user);
        for direction in [Direction::FromClient, Direction::ToClient] {
            let latency = Duration::from_millis(rng.u64(..latency_ms));
            world.impair(user, direction, Conditions { latency, ..Conditions::default() });
        }
        let next_at = world.elapsed() + Duration::from_millis(if rng.bool() { rng.u64(..300) } else { 0 });
        while joined.len() < users.len() && (user == users[users.len() - 1] || world.elapsed() < next_at) {
            world.run_for(Duration::from_millis(1));
            note_epochs(&world, &mut came);
            let is_new = |user: &&UserId| !joined.contains(user) && world.clients().any(|it| it.user() == **user);
            let new: Vec<UserId> = users.iter().filter(is_new).copied().collect();
            for user in new.into_iter().filter(|user| world.client(*user).is_established()).collect::<Vec<_>>() {
                joined.push(user);
                world.speak(user, rng.u32(1..30));
            }
        }
        if let Some(&speaker) = joined.first().filter(|_| rng.u8(..4) == 0) {
            world.speak(speaker, rng.u32(1..30));
        }
    }
    for _ in 0..3_000 {
        world.run_for(Duration::from_millis(1));
        note_epochs(&world, &mut came);
    }
    world.run_for(Duration::from_secs(3));
    for (index, speaker) in joined.iter().enumerate() {
        assert_eq!(world.client(*speaker).waiting_frames(), 0, "seed {seed}");
        for listener in &joined[..index] {
            let since = came.get(listener).copied();
            check(seed, world.client(*speaker), (world.client(*listener), since));
        }
    }
}

fn note_epochs(world: &World, came: &mut BTreeMap<UserId, u64>) {
    for client in world.clients() {
        if let Some(epoch) = client.e2ee().and_then(|status| status.epoch) {
            came.entry(client.user()).or_insert(epoch);
        }
    }
}

/// The listener, who was there before, has heard everything: but for what was encrypted before the group, which has its
/// members one after the other when several come at once, had let it in. Nobody could open that.
fn check(seed: u64, speaker: &Client, (listener, since): (&Client, Option<u64>)) {
    // What is held back for want of a key is lost too.
    let mut said: Vec<_> = speaker.said().iter().chain(speaker.held_back()).collect();
    said.sort_by_key(|said| said.at);
    said.retain(|said| said.epoch.is_none_or(|epoch| Some(epoch) >= since));
    let frames: Vec<&[u8]> = said.iter().map(|said| &said.frame[..]).collect();
    let heard = listener.frames_from(speaker.user());
    assert!(
        heard == frames,
        "seed {seed}: {} heard {} of {} frames of {} said at {:?} to {:?}, {} held back, in epochs {:?} since {since:?}: {:?}",
        listener.user(),
        heard.len(),
        frames.len(),
        speaker.user(),
        said.first().map(|said| said.at),
        said.last().map(|said| said.at),
        speaker.held_back().len(),
        said.iter().map(|said| said.epoch).collect::<std::collections::BTreeSet<_>>(),
        listener.receive_stats(),
    );
}
