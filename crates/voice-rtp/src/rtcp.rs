//! RTCP: what participants say about streams, plain (decrypted) and possibly several packets in one
//! datagram.
//!
//! [`packets`] walks a datagram; each [`Packet`] is a view that was checked once and whose accessors
//! cannot fail. [`CompoundWriter`] writes every kind of packet that is read here.
//!
//! RFC 3550, section 6; feedback after RFC 4585 and RFC 5104. Of a sealed RTCP packet the first
//! [`CLEAR_LEN`] bytes are readable: see [`Header`].

use core::fmt;
use core::iter::FusedIterator;

use crate::header::{PADDING, VERSION};
use crate::number::Ssrc;

mod application;
mod description;
mod feedback;
mod goodbye;
mod ntp;
mod report;
mod transport_cc;
mod write;

pub use self::application::Application;
pub use self::description::{Chunk, Item, SourceDescription};
pub use self::feedback::{
    IntraRequest, IntraRequests, Nack, NackPair, PayloadFeedback, PayloadMessage, Remb, SliceLoss, SliceLosses,
    TransportFeedback, TransportMessage,
};
pub use self::goodbye::Goodbye;
pub use self::ntp::{NtpTimestamp, duration_from_short, short_from_duration};
pub use self::report::{ReceiverReport, ReportBlock, Reports, SenderInfo, SenderReport};
pub use self::transport_cc::{Arrival, TRANSPORT_CC_TICK, TransportCc, TransportCcInfo};
pub use self::write::{CompoundWriter, WriteError, write_receiver_report, write_sender_report};

/// Walks the RTCP packets of one plain datagram.
///
/// Each item is one packet or the reason why there are no more; after an error the walk ends. What
/// was read before the error is sound.
///
/// ```
/// use voice_rtp::Ssrc;
/// use voice_rtp::rtcp::{Packet, packets};
///
/// let datagram = [0x80, 0xC9, 0, 1, 0, 0, 0, 7, 0x81, 0xCB, 0, 1, 0, 0, 0, 7];
/// let mut walk = packets(&datagram);
/// let Some(Ok(Packet::ReceiverReport(report))) = walk.next() else { panic!() };
/// assert_eq!(report.ssrc, Ssrc::new(7));
/// let Some(Ok(Packet::Goodbye(goodbye))) = walk.next() else { panic!() };
/// assert_eq!(goodbye.sources().next(), Some(Ssrc::new(7)));
/// assert!(walk.next().is_none());
/// ```
#[must_use]
pub const fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram, state: State::First, padding_len: 0 }
}

/// The RTCP packets of one datagram: see [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
    state: State,
    padding_len: u8,
}

impl Packets<'_> {
    /// Returns how many bytes of padding the packet had that the walk returned last, its count
    /// included.
    ///
    /// Only the last packet of a datagram may have any. RFC 3550, section 6.4.1, demands a multiple
    /// of four; other counts are read too, because browsers pad [`TransportCc`] with one to three
    /// bytes.
    #[must_use]
    pub const fn padding_len(&self) -> u8 {
        self.padding_len
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.state {
            State::Ended => return None,
            State::Later if self.rest.is_empty() => {
                self.state = State::Ended;
                return None;
            }
            State::Later if self.rest.len() < START_LEN => {
                self.state = State::Ended;
                return Some(Err(ParseError::TrailingBytes));
            }
            State::First | State::Later => {}
        }
        Some(match Packet::split_first(self.rest) {
            Ok((packet, padding_len, rest)) => {
                self.rest = rest;
                self.padding_len = padding_len;
                self.state = State::Later;
                Ok(packet)
            }
            Err(error) => {
                self.state = State::Ended;
                Err(error)
            }
        })
    }
}

impl FusedIterator for Packets<'_> {}

#[derive(Clone, Copy, Debug)]
enum State {
    First,
    Later,
    Ended,
}

