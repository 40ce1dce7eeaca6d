//! Writing packets.

use core::fmt;

use super::description::{END, fill_len};
use super::{
    APPLICATION, Application, COUNT, GOODBYE, Item, Packet, RECEIVER_REPORT, ReportBlock, SENDER_REPORT,
    SOURCE_DESCRIPTION, START_LEN, SenderInfo,
};
use crate::header::{PADDING, VERSION};
use crate::number::Ssrc;

mod body;
mod feedback;
mod packet;

use self::body::Body;
use self::packet::{kind_and_count, put_packet};

/// Writes plain RTCP packets one behind the other into a buffer.
///
/// Lengths, counts and fill bytes are set by the writer. A packet that is refused leaves no trace:
/// what was written before stays, and others may follow.
///
/// RFC 3550, section 6.1, wants a report first and a [`source_description`](Self::source_description)
/// with a canonical name behind it; RFC 5506 allows single packets of any kind.
///
/// ```
/// use voice_rtp::Ssrc;
/// use voice_rtp::rtcp::{CompoundWriter, Item, Packet, packets};
///
/// let ssrc = Ssrc::new(7);
/// let mut out = [0; 128];
/// let mut writer = CompoundWriter::new(&mut out);
/// writer.receiver_report(ssrc, &[], &[])?;
/// writer.source_description([(ssrc, [Item::Cname(b"a@b")])])?;
/// writer.goodbye(&[ssrc], Some(b"bye"))?;
/// let datagram = writer.finish();
///
/// assert_eq!(datagram.len(), 8 + 16 + 12);
/// let Some(Ok(Packet::Goodbye(goodbye))) = packets(datagram).nth(2) else { panic!() };
/// assert_eq!(goodbye.reason(), Some(&b"bye"[..]));
/// # Ok::<(), voice_rtp::rtcp::WriteError>(())
/// ```
#[derive(Debug)]
pub struct CompoundWriter<'b> {
    out: &'b mut [u8],
    /// How much of it is written.
    len: usize,
    /// Where the last packet starts.
    last: usize,
    /// Whether the last packet has padding, so that none may follow.
    padded: bool,
}

impl<'b> CompoundWriter<'b> {
    /// Makes a writer that starts at the start of `out`.
    #[must_use]
    pub const fn new(out: &'b mut [u8]) -> Self {
        Self { out, len: 0, last: 0, padded: false }
    }

