//! Writing and reading RTP headers and packets: against the least that it can cost, and against the
//! crates `discortp` and `rtp` (of webrtc-rs).
//!
//! Each reads the same fields out of a slice whose length the compiler does not know, or writes the
//! same bytes. The floor of reading is one bounds check and four loads, that of writing a copy.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use discortp::PacketSize as _;
use discortp::rtp::{MutableRtpPacket, RtpExtensionPacket, RtpPacket, RtpType};
use discortp::wrap::{Wrap16, Wrap32};
use rtp::header::Header as WebrtcHeader;
use rtp::packet::Packet as WebrtcPacket;
use voice_bench::Comparison;
use voice_rtp::extension::{AUDIO_LEVEL_ID, ElementWriter, Form, SPEAKER_FLAGS_ID};
use voice_rtp::{
    Layout, OPUS_PAYLOAD_TYPE, Packet, RtpHeader, Sequence, Ssrc, Timestamp, VERSION, classify, unencrypted_len,
};
use webrtc_util::marshal::{Marshal as _, Unmarshal as _};

/// What a receiver needs of a header: marker, payload type, sequence, timestamp, SSRC.
type Fields = (bool, u8, u16, u32, u32);

/// What there is in a whole packet: its header, the sum of its sources, the profile of its
/// extension, the length of the payload without padding.
type Whole = (Fields, u32, u16, usize);

type Write<'a> = &'a dyn Fn(&mut [u8]);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let (plain, full) = (plain(), full());
    check(&plain, &full);
    benches(&mut criterion, &plain, &full);
    criterion.final_summary();
    ratios(&plain, &full);
}

