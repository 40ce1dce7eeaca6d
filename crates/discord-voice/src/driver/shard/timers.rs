//! When calls want a turn although nothing arrives and nothing plays.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// The deadlines of a thread's calls, at most one for each.
#[derive(Debug, Default)]
pub(super) struct Timers {
    in_order: BTreeSet<(Instant, usize)>,
    /// By key.
    deadlines: Vec<Option<Instant>>,
}

impl Timers {
    /// Sets a call's deadline in place of the one that it had.
    pub(super) fn set(&mut self, key: usize, deadline: Option<Instant>) {
        if key >= self.deadlines.len() {
            self.deadlines.resize(key + 1, None);
        }
        if self.deadlines[key] == deadline {
            return;
        }
        if let Some(before) = std::mem::replace(&mut self.deadlines[key], deadline) {
            self.in_order.remove(&(before, key));
        }
        if let Some(at) = deadline {
            self.in_order.insert((at, key));
        }
    }

    /// The first deadline of all.
    pub(super) fn next(&self) -> Option<Instant> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// Takes out the calls whose deadline has come, in order. Each is taken once, whatever deadline it gets meanwhile: who
    /// goes through them comes to an end.
    pub(super) fn take_due(&mut self, now: Instant, due: &mut Vec<usize>) {
        while let Some((_, key)) = self.in_order.first().copied().filter(|(at, _)| *at <= now) {
            self.set(key, None);
            due.push(key);
        }
    }

    /// Makes sure that a call that was served at `now` has a pause. Returns whether it would have had none, which is a fault
    /// of what sets its deadlines.
    pub(super) fn pause(&mut self, now: Instant, key: usize) -> bool {
        let is_due = self.deadlines.get(key).copied().flatten().is_some_and(|at| at <= now);
        if is_due {
            self.set(key, Some(now + SHORTEST_PAUSE));
        }
        is_due
    }
}

/// Between two turns of a call that has been served and is due nevertheless.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use voice_udp::Keepalive;

    use super::*;
    use crate::driver::{clock, on_grid};

    fn due(timers: &mut Timers, now: Instant) -> Vec<usize> {
        let mut due = Vec::new();
        timers.take_due(now, &mut due);
        due
    }

    #[test]
    fn deadlines_come_in_order_and_a_new_one_takes_the_place_of_the_old() {
        let start = clock();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let mut timers = Timers::default();
        timers.set(3, at(30));
        timers.set(1, at(10));
        timers.set(3, at(5));
        timers.set(2, at(20));
        timers.set(2, None);
        assert_eq!(timers.next(), at(5));
        let later = start + Duration::from_secs(1);
        assert!(due(&mut timers, start).is_empty());
        assert_eq!(due(&mut timers, later), [3, 1]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn who_is_due_again_at_once_has_a_pause() {
        let start = clock();
        let mut timers = Timers::default();
        timers.set(1, Some(start));
        timers.set(2, Some(start));
        assert_eq!(due(&mut timers, start), [1, 2]);
        timers.set(1, Some(start));
        timers.set(2, Some(start + Duration::from_secs(1)));
        assert!(timers.pause(start, 1) && !timers.pause(start, 2) && !timers.pause(start, 3));
        assert!(due(&mut timers, start).is_empty());
        assert!(timers.next().is_some_and(|at| at > start));
    }

    proptest! {
        /// A call's pings wait for those of others, with a clock that knows nanoseconds.
        #[test]
        fn a_timer_that_was_due_is_done_with_at_once(
            epoch in 0u64..1_000_000_000, wake_ups in proptest::collection::vec(0u64..3_000_000_000, 1..40),
        ) {
            const GRID: Duration = Duration::from_millis(50);
            let start = clock();
            let epoch = start + Duration::from_nanos(epoch);
            let (mut timers, mut keepalive, mut now) = (Timers::default(), Keepalive::new(start), epoch);
            timers.set(0, Some(on_grid(epoch, keepalive.next_at(), GRID)));
            for late in wake_ups {
                now = now.max(timers.next().expect("a call always waits for its next ping")) + Duration::from_nanos(late % 1_000);
                prop_assert_eq!(due(&mut timers, now), [0]);
                prop_assert!(keepalive.poll(now).is_some(), "a timer was due before its ping");
                let next = on_grid(epoch, keepalive.next_at(), GRID);
                prop_assert!(next > now);
                timers.set(0, Some(next));
                prop_assert!(due(&mut timers, now).is_empty());
                now += Duration::from_nanos(late);
            }
        }
    }
}
