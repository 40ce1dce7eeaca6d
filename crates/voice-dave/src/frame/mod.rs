//! One frame, protected and unprotected in place.

mod cipher;
mod error;
mod nonces;
mod open;
mod ranges;
mod ratchet;
mod seal;
mod trailer;
pub(crate) mod uleb128;

pub(crate) use self::ranges::{ClearRanges, Span};
pub use self::{
    error::{OpenError, SealError},
    open::{FrameOpener, Opened, OpenedKind},
    seal::FrameSealer,
    trailer::is_protocol_frame,
};

use std::time::Duration;

/// What kind of frames a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// Opus.
    Audio,
    /// Any video codec.
    Video,
}

/// How long keys and plaintext windows outlive what replaces them.
///
/// Ten seconds: DAVE protocol, "Sender Key Rotation" and "Downgrade and Upgrade".
pub const KEY_GRACE: Duration = Duration::from_secs(10);

/// The Opus frame that stands for silence. Discord's server makes it itself, so a receiver takes it unprotected
/// (DAVE protocol, "Silence Packets").
pub const SILENCE_FRAME: [u8; 3] = [0xF8, 0xFF, 0xFE];
