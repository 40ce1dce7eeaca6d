//! RTP packets, extensions, demultiplexing and arithmetic against known answers.

mod vectors;

use voice_rtp::extension::{AudioExtension, AudioLevel, Elements, Form, SpeakerFlags, Stop};
use voice_rtp::{Kind, Packet, ParseError, RtpHeader, Sequence, Ssrc, Timestamp, classify, unencrypted_len};

use crate::vectors::{bytes, list, number, text};

#[test]
fn valid_packets_are_read_field_by_field() {
    for vector in list(&vectors::rtp(), "parse") {
        let name = text(vector, "name");
        let datagram = bytes(vector, "packet");
        let expect = &vector["expect"];
        let packet = Packet::parse(&datagram).expect(name);

        let header = RtpHeader {
            marker: expect["marker"].as_bool().expect("a flag"),
            payload_type: number(expect, "payload_type") as u8,
            sequence: Sequence::new(number(expect, "sequence") as u16),
            timestamp: Timestamp::new(number(expect, "timestamp") as u32),
            ssrc: Ssrc::new(number(expect, "ssrc") as u32),
        };
        assert_eq!(packet.header(), header, "{name}");
        assert_eq!(RtpHeader::parse(&datagram), Ok(header), "{name}");

        let csrcs: Vec<u64> = packet.csrcs().map(|ssrc| ssrc.get().into()).collect();
        let expected: Vec<u64> =
            expect["csrcs"].as_array().expect("a list").iter().map(|value| value.as_u64().expect("a number")).collect();
        assert_eq!(csrcs, expected, "{name}");
        assert_eq!(packet.csrcs().len() as u64, number(expect, "csrc_count"));

        match packet.extension() {
            None => assert!(expect["extension_body"].is_null(), "{name}"),
            Some(extension) => {
                let body = bytes(expect, "extension_body");
                assert_eq!(extension.body(), body, "{name}");
                assert_eq!(u64::from(extension.profile()), number(expect, "extension_profile"), "{name}");
                assert_eq!(body.len() as u64, number(expect, "extension_words") * 4, "{name}");
                let range = packet.extension_range().expect(name);
                assert_eq!(datagram[range], body, "{name}");
            }
        }

        assert_eq!(packet.payload(), bytes(expect, "payload"), "{name}");
        let range = packet.payload_range();
        assert_eq!(range.start as u64, number(expect, "payload_offset"));
        assert_eq!(&datagram[range], packet.payload(), "{name}");
        assert_eq!(packet.padding_len() as u64, number(expect, "padding_len"), "{name}");
        assert_eq!(packet.payload_range().end + packet.padding_len(), datagram.len());
        assert_eq!(unencrypted_len(&datagram).expect(name) as u64, number(expect, "clear_header_len"), "{name}");

        // A header without flags is exactly what a sender writes.
        if datagram[0] == 0x80 {
            let mut written = [0; RtpHeader::LEN];
            header.write(&mut written);
            assert_eq!(written, datagram[..RtpHeader::LEN], "{name}");
        }
    }
}

#[test]
fn invalid_packets_are_refused_for_the_right_reason() {
    for vector in list(&vectors::rtp(), "invalid") {
        let name = text(vector, "name");
        let datagram = bytes(vector, "packet");
        let expected = match text(vector, "error") {
            "too_short" => ParseError::TooShort,
            "bad_version" => ParseError::BadVersion,
            "csrc_overrun" => ParseError::CsrcOverrun,
            "extension_preamble_overrun" => ParseError::ExtensionPreambleOverrun,
            "extension_overrun" => ParseError::ExtensionOverrun,
            "padding_zero" => ParseError::PaddingZero,
            "padding_overrun" => ParseError::PaddingOverrun,
            other => panic!("{name}: unknown error {other}"),
        };
        assert_eq!(Packet::parse(&datagram), Err(expected), "{name}");

        // The boundary of the clear part fails exactly where the clear part itself is cut.
        let clear = unencrypted_len(&datagram);
        match expected {
            ParseError::TooShort | ParseError::CsrcOverrun | ParseError::ExtensionPreambleOverrun => {
                assert_eq!(clear, Err(expected), "{name}")
            }
            _ => assert!(clear.is_ok(), "{name}: {clear:?}"),
        }
    }
}

