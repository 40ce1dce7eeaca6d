//! Which nonces of a sender were seen.

use std::collections::VecDeque;

/// The replay rule of one base secret (DAVE protocol, "Nonce Handling").
///
/// A nonce is good when it is larger than every one accepted before, or known to be missing.
#[derive(Debug)]
pub(super) struct Nonces {
    /// The lowest nonce above all that were accepted.
    next: u64,
    /// Ascending; never more than [`MAX_MISSING`], for which room is made when the first one is missing.
    missing: VecDeque<u64>,
}

impl Nonces {
    /// All from this one on are good: 0, or where others stopped. What was missing there stays away.
    pub(super) fn from(next: u64) -> Self {
        Self { next, missing: VecDeque::new() }
    }

    /// The lowest nonce above all that were accepted.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether a frame with this nonce was not accepted before, as far as is remembered.
    pub(super) fn accepts(&self, nonce: u64) -> bool {
        nonce >= self.next || self.missing.binary_search(&nonce).is_ok()
    }

    /// Remembers the nonce of a frame that was authentic.
    pub(super) fn commit(&mut self, nonce: u64) {
        if nonce < self.next {
            if let Ok(index) = self.missing.binary_search(&nonce) {
                self.missing.remove(index);
            }
            return;
        }
        let gap = (nonce - self.next).min(MAX_MISSING as u64);
        let too_many = (self.missing.len() + gap as usize).saturating_sub(MAX_MISSING);
        self.missing.drain(..too_many);
        if gap > 0 {
            self.missing.reserve_exact(MAX_MISSING - self.missing.len());
        }
        self.missing.extend(nonce - gap..nonce);
        self.next = nonce + 1;
    }
}

/// Nonces remembered as missing, the oldest forgotten first (libdave, `kMaxMissingNonces`).
const MAX_MISSING: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::vectors::load;

    #[test]
    fn sequences_are_accepted_and_refused_as_in_libdave() {
        for case in load("replay_window").list("cases") {
            let mut nonces = Nonces::from(0);
            let steps = case.text("steps");
            let answer: String = steps.split(',').map(|step| step_answer(&mut nonces, step)).collect();
            assert_eq!(answer, case.text("answer"), "{steps}");
        }
    }

    fn step_answer(nonces: &mut Nonces, step: &str) -> char {
        let (generation, truncated) = step.split_once(':').expect("a generation and a nonce");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let nonce = number(generation) << 24 | number(truncated) & 0xFF_FFFF;
        if !nonces.accepts(nonce) {
            return '0';
        }
        nonces.commit(nonce);
        '1'
    }

    #[test]
    fn the_room_for_missing_nonces_comes_with_the_first_and_never_grows() {
        let mut nonces = Nonces::from(0);
        nonces.commit(0);
        assert_eq!(nonces.missing.capacity(), 0);
        nonces.commit(2);
        let room = nonces.missing.capacity();
        for nonce in (0..1_000_000).step_by(777) {
            nonces.commit(nonce);
            nonces.commit(nonce);
        }
        assert_eq!((nonces.missing.len(), nonces.missing.capacity()), (MAX_MISSING, room));
    }

    /// The rule with nothing clever about it.
    #[derive(Default)]
    struct Naive {
        accepted: BTreeSet<u64>,
        missing: Vec<u64>,
    }

    impl Naive {
        fn arrive(&mut self, nonce: u64) -> bool {
            let newest = self.accepted.last().copied();
            if newest.is_none_or(|newest| nonce > newest) {
                self.missing.extend(newest.map_or(0, |newest| newest + 1)..nonce);
                let forget = self.missing.len().saturating_sub(1_000);
                self.missing.drain(..forget);
            } else if let Some(index) = self.missing.iter().position(|missing| *missing == nonce) {
                self.missing.remove(index);
            } else {
                return false;
            }
            assert!(self.accepted.insert(nonce), "a nonce was accepted twice");
            true
        }
    }

    proptest! {
        #[test]
        fn it_answers_as_the_rule_with_nothing_clever_about_it(
            steps in proptest::collection::vec((-1_500i64..1_500, any::<bool>()), 1..300),
        ) {
            let (mut nonces, mut naive, mut at) = (Nonces::from(0), Naive::default(), 0i64);
            for (step, authentic) in steps {
                let nonce = (at + step).max(0);
                let accepted = nonces.accepts(nonce as u64);
                if authentic {
                    prop_assert_eq!(accepted, naive.arrive(nonce as u64));
                    if accepted {
                        nonces.commit(nonce as u64);
                        at = at.max(nonce);
                    }
                }
            }
        }
    }
}
