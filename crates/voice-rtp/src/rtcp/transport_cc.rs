//! Which packets arrived when: "RTP Extensions for Transport-wide Congestion Control", section 3.1.

use core::time::Duration;

use crate::number::Sequence;

/// Which packets of a transport arrived, and when.
///
/// "RTP Extensions for Transport-wide Congestion Control"
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01), section 3.1.
///
/// ```
/// use voice_rtp::rtcp::{Packet, TransportMessage, packets};
///
/// // Packets 5 and 7 arrived, the latter a millisecond later; packet 6 did not.
/// let datagram = [
///     0x8F, 0xCD, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 3, 0, 0, 9, 0, 0b1010_1000, 0, 0, 4,
/// ];
/// let Some(Ok(Packet::TransportFeedback(feedback))) = packets(&datagram).next() else { panic!() };
/// let TransportMessage::CongestionControl(feedback) = feedback.message else { panic!() };
/// let arrivals: Vec<_> = feedback.arrivals().map(|arrival| (arrival.sequence.get(), arrival.delta_ticks)).collect();
/// assert_eq!(arrivals, [(5, Some(0)), (6, None), (7, Some(4))]);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransportCc<'a> {
    /// Where the numbers and times start.
    pub info: TransportCcInfo,
    /// How many packets are spoken about, arrived or not.
    pub status_count: u16,
    /// The packets' status, then the times between those that arrived, then zeros to a whole word.
    body: &'a [u8],
    /// Where the times start in the body.
    deltas: &'a [u8],
}

impl<'a> TransportCc<'a> {
    pub(super) fn read(fci: &'a [u8]) -> Option<Self> {
        let (&[s0, s1, n0, n1, t0, t1, t2, feedback_count], body) = fci.split_first_chunk()?;
        let info = TransportCcInfo {
            base_sequence: Sequence::new(u16::from_be_bytes([s0, s1])),
            // Shifting down again extends the sign of the 24-bit number.
            reference_time: i32::from_be_bytes([t0, t1, t2, 0]) >> 8,
            feedback_count,
        };
        let status_count = u16::from_be_bytes([n0, n1]);

        let (mut left, mut deltas, mut deltas_len) = (status_count, body, 0);
        while left > 0 {
            let (chunk, rest) = StatusChunk::split_first(deltas)?;
            deltas_len += chunk.deltas_len(left)?;
            left = left.saturating_sub(chunk.len());
            deltas = rest;
        }
        (deltas_len <= deltas.len()).then_some(Self { info, status_count, body, deltas })
    }

    /// Returns the packets in order of their numbers.
    pub fn arrivals(&self) -> impl Iterator<Item = Arrival> + Clone + use<'a> {
        Arrivals {
            next: self.info.base_sequence,
            left: self.status_count,
            chunk: StatusChunk(0),
            index: 0,
            chunks: self.body,
            deltas: self.deltas,
        }
    }

    pub(super) fn parts(&self) -> ([u8; 8], &'a [u8]) {
        (self.info.to_bytes(self.status_count), self.body)
    }
}

/// Where the numbers and times of a [`TransportCc`] start.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct TransportCcInfo {
    /// The transport-wide number of the first packet that is spoken about.
    pub base_sequence: Sequence,
    /// The time from which the first arrival counts, in 64 ms after any fixed moment. Only 24 bits
    /// are on the wire.
    pub reference_time: i32,
    /// Which feedback it is, modulo 2^8.
    pub feedback_count: u8,
}

impl TransportCcInfo {
    pub(super) const fn to_bytes(self, status_count: u16) -> [u8; 8] {
        let [s0, s1] = self.base_sequence.get().to_be_bytes();
        let [n0, n1] = status_count.to_be_bytes();
        let [_, t0, t1, t2] = self.reference_time.to_be_bytes();
        [s0, s1, n0, n1, t0, t1, t2, self.feedback_count]
    }
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Arrival {
    /// The transport-wide number of the packet.
    pub sequence: Sequence,
    /// The time since the arrival before, at first since the reference time, in
    /// [`TRANSPORT_CC_TICK`]s; `None` if the packet did not arrive.
    pub delta_ticks: Option<i16>,
}

/// What an arrival is measured in: 250 µs.
///
/// "RTP Extensions for Transport-wide Congestion Control", section 3.1.5.
pub const TRANSPORT_CC_TICK: Duration = Duration::from_micros(250);

#[derive(Clone, Debug)]
struct Arrivals<'a> {
    next: Sequence,
    left: u16,
    chunk: StatusChunk,
    /// Of the chunk.
    index: u16,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.left = self.left.checked_sub(1)?;
        while self.index >= self.chunk.len() {
            (self.chunk, self.chunks) = StatusChunk::split_first(self.chunks)?;
            self.index = 0;
        }
        let delta_ticks = match self.chunk.symbol(self.index) {
            SMALL => {
                let (&delta, rest) = self.deltas.split_first()?;
                self.deltas = rest;
                Some(i16::from(delta))
            }
            LARGE => {
                let (&delta, rest) = self.deltas.split_first_chunk()?;
                self.deltas = rest;
                Some(i16::from_be_bytes(delta))
            }
            _ => None,
        };
        let sequence = self.next;
        self.index += 1;
        self.next = sequence.wrapping_add(1);
        Some(Arrival { sequence, delta_ticks })
    }
}

