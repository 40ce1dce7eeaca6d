//! What was received of a stream and what was lost, as reports state it.

use crate::jitter::Jitter;
use crate::number::{Sequence, Ssrc, Timestamp};
use crate::rtcp::ReportBlock;

/// Keeps count of one stream that is received, for receiver reports.
///
/// RFC 3550: validation and sequence numbers of appendix A.1, losses of A.3, jitter of A.8.
/// Duplicates and late packets count as received, so that the loss can be negative; a jump by
/// [`MAX_DROPOUT`] or more counts for nothing until the packet behind it arrives too, and then the
/// stream starts anew.
///
/// ```
/// use voice_rtp::{Reception, Sequence, Ssrc, Timestamp, Verdict};
///
/// let mut reception = Reception::new(Ssrc::new(7));
/// for number in [65_534, 65_535, 1, 2] {
///     let timestamp = Timestamp::new(u32::from(number) * 960);
///     let verdict = reception.receive(Sequence::new(number), timestamp, timestamp);
///     assert_eq!(verdict, Verdict::InOrder);
/// }
/// let block = reception.report_block(); // number 0 was lost: one of five
/// assert_eq!((block.cumulative_lost, block.fraction_lost), (1, 51));
/// assert_eq!(block.highest_sequence, 65_536 + 2);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reception {
    ssrc: Ssrc,
    state: State,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The next packet is the first. So many in sequence make the stream valid.
    Unheard {
        needed: u8,
    },
    /// So many more in sequence behind `last` make the stream valid.
    Probation {
        needed: u8,
        left: u8,
        last: Sequence,
    },
    Valid(Counts),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Counts {
    /// The first number.
    base: Sequence,
    /// The highest number, with how often it wrapped above its 16 bits.
    highest: u64,
    /// The number that would confirm a jump.
    after_jump: Option<Sequence>,
    received: u64,
    expected_before: u64,
    received_before: u64,
}

impl Reception {
    /// Makes the count of a stream that is valid with its first packet.
    ///
    /// Right when packets are authenticated before they are counted.
    #[must_use]
    pub const fn new(ssrc: Ssrc) -> Self {
        Self::with_probation(ssrc, 1)
    }

    /// Makes the count of a stream that is valid with the last of `packets` packets in sequence.
    ///
    /// RFC 3550, appendix A.1, proposes 2. Packets before that one are not counted. 0 is the same
    /// as 1.
    #[must_use]
    pub const fn with_probation(ssrc: Ssrc, packets: u8) -> Self {
        let needed = if packets == 0 { 1 } else { packets };
        Self { ssrc, state: State::Unheard { needed }, jitter: Jitter::new() }
    }

    /// Takes a packet that arrived at `arrival`, on a clock with the rate of the media clock: see
    /// [`Jitter::update`].
    pub fn receive(&mut self, sequence: Sequence, timestamp: Timestamp, arrival: Timestamp) -> Verdict {
        let verdict = self.place(sequence);
        match verdict {
            Verdict::Probation | Verdict::Jump => {}
            Verdict::Restart => {
                self.jitter.restart();
                self.jitter.update(arrival, timestamp);
            }
            Verdict::InOrder | Verdict::Late => self.jitter.update(arrival, timestamp),
        }
        verdict
    }

    /// Returns what to report, and begins the next interval.
    ///
    /// [`last_sender_report`](ReportBlock::last_sender_report) and the delay since are 0: when a
    /// sender report arrived is for the caller to know.
    pub fn report_block(&mut self) -> ReportBlock {
        let mut block = ReportBlock { ssrc: self.ssrc, jitter: self.jitter.ticks(), ..ReportBlock::default() };
        if let State::Valid(counts) = &mut self.state {
            block.fraction_lost = counts.end_interval();
            block.cumulative_lost = counts.lost();
            // The field has 16 bits for the wraps and loses the rest.
            block.highest_sequence = counts.highest as u32;
        }
        block
    }

