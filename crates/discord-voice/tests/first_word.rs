//! The first word is heard, also on a machine whose cores are taken.

mod common;

use std::{
    future::IntoFuture as _,
    process::{Child, Command, Stdio},
    thread::available_parallelism,
    time::Duration,
};

use common::{ALICE, BOB, Counted, GUILD, capacity, driver_with, info, join, now, numbered, within};
use discord_voice::{Config, Received, VoiceClient};
use voice_server::{DaveConfig, DaveMode, Server, ServerConfig};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_word_is_heard_in_a_few_joins() {
    joins(4).await;
}

/// As many processes as there are cores do nothing but count.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, and the machine's cores"]
async fn the_first_word_is_heard_in_two_hundred_joins_beside_busy_processes() {
    let cores = available_parallelism().map_or(2, usize::from).max(2);
    let _busy: Vec<Busy> = (0..cores).map(|_| Busy::start()).collect();
    let started = now();
    joins(200).await;
    assert!(started.elapsed() < Duration::from_secs(110), "it took {:?}", started.elapsed());
}

/// One joins to listen, and another to speak at once, again and again.
async fn joins(number: u32) {
    let mut config = ServerConfig::default();
    config.core.dave = DaveConfig::new(DaveMode::Required);
    let server = Server::bind(config).await.expect("a server on loopback");
    let driver = driver_with(&server, Config::default());
    for round in 0..number / 2 {
        // Both at about the same time every other round, and then whoever is in first listens.
        let (listener, player) = if round % 2 == 0 {
            let (listener, _events) = join(&server, &driver, BOB).await;
            let heard = listener.receive(capacity(100));
            ((listener, heard), join(&server, &driver, ALICE).await.0)
        } else {
            let one = async {
                let client = within(driver.connect(info(&server, GUILD, BOB)).into_future()).await.expect("a call").0;
                (now(), client.receive(capacity(100)), client)
            };
            let other = async {
                let client = within(driver.connect(info(&server, GUILD, ALICE)).into_future()).await.expect("a call").0;
                (now(), client.receive(capacity(100)), client)
            };
            let (one, other) = tokio::join!(one, other);
            let (first, second) = if one.0 <= other.0 { (one, other) } else { (other, one) };
            ((first.2, first.1), second.2)
        };
        let (listener, mut heard) = listener;
        let playback = player.play(Counted::new(FRAMES));
        for number in 0..FRAMES {
            let frame = loop {
                match within(heard.next()).await.expect("the call goes on") {
                    Received::Frame { frame, .. } if frame.as_slice() == [0xF8, 0xFF, 0xFE] => {}
                    Received::Frame { frame, .. } => break frame,
                    other => panic!("round {round}, before frame {number}: {other:?}"),
                }
            };
            assert_eq!(frame.as_slice(), numbered(number), "round {round}: {:?}", stats(&listener, &player).await);
        }
        within(playback.finished()).await;
        within(player.leave()).await.expect("left");
        within(listener.leave()).await.expect("left");
    }
    within(server.shutdown()).await;
}

async fn stats(listener: &VoiceClient, player: &VoiceClient) -> String {
    let (heard, said) = (listener.fresh_stats().await.media, player.fresh_stats().await.media);
    format!("{:?}, {} unheard, {:?}", heard.received, heard.unheard, said.sent)
}

/// A process that takes a core until it is dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let child = Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
        Self(child.expect("a shell"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const FRAMES: u32 = 10;
