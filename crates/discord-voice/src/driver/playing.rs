//! A source that is playing, and what its owner can see of it.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use voice_audio::{FRAME_DURATION, FrameBuf, FrameSource, Lead, NextFrame, SourceError};
use voice_udp::SealError;

use super::pool::{Feed, Help, Pool};

/// The media thread's side of a playback.
pub(crate) struct Playing {
    source: Source,
    /// There was a frame.
    has_begun: bool,
    /// What was shown last.
    status: PlaybackStatus,
    shared: Arc<PlaybackShared>,
}

/// Where the frames come from.
enum Source {
    /// Asked here; there until it is dropped.
    Immediate(Option<Box<dyn FrameSource>>),
    /// Asked ahead of time on the pool's threads.
    Fed(Feed),
}

/// What a playback's owner and the media thread share: facts go one way, wishes go through the call's control.
#[derive(Debug, Default)]
pub(crate) struct PlaybackShared {
    frames: AtomicU64,
    underruns: AtomicU64,
    status: AtomicU8,
    end: OnceLock<PlaybackEnd>,
    notify: Notify,
}

/// How a playback ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlaybackEnd {
    /// The source came to its end.
    Finished,
    /// It was stopped.
    Stopped,
    /// Another source took its place.
    Replaced,
    /// The call ended.
    CallEnded,
    /// The source failed.
    Failed(SourceError),
    /// The source panicked; no other call was disturbed.
    Panicked,
    /// The source gave a frame that cannot be sent (its owner must give others).
    Unsendable(SealError),
    /// The call was too busy to take it, or the driver plays as many sources as it can.
    Refused,
}

impl fmt::Display for PlaybackEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Stopped => f.write_str("stopped"),
            Self::Replaced => f.write_str("replaced by another source"),
            Self::CallEnded => f.write_str("the call ended"),
            Self::Failed(_) => f.write_str("the source failed"),
            Self::Panicked => f.write_str("the source panicked"),
            Self::Unsendable(_) => f.write_str("the source gave a frame that cannot be sent"),
            Self::Refused => f.write_str("there was no room for it"),
        }
    }
}

impl Error for PlaybackEnd {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Unsendable(error) => Some(error),
            _ => None,
        }
    }
}

/// What a playback does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaybackStatus {
    /// It waits for the call to be connected.
    Waiting,
    /// It plays.
    Playing,
    /// It is paused.
    Paused,
    /// It has ended.
    Ended,
}

impl Playing {
    /// Takes the source, of which the pool makes the first frames from now on, unless it is asked where it is played.
    pub(crate) fn new(pool: &Pool, source: impl FrameSource, shared: Arc<PlaybackShared>) -> Result<Self, PlaybackEnd> {
        let source = match source.lead() {
            Lead::Immediate => Source::Immediate(Some(Box::new(source))),
            Lead::Frames(depth) => Source::Fed(pool.feed(Box::new(source), depth)?),
        };
        Ok(Self { source, has_begun: false, status: PlaybackStatus::Waiting, shared })
    }

    /// The next frame, if there is one. Asks the source for it, where a panic becomes an end, or takes what the pool has
    /// made; then the pool may need to be called, which is for later.
    pub(crate) fn next_frame(&mut self, out: &mut FrameBuf, help: &mut Help) -> Result<bool, PlaybackEnd> {
        // The buffer is every call's: a source that says that it has written a frame, and has not, must not send
        // another's.
        out.clear();
        let is_ready = match &mut self.source {
            Source::Fed(feed) => feed.next_frame(out, help)?,
            Source::Immediate(source) => ask(source, out)?,
        };
        if is_ready {
            self.has_begun = true;
            // Only this thread writes it, so it need not be locked.
            let frames = self.shared.frames.load(Ordering::Relaxed);
            self.shared.frames.store(frames + 1, Ordering::Relaxed);
        } else if self.has_begun {
            self.shared.underruns.fetch_add(1, Ordering::Relaxed);
        }
        Ok(is_ready)
    }

    /// Reads what the next frame needs.
    pub(super) fn prefetch(&self) -> u64 {
        self.shared.frames.load(Ordering::Relaxed)
    }

    /// Whether this is the playback that the handle is of.
    pub(super) fn is(&self, shared: &Arc<PlaybackShared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    pub(crate) fn set_status(&mut self, status: PlaybackStatus) {
        if std::mem::replace(&mut self.status, status) != status {
            self.shared.status.store(status as u8, Ordering::Relaxed);
        }
    }

    pub(crate) fn end(self, end: PlaybackEnd) {
        self.shared.end(end);
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        // Whatever way the media thread lets go of it, its owner hears of an end.
        self.shared.end(PlaybackEnd::CallEnded);
        if let Source::Immediate(source) = &mut self.source {
            let source = source.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(source)));
        }
    }
}

fn ask(source: &mut Option<Box<dyn FrameSource>>, out: &mut FrameBuf) -> Result<bool, PlaybackEnd> {
    let Some(source) = source else { return Err(PlaybackEnd::Finished) };
    match catch_unwind(AssertUnwindSafe(|| source.next_frame(out))) {
        Ok(NextFrame::Ready) => Ok(true),
        Ok(NextFrame::NotYet) => Ok(false),
        Ok(NextFrame::End) => Err(PlaybackEnd::Finished),
        Ok(NextFrame::Failed(error)) => Err(PlaybackEnd::Failed(error)),
        Err(payload) => {
            // What was thrown may throw again when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            Err(PlaybackEnd::Panicked)
        }
    }
}

impl PlaybackShared {
    pub(crate) fn end(&self, end: PlaybackEnd) {
        if self.end.set(end).is_ok() {
            self.status.store(PlaybackStatus::Ended as u8, Ordering::Relaxed);
            self.notify.notify_waiters();
        }
    }

    pub(crate) async fn finished(&self) -> PlaybackEnd {
        loop {
            let notified = self.notify.notified();
            if let Some(end) = self.end.get() {
                return end.clone();
            }
            notified.await;
        }
    }

    pub(crate) fn position(&self) -> Duration {
        let frames = self.frames.load(Ordering::Relaxed);
        FRAME_DURATION * u32::try_from(frames).unwrap_or(u32::MAX)
    }

    pub(crate) fn underruns(&self) -> u64 {
        self.underruns.load(Ordering::Relaxed)
    }

    pub(crate) fn status(&self) -> PlaybackStatus {
        match self.status.load(Ordering::Relaxed) {
            0 => PlaybackStatus::Waiting,
            1 => PlaybackStatus::Playing,
            2 => PlaybackStatus::Paused,
            _ => PlaybackStatus::Ended,
        }
    }
}
