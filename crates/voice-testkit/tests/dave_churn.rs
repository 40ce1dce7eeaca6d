//! Audio never stops while members join and leave.

use std::time::Duration;

use voice_testkit::{World, server::DaveMode, voice::model::UserId};

/// Members of the call, the one that comes and goes among them.
const SIZE: u64 = 25;
/// Those who speak all the time.
const SPEAKERS: u64 = 4;
/// How often somebody comes or goes.
const CHANGES: u64 = 12;

#[test]
fn a_listener_loses_no_frame_while_one_of_25_joins_or_leaves_every_two_seconds() {
    let latency = Duration::from_millis(40);
    let mut world = World::builder().seed(1).latency(latency).dave(DaveMode::Required).build();
    let stayers: Vec<UserId> = (1..SIZE).map(UserId::new).collect();
    let guests: Vec<UserId> = (SIZE..SIZE + 3).map(UserId::new).collect();
    stayers.iter().for_each(|user| world.begin_join(*user));
    world.run_until(|world| {
        stayers.iter().all(|user| world.client(*user).e2ee().is_some_and(|it| it.members.len() == stayers.len()))
    });
    world.run_until(|world| stayers.iter().all(|user| world.client(*user).is_established()));
    world.run_for(Duration::from_secs(1));
    let speakers = &stayers[..usize::try_from(SPEAKERS).expect("few")];
    let frames = u32::try_from(CHANGES * 100).expect("few");
    speakers.iter().for_each(|user| world.speak(*user, frames));
    for change in 0..CHANGES {
        let guest = guests[usize::try_from(change / 2).expect("few") % guests.len()];
        if change % 2 == 0 {
            world.begin_join(guest)
        } else {
            world.leave(guest)
        }
        world.run_for(Duration::from_secs(2));
    }
    world.run_for(Duration::from_secs(2));

    for &listener in &stayers {
        let client = world.client(listener);
        let epoch = client.e2ee().and_then(|status| status.epoch).expect("it is in a group");
        assert!(epoch > CHANGES, "the keys did change: {epoch}");
        for &speaker in speakers.iter().filter(|speaker| **speaker != listener) {
            let said: Vec<&[u8]> = world.client(speaker).said().iter().map(|said| &said.frame[..]).collect();
            assert_eq!(said.len(), CHANGES as usize * 100 + 5);
            assert_eq!(world.client(speaker).held_back(), []);
            assert!(client.frames_from(speaker) == said, "{listener} misses frames of {speaker}");
        }
        let stats = client.receive_stats().expect("it is in a call");
        assert_eq!((stats.lost, stats.e2ee.missing_key, stats.e2ee.not_authentic), (0, 0, 0), "{stats:?}");
    }
    for &guest in &guests {
        let heard = world.client(guest).frames_from(speakers[0]);
        assert!(heard.len() > 60, "a guest hears from when it came: {}", heard.len());
    }
}
