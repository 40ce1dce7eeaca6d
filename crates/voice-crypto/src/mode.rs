//! The transport modes, and agreeing on one.

use core::fmt;
use core::str::FromStr;

/// How packets between a client and the voice server are encrypted.
///
/// Both modes leave the RTP header, the contributing sources and the preamble of the extension
/// readable and authenticate them ("rtpsize"), and both append the same [`OVERHEAD`].
///
/// Discord docs, Voice Connections, "Transport Encryption Modes".
///
/// ```
/// use voice_crypto::Mode;
///
/// let mode: Mode = "aead_xchacha20_poly1305_rtpsize".parse()?;
/// assert_eq!(mode, Mode::XChaCha20Poly1305Rtpsize);
/// assert_eq!(mode.to_string(), "aead_xchacha20_poly1305_rtpsize");
/// assert!("xsalsa20_poly1305".parse::<Mode>().is_err()); // discontinued
/// # Ok::<(), voice_crypto::UnknownMode>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// `aead_aes256_gcm_rtpsize`: the fastest, offered by servers with hardware support.
    Aes256GcmRtpsize,
    /// `aead_xchacha20_poly1305_rtpsize`: offered by every server.
    XChaCha20Poly1305Rtpsize,
}

impl Mode {
    /// Every mode this crate knows.
    pub const ALL: [Self; 2] = [Self::Aes256GcmRtpsize, Self::XChaCha20Poly1305Rtpsize];

    /// By how many bytes sealing makes a packet longer; the same as the constant [`OVERHEAD`].
    pub const OVERHEAD: usize = OVERHEAD;

    /// Returns the name of the mode in gateway messages.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Aes256GcmRtpsize => "aead_aes256_gcm_rtpsize",
            Self::XChaCha20Poly1305Rtpsize => "aead_xchacha20_poly1305_rtpsize",
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
        Self::ALL.into_iter().find(|mode| mode.wire_name() == name).ok_or(UnknownMode)
    }
}

/// A mode name this crate does not know; the discontinued modes are among those.
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
/// and hard to do in constant time.
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
/// [`NegotiateError::NoCommonMode`] when nothing we know is offered. A discontinued mode is never
/// fallen back to.
pub fn negotiate<S: AsRef<str>>(offered: &[S]) -> Result<Mode, NegotiateError> {
    negotiate_from(preferred(), offered)
}

/// Chooses the first mode of `preference` that is in `offered`.
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
    #[cfg(all(feature = "aws-lc", any(target_arch = "x86", target_arch = "x86_64")))]
    {
        std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(all(feature = "aws-lc", target_arch = "aarch64"))]
    {
        std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
    }
    #[cfg(not(all(feature = "aws-lc", any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        cfg!(target_feature = "aes")
    }
}

/// By how many bytes sealing makes a packet longer: an authentication tag and a nonce suffix.
pub const OVERHEAD: usize = TAG_LEN + SUFFIX_LEN;

/// The length of the authentication tag after the encrypted bytes, in bytes.
///
/// NIST SP 800-38D, section 5.2.1.2, and RFC 8439, section 2.8.
pub const TAG_LEN: usize = 16;

/// The length of the nonce suffix at the end of a sealed packet, in bytes.
///
/// Discord docs, Voice Connections, "Transport Encryption Modes".
pub const SUFFIX_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_order_decides_not_the_servers() {
        let offered = ["aead_xchacha20_poly1305_rtpsize", "aead_aes256_gcm_rtpsize", "xsalsa20_poly1305_lite"];
        for preference in [[Mode::ALL[0], Mode::ALL[1]], [Mode::ALL[1], Mode::ALL[0]]] {
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
        assert_eq!(negotiate(&offered), Err(NegotiateError::NoCommonMode));
        assert_eq!(negotiate::<&str>(&[]), Err(NegotiateError::NoCommonMode));
    }

    #[test]
    fn every_mode_is_preferred_once_and_round_trips_through_its_name() {
        assert_eq!(preferred().len(), Mode::ALL.len());
        for mode in Mode::ALL {
            assert!(preferred().contains(&mode));
            assert_eq!(mode.wire_name().parse(), Ok(mode));
        }
    }
}