    /// Writes a sender report: RFC 3550, section 6.4.1.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooMany`] for more than 31 reports, [`WriteError::Unaligned`] for an extension
    /// that is not in whole words; see [`WriteError`] for the rest.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        info: &SenderInfo,
        reports: &[ReportBlock],
        profile_extension: &[u8],
    ) -> Result<(), WriteError> {
        self.packet_of(SENDER_REPORT, count(reports.len())?, |body| {
            body.put(&ssrc.get().to_be_bytes())?;
            body.put(&info.to_bytes())?;
            reports.iter().try_for_each(|report| body.put(&report.to_bytes()))?;
            body.put(profile_extension)
        })
    }

    /// Writes a receiver report: RFC 3550, section 6.4.2.
    ///
    /// # Errors
    ///
    /// As for [`sender_report`](Self::sender_report).
    pub fn receiver_report(
        &mut self,
        ssrc: Ssrc,
        reports: &[ReportBlock],
        profile_extension: &[u8],
    ) -> Result<(), WriteError> {
        self.packet_of(RECEIVER_REPORT, count(reports.len())?, |body| {
            body.put(&ssrc.get().to_be_bytes())?;
            reports.iter().try_for_each(|report| body.put(&report.to_bytes()))?;
            body.put(profile_extension)
        })
    }

    /// Writes what is to be said about sources: RFC 3550, section 6.5.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooMany`] for more than 31 sources, [`WriteError::TooLong`] for a text of more
    /// than 255 bytes, [`WriteError::OutOfRange`] for an item of type 0; see [`WriteError`] for the
    /// rest.
    pub fn source_description<'i, C, I>(&mut self, chunks: C) -> Result<(), WriteError>
    where
        C: IntoIterator<Item = (Ssrc, I)>,
        I: IntoIterator<Item = Item<'i>>,
    {
        let mut sources = 0;
        self.packet_counted(SOURCE_DESCRIPTION, 0, |body| {
            for (ssrc, items) in chunks {
                sources += 1;
                count(sources)?;
                body.put(&ssrc.get().to_be_bytes())?;
                let start = body.written();
                items.into_iter().try_for_each(|item| put_item(body, item))?;
                body.zeros(fill_len(body.written().wrapping_sub(start)))?;
            }
            count(sources)
        })
    }

    /// Writes the end of streams: RFC 3550, section 6.6.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooMany`] for more than 31 sources, [`WriteError::TooLong`] for a reason of more
    /// than 255 bytes; see [`WriteError`] for the rest.
    pub fn goodbye(&mut self, sources: &[Ssrc], reason: Option<&[u8]>) -> Result<(), WriteError> {
        self.packet_of(GOODBYE, count(sources.len())?, |body| {
            sources.iter().try_for_each(|ssrc| body.put(&ssrc.get().to_be_bytes()))?;
            let Some(reason) = reason else { return Ok(()) };
            body.put(&[u8::try_from(reason.len()).map_err(|_| WriteError::TooLong)?])?;
            body.put(reason)?;
            body.zeros(body.written().wrapping_neg() % 4)
        })
    }

    /// Writes what only the application knows: RFC 3550, section 6.7.
    ///
    /// # Errors
    ///
    /// [`WriteError::OutOfRange`] for a subtype above 31, [`WriteError::Unaligned`] for data that is
    /// not in whole words; see [`WriteError`] for the rest.
    pub fn application(&mut self, application: &Application<'_>) -> Result<(), WriteError> {
        self.packet_of(APPLICATION, application.subtype, |body| put_application(body, application))
    }

    /// Writes a packet of any type, of which only the first four bytes are made here.
    ///
    /// For what has no method of its own: `count` are the five bits whose meaning depends on the type.
    ///
    /// # Errors
    ///
    /// [`WriteError::OutOfRange`] for a count above 31, [`WriteError::Unaligned`] for a body that is
    /// not in whole words; see [`WriteError`] for the rest.
    pub fn other(&mut self, packet_type: u8, count: u8, body: &[u8]) -> Result<(), WriteError> {
        self.packet_of(packet_type, count, |out| out.put(body))
    }

    /// Writes a packet as it was read, byte by byte, and `padding_len` bytes of padding behind it.
    ///
    /// The padding is what [`Packets::padding_len`](super::Packets::padding_len) said of the packet, or
    /// any other; only the last packet may have some.
    ///
    /// # Errors
    ///
    /// [`WriteError::Unaligned`] if packet and padding together are not in whole words; see
    /// [`WriteError`] for the rest.
    pub fn packet(&mut self, packet: &Packet<'_>, padding_len: u8) -> Result<(), WriteError> {
        let (kind, count) = kind_and_count(packet)?;
        self.packet_counted(kind, padding_len, |body| put_packet(body, packet).map(|()| count))
    }

    /// Adds `padding_len` bytes of padding to the packet that was written last; none may follow.
    ///
    /// RFC 3550, section 6.4.1, "padding".
    ///
    /// # Errors
    ///
    /// [`WriteError::Unaligned`] for a length that is not a multiple of four bytes and above zero,
    /// [`WriteError::Empty`] without a packet; see [`WriteError`] for the rest.
    pub fn pad(&mut self, padding_len: u8) -> Result<(), WriteError> {
        if self.padded {
            return Err(WriteError::BehindPadding);
        }
        if padding_len == 0 || !padding_len.is_multiple_of(4) {
            return Err(WriteError::Unaligned);
        }
        if self.len == 0 {
            return Err(WriteError::Empty);
        }
        let (written, room) = self.out.split_at_mut_checked(self.len).ok_or(WriteError::NoRoom)?;
        let start = written.get_mut(self.last..).and_then(|packet| packet.first_chunk_mut::<START_LEN>());
        let [first, _, l0, l1] = start.ok_or(WriteError::NoRoom)?;
        let words = u16::from_be_bytes([*l0, *l1]);
        let words = words.checked_add(u16::from(padding_len / 4)).ok_or(WriteError::TooLong)?;
        Body::new(room).padding(padding_len)?;
        *first |= PADDING;
        [*l0, *l1] = words.to_be_bytes();
        self.len += usize::from(padding_len);
        self.padded = true;
        Ok(())
    }

    /// Returns how many bytes are written.
    #[must_use]
    pub const fn written_len(&self) -> usize {
        self.len
    }

    /// Returns what was written.
    #[must_use]
    pub fn finish(self) -> &'b mut [u8] {
        self.out.get_mut(..self.len).unwrap_or_default()
    }

    fn packet_of(
        &mut self,
        kind: u8,
        count: u8,
        fill: impl FnOnce(&mut Body<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.packet_counted(kind, 0, |body| fill(body).map(|()| count))
    }

    /// Writes a packet whose body is made by `fill`, which returns the five bits of its first byte.
    fn packet_counted(
        &mut self,
        kind: u8,
        padding_len: u8,
        fill: impl FnOnce(&mut Body<'_>) -> Result<u8, WriteError>,
    ) -> Result<(), WriteError> {
        if self.padded {
            return Err(WriteError::BehindPadding);
        }
        let room = self.out.get_mut(self.len..).ok_or(WriteError::NoRoom)?;
        let (start, room) = room.split_first_chunk_mut::<START_LEN>().ok_or(WriteError::NoRoom)?;
        let mut body = Body::new(room);
        let count = fill(&mut body)?;
        if count > COUNT {
            return Err(WriteError::OutOfRange);
        }
        let padding = if padding_len == 0 { 0 } else { PADDING };
        body.padding(padding_len)?;
        let len = body.written();
        if !len.is_multiple_of(4) {
            return Err(WriteError::Unaligned);
        }
        let [l0, l1] = u16::try_from(len / 4).map_err(|_| WriteError::TooLong)?.to_be_bytes();
        *start = [VERSION << 6 | padding | count, kind, l0, l1];
        self.last = self.len;
        self.len += START_LEN + len;
        self.padded = padding_len != 0;
        Ok(())
    }
}

/// Writes a plain sender report to the start of `out` and returns its length, in bytes.
///
/// ```
/// use voice_rtp::Ssrc;
/// use voice_rtp::rtcp::{Packet, SenderInfo, packets, write_sender_report};
///
/// let info = SenderInfo { packet_count: 1_500, ..SenderInfo::default() };
/// let mut out = [0; 64];
/// let len = write_sender_report(Ssrc::new(7), &info, &[], &mut out)?;
/// assert_eq!(len, 28);
/// let Some(Ok(Packet::SenderReport(read))) = packets(&out[..len]).next() else { panic!() };
/// assert_eq!(read.info, info);
/// # Ok::<(), voice_rtp::rtcp::WriteError>(())
/// ```
///
/// # Errors
///
/// As for [`CompoundWriter::sender_report`].
pub fn write_sender_report(
    ssrc: Ssrc,
    info: &SenderInfo,
    reports: &[ReportBlock],
    out: &mut [u8],
) -> Result<usize, WriteError> {
    let mut writer = CompoundWriter::new(out);
    writer.sender_report(ssrc, info, reports, &[])?;
    Ok(writer.written_len())
}

/// Writes a plain receiver report to the start of `out` and returns its length, in bytes.
///
/// # Errors
///
/// As for [`CompoundWriter::receiver_report`].
pub fn write_receiver_report(ssrc: Ssrc, reports: &[ReportBlock], out: &mut [u8]) -> Result<usize, WriteError> {
    let mut writer = CompoundWriter::new(out);
    writer.receiver_report(ssrc, reports, &[])?;
    Ok(writer.written_len())
}

/// Why a packet was not written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is too small.
    NoRoom,
    /// There are more entries than their count has bits for.
    TooMany,
    /// There is no entry where one must be.
    Empty,
    /// A text or the packet is longer than its length has bits for.
    TooLong,
    /// Bytes without common meaning do not fill whole words of four.
    Unaligned,
    /// A number has more bits than there are on the wire, or says something else there.
    OutOfRange,
    /// The packet before this one has padding, so it is the last one.
    BehindPadding,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "no room for the packet",
            Self::TooMany => "more entries than can be counted",
            Self::Empty => "no entry where one must be",
            Self::TooLong => "longer than can be said",
            Self::Unaligned => "bytes do not fill whole words",
            Self::OutOfRange => "number is out of range",
            Self::BehindPadding => "a packet with padding is the last one",
        })
    }
}

