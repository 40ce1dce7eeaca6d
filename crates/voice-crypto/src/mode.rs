//! The transport modes, and agreeing on one.

use core::fmt;
use core::str::FromStr;

#[cfg(all(feature = "legacy", any(feature = "aws-lc", feature = "rust-crypto")))]
use voice_rtp::RtpHeader;
#[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
use voice_rtp::{ParseError, unencrypted_len};

/// How packets between a client and the voice server are encrypted.
///
/// The two modes in use leave the RTP header, the contributing sources and the preamble of the
/// extension readable and authenticate them ("rtpsize"), and both append the same [`OVERHEAD`].
///
/// The five others were discontinued by Discord in November 2024. They are here with the feature
/// `legacy`, for captures and old servers, and are never chosen unless the caller names them to
/// [`negotiate_from`].
///
/// Discord docs, Voice Connections, "Transport Encryption Modes".
///
/// ```
/// use voice_crypto::Mode;
///
/// let mode: Mode = "aead_xchacha20_poly1305_rtpsize".parse()?;
/// assert_eq!(mode, Mode::XChaCha20Poly1305Rtpsize);
/// assert_eq!(mode.to_string(), "aead_xchacha20_poly1305_rtpsize");
/// assert_eq!(mode.overhead(), 20);
/// assert!("aes".parse::<Mode>().is_err());
/// # Ok::<(), voice_crypto::UnknownMode>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// `aead_aes256_gcm_rtpsize`: the fastest, offered by servers with hardware support.
    Aes256GcmRtpsize,
    /// `aead_xchacha20_poly1305_rtpsize`: offered by every server.
    XChaCha20Poly1305Rtpsize,
    /// `xsalsa20_poly1305_lite_rtpsize`, discontinued: the header stays readable as in the modes
    /// in use, but is **not** authenticated.
    #[cfg(feature = "legacy")]
    XSalsa20Poly1305LiteRtpsize,
    /// `aead_aes256_gcm`, discontinued: everything after the twelve bytes of the fixed header is
    /// encrypted.
    #[cfg(feature = "legacy")]
    Aes256Gcm,
    /// `xsalsa20_poly1305`, discontinued: the header is the nonce, so a header that repeats one
    /// cannot be sealed.
    #[cfg(feature = "legacy")]
    XSalsa20Poly1305,
    /// `xsalsa20_poly1305_suffix`, discontinued: the whole nonce is at the end of the packet, and
    /// the header is **not** authenticated.
    #[cfg(feature = "legacy")]
    XSalsa20Poly1305Suffix,
    /// `xsalsa20_poly1305_lite`, discontinued: a counter is at the end of the packet, and the
    /// header is **not** authenticated.
    #[cfg(feature = "legacy")]
    XSalsa20Poly1305Lite,
}

