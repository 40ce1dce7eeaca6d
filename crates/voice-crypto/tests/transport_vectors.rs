//! Every mode on every backend against known answers, in both directions.
#![cfg(any(feature = "aws-lc", feature = "rust-crypto"))]

mod vectors;

use serde_json::Value;
use voice_crypto::{Backend, Mode, NonceStart, OpenError, Opener, Sealer, SecretKey, SuffixOrder};
use voice_rtp::{OPUS_PAYLOAD_TYPE, Packet, RtpHeader, Sequence, Ssrc, Timestamp};

use crate::vectors::{bytes, list, number, text};

#[test]
fn packets_of_other_implementations_open_to_their_plaintext() {
    let all = vectors::transport();
    for &backend in Backend::ALL {
        let mut opened = 0;
        for vector in known(list(&all, "vectors")) {
            open(backend, vector);
            opened += 1;
        }
        assert_eq!(opened, KNOWN, "{backend:?}");
    }
}

fn open(backend: Backend, vector: &Value) {
    let name = text(vector, "name");
    let opener = Opener::with_backend(backend, mode(vector), &key(vector));
    let mut packet = bytes(vector, "packet");
    match text(vector, "kind") {
        "rtp" => {
            let found = opener.open_rtp(&mut packet).expect(name);
            let expected = &vector["rtp"];
            let plain = plain(vector);
            assert_eq!(packet[..found.plain_len], plain, "{name}");
            assert_eq!(packet[found.payload.clone()], bytes(vector, "payload"), "{name}");
            assert_eq!(found.header, header(expected), "{name}");
            let extension = found.extension.clone().map(|range| packet[range].to_vec());
            let expected_extension = expected["extension_body"].as_str().map(vectors::hex);
            assert_eq!(extension, expected_extension, "{name}");
            let view = Packet::parse(&plain).expect(name);
            let padding_len = number(expected, "padding_len") as usize;
            assert_eq!(view.padding_len(), padding_len, "{name}");
            assert_eq!(found.payload.end + padding_len, found.plain_len, "{name}");
        }
        "rtcp" => {
            let len = opener.open_rtcp(&mut packet).expect(name);
            assert_eq!(packet[..len], bytes(vector, "rtcp_plain"), "{name}");
        }
        other => panic!("{name}: unknown kind {other}"),
    }
}

#[test]
fn sealing_makes_the_bytes_of_other_implementations() {
    let all = vectors::transport();
    for &backend in Backend::ALL {
        let mut sealed = 0;
        for vector in known(list(&all, "vectors")) {
            for (start, order) in starts(vector) {
                let sealer = Sealer::with_backend(backend, mode(vector), key(vector), start);
                seal(sealer.with_suffix_order(order), vector);
            }
            sealed += 1;
        }
        assert_eq!(sealed, KNOWN, "{backend:?}");
    }
}

fn seal(mut sealer: Sealer, vector: &Value) {
    let name = text(vector, "name");
    let expected = bytes(vector, "packet");
    let plain = plain(vector);
    let mut buffer = vec![0xAA; plain.len() + sealer.mode().overhead() + 7];
    buffer[..plain.len()].copy_from_slice(&plain);
    let len = match text(vector, "kind") {
        "rtp" => sealer.seal_rtp(&mut buffer, plain.len()),
        _ => sealer.seal_rtcp(&mut buffer, plain.len()),
    }
    .expect(name);
    assert_eq!(buffer[..len], expected, "{name}");
    assert_eq!(buffer[len..], [0xAA; 7], "{name}: bytes behind the packet");
}

/// The starts whose first nonce is that of the vector: a counter can be written in two orders.
fn starts(vector: &Value) -> Vec<(NonceStart, SuffixOrder)> {
    let suffix = bytes(vector, "nonce_suffix");
    if let Ok(suffix) = <[u8; 4]>::try_from(&suffix[..]) {
        let orders = [
            (u32::from_be_bytes(suffix).into(), SuffixOrder::BigEndian),
            (u32::from_le_bytes(suffix).into(), SuffixOrder::LittleEndian),
        ];
        return orders.to_vec();
    }
    // 24 bytes, or the header alone: either way the start is the whole nonce.
    let nonce: [u8; 24] = bytes(vector, "nonce").try_into().expect("a nonce of XSalsa20");
    vec![(nonce.into(), SuffixOrder::BigEndian)]
}

#[test]
fn a_sender_that_wraps_every_counter_makes_the_known_sequence() {
    let all = vectors::transport();
    let sequences = list(&all, "sender_sequences");
    assert_eq!(sequences.len(), 2);
    for &backend in Backend::ALL {
        for vector in sequences {
            wrap(backend, vector);
        }
    }
}

fn wrap(backend: Backend, vector: &Value) {
    let name = text(vector, "name");
    let payload = bytes(vector, "payload");
    let first_nonce = number(vector, "first_counter") as u32;
    let mut sealer = Sealer::with_backend(backend, mode(vector), key(vector), first_nonce);
    let opener = Opener::with_backend(backend, mode(vector), &key(vector));
    let mut next = RtpHeader {
        marker: false,
        payload_type: OPUS_PAYLOAD_TYPE,
        sequence: Sequence::new(number(vector, "first_sequence") as u16),
        timestamp: Timestamp::new(number(vector, "first_timestamp") as u32),
        ssrc: Ssrc::new(number(vector, "ssrc") as u32),
    };
    let packets = list(vector, "packets");
    assert_eq!(packets.len(), 4, "{name}");
    for expected in packets {
        assert_eq!(u64::from(next.sequence.get()), number(expected, "sequence"), "{name}");
        let mut buffer = [0; 64];
        next.write(buffer.first_chunk_mut().expect("room"));
        let len = RtpHeader::LEN + payload.len();
        buffer[RtpHeader::LEN..len].copy_from_slice(&payload);
        let len = sealer.seal_rtp(&mut buffer, len).expect(name);
        assert_eq!(buffer[..len], bytes(expected, "packet"), "{name}");

        let found = opener.open_rtp(&mut buffer[..len]).expect(name);
        assert_eq!(found.header, next, "{name}");
        next.sequence = next.sequence.wrapping_add(1);
        next.timestamp = next.timestamp.wrapping_add(960);
    }
}

