//! Nothing that arrives can panic or make a view point outside its datagram.

mod vectors;

use proptest::prelude::*;
use serde_json::Value;
use voice_rtp::discovery::{DISCOVERY_LEN, Request, Response};
use voice_rtp::extension::{Elements, Form};
use voice_rtp::{
    Kind, Packet, Ping, RtpHeader, Sequence, SequenceExtender, Ssrc, Timestamp, classify, rtcp, unencrypted_len,
};

#[test]
fn every_truncation_of_every_vector_is_read_or_refused() {
    for datagram in every_vector() {
        for len in 0..=datagram.len() {
            read_everything(&datagram[..len]);
        }
    }
}

#[test]
fn every_single_bit_flip_of_every_vector_is_read_or_refused() {
    for mut datagram in every_vector() {
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            read_everything(&datagram);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(datagram in prop::collection::vec(any::<u8>(), 0..256)) {
        read_everything(&datagram);
    }

    #[test]
    fn random_bytes_behind_a_plausible_start_are_read_or_refused(
        first in 0x80_u8..0xC0,
        second in prop::sample::select(vec![0x78, 0xF8, 200, 201, 203, 206]),
        words in 0_u8..20,
        rest in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        let mut datagram = vec![first, second, 0, words];
        datagram.extend(rest);
        read_everything(&datagram);
    }

    #[test]
    fn a_written_header_is_read_back(
        marker: bool,
        payload_type in 0_u8..128,
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
    ) {
        let header = RtpHeader {
            marker,
            payload_type,
            sequence: Sequence::new(sequence),
            timestamp: Timestamp::new(timestamp),
            ssrc: Ssrc::new(ssrc),
        };
        let mut bytes = [0xAA; RtpHeader::LEN];
        header.write(&mut bytes);
        prop_assert_eq!(RtpHeader::parse(&bytes), Ok(header));
        let packet = Packet::parse(&bytes).expect("a packet without payload");
        prop_assert_eq!(packet.header(), header);
        prop_assert!(packet.payload().is_empty());
    }

    #[test]
    fn a_written_response_is_read_back(ssrc: u32, address: std::net::IpAddr, port in 1_u16..) {
        let response = Response { ssrc: Ssrc::new(ssrc), address, port };
        let mut datagram = [0xAA; DISCOVERY_LEN];
        response.write(&mut datagram);
        prop_assert_eq!(Response::parse(&datagram, Ssrc::new(ssrc)), Ok(response));
    }

    #[test]
    fn extended_numbers_keep_their_low_half_and_their_distances(
        numbers in prop::collection::vec(any::<u16>(), 1..200),
    ) {
        let mut extender = SequenceExtender::new();
        let mut highest: Option<u64> = None;
        for number in numbers {
            let extended = extender.extend(Sequence::new(number));
            prop_assert_eq!(extended & 0xFFFF, u64::from(number));
            if let Some(highest) = highest {
                prop_assert!(extended.abs_diff(highest) <= 32_768);
            }
            highest = highest.max(Some(extended));
            prop_assert_eq!(extender.highest(), highest);
        }
    }
}

/// Reads `datagram` in every way there is and checks that the parts add up to the whole.
fn read_everything(datagram: &[u8]) {
    let kind = classify(datagram);
    if kind == Kind::Rtp {
        assert!(RtpHeader::parse(datagram).is_ok());
    }
    assert_eq!(kind == Kind::Pong, Ping::parse_response(datagram).is_some());
    _ = Ping::parse_request(datagram);
    _ = Request::parse(datagram);
    if let Ok(response) = Response::parse(datagram, Ssrc::new(369_020)) {
        assert_eq!(kind, Kind::Discovery);
        assert_ne!(response.port, 0);
    }

    let clear = unencrypted_len(datagram);
    if let Ok(clear) = clear {
        assert!(clear <= datagram.len());
    }
    if let Ok(packet) = Packet::parse(datagram) {
        let extension = packet.extension().map_or(0, |extension| {
            let mut read = 0;
            let mut walk = extension.elements();
            for element in walk.by_ref() {
                assert_ne!(element.id, 0);
                read += 1 + element.data.len();
            }
            assert!(walk.stop().is_some());
            assert!(read <= extension.body().len());
            _ = extension.audio_level();
            _ = extension.speaker_flags();
            _ = extension.absolute_send_time().map(|time| time.to_duration());
            _ = extension.transmission_offset();
            _ = extension.transport_sequence();
            _ = extension.playout_delay().map(|delay| (delay.min(), delay.max()));
            _ = extension.video_orientation();
            extension.body().len()
        });
        let clear = clear.expect("a packet has a clear part");
        assert_eq!(packet.csrcs().count(), usize::from(datagram[0] & 0x0F));
        assert_eq!(packet.payload_range().start, clear + extension);
        assert_eq!(packet.payload_range().end + packet.padding_len(), datagram.len());
        assert_eq!(packet.as_bytes(), datagram);
    }

    for form in [Form::OneByte, Form::TwoByte { app_bits: 0 }] {
        let mut walk = Elements::new(form, datagram);
        assert!(walk.by_ref().map(|element| 1 + element.data.len()).sum::<usize>() <= datagram.len());
        assert!(walk.stop().is_some());
    }

    let mut walked = 0;
    for packet in rtcp::packets(datagram).map_while(Result::ok) {
        walked += 4;
        match packet {
            rtcp::Packet::SenderReport(report) => {
                walked += 24 + report.reports.iter().count() * 24 + report.profile_extension.len();
            }
            rtcp::Packet::ReceiverReport(report) => {
                walked += 4 + report.reports.iter().count() * 24 + report.profile_extension.len();
            }
            rtcp::Packet::Goodbye(goodbye) => {
                walked += goodbye.sources().count() * 4 + goodbye.reason().map_or(0, <[u8]>::len);
            }
            rtcp::Packet::Other(other) => walked += other.body.len(),
            _ => {}
        }
    }
    assert!(walked <= datagram.len());
}

fn every_vector() -> Vec<Vec<u8>> {
    let (rtp, discovery) = (vectors::rtp(), vectors::discovery());
    let mut found = Vec::new();
    for (all, lists) in [
        (&rtp, &["parse", "invalid", "demux", "rtcp", "rtcp_invalid"][..]),
        (&rtp, &["one_byte_extensions"][..]),
        (&discovery, &["requests", "valid", "invalid", "server"][..]),
        (&discovery["udp_ping"], &["cases"][..]),
    ] {
        for name in lists {
            found.extend(vectors::list(all, name).iter().map(datagram));
        }
    }
    assert!(found.len() > 100, "only {} vectors", found.len());
    found
}

fn datagram(vector: &Value) -> Vec<u8> {
    let field = ["packet", "datagram", "body", "request"].into_iter().find_map(|name| vector.get(name));
    vectors::hex(field.and_then(Value::as_str).expect("a datagram"))
}
