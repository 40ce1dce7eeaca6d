//! The load generator, as a user runs it, on a voice server in this process.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{process::Command, time::timeout};
use voice_model::Token;
use voice_server::{Access, DaveConfig, DaveMode, Server, ServerConfig};

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_calls_play() {
    let server = server(DaveMode::Required, true).await;
    let report = report(&server, "--mode passthrough --calls 3 --seconds 1 --join one-by-one").await;
    assert_eq!((&report["calls"], &report["dave"], &report["tls"]), (&3.into(), &true.into(), &true.into()));
    assert_plays(&report, 3);
    let (connect, first) = (&report["connect_ms"]["max"], &report["first_rtp_ms"]["max"]);
    assert!(connect.as_f64() > Some(0.0) && first.as_f64() >= connect.as_f64(), "{report}");
    assert!(report["kib_per_playing_call"].is_f64() && report["kib_per_idle_call"].is_null(), "{report}");
    let stats = server.stats();
    // Each of the three has company.
    assert_eq!(stats.joins, 6);
    assert!(stats.packets_forwarded > 100 && stats.packets_unauthentic == 0, "{stats:?}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_encrypted_need_no_company() {
    let server = server(DaveMode::Off, false).await;
    let report = report(&server, "--mode passthrough --calls 3 --seconds 1 --dave off").await;
    assert_plays(&report, 3);
    assert!(report["kib_per_idle_call"].is_f64() && report["first_rtp_ms"].is_null(), "{report}");
    let frame_bytes = report["frame_bytes"].as_f64().expect("a number");
    assert!((155.0..165.0).contains(&frame_bytes), "{report}");
    assert_eq!(server.stats().joins, 3);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_encode() {
    let server = server(DaveMode::Off, false).await;
    let report = report(&server, "--mode encode --calls 2 --seconds 1 --dave off").await;
    assert_plays(&report, 2);
    assert!(report["encode"]["frames"].as_u64() >= Some(50), "{report}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_hear_every_speaker() {
    let server = server(DaveMode::Required, false).await;
    let report = report(&server, "--mode receive --speakers 2 --calls 2 --seconds 1 --join at-once").await;
    let heard = &report["heard"];
    let frames = heard["frames"].as_u64().expect("a number");
    assert_eq!(heard["expected"].as_u64().expect("a number") / 10, 20, "{report}");
    assert!((100..=250).contains(&frames), "{report}");
    assert_eq!((&heard["not_authentic"], &heard["undecrypted"]), (&0.into(), &0.into()), "{report}");
    assert_eq!(report["packets_sent"], 0);
    assert_eq!(server.stats().joins, 6);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_calls_send_nothing() {
    let server = server(DaveMode::Required, false).await;
    let report = report(&server, "--mode idle --calls 3 --seconds 0.5").await;
    assert_eq!((&report["packets_sent"], &report["packets_expected"]), (&0.into(), &0.into()));
    assert!(report["kib_per_idle_call"].is_f64(), "{report}");
    assert_eq!(server.stats().packets_opened, 0);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_there_are_no_calls_is_told() {
    let server = server(DaveMode::Off, false).await;
    let output = load(&server, "wrong", "--calls 2 --seconds 1 --dave off --timeout 10").await;
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: 2 calls could not be opened"), "{said}");
    server.shutdown().await;
}

/// All calls sent something nearly all of the time, and nothing went wrong.
fn assert_plays(report: &Value, calls: u64) {
    let number = |name: &str| report[name].as_u64().expect("a number");
    // About a second, with what the figures take to be asked for.
    assert!(number("packets_expected") >= 50 * calls, "{report}");
    assert!(number("packets_sent") >= 25 * calls, "{report}");
    for name in ["connect_failures", "keyless", "frames_refused", "blocked", "socket_errors", "calls_ended"] {
        assert_eq!(number(name), 0, "{name} in {report}");
    }
    assert!(report["client_cpu_s"].as_f64() > Some(0.0), "{report}");
}

async fn server(dave: DaveMode, tls: bool) -> Server {
    let mut config = ServerConfig { tls, ..ServerConfig::default() };
    config.core.dave = DaveConfig::new(dave);
    let token = Token::new(TOKEN);
    config.core.access.push(Access { token, session_id: None, server_id: None, channel_id: None, user_id: None });
    Server::bind(config).await.expect("a server on loopback")
}

/// What a run printed.
async fn report(server: &Server, options: &str) -> Value {
    let output = load(server, TOKEN, options).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).expect("it is text");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    serde_json::from_str(&lines).expect("it is JSON")
}

async fn load(server: &Server, token: &str, options: &str) -> std::process::Output {
    let certificate = server.certificate_pem().map(|pem| {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut file, pem.as_bytes()).expect("there is room");
        file
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(["--no-pin", "--warm-up", "0.2", "--endpoint", &server.endpoint(), "--token", token]);
    command.args(["--server-id", "100", "--channel-id", "200", "--user-id", "300", "--session-id", "load"]);
    command.args(options.split_whitespace());
    if let Some(certificate) = &certificate {
        command.arg("--certificate").arg(certificate.path());
    }
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(PATIENCE, running).await.expect("it ends in time").expect("it runs")
}

const TOKEN: &str = "a token for all";

/// No run takes longer than this, or the test fails.
const PATIENCE: Duration = Duration::from_secs(60);
