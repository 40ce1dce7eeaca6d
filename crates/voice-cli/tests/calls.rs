//! Calls from end to end, with the built program.

mod common;

use std::{fs, io::Write, path::Path};

use common::{as_bot, direct, frames, program, run, serve, short_song, summary_of, text, within_limit};
use serde_json::Value;

use crate::common::Running;

#[tokio::test]
async fn an_embedded_call_hears_and_records_every_packet_unchanged() {
    let dir = tempfile::tempdir().expect("a directory");
    let (song, out) = (dir.path().join("song.opus"), dir.path().join("out.ogg"));
    let sent = short_song(&song);
    let output = run(&format!("play {} --record {} --json", song.display(), out.display())).await;
    let summary = summary_of(&output);
    // Five frames of silence end what was played.
    assert_eq!((&summary["packets_sent"], &summary["packets_heard"]), (&105.into(), &105.into()));
    assert_eq!(summary["packets_lost"], 0);
    assert_eq!(summary["played"]["frames_sent"], 100);
    assert_eq!(summary["played"]["frames_unchanged"], 100);
    assert_eq!(summary["played"]["frames_changed"], 0);
    assert_eq!(summary["played"]["end"], "finished");
    assert!(text(&summary["mode"]).starts_with("aead_"));
    assert_eq!((&summary["e2ee"]["version"], &summary["e2ee"]["epoch"]), (&1.into(), &1.into()));
    assert_eq!(text(&summary["e2ee"]["privacy_code"]).len(), 30);
    assert_eq!(summary["e2ee"]["frames_decrypted"], 105, "silence too is encrypted by who makes it");
    assert_eq!((&summary["e2ee"]["frames_plaintext"], &summary["e2ee"]["frames_held"]), (&0.into(), &0.into()));
    assert!(summary["join_ms"].as_f64() > Some(0.0));
    assert!(frames(&out) == sent, "what is recorded is what was sent");
    let steps = String::from_utf8_lossy(&output.stderr);
    for step in ["connected", "identified", "discovered", "established", "encrypted", "end-to-end encrypted"] {
        assert!(steps.contains(step), "{step} in {steps}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn standard_input_and_a_fifo_are_played_from_front_to_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let song = dir.path().join("song.opus");
    short_song(&song);
    for arguments in ["play - --json", "play /dev/stdin --json"] {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let bytes = fs::read(&song).expect("readable");
        let feeding = std::thread::spawn(move || writer.write_all(&bytes));
        let mut command = program(arguments);
        command.stdin(reader);
        let output = within_limit(command.output()).await.expect("it runs");
        feeding.join().expect("no panic").expect("all is taken");
        let summary = summary_of(&output);
        assert_eq!((&summary["played"]["end"], &summary["played"]["frames_sent"]), (&"finished".into(), &100.into()));
    }
}

#[tokio::test]
async fn a_volume_decodes_and_encodes_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let song = dir.path().join("song.opus");
    short_song(&song);
    let (full, half) = (dir.path().join("full.wav"), dir.path().join("half.wav"));
    let play = |out: &Path, volume: &str| {
        let arguments = format!("play {} --record {} --volume {volume} --json", song.display(), out.display());
        async move { summary_of(&run(&arguments).await) }
    };
    let (unchanged, encoded) = tokio::join!(play(&full, "1"), play(&half, "0.5"));
    assert!(text(&unchanged["played"]["format"]).contains("unchanged"));
    assert!(text(&encoded["played"]["format"]).contains("encoded"));
    let ratio = loudness(&half) / loudness(&full);
    assert!((0.45..0.55).contains(&ratio), "half as loud: {ratio}");
}

#[cfg(unix)]
#[tokio::test]
async fn three_processes_make_a_call_with_tls() {
    let dir = tempfile::tempdir().expect("a directory");
    let (song, out, pem) = (dir.path().join("song.opus"), dir.path().join("out.ogg"), dir.path().join("root.pem"));
    let sent = short_song(&song);
    let (server, terms) = serve(&format!("--tls --cert-out {}", pem.display())).await;
    assert_eq!(text(&terms["certificate"]), pem.to_str().expect("a plain path"));
    let trust = format!("--ca-cert {}", pem.display());
    let record = format!("record {} --json {trust} {}", out.display(), direct(&terms, 7));
    let mut recorder = Running::start(program(&record));
    recorder.said("recording").await;
    let played = summary_of(&run(&format!("play {} --json {trust} {}", song.display(), direct(&terms, 8))).await);
    assert_eq!((&played["packets_sent"], &played["played"]["frames_unchanged"]), (&105.into(), &Value::Null));
    recorder.interrupt();
    let recorded = summary_of(&recorder.output().await);
    assert_eq!((&recorded["packets_heard"], &recorded["packets_lost"]), (&105.into(), &0.into()));
    assert_eq!(recorded["recorded"][0]["user_id"], "8");
    assert!(frames(&out) == sent, "what is recorded is what was sent");

    let untrusting = run(&format!("play {} {}", song.display(), direct(&terms, 9))).await;
    assert!(common::error_of(&untrusting).contains("--ca-cert"));
    server.terminate();
    assert!(server.output().await.status.success());
}

#[cfg(unix)]
#[tokio::test]
async fn bots_join_through_the_main_gateway() {
    let dir = tempfile::tempdir().expect("a directory");
    let (song, out) = (dir.path().join("song.opus"), dir.path().join("out.wav"));
    short_song(&song);
    let (mut server, terms) = serve("").await;
    let mut record = program(&format!("record {} --json {}", out.display(), as_bot(&terms)));
    record.env("DISCORD_TOKEN", "one");
    let mut recorder = Running::start(record);
    recorder.said("recording").await;
    let mut play = program(&format!("play {} --json {}", song.display(), as_bot(&terms)));
    play.env("DISCORD_TOKEN", "Bot two");
    let played = summary_of(&within_limit(play.output()).await.expect("the program runs"));
    recorder.close_terminal();
    let recorded = summary_of(&recorder.output().await);
    assert_eq!(played["packets_sent"], 105);
    assert_eq!((&recorded["packets_heard"], &recorded["packets_lost"]), (&105.into(), &0.into()));
    // Both left properly: the server was told, not merely left alone.
    for _ in 0..2 {
        let left = async { while !server.said("user ").await.ends_with("logged out") {} };
        within_limit(left).await;
    }
}

#[tokio::test]
async fn what_is_held_back_for_want_of_a_key_is_not_said_to_be_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    let song = dir.path().join("song.opus");
    short_song(&song);
    let (_server, terms) = serve("--dave required").await;
    let mut others = direct(&terms, 7);
    others = others.replace("--channel-id 2", "--channel-id 3");
    let to_program = format!("play {} --json {}", song.display(), direct(&terms, 8));
    let to_people = format!("play {} --e2ee require {others}", song.display());
    let (to_program, to_people) = tokio::join!(run(&to_program), run(&to_people));
    let summary = summary_of(&to_program);
    assert_eq!((&summary["packets_sent"], &summary["played"]["frames_sent"]), (&0.into(), &0.into()));
    assert!(summary["e2ee"]["frames_held"].as_u64() >= Some(100), "{summary}");
    assert_eq!((&summary["played"]["played_ms"], &summary["e2ee"]["epoch"]), (&2000.0.into(), &Value::Null));
    let said = String::from_utf8_lossy(&to_people.stderr);
    for text in
        ["nothing is sent until somebody else is here", ", 0 frames sent", "alone in the call", "for want of a key"]
    {
        assert!(said.contains(text), "{text} in {said}");
    }
}

#[tokio::test]
async fn recording_without_a_target_records_the_bundled_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out.opus");
    let summary = summary_of(&run(&format!("record {} --seconds 1 --json", out.display())).await);
    let heard = summary["packets_heard"].as_u64().expect("a number");
    assert!((30..=51).contains(&heard), "about a second: {heard}");
    assert_eq!(frames(&out).len() as u64, heard);
}

/// The root of the mean square of a WAV file that this program wrote.
fn loudness(path: &Path) -> f64 {
    let wav = fs::read(path).expect("readable");
    let samples = wav[44..].chunks_exact(2).map(|sample| f64::from(i16::from_le_bytes([sample[0], sample[1]])));
    let count = samples.len() as f64;
    (samples.map(|sample| sample * sample).sum::<f64>() / count).sqrt()
}
