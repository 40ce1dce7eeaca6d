//! RTCP: reports about streams, plain (decrypted) and possibly several in one datagram.
//!
//! RFC 3550, section 6. Of a sealed RTCP packet the first eight bytes are readable; its length
//! field counts the plain packet.

use core::fmt;
use core::iter::FusedIterator;

use crate::header::{PADDING, VERSION};
use crate::number::{Ssrc, Timestamp};

mod write;

pub use self::write::{WriteError, write_receiver_report, write_sender_report};

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
    Packets { rest: datagram, state: State::First }
}

/// The RTCP packets of one datagram: see [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
    state: State,
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
            State::Later if self.rest.len() < HEADER_LEN => {
                self.state = State::Ended;
                return Some(Err(ParseError::TrailingBytes));
            }
            State::First | State::Later => {}
        }
        Some(match Packet::split_first(self.rest) {
            Ok((packet, rest)) => {
                self.rest = rest;
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
    /// The end of streams: type 203.
    Goodbye(Goodbye<'a>),
    /// Any other type, not looked into.
    Other(Other<'a>),
}

impl<'a> Packet<'a> {
    /// Splits off the first packet of a datagram.
    fn split_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let (&[first, kind, l0, l1], rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(ParseError::TooShort)?;
        if first >> 6 != VERSION {
            return Err(ParseError::BadVersion);
        }
        let words = u16::from_be_bytes([l0, l1]);
        let (body, rest) = rest.split_at_checked(usize::from(words) * 4).ok_or(ParseError::LengthOverrun)?;
        let body = strip_padding(first, body)?;
        let count = first & COUNT;
        Ok((Self::read(kind, count, body)?, rest))
    }

    fn read(kind: u8, count: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        Ok(match kind {
            SENDER_REPORT => {
                let (ssrc, body) = body.split_first_chunk().ok_or(ParseError::ReportOverrun)?;
                let (info, body) = body.split_first_chunk().ok_or(ParseError::ReportOverrun)?;
                let (reports, profile_extension) = Reports::split(count, body)?;
                Self::SenderReport(SenderReport {
                    ssrc: Ssrc::new(u32::from_be_bytes(*ssrc)),
                    info: SenderInfo::from_bytes(info),
                    reports,
                    profile_extension,
                })
            }
            RECEIVER_REPORT => {
                let (ssrc, body) = body.split_first_chunk().ok_or(ParseError::ReportOverrun)?;
                let (reports, profile_extension) = Reports::split(count, body)?;
                Self::ReceiverReport(ReceiverReport {
                    ssrc: Ssrc::new(u32::from_be_bytes(*ssrc)),
                    reports,
                    profile_extension,
                })
            }
            GOODBYE => {
                let (sources, reason) =
                    body.split_at_checked(usize::from(count) * 4).ok_or(ParseError::SourceOverrun)?;
                let (sources, _) = sources.as_chunks();
                Self::Goodbye(Goodbye { sources, reason })
            }
            _ => Self::Other(Other { packet_type: kind, count, body }),
        })
    }
}

/// What a sender sent, and what it received from others: RFC 3550, section 6.4.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SenderReport<'a> {
    /// The stream this report is about.
    pub ssrc: Ssrc,
    /// What was sent.
    pub info: SenderInfo,
    /// What was received.
    pub reports: Reports<'a>,
    /// Bytes behind the reports, without common meaning.
    pub profile_extension: &'a [u8],
}

/// What a receiver received: RFC 3550, section 6.4.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// What was received.
    pub reports: Reports<'a>,
    /// Bytes behind the reports, without common meaning.
    pub profile_extension: &'a [u8],
}

/// The end of streams: RFC 3550, section 6.6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Goodbye<'a> {
    sources: &'a [[u8; 4]],
    reason: &'a [u8],
}

impl<'a> Goodbye<'a> {
    /// Returns the streams that end.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = Ssrc> + Clone + use<'a> {
        self.sources.iter().map(|bytes| Ssrc::new(u32::from_be_bytes(*bytes)))
    }

    /// Returns the text that says why, if there is one that fits.
    #[must_use]
    pub fn reason(&self) -> Option<&'a [u8]> {
        let (&len, text) = self.reason.split_first()?;
        text.get(..usize::from(len))
    }
}

/// A packet of another type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Other<'a> {
    /// The type, such as 202 for source descriptions or 206 for feedback.
    pub packet_type: u8,
    /// The five bits whose meaning depends on the type.
    pub count: u8,
    /// What follows the first four bytes, without padding.
    pub body: &'a [u8],
}

/// What a sender sent: RFC 3550, section 6.4.1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SenderInfo {
    /// When this was sent: seconds since 1900.
    pub ntp_seconds: u32,
    /// When this was sent: 2^-32 seconds after [`ntp_seconds`](Self::ntp_seconds).
    pub ntp_fraction: u32,
    /// The same moment on the media clock, in ticks.
    pub rtp_timestamp: Timestamp,
    /// How many packets were sent, modulo 2^32.
    pub packet_count: u32,
    /// How many bytes of payload were sent, modulo 2^32.
    pub octet_count: u32,
}

impl SenderInfo {
    const LEN: usize = 20;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        put(
            &mut bytes,
            [self.ntp_seconds, self.ntp_fraction, self.rtp_timestamp.get(), self.packet_count, self.octet_count],
        );
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [ntp_seconds, ntp_fraction, rtp_timestamp, packet_count, octet_count] = words(bytes);
        Self { ntp_seconds, ntp_fraction, rtp_timestamp: Timestamp::new(rtp_timestamp), packet_count, octet_count }
    }
}

