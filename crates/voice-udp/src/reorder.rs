//! Putting one stream's packets back into order, with a bound on how long and how much is waited for.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use voice_rtp::{Sequence, SequenceExtender, Timestamp};

/// The packets of one SSRC that wait for the one before them.
#[derive(Debug, Default)]
pub(crate) struct Reorder {
    extender: SequenceExtender,
    /// The next number to release; unknown until the first release.
    next: Option<u64>,
    held: VecDeque<Held>,
    /// Bit n: the number n below the highest was seen.
    seen: u64,
    late_in_a_row: u32,
    /// The number that would confirm that the sender's numbers jumped.
    suspect: Option<Sequence>,
}

/// A packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) sequence: u64,
    pub(crate) timestamp: Timestamp,
    pub(crate) arrived: Instant,
    pub(crate) frame: Option<Stored>,
}

/// Where a frame is kept; a packet of mere padding has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) slot: usize,
    pub(crate) len: usize,
}

/// What became of a packet that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    Accepted {
        /// It was sent before one that arrived earlier.
        reordered: bool,
    },
    /// The sender's numbers jumped: the order starts anew with this packet.
    Resynchronised,
    /// Its number was seen already.
    Duplicate,
    /// Its turn has passed.
    Late,
}

/// What is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    Packet(Held),
    /// So many packets did not come in time; at most [`MAX_JUMP`].
    Lost(u64),
}

impl Reorder {
    /// Whether a packet with this number would be kept; marks it as seen if so.
    pub(crate) fn admit(&mut self, sequence: Sequence) -> (u64, Insert) {
        let Some(highest) = self.extender.highest() else {
            self.seen = 1;
            return (self.extender.extend(sequence), Insert::Accepted { reordered: false });
        };
        let number = self.extender.peek(sequence);
        if number > highest {
            if number - highest > MAX_JUMP {
                return self.suspicious(sequence, number);
            }
            self.seen = self.seen.checked_shl((number - highest) as u32).unwrap_or(0) | 1;
            self.extender.extend(sequence);
            self.accepted();
            return (number, Insert::Accepted { reordered: false });
        }
        let age = highest - number;
        if age < REPLAY_WINDOW && self.seen & (1 << age) != 0 {
            return (number, Insert::Duplicate);
        }
        // However far behind, it may be a replay: only a long run of them without anything newer is a jump back.
        if age >= REPLAY_WINDOW || self.next.is_some_and(|next| number < next) {
            self.late_in_a_row += 1;
            if self.late_in_a_row >= MAX_LATE {
                return self.resynchronise(sequence);
            }
            return (number, Insert::Late);
        }
        self.seen |= 1 << age;
        self.accepted();
        (number, Insert::Accepted { reordered: true })
    }

    /// Keeps an admitted packet in its place.
    pub(crate) fn hold(&mut self, packet: Held) {
        let after = self.held.iter().rposition(|held| held.sequence < packet.sequence).map_or(0, |index| index + 1);
        self.held.insert(after, packet);
    }

    /// What may be released now, in order.
    pub(crate) fn release(&mut self, now: Instant) -> Option<Release> {
        let first = self.held.front()?;
        let next = *self.next.get_or_insert(first.sequence);
        if first.sequence > next {
            if self.held.len() < MAX_HELD && now < first.arrived + MAX_WAIT {
                return None;
            }
            self.next = Some(first.sequence);
            return Some(Release::Lost(first.sequence - next));
        }
        self.next = Some(first.sequence + 1);
        self.held.pop_front().map(Release::Packet)
    }

    /// When a gap will be given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held.front().map(|first| first.arrived + MAX_WAIT)
    }

    /// Takes a held packet out, the oldest first, without releasing it.
    pub(crate) fn discard(&mut self) -> Option<Held> {
        self.held.pop_front()
    }

    pub(crate) fn held_len(&self) -> usize {
        self.held.len()
    }

    const fn accepted(&mut self) {
        (self.late_in_a_row, self.suspect) = (0, None);
    }

    /// A number far away counts only when the one after it follows, so that one stray packet changes nothing.
    fn suspicious(&mut self, sequence: Sequence, number: u64) -> (u64, Insert) {
        if self.suspect == Some(sequence) {
            return self.resynchronise(sequence);
        }
        self.suspect = Some(sequence.wrapping_add(1));
        (number, Insert::Late)
    }

    fn resynchronise(&mut self, sequence: Sequence) -> (u64, Insert) {
        self.extender.reset();
        (self.next, self.seen) = (None, 1);
        self.accepted();
        (self.extender.extend(sequence), Insert::Resynchronised)
    }
}

