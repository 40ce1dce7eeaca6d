//! What is written is read back, in every combination of parts.

mod vectors;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use voice_rtp::extension::{Element, ElementWriter, Elements, Form, Stop};
use voice_rtp::{
    Extension, Layout, Packet, RtpHeader, Sequence, SequenceExtender, Ssrc, Timestamp, TimestampExtender,
    unencrypted_len,
};

fn header() -> impl Strategy<Value = RtpHeader> {
    (any::<bool>(), 0_u8..128, any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
        |(marker, payload_type, sequence, timestamp, ssrc)| RtpHeader {
            marker,
            payload_type,
            sequence: Sequence::new(sequence),
            timestamp: Timestamp::new(timestamp),
            ssrc: Ssrc::new(ssrc),
        },
    )
}

/// A profile, and a body of whole words.
fn extension() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let profile = prop_oneof![Just(0xBEDE), 0x1000_u16..0x1010, any::<u16>()];
    (profile, vec(any::<u8>(), 0..80)).prop_map(|(profile, mut body)| {
        body.truncate(body.len() / 4 * 4);
        (profile, body)
    })
}

/// A form and elements that it can hold.
fn elements() -> impl Strategy<Value = (Form, Vec<(u8, Vec<u8>)>)> {
    let one_byte = vec((1_u8..=14, vec(any::<u8>(), 1..=16)), 0..12);
    let two_byte = vec((1_u8..=255, vec(any::<u8>(), 0..=255)), 0..12);
    prop_oneof![
        one_byte.prop_map(|elements| (Form::OneByte, elements)),
        (0_u8..16, two_byte).prop_map(|(app_bits, elements)| (Form::TwoByte { app_bits }, elements)),
    ]
}

proptest! {
    #[test]
    fn every_combination_of_parts_is_read_as_it_was_written(
        header in header(),
        csrcs in vec(any::<u32>().prop_map(Ssrc::new), 0..=15),
        extension in option::of(extension()),
        payload in vec(any::<u8>(), 0..300),
        padding_len: u8,
        spare in 0_usize..20,
    ) {
        let extension = extension.as_ref().map(|(profile, body)| Extension::new(*profile, body));
        let layout = Layout { header, csrcs: &csrcs, extension, padding_len };
        let mut out = vec![0xAA; 1_200];
        let len = layout.write(&payload, &mut out).expect("room");
        prop_assert!(out[len..].iter().all(|&byte| byte == 0xAA), "written behind the end");

        let packet = Packet::parse(&out[..len]).expect("a packet");
        prop_assert_eq!(packet.header(), header);
        prop_assert_eq!(packet.csrcs().collect::<Vec<_>>(), &csrcs[..]);
        prop_assert_eq!(packet.extension(), extension);
        prop_assert_eq!(packet.payload(), &payload[..]);
        prop_assert_eq!(packet.padding_len(), usize::from(padding_len));
        prop_assert_eq!(packet.payload_range().start, layout.header_len().expect("it was written"));
        let body_len = extension.map_or(0, |extension| extension.body().len());
        prop_assert_eq!(unencrypted_len(&out).expect("a packet"), packet.payload_range().start - body_len);

        // Around a payload that is there already, and in exactly the room there must be.
        let mut around = vec![0xAA; len + spare];
        around[packet.payload_range()].copy_from_slice(&payload);
        prop_assert_eq!(layout.write_around(payload.len(), &mut around), Ok(packet.payload_range()));
        prop_assert_eq!(&around[..len], &out[..len]);
        prop_assert!(layout.write(&payload, &mut around[..len - 1]).is_err());
    }

    #[test]
    fn elements_are_read_as_they_were_written((form, elements) in elements()) {
        let mut body = [0xAA; 4_000];
        let mut writer = ElementWriter::new(form, &mut body);
        for (id, data) in &elements {
            writer.push(*id, data).expect("the form holds it");
        }
        let extension = writer.finish();
        prop_assert_eq!(extension.form(), Some(form));
        prop_assert_eq!(extension.body().len() % 4, 0);

        let mut walk = extension.elements();
        let read: Vec<_> = walk.by_ref().map(|element| (element.id, element.data.to_vec())).collect();
        prop_assert_eq!(walk.stop(), Some(Stop::End));
        for (id, _) in &elements {
            let first = elements.iter().find(|(other, _)| other == id).map(|(_, data)| &data[..]);
            prop_assert_eq!(extension.element(*id), first);
        }
        prop_assert_eq!(read, elements);
    }

    #[test]
    fn any_body_is_walked_inside_itself_and_what_was_read_can_be_written(
        two_byte: bool,
        body in vec(prop_oneof![Just(0_u8), 0_u8..4, any::<u8>()], 0..200),
    ) {
        let form = if two_byte { Form::TwoByte { app_bits: 0 } } else { Form::OneByte };
        let mut rewritten = vec![0; body.len() + 4];
        let mut writer = ElementWriter::new(form, &mut rewritten);
        let mut walk = Elements::new(form, &body);
        let range = body.as_ptr_range();
        let read: Vec<Element<'_>> = walk.by_ref().collect();
        for element in &read {
            prop_assert!(range.start <= element.data.as_ptr_range().start);
            prop_assert!(element.data.as_ptr_range().end <= range.end);
            writer.push(element.id, element.data).expect("as much as was read");
        }
        prop_assert!(walk.stop().is_some());
        prop_assert_eq!(writer.finish().elements().collect::<Vec<_>>(), read);
    }

    #[test]
    fn sequence_arithmetic_wraps(start: u16, packets: u16) {
        let (start, later) = (Sequence::new(start), Sequence::new(start).wrapping_add(packets));
        prop_assert_eq!(i32::from(later.distance(start)).rem_euclid(1 << 16), i32::from(packets));
        // Half way around is as far ahead as behind.
        if packets != 1 << 15 {
            prop_assert_eq!(start.distance(later), -later.distance(start));
        }
    }

    #[test]
    fn timestamp_arithmetic_wraps(start: u32, ticks: u32) {
        let (start, later) = (Timestamp::new(start), Timestamp::new(start).wrapping_add(ticks));
        prop_assert_eq!(i64::from(later.distance(start)).rem_euclid(1 << 32), i64::from(ticks));
        if ticks != 1 << 31 {
            prop_assert_eq!(start.distance(later), -later.distance(start));
        }
    }

    /// A stream that goes back and forth, but never further than half a turn from its highest number.
    #[test]
    fn sequences_extend_to_where_the_stream_really_is(
        start: u16,
        steps in vec(-32_000_i64..=32_767, 1..300),
    ) {
        let mut extender = SequenceExtender::new();
        let origin = extender.extend(Sequence::new(start)) as i64;
        let mut highest = 0;
        for step in steps {
            let real = (highest + step).max(-32_768);
            let number = Sequence::new((i64::from(start) + real).rem_euclid(1 << 16) as u16);
            prop_assert_eq!(extender.peek(number) as i64, origin + real);
            prop_assert_eq!(extender.extend(number) as i64, origin + real);
            highest = highest.max(real);
            prop_assert_eq!(extender.highest(), Some((origin + highest) as u64));
        }
    }

    #[test]
    fn timestamps_extend_to_where_the_stream_really_is(
        start: u32,
        steps in vec(-(1_i64 << 31) + 1..1 << 31, 1..300),
    ) {
        let mut extender = TimestampExtender::new();
        let origin = extender.extend(Timestamp::new(start)) as i64;
        let mut highest = 0;
        for step in steps {
            let real = (highest + step).max(-(1 << 31));
            let number = Timestamp::new((i64::from(start) + real).rem_euclid(1 << 32) as u32);
            prop_assert_eq!(extender.peek(number) as i64, origin + real);
            prop_assert_eq!(extender.extend(number) as i64, origin + real);
            highest = highest.max(real);
            prop_assert_eq!(extender.highest(), Some((origin + highest) as u64));
        }
    }
}

