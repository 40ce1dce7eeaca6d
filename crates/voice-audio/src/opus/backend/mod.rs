//! The codec libraries; the only files that name one.

#[cfg(feature = "audiopus")]
mod libopus;
#[cfg(feature = "audiopus")]
pub(super) use libopus::{RawDecoder, RawEncoder};

#[cfg(all(feature = "opus-pure", not(feature = "audiopus")))]
mod pure;
#[cfg(all(feature = "opus-pure", not(feature = "audiopus")))]
pub(super) use pure::{RawDecoder, RawEncoder};
