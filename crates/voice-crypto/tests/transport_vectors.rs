//! Both modes against known answers, in both directions.

mod vectors;

use serde_json::Value;
use voice_crypto::{Mode, OVERHEAD, OpenError, Opener, Sealer, SecretKey, SuffixOrder};
use voice_rtp::{OPUS_PAYLOAD_TYPE, Packet, RtpHeader, Sequence, Ssrc, Timestamp};

use crate::vectors::{bytes, list, number, text};

#[test]
fn packets_of_other_implementations_open_to_their_plaintext() {
    let all = vectors::transport();
    let mut opened = 0;
    for vector in known(list(&all, "vectors")) {
        let name = text(vector, "name");
        let opener = Opener::new(mode(vector), &key(vector));
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
        opened += 1;
    }
    assert_eq!(opened, 34);
}

#[test]
fn sealing_makes_the_bytes_of_other_implementations() {
    let all = vectors::transport();
    let mut sealed = 0;
    for vector in known(list(&all, "vectors")) {
        let name = text(vector, "name");
        let suffix: [u8; 4] = bytes(vector, "nonce_suffix").try_into().expect(name);
        let expected = bytes(vector, "packet");
        let plain = plain(vector);
        for (order, first) in [
            (SuffixOrder::BigEndian, u32::from_be_bytes(suffix)),
            (SuffixOrder::LittleEndian, u32::from_le_bytes(suffix)),
        ] {
            let mut sealer = Sealer::new(mode(vector), &key(vector), first).with_suffix_order(order);
            let mut buffer = vec![0xAA; plain.len() + OVERHEAD + 7];
            buffer[..plain.len()].copy_from_slice(&plain);
            let len = match text(vector, "kind") {
                "rtp" => sealer.seal_rtp(&mut buffer, plain.len()),
                _ => sealer.seal_rtcp(&mut buffer, plain.len()),
            }
            .expect(name);
            assert_eq!(buffer[..len], expected, "{name}");
            assert_eq!(buffer[len..], [0xAA; 7], "{name}: bytes behind the packet");
            sealed += 1;
        }
    }
    assert_eq!(sealed, 68);
}

#[test]
fn a_sender_that_wraps_every_counter_makes_the_known_sequence() {
    let all = vectors::transport();
    let sequences = list(&all, "sender_sequences");
    for vector in sequences {
        let name = text(vector, "name");
        let payload = bytes(vector, "payload");
        let first_nonce = number(vector, "first_counter") as u32;
        let mut sealer = Sealer::new(mode(vector), &key(vector), first_nonce);
        let opener = Opener::new(mode(vector), &key(vector));
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
    assert_eq!(sequences.len(), 2);
}

#[test]
fn damaged_packets_are_refused_for_the_right_reason() {
    let all = vectors::transport();
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
        let opener = Opener::new(mode(vector), &key(vector));
        let mut packet = bytes(vector, "packet");
        let found = match text(vector, "kind") {
            "rtp" => opener.open_rtp(&mut packet).map(|_| ()),
            _ => opener.open_rtcp(&mut packet).map(|_| ()),
        };
        assert_eq!(found, Err(expected), "{name}");
        refused += 1;
    }
    assert_eq!(refused, 44);
}

#[test]
fn every_single_bit_flip_and_truncation_is_refused() {
    let all = vectors::transport();
    for vector in known(list(&all, "vectors")) {
        let name = text(vector, "name");
        let opener = Opener::new(mode(vector), &key(vector));
        let rtp = text(vector, "kind") == "rtp";
        let original = bytes(vector, "packet");
        let refuse = |packet: &mut [u8], what: &str, place: usize| {
            let found = if rtp { opener.open_rtp(packet).map(|_| ()) } else { opener.open_rtcp(packet).map(|_| ()) };
            assert!(
                matches!(found, Err(OpenError::Auth | OpenError::TooShort)),
                "{name}: {what} {place} gave {found:?}"
            );
        };
        for bit in 0..original.len() * 8 {
            let mut packet = original.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            refuse(&mut packet, "flipping bit", bit);
        }
        for len in 0..original.len() {
            let mut packet = original[..len].to_vec();
            refuse(&mut packet, "keeping bytes", len);
        }
    }
}

#[test]
fn a_too_short_packet_is_left_as_it_was() {
    let key = SecretKey::new([1; 32]);
    for mode in Mode::ALL {
        let opener = Opener::new(mode, &key);
        let mut packet = [0x80; 31];
        assert_eq!(opener.open_rtp(&mut packet), Err(OpenError::TooShort));
        assert_eq!(packet, [0x80; 31]);
    }
}

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
