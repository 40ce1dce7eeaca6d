//! RTP packets, sealed and plain, and what a socket takes a datagram for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voice_rtp::{
    Kind, Packet, RtpHeader, SequenceExtender, classify,
    extension::{Elements, Form, Stop},
    unencrypted_len,
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
    walk(datagram);

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
        walk(extension.body());
        assert!(extension.elements().count() <= extension.body().len());
        if let Some(level) = extension.audio_level() {
            assert!(level.minus_dbov() < 128);
        }
        let _ = extension.speaker_flags();
    } else {
        assert_eq!(clear_len, Ok(len));
    }
    assert_eq!(packet.payload_range().start, len);

    extend(&packet);
});

/// Elements lie inside the body one after the other, and the walk says how it ended.
fn walk(body: &[u8]) {
    let mut elements = Elements::new(Form::OneByte, body);
    let mut len = 0;
    for element in &mut elements {
        assert!((1..15).contains(&element.id) && (1..=16).contains(&element.data.len()));
        len += 1 + element.data.len();
    }
    assert!(len <= body.len());
    assert!(elements.stop().is_some());
    assert!(elements.next().is_none(), "an ended walk stays ended");
    if body.iter().all(|byte| *byte == 0) {
        assert_eq!((elements.stop(), len), (Some(Stop::End), 0));
    }
}

/// Takes the payload as the sequence numbers that follow the packet's.
fn extend(packet: &Packet<'_>) {
    let mut extender = SequenceExtender::new();
    let first = extender.extend(packet.header().sequence);
    assert_eq!(extender.highest(), Some(first));
    for bytes in packet.payload().chunks_exact(2) {
        let sequence = voice_rtp::Sequence::new(u16::from_be_bytes([bytes[0], bytes[1]]));
        let highest = extender.highest().expect("one number was seen");
        let extended = extender.extend(sequence);
        assert_eq!(extended & 0xFFFF, u64::from(sequence.get()));
        assert!(extended.abs_diff(highest) <= 1 << 15);
        assert_eq!(extender.highest(), Some(highest.max(extended)));
    }
}
