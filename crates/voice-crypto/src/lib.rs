#![cfg_attr(feature = "aws-lc", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "aws-lc"),
    doc = "The modes of Discord's transport encryption, without a cipher: see the feature `aws-lc`."
)]
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

// The C backend needs an operating system anyway; without it the crate is `no_std`.
#[cfg(any(test, feature = "aws-lc"))]
extern crate std;

#[cfg(feature = "aws-lc")]
mod backend;
mod key;
mod mode;
#[cfg(feature = "aws-lc")]
mod open;
#[cfg(feature = "aws-lc")]
mod seal;

pub use crate::key::SecretKey;
pub use crate::mode::{
    Mode, NegotiateError, OVERHEAD, SUFFIX_LEN, TAG_LEN, UnknownMode, negotiate, negotiate_from, preferred,
};
#[cfg(feature = "aws-lc")]
pub use crate::open::{OpenError, OpenedRtp, Opener};
#[cfg(feature = "aws-lc")]
pub use crate::seal::{MAX_PACKETS, SealError, Sealer, SuffixOrder};
