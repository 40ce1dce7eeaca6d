//! Where the ciphers come from: the files in here are the only ones that name a cipher crate.

#[cfg(feature = "aws-lc")]
mod aws_lc;
#[cfg(feature = "rust-crypto")]
mod rust_crypto;
#[cfg(feature = "legacy")]
mod secretbox;

use crate::key::SecretKey;
use crate::mode::{Mode, SUFFIX_LEN, TAG_LEN};

#[cfg(feature = "legacy")]
pub(crate) use self::secretbox::Secretbox;

/// The library that encrypts.
///
/// All of them make the same bytes; they differ in speed and in what they need to be built. The
/// modes over XSalsa20-Poly1305 have one implementation, in Rust, whatever the backend.
///
/// ```
/// use voice_crypto::{Backend, Mode, Opener, Sealer, SecretKey};
///
/// for &backend in Backend::ALL {
///     let key = SecretKey::new([7; 32]);
///     let opener = Opener::new(Mode::Aes256GcmRtpsize, &key);
///     let mut packet = [0x80; 32];
///     let mut sealer = Sealer::with_backend(backend, Mode::Aes256GcmRtpsize, key, 1);
///     let len = sealer.seal_rtp(&mut packet, 12)?;
///     assert!(opener.open_rtp(&mut packet[..len]).is_ok());
/// }
/// # Ok::<(), voice_crypto::SealError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Backend {
    /// AWS-LC, a C library with assembly for most processors.
    #[cfg(feature = "aws-lc")]
    AwsLc,
    /// The crates `aes-gcm` and `chacha20poly1305`, in Rust.
    #[cfg(feature = "rust-crypto")]
    RustCrypto,
}

impl Backend {
    /// Every backend of this build, the one used by default first.
    pub const ALL: &'static [Self] = &[
        #[cfg(feature = "aws-lc")]
        Self::AwsLc,
        #[cfg(feature = "rust-crypto")]
        Self::RustCrypto,
    ];

    /// Returns the backend that is used when none is named: AWS-LC if the build has it.
    ///
    /// It was the faster one in both modes in use and at every packet length that was measured.
    #[must_use]
    pub const fn preferred() -> Self {
        #[cfg(feature = "aws-lc")]
        {
            Self::AwsLc
        }
        #[cfg(not(feature = "aws-lc"))]
        {
            Self::RustCrypto
        }
    }
}

/// The cipher of one session: a mode and its key.
#[cfg_attr(
    all(feature = "rust-crypto", feature = "legacy"),
    expect(clippy::large_enum_variant, reason = "boxing needs an allocator")
)]
pub(crate) enum Cipher {
    Aead(Aead),
    #[cfg(feature = "legacy")]
    Secretbox(Secretbox),
}

impl Cipher {
    pub(crate) fn new(backend: Backend, mode: Mode, key: &SecretKey) -> Self {
        match mode {
            Mode::Aes256GcmRtpsize => Self::Aead(Aead::aes(backend, key.bytes())),
            Mode::XChaCha20Poly1305Rtpsize => Self::Aead(Aead::xchacha(backend, key.bytes())),
            #[cfg(feature = "legacy")]
            Mode::Aes256Gcm => Self::Aead(Aead::aes(backend, key.bytes())),
            #[cfg(feature = "legacy")]
            Mode::XSalsa20Poly1305LiteRtpsize
            | Mode::XSalsa20Poly1305
            | Mode::XSalsa20Poly1305Suffix
            | Mode::XSalsa20Poly1305Lite => Self::Secretbox(Secretbox::new(key.bytes())),
        }
    }
}

/// A cipher that authenticates clear bytes too, puts its tag behind what it encrypts, and whose
/// nonce is four bytes followed by zeros.
#[cfg_attr(
    all(feature = "aws-lc", feature = "rust-crypto"),
    expect(clippy::large_enum_variant, reason = "boxing needs an allocator")
)]
pub(crate) enum Aead {
    #[cfg(feature = "aws-lc")]
    AwsLc(aws_lc::Aead),
    #[cfg(feature = "rust-crypto")]
    RustCrypto(rust_crypto::Aead),
}

impl Aead {
    fn aes(backend: Backend, key: &[u8; SecretKey::LEN]) -> Self {
        match backend {
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => Self::AwsLc(aws_lc::Aead::aes(key)),
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => Self::RustCrypto(rust_crypto::Aead::aes(key)),
        }
    }

    fn xchacha(backend: Backend, key: &[u8; SecretKey::LEN]) -> Self {
        match backend {
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => Self::AwsLc(aws_lc::Aead::xchacha(key)),
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => Self::RustCrypto(rust_crypto::Aead::xchacha(key)),
        }
    }

    /// Encrypts `in_out` in place and writes the tag.
    #[inline]
    pub(crate) fn seal(
        &self,
        suffix: [u8; SUFFIX_LEN],
        clear: &[u8],
        in_out: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        match self {
            #[cfg(feature = "aws-lc")]
            Self::AwsLc(aead) => aead.seal(suffix, clear, in_out, tag),
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto(aead) => aead.seal(suffix, clear, in_out, tag),
        }
    }

    /// Decrypts `in_out` in place, which ends with the tag.
    #[inline]
    pub(crate) fn open(&self, suffix: [u8; SUFFIX_LEN], clear: &[u8], in_out: &mut [u8]) -> Result<(), Refused> {
        match self {
            #[cfg(feature = "aws-lc")]
            Self::AwsLc(aead) => aead.open(suffix, clear, in_out),
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto(aead) => aead.open(suffix, clear, in_out),
        }
    }
}

/// The cipher refused: on opening, the packet is not authentic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;
