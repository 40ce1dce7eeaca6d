//! Everybody in a call hears every frame of everybody else, in order and byte for byte.

use std::time::Duration;

use voice_testkit::{World, voice::Event, voice::model::UserId};

/// All speak at once; everybody hears everything.
fn all_hear_all(members: u64, world: &mut World) {
    let users: Vec<UserId> = (1..=members).map(UserId::new).collect();
    for &user in &users {
        world.begin_join(user);
    }
    world.run_until(|world| world.clients().all(|client| client.is_established()));
    // Op 5 and the first ping of each, which open reception.
    world.run_for(Duration::from_secs(1));
    for &user in &users {
        world.speak(user, 100);
    }
    world.run_for(Duration::from_secs(4));
    for &listener in &users {
        for &speaker in users.iter().filter(|speaker| **speaker != listener) {
            let said: Vec<&[u8]> = world.client(speaker).said().iter().map(|said| &said.frame[..]).collect();
            assert_eq!(said.len(), 105, "100 frames, five of silence");
            assert!(world.client(listener).frames_from(speaker) == said, "{listener} hears {speaker}");
            assert_eq!(world.client(listener).lost_from(speaker), 0);
        }
        assert_eq!(world.client(listener).media_starts(), 1);
        assert_eq!(world.client(listener).frames_from(listener).len(), 0, "nobody hears themselves");
    }
}

#[test]
fn two_clients_hear_every_frame_of_each_other() {
    all_hear_all(2, &mut World::builder().seed(1).latency(Duration::from_millis(40)).build());
}

#[test]
fn ten_clients_hear_every_frame_of_all_others() {
    all_hear_all(10, &mut World::builder().seed(2).latency(Duration::from_millis(25)).build());
}

#[test]
fn without_any_delay_it_is_the_same() {
    all_hear_all(3, &mut World::builder().seed(3).build());
}

#[test]
fn timestamps_go_on_through_silence() {
    let [alice, bob] = [UserId::new(1), UserId::new(2)];
    let mut world = World::builder().seed(4).latency(Duration::from_millis(40)).build();
    world.join(alice);
    world.join(bob);
    world.run_for(Duration::from_secs(1));
    world.speak(alice, 10);
    world.run_for(Duration::from_secs(3));
    world.speak(alice, 10);
    world.run_for(Duration::from_secs(1));
    let timestamps: Vec<u32> = world.client(bob).heard().iter().map(timestamp).collect();
    assert_eq!(timestamps.len(), 30);
    let said = world.client(alice).said();
    for (pair, said) in timestamps.windows(2).zip(said.windows(2)) {
        let passed = (said[1].at - said[0].at).as_micros() as u32;
        assert_eq!(pair[1].wrapping_sub(pair[0]), passed / 1_000 * 48, "a clock of 48 kHz");
    }
}

#[test]
fn a_call_that_is_left_is_over_for_everybody() {
    let [alice, bob] = [UserId::new(1), UserId::new(2)];
    let mut world = World::builder().seed(5).latency(Duration::from_millis(40)).build();
    world.join(alice);
    world.join(bob);
    world.leave(alice);
    world.run_for(Duration::from_secs(1));
    assert!(world.client(alice).ended().is_some());
    assert!(world.client(bob).saw(|event| matches!(event, Event::UserLeft(user) if *user == alice)));
    world.speak(bob, 10);
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.client(alice).heard(), []);
    assert_eq!(world.server_stats().sessions, 1);
}

#[test]
fn equal_seeds_give_equal_worlds() {
    let run = |seed| {
        let mut world =
            World::builder().seed(seed).latency(Duration::from_millis(20)).jitter(Duration::from_millis(30));
        world = world.loss(0.05).duplicate(0.05).reorder(0.05);
        let mut world = world.build();
        all_speak_a_little(&mut world);
        (world.trace_hash(), world.steps())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

fn all_speak_a_little(world: &mut World) {
    for user in (1..=6).map(UserId::new) {
        world.join(user);
        world.speak(user, 50);
    }
    world.run_for(Duration::from_secs(5));
}

fn timestamp(heard: &voice_testkit::Heard) -> u32 {
    match heard.content {
        voice_testkit::HeardContent::Frame { timestamp, .. } => timestamp.get(),
        voice_testkit::HeardContent::Lost { packets } => panic!("{packets} packets were lost"),
    }
}
