//! Tells whether the listener hears what the player sends, frame by frame.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use voice_audio::{FrameBuf, FrameSource, Lead, NextFrame, SILENCE_FRAME};

/// Frames on their way from the file to the listener.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    under_way: Mutex<VecDeque<Box<[u8]>>>,
}

/// What a heard frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The next frame of the file, or a later one: those between were lost.
    Unchanged,
    /// Silence that the player put in: at the end, and while the file was not ready.
    Filler,
    /// Nothing that was sent.
    Changed,
}

impl Comparison {
    fn sent(&self, frame: &[u8]) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.len() == MAX_UNDER_WAY {
            under_way.pop_front();
        }
        under_way.push_back(frame.into());
    }

    /// Finds a heard frame among those that are under way.
    pub(crate) fn heard(&self, frame: &[u8]) -> Match {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = frame == SILENCE_FRAME;
        // Silence comes at any time; only as the very next frame is it one of the file's.
        let reach = if silence { 1 } else { under_way.len() };
        match under_way.iter().take(reach).position(|sent| **sent == *frame) {
            Some(at) => {
                under_way.drain(..=at);
                Match::Unchanged
            }
            None if silence => Match::Filler,
            None => Match::Changed,
        }
    }
}

/// A source whose frames are noted for the listener.
pub(crate) struct Noted<S> {
    pub(crate) source: S,
    pub(crate) comparison: Option<Arc<Comparison>>,
}

impl<S: FrameSource> FrameSource for Noted<S> {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        let next = self.source.next_frame(out);
        if let (NextFrame::Ready, Some(comparison)) = (&next, &self.comparison) {
            comparison.sent(out.as_slice());
        }
        next
    }

    fn lead(&self) -> Lead {
        self.source.lead()
    }
}

/// Frames that may be under way: what is read ahead, and a minute and more of lost ones.
const MAX_UNDER_WAY: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(frames: &[&[u8]]) -> Comparison {
        let comparison = Comparison::default();
        frames.iter().for_each(|frame| comparison.sent(frame));
        comparison
    }

    #[test]
    fn frames_match_in_order_past_lost_ones() {
        let comparison = comparison(&[b"one", b"two", b"three"]);
        assert_eq!(comparison.heard(b"two"), Match::Unchanged);
        assert_eq!(comparison.heard(b"one"), Match::Changed, "its turn is over");
        assert_eq!(comparison.heard(b"three"), Match::Unchanged);
    }

    #[test]
    fn silence_of_the_player_takes_nothing_from_the_file() {
        let comparison = comparison(&[b"one", &SILENCE_FRAME, b"two"]);
        assert_eq!(comparison.heard(&SILENCE_FRAME), Match::Filler);
        assert_eq!(comparison.heard(b"one"), Match::Unchanged);
        assert_eq!(comparison.heard(&SILENCE_FRAME), Match::Unchanged);
        assert_eq!(comparison.heard(&SILENCE_FRAME), Match::Filler);
        assert_eq!(comparison.heard(b"two"), Match::Unchanged);
    }

    #[test]
    fn what_is_never_heard_does_not_pile_up() {
        let comparison = Comparison::default();
        for n in 0..10_000_u32 {
            comparison.sent(&n.to_be_bytes());
        }
        assert_eq!(comparison.heard(&0_u32.to_be_bytes()), Match::Changed);
        assert_eq!(comparison.heard(&9_000_u32.to_be_bytes()), Match::Unchanged);
    }
}
