//! Memory for frames that wait, allocated a few frames at a time and used again.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::Receiver;
use crate::{
    media::send::MAX_FRAME_LEN,
    reorder::{Held, Stored},
};

/// Places for frames, in blocks. Grows to its bound as needed, and gives back what was not needed for a while.
#[derive(Debug)]
pub(super) struct FramePool {
    blocks: Vec<FrameMemory>,
    /// Others bring and take away memory, because it takes time to get it.
    is_supplied: bool,
    /// Few places are left.
    is_low: bool,
    /// Since when the last block was seen to be empty.
    idle_since: Option<Instant>,
}

/// Memory for 32 frames that wait in a [`Receiver`], about 46 KiB.
pub struct FrameMemory {
    frames: Box<[[u8; MAX_STORED_LEN]]>,
    /// A bit for each place.
    free: u32,
    /// The same when all are free.
    all: u32,
}

impl FrameMemory {
    /// Allocates it.
    #[must_use]
    pub fn new() -> Self {
        Self::of(BLOCK)
    }

    fn of(frames: usize) -> Self {
        let all = u32::MAX >> (BLOCK - frames);
        Self { frames: vec![[0; MAX_STORED_LEN]; frames].into_boxed_slice(), free: all, all }
    }

    const fn is_unused(&self) -> bool {
        self.free == self.all
    }
}

impl Default for FrameMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FrameMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameMemory").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}

impl Default for FramePool {
    fn default() -> Self {
        Self { blocks: vec![FrameMemory::of(FIRST)], is_supplied: false, is_low: false, idle_since: None }
    }
}

impl FramePool {
    /// Copies a frame into a free place; `None` when there is none, or the frame is too long to be one.
    pub(super) fn store(&mut self, frame: &[u8]) -> Option<Stored> {
        if frame.len() > MAX_STORED_LEN {
            return None;
        }
        let mut number = self.blocks.iter().position(|block| block.free != 0);
        if number.is_none() && !self.is_supplied && self.blocks.len() < MAX_BLOCKS {
            self.blocks.push(FrameMemory::new());
            number = Some(self.blocks.len() - 1);
        }
        let Some(number) = number else {
            self.is_low = true;
            return None;
        };
        let is_last = number + 1 == self.blocks.len();
        let block = &mut self.blocks[number];
        let place = block.free.trailing_zeros() as usize;
        block.free &= block.free - 1;
        block.frames[place][..frame.len()].copy_from_slice(frame);
        if is_last {
            self.idle_since = None;
            self.is_low |= block.free.count_ones() <= block.all.count_ones() / 2;
        }
        Some(Stored { slot: number * BLOCK + place, len: frame.len() })
    }

    pub(super) fn frame(&self, stored: Stored) -> &[u8] {
        &self.blocks[stored.slot / BLOCK].frames[stored.slot % BLOCK][..stored.len]
    }

    pub(super) fn frame_mut(&mut self, stored: Stored) -> &mut [u8] {
        &mut self.blocks[stored.slot / BLOCK].frames[stored.slot % BLOCK][..stored.len]
    }

    pub(super) fn free(&mut self, slot: usize) {
        self.blocks[slot / BLOCK].free |= 1 << (slot % BLOCK);
    }

    /// Frees what a packet held and returns whether it held a frame.
    pub(super) fn free_held(&mut self, held: &Held) -> bool {
        if let Some(stored) = held.frame {
            self.free(stored.slot);
        }
        held.frame.is_some()
    }

    fn wants_memory(&self) -> bool {
        self.is_supplied && self.is_low && self.blocks.len() < MAX_BLOCKS
    }

    fn add(&mut self, memory: FrameMemory) {
        if self.blocks.len() < MAX_BLOCKS {
            self.blocks.push(memory);
            (self.is_low, self.idle_since) = (false, None);
        }
    }

    fn take_spare(&mut self, now: Instant) -> Option<FrameMemory> {
        let last = self.blocks.last().filter(|block| self.blocks.len() > 1 && block.is_unused());
        if last.is_none() {
            self.idle_since = None;
            return None;
        }
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_duration_since(since) < SPARE_AFTER {
            return None;
        }
        // The next one waits for its own time.
        (self.idle_since, self.is_low) = (None, false);
        self.blocks.pop()
    }
}

/// Frames that wait for earlier packets, for a key or for the name of their sender lie in the receiver's memory. It begins
/// with a little, grows to 1.5 MB at most, and frames for which there is no place are counted in
/// [`ReceiveStats::dropped`](super::ReceiveStats::dropped).
impl Receiver {
    /// Has memory brought and taken away by who serves this half, which then never allocates or frees any for frames: for a
    /// thread that has no time for it.
    pub const fn leave_memory_to_others(&mut self) {
        self.pool.is_supplied = true;
    }

