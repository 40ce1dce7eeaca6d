//! What is wrong with a file.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a file cannot be played.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such file.
    NotFound,
    /// The file is empty.
    Empty,
    /// The file is not of any known kind.
    NotAudio,
    /// The file has no audio in it.
    NoAudioTrack,
    /// The file has headers of a known kind, and nothing behind them.
    NoAudio,
    /// An MP4 without its index, as a download that was not completed leaves it.
    IndexMissing,
    /// The file has to be read in another order than front to back, which a pipe does not allow: an MP4 with its index at
    /// the end, or an AIFF whose header comes behind its audio.
    NeedsSeeking,
    /// The audio is coded in a way that cannot be decoded.
    UnsupportedCodec,
    /// The file is damaged.
    Malformed(Box<dyn Error + Send + Sync>),
    /// Reading failed.
    Io(io::Error),
    /// The encoder could not start, which is no fault of the file.
    Codec(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such file",
            Self::NotAudio => "the file is not audio of a known kind",
            Self::Empty => "the file is empty",
            Self::NoAudio => "the file has headers, but no audio behind them",
            Self::IndexMissing => "the MP4 has no index; an incomplete download?",
            Self::NeedsSeeking => "this file cannot be read from front to back; store it as a file first",
            Self::NoAudioTrack => "the file has no audio track",
            Self::UnsupportedCodec => "the audio codec is not supported",
            Self::Malformed(_) => "the file is damaged",
            Self::Io(_) => "the file cannot be read",
            Self::Codec(_) => "the encoder could not start",
        })
    }
}

impl From<io::Error> for OpenError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(cause) => Some(cause),
            Self::Malformed(cause) | Self::Codec(cause) => Some(&**cause),
            _ => None,
        }
    }
}

/// Why a file that plays could not go on.
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
