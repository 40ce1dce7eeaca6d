//! RTCP against known answers.

mod vectors;

use serde_json::{Value, json};
use voice_rtp::rtcp::{
    Item, Packet, ParseError, PayloadMessage, ReportBlock, Reports, packets, write_receiver_report, write_sender_report,
};

use crate::vectors::{bytes, hex, list, number, text};

#[test]
fn packets_are_read_field_by_field() {
    for vector in list(&vectors::rtp(), "rtcp") {
        let name = text(vector, "name");
        let datagram = bytes(vector, "packet");
        let mut walk = packets(&datagram);
        for expect in list(vector, "expect") {
            let packet = walk.next().expect(name).expect(name);
            let count = number(expect, "count");
            match packet {
                Packet::SenderReport(report) => {
                    assert_eq!(number(expect, "type"), 200, "{name}");
                    let found = json!({
                        "ssrc": report.ssrc.get(),
                        "ntp_seconds": report.info.ntp.seconds,
                        "ntp_fraction": report.info.ntp.fraction,
                        "rtp_timestamp": report.info.rtp_timestamp.get(),
                        "packet_count": report.info.packet_count,
                        "octet_count": report.info.octet_count,
                    });
                    for (field, value) in found.as_object().expect("an object") {
                        assert_eq!(*value, expect[field], "{name}: {field}");
                    }
                    reports_equal(report.reports, expect, name);
                    assert_eq!(report.profile_extension, bytes(expect, "profile_extension"));
                }
                Packet::ReceiverReport(report) => {
                    assert_eq!(number(expect, "type"), 201, "{name}");
                    assert_eq!(u64::from(report.ssrc.get()), number(expect, "ssrc"));
                    reports_equal(report.reports, expect, name);
                    assert_eq!(report.profile_extension, bytes(expect, "profile_extension"));
                }
                Packet::Goodbye(goodbye) => {
                    assert_eq!(number(expect, "type"), 203, "{name}");
                    assert_eq!(goodbye.sources().len() as u64, count, "{name}");
                    let raw = bytes(expect, "raw");
                    let sources: Vec<u8> = goodbye.sources().flat_map(|ssrc| ssrc.get().to_be_bytes()).collect();
                    assert_eq!(raw[4..], sources, "{name}");
                    assert_eq!(goodbye.reason(), None, "{name}");
                }
                Packet::SourceDescription(description) => {
                    assert_eq!(number(expect, "type"), 202, "{name}");
                    assert_eq!(description.chunks().count() as u64, count, "{name}");
                    let chunk = description.chunks().next().expect(name);
                    assert_eq!(chunk.ssrc().get(), 369_020, "{name}");
                    assert_eq!(chunk.items().collect::<Vec<_>>(), [Item::Cname(b"abcd")], "{name}");
                }
                Packet::PayloadFeedback(feedback) => {
                    assert_eq!(number(expect, "type"), 206, "{name}");
                    assert_eq!((feedback.sender.get(), feedback.media.get()), (1, 369_021), "{name}");
                    assert_eq!(feedback.message, PayloadMessage::PictureLoss, "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(walk.next(), None, "{name}");
    }
}

#[test]
fn written_reports_are_those_of_the_vectors() {
    let mut written = 0;
    for vector in list(&vectors::rtp(), "rtcp") {
        let name = text(vector, "name");
        let datagram = bytes(vector, "packet");
        let mut walk = packets(&datagram);
        let mut out = [0xAA; 128];
        let len = match (walk.next(), walk.next()) {
            (Some(Ok(Packet::SenderReport(report))), None) => {
                let blocks: Vec<ReportBlock> = report.reports.iter().collect();
                write_sender_report(report.ssrc, &report.info, &blocks, &mut out).expect(name)
            }
            (Some(Ok(Packet::ReceiverReport(report))), None) if report.profile_extension.is_empty() => {
                let blocks: Vec<ReportBlock> = report.reports.iter().collect();
                write_receiver_report(report.ssrc, &blocks, &mut out).expect(name)
            }
            _ => continue,
        };
        assert_eq!(out[..len], datagram, "{name}");
        written += 1;
    }
    assert_eq!(written, 4);
}

#[test]
fn invalid_packets_are_refused_for_the_right_reason() {
    for vector in list(&vectors::rtp(), "rtcp_invalid") {
        let name = text(vector, "name");
        let expected = match text(vector, "error") {
            "too_short" => ParseError::TooShort,
            "bad_version" => ParseError::BadVersion,
            "length_overrun" => ParseError::LengthOverrun,
            "report_overrun" => ParseError::ReportOverrun,
            "trailing_bytes" => ParseError::TrailingBytes,
            other => panic!("{name}: unknown error {other}"),
        };
        let datagram = bytes(vector, "packet");
        let mut walk = packets(&datagram);
        let error = walk.by_ref().find_map(Result::err);
        assert_eq!(error, Some(expected), "{name}");
        assert_eq!(walk.next(), None, "{name}: an ended walk stays ended");
    }
    assert_eq!(packets(&hex("")).next(), Some(Err(ParseError::TooShort)), "an empty datagram");
}

fn reports_equal(reports: Reports<'_>, expect: &Value, name: &str) {
    assert_eq!(reports.len() as u64, number(expect, "count"), "{name}");
    let found: Vec<Value> = reports
        .iter()
        .map(|report| {
            json!({
                "ssrc": report.ssrc.get(),
                "fraction_lost": report.fraction_lost,
                "cumulative_lost": report.cumulative_lost,
                "highest_sequence": report.highest_sequence,
                "jitter": report.jitter,
                "lsr": report.last_sender_report,
                "dlsr": report.delay_since_last_sender_report,
            })
        })
        .collect();
    assert_eq!(Value::from(found), expect["reports"], "{name}");
}
