//! Transitions that were announced and not executed yet, in the order they were announced.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use voice_model::UserId;

/// All open transitions of a channel.
///
/// They are executed in order: a key of a later epoch must not be followed by one of an earlier.
#[derive(Debug, Default)]
pub(crate) struct Transitions {
    last_id: u16,
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    id: u16,
    deadline: Instant,
    told: BTreeSet<UserId>,
    waiting: BTreeSet<UserId>,
}

/// A transition whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) id: u16,
    pub(crate) told: BTreeSet<UserId>,
    /// Somebody was not ready.
    pub(crate) late: bool,
}

impl Transitions {
    /// A new transition for these users; its number is never 0, which means "at once".
    pub(crate) fn open(&mut self, deadline: Instant, told: BTreeSet<UserId>) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && self.open.iter().all(|open| open.id != self.last_id) {
                break;
            }
        }
        let id = self.last_id;
        self.open.push_back(Open { id, deadline, waiting: told.clone(), told });
        id
    }

    /// Notes that a user is ready; false when nobody waited for that.
    pub(crate) fn ready(&mut self, user: UserId, id: u16) -> bool {
        self.open.iter_mut().find(|open| open.id == id).is_some_and(|open| open.waiting.remove(&user))
    }

    /// Waits for a user no longer, nor tells it anything.
    pub(crate) fn forget(&mut self, user: UserId) {
        for open in &mut self.open {
            open.told.remove(&user);
            open.waiting.remove(&user);
        }
    }

    /// The next transition to execute, removed.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Executed> {
        let crowded = self.open.len() > MAX_OPEN;
        let due = |open: &mut Open| crowded || open.waiting.is_empty() || open.deadline <= now;
        self.open.pop_front_if(due).map(Open::executed)
    }

    /// The next transition, whether its time has come or not.
    pub(crate) fn hurry(&mut self) -> Option<Executed> {
        self.open.pop_front().map(Open::executed)
    }

    /// When the next transition is executed at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.open.front().map(|open| open.deadline)
    }

    /// The number of the newest transition; 0 before the first.
    pub(crate) fn last_id(&self) -> u16 {
        self.last_id
    }
}

impl Open {
    fn executed(self) -> Executed {
        Executed { id: self.id, told: self.told, late: !self.waiting.is_empty() }
    }
}

/// Open transitions at a time; the oldest is executed when there are more.
const MAX_OPEN: usize = 32;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const ALICE: UserId = UserId::new(1);
    const BOB: UserId = UserId::new(2);

    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    fn both() -> BTreeSet<UserId> {
        [ALICE, BOB].into()
    }

    #[test]
    fn a_transition_is_executed_when_the_last_one_is_ready() {
        let now = start();
        let mut transitions = Transitions::default();
        let id = transitions.open(now + Duration::from_secs(2), both());
        assert!(transitions.ready(ALICE, id));
        assert!(!transitions.ready(ALICE, id), "a second time");
        assert!(!transitions.ready(BOB, id + 1));
        assert_eq!(transitions.due(now), None);
        assert!(transitions.ready(BOB, id));
        assert_eq!(transitions.due(now), Some(Executed { id, told: both(), late: false }));
        assert_eq!((transitions.due(now), transitions.deadline()), (None, None));
    }

    #[test]
    fn a_transition_is_executed_at_its_deadline() {
        let now = start();
        let deadline = now + Duration::from_secs(2);
        let mut transitions = Transitions::default();
        let id = transitions.open(deadline, both());
        assert_eq!(transitions.deadline(), Some(deadline));
        assert_eq!(transitions.due(deadline - Duration::from_nanos(1)), None);
        assert_eq!(transitions.due(deadline), Some(Executed { id, told: both(), late: true }));
    }

    #[test]
    fn a_later_transition_waits_for_the_earlier_one() {
        let now = start();
        let mut transitions = Transitions::default();
        let first = transitions.open(now + Duration::from_secs(2), both());
        let second = transitions.open(now + Duration::from_secs(3), [ALICE].into());
        transitions.ready(ALICE, second);
        assert_eq!(transitions.due(now), None);
        transitions.ready(ALICE, first);
        transitions.ready(BOB, first);
        assert_eq!(transitions.due(now).map(|it| it.id), Some(first));
        assert_eq!(transitions.due(now).map(|it| it.id), Some(second));
    }

    #[test]
    fn nobody_waits_for_one_who_left() {
        let now = start();
        let mut transitions = Transitions::default();
        let id = transitions.open(now + Duration::from_secs(2), both());
        transitions.ready(ALICE, id);
        transitions.forget(BOB);
        assert_eq!(transitions.due(now), Some(Executed { id, told: [ALICE].into(), late: false }));
    }

    #[test]
    fn numbers_are_never_zero_and_never_open_twice() {
        let now = start();
        let mut transitions = Transitions { last_id: u16::MAX - 1, ..Transitions::default() };
        let kept = transitions.open(now, both());
        assert_eq!((kept, transitions.open(now, both())), (u16::MAX, 1));
        transitions.last_id = u16::MAX - 1;
        assert_eq!(transitions.open(now, both()), 2);
    }

    #[test]
    fn the_oldest_is_executed_when_there_are_too_many() {
        let now = start();
        let mut transitions = Transitions::default();
        for _ in 0..MAX_OPEN {
            transitions.open(now + Duration::from_secs(2), both());
        }
        assert_eq!(transitions.due(now), None);
        transitions.open(now + Duration::from_secs(2), both());
        assert_eq!(transitions.due(now).map(|it| (it.id, it.late)), Some((1, true)));
        assert_eq!(transitions.due(now), None);
    }
}
