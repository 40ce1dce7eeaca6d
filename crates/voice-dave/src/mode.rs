//! What a media half may do with a frame.

use std::{error::Error, fmt, time::Instant};

/// What the sending half does with a frame before the transport encryption.
///
/// A value, not a shared session: control makes it and moves it into the sending half, which is then its
/// only owner.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum SendMode {
    /// Nothing may leave: it is not known yet what the call demands.
    #[default]
    Hold,
    /// Frames leave without end-to-end encryption.
    Passthrough,
}

impl SendMode {
    /// Protects the frame in `buffer[..frame_len]` in place and returns its new length in bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError::Held`] while nothing may leave; the frame is to be dropped and counted.
    pub const fn seal(&mut self, buffer: &mut [u8], frame_len: usize) -> Result<usize, FrameError> {
        match self {
            Self::Hold => Err(FrameError::Held),
            Self::Passthrough if frame_len <= buffer.len() => Ok(frame_len),
            Self::Passthrough => Err(FrameError::NoRoom),
        }
    }
}

/// What the receiving half does with a frame after the transport encryption was removed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum ReceiveMode {
    /// Nothing is accepted: it is not known yet what the call demands.
    #[default]
    Hold,
    /// Frames without end-to-end encryption are accepted.
    Passthrough {
        /// The last moment at which they are; `None` in a call that is not end-to-end encrypted.
        until: Option<Instant>,
    },
}

impl ReceiveMode {
    /// Opens the frame in `buffer` in place and returns its plain length in bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError::Held`] when no frame is accepted, or no longer; the frame is to be dropped and counted.
    pub fn open(&mut self, now: Instant, buffer: &mut [u8]) -> Result<usize, FrameError> {
        match self {
            Self::Hold => Err(FrameError::Held),
            Self::Passthrough { until: Some(until) } if now > *until => Err(FrameError::Held),
            Self::Passthrough { .. } => Ok(buffer.len()),
        }
    }
}

/// Why a frame was not protected or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The call's encryption does not allow this frame now (the peer or the protocol decides when).
    Held,
    /// The buffer is too small for the protected frame (the caller must give more room).
    NoRoom,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "the call's encryption does not allow this frame now",
            Self::NoRoom => "no room in the buffer for the protected frame",
        })
    }
}

impl Error for FrameError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_leaves_or_enters_by_default() {
        let mut frame = *b"opus";
        assert_eq!(SendMode::default().seal(&mut frame, 4), Err(FrameError::Held));
        assert_eq!(ReceiveMode::default().open(start(), &mut frame), Err(FrameError::Held));
        assert_eq!(&frame, b"opus");
    }

    #[test]
    fn passthrough_changes_nothing() {
        let mut frame = *b"opus";
        assert_eq!(SendMode::Passthrough.seal(&mut frame, 4), Ok(4));
        let mut receive = ReceiveMode::Passthrough { until: None };
        assert_eq!(receive.open(start(), &mut frame), Ok(4));
        assert_eq!(&frame, b"opus");
    }

    #[test]
    fn a_frame_longer_than_its_buffer_is_refused() {
        assert_eq!(SendMode::Passthrough.seal(&mut [0; 3], 4), Err(FrameError::NoRoom));
    }

    #[test]
    fn passthrough_ends_with_its_window() {
        let end = start();
        let mut receive = ReceiveMode::Passthrough { until: Some(end) };
        assert_eq!(receive.open(end, &mut [1, 2]), Ok(2));
        assert_eq!(receive.open(end + Duration::from_nanos(1), &mut [1, 2]), Err(FrameError::Held));
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }
}
