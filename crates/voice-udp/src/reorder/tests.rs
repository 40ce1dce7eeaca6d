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

    /// A stream that is well under way; number 0 and time 0 were released last.
    fn settled() -> Self {
        let mut stream = Self::new();
        for back in (0..200).rev() {
            stream.now += FRAME;
            assert_eq!(stream.arrive_at(0u16.wrapping_sub(back), -i64::from(back)), NEXT);
            stream.released();
        }
        stream
    }

    /// The packet whose timestamp goes with its number.
    fn arrive(&mut self, sequence: u16) -> Told {
        self.arrive_at(sequence, i64::from(sequence))
    }

    /// A packet with a time in frames.
    fn arrive_at(&mut self, sequence: u16, frames: i64) -> Told {
        let timestamp = Timestamp::new((frames * 960) as u32);
        let told = self.reorder.admit(self.now, Sequence::new(sequence), timestamp);
        if let Insert::Accepted { place, .. } | Insert::Resynchronised { place } = told {
            self.reorder.hold(Held { place, timestamp, arrived: self.now, frame: None });
        }
        match told {
            Insert::Accepted { reordered, .. } => Told::Accepted { reordered },
            Insert::Resynchronised { .. } => Told::Resynchronised,
            Insert::Duplicate => Told::Duplicate,
            Insert::Late | Insert::Old => Told::Late,
        }
    }

    /// The low 16 bits of what is released; losses as a count.
    fn released(&mut self) -> Vec<Result<u16, u64>> {
        let step = |release| match release {
            Release::Packet(held) => Ok(held.place.number as u16),
            Release::Lost(count) => Err(count),
        };
        std::iter::from_fn(|| self.reorder.release(self.now)).map(step).collect()
    }
}

/// [`Insert`] without its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Accepted { reordered: bool },
    Resynchronised,
    Duplicate,
    Late,
}

const NEXT: Told = Told::Accepted { reordered: false };
const FRAME: Duration = Duration::from_millis(20);

