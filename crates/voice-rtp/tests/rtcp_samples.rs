//! RTCP of all kinds against bytes of other implementations and of the standards, and what must hold
//! for every truncation and bit flip of them.

mod rtcp_parts;
mod vectors;

use serde_json::{Value, json};
use voice_rtp::Ssrc;
use voice_rtp::rtcp::{CompoundWriter, ReportBlock, packets};

use crate::rtcp_parts::{Parts, check};
use crate::vectors::{bytes, list, text};

#[test]
fn samples_say_what_they_were_made_to_say() {
    for sample in list(&samples(), "packets") {
        let datagram = bytes(sample, "packet");
        let found: Vec<Value> =
            packets(&datagram).map(|packet| describe(&Parts::of(&packet.expect("a packet")))).collect();
        assert_eq!(Value::from(found), sample["expect"], "{}", text(sample, "name"));
    }
}

#[test]
fn samples_made_anew_have_the_same_bytes() {
    let mut same = 0;
    for sample in list(&samples(), "packets") {
        let name = text(sample, "name");
        let datagram = bytes(sample, "packet");
        let mut out = vec![0xAA; 2_000];
        let mut writer = CompoundWriter::new(&mut out);
        let mut walk = packets(&datagram);
        for packet in walk.by_ref() {
            Parts::of(&packet.expect(name)).write(&mut writer).expect(name);
        }
        if walk.padding_len() % 4 == 0 && walk.padding_len() > 0 {
            writer.pad(walk.padding_len()).expect(name);
        }
        let written = writer.finish();
        let otherwise = sample.get("written_otherwise").is_some();
        assert_eq!(*written != datagram[..], otherwise, "{name}");
        same += u32::from(!otherwise);
    }
    assert!(same > 25, "only {same}");
}

#[test]
fn samples_are_written_as_they_were_read() {
    for datagram in datagrams() {
        check(&datagram);
        let mut copy = vec![0xAA; datagram.len()];
        let mut writer = CompoundWriter::new(&mut copy);
        let mut walk = packets(&datagram);
        while let Some(packet) = walk.next() {
            writer.packet(&packet.expect("a packet"), walk.padding_len()).expect("room");
        }
        assert_eq!(writer.finish(), datagram);
    }
}

#[test]
fn every_truncation_is_read_or_refused() {
    for datagram in datagrams() {
        for len in 0..datagram.len() {
            check(&datagram[..len]);
            let ends = packets(&datagram).map_while(Result::ok).scan(0, |end, packet| {
                let mut out = vec![0; 2_000];
                let mut writer = CompoundWriter::new(&mut out);
                // Padding comes last: whether it is there changes no end before it.
                _ = writer.packet(&packet, 0);
                *end += writer.written_len();
                Some(*end)
            });
            let whole = ends.take_while(|end| *end <= len).count();
            let read = packets(&datagram[..len]).filter(Result::is_ok).count();
            assert!(read <= whole, "a packet that was cut off was read");
        }
    }
}

