//! A thread that asks sources for frames.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

use voice_audio::{FrameBuf, NextFrame};

use super::{
    crew::Post,
    job::{HEAD_LEN, Job, RECORD_LEN, Work, drop_source},
    queue::Shared,
};
use crate::driver::playing::PlaybackEnd;

pub(super) struct Worker {
    shared: Arc<Shared>,
    post: Arc<Post>,
    frame: FrameBuf,
    record: Box<[u8; RECORD_LEN]>,
    /// It is not needed any more, and not counted any more.
    dismissed: bool,
}

/// How a job's turn ended.
enum Turn {
    /// Others come first.
    More,
    /// The ring is full.
    Full,
    /// The source has nothing yet, and is asked again soon, or else when a frame is taken.
    NotYet { retry: bool },
    /// The source is gone.
    Over,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, post: Arc<Post>) -> Self {
        Self { shared, post, frame: FrameBuf::new(), record: Box::new([0; RECORD_LEN]), dismissed: false }
    }

    pub(super) fn run(mut self) {
        self.post.occupy();
        let mut turn = 1_u8;
        while !self.dismissed {
            match self.shared.pop(turn) {
                Some(job) => {
                    turn = turn.wrapping_add(1);
                    if self.shared.queued() > 0 {
                        self.shared.call_help();
                    }
                    self.serve(job);
                }
                None if self.shared.is_closing() => break,
                None => self.shared.sleep(&self.post),
            }
        }
    }

    fn serve(&mut self, job: Arc<Job>) {
        let mut work = job.work();
        let turn = self.turn(&job, &mut work);
        if matches!(turn, Turn::Over)
            && let Some(work) = work.take()
        {
            // Sources may take their time to go.
            self.inside(|_| drop_source(Some(work)));
        }
        drop(work);
        match turn {
            Turn::More => self.shared.push(job),
            Turn::NotYet { retry: true } => self.shared.postpone(job),
            Turn::NotYet { retry: false } => job.let_go(false),
            Turn::Full => job.let_go(true),
            Turn::Over => {}
        }
        if self.dismissed && self.shared.queued() > 0 {
            self.shared.call_help();
        }
    }

    fn turn(&mut self, job: &Job, work: &mut Option<Work>) -> Turn {
        let Some(work) = work else { return Turn::Over };
        let most = if self.shared.has_urgent() { SHORT_TURN } else { LONG_TURN };
        let mut made = 0;
        loop {
            if job.is_closed() {
                return Turn::Over;
            }
            if !job.has_room(work) {
                return Turn::Full;
            }
            if made == most || self.dismissed {
                return Turn::More;
            }
            self.frame.clear();
            let next =
                self.inside(|worker| catch_unwind(AssertUnwindSafe(|| work.source().next_frame(&mut worker.frame))));
            let end = match next {
                Ok(NextFrame::Ready) => {
                    made += 1;
                    self.put(job, work);
                    continue;
                }
                Ok(NextFrame::NotYet) => return Turn::NotYet { retry: job.is_worth_a_retry(work) },
                Ok(NextFrame::End) => PlaybackEnd::Finished,
                Ok(NextFrame::Failed(error)) => PlaybackEnd::Failed(error),
                Err(payload) => {
                    self.shared.counters.panics.fetch_add(1, Ordering::Relaxed);
                    // What was thrown may throw again when it is dropped.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
                    PlaybackEnd::Panicked
                }
            };
            job.finish(end);
            return Turn::Over;
        }
    }

    fn put(&mut self, job: &Job, work: &mut Work) {
        let frame = self.frame.as_slice();
        let (head, body) = self.record.split_at_mut(HEAD_LEN);
        // A frame buffer holds less than what 16 bits can count.
        head.copy_from_slice(&(frame.len() as u16).to_le_bytes());
        body[..frame.len()].copy_from_slice(frame);
        job.put(work, &self.record[..HEAD_LEN + frame.len()]);
        self.shared.counters.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs what a source does, which the watch may find to take too long.
    fn inside<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let since = self.shared.now();
        self.post.enter(since);
        let result = run(self);
        let was_blocked = self.post.exit();
        let took = self.shared.now().saturating_sub(since);
        if took > self.shared.counters.longest.load(Ordering::Relaxed) {
            self.shared.counters.longest.fetch_max(took, Ordering::Relaxed);
        }
        if was_blocked {
            self.dismissed = !self.shared.crew().unblock(&self.post, self.shared.target);
        }
        result
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.dismissed {
            self.shared.crew().leave(&self.post);
        }
    }
}

/// Frames made for one source before the others get their turn.
const LONG_TURN: u32 = 4;
/// The same while others have next to nothing left.
const SHORT_TURN: u32 = 2;
