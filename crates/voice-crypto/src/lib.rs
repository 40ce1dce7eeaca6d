#![cfg_attr(any(feature = "aws-lc", feature = "rust-crypto"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(any(feature = "aws-lc", feature = "rust-crypto")),
    doc = "The modes of Discord's transport encryption, keys and replay windows, without a cipher: see the features `aws-lc` and `rust-crypto`."
)]
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

// The C backend needs an operating system anyway. With the Rust backend `std` is used where there
// is one, to ask the processor what it can do; elsewhere the crate is `no_std`, without `alloc`.
#[cfg(any(test, feature = "aws-lc", all(feature = "rust-crypto", any(unix, windows))))]
extern crate std;

#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
mod backend;
mod key;
mod mode;
#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
mod nonce;
#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
mod open;
mod replay;
#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
mod seal;

#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
pub use crate::backend::Backend;
pub use crate::key::SecretKey;
pub use crate::mode::{
    MAX_OVERHEAD, Mode, NegotiateError, OVERHEAD, SUFFIX_LEN, TAG_LEN, UnknownMode, negotiate, negotiate_from,
    preferred,
};
#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
pub use crate::nonce::{MAX_PACKETS, NonceStart, SuffixOrder};
#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
pub use crate::open::{OpenError, OpenedRtp, Opener};
pub use crate::replay::{ReplayError, ReplayWindow};
#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
pub use crate::seal::{SealError, Sealer};
/// The crate of the headers, numbers and parse errors that this one's API has.
pub use voice_rtp;
