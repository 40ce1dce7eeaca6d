//! Media threads: what they do when there is nothing to do, too much, and more than one of them.

mod common;

use std::{
    future::{Future as _, IntoFuture as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{ALICE, BOB, GUILD, capacity, driver_with, info, join, now, until, within};
use discord_voice::{
    Config, Driver, Events, FrameBuf, FrameSource, Lead, NextFrame, Received, SendBackend, VoiceClient,
    model::{GuildId, UserId},
};
use voice_server::{DaveConfig, DaveMode, Server, ServerConfig};

/// Frames of audio without end, each of which takes the processor for a time that can be changed.
struct Busy(Arc<AtomicU64>);

impl FrameSource for Busy {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        let until = now() + Duration::from_micros(self.0.load(Ordering::Relaxed));
        while now() < until {
            std::hint::spin_loop();
        }
        out.set(&[0xF8; 80]).expect("it fits");
        NextFrame::Ready
    }

    fn lead(&self) -> Lead {
        // Which is not true: the thread is to suffer.
        Lead::Immediate
    }
}

/// Frames that say which one they are, asked for when they are due: no other thread has a part in them.
struct AtOnce(common::Counted);

impl FrameSource for AtOnce {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        self.0.next_frame(out)
    }

    fn lead(&self) -> Lead {
        Lead::Immediate
    }
}

/// Calls without end-to-end encryption: who is alone in one has no key, and sends nothing.
async fn plain_server(heartbeat: Duration) -> Server {
    let mut config = ServerConfig::default();
    config.core.dave = DaveConfig::new(DaveMode::Off);
    config.core.heartbeat_interval = heartbeat;
    Server::bind(config).await.expect("a server on loopback")
}

fn threads(count: usize) -> Config {
    let mut config = Config::default();
    config.media_threads = count;
    config
}

