#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod frame;
pub mod opus;
#[cfg(feature = "containers")]
pub mod record;
pub mod source;

pub use frame::{
    CHANNELS, FRAME_DURATION, FRAME_SAMPLES, FrameBuf, FrameTooLong, MAX_FRAME_LEN, SAMPLE_RATE, SILENCE_FRAME,
};
#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
pub use source::{Encode, PcmRead};
#[cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]
pub use source::{FileReader, Format, OpenError, OpenOptions, PcmFile, ReadError, open};
pub use source::{FrameSource, Lead, NextFrame, SourceError};