    /// Returns the stream.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Says whether the stream proved to be one.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        matches!(self.state, State::Valid(_))
    }

    /// Returns how many packets should have arrived, from the first to the highest number.
    #[must_use]
    pub const fn expected(&self) -> u64 {
        match &self.state {
            State::Valid(counts) => counts.expected(),
            _ => 0,
        }
    }

    /// Returns how many packets arrived, duplicates and late ones included.
    #[must_use]
    pub const fn received(&self) -> u64 {
        match &self.state {
            State::Valid(counts) => counts.received,
            _ => 0,
        }
    }

    /// Returns how many packets were lost, limited to the 24 bits that a report has for it; negative
    /// when duplicates outnumber losses.
    #[must_use]
    pub const fn lost(&self) -> i32 {
        match &self.state {
            State::Valid(counts) => counts.lost(),
            _ => 0,
        }
    }

    /// Returns the highest sequence number, with how often it wrapped above its 16 bits; `None`
    /// before the stream is valid.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        match &self.state {
            State::Valid(counts) => Some(counts.highest),
            _ => None,
        }
    }

    /// Returns the jitter.
    #[must_use]
    pub const fn jitter(&self) -> Jitter {
        self.jitter
    }

    const fn place(&mut self, sequence: Sequence) -> Verdict {
        let (needed, left) = match &mut self.state {
            State::Valid(counts) => return counts.place(sequence),
            State::Unheard { needed } => (*needed, needed.saturating_sub(1)),
            State::Probation { needed, left, last } if sequence.distance(*last) == 1 => {
                (*needed, left.saturating_sub(1))
            }
            State::Probation { needed, .. } => (*needed, needed.saturating_sub(1)),
        };
        if left == 0 {
            self.state = State::Valid(Counts::new(sequence));
            Verdict::InOrder
        } else {
            self.state = State::Probation { needed, left, last: sequence };
            Verdict::Probation
        }
    }
}

impl Counts {
    /// Starts with the packet `first` received.
    const fn new(first: Sequence) -> Self {
        Self {
            base: first,
            highest: first.get() as u64,
            after_jump: None,
            received: 1,
            expected_before: 0,
            received_before: 0,
        }
    }

    const fn place(&mut self, sequence: Sequence) -> Verdict {
        // Modulo 2^16, as the RFC compares it.
        let ahead = sequence.get().wrapping_sub(self.highest as u16);
        let verdict = if ahead < MAX_DROPOUT {
            // The same number again is late, and neither raises the highest one.
            self.highest = self.highest.wrapping_add(ahead as u64);
            if ahead == 0 { Verdict::Late } else { Verdict::InOrder }
        } else if ahead <= 0_u16.wrapping_sub(MAX_MISORDER) {
            if !matches!(self.after_jump, Some(expected) if expected.get() == sequence.get()) {
                self.after_jump = Some(sequence.wrapping_add(1));
                return Verdict::Jump;
            }
            *self = Self::new(sequence);
            return Verdict::Restart;
        } else {
            Verdict::Late
        };
        self.received = self.received.wrapping_add(1);
        verdict
    }

    const fn expected(&self) -> u64 {
        self.highest.wrapping_sub(self.base.get() as u64).wrapping_add(1)
    }

    const fn lost(&self) -> i32 {
        // No stream is so long that either count would not fit.
        match self.expected().cast_signed().wrapping_sub(self.received.cast_signed()) {
            0x7F_FFFF.. => 0x7F_FFFF,
            ..=-0x80_0000 => -0x80_0000,
            lost => lost as i32,
        }
    }

    /// Returns what was lost of this interval, in 1/256, and begins the next.
    const fn end_interval(&mut self) -> u8 {
        let expected = self.expected().wrapping_sub(self.expected_before);
        let received = self.received.wrapping_sub(self.received_before);
        self.expected_before = self.expected();
        self.received_before = self.received;
        // Duplicates do not make up for the losses of another interval.
        let lost = expected.saturating_sub(received);
        match (lost << 8).checked_div(expected) {
            None => 0,
            Some(fraction @ 0..=255) => fraction as u8,
            Some(_) => u8::MAX,
        }
    }
}

/// What [`Reception::receive`] made of a packet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// The stream is not valid yet; not counted.
    Probation,
    /// The highest number so far.
    InOrder,
    /// A duplicate, or a packet that others overtook; counted as received.
    Late,
    /// Far from the others, and the first to be there; not counted.
    Jump,
    /// Right behind the last jump: the stream starts anew with this packet, and all counts with it.
    Restart,
}

/// How far ahead a packet may be without its stream starting anew, in packets, itself excluded.
///
/// RFC 3550, appendix A.1.
pub const MAX_DROPOUT: u16 = 3_000;