/// One RTCP packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// What a sender sent, and what it received: type 200.
    SenderReport(SenderReport<'a>),
    /// What a receiver received: type 201.
    ReceiverReport(ReceiverReport<'a>),
    /// Who the sources are: type 202.
    SourceDescription(SourceDescription<'a>),
    /// The end of streams: type 203.
    Goodbye(Goodbye<'a>),
    /// Something only the application knows: type 204.
    Application(Application<'a>),
    /// What the transport of a stream needs: type 205.
    TransportFeedback(TransportFeedback<'a>),
    /// What the codec of a stream needs: type 206.
    PayloadFeedback(PayloadFeedback<'a>),
    /// Any other type, such as 207 (RFC 3611), not looked into.
    Other(Other<'a>),
}

impl<'a> Packet<'a> {
    /// Splits off the first packet of a datagram; returns how much padding it had and what follows.
    fn split_first(bytes: &'a [u8]) -> Result<(Self, u8, &'a [u8]), ParseError> {
        let (&[first, kind, l0, l1], rest) = bytes.split_first_chunk::<START_LEN>().ok_or(ParseError::TooShort)?;
        if first >> 6 != VERSION {
            return Err(ParseError::BadVersion);
        }
        let words = u16::from_be_bytes([l0, l1]);
        let (body, rest) = rest.split_at_checked(usize::from(words) * 4).ok_or(ParseError::LengthOverrun)?;
        let (body, padding_len) = if first & PADDING == 0 { (body, 0) } else { strip_padding(body, rest)? };
        Ok((Self::read(kind, first & COUNT, body)?, padding_len, rest))
    }

    fn read(kind: u8, count: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        Ok(match kind {
            SENDER_REPORT => Self::SenderReport(SenderReport::read(count, body)?),
            RECEIVER_REPORT => Self::ReceiverReport(ReceiverReport::read(count, body)?),
            SOURCE_DESCRIPTION => Self::SourceDescription(SourceDescription::read(count, body)?),
            GOODBYE => Self::Goodbye(Goodbye::read(count, body)?),
            APPLICATION => Self::Application(Application::read(count, body)?),
            TRANSPORT_FEEDBACK => Self::TransportFeedback(TransportFeedback::read(count, body)?),
            PAYLOAD_FEEDBACK => Self::PayloadFeedback(PayloadFeedback::read(count, body)?),
            _ => Self::Other(Other { packet_type: kind, count, body }),
        })
    }
}

/// A packet of another type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Other<'a> {
    /// The type, such as 207 for extended reports.
    pub packet_type: u8,
    /// The five bits whose meaning depends on the type.
    pub count: u8,
    /// What follows the first four bytes, without padding.
    pub body: &'a [u8],
}

/// What the first eight bytes of an RTCP datagram say: all that is readable of a sealed one.
///
/// ```
/// use voice_rtp::Ssrc;
/// use voice_rtp::rtcp::Header;
///
/// // A sender report without reports, sealed: 28 bytes, of which 20 are not readable, and a tag.
/// let sealed = [0x80, 0xC8, 0, 6, 0, 0, 0, 7, 0x5A, 0xC3];
/// let header = Header::parse(&sealed)?;
/// assert_eq!((header.packet_type, header.ssrc), (200, Ssrc::new(7)));
/// assert_eq!(header.packet_len, 28);
/// # Ok::<(), voice_rtp::rtcp::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Header {
    /// Whether the first packet ends with padding.
    pub padding: bool,
    /// The five bits whose meaning depends on the type: a count, a format or a subtype.
    pub count: u8,
    /// The type of the first packet, such as 200 for a sender report.
    pub packet_type: u8,
    /// The length of the first packet when plain, in bytes, its header included.
    ///
    /// Neither the tag of a sealed datagram nor further packets are in it.
    pub packet_len: usize,
    /// Who speaks, or of a goodbye the first stream that ends.
    pub ssrc: Ssrc,
}

impl Header {
    /// Reads the start of a datagram, plain or sealed.
    ///
    /// # Errors
    ///
    /// [`ParseError::TooShort`] for less than [`CLEAR_LEN`] bytes, [`ParseError::BadVersion`] for
    /// what is not RTP's version 2.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let bytes = datagram.first_chunk::<CLEAR_LEN>().ok_or(ParseError::TooShort)?;
        let &[first, packet_type, l0, l1, ref ssrc @ ..] = bytes;
        if first >> 6 != VERSION {
            return Err(ParseError::BadVersion);
        }
        Ok(Self {
            padding: first & PADDING != 0,
            count: first & COUNT,
            packet_type,
            packet_len: START_LEN + 4 * usize::from(u16::from_be_bytes([l0, l1])),
            ssrc: Ssrc::new(u32::from_be_bytes(*ssrc)),
        })
    }
}

/// Why bytes are not RTCP.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer bytes than the common header has.
    TooShort,
    /// The version is not 2.
    BadVersion,
    /// A packet is longer than what is left of the datagram.
    LengthOverrun,
    /// The reports are longer than their packet.
    ReportOverrun,
    /// The sources of a goodbye are longer than their packet.
    SourceOverrun,
    /// The descriptions of sources are longer than their packet, or have no end.
    DescriptionOverrun,
    /// A packet is shorter than the fields that every packet of its type has.
    FieldOverrun,
    /// Feedback has not the shape of its format.
    BadFeedback,
    /// The padding flag is set and the padding count is zero.
    PaddingZero,
    /// The padding is larger than its packet.
    PaddingOverrun,
    /// A packet has padding and is not the last one.
    PaddingNotLast,
    /// The datagram goes on behind its last packet, too short for another.
    TrailingBytes,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than an rtcp header",
            Self::BadVersion => "rtcp version is not 2",
            Self::LengthOverrun => "rtcp packet runs past the end",
            Self::ReportOverrun => "reports run past the end of their packet",
            Self::SourceOverrun => "sources run past the end of their packet",
            Self::DescriptionOverrun => "descriptions run past the end of their packet",
            Self::FieldOverrun => "rtcp packet ends within its fields",
            Self::BadFeedback => "feedback has not the shape of its format",
            Self::PaddingZero => "padding count is zero",
            Self::PaddingOverrun => "padding is larger than its packet",
            Self::PaddingNotLast => "a packet before the last one has padding",
            Self::TrailingBytes => "bytes behind the last rtcp packet",
        })
    }
}

