//! Whole joins over real sockets, by a client that shares no session code with the server.

#![cfg(feature = "tokio")]

mod common;

use std::time::Duration;

use common::raw::{Member, Ws, within};
use serde_json::json;
use tokio::net::UdpSocket;
use voice_crypto::Mode;
use voice_model::{CloseCode, GuildId, SessionId, Token, UserId};
use voice_server::{Access, CoreConfig, DEFAULT_CHANNEL, DEFAULT_GUILD, Server, ServerConfig, Ticket};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

async fn start(tls: bool) -> Server {
    Server::bind(ServerConfig { tls, ..ServerConfig::default() }).await.unwrap()
}

fn ticket(server: &Server, user: UserId) -> Ticket {
    server.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, user)
}

async fn two_hear_each_other(tls: bool, mode: Mode) {
    let server = start(tls).await;
    let mut alice = Member::join(&server, &ticket(&server, ALICE), mode).await;
    let mut bob = Member::join(&server, &ticket(&server, BOB), mode).await;
    assert_ne!(alice.secret, bob.secret);

    alice.speak(1).await;
    alice.frame(b"from alice").await;
    let (first, payload) = bob.hear().await;
    assert_eq!(payload, b"from alice");
    assert_eq!(first.header.ssrc.get(), alice.ssrc);

    bob.speak(1).await;
    bob.frame(b"from bob").await;
    let (heard, payload) = alice.hear().await;
    assert_eq!((heard.header.ssrc.get(), payload.as_slice()), (bob.ssrc, b"from bob".as_slice()));

    alice.frame(b"again").await;
    let (second, _) = bob.hear().await;
    assert_eq!(second.header.sequence, first.header.sequence.wrapping_add(1));
    assert_eq!(second.header.timestamp, first.header.timestamp.wrapping_add(960));

    let stats = within(server.wait_for(|stats| stats.packets_forwarded == 3)).await.unwrap();
    assert_eq!((stats.sessions, stats.rooms, stats.joins, stats.packets_opened), (2, 1, 2, 3));
    assert_eq!((stats.packets_unauthentic, stats.packets_refused, stats.sends_failed), (0, 0, 0));
    within(server.shutdown()).await;
}

#[tokio::test]
async fn two_clients_hear_each_other() {
    two_hear_each_other(false, Mode::Aes256GcmRtpsize).await;
}

#[tokio::test]
async fn two_clients_hear_each_other_over_tls_and_with_the_other_cipher() {
    two_hear_each_other(true, Mode::XChaCha20Poly1305Rtpsize).await;
}

#[tokio::test]
async fn a_wrong_token_is_closed_with_its_code() {
    let server = start(false).await;
    let ticket = ticket(&server, ALICE);
    let mut ws = Ws::open(&server, "/?v=8").await;
    ws.send(json!({ "op": 0, "d": {
        "server_id": ticket.server_id.get(),
        "user_id": ticket.user_id.get(),
        "session_id": ticket.session_id.expose(),
        "token": "wrong",
    }}))
    .await;
    assert_eq!(ws.closed().await, Some(CloseCode::AUTHENTICATION_FAILED.get()));
}

#[tokio::test]
async fn one_standing_token_serves_any_guild_and_user() {
    let server = start(false).await;
    server.allow(Access {
        token: Token::new("printed by serve"),
        session_id: None,
        server_id: None,
        channel_id: None,
        user_id: None,
    });
    for user in 1..=3 {
        let ticket = Ticket {
            server_id: GuildId::new(1_000 + user),
            channel_id: DEFAULT_CHANNEL,
            user_id: UserId::new(user),
            session_id: SessionId::new("any"),
            token: Token::new("printed by serve"),
            endpoint: server.endpoint(),
        };
        Member::join(&server, &ticket, Mode::Aes256GcmRtpsize).await;
    }
    assert_eq!(server.stats().joins, 3);
}

#[tokio::test]
async fn a_client_whose_socket_changes_with_a_resume_is_heard_and_hears() {
    let server = start(false).await;
    let ticket_of_alice = ticket(&server, ALICE);
    let mut alice = Member::join(&server, &ticket_of_alice, Mode::Aes256GcmRtpsize).await;
    let ticket_of_bob = ticket(&server, BOB);
    let mut bob = Member::join(&server, &ticket_of_bob, Mode::Aes256GcmRtpsize).await;
    alice.frame(b"before").await;
    assert_eq!(bob.hear().await.1, b"before");

    server.close_voice(ALICE, CloseCode::VOICE_SERVER_CRASHED);
    assert_eq!(alice.ws.closed().await, Some(4015));
    alice.ws = Ws::open(&server, "/?v=8").await;
    alice
        .ws
        .send(json!({ "op": 7, "d": {
            "server_id": ticket_of_alice.server_id.to_string(),
            "session_id": ticket_of_alice.session_id.expose(),
            "token": ticket_of_alice.token.expose(),
        }}))
        .await;
    alice.ws.until(9).await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    udp.connect(server.udp_addr()).await.unwrap();
    alice.udp = udp;
    alice.frame(b"after").await;
    assert_eq!(bob.hear().await.1, b"after");
    bob.frame(b"answer").await;
    assert_eq!(alice.hear().await.1, b"answer");
}

#[tokio::test]
async fn datagrams_that_overtake_op_5_cost_no_connection() {
    // On a busy machine half a second is no time.
    let core = CoreConfig { speaking_patience: Duration::from_secs(60), ..CoreConfig::default() };
    let server = Server::bind(ServerConfig { core, ..ServerConfig::default() }).await.unwrap();
    let ticket_of_bob = ticket(&server, BOB);
    let bob = Member::join(&server, &ticket_of_bob, Mode::Aes256GcmRtpsize).await;
    let ticket_of_alice = ticket(&server, ALICE);
    let mut alice = Member::connected(&server, &ticket_of_alice, Mode::Aes256GcmRtpsize).await;
    for _ in 0..4 {
        alice.frame(b"early").await;
    }
    within(server.wait_for(|stats| stats.packets_early == 4)).await.unwrap();
    alice.speak(1).await;
    alice.frame(b"announced").await;
    assert_eq!(bob.hear().await.1, b"announced");
    assert_eq!(server.stats().closes, 0);
}

#[tokio::test]
async fn datagrams_that_nothing_announces_end_in_4020() {
    let server = start(false).await;
    let ticket = ticket(&server, ALICE);
    let mut alice = Member::connected(&server, &ticket, Mode::Aes256GcmRtpsize).await;
    alice.frame(b"never announced").await;
    assert_eq!(alice.ws.closed().await, Some(CloseCode::BAD_REQUEST.get()));
    assert_eq!((server.stats().packets_early, server.stats().packets_opened), (1, 0));
}
