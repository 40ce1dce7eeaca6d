//! Where frames to send come from.

#[cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]
mod file;
#[cfg(feature = "containers")]
mod prefetch;
mod reader;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::{FrameBuf, FrameTooLong};

#[cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]
pub use file::{FileReader, Format, OpenError, OpenOptions, open};
#[cfg(feature = "containers")]
pub use prefetch::{Prefetch, ReaderStopped};
pub use reader::{FrameReader, ReadError};

/// Something that yields one Opus frame every 20 ms.
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
    /// Writes the next Opus frame, 20 ms by contract, to `out`.
    ///
    /// Runs on a media thread at 50 Hz beside other calls: it must not block, allocate or await. After
    /// [`NextFrame::End`] or [`NextFrame::Failed`] it is not called again.
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame;
}

impl<S: FrameSource + ?Sized> FrameSource for Box<S> {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        (**self).next_frame(out)
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
    /// Nothing yet; the player sends silence and asks again in 20 ms.
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
    /// Allocates: a source makes this off the media thread, or once, when it ends.
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
