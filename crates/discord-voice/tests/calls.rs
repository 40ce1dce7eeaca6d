//! Calls over real sockets against the loopback server.

mod common;

use common::{ALICE, BOB, Counted, capacity, driver, join, next_sound, numbered, server, within};
use discord_voice::{Event, PlaybackEnd, PlaybackStatus};

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_is_heard_as_it_was_sent_and_by_whom() {
    let server = server().await;
    let driver = driver(&server);
    let (listener, _events) = join(&server, &driver, BOB).await;
    let mut heard = listener.receive(capacity(500));
    let (player, _player_events) = join(&server, &driver, ALICE).await;
    let playback = player.play(Counted::new(50));
    for number in 0..50 {
        assert_eq!(next_sound(&mut heard).await, (ALICE, numbered(number).to_vec()));
    }
    assert!(matches!(within(playback.finished()).await, PlaybackEnd::Finished));
    assert_eq!(playback.position(), std::time::Duration::from_secs(1));
    within(player.leave()).await.expect("left");
    within(listener.leave()).await.expect("left");
    within(server.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_who_comes_speaks_and_goes() {
    let server = server().await;
    let driver = driver(&server);
    let (_listener, mut events) = join(&server, &driver, BOB).await;
    let (player, _player_events) = join(&server, &driver, ALICE).await;
    player.play(Counted::new(3));
    let (mut came, mut spoke) = (false, false);
    while !(came && spoke) {
        match within(events.next()).await.expect("the call goes on") {
            Event::UsersConnected(users) => came |= users.contains(&ALICE),
            Event::Speaking { user: ALICE, .. } => spoke = true,
            _ => {}
        }
    }
    within(player.leave()).await.expect("left");
    while !matches!(within(events.next()).await.expect("the call goes on"), Event::UserLeft(ALICE)) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_keeps_the_position_and_a_newer_source_takes_the_place() {
    let server = server().await;
    let driver = driver(&server);
    let (listener, _events) = join(&server, &driver, BOB).await;
    let mut heard = listener.receive(capacity(500));
    let (player, _player_events) = join(&server, &driver, ALICE).await;

    let first = player.play(Counted::new(10_000));
    for number in 0..5 {
        assert_eq!(next_sound(&mut heard).await.1, numbered(number));
    }
    first.pause();
    common::until("the pause", || first.status() == PlaybackStatus::Paused).await;
    let position = first.position();
    // Five frames of silence end the talk spurt.
    let mut silent = 0;
    while silent < 5 {
        if let Some(discord_voice::Received::Frame { frame, .. }) = within(heard.next()).await {
            silent += usize::from(frame.as_slice() == [0xF8, 0xFF, 0xFE]);
        }
    }
    assert_eq!(first.position(), position, "nothing is consumed while paused");
    first.resume();
    let next = u32::try_from(position.as_millis() / 20).expect("short");
    assert_eq!(next_sound(&mut heard).await.1, numbered(next));

    let second = player.play(Counted { next: 50_000, end: 50_003 });
    assert!(matches!(within(first.finished()).await, PlaybackEnd::Replaced));
    first.stop();
    while next_sound(&mut heard).await.1 != numbered(50_000) {}
    assert!(matches!(within(second.finished()).await, PlaybackEnd::Finished), "an old handle stops nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_panics_or_sends_nonsense_hurts_only_itself() {
    struct Panics;
    impl discord_voice::FrameSource for Panics {
        fn next_frame(&mut self, _: &mut discord_voice::FrameBuf) -> discord_voice::NextFrame {
            panic!("as the test wants it")
        }
    }
    struct Empty;
    impl discord_voice::FrameSource for Empty {
        fn next_frame(&mut self, out: &mut discord_voice::FrameBuf) -> discord_voice::NextFrame {
            out.clear();
            discord_voice::NextFrame::Ready
        }
    }
    let server = server().await;
    let driver = driver(&server);
    let (listener, _events) = join(&server, &driver, BOB).await;
    let mut heard = listener.receive(capacity(500));
    let (player, _player_events) = join(&server, &driver, ALICE).await;
    let neighbour_heard = player.receive(capacity(500));
    let neighbour = listener.play(Counted::new(40));

    assert!(matches!(within(player.play(Panics).finished()).await, PlaybackEnd::Panicked));
    assert!(matches!(within(player.play(Empty).finished()).await, PlaybackEnd::Unsendable(_)));
    player.play(Counted::new(2));
    assert_eq!(next_sound(&mut heard).await.1, numbered(0));

    let mut neighbour_heard = neighbour_heard;
    for number in 0..40 {
        assert_eq!(next_sound(&mut neighbour_heard).await, (BOB, numbered(number).to_vec()));
    }
    assert!(matches!(within(neighbour.finished()).await, PlaybackEnd::Finished));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_panics_when_it_is_dropped_hurts_only_itself() {
    struct Bomb;
    impl discord_voice::FrameSource for Bomb {
        fn next_frame(&mut self, out: &mut discord_voice::FrameBuf) -> discord_voice::NextFrame {
            out.set(&numbered(7)).expect("it fits");
            discord_voice::NextFrame::Ready
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as the test wants it")
        }
    }
    let server = server().await;
    let driver = driver(&server);
    let (listener, _events) = join(&server, &driver, BOB).await;
    let mut heard = listener.receive(capacity(500));
    let (player, _player_events) = join(&server, &driver, ALICE).await;
    let bomb = player.play(Bomb);
    assert_eq!(next_sound(&mut heard).await.1, numbered(7));
    bomb.stop();
    assert!(matches!(within(bomb.finished()).await, PlaybackEnd::Stopped));
    player.play(Counted { next: 100, end: 103 });
    while next_sound(&mut heard).await.1 != numbered(102) {}
}

#[test]
fn a_runtime_that_ends_takes_its_calls_off_the_media_threads() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let servers = runtime();
    let server = servers.block_on(server());
    let driver = driver(&server);
    let calls = runtime();
    let (client, playback) = calls.block_on(async {
        let (client, _events) = join(&server, &driver, ALICE).await;
        let playback = client.play(Counted::new(100_000));
        common::until("audio", || playback.status() == PlaybackStatus::Playing).await;
        (client, playback)
    });
    drop(calls);
    servers.block_on(common::until("the end of the playback", || playback.status() == PlaybackStatus::Ended));
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn w15_dropping_the_last_handle_leaves_and_a_clone_does_not() {
    let server = server().await;
    let driver = driver(&server);
    let (client, mut events) = join(&server, &driver, ALICE).await;
    let clone = client.clone();
    let playback = client.play(Counted::new(1));
    drop(client);
    within(playback.finished()).await;
    assert!(!clone.is_ended());
    drop(clone);
    while let Some(event) = within(events.next()).await {
        if let Event::Ended(reason) = event {
            assert_eq!(reason, discord_voice::EndReason::Left);
        }
    }
    within(server.wait_for(|stats| stats.sessions == 0)).await.expect("the server runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_discovery_request_is_sent_at_once() {
    let server = server().await;
    let driver = driver(&server);
    let (client, _events) = join(&server, &driver, ALICE).await;
    let times = client.stats().join;
    let (Some(identified), Some(discovered)) = (times.identified, times.discovered) else {
        panic!("both steps were taken: {times:?}");
    };
    // The second request would follow after a second.
    assert!(discovered - identified < std::time::Duration::from_millis(900), "{times:?}");
}
