//! Frames that could not be opened yet.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use voice_dave::OpenError;
use voice_rtp::Timestamp;

use crate::reorder::Stored;

/// The frames of one stream that may open once their user's newer key is there, in order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    frames: VecDeque<WaitingFrame>,
    /// The next to be tried with a key that came.
    retry: Option<usize>,
    /// One that was opened, behind a loss that had to be told first.
    opened: Option<OpenedFrame>,
}

/// A frame that could not be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitingFrame {
    pub(super) timestamp: Timestamp,
    pub(super) arrived: Instant,
    pub(super) stored: Stored,
    /// Why the last attempt failed.
    pub(super) error: OpenError,
}

/// A frame that was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenedFrame {
    pub(super) timestamp: Timestamp,
    pub(super) stored: Stored,
    pub(super) len: usize,
}

impl Waiting {
    /// Adds a frame behind the others; returns one that must go for it.
    pub(super) fn push(&mut self, frame: WaitingFrame) -> Option<WaitingFrame> {
        let too_many = if self.frames.len() >= MAX_WAITING { self.pop() } else { None };
        self.frames.push_back(frame);
        too_many
    }

    /// Takes the first frame out.
    pub(super) fn pop(&mut self) -> Option<WaitingFrame> {
        self.retry = self.retry.map(|index| index.saturating_sub(1));
        self.frames.pop_front()
    }

    /// Takes the first frame out if its time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<WaitingFrame> {
        self.deadline().filter(|at| now >= *at).and_then(|_| self.pop())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.frames.front().map(|frame| frame.arrived + MAX_WAIT_FOR_KEY)
    }

    /// A key came: all are to be tried again.
    pub(super) fn retry(&mut self) {
        self.retry = (!self.frames.is_empty()).then_some(0);
    }

    /// The next frame to try.
    pub(super) fn candidate(&mut self) -> Option<WaitingFrame> {
        let candidate = self.retry.and_then(|index| self.frames.get(index)).copied();
        if candidate.is_none() {
            self.retry = None;
        }
        candidate
    }

    /// The candidate cannot be opened with what is there.
    pub(super) fn candidate_failed(&mut self, error: OpenError) {
        if let Some(index) = &mut self.retry {
            if let Some(frame) = self.frames.get_mut(*index) {
                frame.error = error;
            }
            *index += 1;
        }
    }

    /// The candidate was opened: it is taken out. Returns how many before it will not open any more, which are to
    /// be popped.
    pub(super) fn candidate_opened(&mut self) -> usize {
        let index = self.retry.unwrap_or(0);
        self.frames.remove(index);
        index
    }

    /// Keeps an opened frame until what was lost before it was told.
    pub(super) const fn put_opened(&mut self, frame: OpenedFrame) {
        self.opened = Some(frame);
    }

    pub(super) const fn take_opened(&mut self) -> Option<OpenedFrame> {
        self.opened.take()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// Frames of one stream that may wait for their key.
const MAX_WAITING: usize = 50;
/// How long after its arrival a frame may be opened.
pub(super) const MAX_WAIT_FOR_KEY: Duration = Duration::from_secs(1);
/// Streams whose frames may wait for a key at once.
pub(super) const MAX_WAITING_STREAMS: usize = 16;
