//! Which calls are due, 50 times a second each, spread over the 20 ms.

use std::time::{Duration, Instant};

/// Cuts 20 ms into phase slots and puts calls into all of them, so that a thread's calls are due a few at a time and not
/// all at once.
///
/// Deadlines are absolute: a slot that was served late does not move the ones after it. Time that was missed
/// by more than a bound is skipped, not caught up with. Pacers with one epoch count the same rounds: a call can go
/// from one to another and keep its phase.
///
/// ```
/// use std::time::{Duration, Instant};
/// use voice_udp::Pacer;
///
/// let start = Instant::now();
/// let mut pacer = Pacer::new(start);
/// pacer.insert(start, 7);
/// let due_at = pacer.next_due().expect("one call is in");
/// let due = pacer.poll(due_at).expect("its time has come");
/// assert_eq!((due.round, due.keys), (0, &[7][..]));
/// assert_eq!(pacer.poll(due_at), None);
/// assert_eq!(pacer.next_due(), Some(due_at + Duration::from_millis(20)));
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    epoch: Instant,
    /// Slots since the epoch; the next one to be served.
    cursor: u64,
    slots: [Vec<usize>; SLOTS as usize],
    len: usize,
    skipped: u64,
}

/// The slot of a round in which a call is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase(u8);

/// The calls of one slot, whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<'a> {
    /// The number of 20 ms periods since the epoch: it tells how many passed between two ticks of a call.
    pub round: u64,
    /// When they were due.
    pub at: Instant,
    /// The calls.
    pub keys: &'a [usize],
}

impl Pacer {
    /// Creates a pacer whose first round begins at `epoch`.
    #[must_use]
    pub fn new(epoch: Instant) -> Self {
        Self { epoch, cursor: 0, slots: Default::default(), len: 0, skipped: 0 }
    }

    /// Schedules a call, known by `key`, 50 times a second: in the slot of this moment, so that it need not wait, or in the
    /// first one after it that has hardly more calls than the one with the fewest. It must not be scheduled already.
    ///
    /// The slot of this moment may have been [served](Self::last_round) in its round before the call came: its turn in
    /// that round is then still to be given.
    pub fn insert(&mut self, now: Instant, key: usize) -> Phase {
        let fewest = self.slots.iter().map(Vec::len).min().unwrap_or_default();
        let limit = fewest + fewest / 4 + 4;
        let present = self.slot_at(now);
        let slot = (present..present + SLOTS).find(|slot| self.slot(*slot).len() <= limit);
        let phase = Phase((slot.unwrap_or(present) % SLOTS) as u8);
        self.insert_at(now, key, phase);
        phase
    }

    /// Schedules a call in the slot that it had elsewhere.
    pub fn insert_at(&mut self, now: Instant, key: usize, phase: Phase) {
        if self.len == 0 {
            // Nothing was due for a while: that time was not missed.
            self.cursor = self.cursor.max(self.slot_at(now));
        }
        self.len += 1;
        self.slots[usize::from(phase.0)].push(key);
    }

    /// Takes a call out of the schedule.
    pub fn remove(&mut self, key: usize, phase: Phase) {
        let slot = &mut self.slots[usize::from(phase.0)];
        if let Some(place) = slot.iter().position(|other| *other == key) {
            // The others keep their order, and with it their time within the slot.
            slot.remove(place);
            self.len -= 1;
        }
    }

    /// When [`poll`](Self::poll) will next have calls; `None` while none is scheduled.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        let next = (self.cursor..self.cursor + SLOTS).find(|slot| !self.slot(*slot).is_empty())?;
        Some(self.time_of(next))
    }

    /// The next slot that is due at `now` and has calls.
    pub fn poll(&mut self, now: Instant) -> Option<Due<'_>> {
        if self.len == 0 {
            return None;
        }
        let present = self.slot_at(now);
        if let Some(behind) = present.checked_sub(self.cursor + MAX_BEHIND) {
            // Whole rounds, so that every call loses the same.
            let rounds = behind.div_ceil(SLOTS);
            self.cursor += rounds * SLOTS;
            self.skipped += rounds * self.len as u64;
        }
        while self.cursor <= present {
            let served = self.cursor;
            self.cursor += 1;
            if !self.slot(served).is_empty() {
                return Some(Due { round: served / SLOTS, at: self.time_of(served), keys: self.slot(served) });
            }
        }
        None
    }

    /// The last round that a call of this phase has had its turn in, or would have.
    #[must_use]
    pub const fn last_round(&self, phase: Phase) -> Option<u64> {
        match (self.cursor + SLOTS).checked_sub(phase.0 as u64 + 1) {
            Some(passed) => (passed / SLOTS).checked_sub(1),
            None => None,
        }
    }

    /// The round that `now` lies in: the number of 20 ms periods since the epoch.
    #[must_use]
    pub fn round_at(&self, now: Instant) -> u64 {
        self.slot_at(now) / SLOTS
    }

    /// How many calls are scheduled.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no call is scheduled.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ticks that calls lost because their time had passed by more than 60 ms.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn slot(&self, number: u64) -> &[usize] {
        &self.slots[(number % SLOTS) as usize]
    }

    fn slot_at(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.epoch).as_nanos() / SLOT.as_nanos()) as u64
    }

    fn time_of(&self, slot: u64) -> Instant {
        self.epoch + Duration::from_nanos(slot * SLOT.as_nanos() as u64)
    }
}

