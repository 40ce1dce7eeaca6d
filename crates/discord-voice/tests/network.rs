//! What the network and broken servers do to calls: each is survived, or ends with a clear error in bounded time.

mod common;

use std::{
    error::Error,
    future::IntoFuture as _,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use common::{
    ALICE, BOB, CHANNEL, Counted, GUILD, capacity, driver, driver_with, info, join, next_sound, numbered, within,
};
use discord_voice::{
    Cause, Config, ConnectError, ConnectInfo, ConnectionState, Connector, DiscoveryError, Driver, EndReason, Event,
    Events, MediaFault, PlaybackEnd, PlaybackStatus, TransportError, VoiceClient,
    model::{Opcode, SessionId, Token},
    ws::{ProtocolViolation, Waiting},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};
use voice_server::{CoreConfig, Direction, Fault, FaultKind, Impairment, Server, ServerConfig};

/// Media that fails is noticed this soon here.
const FAULT_AFTER: Duration = Duration::from_millis(300);
const SSRC: u32 = 7;

async fn server_with(change: impl FnOnce(&mut ServerConfig)) -> Server {
    let mut config = ServerConfig::default();
    change(&mut config);
    Server::bind(config).await.expect("a server on loopback")
}

/// Breaks the gateway's connection of a user who is heard by another one, and counts on hearing every frame.
async fn survives(core: CoreConfig, fault: FaultKind, cause: Cause, frames: u32) -> VoiceClient {
    let server = server_with(|config| config.core = core).await;
    let driver = driver(&server);
    let (listener, _listener_events) = join(&server, &driver, BOB).await;
    let mut heard = listener.receive(capacity(1_000));
    let (player, mut events) = join(&server, &driver, ALICE).await;
    player.play(Counted::new(frames));
    for number in 0..10 {
        assert_eq!(next_sound(&mut heard).await.1, numbered(number));
    }
    server.inject(Fault::user(ALICE, fault));
    until(&mut events, |event| matches!(event, Event::Interrupted(_))).await.map_or_else(
        || panic!("no interruption"),
        |event| assert!(matches!(event, Event::Interrupted(why) if why == cause), "{event:?}"),
    );
    assert!(until(&mut events, |event| matches!(event, Event::Resumed)).await.is_some());
    // No frame is missing, neither before nor after.
    for number in 10..frames {
        assert_eq!(next_sound(&mut heard).await.1, numbered(number));
    }
    assert_eq!(server.stats().resumes, 1);
    player
}

/// The next event like this; `None` when the call ends.
async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
    loop {
        let event = within(events.next()).await?;
        if wanted(&event) {
            return Some(event);
        }
    }
}