/// How far behind a packet may be without its stream starting anew, in packets, itself excluded.
///
/// RFC 3550, appendix A.1.
pub const MAX_MISORDER: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives packets that arrive evenly; returns what became of each.
    fn receive<const N: usize>(reception: &mut Reception, numbers: [u16; N]) -> [Verdict; N] {
        numbers.map(|number| reception.receive(Sequence::new(number), Timestamp::new(0), Timestamp::new(0)))
    }

    #[test]
    fn nothing_received_is_nothing_lost() {
        let mut reception = Reception::new(Ssrc::new(9));
        assert_eq!(reception.report_block(), ReportBlock { ssrc: Ssrc::new(9), ..ReportBlock::default() });
        assert_eq!((reception.expected(), reception.received(), reception.lost()), (0, 0, 0));
        assert_eq!((reception.highest(), reception.is_valid()), (None, false));
        assert_eq!(reception.ssrc(), Ssrc::new(9));
    }

    #[test]
    fn probation_ends_with_enough_packets_in_sequence() {
        use Verdict::{InOrder, Probation};
        let mut reception = Reception::with_probation(Ssrc::new(9), 3);
        assert_eq!(
            receive(&mut reception, [5, 6, 8, 65_534, 65_535, 0, 1]),
            [Probation, Probation, Probation, Probation, Probation, InOrder, InOrder]
        );
        assert_eq!((reception.received(), reception.expected()), (2, 2), "counted from the one that made it valid");
        let mut unproven = Reception::with_probation(Ssrc::new(9), 0);
        assert_eq!(receive(&mut unproven, [5]), [InOrder]);
    }

    #[test]
    fn late_packets_and_duplicates_count_as_received() {
        use Verdict::{InOrder, Late};
        let mut reception = Reception::new(Ssrc::new(9));
        assert_eq!(receive(&mut reception, [10, 12, 11, 12, 9]), [InOrder, InOrder, Late, Late, Late]);
        assert_eq!((reception.expected(), reception.received(), reception.lost()), (3, 5, -2));
        assert_eq!(reception.report_block().fraction_lost, 0);
    }

    #[test]
    fn duplicates_do_not_hide_the_losses_of_a_later_interval() {
        let mut reception = Reception::new(Ssrc::new(9));
        receive(&mut reception, [1, 1, 1, 2]);
        reception.report_block();
        receive(&mut reception, [4]);
        let block = reception.report_block();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (128, -1));
        assert_eq!(reception.report_block().fraction_lost, 0, "an interval without packets");
    }

    #[test]
    fn a_jump_counts_when_the_next_packet_confirms_it() {
        use Verdict::{InOrder, Jump, Late, Restart};
        let mut reception = Reception::new(Ssrc::new(9));
        receive(&mut reception, [100]);
        assert_eq!(receive(&mut reception, [3_099, 3_000]), [InOrder, Late]);
        assert_eq!(receive(&mut reception, [2_999]), [Jump], "100 behind");
        assert_eq!(receive(&mut reception, [6_099]), [Jump], "3 000 ahead");
        assert_eq!(receive(&mut reception, [3_100, 6_101]), [InOrder, Jump], "the stream goes on as it was");
        assert_eq!(reception.received(), 4);
        assert_eq!(receive(&mut reception, [6_102]), [Restart]);
        assert_eq!((reception.expected(), reception.received(), reception.highest()), (1, 1, Some(6_102)));
    }

    #[test]
    fn a_restart_is_no_jitter() {
        let mut reception = Reception::new(Ssrc::new(9));
        for (number, timestamp) in [(1, 0), (2, 960), (30_000, 1 << 30), (30_001, (1 << 30) + 960)] {
            reception.receive(Sequence::new(number), Timestamp::new(timestamp), Timestamp::new(0));
        }
        assert_eq!(reception.jitter().ticks(), 960 / 16);
    }

    #[test]
    fn losses_are_limited_to_24_bits() {
        let mut reception = Reception::new(Ssrc::new(9));
        let mut number = 0_u16;
        for _ in 0..3_000 {
            number = number.wrapping_add(2_999);
            receive(&mut reception, [number]);
        }
        assert_eq!(reception.lost(), 0x7F_FFFF);
        assert_eq!(reception.report_block().cumulative_lost, 0x7F_FFFF);
        let mut repeated = Reception::new(Ssrc::new(9));
        for _ in 0..0x80_0010 {
            receive(&mut repeated, [7]);
        }
        assert_eq!(repeated.lost(), -0x80_0000);
    }
}
