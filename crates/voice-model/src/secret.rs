//! Credentials and keys: printed as `[..]`, wiped when dropped.

use core::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::field::Lenient;

macro_rules! secret_texts {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// `Debug` prints `[..]`; the memory is wiped on drop. How long a comparison takes depends on the lengths, not
        /// on what agrees.
        #[derive(Clone, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself; keep it out of logs.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[..]")
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }
    )*};
}

secret_texts! {
    /// The token of a voice connection, from the main gateway's Voice Server Update.
    Token
    /// The session of our own user, from the main gateway's Voice State Update.
    SessionId
    /// Part of a session description (RFC 8866), which browsers exchange; it holds passwords of ICE.
    Sdp
}

impl Lenient for Sdp {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self::new(text))
    }
}

/// The transport key of a session: what opcode 4 carries in `secret_key`.
///
/// On the wire it is an array of exactly 32 integers from 0 to 255. `Debug` prints `[..]`; the
/// memory is wiped on drop. How long a comparison takes does not depend on what agrees.
#[derive(Clone)]
pub struct SecretKey([u8; Self::LEN]);

impl SecretKey {
    /// Length of a key in bytes (Discord docs, Voice Connections, "Session Description").
    pub const LEN: usize = 32;

    /// Takes the bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves; keep them out of logs.
    #[must_use]
    pub const fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[..]")
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretKey {}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Serialize for SecretKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for SecretKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = SecretKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of 32 integers from 0 to 255")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<SecretKey, A::Error> {
        let mut bytes = Zeroizing::new([0; SecretKey::LEN]);
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = items.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
        }
        if items.next_element::<u8>()?.is_some() {
            return Err(A::Error::invalid_length(SecretKey::LEN + 1, &self));
        }
        Ok(SecretKey(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_secret() {
        assert_eq!(format!("{:?}", Token::new("a6d2c81e07b94f35")), "[..]");
        assert_eq!(format!("{:#?}", SessionId::new("4f1d0c9be27a8e63")), "[..]");
        assert_eq!(format!("{:?}", SecretKey::new([7; 32])), "[..]");
    }

    #[test]
    fn texts_are_plain_json_strings() {
        let token: Token = serde_json::from_str("\"a\\u0062c\"").unwrap();
        assert_eq!(token.expose(), "abc");
        assert_eq!(serde_json::to_string(&token).unwrap(), "\"abc\"");
        assert!(serde_json::from_str::<Token>("1").is_err());
    }

    #[test]
    fn keys_are_equal_when_every_byte_is() {
        let mut other = [7; 32];
        assert_eq!(SecretKey::new([7; 32]), SecretKey::new(other));
        for index in 0..32 {
            other[index] ^= 0x80;
            assert_ne!(SecretKey::new([7; 32]), SecretKey::new(other), "{index}");
            other[index] ^= 0x80;
        }
    }

    #[test]
    fn texts_are_equal_when_every_byte_and_the_length_are() {
        let token = || Token::new("a6d2c81e");
        assert_eq!(token(), token());
        for other in ["", "a6d2c81", "a6d2c81e0", "b6d2c81e", "a6d2c81f", "a6d2C81e"] {
            assert_ne!(token(), Token::new(other), "{other}");
        }
        assert_eq!(SessionId::new(""), SessionId::new(""));
        let set = std::collections::HashSet::from([token(), Token::new("a6d2c81f"), token()]);
        assert!(set.len() == 2 && set.contains(&token()));
    }

    #[test]
    fn key_is_exactly_32_bytes() {
        let json = |len: usize| serde_json::to_string(&vec![9u8; len]).unwrap();
        let key: SecretKey = serde_json::from_str(&json(32)).unwrap();
        assert_eq!(key.expose(), &[9; 32]);
        assert_eq!(serde_json::to_string(&key).unwrap(), json(32));
        for len in [0, 31, 33, 64] {
            assert!(serde_json::from_str::<SecretKey>(&json(len)).is_err(), "{len}");
        }
        for bad in ["256", "-1", "1.0", "\"1\"", "null"] {
            let json = json(32).replacen('9', bad, 1);
            assert!(serde_json::from_str::<SecretKey>(&json).is_err(), "{bad}");
        }
    }
}
