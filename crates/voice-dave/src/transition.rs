//! Pending transitions as a pure table.

use std::collections::VecDeque;

use crate::BaseSecret;

/// What a transition does to the sending side when it is executed.
#[derive(Debug)]
pub(crate) struct Transition {
    pub(crate) id: u16,
    /// The protocol version; 0 is no encryption.
    pub(crate) version: u16,
    /// The own secret of the epoch that was the newest when the transition was prepared.
    pub(crate) secret: Option<BaseSecret>,
}

/// The transitions that are prepared and not executed, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Transitions(VecDeque<Transition>);

impl Transitions {
    /// Remembers a transition as the newest; one with the same id is replaced. Whether an old one fell out.
    pub(crate) fn prepare(&mut self, transition: Transition) -> bool {
        self.0.retain(|other| other.id != transition.id);
        self.0.push_back(transition);
        let full = self.0.len() > MAX_PENDING;
        if full {
            self.0.pop_front();
        }
        full
    }

    /// Takes out a transition and forgets those prepared before it: going back to their keys would silence us.
    pub(crate) fn execute(&mut self, id: u16) -> Option<Transition> {
        let index = self.0.iter().position(|transition| transition.id == id)?;
        self.0.drain(..=index).next_back()
    }

    /// Whether one that is prepared ends the encryption.
    pub(crate) fn lead_to_plaintext(&self) -> bool {
        self.0.iter().any(|transition| transition.version == 0)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u16> {
        self.0.iter().map(|transition| transition.id)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How many transitions are kept: a gateway has one or two open, and gives up on each after about two seconds.
const MAX_PENDING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_is_executed_once() {
        let mut table = Transitions::default();
        table.prepare(transition(7, 1));
        assert!(table.execute(8).is_none());
        assert_eq!(table.execute(7).map(|done| done.version), Some(1));
        assert!(table.execute(7).is_none());
    }

    #[test]
    fn executing_forgets_what_was_prepared_before() {
        let mut table = Transitions::default();
        for id in [1, 2, 3] {
            table.prepare(transition(id, 1));
        }
        assert!(table.execute(2).is_some());
        assert!(table.execute(1).is_none());
        assert!(table.execute(3).is_some());
    }

    #[test]
    fn the_same_id_is_replaced_and_the_newest() {
        let mut table = Transitions::default();
        table.prepare(transition(1, 1));
        table.prepare(transition(2, 1));
        table.prepare(transition(1, 0));
        assert_eq!(table.len(), 2);
        assert_eq!(table.execute(1).map(|done| done.version), Some(0));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_gateway_that_never_executes_does_not_fill_the_table() {
        let mut table = Transitions::default();
        let dropped = (1..=100).filter(|id| table.prepare(transition(*id, 1))).count();
        assert_eq!((dropped, table.len()), (100 - MAX_PENDING, MAX_PENDING));
        assert!(table.execute(1).is_none());
    }

    fn transition(id: u16, version: u16) -> Transition {
        Transition { id, version, secret: None }
    }
}
