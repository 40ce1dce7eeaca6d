//! Frames from a call into files.

mod ogg_opus;
mod timeline;
#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
mod wav;

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

pub use ogg_opus::OggOpusWriter;
pub use timeline::{Fill, MAX_HELD_FRAMES, Placement, Stamp, Timeline};
#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
pub use wav::WavWriter;

#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
use crate::opus::InitError;
use crate::opus::PacketError;

/// How to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordOptions {
    /// The longest gap to fill with silence; a longer one is left out. The default is ten minutes, the most 12 hours.
    ///
    /// The sender decides on the gaps: each can make a WAV file grow by 11.5 MB per minute of this.
    pub max_gap: Duration,
    /// What a player of the Ogg file drops at the start, in samples at 48 kHz: the delay of the sender's encoder. The
    /// default is 312, which every usual encoder has.
    pub pre_skip: u16,
    /// The serial number of the Ogg stream, to be unique within one file.
    pub serial: u32,
    /// Tags of the Ogg file, such as `TITLE`.
    pub comments: Vec<(String, String)>,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self { max_gap: Duration::from_secs(600), pre_skip: 312, serial: 1, comments: Vec::new() }
    }
}

/// Why a frame was not recorded.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordError {
    /// The frame is no Opus packet; recording can go on with the next, and this one counts as lost.
    Packet(PacketError),
    /// The file can hold no more (4 GiB of WAV); finish it and start another.
    Full,
    /// Writing failed; the file is cut short.
    Io(io::Error),
    /// The decoder could not start.
    #[cfg(any(feature = "audiopus", feature = "opus-pure"))]
    Codec(InitError),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packet(_) => "the frame is malformed",
            Self::Full => "the recording is full",
            Self::Io(_) => "writing the recording failed",
            #[cfg(any(feature = "audiopus", feature = "opus-pure"))]
            Self::Codec(_) => "the decoder could not start",
        })
    }
}

impl Error for RecordError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Packet(cause) => Some(cause),
            Self::Full => None,
            Self::Io(cause) => Some(cause),
            #[cfg(any(feature = "audiopus", feature = "opus-pure"))]
            Self::Codec(cause) => Some(cause),
        }
    }
}

impl From<io::Error> for RecordError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}
