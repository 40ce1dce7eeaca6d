//! Many worlds at a time.

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Runs something for each seed, on all processors: whoever is done takes the next.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let sum = AtomicU64::new(0);
/// voice_testkit::for_each_seed(1..101, |seed| {
///     sum.fetch_add(seed, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 5_050);
/// ```
///
/// # Panics
///
/// When one of them does; the others end early.
pub fn for_each_seed(seeds: Range<u64>, run: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let failure = EndOthers(&next, seeds.end);
            run(seed);
            std::mem::forget(failure);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
}

/// Dropped when a run fails: no other seed is begun.
struct EndOthers<'a>(&'a AtomicU64, u64);

impl Drop for EndOthers<'_> {
    fn drop(&mut self) {
        self.0.store(self.1, Ordering::Relaxed);
    }
}
