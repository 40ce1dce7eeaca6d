//! Feedback about streams: RFC 4585, section 6, and RFC 5104, section 4.

use core::iter;

use super::{ParseError, TransportCc, split_ssrc};
use crate::number::{Sequence, Ssrc};

/// What the transport of a stream needs: RFC 4585, section 6.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransportFeedback<'a> {
    /// Who speaks.
    pub sender: Ssrc,
    /// The stream that is spoken about.
    pub media: Ssrc,
    /// What is said.
    pub message: TransportMessage<'a>,
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn read(format: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        let (sender, body) = split_ssrc(body).ok_or(ParseError::FieldOverrun)?;
        let (media, fci) = split_ssrc(body).ok_or(ParseError::FieldOverrun)?;
        let message = match format {
            GENERIC_NACK => entries(fci).map(|entries| TransportMessage::Nack(Nack(entries))),
            TRANSPORT_CC => TransportCc::read(fci).map(TransportMessage::CongestionControl),
            _ => Some(TransportMessage::Other { format, fci }),
        };
        Ok(Self { sender, media, message: message.ok_or(ParseError::BadFeedback)? })
    }
}

/// What is said to the transport of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransportMessage<'a> {
    /// Packets are missing, please repeat them: RFC 4585, section 6.2.1.
    Nack(Nack<'a>),
    /// Which packets arrived when: format 15.
    CongestionControl(TransportCc<'a>),
    /// Any other format, not looked into.
    Other {
        /// The format, 0 to 31.
        format: u8,
        /// What is said.
        fci: &'a [u8],
    },
}

/// Packets that are missing: RFC 4585, section 6.2.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Nack<'a>(&'a [[u8; 4]]);

impl<'a> Nack<'a> {
    /// Returns the numbers in groups, as on the wire.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = NackPair> + Clone + use<'a> {
        self.0.iter().map(|&[p0, p1, b0, b1]| NackPair {
            first: Sequence::new(u16::from_be_bytes([p0, p1])),
            following: u16::from_be_bytes([b0, b1]),
        })
    }

    /// Returns the numbers of the missing packets.
    pub fn lost(&self) -> impl Iterator<Item = Sequence> + Clone + use<'a> {
        self.pairs().flat_map(NackPair::lost)
    }

    pub(super) const fn as_bytes(&self) -> &'a [u8] {
        self.0.as_flattened()
    }
}

/// A missing packet, and which of the 16 behind it are missing too.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NackPair {
    /// The missing packet.
    pub first: Sequence,
    /// The packets behind it: bit 0 is the next one.
    pub following: u16,
}

impl NackPair {
    /// Groups the numbers of missing packets, which should come in order.
    ///
    /// ```
    /// use voice_rtp::Sequence;
    /// use voice_rtp::rtcp::NackPair;
    ///
    /// let lost = [65_535, 0, 9, 20].map(Sequence::new);
    /// let mut pairs = NackPair::pack(lost);
    /// assert_eq!(pairs.next(), Some(NackPair { first: Sequence::new(65_535), following: 1 | 1 << 9 }));
    /// assert_eq!(pairs.next(), Some(NackPair { first: Sequence::new(20), following: 0 }));
    /// assert_eq!(pairs.next(), None);
    /// ```
    pub fn pack(lost: impl IntoIterator<Item = Sequence>) -> impl Iterator<Item = Self> {
        let mut lost = lost.into_iter().peekable();
        iter::from_fn(move || {
            let first = lost.next()?;
            let mut following = 0;
            while let Some(after) = lost.next_if(|next| (0..=16).contains(&next.distance(first))) {
                // The number itself, said twice, has no bit.
                following |= 1_u32.wrapping_shl(u32::from(after.get().wrapping_sub(first.get()))) >> 1;
            }
            Some(Self { first, following: following as u16 })
        })
    }

    /// Returns the numbers of the missing packets, in order.
    pub fn lost(self) -> impl Iterator<Item = Sequence> + Clone {
        let following = (1..=16_u16).zip(0_u32..).filter(move |(_, bit)| self.following.wrapping_shr(*bit) & 1 != 0);
        iter::once(self.first).chain(following.map(move |(behind, _)| self.first.wrapping_add(behind)))
    }

    pub(super) const fn to_bytes(self) -> [u8; 4] {
        ((self.first.get() as u32) << 16 | self.following as u32).to_be_bytes()
    }
}

