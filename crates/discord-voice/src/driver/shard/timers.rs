//! When calls want a turn although nothing arrives and nothing plays.

use std::{collections::BTreeSet, time::Instant};

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

    /// Takes out a call whose deadline has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        let (_, key) = self.in_order.first().copied().filter(|(at, _)| *at <= now)?;
        self.set(key, None);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::clock;

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
        assert_eq!(timers.pop(start), None);
        assert_eq!(std::iter::from_fn(|| timers.pop(later)).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(timers.next(), None);
    }
}
