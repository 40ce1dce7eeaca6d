//! A call goes from one process to another while somebody listens.

mod common;

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use common::{ALICE, BOB, Counted, capacity, driver, driver_with, join, next_sound, now, numbered, within};
use discord_voice::{
    ConnectionState, Connector, Driver, EndReason, Event, Handover,
    dave::{DaveEvent, Refusal},
};
use voice_server::{DaveConfig, DaveMode, Server, ServerConfig};

/// What the other process is started with: this program, for one test that is no test of its own.
fn start_other_process() -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "the_other_process", "--ignored", "--nocapture"])
        .env(CERTIFICATE_FOLLOWS, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a second process")
}

#[test]
#[ignore = "the other process of these tests"]
fn the_other_process() {
    if std::env::var_os(CERTIFICATE_FOLLOWS).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).expect("what the first process writes");
    let (handover, pem) = input.split_once('\n').expect("a call and a certificate");
    let handover = Handover::decode(handover).expect("a call");
    let connector = match pem {
        "" => Connector::new(),
        pem => Connector::with_extra_roots(pem.as_bytes()).expect("the server's certificate"),
    };
    runtime.block_on(async {
        let driver = Driver::with_connector(discord_voice::Config::default(), connector).expect("media threads");
        let (client, _events) = within(async { driver.attach(handover).await }).await.expect("the call goes on");
        within(client.play(Counted { next: 1_000, end: 1_100 }).finished()).await;
        within(client.leave()).await.expect("it left");
    });
}

async fn goes_on_in_another_process(mode: DaveMode) {
    let mut config = ServerConfig::default();
    config.core.dave = DaveConfig::new(mode);
    let server = Server::bind(config).await.expect("a server on loopback");
    let first = driver(&server);
    // Of another process too, in a way: a media thread of its own.
    let (listener, mut events) = join(&server, &driver(&server), BOB).await;
    let mut heard = listener.receive(capacity(1_000));
    let (player, mut player_events) = join(&server, &first, ALICE).await;
    let mut other = start_other_process();

    player.play(Counted::new(1_000));
    for number in 0..50 {
        assert_eq!(next_sound(&mut heard).await, (ALICE, numbered(number).to_vec()));
    }
    let handover = within(player.detach()).await.expect("it was connected");
    let gave_up = now();
    let mut stdin = other.stdin.take().expect("it was piped");
    let pem = server.certificate_pem().unwrap_or_default();
    write!(stdin, "{}\n{pem}", handover.encode()).expect("it listens");
    drop(stdin);
    assert_eq!(within(end_of(&mut player_events)).await, EndReason::Detached);
    assert_eq!((player.is_ended(), player.connection_state()), (true, ConnectionState::Ended));

    // What was on its way is heard, then what the other process says: all of it, in order, in the same stream.
    let mut next = 50;
    let first_of_other = loop {
        let (user, frame) = next_sound(&mut heard).await;
        assert_eq!(user, ALICE);
        if frame == numbered(1_000) {
            break now();
        }
        assert_eq!(frame, numbered(next));
        next += 1;
    };
    for number in 1_001..1_100 {
        assert_eq!(next_sound(&mut heard).await, (ALICE, numbered(number).to_vec()));
    }
    println!("{mode:?}: {:?} from giving up to the first frame of the other process", first_of_other - gave_up);
    assert!(first_of_other - gave_up < Duration::from_secs(1), "{:?} of silence", first_of_other - gave_up);
    // The last frame is heard before the other process has left; nobody came or went before that.
    let mut comings = Vec::new();
    loop {
        match within(events.next()).await.expect("the call goes on") {
            Event::UserLeft(user) => break assert_eq!(user, ALICE),
            Event::UsersConnected(users) => comings.extend(users),
            _ => {}
        }
    }
    assert_eq!(comings, [ALICE], "once");
    assert!(
        within(async { tokio::task::spawn_blocking(move || other.wait()).await }).await.unwrap().unwrap().success()
    );
    let encrypted = listener.fresh_stats().await.media.received.e2ee;
    assert_eq!(encrypted.decrypted >= 150, mode == DaveMode::Required);
    assert!(server.stats().resumes >= 1);
}

async fn end_of(events: &mut discord_voice::Events) -> EndReason {
    loop {
        match events.next().await {
            Some(Event::Ended(reason)) => return reason,
            Some(_) => {}
            None => panic!("no end"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_in_another_process() {
    goes_on_in_another_process(DaveMode::Off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_call_goes_on_in_another_process() {
    goes_on_in_another_process(DaveMode::Required).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_taken_over_listens_too_and_says_what_it_waits_for() {
    let mut config = ServerConfig::default();
    config.core.dave = DaveConfig::new(DaveMode::Required);
    let server = Server::bind(config).await.expect("a server on loopback");
    let driver = driver(&server);
    let (speaker, _speaker_events) = join(&server, &driver, BOB).await;
    let (listener, _events) = join(&server, &driver, ALICE).await;
    let handover = within(listener.detach()).await.expect("it was connected");
    assert_eq!(handover.guild_id(), common::GUILD);
    let (listener, mut events) = within(async { driver.attach(handover).await }).await.expect("the call goes on");
    let mut heard = listener.receive(capacity(100));
    let playback = speaker.play(Counted::new(20));
    for number in 0..20 {
        assert_eq!(next_sound(&mut heard).await, (BOB, numbered(number).to_vec()));
    }
    within(playback.finished()).await;
    let Event::E2ee(DaveEvent::Recovering { reason: Refusal::TakenOver }) =
        within(events.next()).await.expect("the call goes on")
    else {
        panic!("the first thing that happened")
    };
    assert!(listener.e2ee().is_encrypting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_prints_no_secret_and_nothing_else_is_taken_for_one() {
    let server = Server::bind(ServerConfig::default()).await.expect("a server on loopback");
    let driver = driver_with(&server, discord_voice::Config::default());
    let (client, _events) = join(&server, &driver, ALICE).await;
    let handover = within(client.detach()).await.expect("it was connected");
    assert!(within(client.detach()).await.is_none(), "once");
    let (printed, text) = (format!("{handover:?}"), handover.encode());
    for secret in ["token", "session_id", "key"] {
        assert!(!printed.contains(secret) && text.contains(secret), "{printed}");
    }
    assert_eq!(Handover::decode(&text).expect("it is one").encode(), text);
    for other in ["", "{}", &text[..text.len() - 1], &text.replace("\"version\":2", "\"version\":1")] {
        assert!(Handover::decode(other).is_err(), "{other}");
    }
}

const CERTIFICATE_FOLLOWS: &str = "DISCORD_VOICE_TEST_HANDOVER";
