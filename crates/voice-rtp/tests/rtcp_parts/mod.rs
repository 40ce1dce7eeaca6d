//! What RTCP packets say, with owned parts, and what must hold for every datagram.

use voice_rtp::Ssrc;
use voice_rtp::rtcp::{
    Application, CompoundWriter, IntraRequest, Item, NackPair, Packet, PayloadMessage, ReportBlock, SenderInfo,
    SliceLoss, TransportCcInfo, TransportMessage, WriteError, packets,
};

/// What one packet says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Parts {
    SenderReport(Ssrc, SenderInfo, Vec<ReportBlock>, Vec<u8>),
    ReceiverReport(Ssrc, Vec<ReportBlock>, Vec<u8>),
    SourceDescription(Vec<(Ssrc, Vec<OwnedItem>)>),
    Goodbye(Vec<Ssrc>, Option<Vec<u8>>),
    Application {
        subtype: u8,
        ssrc: Ssrc,
        name: [u8; 4],
        data: Vec<u8>,
    },
    Nack(Ssrc, Ssrc, Vec<NackPair>),
    TransportCc(Ssrc, Ssrc, TransportCcInfo, Vec<Option<i16>>),
    PictureLoss(Ssrc, Ssrc),
    SliceLoss(Ssrc, Ssrc, Vec<SliceLoss>),
    FullIntra(Ssrc, Vec<IntraRequest>),
    Remb(Ssrc, u64, Vec<Ssrc>),
    /// Feedback of another format: type, format, sender, media, content.
    Feedback(u8, u8, Ssrc, Ssrc, Vec<u8>),
    Other(u8, u8, Vec<u8>),
}

/// A type, the prefix of a private item, and the text.
pub(crate) type OwnedItem = (u8, Option<Vec<u8>>, Vec<u8>);