    /// Whether [more memory](Self::add_memory) is needed soon. Only after
    /// [`leave_memory_to_others`](Self::leave_memory_to_others).
    #[must_use]
    pub fn wants_memory(&self) -> bool {
        self.pool.wants_memory()
    }

    /// Takes memory for more frames.
    pub fn add_memory(&mut self, memory: FrameMemory) {
        self.pool.add(memory);
    }

    /// Gives back memory that was not needed for ten seconds. To be asked now and then.
    pub fn take_spare_memory(&mut self, now: Instant) -> Option<FrameMemory> {
        self.pool.take_spare(now)
    }
}

/// A frame with the trailer of its end-to-end encryption.
const MAX_STORED_LEN: usize = MAX_FRAME_LEN + 60;
/// Frames in a block: the bits of a word.
const BLOCK: usize = u32::BITS as usize;
/// Frames of the first block, which every call has, whether it listens or not: half of them are enough for frames that come
/// in order, and the other half for the time in which more memory comes.
const FIRST: usize = 8;
/// Blocks of one call: 1 000 frames that wait.
const MAX_BLOCKS: usize = 32;
/// How long a block must not be needed to be given back.
const SPARE_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }

    fn fill(pool: &mut FramePool) -> Vec<Stored> {
        std::iter::from_fn(|| pool.store(&[7; 160])).collect()
    }

    #[test]
    fn it_grows_to_its_bound_and_gives_back_what_is_not_needed() {
        let start = start();
        let mut pool = FramePool::default();
        let stored = fill(&mut pool);
        assert_eq!(stored.len(), FIRST + (MAX_BLOCKS - 1) * BLOCK);
        stored[3..].iter().for_each(|stored| pool.free(stored.slot));
        let mut given_back = 0;
        for second in 0..1_000 {
            given_back += usize::from(pool.take_spare(start + Duration::from_secs(second)).is_some());
        }
        assert_eq!((given_back, pool.blocks.len()), (MAX_BLOCKS - 1, 1), "and keeps what is in use");
        assert_eq!(pool.frame(stored[2]), [7; 160]);
        assert_eq!(fill(&mut pool).len() + 3, stored.len());
    }

    #[test]
    fn what_is_in_use_now_and_then_is_kept() {
        let start = start();
        let mut pool = FramePool::default();
        let stored: Vec<_> = (0..FIRST).filter_map(|_| pool.store(&[1])).collect();
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            if second % 9 == 0 {
                let more = pool.store(&[2]).expect("a block is there, or is added");
                pool.free(more.slot);
            }
            assert!(pool.take_spare(now).is_none());
        }
        assert_eq!((stored.len(), pool.blocks.len()), (FIRST, 2));
    }

    #[test]
    fn who_is_supplied_asks_in_time_and_allocates_nothing() {
        let mut pool = FramePool { is_supplied: true, ..FramePool::default() };
        let mut stored = Vec::new();
        for _ in 0..FIRST / 2 {
            assert!(!pool.wants_memory());
            stored.extend(pool.store(&[1]));
        }
        assert!(pool.wants_memory(), "while there is place for a few");
        stored.extend(fill(&mut pool));
        assert_eq!((stored.len(), pool.blocks.len()), (FIRST, 1));
        for blocks in 2..=MAX_BLOCKS {
            assert!(pool.wants_memory());
            pool.add(FrameMemory::new());
            assert!(!pool.wants_memory());
            stored.extend(fill(&mut pool));
            assert_eq!(pool.blocks.len(), blocks);
        }
        pool.add(FrameMemory::new());
        assert!(!pool.wants_memory() && pool.blocks.len() == MAX_BLOCKS);
        let mut slots: Vec<_> = stored.iter().map(|stored| stored.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), stored.len(), "each has a place of its own");
    }

    #[test]
    fn any_order_of_coming_and_going_keeps_each_frame_whole() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut pool, mut now) = (FramePool::default(), start());
        let mut held: Vec<(Stored, u8)> = Vec::new();
        for _ in 0..50_000 {
            now += Duration::from_millis(rng.u64(..2_000));
            if rng.u32(..1_000) < 480 || held.is_empty() {
                let (byte, len) = (rng.u8(..), rng.usize(1..=MAX_STORED_LEN));
                held.extend(pool.store(&vec![byte; len]).map(|stored| (stored, byte)));
            } else {
                let (stored, byte) = held.swap_remove(rng.usize(..held.len()));
                assert!(pool.frame(stored).iter().all(|other| *other == byte));
                pool.free(stored.slot);
            }
            drop(pool.take_spare(now));
        }
    }
}
