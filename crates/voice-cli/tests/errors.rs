//! What the program says when something is wrong.

mod common;

use std::{fs, net::TcpListener};

use common::{as_bot, direct, error_of, program, run, serve, within_limit};

#[tokio::test]
async fn a_missing_file_is_named() {
    let error = error_of(&run("play there/is/none.flac").await);
    assert!(error.contains("there is no file there/is/none.flac"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_audio_is_refused_with_what_can_be_played() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("text.mp3");
    fs::write(&path, "Not a sound. ".repeat(1_000)).expect("writable");
    let error = error_of(&run(&format!("play {}", path.display())).await);
    assert!(error.contains("text.mp3") && error.contains("FLAC"), "{error}");
}

#[tokio::test]
async fn a_recording_never_overwrites_what_is_played() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("song.opus");
    common::short_song(&path);
    let before = fs::read(&path).expect("readable");
    let error = error_of(&run(&format!("play {0} --record {0}", path.display())).await);
    assert!(error.contains("another file"), "{error}");
    assert!(fs::read(&path).expect("readable") == before);
}

#[tokio::test]
async fn a_recording_that_cannot_be_written_is_known_before_the_call() {
    let output = run("play --record there/is/none.ogg").await;
    assert!(error_of(&output).contains("none.ogg"));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("connected"), "no call was made");
}

#[tokio::test]
async fn a_refused_token_is_told_apart() {
    let (_server, mut terms) = serve("--token right --dave required").await;
    assert_eq!(terms["dave"], "required");
    assert_eq!(terms["voice"]["token"], "right");
    terms["voice"]["token"] = "wrong-and-secret".into();
    let output = run(&format!("play {}", direct(&terms, 7))).await;
    assert!(error_of(&output).contains("refused the token"));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("wrong-and-secret"), "secrets are not printed");
}

#[tokio::test]
async fn an_unreachable_endpoint_is_named() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound")
    };
    let error = error_of(&run(&format!("play {}", voice_server(&address.to_string()))).await);
    assert!(error.contains(&address.to_string()) && error.contains("check the address"), "{error}");
}

#[tokio::test]
async fn a_join_that_is_never_answered_times_out() {
    // Connections are accepted by the system, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let error = error_of(&run(&format!("play --timeout 0.5 {}", voice_server(&address.to_string()))).await);
    assert!(error.contains("within 0.5 s") && error.contains("--timeout"), "{error}");

    let bot = format!("play --timeout 0.5 --gateway ws://{address} --guild 1 --channel 2");
    let output = within_limit(program(&bot).env("DISCORD_TOKEN", "token").output()).await.expect("the program runs");
    let error = error_of(&output);
    assert!(error.contains("main gateway") && error.contains("within 0.5 s"), "{error}");
}

#[tokio::test]
async fn a_channel_that_nobody_confirms_times_out() {
    let (_server, terms) = serve("").await;
    let unknown = as_bot(&terms).replace("--guild ", "--guild 9");
    let mut play = program(&format!("play --timeout 1 {unknown}"));
    let output = within_limit(play.env("DISCORD_TOKEN", "token").output()).await.expect("the program runs");
    let error = error_of(&output);
    assert!(error.contains("did not answer the join") && error.contains("permission"), "{error}");
}

#[tokio::test]
async fn a_bot_without_a_token_is_told_where_to_put_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out.ogg");
    let error = error_of(&run(&format!("record {} --guild 1 --channel 2", out.display())).await);
    assert!(error.contains("DISCORD_TOKEN"), "{error}");
    assert!(!out.exists(), "nothing was recorded");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let error = error_of(&run(&format!("serve --listen {address}")).await);
    assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    let error = error_of(&run("serve --listen 0.0.0.0:0").await);
    assert!(error.contains("--advertise"), "{error}");
}

#[tokio::test]
async fn wrong_usage_has_an_exit_code_of_its_own() {
    for arguments in [
        "",
        "dance",
        "play --bitrate loud",
        "play --record out.txt",
        "record",
        "play --endpoint a.example",
        "play --guild 1",
        "play --endpoint ws://192.0.2.1 --server-id 1 --channel-id 2 --user-id 3 --session-id s --token t",
        "play --guild 1 --channel 2 --gateway http://a.example",
        "play --ca-cert root.pem",
        "serve --cert-out root.pem",
    ] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(output.stdout.is_empty(), "{arguments}");
    }
}

fn voice_server(address: &str) -> String {
    format!("--endpoint ws://{address} --server-id 1 --channel-id 2 --user-id 3 --session-id s --token t")
}
