//! What the tests share.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

pub mod dave;
pub mod ops;
#[cfg(feature = "tokio")]
pub mod raw;
pub mod world;
