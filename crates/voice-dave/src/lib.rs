#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod mode;
pub mod wire;

pub use mode::{FrameError, ReceiveMode, SendMode};
#[cfg(feature = "signature")]
pub use wire::SigningKey;