/// What was received of one stream: RFC 3550, section 6.4.1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Which part of the packets was lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// How many packets were lost since the start; negative when duplicates outnumber losses. Only
    /// 24 bits are on the wire.
    pub cumulative_lost: i32,
    /// The highest sequence number in the low half, how often it wrapped in the high half.
    pub highest_sequence: u32,
    /// The mean deviation of the arrival times, in ticks.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report, 0 without one.
    pub last_sender_report: u32,
    /// The time since then, in 1/65 536 seconds.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    /// The length of a block, in bytes.
    pub const LEN: usize = 24;

    /// Returns the block as it is on the wire.
    ///
    /// A [`cumulative_lost`](Self::cumulative_lost) beyond 24 bits becomes the nearest value that
    /// fits.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF);
        let [_, lost @ ..] = lost.to_be_bytes();
        let [l0, l1, l2] = lost;
        let mut bytes = [0; Self::LEN];
        put(
            &mut bytes,
            [
                self.ssrc.get(),
                u32::from_be_bytes([self.fraction_lost, l0, l1, l2]),
                self.highest_sequence,
                self.jitter,
                self.last_sender_report,
                self.delay_since_last_sender_report,
            ],
        );
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [ssrc, lost, highest_sequence, jitter, lsr, dlsr] = words(bytes);
        let [fraction_lost, ..] = lost.to_be_bytes();
        Self {
            ssrc: Ssrc::new(ssrc),
            fraction_lost,
            // Shifting up and down again extends the sign of the 24-bit number.
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            highest_sequence,
            jitter,
            last_sender_report: lsr,
            delay_since_last_sender_report: dlsr,
        }
    }
}

/// The reports in one packet, 0 to 31 of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reports<'a>(&'a [[u8; ReportBlock::LEN]]);

impl<'a> Reports<'a> {
    /// Returns how many reports there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the reports in wire order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReportBlock> + Clone + use<'a> {
        self.0.iter().map(ReportBlock::from_bytes)
    }

    fn split(count: u8, body: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let (blocks, rest) =
            body.split_at_checked(usize::from(count) * ReportBlock::LEN).ok_or(ParseError::ReportOverrun)?;
        let (blocks, _) = blocks.as_chunks();
        Ok((Self(blocks), rest))
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
    /// The padding flag is set and the padding count is zero.
    PaddingZero,
    /// The padding is larger than its packet.
    PaddingOverrun,
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
            Self::PaddingZero => "padding count is zero",
            Self::PaddingOverrun => "padding is larger than its packet",
            Self::TrailingBytes => "bytes behind the last rtcp packet",
        })
    }
}

impl core::error::Error for ParseError {}

fn strip_padding(first: u8, body: &[u8]) -> Result<&[u8], ParseError> {
    if first & PADDING == 0 {
        return Ok(body);
    }
    let count = *body.last().ok_or(ParseError::PaddingOverrun)?;
    if count == 0 {
        return Err(ParseError::PaddingZero);
    }
    body.len().checked_sub(usize::from(count)).and_then(|kept| body.get(..kept)).ok_or(ParseError::PaddingOverrun)
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

/// The length of the common header, in bytes: RFC 3550, section 6.4.1.
const HEADER_LEN: usize = 4;

/// The bits of the first byte that count reports or sources: RFC 3550, section 6.4.1.
const COUNT: u8 = 0x1F;

/// RFC 3550, section 12.1: SR.
const SENDER_REPORT: u8 = 200;

/// RFC 3550, section 12.1: RR.
const RECEIVER_REPORT: u8 = 201;

/// RFC 3550, section 12.1: BYE.
const GOODBYE: u8 = 203;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_removed_and_checked() {
        let padded = [0xA0, 0xC9, 0, 2, 0, 0, 0, 7, 9, 9, 9, 4];
        let Some(Ok(Packet::ReceiverReport(report))) = packets(&padded).next() else {
            panic!("a receiver report");
        };
        assert_eq!(report.profile_extension, []);

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
    fn a_goodbye_that_names_more_sources_than_it_has_is_refused() {
        let goodbye = [0x82, 0xCB, 0, 1, 0, 0, 0, 7];
        let mut walk = packets(&goodbye);
        assert_eq!(walk.next(), Some(Err(ParseError::SourceOverrun)));
        assert_eq!(walk.next(), None);
    }

    #[test]
    fn the_reason_of_a_goodbye_stays_inside_it() {
        let mut goodbye = [0x81, 0xCB, 0, 2, 0, 0, 0, 7, 3, b'b', b'y', b'e'];
        let read = |bytes: &[u8]| match packets(bytes).next() {
            Some(Ok(Packet::Goodbye(goodbye))) => goodbye.reason().map(std::vec::Vec::from),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&goodbye).as_deref(), Some(&b"bye"[..]));
        goodbye[8] = 4;
        assert_eq!(read(&goodbye), None);
    }

    #[test]
    fn losses_beyond_24_bits_are_clamped() {
        for (lost, read) in [(i32::MAX, 0x7F_FFFF), (i32::MIN, -0x80_0000), (-1, -1)] {
            let block = ReportBlock { cumulative_lost: lost, fraction_lost: 3, ..ReportBlock::default() };
            let found = ReportBlock::from_bytes(&block.to_bytes());
            assert_eq!((found.cumulative_lost, found.fraction_lost), (read, 3));
        }
    }
}
