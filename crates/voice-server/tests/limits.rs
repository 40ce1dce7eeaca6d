//! What the sockets refuse, and that nothing is left when the server stops.

#![cfg(feature = "tokio")]

mod common;

use common::raw::{Member, Ws, dial, within};
use futures_util::SinkExt;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite::{Error, Message};
use voice_crypto::Mode;
use voice_model::UserId;
use voice_server::{DEFAULT_CHANNEL, DEFAULT_GUILD, Fault, FaultKind, Server, ServerConfig};

const ALICE: UserId = UserId::new(1);

async fn joined(server: &Server) -> Member {
    let ticket = server.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, ALICE);
    Member::join(server, &ticket, Mode::Aes256GcmRtpsize).await
}

#[tokio::test]
async fn an_unknown_version_is_http_400() {
    let server = Server::bind(ServerConfig::default()).await.unwrap();
    for target in ["/", "/?v=3", "/gateway?compress=zlib-stream"] {
        match Ws::try_open(&server, target).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400, "{target}"),
            other => panic!("{target}: {:?}", other.map(|_| "a connection")),
        }
    }
    within(server.wait_for(|stats| stats.refused == 3 || stats.connections > 0)).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_1009_and_ends_nothing_else() {
    let server = Server::bind(ServerConfig::default()).await.unwrap();
    let mut alice = joined(&server).await;
    let large = Message::text("x".repeat(300_000));
    // The server may close before it has read all of it.
    let _ = within(alice.ws.0.send(large)).await;
    assert!(matches!(alice.ws.closed().await, Some(1009) | None));
    within(server.wait_for(|stats| stats.connections == 0)).await.unwrap();
    assert_eq!((server.stats().sessions, server.stats().refused), (1, 1));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_counted() {
    let config = ServerConfig { max_connections: 1, ..ServerConfig::default() };
    let server = Server::bind(config).await.unwrap();
    let first = Ws::open(&server, "/?v=8").await;
    let mut second = dial(&server, "localhost").await;
    let mut rest = Vec::new();
    // An end of stream or a reset, but no answer.
    let _ = within(second.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    drop(first);
    within(server.wait_for(|stats| stats.connections == 0 && stats.refused == 1)).await.unwrap();
    let mut ws = loop {
        // The slot is free a moment after its connection is gone.
        if let Ok(ws) = Ws::try_open(&server, "/?v=8").await {
            break ws;
        }
    };
    assert_eq!(ws.next().await["op"], 8);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let config = ServerConfig { max_unread: 16, ..ServerConfig::default() };
    let server = Server::bind(config).await.unwrap();
    let alice = joined(&server).await;
    // More than the buffers of both sockets hold, in one go.
    for _ in 0..400 {
        server.inject(Fault::all(FaultKind::SendText("x".repeat(60_000))));
    }
    let stats = within(server.wait_for(|stats| stats.slow_readers > 0 && stats.connections == 0)).await.unwrap();
    assert_eq!((stats.slow_readers, stats.sessions), (1, 1), "the session can be resumed");
    drop(alice);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    for tls in [false, true] {
        let server = Server::bind(ServerConfig { tls, ..ServerConfig::default() }).await.unwrap();
        let mut alice = joined(&server).await;
        server.inject(Fault::user(ALICE, FaultKind::Reset));
        assert_eq!(alice.ws.closed().await, None);
        within(server.wait_for(|stats| stats.connections == 0)).await.unwrap();
    }
}

#[tokio::test]
async fn ordinary_closes_are_answered() {
    let server = Server::bind(ServerConfig::default()).await.unwrap();
    let mut alice = joined(&server).await;
    within(alice.ws.0.close(None)).await.unwrap();
    alice.ws.closed().await;
    let stats = within(server.wait_for(|stats| stats.connections == 0)).await.unwrap();
    assert_eq!(stats.sessions, 1, "a close without a code is no goodbye");
    let mut ws = Ws::open(&server, "/?v=8").await;
    ws.send(json!({ "op": 99, "d": null })).await;
    assert_eq!(ws.closed().await, Some(4001));
}

#[tokio::test]
async fn nothing_is_left_when_the_server_stops() {
    for graceful in [true, false] {
        let server = Server::bind(ServerConfig::default()).await.unwrap();
        let (tcp, udp) = (server.tcp_addr(), server.udp_addr());
        let mut alice = joined(&server).await;
        let mut half_open = within(TcpStream::connect(tcp)).await.unwrap();
        if graceful {
            within(server.shutdown()).await;
        } else {
            drop(server);
        }
        assert_eq!(alice.ws.closed().await, None);
        let _ = within(half_open.read(&mut [0; 1])).await;
        assert!(within(TcpStream::connect(tcp)).await.is_err());
        within(async {
            // The task that owned the socket is dropped by the runtime, which may take a turn.
            while UdpSocket::bind(udp).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_says_which() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = taken.local_addr().unwrap();
    let error = Server::bind(ServerConfig { udp, ..ServerConfig::default() }).await.unwrap_err();
    assert_eq!(error.to_string(), "the udp socket could not be opened");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn many_tickets_may_be_issued_without_a_pause() {
    let server = Server::bind(ServerConfig::default()).await.unwrap();
    let tickets: Vec<_> =
        (1..=5_000).map(|user| server.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, UserId::new(user))).collect();
    Member::join(&server, &tickets[4_999], Mode::Aes256GcmRtpsize).await;
    Member::join(&server, &tickets[0], Mode::XChaCha20Poly1305Rtpsize).await;
    assert_eq!(server.stats().commands_dropped, 0);
}