/// Slots in 20 ms, each of 2 ms. Each that has calls is a wake-up: with half as many, packets cost a fifth less where a
/// thread has 500 calls, and leave as punctually; with a quarter, they leave less so.
const SLOTS: u64 = 10;
const SLOT: Duration = Duration::from_millis(20 / SLOTS);
/// Slots that are caught up with: 60 ms, three packets. Receivers that wait for late packets wait for about as long.
const MAX_BEHIND: u64 = 3 * SLOTS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_come_together_are_spread_and_each_is_due_once_a_round() {
        let start = start();
        let mut pacer = Pacer::new(start);
        for key in 0..600 {
            pacer.insert(start, key);
        }
        let mut ticks = [0; 600];
        for ms in 0..200 {
            let mut count = 0;
            while let Some(due) = pacer.poll(start + Duration::from_millis(ms)) {
                assert_eq!((due.round, due.at), (ms / 20, start + Duration::from_millis(ms)));
                due.keys.iter().for_each(|key| ticks[*key] += 1);
                count += due.keys.len();
            }
            let expected = if ms % 2 == 0 { 45..=80 } else { 0..=0 };
            assert!(expected.contains(&count), "{count} at {ms} ms");
        }
        assert_eq!(ticks, [10; 600]);
    }

    #[test]
    fn a_call_need_not_wait_for_its_first_turn() {
        let start = start();
        let mut pacer = Pacer::new(start);
        pacer.insert(start, 0);
        for ms in 0..5_000 {
            let now = start + Duration::from_micros(1_300 * ms);
            while pacer.poll(now).is_some() {}
            let phase = pacer.insert(now, 1);
            let turn = match pacer.last_round(phase) {
                Some(round) if round == pacer.round_at(now) => now,
                _ => pacer.next_due().expect("it is in"),
            };
            assert!(turn <= now, "{:?} later", turn - now);
            pacer.remove(1, phase);
        }
    }

    #[test]
    fn s4_a_short_delay_is_caught_up_with_and_a_long_one_is_skipped() {
        let start = start();
        let mut pacer = Pacer::new(start);
        let phase = pacer.insert(start, 1);
        let rounds = |pacer: &mut Pacer, ms| {
            let now = start + Duration::from_millis(ms);
            std::iter::from_fn(|| pacer.poll(now).map(|due| due.round)).collect::<Vec<_>>()
        };
        assert_eq!(rounds(&mut pacer, 45), [0, 1, 2]);
        assert_eq!(pacer.last_round(phase), Some(2));
        let late = rounds(&mut pacer, 10_000);
        assert!(late.len() <= 4, "{late:?}");
        assert_eq!(late.last(), Some(&500));
        assert_eq!(pacer.skipped() + late.len() as u64, 498);
        assert_eq!(pacer.next_due(), Some(start + Duration::from_millis(10_020)));
    }

    #[test]
    fn time_without_calls_is_not_missed() {
        let start = start();
        let mut pacer = Pacer::new(start);
        let later = start + Duration::from_secs(60);
        let phase = pacer.insert(later, 1);
        assert_eq!(pacer.next_due(), Some(later));
        assert_eq!(pacer.poll(later).map(|due| due.round), Some(3_000));
        assert_eq!(pacer.skipped(), 0);
        pacer.remove(1, phase);
        assert_eq!(pacer.next_due(), None);
        assert!(pacer.is_empty());
    }

    #[test]
    fn a_process_may_run_for_years() {
        let start = start();
        let mut pacer = Pacer::new(start);
        let later = start + Duration::from_hours(24 * 365 * 3);
        pacer.insert(later, 1);
        let due = pacer.poll(later).expect("its slot is that of this moment");
        assert!(later.saturating_duration_since(due.at) < SLOT);
        assert!(pacer.next_due().is_some_and(|at| at > later));
    }

    #[test]
    fn a_call_keeps_its_phase_and_its_rounds_in_another_pacer() {
        let start = start();
        let (mut one, mut other) = (Pacer::new(start), Pacer::new(start));
        let phase = one.insert(start + Duration::from_millis(8), 8);
        assert_eq!(one.last_round(phase), None);
        let now = start + Duration::from_millis(50);
        let served = |pacer: &mut Pacer| {
            std::iter::from_fn(|| pacer.poll(now).filter(|due| due.keys.contains(&8)).map(|due| (due.round, due.at)))
                .collect::<Vec<_>>()
        };
        while one.poll(start + Duration::from_millis(7)).is_some() {}
        assert_eq!(one.last_round(phase), None, "its slot is the fifth");
        while one.poll(start + Duration::from_millis(30)).is_some() {}
        assert_eq!(one.last_round(phase), Some(1));
        one.remove(8, phase);
        other.insert_at(start + Duration::from_millis(31), 8, phase);
        assert_eq!(other.last_round(phase), Some(1), "nothing was missed on the way");
        assert_eq!(served(&mut other), [(2, start + Duration::from_millis(48))]);
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }
}