impl Mode {
    /// Every mode this build of the crate knows.
    pub const ALL: &'static [Self] = &[
        Self::Aes256GcmRtpsize,
        Self::XChaCha20Poly1305Rtpsize,
        #[cfg(feature = "legacy")]
        Self::XSalsa20Poly1305LiteRtpsize,
        #[cfg(feature = "legacy")]
        Self::Aes256Gcm,
        #[cfg(feature = "legacy")]
        Self::XSalsa20Poly1305,
        #[cfg(feature = "legacy")]
        Self::XSalsa20Poly1305Suffix,
        #[cfg(feature = "legacy")]
        Self::XSalsa20Poly1305Lite,
    ];

    /// The modes that Discord accepts today, whatever this build knows besides.
    pub const CURRENT: [Self; 2] = [Self::Aes256GcmRtpsize, Self::XChaCha20Poly1305Rtpsize];

    /// Returns the name of the mode in gateway messages.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Aes256GcmRtpsize => "aead_aes256_gcm_rtpsize",
            Self::XChaCha20Poly1305Rtpsize => "aead_xchacha20_poly1305_rtpsize",
            #[cfg(feature = "legacy")]
            Self::XSalsa20Poly1305LiteRtpsize => "xsalsa20_poly1305_lite_rtpsize",
            #[cfg(feature = "legacy")]
            Self::Aes256Gcm => "aead_aes256_gcm",
            #[cfg(feature = "legacy")]
            Self::XSalsa20Poly1305 => "xsalsa20_poly1305",
            #[cfg(feature = "legacy")]
            Self::XSalsa20Poly1305Suffix => "xsalsa20_poly1305_suffix",
            #[cfg(feature = "legacy")]
            Self::XSalsa20Poly1305Lite => "xsalsa20_poly1305_lite",
        }
    }

    /// Returns by how many bytes sealing makes a packet longer: the tag and what of the nonce is
    /// sent. At most [`MAX_OVERHEAD`].
    #[must_use]
    pub const fn overhead(self) -> usize {
        TAG_LEN + self.suffix_len()
    }

    /// Returns how many bytes of the nonce are at the end of a sealed packet.
    #[must_use]
    pub const fn suffix_len(self) -> usize {
        match self {
            #[cfg(feature = "legacy")]
            Self::XSalsa20Poly1305 => 0,
            #[cfg(feature = "legacy")]
            Self::XSalsa20Poly1305Suffix => NONCE_LEN,
            _ => SUFFIX_LEN,
        }
    }

    /// Says whether a sealed packet proves that its header is the one that was sealed.
    ///
    /// `false` for three of the discontinued modes: whoever carries such a packet can change its
    /// header, its sequence number and SSRC included, without being noticed.
    #[must_use]
    pub const fn authenticates_header(self) -> bool {
        match self {
            #[cfg(feature = "legacy")]
            Self::XSalsa20Poly1305LiteRtpsize | Self::XSalsa20Poly1305Suffix | Self::XSalsa20Poly1305Lite => false,
            _ => true,
        }
    }

    /// Returns how much of an RTP packet stays readable, in bytes, by its own header.
    #[cfg(any(feature = "aws-lc", feature = "rust-crypto"))]
    #[inline]
    pub(crate) const fn rtp_clear_len(self, packet: &[u8]) -> Result<usize, ParseError> {
        match self {
            #[cfg(feature = "legacy")]
            Self::Aes256Gcm | Self::XSalsa20Poly1305 | Self::XSalsa20Poly1305Suffix | Self::XSalsa20Poly1305Lite => {
                if packet.len() < RtpHeader::LEN {
                    return Err(ParseError::TooShort);
                }
                Ok(RtpHeader::LEN)
            }
            _ => unencrypted_len(packet),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.wire_name())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        Self::ALL.iter().copied().find(|mode| mode.wire_name() == name).ok_or(UnknownMode)
    }
}

/// A mode name this build does not know; without the feature `legacy` the discontinued modes are
/// among those.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct UnknownMode;

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown transport encryption mode")
    }
}

impl core::error::Error for UnknownMode {}

/// Returns the modes in the order we prefer them on this processor.
///
/// AES comes first when the processor has instructions for it. Without them it is the slower one,
/// and hard to do in constant time. Discontinued modes are never in the list.
#[must_use]
pub fn preferred() -> &'static [Mode] {
    if has_aes_instructions() {
        &[Mode::Aes256GcmRtpsize, Mode::XChaCha20Poly1305Rtpsize]
    } else {
        &[Mode::XChaCha20Poly1305Rtpsize, Mode::Aes256GcmRtpsize]
    }
}

/// Chooses the first of our [`preferred`] modes that the server offers.
///
/// The order of the offer has no meaning, and names in it that are not known are skipped.
///
/// ```
/// use voice_crypto::{Mode, negotiate};
///
/// let mode = negotiate(&["aead_xchacha20_poly1305_rtpsize", "xsalsa20_poly1305"])?;
/// assert_eq!(mode, Mode::XChaCha20Poly1305Rtpsize);
/// assert!(negotiate(&["xsalsa20_poly1305"]).is_err());
/// # Ok::<(), voice_crypto::NegotiateError>(())
/// ```
///
/// # Errors
///
/// [`NegotiateError::NoCommonMode`] when none of them is offered. A discontinued mode is never
/// fallen back to, even when this build has it.
pub fn negotiate<S: AsRef<str>>(offered: &[S]) -> Result<Mode, NegotiateError> {
    negotiate_from(preferred(), offered)
}

/// Chooses the first mode of `preference` that is in `offered`.
///
/// With the feature `legacy` this is the only way to agree on a discontinued mode: name it.
///
/// # Errors
///
/// [`NegotiateError::NoCommonMode`] when the two have nothing in common.
pub fn negotiate_from<S: AsRef<str>>(preference: &[Mode], offered: &[S]) -> Result<Mode, NegotiateError> {
    preference
        .iter()
        .copied()
        .find(|mode| offered.iter().any(|name| name.as_ref() == mode.wire_name()))
        .ok_or(NegotiateError::NoCommonMode)
}

/// Why no mode was agreed on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NegotiateError {
    /// The server offers no mode we may use.
    NoCommonMode,
}

impl fmt::Display for NegotiateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommonMode => f.write_str("the server offers no supported transport encryption mode"),
        }
    }
}

impl core::error::Error for NegotiateError {}