impl core::error::Error for ParseError {}

/// Takes the padding off the last packet, behind which `rest` must be empty.
fn strip_padding<'a>(body: &'a [u8], rest: &[u8]) -> Result<(&'a [u8], u8), ParseError> {
    if !rest.is_empty() {
        return Err(ParseError::PaddingNotLast);
    }
    let count = *body.last().ok_or(ParseError::PaddingOverrun)?;
    if count == 0 {
        return Err(ParseError::PaddingZero);
    }
    let kept = body.len().checked_sub(usize::from(count)).ok_or(ParseError::PaddingOverrun)?;
    Ok((body.get(..kept).ok_or(ParseError::PaddingOverrun)?, count))
}

/// Splits off an SSRC.
fn split_ssrc(body: &[u8]) -> Option<(Ssrc, &[u8])> {
    let (bytes, rest) = body.split_first_chunk()?;
    Some((Ssrc::new(u32::from_be_bytes(*bytes)), rest))
}

/// Reads big-endian words; what `bytes` lacks is zero.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    let (chunks, _) = bytes.as_chunks::<4>();
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u32::from_be_bytes(*chunk);
    }
    words
}

/// Writes big-endian words, as many as `bytes` has room for.
fn put<const N: usize>(bytes: &mut [u8], words: [u32; N]) {
    let (chunks, _) = bytes.as_chunks_mut::<4>();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.to_be_bytes();
    }
}

/// How many bytes of an RTCP datagram stay readable when it is sealed: the first header and an SSRC.
///
/// Discord docs, "Voice Connections"; the same as in RFC 3711, section 3.4.
pub const CLEAR_LEN: usize = 8;

/// The length of the common header, in bytes: RFC 3550, section 6.4.1.
const START_LEN: usize = 4;

/// The bits of the first byte that count reports or sources: RFC 3550, section 6.4.1.
const COUNT: u8 = 0x1F;

/// RFC 3550, section 12.1: SR.
const SENDER_REPORT: u8 = 200;

/// RFC 3550, section 12.1: RR.
const RECEIVER_REPORT: u8 = 201;

/// RFC 3550, section 12.1: SDES.
const SOURCE_DESCRIPTION: u8 = 202;

/// RFC 3550, section 12.1: BYE.
const GOODBYE: u8 = 203;

