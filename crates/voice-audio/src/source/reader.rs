//! Frames from something that may block.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::FrameBuf;

/// Something that yields 20 ms Opus frames one after the other and may block meanwhile.
///
/// `Prefetch` (feature `containers`) makes a [`FrameSource`](crate::FrameSource) of it.
pub trait FrameReader: Send {
    /// Writes the next frame to `out`; `false` when there is none left.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; the reader is then at its end.
    fn read_frame(&mut self, out: &mut FrameBuf) -> Result<bool, ReadError>;

    /// How long everything plays, when that is known beforehand.
    fn duration(&self) -> Option<Duration> {
        None
    }

    /// What this reads, in a few words for a log.
    fn description(&self) -> String {
        "audio".to_owned()
    }
}

impl<R: FrameReader + ?Sized> FrameReader for Box<R> {
    fn read_frame(&mut self, out: &mut FrameBuf) -> Result<bool, ReadError> {
        (**self).read_frame(out)
    }

    fn duration(&self) -> Option<Duration> {
        (**self).duration()
    }

    fn description(&self) -> String {
        (**self).description()
    }
}

/// Why a [`FrameReader`] could not go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// Reading failed.
    Io(io::Error),
    /// The contents are damaged beyond what can be skipped.
    Malformed(Box<dyn Error + Send + Sync>),
    /// The contents change, midway, to something that cannot be decoded.
    Unsupported(Box<dyn Error + Send + Sync>),
    /// A codec or the resampler failed, which is no fault of the file.
    Codec(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "reading audio failed",
            Self::Malformed(_) => "the audio is damaged",
            Self::Unsupported(_) => "the audio cannot be decoded",
            Self::Codec(_) => "a codec failed",
        })
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(cause) => Some(cause),
            Self::Malformed(cause) | Self::Unsupported(cause) | Self::Codec(cause) => Some(&**cause),
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}
