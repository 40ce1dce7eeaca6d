//! What a server on real sockets measures of datagrams that were sent in a known pattern.

#![cfg(feature = "tokio")]

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::raw::{Member, within};
use serde_json::json;
use voice_crypto::Mode;
use voice_model::UserId;
use voice_rtp::{RtpHeader, Sequence, Ssrc, Timestamp};
use voice_server::{
    DEFAULT_CHANNEL, DEFAULT_GUILD, MeasureError, MeasureLimits, Measurement, Server, ServerConfig, ServerStats,
};

const ALICE: UserId = UserId::new(1);

/// A socket whose datagrams go to the server.
fn socket(server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(server.udp_addr().ip(), 0)).unwrap();
    socket.connect(server.udp_addr()).unwrap();
    socket
}

/// Sends what looks like a packet and is none: nothing in it is encrypted.
fn send(socket: &UdpSocket, ssrc: u32, sequence: u16, timestamp: u32) {
    let mut bytes = [0; 192];
    let header = RtpHeader {
        marker: false,
        payload_type: 120,
        sequence: Sequence::new(sequence),
        timestamp: Timestamp::new(timestamp),
        ssrc: Ssrc::new(ssrc),
    };
    header.write(bytes.first_chunk_mut().unwrap());
    socket.send(&bytes).unwrap();
}

async fn wait_for(server: &Server, wanted: impl FnMut(&ServerStats) -> bool) -> ServerStats {
    within(server.wait_for(wanted)).await.expect("the server runs")
}

async fn begin(server: &Server) {
    within(server.measure_begin(MeasureLimits::default())).await.unwrap();
}

async fn end(server: &Server) -> Measurement {
    within(server.measure_end()).await.unwrap()
}

#[tokio::test]
async fn packets_are_counted_by_stream_before_they_are_authenticated() {
    let server = Server::bind(ServerConfig::default()).await.unwrap();
    let socket = socket(&server);
    send(&socket, 1, 0, 0);
    wait_for(&server, |stats| stats.packets_unknown == 1).await;
    begin(&server).await;
    // Around the end of both rings, with three numbers missing in two places, one doubled, one late.
    let numbers: [u16; 9] = [65_533, 65_534, 0, 1, 1, 3, 2, 6, 7];
    for ssrc in 0..20_u32 {
        for number in numbers {
            send(&socket, ssrc, number, u32::from(number.wrapping_add(3)).wrapping_mul(960).wrapping_sub(2_000));
        }
    }
    // Not RTP, but counted by the server as what they are.
    socket.send(&[0; 8]).unwrap();
    socket.send(&[0x80, 200, 0, 1, 0, 0, 0, 9]).unwrap();
    wait_for(&server, |stats| stats.datagrams_received == 183).await;
    let measured = end(&server).await;
    assert_eq!((measured.streams, measured.packets), (20, 180));
    assert_eq!((measured.lost, measured.gaps, measured.skipped), (60, 40, 0));
    assert_eq!((measured.out_of_order, measured.duplicates), (20, 20));
    assert_eq!((measured.unsampled, measured.untracked), (0, 0));
    assert_eq!((measured.unknown, measured.unauthentic, measured.malformed), (181, 0, 0));
    assert_eq!((measured.receive_overflow, measured.closes, measured.sessions), (0, 0, 0));
    assert_eq!(measured.kernel_timestamps, cfg!(target_os = "linux"));
    assert!(measured.jitter.max > Duration::ZERO);
}

#[tokio::test]
async fn a_deviation_is_the_distance_between_arrivals_and_timestamps() {
    let server = Server::bind(ServerConfig::default()).await.unwrap();
    let socket = socket(&server);
    begin(&server).await;
    // A hundred at once that say so, and one that says it is a second later.
    for number in 0..100_u16 {
        send(&socket, 7, number, 5_000);
    }
    send(&socket, 7, 100, 53_000);
    wait_for(&server, |stats| stats.datagrams_received == 101).await;
    let measured = end(&server).await;
    let all = measured.measured;
    let deviation = measured.deviation;
    assert!(deviation.p50 <= all && deviation.p99 <= all, "{measured:?}");
    assert!(deviation.max.abs_diff(Duration::from_secs(1)) <= all, "{measured:?}");
    assert_eq!((measured.lost, measured.skipped), (0, 49));
}