impl core::error::Error for WriteError {}

fn count(entries: usize) -> Result<u8, WriteError> {
    u8::try_from(entries).ok().filter(|count| *count <= COUNT).ok_or(WriteError::TooMany)
}

fn put_item(body: &mut Body<'_>, item: Item<'_>) -> Result<(), WriteError> {
    let (kind, prefix, text) = item.parts();
    if kind == END {
        return Err(WriteError::OutOfRange);
    }
    let prefix_len = prefix.map_or(0, |prefix| prefix.len().saturating_add(1));
    let len = u8::try_from(text.len().saturating_add(prefix_len)).map_err(|_| WriteError::TooLong)?;
    body.put(&[kind, len])?;
    if let Some(prefix) = prefix {
        // Shorter than the item, whose length fits.
        body.put(&[prefix.len() as u8])?;
        body.put(prefix)?;
    }
    body.put(text)
}

fn put_application(body: &mut Body<'_>, application: &Application<'_>) -> Result<(), WriteError> {
    body.put(&application.ssrc.get().to_be_bytes())?;
    body.put(&application.name)?;
    body.put(application.data)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeSet;
    use std::string::ToString;
    use std::vec::Vec;

    use super::super::{TransportCcInfo, packets};
    use super::*;

    const SSRC: Ssrc = Ssrc::new(7);

    #[test]
    fn reports_that_do_not_fit_are_not_written() {
        let blocks = [ReportBlock::default(); 32];
        let mut out = [0; 1_000];
        assert_eq!(write_receiver_report(SSRC, &blocks, &mut out), Err(WriteError::TooMany));
        assert_eq!(write_receiver_report(SSRC, &blocks[..31], &mut out), Ok(8 + 31 * 24));
        assert_eq!(write_receiver_report(SSRC, &blocks[..1], &mut out[..31]), Err(WriteError::NoRoom));
        let info = SenderInfo::default();
        assert_eq!(write_sender_report(SSRC, &info, &blocks, &mut out), Err(WriteError::TooMany));
        assert_eq!(write_sender_report(SSRC, &info, &[], &mut out[..27]), Err(WriteError::NoRoom));
    }

    /// What may go wrong does so and leaves the writer as it was.
    #[test]
    fn what_is_refused_leaves_no_trace() {
        let long = [b'x'; 256];
        let ssrcs = [SSRC; 256];
        let description = |items: &[Item<'_>]| {
            let mut out = [0; 600];
            CompoundWriter::new(&mut out).source_description([(SSRC, items.iter().copied())])
        };
        assert_eq!(description(&[Item::Cname(&long)]), Err(WriteError::TooLong));
        assert_eq!(description(&[Item::Cname(&long[1..])]), Ok(()));
        assert_eq!(description(&[Item::Private { prefix: &long[1..], value: b"" }]), Err(WriteError::TooLong));
        assert_eq!(description(&[Item::Private { prefix: &long[2..], value: b"" }]), Ok(()));
        assert_eq!(description(&[Item::Private { prefix: b"", value: &long[1..] }]), Err(WriteError::TooLong));
        assert_eq!(description(&[Item::Other { kind: 0, text: b"" }]), Err(WriteError::OutOfRange));

        let mut out = [0xAA; 2_000];
        let mut writer = CompoundWriter::new(&mut out);
        writer.receiver_report(SSRC, &[], &[]).expect("room");
        let application = Application { subtype: 0, ssrc: SSRC, name: *b"TEST", data: &[] };
        let early = TransportCcInfo { reference_time: -0x80_0001, ..TransportCcInfo::default() };
        let late = TransportCcInfo { reference_time: 0x80_0000, ..TransportCcInfo::default() };
        for (refused, error) in [
            (writer.source_description([(SSRC, []); 32]), WriteError::TooMany),
            (writer.goodbye(&ssrcs[..32], None), WriteError::TooMany),
            (writer.goodbye(&[], Some(&long)), WriteError::TooLong),
            (writer.application(&Application { subtype: 32, ..application }), WriteError::OutOfRange),
            (writer.application(&Application { data: &[0; 3], ..application }), WriteError::Unaligned),
            (writer.receiver_report(SSRC, &[], &[0; 2]), WriteError::Unaligned),
            (writer.other(207, 32, &[]), WriteError::OutOfRange),
            (writer.other(207, 0, &[0; 1]), WriteError::Unaligned),
            (writer.nack(SSRC, SSRC, []), WriteError::Empty),
            (writer.slice_loss(SSRC, SSRC, []), WriteError::Empty),
            (writer.full_intra(SSRC, []), WriteError::Empty),
            (writer.remb(SSRC, 1, &ssrcs), WriteError::TooMany),
            (writer.transport_cc(SSRC, SSRC, &early, &[]), WriteError::OutOfRange),
            (writer.transport_cc(SSRC, SSRC, &late, &[]), WriteError::OutOfRange),
            (writer.transport_cc(SSRC, SSRC, &TransportCcInfo::default(), &[None; 65_536]), WriteError::TooMany),
            (writer.pad(3), WriteError::Unaligned),
            (writer.pad(0), WriteError::Unaligned),
        ] {
            assert_eq!(refused, Err(error));
        }
        assert_eq!(writer.written_len(), 8);
        writer.goodbye(&[], None).expect("room");
        assert_eq!(writer.finish(), [0x80, 0xC9, 0, 1, 0, 0, 0, 7, 0x80, 0xCB, 0, 0]);
    }

    #[test]
    fn a_packet_is_no_longer_than_its_length_can_say() {
        let mut out = std::vec![0; 1 << 19];
        let body = std::vec![0; 1 << 18];
        let mut writer = CompoundWriter::new(&mut out);
        assert_eq!(writer.other(207, 0, &body), Err(WriteError::TooLong));
        assert_eq!(writer.other(207, 0, &body[4..]), Ok(()));
        assert_eq!(writer.pad(4), Err(WriteError::TooLong));
        assert_eq!(writer.other(207, 0, &body[8..]), Ok(()));
        assert_eq!(writer.pad(4), Ok(()));
        let datagram = writer.finish();
        assert_eq!(packets(datagram).filter(Result::is_ok).count(), 2);
    }

    #[test]
    fn padding_belongs_to_the_last_packet() {
        let mut out = [0xAA; 24];
        let mut writer = CompoundWriter::new(&mut out);
        assert_eq!(writer.pad(4), Err(WriteError::Empty));
        writer.goodbye(&[], None).expect("room");
        writer.goodbye(&[SSRC], None).expect("room");
        assert_eq!(writer.pad(16), Err(WriteError::NoRoom));
        writer.pad(8).expect("room");
        assert_eq!(writer.pad(4), Err(WriteError::BehindPadding));
        assert_eq!(writer.goodbye(&[], None), Err(WriteError::BehindPadding));
        let datagram = writer.finish();
        assert_eq!(datagram, [0x80, 0xCB, 0, 0, 0xA1, 0xCB, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8]);

        let mut walk = packets(datagram);
        let read: Vec<_> = walk.by_ref().map(|packet| packet.expect("a packet")).collect();
        assert_eq!(walk.padding_len(), 8);
        let mut out = [0xAA; 24];
        let mut writer = CompoundWriter::new(&mut out);
        writer.packet(&read[0], 0).expect("room");
        assert_eq!(writer.packet(&read[1], 3), Err(WriteError::Unaligned));
        writer.packet(&read[1], 8).expect("room");
        assert_eq!(writer.packet(&read[0], 0), Err(WriteError::BehindPadding));
        assert_eq!(writer.finish(), datagram);
    }

    #[test]
    fn every_error_says_something_else() {
        let errors = [
            WriteError::NoRoom,
            WriteError::TooMany,
            WriteError::Empty,
            WriteError::TooLong,
            WriteError::Unaligned,
            WriteError::OutOfRange,
            WriteError::BehindPadding,
        ];
        let texts: BTreeSet<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), errors.len());
    }
}
