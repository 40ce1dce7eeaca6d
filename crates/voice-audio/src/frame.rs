//! One Opus frame's worth of bytes, and the figures every frame shares.

use core::fmt;
use core::time::Duration;

/// How long one frame plays: 20 milliseconds.
///
/// Discord docs, Voice Connections, "Encoding and Decoding": 20 ms frames.
pub const FRAME_DURATION: Duration = Duration::from_millis(20);

/// Samples per channel in one frame, which is also its length in RTP timestamp ticks (48 kHz).
///
/// RFC 7587, section 4.1: the RTP clock of Opus always runs at 48 kHz.
pub const FRAME_SAMPLES: usize = 960;

/// Samples per second, per channel, everywhere in this crate.
///
/// RFC 7587, section 4.1.
pub const SAMPLE_RATE: u32 = 48_000;

/// Channels of all decoded audio in this crate: interleaved left, right.
///
/// Discord docs, Voice Connections, "Encoding and Decoding": stereo.
pub const CHANNELS: usize = 2;

/// The longest packet, in bytes, that holds a single Opus frame: the TOC byte and 1 275 bytes.
///
/// RFC 6716, section 3.4, requirement R2.
pub const MAX_FRAME_LEN: usize = 1276;

/// The frame that means silence: 20 ms, CELT, mono.
///
/// Discord docs, Voice Connections, "Voice Data Interpolation": five of these end every talk spurt.
pub const SILENCE_FRAME: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// A fixed buffer holding one encoded Opus frame, allocated nowhere but where it lies.
///
/// ```
/// use voice_audio::{FrameBuf, SILENCE_FRAME};
///
/// let mut frame = FrameBuf::new();
/// frame.set(&SILENCE_FRAME)?;
/// assert_eq!(frame.as_slice(), SILENCE_FRAME);
///
/// // An encoder writes in place and then says how much it wrote.
/// frame.buffer_mut()[0] = 0xFC;
/// frame.set_len(1)?;
/// assert_eq!(frame.as_slice(), [0xFC]);
/// # Ok::<(), voice_audio::FrameTooLong>(())
/// ```
#[derive(Clone)]
pub struct FrameBuf {
    bytes: [u8; Self::CAPACITY],
    len: usize,
}

impl FrameBuf {
    /// Bytes a buffer can hold.
    ///
    /// Room for [`MAX_FRAME_LEN`] and little more: with transport and end-to-end encryption added, a frame of this
    /// length still fits a datagram of 1 460 bytes.
    pub const CAPACITY: usize = 1400;

    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; Self::CAPACITY], len: 0 }
    }

    /// Replaces the contents by a copy of `frame`.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] when `frame` is longer than [`FrameBuf::CAPACITY`]; the contents stay as they were.
    pub fn set(&mut self, frame: &[u8]) -> Result<(), FrameTooLong> {
        let too_long = FrameTooLong { len: frame.len() };
        self.bytes.get_mut(..frame.len()).ok_or(too_long)?.copy_from_slice(frame);
        self.len = frame.len();
        Ok(())
    }

    /// Empties the buffer.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// The whole buffer, [`FrameBuf::CAPACITY`] bytes, for an encoder to write into; follow with
    /// [`set_len`](Self::set_len).
    pub const fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Declares the first `len` bytes of the buffer to be the frame.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] when `len` is more than [`FrameBuf::CAPACITY`]; the length stays as it was.
    pub const fn set_len(&mut self, len: usize) -> Result<(), FrameTooLong> {
        if len > Self::CAPACITY {
            return Err(FrameTooLong { len });
        }
        self.len = len;
        Ok(())
    }

    /// The frame.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Bytes in the frame.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the buffer holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for FrameBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl AsRef<[u8]> for FrameBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for FrameBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for FrameBuf {}

impl fmt::Debug for FrameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Audio is private: the length says enough.
        f.debug_struct("FrameBuf").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A frame did not fit a [`FrameBuf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameTooLong {
    /// Bytes in the frame that was refused.
    pub len: usize,
}

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes exceeds the limit of {}", self.len, FrameBuf::CAPACITY)
    }
}

impl core::error::Error for FrameTooLong {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_exactly_its_capacity() {
        let mut frame = FrameBuf::new();
        frame.set(&[7; FrameBuf::CAPACITY]).unwrap();
        assert_eq!(frame.as_slice(), [7; FrameBuf::CAPACITY]);
        assert_eq!(frame.set(&[8; FrameBuf::CAPACITY + 1]), Err(FrameTooLong { len: FrameBuf::CAPACITY + 1 }));
        assert_eq!(frame.as_slice(), [7; FrameBuf::CAPACITY], "a refused frame changes nothing");
    }

    #[test]
    fn a_length_beyond_the_buffer_is_refused() {
        let mut frame = FrameBuf::new();
        frame.set_len(FrameBuf::CAPACITY).unwrap();
        assert!(frame.set_len(FrameBuf::CAPACITY + 1).is_err());
        assert_eq!(frame.len(), FrameBuf::CAPACITY);
        frame.clear();
        assert!(frame.is_empty());
    }

    #[test]
    fn debug_shows_no_audio() {
        let mut frame = FrameBuf::new();
        frame.set(&[222, 173]).unwrap();
        assert_eq!(format!("{frame:?}"), "FrameBuf { len: 2, .. }");
    }
}
