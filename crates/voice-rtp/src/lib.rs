#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

#[cfg(test)]
extern crate std;

mod classify;
pub mod discovery;
pub mod extension;
mod header;
mod jitter;
mod number;
mod packet;
mod ping;
mod reception;
pub mod rtcp;
mod sequence;
mod timestamp;

pub use crate::classify::{Kind, classify};
pub use crate::extension::Extension;
pub use crate::header::{OPUS_PAYLOAD_TYPE, RtpHeader, VERSION};
pub use crate::jitter::Jitter;
pub use crate::number::{OPUS_CLOCK_HZ, Sequence, Ssrc, Timestamp};
pub use crate::packet::{Csrcs, Layout, MAX_CSRCS, MAX_DATAGRAM_LEN, Packet, ParseError, WriteError, unencrypted_len};
pub use crate::ping::Ping;
pub use crate::reception::{MAX_DROPOUT, MAX_MISORDER, Reception, Verdict};
pub use crate::sequence::SequenceExtender;
pub use crate::timestamp::TimestampExtender;
