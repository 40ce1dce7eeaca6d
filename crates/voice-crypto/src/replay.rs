//! Refusing packets that were opened before.

use core::fmt;

use voice_rtp::{Sequence, SequenceExtender};

/// Remembers which of the newest packets of one SSRC were opened, so that none opens twice.
///
/// Whoever can copy a sealed packet can send it again, and it opens again: its tag is right. This is
/// the sliding window of RFC 3711, section 3.3.2, over sequence numbers that are extended across the
/// wrap. It spans 64 packets, or 64 times `WORDS` of them, up to 1 024.
///
/// Ask [`check`](Self::check) before opening and tell [`accept`](Self::accept) after the packet
/// proved authentic; `Opener::open_rtp_once` does both.
///
/// ```
/// use voice_crypto::{ReplayError, ReplayWindow};
/// use voice_rtp::Sequence;
///
/// let mut window = ReplayWindow::new();
/// window.accept(Sequence::new(65_535));
/// window.accept(Sequence::new(2)); // wrapped; 0 and 1 are on their way
/// assert_eq!(window.check(Sequence::new(1)), Ok(()));
/// assert_eq!(window.check(Sequence::new(2)), Err(ReplayError::Duplicate));
/// assert_eq!(window.check(Sequence::new(2_u16.wrapping_sub(64))), Err(ReplayError::Old));
///
/// let wide = ReplayWindow::<16>::default();
/// assert_eq!(wide.len(), 1_024);
/// ```
///
/// # When the numbers jump
///
/// A jump forward, by up to 32 767, moves the window there. A jump back out of the window is
/// indistinguishable from a replay, so everything is [`ReplayError::Old`] until the numbers are
/// where they were. There is no way back by itself: an attacker who recorded enough packets could
/// take it. [`reset`](Self::reset) when something other than the packets says that the stream began
/// anew.
///
/// Discord's media server numbers the packets it forwards, and jumps back after a user is muted and
/// unmuted. So use a window where you know when that happens, or where senders count on: against
/// your own server, or for packets that a client sends. A jitter buffer drops duplicates as well,
/// and lets streams that jumped resume; that is what a bot that only listens needs.
///
/// It is of no use in modes that do not authenticate the header (see
/// [`Mode::authenticates_header`](crate::Mode::authenticates_header)): there the number can be
/// changed.
#[derive(Clone, Debug)]
pub struct ReplayWindow<const WORDS: usize = 1> {
    extender: SequenceExtender,
    /// One bit per packet, at its extended number modulo the length of the window.
    opened: [u64; WORDS],
}

impl ReplayWindow {
    /// Makes a window of 64 packets for a stream of which nothing was received.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// Returns how many packets back the window reaches, the newest one included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is a width, not a count of elements")]
    pub const fn len(&self) -> usize {
        WORDS * 64
    }

    /// Says whether a packet with this number may be opened. Nothing changes.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Duplicate`] when it was opened, [`ReplayError::Old`] when it is too far behind
    /// the newest one to know.
    pub fn check(&self, sequence: Sequence) -> Result<(), ReplayError> {
        let Some(newest) = self.extender.highest() else { return Ok(()) };
        let number = self.extender.peek(sequence);
        if number > newest {
            Ok(())
        } else if newest - number >= self.len() as u64 {
            Err(ReplayError::Old)
        } else if self.is_opened(number) {
            Err(ReplayError::Duplicate)
        } else {
            Ok(())
        }
    }

    /// Remembers that a packet with this number was opened.
    ///
    /// Only after it proved authentic: otherwise forged packets would move the window away from the
    /// true ones.
    pub fn accept(&mut self, sequence: Sequence) {
        let before = self.extender.highest();
        let number = self.extender.extend(sequence);
        if let Some(before) = before {
            if number > before {
                // What the window moves onto was not opened yet.
                for skipped in (before + 1..=number).take(self.len()) {
                    self.mark(skipped, false);
                }
            } else if before - number >= self.len() as u64 {
                return;
            }
        }
        self.mark(number, true);
    }