#[test]
fn valid_packets_are_written_as_they_are_in_the_vectors() {
    let mut written = 0;
    for vector in vectors::list(&vectors::rtp(), "parse") {
        let datagram = vectors::bytes(vector, "packet");
        let packet = Packet::parse(&datagram).expect("valid");
        let csrcs: Vec<_> = packet.csrcs().collect();
        let layout = Layout {
            header: packet.header(),
            csrcs: &csrcs,
            extension: packet.extension(),
            padding_len: u8::try_from(packet.padding_len()).expect("it was one byte"),
        };
        // Of padding only the count is read.
        let mut expected = datagram.clone();
        if let Some((_, fill)) = expected[packet.payload_range().end..].split_last_mut() {
            fill.fill(0);
        }
        let mut out = vec![0xAA; datagram.len()];
        assert_eq!(layout.write(packet.payload(), &mut out), Ok(datagram.len()), "{}", vectors::text(vector, "name"));
        assert_eq!(out, expected, "{}", vectors::text(vector, "name"));
        written += 1;
    }
    assert!(written > 15);
}

/// Every list of elements in the vectors that is whole is written as it is there, but for padding
/// between elements.
#[test]
fn elements_are_written_as_they_are_in_the_vectors() {
    let mut written = 0;
    for vector in vectors::list(&vectors::rtp(), "one_byte_extensions") {
        if vectors::text(vector, "stop") != "end" || vectors::text(vector, "name").contains("padding") {
            continue;
        }
        let body = vectors::bytes(vector, "body");
        let mut out = vec![0xAA; body.len()];
        let mut writer = ElementWriter::new(Form::OneByte, &mut out);
        for element in vector["elements"].as_array().expect("a list") {
            let id = vectors::number(element, "id") as u8;
            writer.push(id, &vectors::bytes(element, "data")).expect("room");
        }
        assert_eq!(writer.finish().body(), body, "{}", vectors::text(vector, "name"));
        written += 1;
    }
    assert!(written > 5);
}

#[test]
fn the_packet_of_another_profile_has_elements_of_the_two_byte_form() {
    let all = vectors::rtp();
    let vector = vectors::list(&all, "parse")
        .iter()
        .find(|vector| vectors::text(vector, "name") == "extension_other_profile")
        .expect("the vector with profile 0x1000");
    let datagram = vectors::bytes(vector, "packet");
    let extension = Packet::parse(&datagram).expect("valid").extension().expect("an extension");
    assert_eq!(extension.form(), Some(Form::TwoByte { app_bits: 0 }));
    let read: Vec<_> = extension.elements().map(|element| (element.id, element.data)).collect();
    assert_eq!(read, [(1, &[5][..])]);
}
