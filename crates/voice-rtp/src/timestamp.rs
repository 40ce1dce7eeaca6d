//! From 32-bit timestamps to timestamps that never wrap.

use crate::number::Timestamp;

/// Extends the 32-bit timestamps of one stream to 64 bits, across wraps and reordering.
///
/// Each timestamp is placed nearest to the highest one seen so far: at most 2^31 - 1 ticks ahead of
/// it or 2^31 behind. The first of a stream is extended to itself plus 2^32, so that packets which
/// were sent before it and arrive late still get smaller, never negative, timestamps.
///
/// ```
/// use voice_rtp::{Timestamp, TimestampExtender};
///
/// let mut extender = TimestampExtender::new();
/// let first = extender.extend(Timestamp::new(u32::MAX - 959));
/// assert_eq!(extender.extend(Timestamp::new(960)), first + 1_920); // wrapped
/// assert_eq!(extender.extend(Timestamp::new(0)), first + 960); // late
/// assert_eq!(extender.highest(), Some(first + 1_920));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TimestampExtender {
    highest: Option<u64>,
}

impl TimestampExtender {
    /// Makes an extender for a stream of which nothing was seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// Extends `timestamp` and remembers it when it is the highest so far.
    pub const fn extend(&mut self, timestamp: Timestamp) -> u64 {
        let extended = self.peek(timestamp);
        match self.highest {
            Some(highest) if highest >= extended => {}
            _ => self.highest = Some(extended),
        }
        extended
    }

    /// Forgets the stream: the next timestamp starts anew.
    pub const fn reset(&mut self) {
        self.highest = None;
    }

    /// Extends `timestamp` without remembering it.
    #[must_use]
    pub const fn peek(&self, timestamp: Timestamp) -> u64 {
        match self.highest {
            None => FIRST_CYCLE | timestamp.get() as u64,
            Some(highest) => {
                let newest = Timestamp::new((highest & 0xFFFF_FFFF) as u32);
                // `highest` starts at 2^32 and never falls, so going back 2^31 cannot wrap; going
                // forward takes 2^32 turns of the counter.
                highest.wrapping_add_signed(timestamp.distance(newest) as i64)
            }
        }
    }

    /// Returns the highest extended timestamp so far.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// What the first timestamp of a stream is raised by: one turn of the 32-bit counter.
const FIRST_CYCLE: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_timestamps_before_the_first_are_smaller_and_not_negative() {
        let mut extender = TimestampExtender::new();
        let first = extender.extend(Timestamp::new(0));
        assert_eq!(extender.extend(Timestamp::new(u32::MAX)), first - 1);
        assert_eq!(extender.extend(Timestamp::new(1 << 31)), first - (1 << 31));
        assert_eq!(extender.highest(), Some(first));
    }

    #[test]
    fn many_turns_count_up() {
        let mut extender = TimestampExtender::new();
        let start = 0xFFFF_0000_u64;
        let first = extender.extend(Timestamp::new(start as u32));
        for step in (0..1 << 36).step_by((1 << 30) - 77) {
            assert_eq!(extender.extend(Timestamp::new((start + step) as u32)), first + step);
        }
    }

    #[test]
    fn peeking_and_resetting() {
        let mut extender = TimestampExtender::new();
        extender.extend(Timestamp::new(10));
        let before = extender;
        assert_eq!(extender.peek(Timestamp::new(30_000)), (1 << 32) + 30_000);
        assert_eq!(extender, before);
        extender.reset();
        assert_eq!(extender, TimestampExtender::new());
    }
}
