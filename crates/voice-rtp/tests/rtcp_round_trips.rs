//! What is written is read back, for every kind of packet and any values.

mod rtcp_parts;

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use voice_rtp::rtcp::{
    CompoundWriter, IntraRequest, NackPair, NtpTimestamp, Packet, ReportBlock, SenderInfo, SliceLoss, TransportCcInfo,
    TransportMessage, WriteError, duration_from_short, packets, short_from_duration,
};
use voice_rtp::{Sequence, Ssrc, Timestamp};

use crate::rtcp_parts::{OwnedItem, Parts, check};

proptest! {
    #[test]
    fn packets_of_all_kinds_are_read_back(parts in vec(parts(), 1..6), padding_words in 0_u8..64) {
        let mut out = vec![0xAA; 1 << 16];
        let mut writer = CompoundWriter::new(&mut out);
        for part in &parts {
            part.write(&mut writer).expect("room");
        }
        if padding_words > 0 {
            writer.pad(padding_words * 4).expect("room");
        }
        let datagram = writer.finish();
        prop_assert_eq!(datagram.len() % 4, 0);

        let mut walk = packets(datagram);
        let read: Vec<Parts> = walk.by_ref().map(|packet| Parts::of(&packet.expect("a packet"))).collect();
        prop_assert_eq!(read, parts);
        prop_assert_eq!(walk.padding_len(), padding_words * 4);
        check(datagram);
    }

    #[test]
    fn every_truncation_of_written_packets_is_read_or_refused(parts in vec(parts(), 1..3), at: prop::sample::Index) {
        let mut out = vec![0xAA; 1 << 16];
        let mut writer = CompoundWriter::new(&mut out);
        for part in &parts {
            part.write(&mut writer).expect("room");
        }
        let datagram = writer.finish();
        check(&datagram[..at.index(datagram.len())]);
    }

    #[test]
    fn a_packet_is_written_whole_or_not_at_all(part in parts(), room: prop::sample::Index) {
        let mut out = vec![0xAA; 1 << 16];
        let mut writer = CompoundWriter::new(&mut out);
        part.write(&mut writer).expect("room");
        let len = writer.written_len();

        let mut short = vec![0xAA; room.index(len)];
        let mut writer = CompoundWriter::new(&mut short);
        prop_assert_eq!(part.write(&mut writer), Err(WriteError::NoRoom));
        prop_assert_eq!(writer.written_len(), 0);
        let mut exact = vec![0xAA; len];
        prop_assert_eq!(part.write(&mut CompoundWriter::new(&mut exact)), Ok(()));
        prop_assert_eq!(exact, &out[..len]);
    }

    #[test]
    fn random_bodies_of_known_kinds_are_read_or_refused(
        kind in 200_u8..208,
        count in prop_oneof![0_u8..32, Just(1), Just(15)],
        padding: bool,
        remb: bool,
        words in vec(prop_oneof![any::<[u8; 4]>(), Just([0; 4]), Just([0, 0, 0, 1])], 0..12),
    ) {
        let first = 0x80 | u8::from(padding) << 5 | count;
        let mut datagram = vec![first, kind, 0, words.len() as u8];
        datagram.extend(words.as_flattened());
        if remb && let Some(name) = datagram.get_mut(12..16) {
            name.copy_from_slice(b"REMB");
        }
        check(&datagram);
    }

    #[test]
    fn lost_numbers_in_order_are_named_again(start: u16, gaps in vec(1_u16..40, 0..60)) {
        let lost: Vec<Sequence> = gaps
            .iter()
            .scan(Sequence::new(start), |last, gap| {
                *last = last.wrapping_add(*gap);
                Some(*last)
            })
            .collect();
        let pairs: Vec<NackPair> = NackPair::pack(lost.iter().copied()).collect();
        let named: Vec<Sequence> = pairs.iter().flat_map(|pair| pair.lost()).collect();
        prop_assert_eq!(named, lost);
        for two in pairs.windows(2) {
            prop_assert!(two[1].first.distance(two[0].first) > 16, "a pair is left half empty");
        }
    }

    #[test]
    fn status_of_many_packets_takes_few_bytes(runs in vec((option::of(any::<i16>()), 1_usize..3_000), 1..20)) {
        let deltas: Vec<Option<i16>> = runs.iter().flat_map(|(delta, len)| std::iter::repeat_n(*delta, *len)).collect();
        let mut out = vec![0xAA; 1 << 18];
        let mut writer = CompoundWriter::new(&mut out);
        let ssrc = Ssrc::new(1);
        writer.transport_cc(ssrc, ssrc, &TransportCcInfo::default(), &deltas).expect("room");
        let datagram = writer.finish();
        let arrived: usize = deltas.iter().flatten().map(|delta| if (0..256).contains(delta) { 1 } else { 2 }).sum();
        // Two chunks at most where one kind of status turns into another, one for the run.
        prop_assert!(datagram.len() <= 20 + arrived + 3 + runs.len() * 6);
        let Some(Ok(Packet::TransportFeedback(feedback))) = packets(datagram).next() else { panic!("feedback") };
        let TransportMessage::CongestionControl(feedback) = feedback.message else { panic!("of arrivals") };
        let read: Vec<Option<i16>> = feedback.arrivals().map(|arrival| arrival.delta_ticks).collect();
        prop_assert_eq!(read, deltas);
    }

    #[test]
    fn round_trips_are_measured_to_the_tick(
        sent in any::<u64>(),
        way_micros in 0_u64..60_000_000,
        held_micros in 0_u64..60_000_000,
    ) {
        let sent = NtpTimestamp::from_bits(sent);
        prop_assume!(sent.short() != 0);
        let (way, held) = (Duration::from_micros(way_micros), Duration::from_micros(held_micros));
        let block = ReportBlock {
            last_sender_report: sent.short(),
            delay_since_last_sender_report: short_from_duration(held),
            ..ReportBlock::default()
        };
        let arrival = sent.wrapping_add(way).wrapping_add(held);
        let measured = block.round_trip(arrival).expect("a sender report was there");
        // Three roundings of up to 2^-16 seconds each.
        prop_assert!(measured.abs_diff(way) < Duration::from_micros(46), "{measured:?} for {way:?}");
        prop_assert!(arrival.saturating_since(sent).abs_diff(way + held) <= Duration::from_nanos(2));
    }

    #[test]
    fn short_times_go_both_ways(short: u32) {
        let back = short_from_duration(duration_from_short(short));
        prop_assert!(short - back <= 1, "{short} became {back}");
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let words = || vec(any::<[u8; 4]>(), 0..8).prop_map(|words| words.concat());
    let ssrcs = |max| vec(ssrc(), 0..=max);
    prop_oneof![
        (ssrc(), info(), vec(block(), 0..32), words())
            .prop_map(|(ssrc, info, blocks, extension)| Parts::SenderReport(ssrc, info, blocks, extension)),
        (ssrc(), vec(block(), 0..32), words())
            .prop_map(|(ssrc, blocks, extension)| Parts::ReceiverReport(ssrc, blocks, extension)),
        vec((ssrc(), vec(item(), 0..5)), 0..6).prop_map(Parts::SourceDescription),
        (ssrcs(31), option::of(vec(any::<u8>(), 0..256))).prop_map(|(sources, reason)| Parts::Goodbye(sources, reason)),
        (0_u8..32, ssrc(), any::<[u8; 4]>(), words()).prop_map(|(subtype, ssrc, name, data)| Parts::Application {
            subtype,
            ssrc,
            name,
            data
        }),
        (ssrc(), ssrc(), vec(pair(), 1..20)).prop_map(|(sender, media, pairs)| Parts::Nack(sender, media, pairs)),
        (ssrc(), ssrc(), cc_info(), vec(delta(), 0..200))
            .prop_map(|(sender, media, info, deltas)| Parts::TransportCc(sender, media, info, deltas)),
        (ssrc(), ssrc()).prop_map(|(sender, media)| Parts::PictureLoss(sender, media)),
        (ssrc(), ssrc(), vec(slice_loss(), 1..20))
            .prop_map(|(sender, media, losses)| Parts::SliceLoss(sender, media, losses)),
        (ssrc(), vec(request(), 1..20)).prop_map(|(sender, requests)| Parts::FullIntra(sender, requests)),
        (ssrc(), 0_u64..1 << 18, 0_u32..=46, ssrcs(255)).prop_map(|(sender, mantissa, exponent, sources)| Parts::Remb(
            sender,
            mantissa << exponent,
            sources
        )),
        (205_u8..207, 5_u8..15, ssrc(), ssrc(), words()).prop_map(|(packet_type, format, sender, media, fci)| {
            Parts::Feedback(packet_type, format, sender, media, fci)
        }),
        (prop_oneof![0_u8..200, 207_u8..], 0_u8..32, words()).prop_map(|(packet_type, count, body)| Parts::Other(
            packet_type,
            count,
            body
        )),
    ]
}

fn ssrc() -> impl Strategy<Value = Ssrc> {
    any::<u32>().prop_map(Ssrc::new)
}

fn info() -> impl Strategy<Value = SenderInfo> {
    any::<(u64, u32, u32, u32)>().prop_map(|(ntp, rtp_timestamp, packet_count, octet_count)| SenderInfo {
        ntp: NtpTimestamp::from_bits(ntp),
        rtp_timestamp: Timestamp::new(rtp_timestamp),
        packet_count,
        octet_count,
    })
}

fn block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -0x80_0000..=0x7F_FFFF).prop_map(|(numbers, fraction_lost, cumulative_lost)| {
        let [ssrc, highest_sequence, jitter, last_sender_report, delay_since_last_sender_report] = numbers;
        ReportBlock {
            ssrc: Ssrc::new(ssrc),
            fraction_lost,
            cumulative_lost,
            highest_sequence,
            jitter,
            last_sender_report,
            delay_since_last_sender_report,
        }
    })
}

