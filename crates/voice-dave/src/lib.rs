#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod code;
mod codec;
mod frame;
#[cfg(feature = "group")]
mod group;
mod mode;
#[cfg(feature = "group")]
mod refusal;
mod secret;
#[cfg(feature = "group")]
mod session;
#[cfg(feature = "group")]
mod transition;
#[cfg(test)]
mod vectors;
pub mod wire;

pub use codec::Codec;
pub use frame::{
    FrameOpener, FrameSealer, KEY_GRACE, Media, OpenError, Opened, OpenedKind, SILENCE_FRAME, SealError,
    is_protocol_frame,
};
pub use mode::{ReceiveMode, SendMode};
#[cfg(feature = "group")]
pub use refusal::Refusal;
pub use secret::BaseSecret;
#[cfg(feature = "group")]
pub use session::{
    CallState, DaveConfig, DaveEvent, DaveMessage, DaveOutput, DaveSession, DaveStats, DaveStatus,
    MAX_PROTOCOL_VERSION, OutgoingMessage, Verification,
};
#[cfg(feature = "signature")]
pub use wire::SigningKey;
