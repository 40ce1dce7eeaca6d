//! Why a frame was not sealed or not opened.

use std::{error::Error, fmt};

/// Why a frame was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SealError {
    /// Nothing may leave now: there is no key, and plaintext is not allowed (the protocol decides when).
    Held,
    /// The buffer is too small for the sealed frame (the caller must give more room).
    NoRoom,
    /// The frame has more clear ranges than a trailer can name (the encoder must make fewer units).
    TooManyRanges,
    /// Ten attempts in a row would have held a start code (the next frame will hardly).
    StartCode,
    /// The epoch's keys have sealed as many frames as they can (a new epoch brings others).
    Exhausted,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "there is no key yet, and the call's encryption does not allow plaintext",
            Self::NoRoom => "no room in the buffer for the sealed frame",
            Self::TooManyRanges => "the frame has more clear ranges than a trailer can name",
            Self::StartCode => "every attempt to encrypt the frame made a start code",
            Self::Exhausted => "the epoch's keys have sealed as many frames as they can",
        })
    }
}

impl Error for SealError {}

/// Why a frame was not opened. Its buffer is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenError {
    /// A frame without end-to-end encryption where none is accepted (the peer or the protocol).
    Unencrypted,
    /// There is no key of this sender (it may still come).
    MissingKey,
    /// Its nonce was seen already, or is too far behind to know (a replay, or another key's frame).
    Replay,
    /// Its key's generation is too old, too far ahead, or too young a key could not have come so far (the peer).
    Generation,
    /// It is not authentic under the keys that are there (the peer, or a key that may still come).
    Auth,
}

impl OpenError {
    /// Whether the same frame may open once the sender's newer key is there.
    #[must_use]
    pub const fn may_await_key(self) -> bool {
        // To an older key, the first nonces of the next one look like replays.
        !matches!(self, Self::Unencrypted)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unencrypted => "a frame without end-to-end encryption where none is accepted",
            Self::MissingKey => "there is no key of this sender",
            Self::Replay => "the frame's nonce was seen already",
            Self::Generation => "the frame's key generation is out of bounds",
            Self::Auth => "the frame is not authentic under the sender's keys",
        })
    }
}

impl Error for OpenError {}