#[test]
fn packets_in_order_are_released_at_once_across_the_wrap() {
    let mut stream = Stream::new();
    for (frames, sequence) in (-2..).zip([65_534, 65_535, 0, 1]) {
        assert_eq!(stream.arrive_at(sequence, frames), NEXT);
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
    assert_eq!(stream.arrive(11), Told::Accepted { reordered: true });
    assert_eq!(stream.released(), [Ok(11)]);
    stream.now += MAX_WAIT;
    assert_eq!(stream.released(), [Err(1), Ok(13)]);
    assert_eq!(stream.arrive(12), Told::Late);
}

#[test]
fn a_packet_waits_no_longer_because_others_come_in_front_of_it() {
    let mut stream = Stream::settled();
    let arrived = stream.now;
    stream.arrive(40);
    for sequence in [39, 37, 35] {
        stream.now += Duration::from_millis(19);
        stream.arrive(sequence);
        assert_eq!(stream.released(), []);
        assert_eq!(stream.reorder.deadline(), Some(arrived + MAX_WAIT));
    }
    stream.now = arrived + MAX_WAIT;
    assert_eq!(stream.released(), [Err(34), Ok(35), Err(1), Ok(37), Err(1), Ok(39), Ok(40)]);
}

#[test]
fn the_same_number_is_taken_once() {
    let mut stream = Stream::new();
    for sequence in 0..200 {
        assert_eq!(stream.arrive(sequence), NEXT);
        for age in 0..=sequence.min(50) {
            assert_eq!(stream.arrive(sequence - age), Told::Duplicate);
        }
        stream.released();
    }
}

#[test]
fn packets_of_one_timestamp_and_different_numbers_are_all_taken() {
    let mut stream = Stream::settled();
    stream.arrive_at(2, 1);
    assert_eq!(stream.released(), []);
    assert_eq!(stream.arrive_at(1, 1), Told::Accepted { reordered: true });
    assert_eq!(stream.released(), [Ok(1), Ok(2)]);
    assert_eq!(stream.arrive_at(1, 1), Told::Duplicate);
}

#[test]
fn a_jump_forward_is_followed_at_once_whatever_the_order_behind_it() {
    // In pairs that are swapped, and with every second one lost.
    for order in [[1u16, 0, 3, 2, 5, 4], [0, 2, 4, 6, 8, 10]] {
        let mut stream = Stream::settled();
        let mut heard = 0;
        assert_eq!(stream.arrive_at(30_000 + order[0], i64::from(order[0]) + 1), Told::Resynchronised);
        heard += stream.released().len();
        for offset in &order[1..] {
            stream.now += FRAME;
            stream.arrive_at(30_000 + offset, i64::from(*offset) + 1);
            heard += stream.released().iter().flatten().count();
        }
        stream.now += MAX_WAIT;
        heard += stream.released().iter().flatten().count();
        assert!(heard >= 5, "{order:?}: {heard}");
    }
}

#[test]
fn a_jump_back_costs_nothing_however_far_it_goes() {
    for back in [1u16, 2, 24, 63, 64, 65, 100, 2_999, 3_001, 32_767, 32_768] {
        let mut stream = Stream::settled();
        assert_eq!(stream.arrive_at(0u16.wrapping_sub(back), 1), Told::Resynchronised, "{back}");
        assert_eq!(stream.released(), [Ok(0u16.wrapping_sub(back))]);
        assert_eq!(stream.arrive_at(1u16.wrapping_sub(back), 2), NEXT);
        assert_eq!(stream.released(), [Ok(1u16.wrapping_sub(back))]);
    }
}

#[test]
fn what_waits_when_the_numbers_jump_is_released_before_it() {
    let mut stream = Stream::settled();
    stream.arrive(3);
    assert_eq!(stream.arrive_at(20_000, 4), Told::Resynchronised);
    assert_eq!(stream.released(), [Err(2), Ok(3), Ok(20_000)]);
}

#[test]
fn packets_that_were_recorded_are_dropped_and_live_ones_are_not() {
    // A number comes again after 21.8 minutes: some of these seem to be far behind, and some far ahead.
    for minutes in [1, 10, 11, 12, 20, 21, 22, 23] {
        let mut stream = Stream::settled();
        let mut sequence = 0u16;
        let recorded = minutes * 3_000;
        for frames in 1..=recorded + 50 {
            stream.now += FRAME;
            sequence = sequence.wrapping_add(1);
            assert_eq!(stream.arrive_at(sequence, frames), NEXT);
            assert_eq!(stream.released(), [Ok(sequence)]);
            if frames > recorded {
                let old = frames - recorded;
                for replayed in [old, old + 1] {
                    assert_eq!(stream.arrive_at(replayed as u16, replayed), Told::Late, "{minutes} minutes");
                }
            }
        }
        // Also while the sender is silent.
        for replayed in 1..200 {
            stream.now += FRAME;
            assert_eq!(stream.arrive_at(replayed as u16, replayed), Told::Late, "{minutes} minutes");
        }
        assert_eq!(stream.released(), []);
        assert_eq!(stream.arrive_at(sequence.wrapping_add(1), recorded + 300), NEXT);
    }
}

#[test]
fn a_restart_that_nobody_tells_of_is_followed_after_few_packets_in_any_order() {
    // Twelve hours behind: nothing so old was sent while this stream was known.
    let hours = -12 * 180_000;
    for sequence in [1u16, 100, 20_000, 40_000, 65_000] {
        let mut stream = Stream::settled();
        let order = [1u16, 0, 3, 2, 5, 4, 6, 9, 7, 10];
        for offset in order {
            assert_eq!(stream.arrive_at(sequence.wrapping_add(offset), hours + i64::from(offset)), Told::Late);
        }
        assert_eq!(stream.arrive_at(sequence.wrapping_add(11), hours + 11), Told::Late);
        assert_eq!(stream.arrive_at(sequence.wrapping_add(12), hours + 12), Told::Resynchronised);
        assert_eq!(stream.arrive_at(sequence.wrapping_add(13), hours + 13), NEXT);
        assert_eq!(stream.released().len(), 2);
    }
}

#[test]
fn single_packets_of_long_ago_begin_nothing_anew() {
    let mut stream = Stream::settled();
    let hours = -12 * 180_000;
    for frames in 1..100 {
        for recorded in [0, 0, 1, 1, 0, 1] {
            assert_eq!(stream.arrive_at(7, hours + recorded), Told::Late);
        }
        assert_eq!(stream.arrive(frames), NEXT);
        assert_eq!(stream.released(), [Ok(frames)]);
    }
}

#[test]
fn a_restart_that_is_told_of_costs_nothing() {
    for frames in [-10, -1_000, -60_000, 60_000] {
        let mut stream = Stream::settled();
        stream.arrive(2);
        stream.reorder.begin_anew();
        assert_eq!(stream.arrive_at(777, frames), NEXT);
        assert_eq!(stream.released(), [Err(1), Ok(2), Ok(777)]);
        assert_eq!(stream.arrive_at(778, frames + 1), NEXT);
    }
}

#[test]
fn after_a_pause_what_is_newer_is_followed_and_what_is_older_is_not() {
    let mut stream = Stream::settled();
    stream.reorder.pause();
    assert_eq!(stream.arrive_at(0, 0), Told::Late);
    assert_eq!(stream.arrive_at(0u16.wrapping_sub(5), -5), Told::Late);
    assert_eq!(stream.arrive_at(9_000, 9_000), NEXT);
    assert_eq!(stream.released(), [Ok(9_000)]);
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
    fn whatever_arrives_is_released_in_order_and_in_time(
        arrivals in proptest::collection::vec((any::<u16>(), -70_000i64..70_000, 0u64..30, 0u8..4), 1..400),
    ) {
        let mut stream = Stream::new();
        let (mut sequence, mut frames) = (0u16, 0i64);
        let mut last: Option<Place> = None;
        for (number, time, wait, kind) in arrivals {
            stream.now += Duration::from_millis(wait);
            // Mostly neighbours, sometimes numbers and times from anywhere.
            let (to, at) = match kind {
                0 => (number, time),
                1 => (sequence.wrapping_sub(number % 70), frames - i64::from(number % 70)),
                _ => (sequence.wrapping_add(number % 5), frames + i64::from(number % 5)),
            };
            if matches!(stream.arrive_at(to, at), Told::Resynchronised | NEXT) {
                (sequence, frames) = (to, at);
            }
            while let Some(release) = stream.reorder.release(stream.now) {
                let Release::Packet(held) = release else { continue };
                prop_assert!(last.is_none_or(|last| held.place > last));
                prop_assert!(last.is_none_or(|last| held.place.numbering > last.numbering || held.place.time >= last.time));
                last = Some(held.place);
            }
            prop_assert!(stream.reorder.held_len() < MAX_HELD);
            prop_assert!(stream.reorder.deadline().is_none_or(|at| at > stream.now));
        }
    }
}