/// Says whether the processor multiplies for GCM and rounds AES in hardware.
fn has_aes_instructions() -> bool {
    #[cfg(all(
        any(feature = "aws-lc", all(feature = "rust-crypto", any(unix, windows))),
        any(target_arch = "x86", target_arch = "x86_64")
    ))]
    {
        std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(all(any(feature = "aws-lc", all(feature = "rust-crypto", any(unix, windows))), target_arch = "aarch64"))]
    {
        std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
    }
    #[cfg(not(all(
        any(feature = "aws-lc", all(feature = "rust-crypto", any(unix, windows))),
        any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")
    )))]
    {
        cfg!(target_feature = "aes")
    }
}

/// By how many bytes sealing makes a packet longer in the modes in use: a tag and a nonce suffix.
///
/// [`Mode::overhead`] knows it of every mode.
pub const OVERHEAD: usize = TAG_LEN + SUFFIX_LEN;

/// The most that any mode adds to a packet, in bytes, whether this build has that mode or not.
///
/// A buffer with so much room behind the packet suits every mode.
pub const MAX_OVERHEAD: usize = TAG_LEN + NONCE_LEN;

/// The length of the authentication tag, in bytes, in every mode.
///
/// It follows the encrypted bytes; in the `xsalsa20_poly1305` modes it precedes them.
/// NIST SP 800-38D, section 5.2.1.2, and RFC 8439, section 2.8.
pub const TAG_LEN: usize = 16;

/// The length of the nonce suffix at the end of a sealed packet, in bytes.
///
/// Discord docs, Voice Connections, "Transport Encryption Modes".
pub const SUFFIX_LEN: usize = 4;

/// The length of the nonce of XSalsa20-Poly1305, in bytes.
///
/// NaCl, "Secret-key authenticated encryption".
pub(crate) const NONCE_LEN: usize = 24;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn our_order_decides_not_the_servers() {
        let offered = ["aead_xchacha20_poly1305_rtpsize", "aead_aes256_gcm_rtpsize", "xsalsa20_poly1305_lite"];
        let [aes, xchacha] = Mode::CURRENT;
        for preference in [[aes, xchacha], [xchacha, aes]] {
            assert_eq!(negotiate_from(&preference, &offered), Ok(preference[0]));
        }
    }

    #[test]
    fn discontinued_and_unknown_modes_are_never_agreed_on() {
        let offered = [
            "xsalsa20_poly1305",
            "xsalsa20_poly1305_suffix",
            "xsalsa20_poly1305_lite",
            "xsalsa20_poly1305_lite_rtpsize",
            "aead_aes256_gcm",
            "",
            "AEAD_AES256_GCM_RTPSIZE",
        ];
        let refused = negotiate(&offered).expect_err("nothing in common");
        assert_eq!(refused, NegotiateError::NoCommonMode);
        assert_eq!(refused.to_string(), "the server offers no supported transport encryption mode");
        assert_eq!(negotiate::<&str>(&[]), Err(NegotiateError::NoCommonMode));
    }

    #[test]
    #[cfg(feature = "legacy")]
    fn a_discontinued_mode_is_agreed_on_when_the_caller_names_it() {
        let offered = ["xsalsa20_poly1305_lite", "xsalsa20_poly1305"];
        assert_eq!(negotiate(&offered), Err(NegotiateError::NoCommonMode));
        assert_eq!(negotiate_from(&[Mode::XSalsa20Poly1305], &offered), Ok(Mode::XSalsa20Poly1305));
    }

    #[test]
    fn the_modes_in_use_are_preferred_once_each_and_no_others() {
        assert_eq!(preferred().len(), Mode::CURRENT.len());
        for mode in Mode::CURRENT {
            assert!(preferred().contains(&mode));
            assert_eq!(mode.overhead(), OVERHEAD);
            assert!(mode.authenticates_header());
        }
        let aes_first = preferred().first() == Some(&Mode::Aes256GcmRtpsize);
        assert_eq!(aes_first, has_aes_instructions());
    }

    #[test]
    fn every_mode_round_trips_through_its_name_and_fits_the_largest_overhead() {
        for &mode in Mode::ALL {
            assert_eq!(mode.wire_name().parse(), Ok(mode));
            assert_eq!(mode.to_string(), mode.wire_name());
            assert!(mode.overhead() <= MAX_OVERHEAD, "{mode}");
        }
        assert_eq!(Mode::ALL.len(), if cfg!(feature = "legacy") { 7 } else { 2 });
        let unknown = "xsalsa20".parse::<Mode>().expect_err("no mode");
        assert_eq!(unknown.to_string(), "unknown transport encryption mode");
    }
}
