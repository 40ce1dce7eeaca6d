//! What a recording is worth when its process is killed at any moment.
#![cfg(unix)]

mod common;

use std::{path::Path, time::Duration};

use common::{Running, direct, program, serve, short_song, within_limit};
use tokio::time::Instant;
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
    let seed = std::env::var("VOICE_CLI_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(some_seed);
    println!("VOICE_CLI_SEED={seed}");
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, terms) = serve("--dave off").await;
    let mut recorders = Vec::new();
    for (n, moment) in (0..).zip(moments(seed)) {
        let out = dir.path().join(format!("{n}.{}", if n % 2 == 0 { "ogg" } else { "wav" }));
        let mut recorder = Running::start(program(&format!("record {} {}", out.display(), direct(&terms, 10 + n))));
        recorder.said("recording").await;
        recorders.push((out, moment, recorder));
    }
    let song = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo.opus");
    let mut player = Running::start(program(&format!("play {song} {}", direct(&terms, 9))));
    player.said("joined").await;
    let begun = Instant::now();
    for (out, moment, recorder) in recorders {
        // Nothing tells of a moment that nothing has to do with.
        tokio::time::sleep_until(begun + moment).await;
        recorder.kill().await;
        let (least, most) = (moment.saturating_sub(LAST_SECOND + START), begun.elapsed() + START);
        let left = Duration::from_millis(length(&out).unwrap_or(0));
        println!("{}: {left:?} after {moment:?}", out.display());
        assert!((least..=most).contains(&left), "{}: {left:?} of {moment:?}", out.display());
    }
}

/// When to kill each recorder: some moment of the first two thirds of a second of audio, of the second two thirds, and so on.
fn moments(seed: u64) -> impl Iterator<Item = Duration> {
    const PART: u64 = 667;
    let mut state = seed;
    (0..6).map(move |part| {
        // SplitMix64: seeds that are alike give moments that are not.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Duration::from_millis(PART * part + (mixed ^ (mixed >> 31)) % PART)
    })
}

/// What a kill may cost.
const LAST_SECOND: Duration = Duration::from_secs(1);
/// How far the first word may be from the moment at which its speaker says that it has joined.
const START: Duration = Duration::from_secs(1);

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
fn some_seed() -> u64 {
    u64::from(std::process::id()) << 20
        | u64::from(std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_micros()))
}
