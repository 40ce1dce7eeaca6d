//! Codes that people compare to know that nobody listens in.
//!
//! ```
//! use voice_dave::code::voice_privacy_code;
//!
//! let authenticator = [0xFF; 32];
//! assert_eq!(voice_privacy_code(&authenticator), "277752777527775277752777527775");
//! ```

use std::{error::Error, fmt};

use scrypt::Params;
use voice_model::UserId;

/// Turns bytes into decimal digits: of each `group` bytes, as a big-endian number, the last `group` digits.
///
/// DAVE protocol, "Displayable Codes".
///
/// # Errors
///
/// [`CodeError`] when there are fewer bytes than digits asked for, `length` is no multiple of `group`, or `group`
/// is not 1 to 8.
pub fn displayable_code(data: &[u8], length: usize, group: usize) -> Result<String, CodeError> {
    if !(1..=MAX_GROUP).contains(&group) || !length.is_multiple_of(group) {
        return Err(CodeError::Grouping);
    }
    let data = data.get(..length).ok_or(CodeError::TooShort)?;
    let modulus = 10_u64.pow(group as u32);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok(data.chunks_exact(group).map(|bytes| format!("{:0group$}", number(bytes) % modulus)).collect())
}

/// The code of an epoch, which is equal for all members of a call: 30 digits of its MLS epoch authenticator.
///
/// DAVE protocol, "Voice Privacy Codes". It changes with every member who joins or leaves.
#[must_use]
pub fn voice_privacy_code(epoch_authenticator: &[u8; 32]) -> String {
    displayable_code(epoch_authenticator, PRIVACY_CODE_LEN, CODE_GROUP).expect("32 bytes are enough for 30 digits")
}

/// The fingerprint of two users, from their ids and signature public keys as they are in the group; the order of
/// the two does not matter.
///
/// DAVE protocol, "Pairwise Fingerprints". It takes tens of milliseconds and 16 MiB of memory: run it off the
/// threads that others wait for.
#[must_use]
pub fn pairwise_fingerprint(one: (UserId, &[u8]), other: (UserId, &[u8])) -> [u8; FINGERPRINT_LEN] {
    let part = |(user, key): (UserId, &[u8])| [&FINGERPRINT_VERSION, key, &user.get().to_be_bytes()].concat();
    let mut parts = [part(one), part(other)];
    parts.sort_unstable();
    let params = Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).expect("constants that scrypt allows");
    let mut fingerprint = [0; FINGERPRINT_LEN];
    scrypt::scrypt(&parts.concat(), &FINGERPRINT_SALT, &params, &mut fingerprint).expect("a length scrypt allows");
    fingerprint
}

/// The code that two users compare: 45 digits of their [`pairwise_fingerprint`].
///
/// DAVE protocol, "Verification Codes".
#[must_use]
pub fn verification_code(fingerprint: &[u8; FINGERPRINT_LEN]) -> String {
    displayable_code(fingerprint, VERIFICATION_CODE_LEN, CODE_GROUP).expect("64 bytes are enough for 45 digits")
}

/// Why bytes are not shown as a code (the caller).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeError {
    /// There are fewer bytes than digits asked for.
    TooShort,
    /// The digits cannot be split into groups of this length, or groups are longer than 8.
    Grouping,
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "fewer bytes than digits asked for",
            Self::Grouping => "the digits cannot be split into groups of this length",
        })
    }
}

impl Error for CodeError {}

/// The length of a pairwise fingerprint in bytes.
pub const FINGERPRINT_LEN: usize = 64;

/// More bytes would overflow the number that they are read as (DAVE protocol, "Displayable Codes").
const MAX_GROUP: usize = 8;
/// DAVE protocol, "Displayable Codes".
const CODE_GROUP: usize = 5;
/// DAVE protocol, "Voice Privacy Codes".
const PRIVACY_CODE_LEN: usize = 30;
/// DAVE protocol, "Verification Codes".
const VERIFICATION_CODE_LEN: usize = 45;
/// DAVE protocol, "Pairwise Fingerprints".
const FINGERPRINT_VERSION: [u8; 2] = [0, 0];
/// DAVE protocol, "Pairwise Fingerprints".
const FINGERPRINT_SALT: [u8; 16] =
    [0x24, 0xCA, 0xB1, 0x7A, 0x7A, 0xF8, 0xEC, 0x2B, 0x82, 0xB4, 0x12, 0xB9, 0x2D, 0xAB, 0x19, 0x2E];
/// N is 16384 (DAVE protocol, "Pairwise Fingerprints").
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::load;

    #[test]
    fn codes_are_those_of_libdave() {
        for case in load("displayable_code").list("cases") {
            let (length, group) = (case.number("length") as usize, case.number("group") as usize);
            assert_eq!(displayable_code(&case.bytes("data"), length, group), Ok(case.text("code")), "{case:?}");
        }
    }

    #[test]
    fn codes_that_cannot_be_are_refused() {
        for case in load("displayable_code").list("refused") {
            let (length, group) = (case.number("length") as usize, case.number("group") as usize);
            assert!(displayable_code(&case.bytes("data"), length, group).is_err(), "{case:?}");
        }
        assert_eq!(displayable_code(&[1; 8], 8, 0), Err(CodeError::Grouping));
        assert_eq!(displayable_code(&[1; 7], 8, 8), Err(CodeError::TooShort));
    }

    #[test]
    fn a_privacy_code_is_30_digits_of_the_authenticator() {
        let case = load("displayable_code").list("cases").into_iter().find(|case| case.bytes("data").len() == 32);
        let case = case.expect("an authenticator");
        assert_eq!(voice_privacy_code(&case.array("data")), case.text("code"));
    }

    #[test]
    fn two_users_have_libdaves_fingerprint_whoever_comes_first() {
        for case in load("pairwise_fingerprint").list("cases") {
            let user = |key: &str| UserId::new(case.text(key).parse().expect("an id"));
            let (key_a, key_b) = (case.bytes("key_a"), case.bytes("key_b"));
            let (a, b) = ((user("user_a"), &key_a[..]), (user("user_b"), &key_b[..]));
            let fingerprint = pairwise_fingerprint(a, b);
            assert_eq!(fingerprint[..], case.bytes("fingerprint"));
            assert_eq!(pairwise_fingerprint(b, a), fingerprint);
            assert_eq!(verification_code(&fingerprint), case.text("verification_code"));
        }
    }
}
