//! Which calls are due, 50 times a second each, spread over the 20 ms.

use std::time::{Duration, Instant};

/// Cuts 20 ms into phase slots and puts each call into the emptiest, so that a thread's calls are due a few at
/// a time and not all at once.
///
/// Deadlines are absolute: a slot that was served late does not move the ones after it. Time that was missed
/// by more than a bound is skipped, not caught up with.
///
/// ```
/// use std::time::{Duration, Instant};
/// use voice_udp::Pacer;
///
/// let start = Instant::now();
/// let mut pacer = Pacer::new(start);
/// pacer.insert(start, 7);
/// let due_at = pacer.next_due().expect("one call is in");
/// assert_eq!(pacer.poll(due_at), Some((0, &[7][..])));
/// assert_eq!(pacer.poll(due_at), None);
/// assert_eq!(pacer.next_due(), Some(due_at + Duration::from_millis(20)));
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    epoch: Instant,
    /// Slots since the epoch; the next one to be served.
    cursor: u64,
    slots: [Vec<usize>; SLOTS as usize],
    skipped_rounds: u64,
}

impl Pacer {
    /// Creates a pacer whose first round begins at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { epoch: now, cursor: 0, slots: Default::default(), skipped_rounds: 0 }
    }

    /// Schedules a call, known by `key`, 50 times a second. It must not be scheduled already.
    pub fn insert(&mut self, now: Instant, key: usize) {
        if self.next_due().is_none() {
            // Nothing was due for a while: that time was not missed.
            self.cursor = self.cursor.max(self.slot_at(now));
        }
        let emptiest = self.slots.iter_mut().min_by_key(|slot| slot.len()).expect("there are slots");
        emptiest.push(key);
    }

    /// Takes a call out of the schedule.
    pub fn remove(&mut self, key: usize) {
        for slot in &mut self.slots {
            slot.retain(|other| *other != key);
        }
    }

    /// When [`poll`](Self::poll) will next have calls; `None` while none is scheduled.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let next = (self.cursor..self.cursor + SLOTS).find(|slot| !self.slot(*slot).is_empty())?;
        Some(self.time_of(next))
    }

    /// The next slot that is due at `now` and has calls: the number of its round and the calls' keys.
    ///
    /// The round numbers tell how many 20 ms periods passed between two ticks of a call.
    pub fn poll(&mut self, now: Instant) -> Option<(u64, &[usize])> {
        let present = self.slot_at(now);
        if let Some(behind) = present.checked_sub(self.cursor + MAX_BEHIND) {
            // Whole rounds, so that every call loses the same.
            let rounds = behind.div_ceil(SLOTS);
            self.cursor += rounds * SLOTS;
            self.skipped_rounds += rounds;
        }
        while self.cursor <= present {
            let served = self.cursor;
            self.cursor += 1;
            if !self.slot(served).is_empty() {
                return Some((served / SLOTS, self.slot(served)));
            }
        }
        None
    }

    /// The round that `now` lies in: the number of 20 ms periods since the start.
    #[must_use]
    pub fn round_at(&self, now: Instant) -> u64 {
        self.slot_at(now) / SLOTS
    }

    /// Rounds that were skipped because their time had passed.
    #[must_use]
    pub const fn skipped_rounds(&self) -> u64 {
        self.skipped_rounds
    }

    fn slot(&self, number: u64) -> &[usize] {
        &self.slots[(number % SLOTS) as usize]
    }

    fn slot_at(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.epoch).as_nanos() / SLOT.as_nanos()) as u64
    }

    fn time_of(&self, slot: u64) -> Instant {
        self.epoch + Duration::from_millis(slot)
    }
}

const SLOT: Duration = Duration::from_millis(1);
/// Slots in 20 ms.
const SLOTS: u64 = 20;
/// Slots that are caught up with: 100 ms, five packets.
const MAX_BEHIND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spread_evenly_and_each_is_due_once_a_round() {
        let start = start();
        let mut pacer = Pacer::new(start);
        (0..60).for_each(|key| pacer.insert(start, key));
        let mut ticks = [0; 60];
        for ms in 0..200 {
            let mut due = 0;
            while let Some((round, keys)) = pacer.poll(start + Duration::from_millis(ms)) {
                assert_eq!(round, ms / 20);
                keys.iter().for_each(|key| ticks[*key] += 1);
                due += keys.len();
            }
            assert_eq!(due, 3, "at {ms} ms");
        }
        assert_eq!(ticks, [10; 60]);
    }

    #[test]
    fn a_short_delay_is_caught_up_with_and_a_long_one_is_skipped() {
        let start = start();
        let mut pacer = Pacer::new(start);
        pacer.insert(start, 1);
        let rounds = |pacer: &mut Pacer, ms| {
            let now = start + Duration::from_millis(ms);
            std::iter::from_fn(|| pacer.poll(now).map(|(round, _)| round)).collect::<Vec<_>>()
        };
        assert_eq!(rounds(&mut pacer, 85), [0, 1, 2, 3, 4]);
        let late = rounds(&mut pacer, 10_000);
        assert!(late.len() <= 6, "{late:?}");
        assert_eq!(late.last(), Some(&500));
        assert_eq!(pacer.skipped_rounds() + late.len() as u64, 496);
        assert_eq!(pacer.next_due(), Some(start + Duration::from_millis(10_020)));
    }

    #[test]
    fn time_without_calls_is_not_missed() {
        let start = start();
        let mut pacer = Pacer::new(start);
        let later = start + Duration::from_secs(60);
        pacer.insert(later, 1);
        assert_eq!(pacer.next_due(), Some(later));
        assert_eq!(pacer.poll(later).map(|(round, _)| round), Some(3_000));
        assert_eq!(pacer.skipped_rounds(), 0);
        pacer.remove(1);
        assert_eq!(pacer.next_due(), None);
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }
}
