//! RTP packets, sealed and plain, and what a socket takes a datagram for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voice_rtp::extension::{ElementWriter, Elements, Form, Stop};
use voice_rtp::{
    Extension, Jitter, Kind, Layout, Packet, Reception, RtpHeader, Sequence, SequenceExtender, Ssrc, Timestamp,
    TimestampExtender, classify, unencrypted_len,
};

fuzz_target!(|datagram: &[u8]| {
    let kind = classify(datagram);
    let header = RtpHeader::parse(datagram);
    let clear_len = unencrypted_len(datagram);

    if kind == Kind::Rtp {
        assert!(header.is_ok(), "RTP has a header");
    }
    if let Ok(header) = header {
        let mut written = [0; RtpHeader::LEN];
        header.write(&mut written);
        // The first byte holds the flags for what follows, which a bare header has not.
        assert_eq!(written[1..], datagram[1..RtpHeader::LEN]);
        assert_eq!(written[0], datagram[0] & 0xC0);
        assert_eq!(RtpHeader::parse(&written), Ok(header));
    }
    if let Ok(clear_len) = clear_len {
        assert!((RtpHeader::LEN..=datagram.len()).contains(&clear_len));
        // Only the bytes that it counts decide about it: the rest may be ciphertext.
        assert_eq!(unencrypted_len(&datagram[..clear_len]), Ok(clear_len));
        assert!(unencrypted_len(&datagram[..clear_len - 1]).is_err());
    }
    walk(Form::OneByte, datagram);
    walk(Form::TwoByte { app_bits: 0 }, datagram);

    let Ok(packet) = Packet::parse(datagram) else { return };
    assert_eq!(Ok(packet.header()), header);
    assert_eq!(packet.as_bytes(), datagram);
    assert_eq!(&datagram[packet.payload_range()], packet.payload());
    assert_eq!(packet.payload_range().end + packet.padding_len(), datagram.len());

    let csrcs = packet.csrcs();
    assert_eq!(csrcs.len(), usize::from(datagram[0] & 0x0F));
    let mut len = RtpHeader::LEN + 4 * csrcs.count();
    assert_eq!(packet.extension().is_some(), packet.extension_range().is_some());
    if let (Some(extension), Some(range)) = (packet.extension(), packet.extension_range()) {
        assert_eq!(&datagram[range.clone()], extension.body());
        assert_eq!(range.start, len + 4);
        assert_eq!(clear_len, Ok(range.start));
        len = range.end;
        look_into(&extension);
    } else {
        assert_eq!(clear_len, Ok(len));
    }
    assert_eq!(packet.payload_range().start, len);

    rewrite(&packet);
    follow(&packet);
});

/// Elements lie inside the body one after the other, the walk says how it ended, and what was read
/// is read again when it is written.
fn walk(form: Form, body: &[u8]) {
    let (ids, lens) = match form {
        Form::OneByte => (1..=14, 1..=16),
        Form::TwoByte { .. } => (1..=255, 0..=255),
    };
    let mut room = vec![0; body.len() + 4];
    let mut writer = ElementWriter::new(form, &mut room);
    let mut elements = Elements::new(form, body);
    let mut at = body.as_ptr();
    for element in &mut elements {
        assert!(ids.contains(&element.id) && lens.contains(&element.data.len()));
        let range = element.data.as_ptr_range();
        assert!(at <= range.start && range.end <= body.as_ptr_range().end);
        at = range.end;
        writer.push(element.id, element.data).expect("it has been in as much room");
    }
    assert!(elements.stop().is_some());
    assert!(elements.next().is_none(), "an ended walk stays ended");
    if body.iter().all(|byte| *byte == 0) {
        assert_eq!((elements.stop(), at), (Some(Stop::End), body.as_ptr()));
    }

    let written = writer.finish();
    assert_eq!(written.form(), Some(form));
    assert!(Elements::new(form, body).eq(written.elements()));
    let mut walk = written.elements();
    assert!(walk.by_ref().count() <= body.len());
    assert_eq!(walk.stop(), Some(Stop::End));
}

