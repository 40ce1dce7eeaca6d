#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod mode;

pub use mode::{FrameError, ReceiveMode, SendMode};
