//! Sealing packets with their headers and opening them, against the bare calls into the backend and
//! backend against backend.
//!
//! The floor does what the cipher needs and nothing else: no layout of the packet, no counter with
//! a limit, no ranges. For XChaCha20-Poly1305 that includes the subkey, which each packet needs.

use std::hint::black_box;
use std::time::Duration;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20::{R20, hchacha};
use chacha20poly1305::XChaCha20Poly1305;
use criterion::{BenchmarkId, Criterion, Throughput};
use voice_bench::Comparison;
use voice_crypto::{Backend, Mode, OVERHEAD, Opener, Sealer, SecretKey};
use voice_rtp::RtpHeader;

/// Payload lengths, in bytes: 20 ms of Opus at 32, 64 and 128 kbit/s.
const PAYLOADS: [usize; 3] = [80, 160, 320];

const KEY: [u8; 32] = [7; 32];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for &backend in Backend::ALL {
        for mode in Mode::CURRENT {
            seal(&mut criterion, backend, mode);
            open(&mut criterion, backend, mode);
        }
    }
    subkey(&mut criterion);
    criterion.final_summary();
    ratios();
}

fn seal(criterion: &mut Criterion, backend: Backend, mode: Mode) {
    let mut group = criterion.benchmark_group(format!("seal/{backend:?}/{mode}"));
    for payload in PAYLOADS {
        group.throughput(Throughput::Elements(1));
        let mut ours = SealOurs::new(backend, mode, payload);
        group.bench_function(BenchmarkId::new("ours", payload), |b| b.iter(|| ours.run()));
        let mut floor = SealFloor::new(backend, mode, payload);
        group.bench_function(BenchmarkId::new("floor", payload), |b| {
            b.iter(|| floor.run());
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion, backend: Backend, mode: Mode) {
    let mut group = criterion.benchmark_group(format!("open/{backend:?}/{mode}"));
    for payload in PAYLOADS {
        group.throughput(Throughput::Elements(1));
        let mut ours = OpenOurs::new(backend, mode, payload);
        group.bench_function(BenchmarkId::new("ours", payload), |b| b.iter(|| ours.run()));
        let mut floor = OpenFloor::new(backend, mode, payload);
        group.bench_function(BenchmarkId::new("floor", payload), |b| {
            b.iter(|| floor.run());
        });
    }
    group.finish();
}

/// What XChaCha20-Poly1305 spends per packet in AWS-LC before it encrypts.
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

/// Prints what the comparisons are about, measured in turns.
fn ratios() {
    let time = Duration::from_millis(300);
    for &backend in Backend::ALL {
        println!("\nseal and open on {backend:?}, in turns, fastest batch; floor: the bare call into it");
        for mode in Mode::CURRENT {
            for payload in PAYLOADS {
                let mut ours = SealOurs::new(backend, mode, payload);
                let mut floor = SealFloor::new(backend, mode, payload);
                let name = format!("seal {mode} {payload}");
                println!("{}", Comparison::measure(name, time, || ours.run(), || floor.run()));
                let mut ours = OpenOurs::new(backend, mode, payload);
                let mut floor = OpenFloor::new(backend, mode, payload);
                let name = format!("open {mode} {payload}");
                println!("{}", Comparison::measure(name, time, || ours.run(), || floor.run()));
            }
        }
    }
    let preferred = Backend::preferred();
    for &backend in Backend::ALL.iter().filter(|backend| **backend != preferred) {
        println!("\n{backend:?}, in turns, fastest batch; floor: {preferred:?}, the default");
        for mode in Mode::CURRENT {
            for payload in PAYLOADS {
                let mut other = SealOurs::new(backend, mode, payload);
                let mut default = SealOurs::new(preferred, mode, payload);
                let name = format!("seal {mode} {payload}");
                println!("{}", Comparison::measure(name, time, || other.run(), || default.run()));
                let mut other = OpenOurs::new(backend, mode, payload);
                let mut default = OpenOurs::new(preferred, mode, payload);
                let name = format!("open {mode} {payload}");
                println!("{}", Comparison::measure(name, time, || other.run(), || default.run()));
            }
        }
    }
}

struct SealOurs {
    header: RtpHeader,
    sealer: Sealer,
    buffer: [u8; 512],
    len: usize,
}

impl SealOurs {
    fn new(backend: Backend, mode: Mode, payload: usize) -> Self {
        let sealer = Sealer::with_backend(backend, mode, SecretKey::new(KEY), 0);
        Self { header: RtpHeader::default(), sealer, buffer: [0x5A; 512], len: RtpHeader::LEN + payload }
    }

    // What is sealed is what the last call left: ciphers do not care, and copying would count.
    fn run(&mut self) {
        let buffer = black_box(&mut self.buffer);
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(960);
        self.header.write(buffer.first_chunk_mut().expect("room for a header"));
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
    fn new(backend: Backend, mode: Mode, payload: usize) -> Self {
        let opener = Opener::with_backend(backend, mode, &SecretKey::new(KEY));
        Self { opener, sealed: sealed(mode, payload), buffer: [0; 512] }
    }

    // Opening destroys the packet, so both sides begin by copying it.
    fn run(&mut self) {
        let packet = &mut black_box(&mut self.buffer)[..self.sealed.len()];
        packet.copy_from_slice(black_box(&self.sealed));
        black_box(self.opener.open_rtp(packet).expect("authentic"));
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
enum Bare {
    AwsAes(LessSafeKey),
    AwsXChaCha([u8; 32]),
    RustAes(Aes256Gcm),
    RustXChaCha(XChaCha20Poly1305),
}

impl Bare {
    fn new(backend: Backend, mode: Mode) -> Self {
        match (backend, mode) {
            (Backend::AwsLc, Mode::Aes256GcmRtpsize) => Self::AwsAes(aead(&AES_256_GCM, &KEY)),
            (Backend::AwsLc, Mode::XChaCha20Poly1305Rtpsize) => Self::AwsXChaCha(KEY),
            (Backend::RustCrypto, Mode::Aes256GcmRtpsize) => Self::RustAes(Aes256Gcm::new(&KEY.into())),
            (Backend::RustCrypto, Mode::XChaCha20Poly1305Rtpsize) => {
                Self::RustXChaCha(XChaCha20Poly1305::new(&KEY.into()))
            }
            other => unreachable!("{other:?} is not measured"),
        }
    }

    fn seal(&self, counter: u32, clear: &[u8], in_out: &mut [u8], tag: &mut [u8]) {
        // The nonces are built as values: four bytes written and sixteen read back would stall the floor by 25 ns.
        let [a, b, c, d] = counter.to_be_bytes();
        let short = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
        let long = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        match self {
            Self::AwsAes(key) => {
                let nonce = Nonce::assume_unique_for_key(short);
                key.seal_in_place_scatter(nonce, Aad::from(clear), in_out, &[], tag).expect("sealed");
            }
            Self::AwsXChaCha(key) => {
                let key = inner(key, counter);
                let nonce = Nonce::assume_unique_for_key([0; 12]);
                key.seal_in_place_scatter(nonce, Aad::from(clear), in_out, &[], tag).expect("sealed");
            }
            Self::RustAes(key) => {
                let made = key.encrypt_inout_detached(&short.into(), clear, in_out.into());
                tag.copy_from_slice(&made.expect("sealed"));
            }
            Self::RustXChaCha(key) => {
                let made = key.encrypt_inout_detached(&long.into(), clear, in_out.into());
                tag.copy_from_slice(&made.expect("sealed"));
            }
        }
    }

    fn open(&self, counter: u32, clear: &[u8], in_out: &mut [u8]) {
        let [a, b, c, d] = counter.to_be_bytes();
        let short = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
        let long = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        match self {
            Self::AwsAes(key) => {
                let nonce = Nonce::assume_unique_for_key(short);
                black_box(key.open_in_place(nonce, Aad::from(clear), in_out).expect("authentic").len());
            }
            Self::AwsXChaCha(key) => {
                let key = inner(key, counter);
                let nonce = Nonce::assume_unique_for_key([0; 12]);
                black_box(key.open_in_place(nonce, Aad::from(clear), in_out).expect("authentic").len());
            }
            Self::RustAes(key) => {
                let (body, tag) = in_out.split_last_chunk_mut::<16>().expect("a tag");
                let tag = (&*tag).into();
                key.decrypt_inout_detached(&short.into(), clear, body.into(), tag).expect("authentic");
            }
            Self::RustXChaCha(key) => {
                let (body, tag) = in_out.split_last_chunk_mut::<16>().expect("a tag");
                let tag = (&*tag).into();
                key.decrypt_inout_detached(&long.into(), clear, body.into(), tag).expect("authentic");
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
    fn new(backend: Backend, mode: Mode, payload: usize) -> Self {
        Self { bare: Bare::new(backend, mode), counter: 0, buffer: [0x5A; 512], len: RtpHeader::LEN + payload }
    }

    fn run(&mut self) {
        self.counter = self.counter.wrapping_add(1);
        let buffer = black_box(&mut self.buffer);
        let (plain, room) = buffer.split_at_mut(black_box(self.len));
        let (clear, payload) = plain.split_at_mut(RtpHeader::LEN);
        let (tag, suffix) = room[..OVERHEAD].split_at_mut(16);
        self.bare.seal(self.counter, clear, payload, tag);
        suffix.copy_from_slice(&self.counter.to_be_bytes());
    }
}

struct OpenFloor {
    bare: Bare,
    sealed: Vec<u8>,
    buffer: [u8; 512],
}

impl OpenFloor {
    fn new(backend: Backend, mode: Mode, payload: usize) -> Self {
        Self { bare: Bare::new(backend, mode), sealed: sealed(mode, payload), buffer: [0; 512] }
    }

    fn run(&mut self) {
        let packet = &mut black_box(&mut self.buffer)[..self.sealed.len()];
        packet.copy_from_slice(black_box(&self.sealed));
        let (clear, rest) = packet.split_at_mut(RtpHeader::LEN);
        let (in_out, suffix) = rest.split_at_mut(rest.len() - 4);
        let counter = u32::from_be_bytes((&*suffix).try_into().expect("4 bytes"));
        self.bare.open(counter, clear, in_out);
    }
}

/// The key of AWS-LC's cipher for one packet of XChaCha20-Poly1305.
fn inner(key: &[u8; 32], counter: u32) -> LessSafeKey {
    let [a, b, c, d] = counter.to_be_bytes();
    let start = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let subkey = hchacha::<R20>(key.into(), (&start).into());
    aead(&CHACHA20_POLY1305, subkey.as_slice())
}

fn aead(algorithm: &'static aws_lc_rs::aead::Algorithm, key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("32 bytes"))
}

/// A sealed packet with `payload` bytes.
fn sealed(mode: Mode, payload: usize) -> Vec<u8> {
    let mut seal = SealOurs::new(Backend::preferred(), mode, payload);
    seal.run();
    seal.buffer[..seal.len + OVERHEAD].to_vec()
}
