//! What a recording is worth when its process is killed at any moment.
#![cfg(unix)]

mod common;

use std::{path::Path, time::Duration};

use common::{Running, direct, program, serve, short_song, within_limit};
use voice_audio::{
    FrameBuf, OpenOptions, open,
    source::{OpenError, PcmFile},
};

/// Milliseconds of audio in a file, by our own reader; `None` while there is nothing to play in it.
fn length(path: &Path) -> Option<u64> {
    let is_ogg = path.extension().is_some_and(|extension| extension == "ogg");
    if is_ogg {
        let mut reader = match open(path, OpenOptions::default()) {
            Ok(reader) => reader,
            Err(OpenError::Empty | OpenError::NoAudio | OpenError::NotAudio | OpenError::NotFound) => return None,
            Err(error) => panic!("{error}"),
        };
        let (mut frame, mut frames) = (FrameBuf::new(), 0);
        while reader.read_frame(&mut frame).expect("what there is can be read") {
            frames += 20;
        }
        return Some(frames);
    }
    let mut reader = match PcmFile::open(path) {
        Ok(reader) => reader,
        Err(OpenError::Empty | OpenError::NoAudio | OpenError::NotAudio | OpenError::NotFound) => return None,
        Err(error) => panic!("{error}"),
    };
    let (mut part, mut samples) = ([0.0; 4_096], 0);
    loop {
        match reader.read(&mut part).expect("what there is can be read") {
            0 => return Some(samples / 2 / 48),
            read => samples += read as u64,
        }
    }
}

/// Waits until so much is in the file of a recorder that goes on.
async fn recorded(path: &Path, millis: u64) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    within_limit(async {
        while length(path).is_none_or(|length| length < millis) {
            look.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_recording_that_is_killed_has_all_but_its_last_second() {
    let seed = std::env::var("VOICE_CLI_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("VOICE_CLI_SEED={seed}");
    let dir = tempfile::tempdir().expect("a directory");
    let song = dir.path().join("song.opus");
    let sent = short_song(&song);
    let (_server, terms) = serve("--dave off").await;
    for round in 0..4_u64 {
        let name = if round % 2 == 0 { "out.ogg" } else { "out.wav" };
        let out = dir.path().join(name);
        let mut recorder = Running::start(program(&format!("record {} {}", out.display(), direct(&terms, 10 + round))));
        recorder.said("recording").await;
        let player = Running::start(program(&format!("play {} {}", song.display(), direct(&terms, 20 + round))));
        // Some moment of the two seconds.
        let moment = 1 + (seed.wrapping_mul(round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 90;
        recorded(&out, 20 * moment).await;
        recorder.kill().await;
        let left = length(&out).expect("a file that plays");
        assert!(left >= 20 * moment, "{name}: {left} ms, and {} ms were there", 20 * moment);
        assert!(left <= 20 * sent.len() as u64 + 100, "{name}: {left} ms");
        assert!(player.output().await.status.success());
    }
}

#[tokio::test]
async fn what_is_heard_is_in_the_file_while_the_recording_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let song = dir.path().join("song.opus");
    let sent = short_song(&song);
    let (_server, terms) = serve("--dave off").await;
    for name in ["out.ogg", "out.wav"] {
        let out = dir.path().join(name);
        let mut recorder = Running::start(program(&format!("record {} {}", out.display(), direct(&terms, 7))));
        recorder.said("recording").await;
        let player = Running::start(program(&format!("play {} {}", song.display(), direct(&terms, 8))));
        assert!(player.output().await.status.success());
        recorded(&out, 20 * sent.len() as u64).await;
        recorder.interrupt();
        assert!(recorder.output().await.status.success());
    }
}

/// Some number; it is printed, so that a round can be had again.
fn rand_seed() -> u64 {
    u64::from(std::process::id()) << 20
        | u64::from(std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_micros()))
}