/// All of them read and write the same, or comparing them would mean nothing.
fn check(plain: &[u8], full: &[u8]) {
    let fields = parse_ours(plain);
    assert!(fields.is_some());
    assert_eq!([parse_floor(plain), parse_discortp(plain).map(plain_types), parse_webrtc(plain)], [fields; 3]);

    let whole = whole_ours(full).expect("a packet");
    assert_eq!((whole.1, whole.2, whole.3), (1 + 2, 0xBEDE, 160));
    assert_eq!(whole_webrtc(full), Some(whole));
    assert_eq!(whole_discortp(full).map(|(fields, a, b, c)| (plain_types(fields), a, b, c)), Some(whole));

    let writers: [Write<'_>; 3] =
        [&|out| _ = write_ours(&header(), out), &|out| _ = write_discortp(&header(), out), &|out| {
            _ = write_webrtc(&webrtc_header(), out)
        }];
    for write in writers {
        let mut out = [0; RtpHeader::LEN];
        write(&mut out);
        assert_eq!(out, plain[..RtpHeader::LEN]);
    }
}

fn benches(criterion: &mut Criterion, plain: &[u8], full: &[u8]) {
    let (header, webrtc) = (header(), webrtc_header());
    let out = &mut [0; 256][..];

    let mut group = criterion.benchmark_group("header/write");
    group.bench_function("ours", |b| b.iter(|| write_ours(black_box(&header), black_box(out))));
    group.bench_function("floor", |b| b.iter(|| write_floor(black_box(plain), black_box(out))));
    group.bench_function("discortp", |b| b.iter(|| write_discortp(black_box(&header), black_box(out))));
    group.bench_function("webrtc-rs", |b| b.iter(|| write_webrtc(black_box(&webrtc), black_box(out))));
    group.finish();

    let mut group = criterion.benchmark_group("header/parse");
    group.bench_function("ours", |b| b.iter(|| parse_ours(black_box(plain))));
    group.bench_function("floor", |b| b.iter(|| parse_floor(black_box(plain))));
    group.bench_function("discortp", |b| b.iter(|| parse_discortp(black_box(plain))));
    group.bench_function("webrtc-rs", |b| b.iter(|| parse_webrtc(black_box(plain))));
    group.bench_function("clear part", |b| b.iter(|| unencrypted_len(black_box(plain))));
    group.bench_function("classify", |b| b.iter(|| classify(black_box(plain))));
    group.finish();

    let mut group = criterion.benchmark_group("packet/parse");
    group.bench_function("ours, plain", |b| b.iter(|| whole_ours(black_box(plain))));
    group.bench_function("ours", |b| b.iter(|| whole_ours(black_box(full))));
    group.bench_function("discortp", |b| b.iter(|| whole_discortp(black_box(full))));
    group.bench_function("webrtc-rs", |b| b.iter(|| whole_webrtc(black_box(full))));
    group.finish();

    let mut group = criterion.benchmark_group("packet/write");
    group.bench_function("ours", |b| b.iter(|| write_full(black_box(&[0x5A; 160]), black_box(out))));
    group.finish();
}

/// Measures two expressions in turns and prints their ratio.
macro_rules! turns {
    ($name:literal, $ours:expr, $against:literal, $other:expr) => {
        let time = Duration::from_millis(300);
        let measured = Comparison::measure($name, time, || _ = black_box($ours), || _ = black_box($other));
        println!("{}", measured.against($against));
    };
}

/// Prints what the comparison is about, measured in turns.
fn ratios(plain: &[u8], full: &[u8]) {
    let (header, webrtc) = (header(), webrtc_header());
    let (mut a, mut b) = ([0; 172], [0; 172]);
    let (a, b) = (&mut a[..], &mut b[..]);
    println!("\nheaders and packets, in turns, fastest batch; floor: one bounds check and four loads, or a copy");
    turns!(
        "write a header",
        write_ours(black_box(&header), black_box(a)),
        "floor    ",
        write_floor(black_box(plain), black_box(b))
    );
    turns!(
        "write a header",
        write_ours(black_box(&header), black_box(a)),
        "discortp ",
        write_discortp(black_box(&header), black_box(b))
    );
    turns!(
        "write a header",
        write_ours(black_box(&header), black_box(a)),
        "webrtc-rs",
        write_webrtc(black_box(&webrtc), black_box(b))
    );
    turns!("parse a header", parse_ours(black_box(plain)), "floor    ", parse_floor(black_box(plain)));
    turns!("parse a header", parse_ours(black_box(plain)), "discortp ", parse_discortp(black_box(plain)));
    turns!("parse a header", parse_ours(black_box(plain)), "webrtc-rs", parse_webrtc(black_box(plain)));
    turns!("parse a packet with all parts", whole_ours(black_box(full)), "discortp ", whole_discortp(black_box(full)));
    turns!("parse a packet with all parts", whole_ours(black_box(full)), "webrtc-rs", whole_webrtc(black_box(full)));
}

fn parse_ours(datagram: &[u8]) -> Option<Fields> {
    RtpHeader::parse(datagram).ok().map(fields)
}

fn fields(header: RtpHeader) -> Fields {
    (header.marker, header.payload_type, header.sequence.get(), header.timestamp.get(), header.ssrc.get())
}

/// Checks no version, but does what no reader can do without.
fn parse_floor(datagram: &[u8]) -> Option<Fields> {
    let &[_, second, q0, q1, t0, t1, t2, t3, s0, s1, s2, s3] = datagram.first_chunk()?;
    Some((
        second >> 7 != 0,
        second & 0x7F,
        u16::from_be_bytes([q0, q1]),
        u32::from_be_bytes([t0, t1, t2, t3]),
        u32::from_be_bytes([s0, s1, s2, s3]),
    ))
}

/// In its own types, so that it need not convert them.
type Discortp = (u8, RtpType, Wrap16, Wrap32, u32);

fn parse_discortp(datagram: &[u8]) -> Option<Discortp> {
    let packet = RtpPacket::new(datagram)?;
    (packet.get_version() == VERSION).then(|| discortp_fields(&packet))
}

fn discortp_fields(packet: &RtpPacket<'_>) -> Discortp {
    (packet.get_marker(), packet.get_payload_type(), packet.get_sequence(), packet.get_timestamp(), packet.get_ssrc())
}

fn plain_types((marker, payload_type, sequence, timestamp, ssrc): Discortp) -> Fields {
    let RtpType::Dynamic(payload_type) = payload_type else { panic!("{payload_type:?}") };
    (marker != 0, payload_type, sequence.into(), timestamp.into(), ssrc)
}

fn parse_webrtc(mut datagram: &[u8]) -> Option<Fields> {
    let header = WebrtcHeader::unmarshal(&mut datagram).ok()?;
    (header.version == VERSION).then(|| webrtc_fields(&header))
}

fn webrtc_fields(header: &WebrtcHeader) -> Fields {
    (header.marker, header.payload_type, header.sequence_number, header.timestamp, header.ssrc)
}

fn whole_ours(datagram: &[u8]) -> Option<Whole> {
    let packet = Packet::parse(datagram).ok()?;
    let sources = packet.csrcs().fold(0, |sum, ssrc| ssrc.get().wrapping_add(sum));
    let profile = packet.extension().map_or(0, |extension| extension.profile());
    Some((fields(packet.header()), sources, profile, packet.payload().len()))
}

/// The extension and the padding are for its user to find, and the sources too: it takes their count
/// for a count of bytes.
fn whole_discortp(datagram: &[u8]) -> Option<(Discortp, u32, u16, usize)> {
    let packet = RtpPacket::new(datagram).filter(|packet| packet.get_version() == VERSION)?;
    let rest = datagram.get(RtpPacket::minimum_packet_size()..)?;
    let (sources, mut payload) = rest.split_at_checked(usize::from(packet.get_csrc_count()) * 4)?;
    let sources = sources.as_chunks().0.iter().fold(0, |sum, c| u32::from_be_bytes(*c).wrapping_add(sum));
    let mut profile = 0;
    if packet.get_extension() != 0 {
        let extension = RtpExtensionPacket::new(payload)?;
        profile = extension.get_info();
        payload = payload.get(extension.packet_size()..)?;
    }
    let padding = if packet.get_padding() != 0 { usize::from(*payload.last()?) } else { 0 };
    Some((discortp_fields(&packet), sources, profile, payload.len().checked_sub(padding)?))
}

fn whole_webrtc(mut datagram: &[u8]) -> Option<Whole> {
    let packet = WebrtcPacket::unmarshal(&mut datagram).ok().filter(|packet| packet.header.version == VERSION)?;
    let sources = packet.header.csrc.iter().fold(0, |sum, ssrc| ssrc.wrapping_add(sum));
    Some((webrtc_fields(&packet.header), sources, packet.header.extension_profile, packet.payload.len()))
}

fn write_ours(header: &RtpHeader, out: &mut [u8]) -> Option<()> {
    header.write(out.first_chunk_mut()?);
    Some(())
}

fn write_floor(from: &[u8], out: &mut [u8]) -> Option<()> {
    *out.first_chunk_mut::<{ RtpHeader::LEN }>()? = *from.first_chunk()?;
    Some(())
}

fn write_discortp(header: &RtpHeader, out: &mut [u8]) -> Option<()> {
    // Its setters keep the bits they do not own, and its users write over what was sent before.
    *out.first_mut()? = 0;
    let mut packet = MutableRtpPacket::new(out)?;
    packet.set_version(VERSION);
    packet.set_marker(u8::from(header.marker));
    packet.set_payload_type(RtpType::Dynamic(header.payload_type));
    packet.set_sequence(header.sequence.get().into());
    packet.set_timestamp(header.timestamp.get().into());
    packet.set_ssrc(header.ssrc.get());
    Some(())
}

fn write_webrtc(header: &WebrtcHeader, out: &mut [u8]) -> Option<usize> {
    header.marshal_to(out).ok()
}

/// Sources, an extension, the payload and padding.
fn write_full(payload: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut body = [0; 4];
    let mut elements = ElementWriter::new(Form::OneByte, &mut body);
    elements.push(AUDIO_LEVEL_ID, &[0x85]).ok()?;
    elements.push(SPEAKER_FLAGS_ID, &[2]).ok()?;
    let extension = Some(elements.finish());
    let layout = Layout { header: header(), csrcs: &[Ssrc::new(1), Ssrc::new(2)], extension, padding_len: 4 };
    layout.write(payload, out).ok()
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

fn webrtc_header() -> WebrtcHeader {
    WebrtcHeader {
        version: VERSION,
        payload_type: OPUS_PAYLOAD_TYPE,
        sequence_number: 4_660,
        timestamp: 2_309_737_967,
        ssrc: 369_020,
        ..WebrtcHeader::default()
    }
}

/// A packet with 160 bytes of payload and nothing else.
fn plain() -> Vec<u8> {
    let mut datagram = vec![0; 172];
    Layout::new(header()).write(&[0x5A; 160], &mut datagram).expect("room");
    datagram
}

/// A packet with 160 bytes of payload and all else there can be.
fn full() -> Vec<u8> {
    let mut datagram = vec![0; 256];
    let len = write_full(&[0x5A; 160], &mut datagram).expect("room");
    datagram.truncate(len);
    datagram
}
