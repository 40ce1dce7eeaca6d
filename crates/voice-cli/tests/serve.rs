//! The server alone, with the built program.

mod common;

use std::{
    io::{Read as _, Write as _},
    net::UdpSocket,
    process::Stdio,
};

use common::{Running, program, run, text, within_limit};
use serde_json::{Value, json};

/// A running `serve --json` that is told on its standard input what to do, and its first line.
async fn serve(arguments: &str) -> (Running, Value) {
    let mut command = program(&format!("serve --json {arguments}"));
    command.stdin(Stdio::piped());
    let mut server = Running::start(command);
    let terms = server.next_line().await;
    (server, terms)
}

/// Sends packets of two streams, without encryption; one of each stream is missing.
fn send_packets(terms: &Value) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(text(&terms["media"])).expect("an address");
    for number in [0_u16, 1, 2, 4] {
        for ssrc in [7_u32, 8] {
            let mut packet = [0; 100];
            packet[..2].copy_from_slice(&[0x80, 120]);
            packet[2..4].copy_from_slice(&number.to_be_bytes());
            packet[4..8].copy_from_slice(&(960 * u32::from(number)).to_be_bytes());
            packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
            socket.send(&packet).expect("sent");
        }
    }
}

/// Measures until so many packets have come.
async fn measured(server: &mut Running, terms: &Value, packets: u64) -> Value {
    within_limit(async {
        loop {
            server.tell("begin").await;
            assert_eq!(server.next_line().await, json!({ "measuring": true }));
            send_packets(terms);
            server.tell("end").await;
            let line = server.next_line().await;
            // It may have been asked before it had read all of them.
            if line["packets"] == packets {
                return line;
            }
        }
    })
    .await
}

#[cfg(unix)]
#[tokio::test]
async fn what_arrives_is_measured_on_request() {
    let (mut server, terms) = serve("--measure --dave-delay 1").await;
    server.tell("end").await;
    assert!(text(&server.next_line().await["error"]).contains("no measurement"));
    server.tell("what").await;
    assert!(text(&server.next_line().await["error"]).contains("begin and end"));
    server.tell("").await;
    let line = measured(&mut server, &terms, 8).await;
    for (field, value) in [("streams", 2), ("packets", 8), ("lost", 2), ("gaps", 2), ("unknown", 8)] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    let zeros = [
        "skipped",
        "out_of_order",
        "duplicates",
        "unauthentic",
        "malformed",
        "refused",
        "not_sent",
        "receive_overflow",
        "unsampled",
        "untracked",
        "closes",
        "sessions",
    ];
    for field in zeros {
        assert_eq!(line[field], 0, "{field} of {line}");
    }
    assert_eq!(line["kernel_timestamps"], cfg!(target_os = "linux"));
    for spread in ["deviation_us", "jitter_us"] {
        for percentile in ["p50", "p90", "p99", "p99_9", "max"] {
            assert!(line[spread][percentile].is_f64(), "{spread} {percentile} of {line}");
        }
    }
    assert!(line["measured_s"].as_f64() > Some(0.0) && line["cpu_s"].as_f64() >= Some(0.0), "{line}");

    // It goes on without anybody to tell it what to do.
    server.hang_up();
    let play = format!("play {}", common::direct(&terms, 7));
    let mut player = Running::start(program(&play));
    player.said("joined").await;
    server.terminate();
    assert!(server.output().await.status.success());
}

#[tokio::test]
async fn a_delay_is_a_number_of_milliseconds() {
    for delay in ["-1", "x", "60001"] {
        let output = run(&format!("serve --dave-delay={delay}")).await;
        assert_eq!(output.status.code(), Some(2), "{delay}");
    }
}

/// The certificates that are in a directory.
#[cfg(unix)]
fn certificates(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(directory).expect("a directory").map(|file| file.expect("readable").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "pem")).collect()
}

#[cfg(unix)]
#[tokio::test]
async fn the_certificate_of_a_killed_server_goes_with_the_next_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let serve_there = || async {
        let mut command = program("serve --json --tls");
        command.env("TMPDIR", dir.path());
        let mut server = Running::start(command);
        let terms = server.next_line().await;
        (server, std::path::PathBuf::from(text(&terms["certificate"])))
    };
    // What looks like one and is none of ours stays.
    let others =
        ["discord-voice-mine.pem", "discord-voice-1-running.pem", "another.pem"].map(|name| dir.path().join(name));
    others.iter().for_each(|path| std::fs::write(path, "").expect("writable"));
    let (killed, left_behind) = serve_there().await;
    let (running, in_use) = serve_there().await;
    killed.kill().await;
    assert!(left_behind.exists());
    let (next, its_own) = serve_there().await;
    assert!(!left_behind.exists() && in_use.exists() && its_own.exists());
    for server in [running, next] {
        server.terminate();
        assert!(server.output().await.status.success());
    }
    let mut left = certificates(dir.path());
    left.sort();
    let mut expected = others.to_vec();
    expected.sort();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn a_web_page_is_refused_and_the_person_is_told_how_to_let_it_in() {
    let (mut server, terms) = serve("--allow-origin http://page.test:81").await;
    let address = text(&terms["gateway_url"]).replace("ws://", "").replace("/gateway", "");
    let status = |origin: &str| {
        let mut stream = std::net::TcpStream::connect(&address).expect("it listens");
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a time");
        let request = format!("GET /api/gateway HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{origin}\r\n");
        stream.write_all(request.as_bytes()).expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer[9..12].to_owned()
    };
    assert_eq!(status(""), "200");
    assert_eq!(status("Origin: http://page.test:81\r\n"), "200");
    assert_eq!(status("Origin: http://evil.test\r\n"), "403");
    let said = server.said("a web page was refused").await;
    assert!(said.contains("--allow-origin"), "{said}");
}
