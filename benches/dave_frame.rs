//! Sealing and opening a frame end to end, against the bare calls into the cipher.
//!
//! The floor does what the cipher needs and nothing else: no trailer, no counter with a limit, no replay rule.
#![allow(missing_docs, reason = "a bench has no interface")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm::aead::consts::{U8, U12};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, aes::Aes128};
use criterion::Criterion;
use discord_voice_benches::Comparison;
use voice_dave::{BaseSecret, FrameOpener, FrameSealer, Media, ReceiveMode, SendMode};

/// 20 ms of Opus at 64 kbit/s, in bytes.
const FRAME_LEN: usize = 160;

type Bare = AesGcm<Aes128, U12, U8>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut sealer = sealer();
    criterion.bench_function("dave/seal", |b| b.iter(|| seal(&mut sealer)));
    let bare = Bare::new(&[7; 16].into());
    criterion.bench_function("dave/seal/floor", |b| b.iter(|| seal_bare(&bare)));
    criterion.final_summary();
    ratios();
}

/// What the limits in the project's promises are about.
fn ratios() {
    let time = Duration::from_secs(1);
    let (mut sealer, bare) = (sealer(), Bare::new(&[7; 16].into()));
    println!("{}", Comparison::measure("dave seal", time, || seal(&mut sealer), || seal_bare(&bare)));

    // A frame opens once, so opening is measured with the sealing before it, in both.
    let (mut sealer, mut opener, now) = (self::sealer(), opener(), now());
    let ours = || {
        let mut buffer = black_box([3; FRAME_LEN + FrameSealer::MAX_OVERHEAD]);
        let len = sealer.seal(&mut buffer, FRAME_LEN).expect("room");
        black_box(opener.open(now, Media::Audio, &mut buffer[..len]).expect("authentic"));
    };
    let floor = || {
        let mut buffer = black_box([3; FRAME_LEN]);
        let tag = bare.encrypt_inout_detached(&[1; 12].into(), &[], (&mut buffer[..]).into()).expect("short");
        bare.decrypt_inout_detached(&[1; 12].into(), &[], (&mut buffer[..]).into(), &tag).expect("authentic");
        black_box(buffer);
    };
    println!("{}", Comparison::measure("dave seal and open", time, ours, floor));
}

fn seal(sealer: &mut FrameSealer) {
    let mut buffer = black_box([3; FRAME_LEN + FrameSealer::MAX_OVERHEAD]);
    sealer.seal(&mut buffer, FRAME_LEN).expect("room");
    black_box(buffer);
}

fn seal_bare(cipher: &Bare) {
    let mut buffer = black_box([3; FRAME_LEN]);
    let tag = cipher.encrypt_inout_detached(&[1; 12].into(), &[], (&mut buffer[..]).into()).expect("short");
    black_box((buffer, tag));
}

fn sealer() -> FrameSealer {
    let mut sealer = FrameSealer::new();
    sealer.set_mode(SendMode::Encrypt(BaseSecret::new([7; 16])));
    sealer
}

fn opener() -> FrameOpener {
    let mut opener = FrameOpener::new();
    opener.set_mode(now(), ReceiveMode::Decrypt(BaseSecret::new([7; 16])));
    opener
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
