//! What becomes of the frames that are on their way while the keys change.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use voice_testkit::{
    Conditions, Said, World, for_each_seed,
    server::{DaveMode, Direction},
    voice::model::UserId,
};

/// Whoever was in the group when a frame's key was made opens the frame, however long it takes and whatever changes
/// meanwhile; whoever came later cannot have the key, and hears the speaker from the first frame of the next key on.
#[test]
fn each_frame_is_opened_by_all_who_can_have_its_key_and_by_nobody_else() {
    run_all(0..12, 8);
}

/// `VOICE_TESTKIT_DAVE_SEEDS` says how many seeds.
#[test]
#[ignore = "many seeds"]
fn many_more_schedules() {
    let seeds = std::env::var("VOICE_TESTKIT_DAVE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    run_all(1_000..1_000 + seeds, 12);
}

fn run_all(seeds: Range<u64>, changes: u64) {
    let refused = AtomicU64::new(0);
    for_each_seed(seeds, |seed| {
        refused.fetch_add(run(seed, changes), Ordering::Relaxed);
    });
    assert!(refused.into_inner() > 0, "whoever comes receives what was encrypted before");
}

/// How many frames newcomers refused.
fn run(seed: u64, changes: u64) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::builder().seed(seed).dave(DaveMode::Required).build();
    // The epoch in which each member came, and those who are there.
    let mut came = BTreeMap::new();
    let mut present: Vec<UserId> = Vec::new();
    let mut left: BTreeMap<UserId, Duration> = BTreeMap::new();
    for change in 0..changes {
        if present.len() > 2 && rng.bool() {
            let user = present.swap_remove(rng.usize(..present.len()));
            left.insert(user, world.elapsed());
            world.leave(user);
        } else {
            let user = UserId::new(change + 1);
            world.begin_join(user);
            for direction in [Direction::FromClient, Direction::ToClient] {
                let latency = Duration::from_millis(rng.u64(1..150));
                world.impair(user, direction, Conditions { latency, ..Conditions::default() });
            }
            world.speak(user, 5_000);
            present.push(user);
        }
        let agreed = |world: &World| {
            let epoch =
                |user: &UserId| world.client(*user).e2ee().filter(|it| it.is_encrypting).and_then(|it| it.epoch);
            let members = |user: &UserId| world.client(*user).e2ee().map_or(0, |it| it.members.len());
            present.iter().all(|user| {
                present.len() == 1
                    || (members(user) == present.len() && epoch(user).is_some() && epoch(user) == epoch(&present[0]))
            })
        };
        world.run_until(agreed);
        let epoch = world.client(present[0]).e2ee().and_then(|status| status.epoch);
        for user in &present {
            came.entry(*user).or_insert(epoch);
        }
        // Everything of the change has happened, and the next one comes at any moment of a frame.
        world.run_for(Duration::from_millis(700 + rng.u64(..300)));
    }
    let end = world.elapsed();
    world.run_for(Duration::from_secs(2));

    let mut refused_by_newcomers = 0;
    for (&listener, &since) in &came {
        let until = left.get(&listener).copied().unwrap_or(end);
        let client = world.client(listener);
        let mut too_early = 0;
        for (&speaker, _) in came.iter().filter(|(speaker, _)| **speaker != listener) {
            let heard = client.frames_from(speaker);
            let said = world.client(speaker).said().iter();
            // What is said half a second before the listener leaves may not reach it.
            let (mine, others): (Vec<&Said>, Vec<&Said>) =
                said.filter(|said| said.at + Duration::from_millis(500) < until).partition(|said| said.epoch >= since);
            too_early += others.len();
            let mine: Vec<&[u8]> = mine.iter().map(|said| &said.frame[..]).collect();
            assert!(
                heard.starts_with(&mine),
                "seed {seed}: {listener}, who came in epoch {since:?}, heard {} frames of {speaker} and not the {}",
                heard.len(),
                mine.len()
            );
        }
        let Some(stats) = client.receive_stats() else { continue };
        let e2ee = stats.e2ee;
        let refused = e2ee.missing_key + e2ee.replayed + e2ee.generation_refused + e2ee.not_authentic;
        assert!(refused as usize <= too_early, "seed {seed}: {listener} refused what it has the key of: {stats:?}");
        assert_eq!((e2ee.plaintext, e2ee.plaintext_refused, stats.lost), (0, 0, 0), "seed {seed}: {stats:?}");
        refused_by_newcomers += refused;
    }
    refused_by_newcomers
}