#[tokio::test]
async fn a_measurement_forgets_the_one_before() {
    let server = Server::bind(ServerConfig::default()).await.unwrap();
    let socket = socket(&server);
    assert_eq!(server.measure_end().await, Err(MeasureError::NotMeasuring));
    begin(&server).await;
    send(&socket, 7, 0, 0);
    wait_for(&server, |stats| stats.packets_unknown == 1).await;
    begin(&server).await;
    let measured = end(&server).await;
    assert_eq!((measured.packets, measured.unknown, measured.deviation.max), (0, 0, Duration::ZERO));
    assert_eq!(server.measure_end().await, Err(MeasureError::NotMeasuring));
}

#[tokio::test]
async fn sessions_and_what_is_wrong_with_their_packets_are_told() {
    let server = Server::bind(ServerConfig::default()).await.unwrap();
    let ticket = server.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, ALICE);
    let mut alice = Member::join(&server, &ticket, Mode::Aes256GcmRtpsize).await;
    begin(&server).await;
    for _ in 0..3 {
        alice.frame(b"frame").await;
    }
    send(&socket(&server), alice.ssrc, 3, 2_880);
    let received = |stats: &ServerStats| stats.packets_opened == 3 && stats.packets_unauthentic == 1;
    wait_for(&server, received).await;
    let measured = end(&server).await;
    assert_eq!((measured.streams, measured.packets, measured.lost), (1, 4, 0));
    assert_eq!((measured.unauthentic, measured.unknown, measured.refused), (1, 0, 0));
    assert_eq!((measured.sessions, measured.closes), (1, 0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_system_drops_is_counted() {
    let config = ServerConfig { media_buffer_len: 20_000, ..ServerConfig::default() };
    let server = Server::bind(config).await.unwrap();
    let socket = socket(&server);
    begin(&server).await;
    // The server runs on this thread, so it reads nothing meanwhile.
    for number in 0..1_000_u16 {
        send(&socket, 7, number, 960 * u32::from(number));
    }
    let before = wait_for(&server, |stats| stats.datagrams_received > 0).await.datagrams_received;
    send(&socket, 7, 1_000, 960_000);
    let read = wait_for(&server, |stats| stats.datagrams_received > before).await.datagrams_received;
    let measured = end(&server).await;
    assert!(measured.receive_overflow > 0, "{measured:?}");
    assert_eq!(measured.receive_overflow + read, 1_001);
    assert_eq!((measured.packets, measured.lost), (read, measured.receive_overflow));
    assert_eq!(server.stats().receive_overflow, measured.receive_overflow);
    assert!(measured.kernel_timestamps && measured.unsampled == 0);
}

#[tokio::test]
async fn a_flood_of_datagrams_leaves_the_gateway_its_turn() {
    let server = Server::bind(ServerConfig { tls: true, ..ServerConfig::default() }).await.unwrap();
    begin(&server).await;
    let (flood, done) = (socket(&server), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&done);
    let flooding = thread::spawn(move || {
        let mut number = 0_u16;
        while !stop.load(Ordering::Relaxed) {
            send(&flood, 99, number, 0);
            number = number.wrapping_add(1);
        }
    });
    wait_for(&server, |stats| stats.packets_unknown > 1_000).await;
    let ticket = server.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, ALICE);
    let mut ws = common::raw::Ws::open(&server, "/?v=8").await;
    ws.until(8).await;
    ws.send(common::world::identify(&ticket)).await;
    ws.until(2).await;
    for nonce in 0..20 {
        ws.send(json!({ "op": 3, "d": { "t": nonce, "seq_ack": -1 } })).await;
        assert_eq!(ws.until(6).await["d"]["t"], nonce);
    }
    done.store(true, Ordering::Relaxed);
    flooding.join().unwrap();
    let measured = end(&server).await;
    assert_eq!((measured.streams, measured.sessions, measured.closes), (1, 1, 0));
}

#[tokio::test]
async fn a_hundred_clients_connect_at_once() {
    let server = Arc::new(Server::bind(ServerConfig { tls: true, ..ServerConfig::default() }).await.unwrap());
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let server = Arc::clone(&server);
        opening.spawn(async move { common::raw::Ws::open(&server, "/?v=8").await });
    }
    let sockets = opening.join_all().await;
    assert_eq!(wait_for(&server, |stats| stats.connections == 100).await.refused, 0);
    drop(sockets);
    wait_for(&server, |stats| stats.connections == 0).await;
}