#[test]
fn damaged_packets_are_refused_for_the_right_reason() {
    let all = vectors::transport();
    for &backend in Backend::ALL {
        let mut refused = 0;
        for vector in known(list(&all, "reject")) {
            let name = text(vector, "name");
            let expected = match text(vector, "error") {
                "auth" => OpenError::Auth,
                "too_short" => OpenError::TooShort,
                "extension_overrun" => OpenError::ExtensionOverrun,
                "padding_zero" => OpenError::PaddingZero,
                "padding_overrun" => OpenError::PaddingOverrun,
                other => panic!("{name}: unknown error {other}"),
            };
            let opener = Opener::with_backend(backend, mode(vector), &key(vector));
            let mut packet = bytes(vector, "packet");
            let found = open_any(&opener, vector, &mut packet);
            assert_eq!(found, Err(expected), "{name}");
            refused += 1;
        }
        assert_eq!(refused, 44, "{backend:?}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let all = vectors::transport();
    for &backend in Backend::ALL {
        for vector in known(list(&all, "vectors")) {
            let name = text(vector, "name");
            let opener = Opener::with_backend(backend, mode(vector), &key(vector));
            let original = bytes(vector, "packet");
            for len in 0..original.len() {
                let mut packet = original[..len].to_vec();
                let found = open_any(&opener, vector, &mut packet);
                let expected = match found {
                    // Without enough bytes nothing is touched.
                    Err(OpenError::TooShort) => packet == original[..len],
                    Err(OpenError::Auth) => len >= least_len(vector),
                    _ => false,
                };
                assert!(expected, "{name} on {backend:?}: {len} bytes gave {found:?}");
            }
        }
    }
}

#[test]
fn every_single_bit_flip_is_refused_unless_the_mode_does_not_cover_it() {
    let all = vectors::transport();
    for vector in known(list(&all, "vectors")) {
        let name = text(vector, "name");
        let mode = mode(vector);
        // The bits are the cipher's business, so one backend is enough.
        let opener = Opener::new(mode, &key(vector));
        let original = bytes(vector, "packet");
        let clear_len = bytes(vector, "clear_header").len();
        for bit in 0..original.len() * 8 {
            let mut packet = original.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            let found = open_any(&opener, vector, &mut packet);
            let open_anyway = bit / 8 < clear_len && !mode.authenticates_header();
            assert!(
                open_anyway || matches!(found, Err(OpenError::Auth | OpenError::TooShort)),
                "{name}: flipping bit {bit} gave {found:?}"
            );
        }
    }
}

#[test]
fn a_too_short_packet_is_left_as_it_was() {
    let key = SecretKey::new([1; 32]);
    for &mode in Mode::ALL {
        let opener = Opener::new(mode, &key);
        let mut packet = [0x80; 12 + 40];
        let packet = &mut packet[..12 + mode.overhead() - 1];
        assert_eq!(opener.open_rtp(packet), Err(OpenError::TooShort), "{mode}");
        assert!(packet.iter().all(|byte| *byte == 0x80), "{mode}");
    }
}

/// Opens as what the vector is, and says only whether it worked.
fn open_any(opener: &Opener, vector: &Value, packet: &mut [u8]) -> Result<(), OpenError> {
    match text(vector, "kind") {
        "rtp" => opener.open_rtp(packet).map(|_| ()),
        _ => opener.open_rtcp(packet).map(|_| ()),
    }
}

/// The fewest bytes that could be a sealed packet of this kind with this header.
fn least_len(vector: &Value) -> usize {
    bytes(vector, "clear_header").len() + mode(vector).overhead()
}

/// How many vectors are of modes this build knows.
const KNOWN: usize = if cfg!(feature = "legacy") { 114 } else { 34 };

/// The vectors of the modes this crate knows.
fn known(vectors: &[Value]) -> impl Iterator<Item = &Value> {
    vectors.iter().filter(|vector| text(vector, "mode").parse::<Mode>().is_ok())
}

fn mode(vector: &Value) -> Mode {
    text(vector, "mode").parse().expect("a known mode")
}

fn key(vector: &Value) -> SecretKey {
    SecretKey::new(bytes(vector, "key").try_into().expect("32 bytes"))
}

fn plain(vector: &Value) -> Vec<u8> {
    let mut plain = bytes(vector, "clear_header");
    plain.extend(bytes(vector, "plaintext"));
    plain
}

fn header(rtp: &Value) -> RtpHeader {
    RtpHeader {
        marker: rtp["marker"].as_bool().expect("a flag"),
        payload_type: number(rtp, "payload_type") as u8,
        sequence: Sequence::new(number(rtp, "sequence") as u16),
        timestamp: Timestamp::new(number(rtp, "timestamp") as u32),
        ssrc: Ssrc::new(number(rtp, "ssrc") as u32),
    }
}
