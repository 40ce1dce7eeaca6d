//! End-to-end encryption of calls over real sockets.

mod common;

use std::{sync::Arc, time::Instant};

use common::{ALICE, BOB, Counted, GUILD, capacity, driver, driver_with, info, join, next_sound, numbered, within};
use discord_voice::{
    CallInput, CallOutput, CallSession, Config, ConnectError, E2ee, EndReason, Event, MediaCommand, UdpAction,
    dave::{DaveEvent, SigningKey},
    ws,
};
use voice_server::{DaveConfig, DaveMode, Server, ServerConfig};

async fn server(mode: DaveMode) -> Server {
    let mut config = ServerConfig::default();
    config.core.dave = DaveConfig::new(mode);
    Server::bind(config).await.expect("a server on loopback")
}

fn config(e2ee: E2ee) -> Config {
    let mut config = Config::default();
    config.e2ee = e2ee;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_see_one_code_and_every_frame_is_encrypted() {
    let server = server(DaveMode::Required).await;
    let driver = driver_with(&server, config(E2ee::Require));
    let (listener, mut events) = join(&server, &driver, BOB).await;
    assert_eq!((listener.e2ee().version, listener.e2ee().is_encrypting), (1, false), "alone");
    let mut heard = listener.receive(capacity(500));
    let (player, _player_events) = join(&server, &driver, ALICE).await;
    assert!(player.e2ee().is_encrypting, "a join waits for the key when somebody is there");
    let playback = player.play(Counted::new(50));
    for number in 0..50 {
        assert_eq!(next_sound(&mut heard).await, (ALICE, numbered(number).to_vec()));
    }
    within(playback.finished()).await;

    let (ours, theirs) = (player.e2ee(), listener.e2ee());
    assert_eq!((ours.epoch, &ours.members), (Some(1), &vec![ALICE, BOB]));
    assert_eq!(ours.privacy_code.as_ref().map(String::len), Some(30));
    assert_eq!(ours.privacy_code, theirs.privacy_code);
    let code = within(player.verification_code(BOB)).await.expect("he is in the group");
    assert_eq!(code.len(), 45);
    assert_eq!(within(listener.verification_code(ALICE)).await, Some(code));
    assert_eq!(within(listener.verification_code(BOB)).await, None, "there is none with oneself");
    let (sent, received) = (player.fresh_stats().await, listener.fresh_stats().await);
    assert_eq!((sent.media.sent.frames_held, received.media.received.e2ee.plaintext), (0, 0));
    assert!(received.media.received.e2ee.decrypted >= 50);
    assert!(sent.join.encrypted.is_some() && sent.join.joined >= sent.join.encrypted);
    assert_eq!((sent.dave.welcomes_applied + sent.dave.commits_applied, sent.dave.recoveries), (1, 0));
    loop {
        match within(events.next()).await.expect("the call goes on") {
            Event::E2ee(DaveEvent::EpochChanged { epoch, privacy_code, members }) => {
                assert_eq!((epoch, Some(privacy_code), members), (1, theirs.privacy_code, vec![ALICE, BOB]));
                break;
            }
            Event::E2ee(DaveEvent::Upgraded) => panic!("keys come before frames are encrypted with them"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_that_is_kept_gives_the_same_verification_code() {
    let server = server(DaveMode::Required).await;
    let kept = SigningKey::generate().to_bytes();
    let with_key = || {
        let mut config = config(E2ee::Require);
        config.signing_key = Some(SigningKey::from_bytes(&kept).expect("it was one"));
        driver_with(&server, config)
    };
    let (peer, _peer_events) = join(&server, &driver(&server), BOB).await;
    let mut codes = Vec::new();
    for _ in 0..2 {
        let (client, _events) = join(&server, &with_key(), ALICE).await;
        codes.push(within(client.verification_code(BOB)).await.expect("he is in the group"));
        within(client.leave()).await.expect("left");
        common::until("the leave", || peer.e2ee().peers == 0).await;
    }
    // Bob makes a key for each call, and this is one call.
    assert_eq!(codes[0], codes[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_encryption_is_refused_if_it_is_required_of_that_call() {
    let server = server(DaveMode::Off).await;
    let driver = driver(&server);
    let refused = within(async { driver.connect(info(&server, GUILD, ALICE)).e2ee(E2ee::Require).await }).await;
    let Err(ConnectError::Ended { reason, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(reason, EndReason::NotEncrypted);
    let (client, _events) = join(&server, &driver, ALICE).await;
    assert_eq!((client.e2ee().version, client.e2ee().active_version), (0, Some(0)));
    client.play(Counted::new(2));
    common::until("a packet", || client.stats().media.sent.packets > 0).await;
}

/// What a server says up to the session description, with this version of end-to-end encryption in it.
#[test]
fn a_version_that_is_not_spoken_here_ends_the_call() {
    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    let now = Instant::now();
    for (version, expected) in [(1, None), (2, Some(EndReason::E2eeVersion { version: 2 }))] {
        let info = discord_voice::ConnectInfo {
            channel_id: common::CHANNEL,
            endpoint: "voice.example.net".parse().expect("an endpoint"),
            server_id: GUILD,
            session_id: discord_voice::model::SessionId::new("session"),
            token: discord_voice::model::Token::new("token"),
            user_id: ALICE,
        };
        let mut call = CallSession::new(now, Arc::new(Config::default()), info, [7; 32]);
        call.handle_input(now, CallInput::Ws(ws::Input::Connected));
        let texts = [
            r#"{"op":8,"d":{"v":8,"heartbeat_interval":13750}}"#,
            r#"{"op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":2,"modes":["aead_xchacha20_poly1305_rtpsize"]}}"#,
        ];
        for text in texts {
            call.handle_input(now, CallInput::Ws(ws::Input::Text(text)));
        }
        let mut request = None;
        let mut ended = None;
        let mut media_commands = 0;
        for step in 0.. {
            match call.poll_output() {
                CallOutput::Udp(UdpAction::Open(_)) => call.handle_input(now, CallInput::UdpOpened),
                CallOutput::Udp(UdpAction::Send(datagram)) => request = Some(datagram),
                CallOutput::Media(MediaCommand::Stop) => {}
                CallOutput::Media(_) => media_commands += 1,
                CallOutput::Event(Event::Ended(reason)) => ended = Some(reason),
                CallOutput::Timeout(_) if request.is_none() && ended.is_none() => break,
                CallOutput::Timeout(_) => match request.take() {
                    Some(mut answer) => {
                        answer[1] = 2;
                        answer[8..17].copy_from_slice(b"127.0.0.1");
                        answer[72..74].copy_from_slice(&[0, 9]);
                        call.handle_input(now, CallInput::Datagram(&answer));
                        let key = vec!["7"; 32].join(",");
                        let text = format!(
                            r#"{{"op":4,"d":{{"mode":"aead_xchacha20_poly1305_rtpsize","secret_key":[{key}],"dave_protocol_version":{version}}}}}"#
                        );
                        call.handle_input(now, CallInput::Ws(ws::Input::Text(&text)));
                    }
                    None => break,
                },
                _ => {}
            }
            assert!(step < 100, "outputs without end");
        }
        assert_eq!((ended, media_commands), (expected, 0));
    }
}
