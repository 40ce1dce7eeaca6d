//! A source that is asked ahead of time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use rtrb::{Producer, RingBuffer};
use voice_audio::{FrameBuf, FrameSource};

use super::{Running, feed::Feed, queue::Admitted};
use crate::driver::playing::PlaybackEnd;

/// A source, and what its feed and the workers tell each other about it.
pub(super) struct Job {
    admitted: Admitted,
    /// In the queue or in a worker's hands. Who sets it has the job to put there.
    busy: AtomicBool,
    /// Nobody plays it any more.
    closed: AtomicBool,
    /// Frames put into the ring.
    made: AtomicU32,
    /// Frames taken out of it.
    taken: AtomicU32,
    /// Times at which the feed was asked for a frame.
    asked: AtomicU32,
    /// Frames to be ahead.
    depth: u32,
    /// Frames in the ring at which it has to be filled again.
    low: u32,
    end: OnceLock<PlaybackEnd>,
    /// Only the worker that has the job in its hands looks here: nobody ever waits for this lock.
    work: Mutex<Option<Work>>,
}

/// What only workers touch; gone when the source is.
pub(super) struct Work {
    source: Box<dyn FrameSource>,
    ring: Producer<u8>,
    /// The value of `asked` when the source last had nothing, and how often it had nothing since.
    empty: (u32, u8),
}

impl Job {
    /// Makes the ring and has the first frames made.
    pub(super) fn start(running: Arc<Running>, admitted: Admitted, source: Box<dyn FrameSource>, depth: u8) -> Feed {
        let depth = u32::from(depth.max(1));
        let (producer, consumer) = RingBuffer::new(RECORD_LEN + (depth as usize - 1) * USUAL_RECORD_LEN);
        let job = Arc::new(Self {
            admitted,
            busy: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            made: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            depth,
            low: depth / 2,
            end: OnceLock::new(),
            work: Mutex::new(Some(Work { source, ring: producer, empty: (0, 0) })),
        });
        job.queue();
        Feed { ring: consumer, job, taken: 0, running }
    }

    /// How it ended, once all frames before that are in the ring.
    pub(super) fn end(&self) -> Option<&PlaybackEnd> {
        self.end.get()
    }

    /// The feed was asked for a frame, and so many were taken in all. Returns whether the job is in the queue now, and somebody
    /// has to be called for it.
    pub(super) fn ask(self: &Arc<Self>, taken: u32) -> bool {
        self.taken.store(taken, Ordering::SeqCst);
        self.asked.store(self.asked.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.is_low() && self.end.get().is_none() && self.enter_queue()
    }

    /// Nobody plays it any more: a worker drops the source.
    pub(super) fn close(self: &Arc<Self>) {
        self.closed.store(true, Ordering::SeqCst);
        self.queue();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether it has at most one frame left to play.
    pub(super) fn is_urgent(&self) -> bool {
        self.ahead() <= 1 && !self.is_closed()
    }

    fn is_low(&self) -> bool {
        self.ahead() <= self.low
    }

    fn ahead(&self) -> u32 {
        self.made.load(Ordering::SeqCst).wrapping_sub(self.taken())
    }

    /// Frames that were taken out of the ring.
    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }

    #[cfg(test)]
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// Puts it into the queue, unless it is there or in a worker's hands, who then looks once more before letting go.
    fn queue(self: &Arc<Self>) {
        if self.enter_queue() {
            self.admitted.shared().call_help();
        }
    }

    /// The same, and leaves it to the caller to have somebody look at the queue.
    fn enter_queue(self: &Arc<Self>) -> bool {
        let enters = !self.busy.load(Ordering::SeqCst) && !self.busy.swap(true, Ordering::SeqCst);
        if enters {
            self.admitted.shared().push(Arc::clone(self));
        }
        enters
    }

    /// A worker lets go of it. It is back in the queue when that was asked for meanwhile: when it was closed, or when its
    /// ring, full when so many frames were taken, is low now.
    pub(super) fn let_go(self: &Arc<Self>, full_at: Option<u32>) {
        self.busy.store(false, Ordering::SeqCst);
        // Frames that are long may fill a ring that is low nevertheless.
        if self.is_closed() || (full_at.is_some_and(|taken| taken != self.taken()) && self.is_low()) {
            self.queue();
        }
    }

    /// For the worker that has taken it out of the queue.
    pub(super) fn work(&self) -> MutexGuard<'_, Option<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more frame may be made, of whatever length.
    pub(super) fn has_room(&self, work: &Work) -> bool {
        self.ahead() < self.depth && work.ring.slots() >= RECORD_LEN
    }

    pub(super) fn put(&self, work: &mut Work, record: &[u8]) {
        if work.ring.push_entire_slice(record).is_ok() {
            self.made.store(self.made.load(Ordering::Relaxed).wrapping_add(1), Ordering::SeqCst);
        }
    }

    /// It had nothing. Whether to ask again before the feed is asked for the next frame.
    pub(super) fn is_worth_a_retry(&self, work: &mut Work) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        let (when, times) = work.empty;
        work.empty = if when == asked { (asked, times.saturating_add(1)) } else { (asked, 1) };
        work.empty.1 < RETRIES && self.is_low()
    }

    pub(super) fn finish(&self, end: PlaybackEnd) {
        let _ = self.end.set(end);
    }

    /// Drops the source, on a thread that may wait.
    pub(super) fn give_up(&self) {
        drop_source(self.work().take());
    }
}

impl Work {
    pub(super) fn source(&mut self) -> &mut dyn FrameSource {
        &mut *self.source
    }
}

/// A source may panic there too.
pub(super) fn drop_source(work: Option<Work>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
}

/// Before each frame in the ring: its length.
pub(super) const HEAD_LEN: usize = 2;
/// The longest frame in the ring.
pub(super) const RECORD_LEN: usize = HEAD_LEN + FrameBuf::CAPACITY;
/// A frame in the ring at 120 kbit/s: as many as were asked for find place, unless they are longer.
const USUAL_RECORD_LEN: usize = HEAD_LEN + 300;
/// How often a source that has nothing is asked for the same frame.
const RETRIES: u8 = 4;
