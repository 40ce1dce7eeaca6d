//! Writing and reading RTP headers, against copying as many bytes after one bounds check.
//!
//! A header cannot be written for less than storing its twelve bytes, nor read for less than
//! loading them.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use discord_voice_benches::Comparison;
use voice_rtp::{OPUS_PAYLOAD_TYPE, Packet, RtpHeader, Sequence, Ssrc, Timestamp, classify, unencrypted_len};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
    ratios();
}

fn benches(criterion: &mut Criterion) {
    let header = header();
    let datagram = datagram();

    let mut write = criterion.benchmark_group("header/write");
    write.bench_function("ours", |bencher| {
        let mut out = [0; 172];
        bencher.iter(|| write_ours(black_box(&header), black_box(&mut out)));
    });
    write.bench_function("floor", |bencher| {
        let mut out = [0; 172];
        bencher.iter(|| copy(black_box(&datagram), black_box(&mut out)));
    });
    write.finish();

    let mut parse = criterion.benchmark_group("header/parse");
    parse.bench_function("ours", |bencher| {
        bencher.iter(|| RtpHeader::parse(black_box(&datagram)));
    });
    parse.bench_function("floor", |bencher| {
        bencher.iter(|| load(black_box(&datagram)));
    });
    parse.bench_function("whole packet", |bencher| {
        bencher.iter(|| Packet::parse(black_box(&datagram)).map(|packet| packet.payload().len()));
    });
    parse.bench_function("clear part", |bencher| {
        bencher.iter(|| unencrypted_len(black_box(&datagram)));
    });
    parse.bench_function("classify", |bencher| {
        bencher.iter(|| classify(black_box(&datagram)));
    });
    parse.finish();
}

/// Prints what the comparison is about, measured in turns.
fn ratios() {
    let time = Duration::from_millis(300);
    let header = header();
    let datagram = datagram();
    let (mut ours, mut floor) = ([0; 172], [0; 172]);
    println!("\nheader, in turns, fastest batch; floor: copy of 12 bytes with a bounds check");
    println!(
        "{}",
        Comparison::measure(
            "write",
            time,
            || _ = black_box(write_ours(black_box(&header), black_box(&mut ours))),
            || _ = black_box(copy(black_box(&datagram), black_box(&mut floor))),
        )
    );
    println!(
        "{}",
        Comparison::measure(
            "parse",
            time,
            || _ = black_box(RtpHeader::parse(black_box(&datagram))),
            || _ = black_box(load(black_box(&datagram))),
        )
    );
}

fn write_ours(header: &RtpHeader, out: &mut [u8]) -> Option<()> {
    header.write(out.first_chunk_mut()?);
    Some(())
}

fn copy(from: &[u8], out: &mut [u8]) -> Option<()> {
    *out.first_chunk_mut::<{ RtpHeader::LEN }>()? = *from.first_chunk()?;
    Some(())
}

fn load(from: &[u8]) -> Option<[u8; RtpHeader::LEN]> {
    from.first_chunk().copied()
}

fn header() -> RtpHeader {
    RtpHeader {
        marker: false,
        payload_type: OPUS_PAYLOAD_TYPE,
        sequence: Sequence::new(4_660),
        timestamp: Timestamp::new(2_309_737_967),
        ssrc: Ssrc::new(369_020),
    }
}

/// A packet with 160 bytes of payload.
fn datagram() -> [u8; 172] {
    let mut datagram = [0x5A; 172];
    header().write(datagram.first_chunk_mut().expect("room for a header"));
    datagram
}
