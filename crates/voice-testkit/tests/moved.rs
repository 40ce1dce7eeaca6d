//! The server ends the session and only the main gateway knows why: a move is followed, a kick is an end.

use std::time::Duration;

use voice_testkit::{
    GUILD, World,
    server::Command,
    voice::{
        Advice, EndReason, Event,
        model::{CloseCode, UserId},
    },
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

fn world(seed: u64) -> World {
    let mut world = World::builder().seed(seed).latency(Duration::from_millis(40)).build();
    world.join(ALICE);
    world.join(BOB);
    world.run_for(Duration::from_secs(1));
    world
}

#[test]
fn a_change_of_server_is_followed_and_audio_goes_on_under_the_new_key() {
    let mut world = world(1);
    world.speak(ALICE, 500);
    world.speak(BOB, 500);
    world.run_for(Duration::from_secs(2));
    world.command(Command::Rehome { guild: GUILD, user: ALICE });
    world.run_until(|world| !world.client(ALICE).is_established());
    // The main gateway takes its time.
    world.run_for(Duration::from_secs(1));
    world.update(ALICE);
    world.run_until(|world| world.client(ALICE).is_established());
    world.run_for(Duration::from_secs(12));

    let alice = world.client(ALICE);
    assert_eq!(alice.count(|event| matches!(event, Event::Connected)), 2);
    assert_eq!(alice.media_starts(), 2);
    for (speaker, listener) in [(ALICE, BOB), (BOB, ALICE)] {
        let said: Vec<&[u8]> = world.client(speaker).said().iter().map(|said| &said.frame[..]).collect();
        let heard = world.client(listener).frames_from(speaker);
        // Without Alice there is nobody for whom Bob could encrypt.
        let held = world.client(speaker).held_back().len();
        assert_eq!(said.len() + held, 505);
        assert!(held < 90 && (speaker == BOB || held == 0), "{held}");
        // What the old session still sent is gone, and nothing else.
        assert!(heard.len() > said.len() - 90, "{listener} heard {} of {speaker}", heard.len());
        assert!(said.ends_with(&heard[heard.len() - 300..]), "{listener} hears {speaker} to the end");
    }
}

#[test]
fn a_kick_is_the_end_once_the_main_gateway_had_its_time() {
    let mut world = world(2);
    world.command(Command::Disconnect { guild: GUILD, user: ALICE });
    let ended = world.run_until(|world| world.client(ALICE).ended().is_some());
    assert!(ended <= Duration::from_secs(11), "{ended:?}");
    let reason = world.client(ALICE).ended().expect("it ended");
    assert!(matches!(reason, EndReason::Session { advice: Advice::Wait, .. }), "{reason}");
    assert_eq!(reason.to_string(), format!("closed by the voice server with {}", CloseCode::DISCONNECTED));
}
