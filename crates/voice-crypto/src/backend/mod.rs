//! Where the ciphers come from: the files in here are the only ones that name a cipher crate.

mod aws_lc;

pub(crate) use self::aws_lc::Cipher;

/// The cipher refused: on opening, the packet is not authentic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;