/// RFC 3550, section 12.1: APP.
const APPLICATION: u8 = 204;

/// RFC 4585, section 6.1: RTPFB.
const TRANSPORT_FEEDBACK: u8 = 205;

/// RFC 4585, section 6.1: PSFB.
const PAYLOAD_FEEDBACK: u8 = 206;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn padding_is_removed_and_checked() {
        let padded = [0xA0, 0xC9, 0, 2, 0, 0, 0, 7, 9, 9, 9, 4];
        let mut walk = packets(&padded);
        let Some(Ok(Packet::ReceiverReport(report))) = walk.next() else {
            panic!("a receiver report");
        };
        assert_eq!((report.profile_extension, walk.padding_len()), (&[][..], 4));

        let mut zero = padded;
        zero[11] = 0;
        assert_eq!(packets(&zero).next(), Some(Err(ParseError::PaddingZero)));
        let mut large = padded;
        large[11] = 9;
        assert_eq!(packets(&large).next(), Some(Err(ParseError::PaddingOverrun)));
        let empty = [0xA0, 0xCC, 0, 0];
        assert_eq!(packets(&empty).next(), Some(Err(ParseError::PaddingOverrun)));
    }

    #[test]
    fn only_the_last_packet_may_have_padding() {
        let plain = [0x80, 0xC9, 0, 1, 0, 0, 0, 7];
        let padded = [0xA0, 0xC9, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];

        let last = [&plain[..], &padded].concat();
        let mut walk = packets(&last);
        assert!(matches!(walk.next(), Some(Ok(_))));
        assert_eq!(walk.padding_len(), 0);
        assert!(matches!(walk.next(), Some(Ok(_))));
        assert_eq!((walk.padding_len(), walk.next()), (4, None));

        let first = [&padded[..], &plain].concat();
        let mut walk = packets(&first);
        assert_eq!((walk.next(), walk.next()), (Some(Err(ParseError::PaddingNotLast)), None));
    }

    #[test]
    fn what_came_before_a_defect_stays() {
        let datagram = [0x80, 0xC9, 0, 1, 0, 0, 0, 7, 0x81, 0xC9, 0, 1, 0, 0, 0, 8, 0x80, 0xC9, 0, 1, 0, 0, 0, 9];
        let mut walk = packets(&datagram);
        assert!(matches!(walk.next(), Some(Ok(Packet::ReceiverReport(report))) if report.ssrc == Ssrc::new(7)));
        assert_eq!((walk.next(), walk.next()), (Some(Err(ParseError::ReportOverrun)), None));
    }

    #[test]
    fn unknown_types_are_handed_on() {
        for packet_type in (0..200).chain(207..=255) {
            let datagram = [0x9F, packet_type, 0, 1, 1, 2, 3, 4];
            let other = Other { packet_type, count: 31, body: &[1, 2, 3, 4] };
            assert_eq!(packets(&datagram).next(), Some(Ok(Packet::Other(other))));
        }
    }

    #[test]
    fn the_start_of_a_sealed_datagram_is_readable() {
        let sealed = [0xBF, 0xC9, 0xFF, 0xFF, 0, 5, 0xA1, 0x7C, 0xAA];
        let header =
            Header { padding: true, count: 31, packet_type: 201, packet_len: 1 << 18, ssrc: Ssrc::new(369_020) };
        assert_eq!(Header::parse(&sealed), Ok(header));
        assert_eq!(Header::parse(&sealed[..8]), Ok(header));
        assert_eq!(Header::parse(&sealed[..7]), Err(ParseError::TooShort));
        assert_eq!(Header::parse(&[0; 8]), Err(ParseError::BadVersion));
    }

    #[test]
    fn every_error_says_something_else() {
        let errors = [
            ParseError::TooShort,
            ParseError::BadVersion,
            ParseError::LengthOverrun,
            ParseError::ReportOverrun,
            ParseError::SourceOverrun,
            ParseError::DescriptionOverrun,
            ParseError::FieldOverrun,
            ParseError::BadFeedback,
            ParseError::PaddingZero,
            ParseError::PaddingOverrun,
            ParseError::PaddingNotLast,
            ParseError::TrailingBytes,
        ];
        let texts: std::collections::BTreeSet<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), errors.len());
    }
}