fn item() -> impl Strategy<Value = OwnedItem> {
    let text = || vec(any::<u8>(), 0..=255);
    prop_oneof![
        (prop_oneof![1_u8..8, 9_u8..], text()).prop_map(|(kind, text)| (kind, None, text)),
        (vec(any::<u8>(), 0..=254), vec(any::<u8>(), 0..=254)).prop_map(|(prefix, mut text)| {
            text.truncate(254 - prefix.len());
            (8, Some(prefix), text)
        }),
    ]
}

fn pair() -> impl Strategy<Value = NackPair> {
    any::<(u16, u16)>().prop_map(|(first, following)| NackPair { first: Sequence::new(first), following })
}

fn cc_info() -> impl Strategy<Value = TransportCcInfo> {
    (any::<u16>(), -0x80_0000..=0x7F_FFFF, any::<u8>()).prop_map(|(base, reference_time, feedback_count)| {
        TransportCcInfo { base_sequence: Sequence::new(base), reference_time, feedback_count }
    })
}

/// Mostly packets that came soon, so that all chunks are in use.
fn delta() -> impl Strategy<Value = Option<i16>> {
    prop_oneof![2 => Just(None), 6 => (0_i16..256).prop_map(Some), 1 => any::<i16>().prop_map(Some)]
}

fn slice_loss() -> impl Strategy<Value = SliceLoss> {
    (0_u16..1 << 13, 0_u16..1 << 13, 0_u8..1 << 6).prop_map(|(first, number, picture_id)| SliceLoss {
        first,
        number,
        picture_id,
    })
}

fn request() -> impl Strategy<Value = IntraRequest> {
    (ssrc(), any::<u8>()).prop_map(|(ssrc, sequence)| IntraRequest { ssrc, sequence })
}