/// A call alone in a guild of its own.
async fn alone(server: &Server, driver: &Driver, number: u64) -> (VoiceClient, Events) {
    let info = info(server, GuildId::new(100 + number), UserId::new(1_000 + number));
    within(driver.connect(info).into_future()).await.expect("a call")
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_an_idle_call_wakes_its_thread_for_keepalives_only() {
    const CALLS: u64 = 20;
    let server = plain_server(Duration::from_secs(60)).await;
    let driver = driver_with(&server, threads(1));
    let mut calls = Vec::new();
    for number in 0..CALLS {
        calls.push(alone(&server, &driver, number).await);
    }
    let answered =
        |calls: &[(VoiceClient, Events)]| calls.iter().map(|(call, _)| call.stats().media.pongs).sum::<u64>();
    until("the first answers", || answered(&calls) >= CALLS).await;
    let (pings, before) = (server.stats().pings, driver.metrics().shards[0]);
    within(server.wait_for(|stats| stats.pings >= pings + CALLS)).await.expect("the server runs");
    // The answers are read by those wake-ups too, or each by one of its own.
    until("the answers", || answered(&calls) >= 2 * CALLS).await;
    let after = driver.metrics().shards[0];
    assert_eq!((after.calls, after.playing, after.ticks), (CALLS as usize, 0, 0));
    let wakeups = after.wakeups - before.wakeups;
    assert!(wakeups <= 3 * CALLS, "{wakeups} wake-ups for {CALLS} pings and their answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_s12_overload_skips_frames_and_says_so_and_nothing_else_suffers() {
    const CALLS: u64 = 30;
    let server = plain_server(Duration::from_secs(2)).await;
    let driver = driver_with(&server, threads(1));
    let busy_us = Arc::new(AtomicU64::new(0));
    let mut calls = Vec::new();
    for number in 0..CALLS {
        calls.push(alone(&server, &driver, number).await);
    }
    let threads_before = thread_count();
    let playbacks: Vec<_> = calls.iter().map(|(call, _)| call.play(Busy(Arc::clone(&busy_us)))).collect();
    within(server.wait_for(|stats| stats.packets_opened > 20 * CALLS)).await.expect("the server runs");
    let skipped = |driver: &Driver| driver.metrics().shards[0].skipped_ticks;
    assert_eq!(skipped(&driver), 0, "30 calls are no load");

    // Each round of 20 ms has 30 ms of work, for long enough that three heartbeats are missed if they can be.
    busy_us.store(1_000, Ordering::Relaxed);
    let begun = now();
    until("overload", || now() > begun + Duration::from_secs(6) && skipped(&driver) > 10 * CALLS).await;
    busy_us.store(0, Ordering::Relaxed);

    // Once it is over, nothing is skipped any more, and everything is on time again.
    let mut rounds = driver.metrics().shards[0];
    until("recovery", || {
        let now = driver.metrics().shards[0];
        if now.skipped_ticks != rounds.skipped_ticks {
            rounds = now;
        }
        now.ticks >= rounds.ticks + 100 * CALLS
    })
    .await;
    for (call, _) in &calls {
        let stats = within(call.fresh_stats()).await;
        assert!(stats.media.skipped > 0, "each lost the same");
        assert!(!call.is_ended());
    }
    let stats = server.stats();
    assert_eq!((stats.packets_unauthentic, stats.packets_malformed, stats.closes), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.sessions, CALLS);
    assert!(thread_count() <= threads_before, "no thread was added for it");
    playbacks.iter().for_each(discord_voice::Playback::stop);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_leave_a_thread_that_runs_late_and_lose_nothing_on_the_way() {
    const FRAMES: u32 = 200;
    let server = common::server().await;
    let ears = driver_with(&server, threads(1));
    let (listener, _listener_events) = join(&server, &ears, BOB).await;
    let mut heard = listener.receive(capacity(5_000));
    let driver = driver_with(&server, threads(2));
    let (burner, _burner_events) = alone(&server, &driver, 0).await;
    let mut players = Vec::new();
    for number in 0..3 {
        let info = info(&server, GUILD, UserId::new(50 + number));
        players.push(within(driver.connect(info).into_future()).await.expect("a call"));
    }
    let shards = driver.metrics().shards;
    assert_eq!([shards[0].calls, shards[1].calls], [2, 2], "they were spread evenly");
    // More than one thread can do: whoever shares it skips turns until they move.
    let busy = burner.play(Busy(Arc::new(AtomicU64::new(25_000))));
    players.iter().for_each(|(player, _)| drop(player.play(AtOnce(common::Counted::new(FRAMES)))));

    let mut next = [0; 3];
    let mut times = [None; 3];
    let mut gaps = [0; 3];
    while next != [FRAMES; 3] {
        match within(heard.next()).await.expect("the call goes on") {
            Received::Frame { user, timestamp, frame, .. } if frame.len() == 5 => {
                let player = (user.get() - 50) as usize;
                assert_eq!(frame.as_slice(), common::numbered(next[player]));
                next[player] += 1;
                if let Some(before) = times[player].replace(timestamp.get()) {
                    gaps[player] += u64::from(timestamp.get().wrapping_sub(before) / 960 - 1);
                }
            }
            Received::Frame { .. } => {}
            other => panic!("a gap on loopback: {other:?}"),
        }
    }
    let shards = driver.metrics().shards;
    assert!(shards[0].moved_away >= 1, "{shards:?}");
    busy.stop();
    // Each thread tells its own part once a second.
    until("both threads' word on the moves", || {
        let shards = driver.metrics().shards;
        shards[0].moved_away + shards[1].moved_away == shards[0].moved_here + shards[1].moved_here
    })
    .await;
    for ((player, _), gaps) in players.iter().zip(gaps) {
        assert!(!player.is_ended());
        // A machine that is busy with other things can make a thread miss its turns: then it says so.
        let skipped = within(player.fresh_stats()).await.media.skipped;
        assert!(gaps <= skipped, "{gaps} turns are missing, {skipped} were skipped");
        within(player.leave()).await.expect("left");
    }
    until("the end of them", || driver.metrics().shards.iter().map(|shard| shard.calls).sum::<usize>() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_send_sends_the_same() {
    for backend in [SendBackend::Plain, SendBackend::IoUring] {
        let server = common::server().await;
        let mut config = threads(1);
        config.send_backend = backend;
        let driver = driver_with(&server, config);
        let (listener, _events) = join(&server, &driver, BOB).await;
        let mut heard = listener.receive(capacity(500));
        let (player, _player_events) = join(&server, &driver, ALICE).await;
        player.play(common::Counted::new(30));
        for number in 0..30 {
            assert_eq!(common::next_sound(&mut heard).await, (ALICE, common::numbered(number).to_vec()));
        }
    }
}

/// Panics on the media thread, which wakes it.
struct Bomb;

impl std::task::Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a panic that was asked for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_thread_that_dies_ends_its_calls_and_no_others_and_says_so() {
    let server = plain_server(Duration::from_secs(2)).await;
    let driver = driver_with(&server, threads(2));
    let (bad, mut bad_events) = join(&server, &driver, ALICE).await;
    let (neighbour, _events) = join(&server, &driver, BOB).await;
    let mut heard = bad.receive(capacity(50));
    let bomb = std::task::Waker::from(Arc::new(Bomb));
    let polled = std::pin::pin!(heard.next()).poll(&mut std::task::Context::from_waker(&bomb));
    assert!(polled.is_pending());
    neighbour.play(common::Counted::new(1_000));
    let reason = within(bad.ended()).await;
    assert!(matches!(&reason, discord_voice::EndReason::Socket(why) if why.contains("media thread")), "{reason:?}");
    while within(bad_events.next()).await.is_some() {}
    assert!(bad.is_ended());
    let gone: Vec<_> = driver.metrics().shards.iter().map(|shard| shard.is_gone).collect();
    assert_eq!(gone, [true, false]);
    assert!(!neighbour.is_ended());
    let (next, _events) = alone(&server, &driver, 1).await;
    assert!(!next.is_ended(), "new calls go to the thread that is left");
}

/// Threads of this process.
fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