/// What the codec of a stream needs: RFC 4585, section 6.3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PayloadFeedback<'a> {
    /// Who speaks.
    pub sender: Ssrc,
    /// The stream that is spoken about; some messages name streams of their own and have 0 here.
    pub media: Ssrc,
    /// What is said.
    pub message: PayloadMessage<'a>,
}

impl<'a> PayloadFeedback<'a> {
    pub(super) fn read(format: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        let (sender, body) = split_ssrc(body).ok_or(ParseError::FieldOverrun)?;
        let (media, fci) = split_ssrc(body).ok_or(ParseError::FieldOverrun)?;
        let message = match format {
            PICTURE_LOSS => fci.is_empty().then_some(PayloadMessage::PictureLoss),
            SLICE_LOSS => entries(fci).map(|entries| PayloadMessage::SliceLoss(SliceLosses(entries))),
            FULL_INTRA => entries(fci).map(|entries| PayloadMessage::FullIntra(IntraRequests(entries))),
            APPLICATION_LAYER if fci.starts_with(&REMB) => Remb::read(fci).map(PayloadMessage::Remb),
            _ => Some(PayloadMessage::Other { format, fci }),
        };
        Ok(Self { sender, media, message: message.ok_or(ParseError::BadFeedback)? })
    }
}

/// What is said to the codec of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PayloadMessage<'a> {
    /// A picture is missing: RFC 4585, section 6.3.1.
    PictureLoss,
    /// Parts of a picture are missing: RFC 4585, section 6.3.2.
    SliceLoss(SliceLosses<'a>),
    /// A whole picture is wanted: RFC 5104, section 4.3.1.
    FullIntra(IntraRequests<'a>),
    /// How much may be sent: "RTCP message for Receiver Estimated Maximum Bitrate".
    Remb(Remb<'a>),
    /// Any other format, not looked into.
    Other {
        /// The format, 0 to 31.
        format: u8,
        /// What is said.
        fci: &'a [u8],
    },
}

/// Parts of pictures that are missing: RFC 4585, section 6.3.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SliceLosses<'a>(&'a [[u8; 4]]);

impl<'a> SliceLosses<'a> {
    /// Returns the parts in wire order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SliceLoss> + Clone + use<'a> {
        self.0.iter().map(|bytes| {
            let word = u32::from_be_bytes(*bytes);
            SliceLoss {
                first: (word >> 19) as u16,
                number: (word >> 6 & 0x1FFF) as u16,
                picture_id: (word & 0x3F) as u8,
            }
        })
    }

    pub(super) const fn as_bytes(&self) -> &'a [u8] {
        self.0.as_flattened()
    }
}

/// A part of a picture that is missing: RFC 4585, section 6.3.2.2.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SliceLoss {
    /// The first missing macroblock; 13 bits.
    pub first: u16,
    /// How many macroblocks are missing; 13 bits.
    pub number: u16,
    /// The six lowest bits of the picture's number.
    pub picture_id: u8,
}

impl SliceLoss {
    pub(super) fn to_bytes(self) -> Option<[u8; 4]> {
        let fits = self.first < 1 << 13 && self.number < 1 << 13 && self.picture_id < 1 << 6;
        let word = u32::from(self.first) << 19 | u32::from(self.number) << 6 | u32::from(self.picture_id);
        fits.then_some(word.to_be_bytes())
    }
}

/// Whole pictures that are wanted: RFC 5104, section 4.3.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IntraRequests<'a>(&'a [[u8; 8]]);

impl<'a> IntraRequests<'a> {
    /// Returns the requests in wire order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = IntraRequest> + Clone + use<'a> {
        self.0.iter().map(|&[s0, s1, s2, s3, sequence, ..]| IntraRequest {
            ssrc: Ssrc::new(u32::from_be_bytes([s0, s1, s2, s3])),
            sequence,
        })
    }

    pub(super) const fn as_bytes(&self) -> &'a [u8] {
        self.0.as_flattened()
    }
}

/// A whole picture that is wanted: RFC 5104, section 4.3.1.1.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IntraRequest {
    /// The stream it is wanted of.
    pub ssrc: Ssrc,
    /// Which request it is: a repeated one has the number of the first, modulo 2^8.
    pub sequence: u8,
}

impl IntraRequest {
    pub(super) const fn to_bytes(self) -> [u8; 8] {
        ((self.ssrc.get() as u64) << 32 | (self.sequence as u64) << 24).to_be_bytes()
    }
}

