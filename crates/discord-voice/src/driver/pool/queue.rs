//! Which sources want a turn, and who is free to give it to them. Nothing that a media thread calls here locks or
//! allocates.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::Thread,
    time::{Duration, Instant},
};

use crossbeam_queue::ArrayQueue;

use super::{
    EncodeStats, MAX_SOURCES,
    crew::{Crew, Post},
    job::Job,
};
use crate::driver::clock;

/// What feeds, workers and the watch share.
pub(super) struct Shared {
    /// Sources whose next frame is due soon.
    urgent: ArrayQueue<Arc<Job>>,
    /// Sources that still have frames in their rings.
    calm: ArrayQueue<Arc<Job>>,
    /// Sources that had nothing yet; the watch puts them into the queue again.
    later: ArrayQueue<Arc<Job>>,
    /// Workers that may be asleep, each at most once.
    idle: ArrayQueue<Arc<Post>>,
    /// The watch is awake, or about to be.
    armed: AtomicBool,
    closing: AtomicBool,
    pub(super) watch: OnceLock<Thread>,
    crew: Mutex<Crew>,
    epoch: Instant,
    /// Workers that are not blocked, once there was enough to do for them.
    pub(super) target: usize,
    /// Workers at most.
    pub(super) most: usize,
    sources: AtomicUsize,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) frames: AtomicU64,
    pub(super) blocked: AtomicU64,
    pub(super) spares_refused: AtomicU64,
    pub(super) panics: AtomicU64,
    /// In microseconds.
    pub(super) longest: AtomicU64,
}

/// A source's place among all that there may be, which is also its place in the queues.
pub(super) struct Admitted(Arc<Shared>);

impl Shared {
    pub(super) fn new(target: usize, most: usize) -> Self {
        Self {
            urgent: ArrayQueue::new(MAX_SOURCES),
            calm: ArrayQueue::new(MAX_SOURCES),
            later: ArrayQueue::new(MAX_SOURCES),
            idle: ArrayQueue::new(most),
            armed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            watch: OnceLock::new(),
            crew: Mutex::default(),
            epoch: clock(),
            target,
            most,
            sources: AtomicUsize::new(0),
            counters: Counters::default(),
        }
    }

    /// A place for one more source, if there is one.
    pub(super) fn admit(shared: &Arc<Self>) -> Option<Admitted> {
        let more = |sources| (sources < MAX_SOURCES).then_some(sources + 1);
        shared.sources.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Admitted(Arc::clone(shared)))
    }

    /// Puts a job into the queue, which is its caller's to do: it was not [busy](Job) before, or is in no other hands.
    pub(super) fn push(&self, job: Arc<Job>) {
        let queue = if job.is_urgent() { &self.urgent } else { &self.calm };
        // There are never more jobs than places, and each is in one queue at most once.
        let _ = queue.push(job);
    }

    /// Takes a job: mostly an urgent one, but the others wait for every fourth turn at most.
    pub(super) fn pop(&self, turn: u8) -> Option<Arc<Job>> {
        let (first, second) =
            if turn.is_multiple_of(4) { (&self.calm, &self.urgent) } else { (&self.urgent, &self.calm) };
        first.pop().or_else(|| second.pop())
    }

    /// Puts a job aside that has nothing yet.
    pub(super) fn postpone(&self, job: Arc<Job>) {
        let _ = self.later.push(job);
        fence(Ordering::SeqCst);
        self.arm();
        // The watch may have looked for the last time.
        if self.is_closing() {
            self.bring_back();
        }
    }

    /// Puts those into the queue that had nothing yet.
    pub(super) fn bring_back(&self) {
        for _ in 0..self.later.len() {
            let Some(job) = self.later.pop() else { break };
            self.push(job);
            self.call_help();
        }
    }

    pub(super) fn has_postponed(&self) -> bool {
        !self.later.is_empty()
    }

    pub(super) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// Jobs that wait for a worker.
    pub(super) fn queued(&self) -> usize {
        self.urgent.len() + self.calm.len()
    }

    /// Has somebody look at the queue: a worker that is asleep, or else the watch. Each push is followed by this, and
    /// so is each pop that leaves something behind: then there is no moment at which work waits, nobody is on the way to
    /// it, and nobody watches those who are at work.
    pub(super) fn call_help(&self) {
        fence(Ordering::SeqCst);
        if !self.wake_one() {
            self.arm();
        }
    }

    fn wake_one(&self) -> bool {
        while let Some(post) = self.idle.pop() {
            if post.wake() {
                return true;
            }
        }
        false
    }

    fn arm(&self) {
        if !self.armed.load(Ordering::SeqCst) && !self.armed.swap(true, Ordering::SeqCst) {
            self.wake_watch();
        }
    }

    fn wake_watch(&self) {
        if let Some(watch) = self.watch.get() {
            watch.unpark();
        }
    }

    pub(super) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::SeqCst)
    }

    /// The watch goes to sleep, unless there is something to do for it.
    pub(super) fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.queued() > 0 || self.has_postponed() {
            self.armed.store(true, Ordering::SeqCst);
        }
    }

    /// A worker sleeps until there is something in the queue, or until the pool closes.
    pub(super) fn sleep(&self, post: &Arc<Post>) {
        if post.begin_to_wait() {
            let mut entry = Arc::clone(post);
            // Full of those who have ended meanwhile, if at all.
            while let Err(back) = self.idle.push(entry) {
                self.wake_one();
                entry = back;
            }
        }
        fence(Ordering::SeqCst);
        if self.queued() > 0 || self.is_closing() {
            post.stop_waiting();
        } else {
            post.wait();
        }
    }

    /// Everything ends once what is left in the queues is given up.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        while self.wake_one() {}
        self.wake_watch();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Workers and the watch only.
    pub(super) fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, in microseconds since the pool began, and never 0.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(clock().saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX).saturating_add(1)
    }

    #[cfg(feature = "metrics")]
    pub(super) fn try_crew(&self) -> Option<MutexGuard<'_, Crew>> {
        self.crew.try_lock().ok()
    }

    pub(super) fn stats(&self, crew: &Crew) -> EncodeStats {
        let (threads, blocked_threads) = crew.figures();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EncodeStats {
            sources: self.sources.load(Ordering::Relaxed),
            queued: self.queued(),
            threads,
            spare_threads: threads.saturating_sub(self.target),
            blocked_threads,
            frames: count(&self.counters.frames),
            blocked: count(&self.counters.blocked),
            spares_refused: count(&self.counters.spares_refused),
            sources_refused: 0,
            panics: count(&self.counters.panics),
            longest: Duration::from_micros(count(&self.counters.longest)),
        }
    }
}

impl Admitted {
    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.sources.fetch_sub(1, Ordering::Relaxed);
    }
}
