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
use voice_audio::{FRAME_DURATION, FrameBuf, FrameSource, NextFrame, SourceError};
use voice_udp::SealError;

/// The media thread's side of a playback.
pub(crate) struct Playing {
    /// There until it is dropped.
    source: Option<Box<dyn FrameSource>>,
    shared: Arc<PlaybackShared>,
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
    /// The call was too busy to take it.
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
            Self::Refused => f.write_str("the call was too busy to take it"),
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
    pub(crate) fn new(source: Box<dyn FrameSource>, shared: Arc<PlaybackShared>) -> Self {
        Self { source: Some(source), shared }
    }

    /// Asks the source for its next frame; a panic becomes an end.
    pub(crate) fn next_frame(&mut self, out: &mut FrameBuf) -> Result<bool, PlaybackEnd> {
        let Some(source) = &mut self.source else { return Err(PlaybackEnd::Finished) };
        match catch_unwind(AssertUnwindSafe(|| source.next_frame(out))) {
            Ok(NextFrame::Ready) => {
                self.shared.frames.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Ok(NextFrame::NotYet) => {
                self.shared.underruns.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
            Ok(NextFrame::End) => Err(PlaybackEnd::Finished),
            Ok(NextFrame::Failed(error)) => Err(PlaybackEnd::Failed(error)),
            Err(payload) => {
                // What was thrown may throw again when it is dropped.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
                Err(PlaybackEnd::Panicked)
            }
        }
    }

    /// Whether this is the playback that the handle is of.
    pub(super) fn is(&self, shared: &Arc<PlaybackShared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    pub(crate) fn set_status(&self, status: PlaybackStatus) {
        self.shared.status.store(status as u8, Ordering::Relaxed);
    }

    pub(crate) fn end(self, end: PlaybackEnd) {
        self.shared.end(end);
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        // Whatever way the media thread lets go of it, its owner hears of an end.
        self.shared.end(PlaybackEnd::CallEnded);
        let source = self.source.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(source)));
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