/// How much may be sent to a receiver, over all named streams: "RTCP message for Receiver Estimated
/// Maximum Bitrate", section 2.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remb<'a> {
    exponent: u8,
    mantissa: u32,
    sources: &'a [[u8; 4]],
}

impl<'a> Remb<'a> {
    fn read(fci: &'a [u8]) -> Option<Self> {
        let (&[_, _, _, _, count, b0, b1, b2], sources) = fci.split_first_chunk()?;
        let (sources, []) = sources.as_chunks() else { return None };
        let bitrate = u32::from_be_bytes([0, b0, b1, b2]);
        (sources.len() == usize::from(count)).then_some(Self {
            exponent: (bitrate >> MANTISSA_BITS) as u8,
            mantissa: bitrate & MANTISSA,
            sources,
        })
    }

    /// Returns how much may be sent, in bits per second; what is beyond 64 bits is the largest
    /// number.
    #[must_use]
    pub fn bitrate(&self) -> u64 {
        let mantissa = u64::from(self.mantissa);
        let exponent = u32::from(self.exponent);
        if exponent <= mantissa.leading_zeros() { mantissa.wrapping_shl(exponent) } else { u64::MAX }
    }

    /// Returns the streams.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = Ssrc> + Clone + use<'a> {
        self.sources.iter().map(|bytes| Ssrc::new(u32::from_be_bytes(*bytes)))
    }

    pub(super) fn parts(&self) -> ([u8; 8], &'a [u8]) {
        (remb_start(self.exponent, self.mantissa, self.sources.len() as u8), self.sources.as_flattened())
    }
}

/// The start of a bitrate message; of a bitrate that has more than 18 bits, only the highest are kept.
pub(super) fn remb_from_bitrate(bitrate: u64, count: u8) -> [u8; 8] {
    let exponent = (u64::BITS - bitrate.leading_zeros()).saturating_sub(MANTISSA_BITS);
    remb_start(exponent as u8, bitrate.wrapping_shr(exponent) as u32, count)
}

fn remb_start(exponent: u8, mantissa: u32, count: u8) -> [u8; 8] {
    let [r0, r1, r2, r3] = REMB;
    let [_, b0, b1, b2] = (u32::from(exponent) << MANTISSA_BITS | mantissa).to_be_bytes();
    [r0, r1, r2, r3, count, b0, b1, b2]
}

/// The entries of a message that has nothing else, and at least one.
fn entries<const N: usize>(fci: &[u8]) -> Option<&[[u8; N]]> {
    match fci.as_chunks() {
        ([], _) => None,
        (entries, []) => Some(entries),
        _ => None,
    }
}

/// RFC 4585, section 6.2.1: Generic NACK.
pub(super) const GENERIC_NACK: u8 = 1;

/// "RTP Extensions for Transport-wide Congestion Control", section 3.1.
pub(super) const TRANSPORT_CC: u8 = 15;

/// RFC 4585, section 6.3: PLI.
pub(super) const PICTURE_LOSS: u8 = 1;

/// RFC 4585, section 6.3: SLI.
pub(super) const SLICE_LOSS: u8 = 2;

/// RFC 5104, section 4.3.1: FIR.
pub(super) const FULL_INTRA: u8 = 4;

/// RFC 4585, section 6.4: AFB.
pub(super) const APPLICATION_LAYER: u8 = 15;

/// "RTCP message for Receiver Estimated Maximum Bitrate", section 2.2: the unique identifier.
const REMB: [u8; 4] = *b"REMB";

/// "RTCP message for Receiver Estimated Maximum Bitrate", section 2.2: BR Mantissa.
const MANTISSA_BITS: u32 = 18;