async fn end_of(events: &mut Events) -> EndReason {
    match until(events, |event| matches!(event, Event::Ended(_))).await {
        Some(Event::Ended(reason)) => reason,
        other => panic!("no end: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_reset_is_resumed_and_no_frame_is_missing() {
    survives(CoreConfig::default(), FaultKind::Reset, Cause::ConnectionLost, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stall_is_noticed_by_heartbeats_and_no_frame_is_missing() {
    let core = CoreConfig { heartbeat_interval: Duration::from_secs(1), ..CoreConfig::default() };
    survives(core, FaultKind::Stall, Cause::Zombie, 220).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w14_commands_do_not_wait_for_a_session_that_is_being_resumed() {
    let server = server_with(|config| config.core.heartbeat_interval = Duration::from_secs(1)).await;
    let driver = driver(&server);
    let (listener, _listener_events) = join(&server, &driver, BOB).await;
    let mut heard = listener.receive(capacity(1_000));
    let (player, mut events) = join(&server, &driver, ALICE).await;
    let first = player.play(Counted::new(100_000));
    assert_eq!(next_sound(&mut heard).await.1, numbered(0));
    // The first resume is not answered, so that the session is away for longer than all that follows.
    server.inject(Fault::user(ALICE, FaultKind::IgnoreIncoming { opcode: Opcode::Resume, count: 1 }));
    server.inject(Fault::user(ALICE, FaultKind::Reset));
    assert!(until(&mut events, |event| matches!(event, Event::Interrupted(_))).await.is_some());

    let second = player.play(Counted::new(100_000));
    assert!(matches!(within(first.finished()).await, PlaybackEnd::Replaced));
    while next_sound(&mut heard).await.1 != numbered(0) {}
    second.pause();
    common::until("a pause", || second.status() == PlaybackStatus::Paused).await;
    let position = second.position();
    second.resume();
    common::until("sound", || second.position() > position).await;
    second.stop();
    assert!(matches!(within(second.finished()).await, PlaybackEnd::Stopped));
    assert_eq!(within(player.fresh_stats()).await.session.resumes, 0, "all of that while the session was away");
    assert_eq!(player.connection_state(), ConnectionState::Resuming);
    assert!(until(&mut events, |event| matches!(event, Event::Resumed)).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_message_is_refused_and_no_frame_is_missing() {
    let too_long = FaultKind::SendText("x".repeat((1 << 20) + 1));
    let cause = Cause::Protocol(ProtocolViolation::MessageTooBig);
    let client = survives(CoreConfig::default(), too_long, cause, 60).await;
    assert_eq!(client.stats().session.messages_oversized, 1);
}

/// The error of a first connection, with the whole chain of its sources.
async fn refused(
    endpoint: &str,
    connector: Connector,
    connect_timeout: Duration,
) -> (EndReason, Option<Arc<TransportError>>, String) {
    let mut config = Config::default();
    config.session.max_handshakes = 1;
    config.session.connect_timeout = connect_timeout;
    let driver = Driver::with_connector(config, connector).expect("media threads");
    let info = ConnectInfo {
        channel_id: CHANNEL,
        endpoint: endpoint.parse().expect("an endpoint"),
        server_id: GUILD,
        session_id: SessionId::new("4f1d0c9be27a8e63"),
        token: Token::new("a6d2c81e07b94f35"),
        user_id: ALICE,
    };
    let error = within(driver.connect(info).into_future()).await.expect_err("nobody is there");
    let text = chain(&error);
    match error {
        ConnectError::Ended { reason, cause } => (reason, cause, text),
        other => panic!("{other:?}"),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

const PLENTY: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_place_of_tls_is_a_tls_error() {
    let (address, peer) = peer(async |mut tcp| {
        let _ = tcp.read(&mut [0; 4_096]).await;
        let _ = tcp.write_all(b"SSH-2.0-nothing of the kind\r\n").await;
        let _ = tcp.read(&mut [0; 4_096]).await;
    })
    .await;
    let (_, cause, text) = refused(&address.to_string(), Connector::new(), PLENTY).await;
    assert!(matches!(cause.as_deref(), Some(TransportError::Tls(_))), "{text}");
    assert!(text.contains("TLS"), "{text}");
    peer.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_a_tls_error_that_says_so() {
    let server = server_with(|config| config.tls = true).await;
    let (_, cause, text) = refused(&server.endpoint(), Connector::new(), PLENTY).await;
    assert!(matches!(cause.as_deref(), Some(TransportError::Tls(_))), "{text}");
    assert!(text.contains("certificate"), "{text}");
    // The same server is fine for who knows its certificate.
    let (client, _events) = join(&server, &driver(&server), ALICE).await;
    within(client.leave()).await.expect("left");
}

#[tokio::test(flavor = "multi_thread")]
async fn w12_a_server_that_accepts_and_never_answers_is_given_up_in_time() {
    let (address, peer) = peer(async |mut tcp| while tcp.read(&mut [0; 4_096]).await.is_ok_and(|len| len > 0) {}).await;
    for scheme in ["wss", "ws"] {
        let started = common::now();
        let endpoint = format!("{scheme}://{address}");
        let (reason, _, text) = refused(&endpoint, Connector::new(), Duration::from_millis(300)).await;
        assert!(matches!(reason, EndReason::Session { cause: Cause::TimedOut(Waiting::Connection), .. }), "{text}");
        assert!(common::now() - started < Duration::from_secs(10));
    }
    peer.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_byte_by_byte_is_given_up_in_time() {
    let (address, peer) = peer(async |mut tcp| {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nx-padding: ".iter().chain(std::iter::repeat(&b'x'));
        for byte in answer {
            pace.tick().await;
            if tcp.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    })
    .await;
    let started = common::now();
    let endpoint = format!("ws://{address}");
    let (reason, _, text) = refused(&endpoint, Connector::new(), Duration::from_millis(500)).await;
    assert!(matches!(reason, EndReason::Session { cause: Cause::TimedOut(Waiting::Connection), .. }), "{text}");
    assert!(common::now() - started < Duration::from_secs(10));
    peer.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_a_connect_error() {
    let (_, cause, text) = refused("name.invalid:443", Connector::new(), PLENTY).await;
    assert!(matches!(cause.as_deref(), Some(TransportError::Connect(_))), "{text}");
    assert!(text.contains("cannot connect to the voice gateway"), "{text}");
}

/// A TCP server that does to each connection what it is told.
async fn peer<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let accepting = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    (address, accepting)
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_that_is_blocked_entirely_is_named_with_the_address() {
    let server = server_with(|_| {}).await;
    server.inject(Fault::all(FaultKind::IgnoreDiscovery { count: 1_000 }));
    let error = within(driver(&server).connect(info(&server, GUILD, ALICE)).into_future()).await.expect_err("blocked");
    let text = chain(&error);
    let expected = EndReason::Discovery { error: DiscoveryError::NoAnswer, server: server.udp_addr() };
    assert!(matches!(error, ConnectError::Ended { reason, .. } if reason == expected), "{text}");
    for part in ["UDP", "firewall", &server.udp_addr().to_string()] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_port_that_is_closed_from_the_start_is_told_from_silence() {
    let server = server_with(|config| config.core.first_ssrc = Some(SSRC)).await;
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let closed = free.local_addr().expect("an address");
    drop(free);
    let driver = driver(&server);
    hold_ready(&server);
    let joining = tokio::spawn(driver.connect(info(&server, GUILD, ALICE)).into_future());
    say_media_is_at(&server, 0, closed).await;
    let error = within(joining).await.expect("no panic").expect_err("refused");
    let text = chain(&error);
    let expected = EndReason::Discovery { error: DiscoveryError::Unreachable, server: closed };
    assert!(matches!(error, ConnectError::Ended { reason, .. } if reason == expected), "{text}");
    assert!(text.contains("cannot be reached") && text.contains(&closed.to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_that_is_blocked_after_the_join_shows_in_the_figures_and_ends_nothing() {
    let server = server_with(|_| {}).await;
    let (client, mut events) = join(&server, &driver(&server), ALICE).await;
    assert!(until(&mut events, |event| matches!(event, Event::Connected)).await.is_some());
    common::until("a pong", || client.stats().media.pongs > 0).await;
    let impairment = Impairment { drop: 1.0, ..Impairment::default() };
    server.inject(Fault::all(FaultKind::Impair { direction: Direction::FromClient, impairment }));
    common::until("the impairment", || server.stats().faults_dropped > 0 || client.stats().media.pings > 2).await;
    let before = client.fresh_stats().await.media;
    client.play(Counted::new(100_000));
    common::until("pings without an answer", || client.stats().media.pings > before.pings).await;
    let after = client.fresh_stats().await.media;
    assert_eq!((after.pongs, after.unreachable), (before.pongs, 0), "{after:?}");
    assert_eq!(client.connection_state(), ConnectionState::Connected);
}

/// Keeps Ready from the next join of Alice, which must not have begun.
fn hold_ready(server: &Server) {
    server.inject(Fault::user(ALICE, FaultKind::DropOutgoing { opcode: Opcode::Ready, count: 1 }));
}

/// Sends the Ready that was held, with another media address in it.
async fn say_media_is_at(server: &Server, joined: u64, media: SocketAddr) {
    within(server.wait_for(|stats| stats.joins > joined)).await.expect("the server runs");
    let (ip, port) = (media.ip(), media.port());
    let modes = r#"["aead_aes256_gcm_rtpsize","aead_xchacha20_poly1305_rtpsize"]"#;
    let ready = format!(r#"{{"op":2,"d":{{"ssrc":{SSRC},"ip":"{ip}","port":{port},"modes":{modes}}}}}"#);
    server.inject(Fault::user(ALICE, FaultKind::SendText(ready)));
}

/// Passes datagrams on between one client and the server, until it is aborted, which closes its port.
async fn relay(server: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    back.connect(server).await.expect("connected");
    let address = front.local_addr().expect("an address");
    let passing = tokio::spawn(async move {
        let (mut up, mut down, mut client) = ([0; 2_048], [0; 2_048], None);
        loop {
            tokio::select! {
                Ok((len, from)) = front.recv_from(&mut up) => {
                    client = Some(from);
                    let _ = back.send(&up[..len]).await;
                }
                Ok(len) = back.recv(&mut down) => {
                    if let Some(client) = client {
                        let _ = front.send_to(&down[..len], client).await;
                    }
                }
            }
        }
    });
    (address, passing)
}

fn impatient(server: &Server) -> Driver {
    let mut config = Config::default();
    config.media_fault_after = FAULT_AFTER;
    driver_with(server, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_port_that_closes_after_the_join_ends_the_call_as_unreachable() {
    let server = server_with(|config| config.core.first_ssrc = Some(SSRC - 1)).await;
    let (address, relay) = relay(server.udp_addr()).await;
    let driver = impatient(&server);
    // In an encrypted call frames leave only when somebody is there to hear them.
    let (_listener, _listener_events) = join(&server, &driver, BOB).await;
    hold_ready(&server);
    let joining = tokio::spawn(driver.connect(info(&server, GUILD, ALICE)).into_future());
    say_media_is_at(&server, 1, address).await;
    let (client, mut events) = within(joining).await.expect("no panic").expect("a call");
    client.play(Counted::new(100_000));
    within(server.wait_for(|stats| stats.packets_opened > 10)).await.expect("the server runs");
    assert!(!client.is_ended());
    relay.abort();
    let reason = end_of(&mut events).await;
    assert_eq!(reason, EndReason::Media(MediaFault::Unreachable));
    assert!(reason.to_string().contains("UDP") && reason.to_string().contains("firewall"), "{reason}");
    let media = client.stats().media;
    assert!(media.unreachable >= 3 && media.socket_errors >= media.unreachable, "{media:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_packets_end_a_call_only_when_they_are_many_and_nothing_else_comes() {
    let server = server_with(|config| config.core.report_interval = Duration::ZERO).await;
    let (client, mut events) = join(&server, &impatient(&server), ALICE).await;
    let _heard = client.receive(capacity(10));
    let mut forged = vec![0x80, 0x78];
    forged.resize(60, 0xA5);
    let inject = |count: u32| {
        for _ in 0..count {
            server.inject(Fault::user(ALICE, FaultKind::SendDatagram(forged.clone())));
        }
    };
    let before = client.fresh_stats().await.media.received.not_authentic;
    inject(100);
    common::until("forged packets", || client.stats().media.received.not_authentic > before).await;
    assert!(!client.is_ended(), "a few change nothing");
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    within(async {
        while !client.is_ended() {
            pace.tick().await;
            inject(20);
        }
    })
    .await;
    assert_eq!(end_of(&mut events).await, EndReason::Media(MediaFault::NotAuthentic));
    assert!(client.stats().media.received.not_authentic > 250);
}
