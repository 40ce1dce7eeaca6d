//! From 16-bit sequence numbers to numbers that never wrap.

use crate::number::Sequence;

/// Extends the 16-bit sequence numbers of one stream to 64 bits, across wraps and reordering.
///
/// Each number is placed nearest to the highest one seen so far: at most 32 767 ahead of it or
/// 32 768 behind. The first number of a stream is extended to itself plus 65 536, so that packets
/// which were sent before it and arrive late still get smaller, never negative, numbers.
///
/// It believes every number. Whether a large jump is a loss, an old packet or a stream that starts
/// anew is for [`Reception`](crate::Reception) or the caller to judge, who can
/// [`peek`](Self::peek) first and [`reset`](Self::reset).
///
/// ```
/// use voice_rtp::{Sequence, SequenceExtender};
///
/// let mut extender = SequenceExtender::new();
/// assert_eq!(extender.extend(Sequence::new(65_534)), 131_070);
/// assert_eq!(extender.extend(Sequence::new(1)), 131_073); // wrapped
/// assert_eq!(extender.extend(Sequence::new(65_535)), 131_071); // late
/// assert_eq!(extender.highest(), Some(131_073));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SequenceExtender {
    highest: Option<u64>,
}

impl SequenceExtender {
    /// Makes an extender for a stream of which nothing was seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// Extends `sequence` and remembers it when it is the highest so far.
    pub const fn extend(&mut self, sequence: Sequence) -> u64 {
        let extended = self.peek(sequence);
        match self.highest {
            Some(highest) if highest >= extended => {}
            _ => self.highest = Some(extended),
        }
        extended
    }

    /// Forgets the stream: the next number starts anew.
    pub const fn reset(&mut self) {
        self.highest = None;
    }

    /// Extends `sequence` without remembering it.
    #[must_use]
    pub const fn peek(&self, sequence: Sequence) -> u64 {
        match self.highest {
            None => FIRST_CYCLE + sequence.get() as u64,
            Some(highest) => {
                let newest = Sequence::new((highest & 0xFFFF) as u16);
                // `highest` starts at 65 536 and never falls, so going back 32 768 cannot
                // wrap; going forward would take longer than the universe has.
                highest.wrapping_add_signed(sequence.distance(newest) as i64)
            }
        }
    }

    /// Returns the highest extended number so far.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// What the first number of a stream is raised by: one turn of the 16-bit counter.
const FIRST_CYCLE: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_packets_before_the_first_are_smaller_and_not_negative() {
        let mut extender = SequenceExtender::new();
        let first = extender.extend(Sequence::new(0));
        assert_eq!(extender.extend(Sequence::new(65_535)), first - 1);
        assert_eq!(extender.extend(Sequence::new(32_768)), first - 32_768);
        assert_eq!(extender.highest(), Some(first));
    }

    #[test]
    fn a_million_packets_count_up_by_one() {
        let mut extender = SequenceExtender::new();
        let first = extender.extend(Sequence::new(65_000));
        for step in 1..1_000_000_u64 {
            let sequence = Sequence::new(((65_000 + step) & 0xFFFF) as u16);
            assert_eq!(extender.extend(sequence), first + step);
        }
    }

    #[test]
    fn peeking_leaves_the_stream_where_it_was() {
        let mut extender = SequenceExtender::new();
        extender.extend(Sequence::new(10));
        let before = extender;
        assert_eq!(extender.peek(Sequence::new(30_000)), 65_536 + 30_000);
        assert_eq!(extender, before);
    }

    #[test]
    fn a_reset_stream_starts_in_the_first_cycle() {
        let mut extender = SequenceExtender::new();
        extender.extend(Sequence::new(65_535));
        extender.extend(Sequence::new(5));
        extender.reset();
        assert_eq!(extender.extend(Sequence::new(7)), 65_543);
    }
}
