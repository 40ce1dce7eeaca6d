//! The threads: workers, and the watch that adds to them.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Builder, Thread},
    time::Duration,
};

use super::{BLOCKED_AFTER, RETRY_AFTER, queue::Shared, worker::Worker};

/// The workers there are.
#[derive(Default)]
pub(super) struct Crew {
    posts: Vec<Arc<Post>>,
    /// Those among them that are inside one source for too long.
    blocked: usize,
    /// For their names.
    started: u64,
}

/// What others see of a worker.
#[derive(Default)]
pub(super) struct Post {
    thread: OnceLock<Thread>,
    /// It is asleep, and was not woken.
    waiting: AtomicBool,
    /// It is in the list of those who may be.
    listed: AtomicBool,
    /// When it went into a source, in microseconds, shifted left by one; the lowest bit says that it counts as blocked.
    /// 0 outside.
    inside: AtomicU64,
}

/// Starts the watch, which starts workers as they are needed.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let own = Arc::clone(shared);
    let watch = Builder::new().name("voice-encode".to_owned()).spawn(move || watch(&own))?;
    let _ = shared.watch.set(watch.thread().clone());
    Ok(())
}

/// Sleeps until work waits and nobody is free for it.
fn watch(shared: &Arc<Shared>) {
    while !shared.is_closing() {
        if !shared.is_armed() {
            thread::park();
            continue;
        }
        let pause = look(shared);
        thread::park_timeout(if shared.has_postponed() { pause.min(RETRY_AFTER) } else { pause });
        shared.bring_back();
        if shared.queued() == 0 {
            shared.disarm();
        }
    }
    // Workers may all be blocked, or not have been needed yet.
    shared.bring_back();
    while let Some(job) = shared.pop(0) {
        job.give_up();
    }
}

/// Looks for workers that are blocked, and starts others if there is work. Says when to look again.
fn look(shared: &Arc<Shared>) -> Duration {
    let (now, limit) = (shared.now(), BLOCKED_AFTER.as_micros() as u64);
    let mut crew = shared.crew();
    let (mut next, mut blocked) = (limit, 0);
    for post in &crew.posts {
        let inside = post.inside.load(Ordering::Acquire);
        if inside == 0 || inside & 1 == 1 {
            continue;
        }
        let left = limit.saturating_sub(now.saturating_sub(inside >> 1));
        if left > 0 {
            next = next.min(left);
        } else if post.inside.compare_exchange(inside, inside | 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            blocked += 1;
        }
    }
    crew.blocked += blocked;
    shared.counters.blocked.fetch_add(blocked as u64, Ordering::Relaxed);
    let working = crew.posts.len() - crew.blocked;
    for _ in 0..shared.target.saturating_sub(working).min(shared.queued()) {
        if crew.posts.len() == shared.most || !crew.hire(shared) {
            shared.counters.spares_refused.fetch_add(u64::from(blocked > 0), Ordering::Relaxed);
            break;
        }
    }
    Duration::from_micros(next.max(SHORTEST_PAUSE))
}

impl Crew {
    fn hire(&mut self, shared: &Arc<Shared>) -> bool {
        let post = Arc::new(Post::default());
        let worker = Worker::new(Arc::clone(shared), Arc::clone(&post));
        let name = format!("voice-encode-{}", self.started);
        match Builder::new().name(name).spawn(move || worker.run()) {
            Ok(_) => {
                self.started += 1;
                self.posts.push(post);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no thread for encoding");
                false
            }
        }
    }

    /// A worker that counted as blocked is free again. Returns whether it is needed.
    pub(super) fn unblock(&mut self, post: &Arc<Post>, target: usize) -> bool {
        self.blocked -= 1;
        let is_needed = self.posts.len() - self.blocked <= target;
        if !is_needed {
            self.leave(post);
        }
        is_needed
    }

    /// A worker ends.
    pub(super) fn leave(&mut self, post: &Arc<Post>) {
        self.posts.retain(|other| !Arc::ptr_eq(other, post));
    }

    /// Workers, and the blocked ones among them.
    pub(super) fn figures(&self) -> (usize, usize) {
        (self.posts.len(), self.blocked)
    }
}

impl Post {
    /// On the worker's own thread, before anything else.
    pub(super) fn occupy(&self) {
        let _ = self.thread.set(thread::current());
    }

    /// The worker goes into a source.
    pub(super) fn enter(&self, now: u64) {
        self.inside.store(now << 1, Ordering::Release);
    }

    /// It is out again. Returns whether it counted as blocked.
    pub(super) fn exit(&self) -> bool {
        self.inside.swap(0, Ordering::AcqRel) & 1 == 1
    }

    /// Returns whether it has to be put into the list.
    pub(super) fn begin_to_wait(&self) -> bool {
        self.waiting.store(true, Ordering::SeqCst);
        !self.listed.swap(true, Ordering::SeqCst)
    }

    /// It found something to do by itself. Who has chosen it meanwhile has put that, or more, into the queue before: it is
    /// seen after the next turn, or by who is called to help.
    pub(super) fn stop_waiting(&self) {
        self.waiting.store(false, Ordering::SeqCst);
    }

    pub(super) fn wait(&self) {
        while self.waiting.load(Ordering::SeqCst) {
            thread::park();
        }
    }

    /// Called with what was taken out of the list. Returns whether the worker was asleep, and is not any more.
    pub(super) fn wake(&self) -> bool {
        // In this order: if the worker begins to wait in between, it is woken here, and is in the list as well.
        self.listed.store(false, Ordering::SeqCst);
        let is_woken = self.waiting.swap(false, Ordering::SeqCst);
        if is_woken && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        is_woken
    }
}

/// Microseconds between two looks, at least.
const SHORTEST_PAUSE: u64 = 500;
