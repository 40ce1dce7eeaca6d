//! Where frames to send come from.

#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
mod encode;
#[cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]
mod file;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::{FrameBuf, FrameTooLong};

#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
pub use encode::{Encode, PcmBytes, PcmRead, PcmSamples};
#[cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]
pub use file::{FileReader, Format, OpenError, OpenOptions, PcmFile, ReadError, open};

/// Something that yields one Opus frame after the other, each of 20 ms.
///
/// By default a call asks for them on a thread that may wait, a few frames before they are due; [`lead`](Self::lead)
/// says how many, or that none of this is needed.
///
/// ```
/// use voice_audio::{FrameBuf, FrameSource, NextFrame, SILENCE_FRAME};
///
/// /// A second of silence.
/// struct Pause(u32);
///
/// impl FrameSource for Pause {
///     fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
///         if self.0 == 50 {
///             return NextFrame::End;
///         }
///         self.0 += 1;
///         match out.set(&SILENCE_FRAME) {
///             Ok(()) => NextFrame::Ready,
///             Err(error) => NextFrame::Failed(error.into()),
///         }
///     }
/// }
///
/// let mut source: Box<dyn FrameSource> = Box::new(Pause(0));
/// let mut frame = FrameBuf::new();
/// assert!(matches!(source.next_frame(&mut frame), NextFrame::Ready));
/// assert_eq!(frame.as_slice(), SILENCE_FRAME);
/// ```
pub trait FrameSource: Send + 'static {
    /// Writes the next Opus frame, 20 ms by contract, to `out`, which is empty.
    ///
    /// After [`NextFrame::End`] or [`NextFrame::Failed`] it is not called again.
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame;

    /// Where and how long before they are due frames are asked for; the same for as long as the source plays.
    fn lead(&self) -> Lead {
        Lead::default()
    }
}

impl<S: FrameSource + ?Sized> FrameSource for Box<S> {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        (**self).next_frame(out)
    }

    fn lead(&self) -> Lead {
        (**self).lead()
    }
}

/// Where and how long before they are due a [`FrameSource`] is asked for its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lead {
    /// On the media thread, beside other calls, at the moment when the frame is due. The source promises that neither
    /// asking for a frame nor dropping the source ever blocks, allocates, awaits or takes more than microseconds: frames
    /// that lie in memory already. A panic there ends only this source, but what the program's panic hook does delays the
    /// others.
    Immediate,
    /// On a thread of its own kind, up to so many frames of 20 ms ahead; 0 counts as 1. The source may take its time and
    /// block: what it has not made in time is silence in its own call and disturbs no other.
    ///
    /// 1 for audio that is live, more for what can be read ahead. Frames of more than 300 bytes may be fewer.
    Frames(u8),
}

impl Default for Lead {
    /// 10 frames, 200 ms.
    fn default() -> Self {
        Self::Frames(10)
    }
}

/// What a [`FrameSource`] had to offer.
///
/// Exhaustive on purpose: a player that overlooks one of these is broken.
#[derive(Clone, Debug)]
#[must_use]
pub enum NextFrame {
    /// A frame was written.
    Ready,
    /// Nothing yet; the player asks again in about 20 ms, and sends silence if that is too late.
    NotYet,
    /// There is no more.
    End,
    /// There is no more, because something broke.
    Failed(SourceError),
}

/// Why a [`FrameSource`] gave up; [`source`](Error::source) has the cause.
#[derive(Clone)]
pub struct SourceError {
    cause: Arc<dyn Error + Send + Sync>,
}

impl SourceError {
    /// Wraps the cause.
    ///
    /// Allocates: a source that is asked on the media thread makes this beforehand, or once, when it ends.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Arc::from(cause.into()) }
    }
}

impl From<FrameTooLong> for SourceError {
    fn from(cause: FrameTooLong) -> Self {
        Self::new(cause)
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceError").field(&self.cause).finish()
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the audio source failed")
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_cause_only_through_source() {
        let error = SourceError::new("disk on fire");
        assert_eq!(error.to_string(), "the audio source failed");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("disk on fire"));
    }
}