/// The status of some packets: section 3.1.3 and 3.1.4.
#[derive(Clone, Copy, Debug)]
struct StatusChunk(u16);

impl StatusChunk {
    fn split_first(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (chunk, rest) = bytes.split_first_chunk()?;
        Some((Self(u16::from_be_bytes(*chunk)), rest))
    }

    /// How many packets it is about.
    const fn len(self) -> u16 {
        match self.0 >> 14 {
            0 | 1 => self.0 & RUN_MAX,
            2 => ONE_BIT_SYMBOLS,
            _ => TWO_BIT_SYMBOLS,
        }
    }

    /// The status of the packet with this index, which is below [`len`](Self::len).
    const fn symbol(self, index: u16) -> u16 {
        match self.0 >> 14 {
            0 | 1 => self.0 >> 13,
            2 => self.0.wrapping_shr((ONE_BIT_SYMBOLS - 1).saturating_sub(index) as u32) & 1,
            _ => self.0.wrapping_shr(2 * (TWO_BIT_SYMBOLS - 1).saturating_sub(index) as u32) & 3,
        }
    }

    /// How many bytes the times of the first `count` packets take; `None` if one has a status that
    /// does not exist.
    fn deltas_len(self, count: u16) -> Option<usize> {
        let len = self.len().min(count);
        if self.0 >> 15 == 0 {
            // A run may be of thousands of packets: nobody counts them one by one.
            return Some(delta_len(self.symbol(0))? * usize::from(len));
        }
        (0..len).try_fold(0, |sum, index| Some(sum + delta_len(self.symbol(index))?))
    }
}

/// Picks the chunk that says most about the packets at the start of `deltas`; returns it and how many
/// packets it is about.
pub(super) fn pack(deltas: &[Option<i16>]) -> (u16, usize) {
    let symbols = || deltas.iter().map(|delta| symbol(*delta));
    let first = symbols().next().unwrap_or(0);
    let run = symbols().take(usize::from(RUN_MAX)).take_while(|symbol| *symbol == first).count();
    let small = symbols().take(usize::from(ONE_BIT_SYMBOLS)).take_while(|symbol| *symbol != LARGE).count();
    let two = deltas.len().min(usize::from(TWO_BIT_SYMBOLS));
    // A bit vector says something about all its symbols: it is cut short only by the last packet.
    let one = if small == deltas.len() || small == usize::from(ONE_BIT_SYMBOLS) { small } else { 0 };
    if run >= one && run >= two {
        return (first << 13 | run as u16, run);
    }
    let (kind, len, width, taken) =
        if one >= two { (2, ONE_BIT_SYMBOLS, 1, one) } else { (3, TWO_BIT_SYMBOLS, 2, two) };
    let packed = symbols().chain(core::iter::repeat(0)).take(usize::from(len));
    (packed.fold(kind, |bits, symbol| bits << width | symbol), taken)
}

/// The bytes of a time, of which the first is left out if the packet came soon.
pub(super) fn delta_bytes(delta: i16) -> ([u8; 2], bool) {
    (delta.to_be_bytes(), symbol(Some(delta)) == SMALL)
}

fn symbol(delta: Option<i16>) -> u16 {
    match delta {
        None => NOT_RECEIVED,
        Some(0..=0xFF) => SMALL,
        Some(_) => LARGE,
    }
}

const fn delta_len(symbol: u16) -> Option<usize> {
    match symbol {
        NOT_RECEIVED => Some(0),
        SMALL => Some(1),
        LARGE => Some(2),
        _ => None,
    }
}