#[test]
fn every_single_bit_flip_is_read_or_refused() {
    for mut datagram in datagrams() {
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            check(&datagram);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// What a packet says, in the words of the vectors.
fn describe(parts: &Parts) -> Value {
    let numbers = |ssrcs: &[Ssrc]| ssrcs.iter().map(|ssrc| ssrc.get()).collect::<Vec<_>>();
    match parts {
        Parts::SenderReport(ssrc, info, blocks, extension) => json!({
            "kind": "sender_report",
            "ssrc": ssrc.get(),
            "ntp": [info.ntp.seconds, info.ntp.fraction],
            "rtp_timestamp": info.rtp_timestamp.get(),
            "packets": info.packet_count,
            "octets": info.octet_count,
            "reports": blocks.iter().map(block).collect::<Vec<_>>(),
            "profile_extension": hex(extension),
        }),
        Parts::ReceiverReport(ssrc, blocks, extension) => json!({
            "kind": "receiver_report",
            "ssrc": ssrc.get(),
            "reports": blocks.iter().map(block).collect::<Vec<_>>(),
            "profile_extension": hex(extension),
        }),
        Parts::SourceDescription(chunks) => {
            let chunks = chunks.iter().map(|(ssrc, items)| {
                let items = items.iter().map(|(kind, prefix, text)| {
                    let prefix = prefix.iter().flat_map(|prefix| [&[prefix.len() as u8], &prefix[..]].concat());
                    json!([kind, hex(&prefix.chain(text.iter().copied()).collect::<Vec<_>>())])
                });
                json!([ssrc.get(), items.collect::<Vec<_>>()])
            });
            json!({ "kind": "source_description", "chunks": chunks.collect::<Vec<_>>() })
        }
        Parts::Goodbye(sources, reason) => {
            json!({ "kind": "goodbye", "sources": numbers(sources), "reason": reason.as_deref().map(hex) })
        }
        Parts::Application { subtype, ssrc, name, data } => json!({
            "kind": "application",
            "subtype": subtype,
            "ssrc": ssrc.get(),
            "name": hex(name),
            "data": hex(data),
        }),
        Parts::Nack(sender, media, pairs) => {
            let lost: Vec<u16> = pairs.iter().flat_map(|pair| pair.lost()).map(|lost| lost.get()).collect();
            json!({ "kind": "nack", "sender": sender.get(), "media": media.get(), "lost": lost })
        }
        Parts::TransportCc(sender, media, info, deltas) => json!({
            "kind": "transport_cc",
            "sender": sender.get(),
            "media": media.get(),
            "base": info.base_sequence.get(),
            "reference_time": info.reference_time,
            "feedback": info.feedback_count,
            "deltas": deltas,
        }),
        Parts::PictureLoss(sender, media) => {
            json!({ "kind": "picture_loss", "sender": sender.get(), "media": media.get() })
        }
        Parts::SliceLoss(sender, media, losses) => {
            let losses: Vec<_> = losses.iter().map(|loss| json!([loss.first, loss.number, loss.picture_id])).collect();
            json!({ "kind": "slice_loss", "sender": sender.get(), "media": media.get(), "losses": losses })
        }
        Parts::FullIntra(sender, requests) => {
            let requests: Vec<_> = requests.iter().map(|wanted| json!([wanted.ssrc.get(), wanted.sequence])).collect();
            json!({ "kind": "full_intra", "sender": sender.get(), "requests": requests })
        }
        Parts::Remb(sender, bitrate, sources) => {
            json!({ "kind": "remb", "sender": sender.get(), "bitrate": bitrate, "sources": numbers(sources) })
        }
        Parts::Feedback(packet_type, format, sender, media, fci) => json!({
            "kind": if *packet_type == 205 { "other_transport" } else { "other_payload" },
            "sender": sender.get(),
            "media": media.get(),
            "format": format,
            "fci": hex(fci),
        }),
        Parts::Other(packet_type, count, body) => {
            json!({ "kind": "other", "type": packet_type, "count": count, "body": hex(body) })
        }
    }
}

fn block(block: &ReportBlock) -> Value {
    json!([
        block.ssrc.get(),
        block.fraction_lost,
        block.cumulative_lost,
        block.highest_sequence,
        block.jitter,
        block.last_sender_report,
        block.delay_since_last_sender_report,
    ])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn samples() -> Value {
    serde_json::from_str(include_str!("vectors/rtcp.json")).expect("the vectors are JSON")
}

/// All valid datagrams there are.
fn datagrams() -> Vec<Vec<u8>> {
    let (samples, rtp) = (samples(), vectors::rtp());
    let all = list(&samples, "packets").iter().chain(list(&rtp, "rtcp"));
    all.map(|vector| bytes(vector, "packet")).collect()
}