#[test]
fn extension_elements_are_read_up_to_the_first_defect() {
    for vector in list(&vectors::rtp(), "one_byte_extensions") {
        let name = text(vector, "name");
        let body = bytes(vector, "body");
        let mut walk = Elements::new(Form::OneByte, &body);
        let found: Vec<_> = walk.by_ref().map(|e| (e.id, e.data.to_vec())).collect();
        let expected: Vec<_> = vector["elements"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|e| (number(e, "id") as u8, bytes(e, "data")))
            .collect();
        assert_eq!(found, expected, "{name}");
        let stop = match text(vector, "stop") {
            "end" => Stop::End,
            "overrun" => Stop::Overrun,
            "id_15" => Stop::Id15,
            "id_zero_with_length" => Stop::IdZeroWithLength,
            other => panic!("{name}: unknown stop {other}"),
        };
        assert_eq!(walk.stop(), Some(stop), "{name}");
        assert_eq!(walk.next(), None, "{name}: an ended walk stays ended");
    }
}

#[test]
fn audio_levels_are_read_and_written() {
    for vector in list(&vectors::rtp(), "audio_level") {
        let byte = bytes(vector, "byte")[0];
        let level = AudioLevel::from_byte(byte);
        let activity = vector["voice_activity"].as_bool().expect("a flag");
        let minus_dbov = number(vector, "level_minus_dbov") as u8;
        assert_eq!(level.voice_activity(), activity, "{byte:02x}");
        assert_eq!(level.minus_dbov(), minus_dbov, "{byte:02x}");
        assert_eq!(AudioLevel::new(activity, minus_dbov), level, "{byte:02x}");
        assert_eq!(level.to_byte(), byte);
    }
}

#[test]
fn speaker_flags_convert_both_ways() {
    let all = vectors::rtp();
    let speaker = &all["speaker_extension"];
    for vector in list(speaker, "outgoing") {
        let flags = SpeakerFlags::from_gateway(number(vector, "gateway_flags") as u8);
        assert_eq!(u64::from(flags.to_byte()), number(vector, "extension_byte"), "{vector}");
    }
    for vector in list(speaker, "incoming") {
        let flags = vector["extension_byte"].as_u64().map(|byte| SpeakerFlags::from_byte(byte as u8));
        assert_eq!(u64::from(SpeakerFlags::to_gateway(flags)), number(vector, "gateway_flags"), "{vector}");
    }
}

#[test]
fn a_written_audio_extension_is_read_back() {
    let header = RtpHeader {
        payload_type: 120,
        sequence: Sequence::new(3),
        timestamp: Timestamp::new(2880),
        ssrc: Ssrc::new(369_020),
        ..RtpHeader::default()
    };
    let mut datagram = [0; 23];
    let audio = AudioExtension { level: AudioLevel::SILENCE, speaker: SpeakerFlags::NONE };
    header.write_with_audio(audio, datagram.first_chunk_mut().expect("room"));
    datagram[20..].copy_from_slice(&[0xF8, 0xFF, 0xFE]);

    let all = vectors::rtp();
    let known = list(&all, "parse")
        .iter()
        .find(|vector| text(vector, "name") == "extension_one_word")
        .expect("the vector of a silence packet with extension");
    assert_eq!(datagram.to_vec(), bytes(known, "packet"));

    let extension = Packet::parse(&datagram).unwrap().extension().unwrap();
    assert_eq!(extension.audio_level(), Some(audio.level));
    assert_eq!(extension.speaker_flags(), Some(audio.speaker));
}

#[test]
fn datagrams_are_told_apart() {
    for vector in list(&vectors::rtp(), "demux") {
        let name = text(vector, "name");
        let datagram = bytes(vector, "datagram");
        let expected = match text(vector, "expect") {
            "ip_discovery" => Kind::Discovery,
            "ping_response" => Kind::Pong,
            "rtcp" => Kind::Rtcp,
            "rtp" => Kind::Rtp,
            "ignore" => Kind::Ignored,
            other => panic!("{name}: unknown kind {other}"),
        };
        assert_eq!(classify(&datagram), expected, "{name}");
    }
}

#[test]
fn distances_go_the_shorter_way_around() {
    let all = vectors::rtp();
    for vector in list(&all, "sequence_distance") {
        let new = Sequence::new(number(vector, "new") as u16);
        let old = Sequence::new(number(vector, "old") as u16);
        let distance = i64::from(new.distance(old));
        assert_eq!(Some(distance), vector["distance"].as_i64(), "{vector}");
        assert_eq!(old.wrapping_add(distance as u16), new, "{vector}");
    }
    for vector in list(&all, "timestamp_distance") {
        let new = Timestamp::new(number(vector, "new") as u32);
        let old = Timestamp::new(number(vector, "old") as u32);
        let distance = i64::from(new.distance(old));
        assert_eq!(Some(distance), vector["distance"].as_i64(), "{vector}");
        assert_eq!(old.wrapping_add(distance as u32), new, "{vector}");
    }
}