/// Section 3.1.1: packet not received.
const NOT_RECEIVED: u16 = 0;

/// Section 3.1.1: packet received, small delta.
const SMALL: u16 = 1;

/// Section 3.1.1: packet received, large or negative delta.
const LARGE: u16 = 2;

/// Section 3.1.3: 13 bits of run length.
const RUN_MAX: u16 = 0x1FFF;

/// Section 3.1.4: the symbols of a vector with one bit each.
const ONE_BIT_SYMBOLS: u16 = 14;

/// Section 3.1.4: the symbols of a vector with two bits each.
const TWO_BIT_SYMBOLS: u16 = 7;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn read(status_count: u16, body: &[u8]) -> Option<Vec<Option<i16>>> {
        let info = TransportCcInfo::default();
        let fci = [&info.to_bytes(status_count)[..], body].concat();
        let feedback = TransportCc::read(&fci)?;
        Some(feedback.arrivals().map(|arrival| arrival.delta_ticks).collect())
    }

    #[test]
    fn all_chunks_are_read() {
        // The examples of sections 3.1.3 and 3.1.4.
        assert_eq!(read(221, &[0x00, 0xDD]), Some(std::vec![None; 221]));
        assert_eq!(read(24, &[0x60, 0x18]), None, "a status that does not exist");
        let five = [Some(1), Some(2), Some(3), Some(4), Some(5)];
        let vector = [&[None][..], &five, &[None; 3], &[Some(6), Some(7), Some(8)], &[None; 2]].concat();
        assert_eq!(read(14, &[0x9F, 0x1C, 1, 2, 3, 4, 5, 6, 7, 8]), Some(vector));
        let two_bits = [None, Some(-1), Some(9), Some(9), Some(9), None, None];
        assert_eq!(read(7, &[0b1100_1001, 0b0101_0000, 0xFF, 0xFF, 9, 9]), None, "a time is missing");
        assert_eq!(read(7, &[0b1100_1001, 0b0101_0000, 0xFF, 0xFF, 9, 9, 9]), Some(Vec::from(two_bits)));
    }

    #[test]
    fn what_is_missing_or_does_not_exist_is_refused() {
        assert_eq!(read(0, &[]), Some(Vec::new()));
        assert_eq!(read(1, &[]), None, "no status");
        assert_eq!(read(15, &[0x80, 0, 0]), None, "half a status");
        assert_eq!(read(1, &[0x20, 1]), None, "no time");
        assert_eq!(read(1, &[0x40, 1, 0]), None, "half a time");
        assert_eq!(read(1, &[0b1111_0000, 0, 0, 0]), None, "a status that does not exist");
        assert_eq!(read(1, &[0b1100_1100, 0]), Some(Vec::from([None])), "behind the last packet it may be anything");
        assert_eq!(read(2, &[0, 0, 0x20, 2, 5, 6]), Some(Vec::from([Some(5), Some(6)])), "an empty run");
    }

    #[test]
    fn fields_have_their_places() {
        let fci = [1, 2, 0, 1, 0xFF, 0xFF, 0xFE, 9, 0, 1];
        let feedback = TransportCc::read(&fci).expect("feedback");
        let info = TransportCcInfo { base_sequence: Sequence::new(0x0102), reference_time: -2, feedback_count: 9 };
        assert_eq!((feedback.info, feedback.status_count), (info, 1));
        assert_eq!(feedback.parts().0, fci[..8]);
        assert_eq!(TransportCc::read(&fci[..7]), None);
    }

    #[test]
    fn the_best_chunk_is_picked() {
        let (lost, soon, late) = (None, Some(4), Some(256));
        for (deltas, packed) in [
            (Vec::from([lost; 9_000]), (8_191, 8_191)),
            (Vec::from([soon; 15]), (0x2000 | 15, 15)),
            (Vec::from([late; 2]), (0x4000 | 2, 2)),
            (Vec::from([lost, soon]), (0b1001_0000_0000_0000, 2)),
            ([[soon; 7], [lost; 7]].concat(), (0b1011_1111_1000_0000, 14)),
            (Vec::from([lost, soon, Some(-1)]), (0b1100_0110_0000_0000, 3)),
            ([&[soon; 8][..], &[late]].concat(), (0x2000 | 8, 8)),
        ] {
            assert_eq!(pack(&deltas), packed, "{deltas:?}");
        }
    }
}
