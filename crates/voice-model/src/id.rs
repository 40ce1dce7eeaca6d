//! The ids of users, guilds and channels.

use core::{fmt, str::FromStr};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// On the wire it is a string of decimal digits, because JavaScript cannot hold 64-bit
        /// integers; an integer is accepted as well (Discord docs, API Reference, "Snowflakes").
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Makes an id of its number.
            #[must_use]
            pub const fn new(id: u64) -> Self {
                Self(id)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_decimal(text).map(Self).ok_or(ParseIdError(()))
            }
        }

        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                Self(id)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(DecimalVisitor).map(Self)
            }
        }
    )*};
}

ids! {
    /// The id of a user.
    UserId
    /// The id of a guild; the voice gateway calls it `server_id`.
    GuildId
    /// The id of a voice or stage channel.
    ChannelId
    /// The id of anything else: a sound or a lobby.
    Snowflake
}

/// The text is not an id: one or more decimal digits whose value fits in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseIdError(());

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is a decimal number of at most 64 bits")
    }
}

impl core::error::Error for ParseIdError {}

/// Stricter than `u64::from_str`, which takes a leading plus sign.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Reads an unsigned integer, or the same in a string of decimal digits.
#[cfg(feature = "serde")]
pub(crate) struct DecimalVisitor;

#[cfg(feature = "serde")]
impl serde::de::Visitor<'_> for DecimalVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an unsigned integer or a string of decimal digits")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        parse_decimal(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_plain_decimal() {
        let id: UserId = "852892297661906993".parse().unwrap();
        assert_eq!(id, UserId::new(852_892_297_661_906_993));
        assert_eq!(id.to_string(), "852892297661906993");
        assert_eq!(format!("{id:?}"), "UserId(852892297661906993)");
    }

    #[test]
    fn text_that_is_no_decimal_number_of_64_bits_is_refused() {
        for text in ["", "+1", "-1", " 1", "1 ", "0x1", "1.0", "18446744073709551616", "١"] {
            assert_eq!(text.parse::<GuildId>(), Err(ParseIdError(())), "{text:?}");
        }
        assert_eq!("18446744073709551615".parse(), Ok(ChannelId::new(u64::MAX)));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_reads_string_and_integer_and_writes_string() {
        for text in ["\"613425648685547541\"", "613425648685547541"] {
            let id: GuildId = serde_json::from_str(text).unwrap();
            assert_eq!(id.get(), 613_425_648_685_547_541);
            assert_eq!(serde_json::to_string(&id).unwrap(), "\"613425648685547541\"");
        }
        for text in ["-1", "1.5", "true", "null", "\"\"", "\"1e3\"", "[1]", "18446744073709551616"] {
            assert!(serde_json::from_str::<GuildId>(text).is_err(), "{text}");
        }
    }
}
