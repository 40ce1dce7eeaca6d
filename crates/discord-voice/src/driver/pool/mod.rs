//! A few threads that ask sources for their frames ahead of time, for all calls of a driver.
//!
//! A source that may block is a [`Job`]. Its call holds the other end, a [`Feed`], and takes frames out of a ring without
//! ever waiting; when the ring runs low it puts the job in the queue, where each is at most once. Workers take turns at
//! what is in the queue. One that is inside one source for long counts as blocked, and a spare takes its place: the watch,
//! a thread of its own, sees to that, and sleeps unless work waits while nobody is free.

mod crew;
mod feed;
mod job;
mod queue;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use voice_audio::{FrameSource, SourceError};

use self::{job::Job, queue::Shared};
use super::playing::PlaybackEnd;

pub(crate) use feed::{Feed, Help};

/// The pool. Its threads start with the first source that needs one, and end when it and the last feed are gone.
pub(crate) struct Pool {
    threads: usize,
    running: Mutex<Option<Arc<Running>>>,
    refused: AtomicU64,
}

/// Keeps the threads running. Dropping it never waits for them.
pub(super) struct Running(Arc<Shared>);

/// What the threads do that [ask sources for frames](voice_audio::Lead::Frames) ahead of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeStats {
    /// Sources that are played or wait to be given up.
    pub sources: usize,
    /// Sources that wait for a thread.
    pub queued: usize,
    /// Threads, spare ones included.
    pub threads: usize,
    /// Threads beyond [`Config::encode_threads`](crate::Config::encode_threads), in place of blocked ones.
    pub spare_threads: usize,
    /// Threads that are inside one source for more than 10 ms, as far as others waited for them.
    pub blocked_threads: usize,
    /// Frames made.
    pub frames: u64,
    /// Times at which a source held a thread for more than 10 ms while others waited.
    pub blocked: u64,
    /// Times at which such a thread could not be replaced: there were as many spare ones as there may be, or the system
    /// had none left.
    pub spares_refused: u64,
    /// Sources that were refused because there were as many as there may be: 16 384.
    pub sources_refused: u64,
    /// Sources that panicked.
    pub panics: u64,
    /// The longest that a source took for one frame.
    pub longest: Duration,
}

impl Pool {
    /// A pool of so many threads, at least one.
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads: threads.max(1), running: Mutex::default(), refused: AtomicU64::new(0) }
    }

    /// Begins to ask a source for frames, up to so many ahead.
    pub(crate) fn feed(&self, source: Box<dyn FrameSource>, depth: u8) -> Result<Feed, PlaybackEnd> {
        let running = self.running().map_err(|error| PlaybackEnd::Failed(SourceError::new(error)))?;
        let Some(admitted) = Shared::admit(&running.0) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(PlaybackEnd::Refused);
        };
        Ok(Job::start(running, admitted, source, depth))
    }

    pub(crate) fn stats(&self) -> EncodeStats {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stats = running.map(|running| running.0.stats(&running.0.crew())).unwrap_or_default();
        self.with_refused(stats)
    }

    /// The same for who cannot wait: `None` while a thread of the pool begins or ends.
    #[cfg(feature = "metrics")]
    pub(crate) fn try_stats(&self) -> Option<EncodeStats> {
        let running = self.running.try_lock().ok()?.clone();
        let Some(running) = running else { return Some(self.with_refused(EncodeStats::default())) };
        let crew = running.0.try_crew()?;
        Some(self.with_refused(running.0.stats(&crew)))
    }

    fn with_refused(&self, stats: EncodeStats) -> EncodeStats {
        EncodeStats { sources_refused: self.refused.load(Ordering::Relaxed), ..stats }
    }

    fn running(&self) -> io::Result<Arc<Running>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            return Ok(Arc::clone(running));
        }
        let cores = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let shared = Arc::new(Shared::new(self.threads, self.threads + SPARES_PER_CORE * cores));
        crew::start(&shared)?;
        Ok(Arc::clone(running.insert(Arc::new(Running(shared)))))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// Threads that may stand in for blocked ones, for each core.
const SPARES_PER_CORE: usize = 4;
/// Sources that can be fed at the same time. The queues have this many places, 16 bytes each.
const MAX_SOURCES: usize = 16_384;
/// How long a worker is inside one source before it counts as blocked: far longer than encoding takes, and short
/// enough for a spare to save the next frame of a source with a lead of one.
const BLOCKED_AFTER: Duration = Duration::from_millis(10);
/// When a source that had nothing yet is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(5);
