//! Sealing and opening a frame end to end, against the bare calls into the cipher and against davey.
//!
//! The bare calls, of `aes-gcm`, do what the cipher needs and nothing else: no trailer, no counter with a limit, no
//! replay rule. They are no floor: short frames are encrypted in fewer calls for blocks here.
//! davey is the DAVE library of the Discord libraries for Rust. It does not work in place; what is called is the
//! fastest that it has, from one buffer into another that is kept.
#![allow(missing_docs, reason = "a bench has no interface")]

mod dave;

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm::aead::consts::{U8, U12};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, aes::Aes128};
use criterion::Criterion;
use davey::{Codec, DaveSession, MediaType};
use voice_bench::Comparison;
use voice_dave::{BaseSecret, FrameOpener, FrameSealer, Media, ReceiveMode, SendMode};

/// 20 ms of Opus at 64 kbit/s, in bytes.
const FRAME_LEN: usize = 160;

type Bare = AesGcm<Aes128, U12, U8>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut sealer = sealer();
    criterion.bench_function("dave/seal", |b| b.iter(|| seal(&mut sealer)));
    let bare = Bare::new(&[7; 16].into());
    criterion.bench_function("dave/seal/aes-gcm", |b| b.iter(|| seal_bare(&bare)));
    let [mut one, _] = dave::pair_of_davey();
    let mut sealed = Vec::new();
    criterion.bench_function("dave/seal/davey", |b| b.iter(|| seal_davey(&mut one, &mut sealed)));
    criterion.final_summary();
    ratios();
}

/// What the limits in the project's promises are about.
fn ratios() {
    let time = Duration::from_secs(1);
    let (mut sealer, bare) = (sealer(), Bare::new(&[7; 16].into()));
    let compared = Comparison::measure("dave seal", time, || seal(&mut sealer), || seal_bare(&bare));
    println!("{}", compared.against("aes-gcm"));
    let [mut one, mut two] = dave::pair_of_davey();
    let mut sealed = Vec::new();
    let davey = || seal_davey(&mut one, &mut sealed);
    println!("{}", Comparison::measure("dave seal", time, || seal(&mut sealer), davey).against("davey"));

    // A frame opens once, so opening is measured with the sealing before it, in both.
    let (mut sealer, mut opener, now) = (self::sealer(), opener(), now());
    let mut ours = || {
        let mut buffer = black_box([3; FRAME_LEN + FrameSealer::MAX_OVERHEAD]);
        let len = sealer.seal(&mut buffer, FRAME_LEN).expect("room");
        black_box(opener.open(now, Media::Audio, &mut buffer[..len]).expect("authentic"));
    };
    let bare = || {
        let mut buffer = black_box([3; FRAME_LEN]);
        let tag = bare.encrypt_inout_detached(&[1; 12].into(), &[], (&mut buffer[..]).into()).expect("short");
        bare.decrypt_inout_detached(&[1; 12].into(), &[], (&mut buffer[..]).into(), &tag).expect("authentic");
        black_box(buffer);
    };
    println!("{}", Comparison::measure("dave seal and open", time, &mut ours, bare).against("aes-gcm"));
    let (mut sealed, mut opened) = (Vec::new(), [0; FRAME_LEN + FrameSealer::MAX_OVERHEAD]);
    let davey = || {
        seal_davey(&mut one, &mut sealed);
        black_box(two.decrypt_into(1, MediaType::AUDIO, black_box(&sealed), &mut opened).expect("authentic"));
    };
    println!("{}", Comparison::measure("dave seal and open", time, ours, davey).against("davey"));
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

fn seal_davey(session: &mut DaveSession, sealed: &mut Vec<u8>) {
    session.encrypt_into(MediaType::AUDIO, Codec::OPUS, &black_box([3; FRAME_LEN]), sealed).expect("a key");
    black_box(sealed);
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