const MANTISSA: u32 = (1 << MANTISSA_BITS) - 1;

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn with_fci(fci: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 7, 0, 0, 0, 8], fci].concat()
    }

    #[test]
    fn a_pair_names_up_to_seventeen_packets() {
        let pair = NackPair { first: Sequence::new(65_530), following: u16::MAX };
        let lost: Vec<u16> = pair.lost().map(Sequence::get).collect();
        let expected: Vec<u16> = (0..17).map(|behind| 65_530_u16.wrapping_add(behind)).collect();
        assert_eq!(lost, expected);
        assert_eq!(NackPair::pack(pair.lost()).collect::<Vec<_>>(), [pair]);
    }

    #[test]
    fn numbers_out_of_order_start_new_pairs() {
        let lost = [5, 5, 4, 21].map(Sequence::new);
        let pairs: Vec<_> = NackPair::pack(lost).map(|pair| (pair.first.get(), pair.following)).collect();
        assert_eq!(pairs, [(5, 0), (4, 0), (21, 0)]);
        assert_eq!(NackPair::pack([]).count(), 0);
    }

    #[test]
    fn feedback_without_its_entries_is_refused() {
        for (format, fci) in [(1, &[][..]), (1, &[0; 3]), (1, &[0; 5]), (15, &[0; 7])] {
            let body = with_fci(fci);
            let found = TransportFeedback::read(format, &body);
            assert_eq!(found, Err(ParseError::BadFeedback), "{format} {fci:?}");
        }
        let short_remb = b"REMB\x01\0\0";
        let remb_without_source = b"REMB\x01\0\0\0";
        let remb_with_another = b"REMB\0\0\0\0\0\0\0\x09";
        let remb_uneven = b"REMB\0\0\0\0\0";
        for (format, fci) in [
            (1, &[0; 4][..]),
            (2, &[]),
            (2, &[0; 6]),
            (4, &[]),
            (4, &[0; 4]),
            (4, &[0; 12]),
            (15, short_remb),
            (15, remb_without_source),
            (15, remb_with_another),
            (15, remb_uneven),
        ] {
            let body = with_fci(fci);
            let found = PayloadFeedback::read(format, &body);
            assert_eq!(found, Err(ParseError::BadFeedback), "{format} {fci:?}");
        }
        for len in 0..8 {
            let body = &[0; 8][..len];
            assert_eq!(TransportFeedback::read(1, body), Err(ParseError::FieldOverrun));
            assert_eq!(PayloadFeedback::read(1, body), Err(ParseError::FieldOverrun));
        }
    }

    #[test]
    fn other_formats_are_handed_on() {
        let body = with_fci(b"REMX");
        for format in (0..32).filter(|format| ![1, 15].contains(format)) {
            let found = TransportFeedback::read(format, &body).expect("a format");
            assert_eq!(found.message, TransportMessage::Other { format, fci: b"REMX" });
        }
        for format in (0..32).filter(|format| ![1, 2, 4].contains(format)) {
            let found = PayloadFeedback::read(format, &body).expect("a format");
            assert_eq!(found.message, PayloadMessage::Other { format, fci: b"REMX" });
        }
    }

    #[test]
    fn fields_of_a_slice_loss_keep_to_their_bits() {
        let loss = SliceLoss { first: 0x1FFF, number: 0, picture_id: 0x3F };
        assert_eq!(loss.to_bytes(), Some([0xFF, 0xF8, 0, 0x3F]));
        assert_eq!(SliceLosses(&[[0xFF, 0xF8, 0, 0x3F]]).iter().next(), Some(loss));
        let number = SliceLoss { first: 0, number: 0x1FFF, picture_id: 0 };
        assert_eq!(number.to_bytes(), Some([0, 7, 0xFF, 0xC0]));
        assert_eq!(SliceLosses(&[[0, 7, 0xFF, 0xC0]]).iter().next(), Some(number));
        for large in [
            SliceLoss { first: 1 << 13, ..loss },
            SliceLoss { number: 1 << 13, ..loss },
            SliceLoss { picture_id: 1 << 6, ..loss },
        ] {
            assert_eq!(large.to_bytes(), None);
        }
    }

    #[test]
    fn bitrates_keep_their_18_highest_bits() {
        for (bitrate, kept) in [
            (0, 0),
            (1, 1),
            (0x3_FFFF, 0x3_FFFF),
            (0x4_0001, 0x4_0000),
            (8_927_168, 8_927_168),
            (u64::MAX, 0xFFFF_C000_0000_0000),
        ] {
            let fci = remb_from_bitrate(bitrate, 0);
            let found = Remb::read(&fci).expect("a bitrate");
            assert_eq!(found.bitrate(), kept);
        }
        let large = Remb { exponent: 63, mantissa: 1, sources: &[] };
        assert_eq!(large.bitrate(), 1 << 63);
        assert_eq!(Remb { mantissa: 2, ..large }.bitrate(), u64::MAX);
        assert_eq!(Remb { mantissa: 0, ..large }.bitrate(), 0);
    }
}
