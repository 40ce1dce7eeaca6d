//! Groups of many sizes form, shrink and form again, and everybody in them hears everybody else.

use std::{ops::RangeInclusive, time::Duration};

use voice_testkit::{World, server::DaveMode, voice::model::UserId};

fn users(ids: RangeInclusive<u64>) -> Vec<UserId> {
    ids.map(UserId::new).collect()
}

/// Waits until these users, and nobody else, are one group.
fn become_one(world: &mut World, users: &[UserId]) {
    world.run_until(|world| {
        users.iter().all(|user| {
            let client = world.client(*user);
            let status = client.e2ee().expect("it is in a call");
            client.is_established() && status.is_encrypting && status.members == users
        })
    });
    let codes: Vec<_> =
        users.iter().map(|user| world.client(*user).e2ee().and_then(|it| it.privacy_code.clone())).collect();
    assert!(codes[0].is_some() && codes.iter().all(|code| *code == codes[0]), "all share one code");
}

/// Everybody says something, and all others hear it.
fn all_speak(world: &mut World, users: &[UserId]) {
    for &user in users {
        world.speak(user, 2);
    }
    world.run_for(Duration::from_secs(1));
    for &speaker in users {
        let said = world.client(speaker).said();
        let said: Vec<&[u8]> = said[said.len() - 7..].iter().map(|said| &said.frame[..]).collect();
        for &listener in users.iter().filter(|listener| **listener != speaker) {
            let heard = world.client(listener).frames_from(speaker);
            assert!(heard.ends_with(&said), "{listener} does not hear {speaker}");
        }
    }
}

/// All come at once; the upper half goes, and comes back, in a small group one after the other; all but one go, and come
/// back.
fn form_shrink_and_form_again(seed: u64, size: u64) {
    let latency = Duration::from_millis(40);
    let mut world = World::builder().seed(seed).latency(latency).dave(DaveMode::Required).build();
    let all = users(1..=size);
    let (stayers, others) = all.split_at(all.len().div_ceil(2));
    all.iter().for_each(|user| world.begin_join(*user));
    become_one(&mut world, &all);
    all_speak(&mut world, &all);

    others.iter().for_each(|user| world.leave(*user));
    if let [alone] = stayers {
        world.run_until(|world| world.client(*alone).e2ee().is_some_and(|status| !status.is_encrypting));
    } else {
        become_one(&mut world, stayers);
        all_speak(&mut world, stayers);
    }
    if size <= 10 {
        others.iter().for_each(|user| world.join(*user));
    } else {
        others.iter().for_each(|user| world.begin_join(*user));
    }
    become_one(&mut world, &all);
    all_speak(&mut world, &all);

    all[1..].iter().for_each(|user| world.leave(*user));
    world.run_until(|world| world.client(all[0]).e2ee().is_some_and(|status| !status.is_encrypting));
    all[1..].iter().for_each(|user| world.begin_join(*user));
    become_one(&mut world, &all);
    all_speak(&mut world, &all);
    for &user in &all {
        let stats = world.client(user).receive_stats().expect("it is in a call").e2ee;
        assert_eq!((stats.plaintext, stats.not_authentic, stats.replayed), (0, 0, 0), "{user}: {stats:?}");
    }
}

#[test]
fn groups_of_two_three_and_ten_form_shrink_and_form_again() {
    for seed in 0..5 {
        for size in [2, 3, 10] {
            form_shrink_and_form_again(seed, size);
        }
    }
}

#[test]
fn a_group_of_fifty_forms_shrinks_and_forms_again() {
    form_shrink_and_form_again(50, 50);
}

#[test]
fn a_group_of_a_hundred_forms_shrinks_and_forms_again() {
    form_shrink_and_form_again(100, 100);
}