/// How long a packet waits for those before it: three frames.
pub(crate) const MAX_WAIT: Duration = Duration::from_millis(60);
/// Packets that may wait in one stream.
pub(crate) const MAX_HELD: usize = 64;
/// Numbers that a stream may run ahead (RFC 3550, appendix A.1, MAX_DROPOUT).
pub(crate) const MAX_JUMP: u64 = 3_000;
/// Late packets in a row after which the sender's numbers are believed to have jumped back.
const MAX_LATE: u32 = 25;
/// Numbers below the highest for which it is known whether they were seen.
const REPLAY_WINDOW: u64 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Stream {
        reorder: Reorder,
        now: Instant,
    }

    impl Stream {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
            Self { reorder: Reorder::default(), now: Instant::now() }
        }

        fn arrive(&mut self, sequence: u16) -> Insert {
            let (number, insert) = self.reorder.admit(Sequence::new(sequence));
            if insert == Insert::Resynchronised {
                while self.reorder.discard().is_some() {}
            }
            if matches!(insert, Insert::Accepted { .. } | Insert::Resynchronised) {
                let timestamp = Timestamp::new(0);
                self.reorder.hold(Held { sequence: number, timestamp, arrived: self.now, frame: None });
            }
            insert
        }

        /// The low 16 bits of what is released; losses as a count.
        fn released(&mut self) -> Vec<Result<u16, u64>> {
            let step = |release| match release {
                Release::Packet(held) => Ok(held.sequence as u16),
                Release::Lost(count) => Err(count),
            };
            std::iter::from_fn(|| self.reorder.release(self.now)).map(step).collect()
        }
    }

    #[test]
    fn packets_in_order_are_released_at_once_across_the_wrap() {
        let mut stream = Stream::new();
        for sequence in [65_534, 65_535, 0, 1] {
            assert_eq!(stream.arrive(sequence), Insert::Accepted { reordered: false });
            assert_eq!(stream.released(), [Ok(sequence)]);
        }
    }

    #[test]
    fn a_gap_is_waited_for_and_then_given_up() {
        let mut stream = Stream::new();
        stream.arrive(10);
        stream.released();
        stream.arrive(13);
        assert_eq!(stream.released(), []);
        assert_eq!(stream.reorder.deadline(), Some(stream.now + MAX_WAIT));
        assert_eq!(stream.arrive(11), Insert::Accepted { reordered: true });
        assert_eq!(stream.released(), [Ok(11)]);
        stream.now += MAX_WAIT;
        assert_eq!(stream.released(), [Err(1), Ok(13)]);
        assert_eq!(stream.arrive(12), Insert::Late);
    }

    #[test]
    fn the_same_number_is_taken_once() {
        let mut stream = Stream::new();
        for sequence in 0..200 {
            assert_eq!(stream.arrive(sequence), Insert::Accepted { reordered: false });
            for age in 0..=sequence.min(63) {
                assert_eq!(stream.arrive(sequence - age), Insert::Duplicate);
            }
            stream.released();
        }
    }

    #[test]
    fn one_stray_number_changes_nothing_and_a_real_jump_is_followed() {
        let mut stream = Stream::new();
        stream.arrive(100);
        stream.released();
        assert_eq!(stream.arrive(30_000), Insert::Late);
        assert_eq!(stream.arrive(101), Insert::Accepted { reordered: false });
        assert_eq!(stream.released(), [Ok(101)]);
        assert_eq!(stream.arrive(30_000), Insert::Late);
        assert_eq!(stream.arrive(30_001), Insert::Resynchronised);
        assert_eq!(stream.arrive(30_002), Insert::Accepted { reordered: false });
        assert_eq!(stream.released(), [Ok(30_001), Ok(30_002)]);
    }

    #[test]
    fn old_packets_that_are_replayed_are_dropped() {
        let mut stream = Stream::new();
        for sequence in 0..500 {
            stream.arrive(sequence);
            stream.released();
        }
        for replayed in [10, 11, 12, 13] {
            assert_eq!(stream.arrive(replayed), Insert::Late);
        }
        assert_eq!(stream.arrive(500), Insert::Accepted { reordered: false });
        assert_eq!(stream.released(), [Ok(500)]);
    }

    #[test]
    fn a_long_run_of_late_packets_is_a_jump_back() {
        let mut stream = Stream::new();
        for sequence in 0..=90 {
            stream.arrive(sequence);
        }
        stream.released();
        // A sender that fell back below the replay window, but not as far as an obvious jump.
        let inserts: Vec<_> = (0..25).map(|sequence| stream.arrive(sequence)).collect();
        assert!(inserts[..24].iter().all(|insert| *insert == Insert::Late));
        assert_eq!(inserts[24], Insert::Resynchronised);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut stream = Stream::new();
        stream.arrive(0);
        stream.released();
        for sequence in 2..2 + MAX_HELD as u16 {
            stream.arrive(sequence);
        }
        let released = stream.released();
        assert_eq!(released[0], Err(1));
        assert_eq!(released.len(), 1 + MAX_HELD);
    }

    proptest! {
        #[test]
        fn any_order_of_arrival_is_released_ascending_and_without_repetition(
            start: u16, mut arrivals in proptest::collection::vec((0u16..200, 0u64..30), 1..400),
        ) {
            let mut stream = Stream::new();
            let mut last = None;
            let mut released = 0u64;
            for (offset, wait) in arrivals.drain(..) {
                stream.now += Duration::from_millis(wait);
                if stream.arrive(start.wrapping_add(offset)) == Insert::Resynchronised {
                    last = None;
                }
                while let Some(release) = stream.reorder.release(stream.now) {
                    match release {
                        Release::Packet(held) => {
                            prop_assert!(last.is_none_or(|last| held.sequence > last));
                            last = Some(held.sequence);
                            released += 1;
                        }
                        Release::Lost(count) => prop_assert!(count <= MAX_JUMP),
                    }
                }
                prop_assert!(stream.reorder.held_len() <= MAX_HELD);
            }
            prop_assert!(released <= 400);
        }
    }
}