impl Parts {
    /// Takes a packet apart by its accessors.
    pub(crate) fn of(packet: &Packet<'_>) -> Self {
        match packet {
            Packet::SenderReport(report) => {
                assert_eq!(report.reports.is_empty(), report.reports.iter().next().is_none());
                let blocks = report.reports.iter().collect();
                Self::SenderReport(report.ssrc, report.info, blocks, report.profile_extension.to_vec())
            }
            Packet::ReceiverReport(report) => {
                Self::ReceiverReport(report.ssrc, report.reports.iter().collect(), report.profile_extension.to_vec())
            }
            Packet::SourceDescription(description) => Self::SourceDescription(
                description.chunks().map(|chunk| (chunk.ssrc(), chunk.items().map(owned).collect())).collect(),
            ),
            Packet::Goodbye(goodbye) => {
                Self::Goodbye(goodbye.sources().collect(), goodbye.reason().map(<[u8]>::to_vec))
            }
            Packet::Application(Application { subtype, ssrc, name, data }) => {
                Self::Application { subtype: *subtype, ssrc: *ssrc, name: *name, data: data.to_vec() }
            }
            Packet::TransportFeedback(feedback) => {
                let (sender, media) = (feedback.sender, feedback.media);
                match feedback.message {
                    TransportMessage::Nack(nack) => {
                        let pairs: Vec<NackPair> = nack.pairs().collect();
                        assert!(nack.lost().eq(pairs.iter().flat_map(|pair| pair.lost())));
                        Self::Nack(sender, media, pairs)
                    }
                    TransportMessage::CongestionControl(cc) => {
                        let mut next = cc.info.base_sequence;
                        let deltas = cc.arrivals().map(|arrival| {
                            assert_eq!(arrival.sequence, next);
                            next = next.wrapping_add(1);
                            arrival.delta_ticks
                        });
                        let deltas: Vec<_> = deltas.collect();
                        assert_eq!(deltas.len(), usize::from(cc.status_count));
                        Self::TransportCc(sender, media, cc.info, deltas)
                    }
                    TransportMessage::Other { format, fci } => Self::Feedback(205, format, sender, media, fci.to_vec()),
                    other => panic!("{other:?}"),
                }
            }
            Packet::PayloadFeedback(feedback) => {
                let (sender, media) = (feedback.sender, feedback.media);
                match feedback.message {
                    PayloadMessage::PictureLoss => Self::PictureLoss(sender, media),
                    PayloadMessage::SliceLoss(losses) => Self::SliceLoss(sender, media, losses.iter().collect()),
                    PayloadMessage::FullIntra(requests) => Self::FullIntra(sender, requests.iter().collect()),
                    PayloadMessage::Remb(remb) => Self::Remb(sender, remb.bitrate(), remb.sources().collect()),
                    PayloadMessage::Other { format, fci } => Self::Feedback(206, format, sender, media, fci.to_vec()),
                    other => panic!("{other:?}"),
                }
            }
            Packet::Other(other) => Self::Other(other.packet_type, other.count, other.body.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    /// Puts the packet together by the method of its kind.
    pub(crate) fn write(&self, writer: &mut CompoundWriter<'_>) -> Result<(), WriteError> {
        match self {
            Self::SenderReport(ssrc, info, blocks, extension) => writer.sender_report(*ssrc, info, blocks, extension),
            Self::ReceiverReport(ssrc, blocks, extension) => writer.receiver_report(*ssrc, blocks, extension),
            Self::SourceDescription(chunks) => {
                writer.source_description(chunks.iter().map(|(ssrc, items)| (*ssrc, items.iter().map(borrowed))))
            }
            Self::Goodbye(sources, reason) => writer.goodbye(sources, reason.as_deref()),
            Self::Application { subtype, ssrc, name, data } => {
                writer.application(&Application { subtype: *subtype, ssrc: *ssrc, name: *name, data })
            }
            Self::Nack(sender, media, pairs) => writer.nack(*sender, *media, pairs.iter().copied()),
            Self::TransportCc(sender, media, info, deltas) => writer.transport_cc(*sender, *media, info, deltas),
            Self::PictureLoss(sender, media) => writer.picture_loss(*sender, *media),
            Self::SliceLoss(sender, media, losses) => writer.slice_loss(*sender, *media, losses.iter().copied()),
            Self::FullIntra(sender, requests) => writer.full_intra(*sender, requests.iter().copied()),
            Self::Remb(sender, bitrate, sources) => writer.remb(*sender, *bitrate, sources),
            Self::Feedback(packet_type, format, sender, media, fci) => {
                let mut body = [sender.get().to_be_bytes(), media.get().to_be_bytes()].concat();
                body.extend(fci);
                writer.other(*packet_type, *format, &body)
            }
            Self::Other(packet_type, count, body) => writer.other(*packet_type, *count, body),
        }
    }

    /// The same with a bitrate that can be written: the largest one means all that are beyond 64 bits.
    fn writable(mut self) -> Self {
        if let Self::Remb(_, bitrate, _) = &mut self {
            *bitrate = (*bitrate).min(0xFFFF_C000_0000_0000);
        }
        self
    }
}

/// Checks what must hold for every datagram: the walk ends, views lie inside, packets written as they
/// were read have the same bytes, and packets made anew say the same.
pub(crate) fn check(datagram: &[u8]) {
    let mut walk = packets(datagram);
    let mut read = Vec::new();
    let mut copy = vec![0xAA; datagram.len()];
    let mut writer = CompoundWriter::new(&mut copy);
    let mut ended_well = true;
    while let Some(next) = walk.next() {
        let Ok(packet) = next else {
            ended_well = false;
            break;
        };
        assert!(read.len() < datagram.len(), "each packet takes some of the datagram");
        views_inside(&packet, datagram);
        writer.packet(&packet, walk.padding_len()).expect("there is room for what was read");
        read.push(packet);
    }
    assert!(walk.next().is_none(), "an ended walk stays ended");
    assert_eq!(ended_well, packets(datagram).all(|packet| packet.is_ok()));

    let padding_len = usize::from(walk.padding_len());
    let written = writer.finish();
    let fill_end = written.len().saturating_sub(1);
    let fill_start = if padding_len == 0 { fill_end } else { written.len() - padding_len };
    assert_eq!(written[..fill_start], datagram[..fill_start], "all but the fill of padding");
    assert_eq!(written[fill_end..], datagram[fill_end..written.len()]);
    if ended_well {
        assert_eq!(written.len(), datagram.len());
    }

    // Made anew, packets may be longer: other chunks of times, whole words of zeros.
    let mut anew = vec![0xAA; datagram.len() * 2 + 64];
    let mut writer = CompoundWriter::new(&mut anew);
    let mut parts: Vec<Parts> = read.iter().map(|packet| Parts::of(packet).writable()).collect();
    if padding_len % 4 != 0 {
        // Only together with its padding it is in whole words, unless the writer fills them itself.
        let mut room = vec![0; datagram.len() * 2 + 64];
        let last = parts.last().map(|last| last.write(&mut CompoundWriter::new(&mut room)));
        if last == Some(Err(WriteError::Unaligned)) {
            parts.pop();
        }
    }
    for part in &parts {
        part.write(&mut writer).expect("what was read can be written");
    }
    let anew: Vec<Parts> = packets(writer.finish()).map_while(Result::ok).map(|packet| Parts::of(&packet)).collect();
    assert_eq!(anew, parts);
}

fn views_inside(packet: &Packet<'_>, datagram: &[u8]) {
    let inside = |view: &[u8]| {
        let (outer, view) = (datagram.as_ptr_range(), view.as_ptr_range());
        assert!(outer.start <= view.start && view.end <= outer.end, "a view leaves the datagram");
    };
    match packet {
        Packet::SenderReport(report) => inside(report.profile_extension),
        Packet::ReceiverReport(report) => inside(report.profile_extension),
        Packet::SourceDescription(description) => {
            for item in description.chunks().flat_map(|chunk| chunk.items()) {
                let (prefix, text) = texts(item);
                inside(prefix.unwrap_or(text));
                inside(text);
            }
        }
        Packet::Goodbye(goodbye) => inside(goodbye.reason().unwrap_or(datagram)),
        Packet::Application(application) => inside(application.data),
        Packet::TransportFeedback(feedback) => {
            if let TransportMessage::Other { fci, .. } = feedback.message {
                inside(fci);
            }
        }
        Packet::PayloadFeedback(feedback) => {
            if let PayloadMessage::Other { fci, .. } = feedback.message {
                inside(fci);
            }
        }
        Packet::Other(other) => inside(other.body),
        other => panic!("{other:?}"),
    }
}

fn texts<'a>(item: Item<'a>) -> (Option<&'a [u8]>, &'a [u8]) {
    match item {
        Item::Private { prefix, value } => (Some(prefix), value),
        Item::Cname(text)
        | Item::Name(text)
        | Item::Email(text)
        | Item::Phone(text)
        | Item::Location(text)
        | Item::Tool(text)
        | Item::Note(text)
        | Item::Other { text, .. } => (None, text),
        other => panic!("{other:?}"),
    }
}

fn owned(item: Item<'_>) -> OwnedItem {
    let kind = match item {
        Item::Cname(_) => 1,
        Item::Name(_) => 2,
        Item::Email(_) => 3,
        Item::Phone(_) => 4,
        Item::Location(_) => 5,
        Item::Tool(_) => 6,
        Item::Note(_) => 7,
        Item::Private { .. } => 8,
        Item::Other { kind, .. } => kind,
        other => panic!("{other:?}"),
    };
    let (prefix, text) = texts(item);
    (kind, prefix.map(<[u8]>::to_vec), text.to_vec())
}

fn borrowed((kind, prefix, text): &OwnedItem) -> Item<'_> {
    match (kind, prefix) {
        (_, Some(prefix)) => Item::Private { prefix, value: text },
        (1, None) => Item::Cname(text),
        (2, None) => Item::Name(text),
        (3, None) => Item::Email(text),
        (4, None) => Item::Phone(text),
        (5, None) => Item::Location(text),
        (6, None) => Item::Tool(text),
        (7, None) => Item::Note(text),
        (&kind, None) => Item::Other { kind, text },
    }
}