    /// Forgets the stream: the next packet begins a new one.
    ///
    /// Packets that were opened before can then be opened again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn is_opened(&self, number: u64) -> bool {
        let (word, bit) = self.place(number);
        self.opened.get(word).is_some_and(|word| word & bit != 0)
    }

    fn mark(&mut self, number: u64, opened: bool) {
        let (word, bit) = self.place(number);
        if let Some(word) = self.opened.get_mut(word) {
            if opened {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }

    const fn place(&self, number: u64) -> (usize, u64) {
        let slot = (number % self.len() as u64) as usize;
        (slot / 64, 1 << (slot % 64))
    }
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        const { assert!(WORDS >= 1 && WORDS <= MAX_WORDS, "a window spans 64 to 1 024 packets") }
        Self { extender: SequenceExtender::new(), opened: [0; WORDS] }
    }
}

/// Why a packet is not to be opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ReplayError {
    /// A packet with this number was opened.
    Duplicate,
    /// The number is so far behind that it is not known any more.
    Old,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duplicate => "a packet with this sequence number was opened",
            Self::Old => "the sequence number is behind the replay window",
        })
    }
}

impl core::error::Error for ReplayError {}

/// The largest window, in words of 64 packets: 20 seconds of audio.
const MAX_WORDS: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_window_spans_what_it_says_and_no_more() {
        let mut window = ReplayWindow::<2>::default();
        window.accept(Sequence::new(1_000));
        assert_eq!(window.check(Sequence::new(1_000 - 127)), Ok(()));
        assert_eq!(window.check(Sequence::new(1_000 - 128)), Err(ReplayError::Old));
        assert_eq!(window.len(), 128);
    }

    #[test]
    fn an_old_packet_that_is_accepted_anyway_marks_nothing() {
        let mut window = ReplayWindow::new();
        window.accept(Sequence::new(1_000));
        window.accept(Sequence::new(1_000 - 64)); // shares its place with 1 000
        window.accept(Sequence::new(1_000 - 65)); // would share it with 999
        assert_eq!(window.check(Sequence::new(999)), Ok(()));
        assert_eq!(window.check(Sequence::new(1_000)), Err(ReplayError::Duplicate));
    }

    #[test]
    fn a_stream_that_jumped_back_is_refused_until_it_is_reset() {
        let mut window = ReplayWindow::new();
        for number in 20_000..20_100 {
            window.accept(Sequence::new(number));
        }
        for number in 500..600 {
            assert_eq!(window.check(Sequence::new(number)), Err(ReplayError::Old));
        }
        window.reset();
        for number in 500..600 {
            assert_eq!(window.check(Sequence::new(number)), Ok(()));
            window.accept(Sequence::new(number));
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(ReplayError::Duplicate.to_string().contains("was opened"));
        assert!(ReplayError::Old.to_string().contains("behind"));
    }

    /// What the window is a cheaper form of: every number there was.
    struct Model {
        opened: HashSet<i64>,
        newest: Option<i64>,
        len: i64,
    }

    impl Model {
        fn check(&self, number: i64) -> Result<(), ReplayError> {
            match self.newest {
                Some(newest) if newest - number >= self.len => Err(ReplayError::Old),
                _ if self.opened.contains(&number) => Err(ReplayError::Duplicate),
                _ => Ok(()),
            }
        }

        fn accept(&mut self, number: i64) {
            self.opened.insert(number);
            self.newest = self.newest.max(Some(number));
        }
    }

    fn agrees<const WORDS: usize>(steps: Vec<(i64, bool)>) {
        let mut window = ReplayWindow::<WORDS>::default();
        let mut model = Model { opened: HashSet::new(), newest: None, len: WORDS as i64 * 64 };
        for (step, authentic) in steps {
            let number = model.newest.unwrap_or(65_500) + step;
            let sequence = Sequence::new(number.rem_euclid(65_536) as u16);
            let checked = window.check(sequence);
            assert_eq!(checked, model.check(number), "{number}");
            if checked.is_ok() && authentic {
                window.accept(sequence);
                model.accept(number);
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<(i64, bool)>> {
        let step = prop_oneof![4 => -3_i64..4, 3 => -70_i64..70, 1 => -1_100_i64..1_100, 1 => -32_768_i64..32_768];
        prop::collection::vec((step, prop::bool::weighted(0.9)), 0..400)
    }

    proptest! {
        #[test]
        fn a_window_of_one_word_answers_as_if_it_remembered_everything(steps in steps()) {
            agrees::<1>(steps);
        }

        #[test]
        fn wider_windows_answer_as_if_they_remembered_everything(steps in steps()) {
            agrees::<3>(steps.clone());
            agrees::<16>(steps);
        }
    }
}