/// What the elements say is what is written for them.
fn look_into(extension: &Extension<'_>) {
    let Some(form) = extension.form() else {
        assert_eq!(extension.elements().count(), 0);
        return;
    };
    assert_eq!(form.profile(), extension.profile());
    walk(form, extension.body());
    let holds = |data: &[u8]| extension.elements().any(|element| element.data == data);
    assert!(extension.audio_level().is_none_or(|level| holds(&[level.to_byte()])));
    assert!(extension.speaker_flags().is_none_or(|flags| holds(&[flags.to_byte()])));
    assert!(extension.video_orientation().is_none_or(|orientation| holds(&[orientation.to_byte()])));
    assert!(extension.absolute_send_time().is_none_or(|time| holds(&time.to_bytes())));
    assert!(extension.transmission_offset().is_none_or(|offset| holds(&offset.to_bytes())));
    assert!(extension.playout_delay().is_none_or(|delay| holds(&delay.to_bytes())));
    assert!(extension.transport_sequence().is_none_or(|number| holds(&number.get().to_be_bytes())));
    for element in extension.elements() {
        assert!(extension.element(element.id).is_some());
    }
}

/// A packet of the same parts is the same packet, but for the padding before its count.
fn rewrite(packet: &Packet<'_>) {
    let csrcs: Vec<_> = packet.csrcs().collect();
    let padding_len = u8::try_from(packet.padding_len()).expect("it was one byte");
    let layout = Layout { header: packet.header(), csrcs: &csrcs, extension: packet.extension(), padding_len };
    let len = packet.as_bytes().len();
    let mut written = vec![0xAA; len];
    assert_eq!(layout.write(packet.payload(), &mut written), Ok(len));
    let end = packet.payload_range().end;
    assert_eq!(written[..end], packet.as_bytes()[..end]);
    assert_eq!(written.last(), packet.as_bytes().last());
    assert!(layout.write(packet.payload(), &mut written[1..]).is_err(), "a byte less is too little");

    let again = Packet::parse(&written).expect("it was written");
    assert_eq!((again.header(), again.extension()), (packet.header(), packet.extension()));
    assert_eq!((again.payload(), again.padding_len()), (packet.payload(), packet.padding_len()));
    let mut around = written.clone();
    assert_eq!(layout.write_around(packet.payload().len(), &mut around), Ok(packet.payload_range()));
    assert_eq!(around, written);
}

/// Takes the payload as the sequence numbers and timestamps that follow the packet's.
fn follow(packet: &Packet<'_>) {
    let mut numbers = SequenceExtender::new();
    let mut times = TimestampExtender::new();
    let mut reception = Reception::with_probation(Ssrc::new(1), (packet.header().timestamp.get() % 4) as u8);
    let mut jitter = Jitter::new();
    let first = numbers.extend(packet.header().sequence);
    assert_eq!(numbers.highest(), Some(first));
    let mut taken = 0;
    for bytes in packet.payload().chunks_exact(4) {
        let word = u32::from_be_bytes(bytes.try_into().expect("4 bytes"));
        let (sequence, timestamp) = (Sequence::new(word as u16), Timestamp::new(word));

        let highest = numbers.highest().expect("one number was seen");
        let extended = numbers.extend(sequence);
        assert_eq!(extended & 0xFFFF, u64::from(sequence.get()));
        assert!(extended.abs_diff(highest) <= 1 << 15);
        assert_eq!(numbers.highest(), Some(highest.max(extended)));

        let before = times.highest();
        let extended = times.extend(timestamp);
        assert_eq!(extended & 0xFFFF_FFFF, u64::from(word));
        assert!(before.is_none_or(|highest| extended.abs_diff(highest) <= 1 << 31));
        assert_eq!(times.highest(), before.max(Some(extended)));

        taken += 1;
        reception.receive(sequence, timestamp, Timestamp::new(word.rotate_left(7)));
        jitter.update(timestamp, Timestamp::new(word.rotate_left(7)));
        assert!(jitter.ticks() <= 1 << 31);
        assert!(reception.received() <= taken);
        assert_eq!(reception.is_valid(), reception.highest().is_some());
        if word.is_multiple_of(5) {
            let lost = reception.lost();
            let block = reception.report_block();
            assert_eq!((block.cumulative_lost, block.jitter), (lost, reception.jitter().ticks()));
            assert_eq!(Some(block.highest_sequence), reception.highest().map(|highest| highest as u32).or(Some(0)));
            assert_eq!(reception.report_block().fraction_lost, 0, "nothing was received since");
        }
    }
}
