//! Sealing and opening packets, against the bare calls into AWS-LC.
//!
//! The floor does what the cipher needs and nothing else: no layout of the packet, no counter with
//! a limit, no ranges. For XChaCha20-Poly1305 that includes the subkey, which each packet needs.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20::{R20, hchacha};
use criterion::{BenchmarkId, Criterion, Throughput};
use discord_voice_benches::Comparison;
use voice_crypto::{Mode, OVERHEAD, Opener, Sealer, SecretKey};
use voice_rtp::RtpHeader;

/// Payload lengths, in bytes: 20 ms of Opus at 32, 64 and 128 kbit/s.
const PAYLOADS: [usize; 3] = [80, 160, 320];

const KEY: [u8; 32] = [7; 32];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for mode in Mode::CURRENT {
        seal(&mut criterion, mode);
        open(&mut criterion, mode);
    }
    subkey(&mut criterion);
    criterion.final_summary();
    ratios();
}

fn seal(criterion: &mut Criterion, mode: Mode) {
    let mut group = criterion.benchmark_group(format!("seal/{mode}"));
    for payload in PAYLOADS {
        group.throughput(Throughput::Elements(1));
        let mut ours = SealOurs::new(mode, payload);
        group.bench_function(BenchmarkId::new("ours", payload), |b| b.iter(|| ours.run()));
        let mut floor = SealFloor::new(mode, payload);
        group.bench_function(BenchmarkId::new("floor", payload), |b| {
            b.iter(|| floor.run());
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion, mode: Mode) {
    let mut group = criterion.benchmark_group(format!("open/{mode}"));
    for payload in PAYLOADS {
        group.throughput(Throughput::Elements(1));
        let mut ours = OpenOurs::new(mode, payload);
        group.bench_function(BenchmarkId::new("ours", payload), |b| b.iter(|| ours.run()));
        let mut floor = OpenFloor::new(mode, payload);
        group.bench_function(BenchmarkId::new("floor", payload), |b| {
            b.iter(|| floor.run());
        });
    }
    group.finish();
}

/// What XChaCha20-Poly1305 spends per packet before it encrypts.
fn subkey(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("xchacha");
    group.bench_function("derive the subkey", |b| {
        b.iter(|| hchacha::<R20>(black_box(&KEY).into(), black_box(&[1; 16]).into()));
    });
    group.bench_function("make and free a context", |b| {
        b.iter(|| aead(&CHACHA20_POLY1305, black_box(&KEY)));
    });
    group.finish();
}

/// Prints what the comparison is about, measured in turns.
fn ratios() {
    let time = Duration::from_millis(300);
    println!("\nseal and open, in turns, fastest batch; floor: the bare call into AWS-LC");
    for mode in Mode::CURRENT {
        for payload in PAYLOADS {
            let mut ours = SealOurs::new(mode, payload);
            let mut floor = SealFloor::new(mode, payload);
            let name = format!("seal {mode} {payload}");
            println!("{}", Comparison::measure(name, time, || ours.run(), || floor.run()));
            let mut ours = OpenOurs::new(mode, payload);
            let mut floor = OpenFloor::new(mode, payload);
            let name = format!("open {mode} {payload}");
            println!("{}", Comparison::measure(name, time, || ours.run(), || floor.run()));
        }
    }
}

struct SealOurs {
    sealer: Sealer,
    buffer: [u8; 512],
    len: usize,
}

impl SealOurs {
    fn new(mode: Mode, payload: usize) -> Self {
        let mut buffer = [0x5A; 512];
        RtpHeader::default().write(buffer.first_chunk_mut().expect("room for a header"));
        Self { sealer: Sealer::new(mode, &SecretKey::new(KEY), 0), buffer, len: RtpHeader::LEN + payload }
    }

    // What is sealed is what the last call left: ciphers do not care, and copying would count.
    fn run(&mut self) {
        let buffer = black_box(&mut self.buffer);
        let sealed = self.sealer.seal_rtp(buffer, black_box(self.len));
        black_box(sealed.expect("far from the limit of nonces"));
    }
}

struct OpenOurs {
    opener: Opener,
    sealed: Vec<u8>,
    buffer: [u8; 512],
}

impl OpenOurs {
    fn new(mode: Mode, payload: usize) -> Self {
        Self { opener: Opener::new(mode, &SecretKey::new(KEY)), sealed: sealed(mode, payload), buffer: [0; 512] }
    }

    // Opening destroys the packet, so both sides begin by copying it.
    fn run(&mut self) {
        let packet = &mut black_box(&mut self.buffer)[..self.sealed.len()];
        packet.copy_from_slice(black_box(&self.sealed));
        black_box(self.opener.open_rtp(packet).expect("authentic"));
    }
}

enum Bare {
    Aes(LessSafeKey),
    XChaCha([u8; 32]),
}

impl Bare {
    fn new(mode: Mode) -> Self {
        match mode {
            Mode::Aes256GcmRtpsize => Self::Aes(aead(&AES_256_GCM, &KEY)),
            Mode::XChaCha20Poly1305Rtpsize => Self::XChaCha(KEY),
            other => unreachable!("{other} is not measured"),
        }
    }

    fn call<T>(&self, counter: u32, call: impl FnOnce(&LessSafeKey, Nonce) -> T) -> T {
        let [a, b, c, d] = counter.to_be_bytes();
        match self {
            // Built as a value: four bytes written and sixteen read back would stall the floor by 25 ns.
            Self::Aes(key) => call(key, Nonce::assume_unique_for_key([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0])),
            Self::XChaCha(key) => {
                let start = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                let subkey = hchacha::<R20>(key.into(), (&start).into());
                let key = aead(&CHACHA20_POLY1305, subkey.as_slice());
                call(&key, Nonce::assume_unique_for_key([0; 12]))
            }
        }
    }
}

struct SealFloor {
    bare: Bare,
    counter: u32,
    buffer: [u8; 512],
    len: usize,
}

impl SealFloor {
    fn new(mode: Mode, payload: usize) -> Self {
        Self { bare: Bare::new(mode), counter: 0, buffer: [0x5A; 512], len: RtpHeader::LEN + payload }
    }

    fn run(&mut self) {
        self.counter = self.counter.wrapping_add(1);
        let buffer = black_box(&mut self.buffer);
        let (plain, room) = buffer.split_at_mut(black_box(self.len));
        let (clear, payload) = plain.split_at_mut(RtpHeader::LEN);
        let (tag, suffix) = room[..OVERHEAD].split_at_mut(16);
        self.bare
            .call(self.counter, |key, nonce| key.seal_in_place_scatter(nonce, Aad::from(&*clear), payload, &[], tag))
            .expect("sealed");
        suffix.copy_from_slice(&self.counter.to_be_bytes());
    }
}

struct OpenFloor {
    bare: Bare,
    sealed: Vec<u8>,
    buffer: [u8; 512],
}

impl OpenFloor {
    fn new(mode: Mode, payload: usize) -> Self {
        Self { bare: Bare::new(mode), sealed: sealed(mode, payload), buffer: [0; 512] }
    }

    fn run(&mut self) {
        let packet = &mut black_box(&mut self.buffer)[..self.sealed.len()];
        packet.copy_from_slice(black_box(&self.sealed));
        let (clear, rest) = packet.split_at_mut(RtpHeader::LEN);
        let (in_out, suffix) = rest.split_at_mut(rest.len() - 4);
        let counter = u32::from_be_bytes((&*suffix).try_into().expect("4 bytes"));
        let opened = self
            .bare
            .call(counter, |key, nonce| key.open_in_place(nonce, Aad::from(&*clear), in_out).map(|plain| plain.len()));
        black_box(opened.expect("authentic"));
    }
}

fn aead(algorithm: &'static aws_lc_rs::aead::Algorithm, key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("32 bytes"))
}

/// A sealed packet with `payload` bytes.
fn sealed(mode: Mode, payload: usize) -> Vec<u8> {
    let mut seal = SealOurs::new(mode, payload);
    seal.run();
    seal.buffer[..seal.len + OVERHEAD].to_vec()
}
