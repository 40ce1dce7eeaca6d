//! Memory for frames that wait, allocated once and used again.

use crate::{
    media::send::MAX_FRAME_LEN,
    reorder::{Held, Stored},
};

/// Places for frames. Grows to its bound as needed and then stays.
#[derive(Debug, Default)]
pub(super) struct FramePool {
    slots: Vec<[u8; MAX_STORED_LEN]>,
    free: Vec<usize>,
}

impl FramePool {
    /// Copies a frame into a free place; `None` when there is none, or the frame is too long to be one.
    pub(super) fn store(&mut self, frame: &[u8]) -> Option<Stored> {
        if frame.len() > MAX_STORED_LEN {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < MAX_SLOTS => {
                self.slots.push([0; MAX_STORED_LEN]);
                self.slots.len() - 1
            }
            None => return None,
        };
        self.slots[slot][..frame.len()].copy_from_slice(frame);
        Some(Stored { slot, len: frame.len() })
    }

    pub(super) fn frame(&self, stored: Stored) -> &[u8] {
        &self.slots[stored.slot][..stored.len]
    }

    pub(super) fn frame_mut(&mut self, stored: Stored) -> &mut [u8] {
        &mut self.slots[stored.slot][..stored.len]
    }

    pub(super) fn free(&mut self, slot: usize) {
        self.free.push(slot);
    }

    /// Frees what a packet held and returns whether it held a frame.
    pub(super) fn free_held(&mut self, held: &Held) -> bool {
        if let Some(stored) = held.frame {
            self.free(stored.slot);
        }
        held.frame.is_some()
    }
}

/// A frame with the trailer of its end-to-end encryption.
const MAX_STORED_LEN: usize = MAX_FRAME_LEN + 60;
/// Frames that may wait in one call.
const MAX_SLOTS: usize = 1_024;
