//! How fields are read that the documentation of the service does not promise.
//!
//! What only community documentation describes must not cost a call: a value that cannot be read counts as missing,
//! whether it is of another type than described, out of range, no Unicode or longer than its limit. So that the rest is
//! still read, each such value is first taken as JSON that is only known to be well-formed, then read by itself.

use core::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, Expected, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{ChannelId, Snowflake, id::parse_decimal};

/// A type that is read from the forms it knows; every other form gives nothing.
pub(crate) trait Lenient: Sized {
    /// Reads a whole value.
    fn from_json(json: &str) -> Option<Self> {
        serde_json::Deserializer::from_str(json).deserialize_any(AnyForm(PhantomData)).ok().flatten()
    }

    fn from_unsigned(_: u64) -> Option<Self> {
        None
    }

    fn from_signed(_: i64) -> Option<Self> {
        None
    }

    /// Some clients write integers as `1.0`.
    fn from_float(value: f64) -> Option<Self> {
        if value.fract() != 0.0 || value.abs() >= EXACT_LIMIT {
            return None;
        }
        if value >= 0.0 { Self::from_unsigned(value as u64) } else { Self::from_signed(value as i64) }
    }

    fn from_text(_: &str) -> Option<Self> {
        None
    }

    fn from_flag(_: bool) -> Option<Self> {
        None
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn from_object<'de, A: MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// What a list may hold, and how much of it.
pub(crate) trait Item: Lenient {
    /// Most items of a list; one with more counts as missing.
    const MAX: usize;
}

/// Reads a field leniently; for `deserialize_with` together with `default`.
pub(crate) fn lenient<'de, D: Deserializer<'de>, T: Lenient>(deserializer: D) -> Result<Option<T>, D::Error> {
    LenientValue(PhantomData).deserialize(deserializer)
}

/// Like [`lenient`], with the default in place of nothing.
pub(crate) fn lenient_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Lenient + Default,
{
    lenient(deserializer).map(Option::unwrap_or_default)
}

/// Reads `null` like a missing key.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads an array of at most `MAX` items, and stops at the first one above that.
pub(crate) fn at_most<'de, const MAX: usize, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            AtMost(MAX).fmt(f)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut vec = Vec::new();
            while let Some(item) = items.next_element()? {
                if vec.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                vec.push(item);
            }
            Ok(vec)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

/// Writes a float that is whole as an integer: peers exist that do not take `13750.0`.
///
/// What JSON cannot write becomes the nearest number, and not-a-number 0.
pub(crate) fn whole_if_possible<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let value = if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) };
    if value.fract() == 0.0 && value.abs() < EXACT_LIMIT {
        serializer.serialize_i64(value as i64)
    } else {
        serializer.serialize_f64(value)
    }
}

/// Reads any value as a float: the nearest one of a number, 0 of what is no number.
pub(crate) fn nearest_float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Nearest(f64);

    impl Lenient for Nearest {
        fn from_json(json: &str) -> Option<Self> {
            // Of all JSON values only numbers are those of Rust, too; one that is too large gives infinity.
            json.parse().ok().map(|value: f64| Self(value.clamp(f64::MIN, f64::MAX)))
        }

        fn from_unsigned(value: u64) -> Option<Self> {
            Some(Self(value as f64))
        }

        fn from_signed(value: i64) -> Option<Self> {
            Some(Self(value as f64))
        }

        fn from_float(value: f64) -> Option<Self> {
            Some(Self(value))
        }
    }

    lenient(deserializer).map(|nearest| nearest.map_or(0.0, |Nearest(value)| value))
}

/// Up to here, 2^53, every integer is exact in an `f64`.
const EXACT_LIMIT: f64 = 9_007_199_254_740_992.0;

pub(crate) struct LenientValue<T>(pub(crate) PhantomData<T>);

impl<'de, T: Lenient> DeserializeSeed<'de> for LenientValue<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_newtype_struct(RAW_VALUE, RawForm(PhantomData))
    }
}

/// How `serde_json` is asked for the text of a value, as its `RawValue` does, which borrows or owns but never both: of
/// messages nothing should be copied, and of values that were taken apart before there is nothing to borrow.
///
/// A deserializer that knows it not goes on with the value itself.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Takes the text of a value from `serde_json`: a map of one entry, which is this text.
struct RawForm<T>(PhantomData<T>);

impl<'de, T: Lenient> DeserializeSeed<'de> for RawForm<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, T: Lenient> Visitor<'de> for RawForm<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<T>, A::Error> {
        entries.next_key::<IgnoredAny>()?;
        entries.next_value_seed(self)
    }

    fn visit_str<E: Error>(self, json: &str) -> Result<Option<T>, E> {
        Ok(T::from_json(json))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(AnyForm(PhantomData))
    }
}

/// Takes a value in any form.
struct AnyForm<T>(PhantomData<T>);

impl<'de, T: Lenient> Visitor<'de> for AnyForm<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<T>, E> {
        Ok(T::from_flag(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<T>, E> {
        Ok(T::from_unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<T>, E> {
        Ok(match u64::try_from(value) {
            Ok(value) => T::from_unsigned(value),
            Err(_) => T::from_signed(value),
        })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<T>, E> {
        Ok(T::from_float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<T>, E> {
        Ok(T::from_text(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Option<T>, A::Error> {
        T::from_list(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Option<T>, A::Error> {
        T::from_object(entries)
    }
}

struct AtMost(usize);

impl Expected for AtMost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {} items", self.0)
    }
}

/// Items that are not what the list holds are passed over.
impl<T: Item> Lenient for Vec<T> {
    fn from_list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        let (mut vec, mut count) = (Self::new(), 0);
        while let Some(item) = items.next_element_seed(LenientValue(PhantomData))? {
            if count == T::MAX {
                return Err(A::Error::invalid_length(T::MAX + 1, &AtMost(T::MAX)));
            }
            count += 1;
            vec.extend(item);
        }
        Ok(Some(vec))
    }
}

macro_rules! lenient_integers {
    ($($name:ident)*) => {$(
        impl Lenient for $name {
            fn from_unsigned(value: u64) -> Option<Self> {
                value.try_into().ok()
            }

            fn from_signed(value: i64) -> Option<Self> {
                value.try_into().ok()
            }
        }
    )*};
}

lenient_integers! { u8 u16 u32 u64 i64 }

macro_rules! lenient_ids {
    ($($name:ident)*) => {$(
        impl Lenient for $name {
            fn from_unsigned(value: u64) -> Option<Self> {
                Some(Self::new(value))
            }

            fn from_text(text: &str) -> Option<Self> {
                parse_decimal(text).map(Self::new)
            }
        }
    )*};
}

lenient_ids! { ChannelId Snowflake }

impl Lenient for f64 {
    fn from_unsigned(value: u64) -> Option<Self> {
        Some(value as Self)
    }

    fn from_signed(value: i64) -> Option<Self> {
        Some(value as Self)
    }

    fn from_float(value: f64) -> Option<Self> {
        Some(value)
    }
}

impl Lenient for bool {
    fn from_flag(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl Lenient for String {
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// Names of experiments are the only texts in lists.
impl Item for String {
    const MAX: usize = MAX_EXPERIMENTS;
}

/// Most experiments that are read of one message; a list of more counts as missing.
pub const MAX_EXPERIMENTS: usize = 256;

/// Makes structs, whose own fields are all lenient, lenient themselves.
macro_rules! lenient_objects {
    ($($name:ident)*) => {$(
        impl crate::field::Lenient for $name {
            fn from_object<'de, A: serde::de::MapAccess<'de>>(entries: A) -> Result<Option<Self>, A::Error> {
                serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(entries)).map(Some)
            }
        }
    )*};
}

/// Makes an enum of the texts that a field may hold, and keeps others.
macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        ///
        /// A text that has no name here is a value, not an error.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A text that has no name here.
            ///
            /// Made by `from`, it never holds the text of a named one.
            Unknown(String),
        }

        impl $name {
            /// The text on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    _ => Self::Unknown(text.to_owned()),
                }
            }
        }

        impl crate::field::Lenient for $name {
            fn from_text(text: &str) -> Option<Self> {
                Some(text.into())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

pub(crate) use {lenient_objects, texts};

/// `{}`: the payload of messages that say all by their opcode.
#[derive(Serialize)]
pub(crate) struct Empty {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Lenient>(json: &str) -> Option<T> {
        lenient(&mut serde_json::Deserializer::from_str(json)).unwrap()
    }

    #[test]
    fn values_of_another_type_count_as_missing() {
        const NONE: [&str; 7] = ["null", "true", "-1", "1.5", "\"x\"", "[1,[2]]", r#"{"a":{"b":1}}"#];
        assert!(NONE.iter().all(|json| read::<u32>(json).is_none()));
        assert!(NONE.iter().filter(|json| **json != "true").all(|json| read::<bool>(json).is_none()));
        assert!(NONE.iter().filter(|json| **json != "\"x\"").all(|json| read::<String>(json).is_none()));
        assert!(NONE.iter().filter(|json| **json != "[1,[2]]").all(|json| read::<Vec<String>>(json).is_none()));
        assert!(NONE.iter().all(|json| read::<ChannelId>(json).is_none()));
    }

    #[test]
    fn integers_may_be_written_as_floats() {
        assert_eq!(read::<u32>("30.0"), Some(30));
        assert_eq!(read::<u32>("4294967295"), Some(u32::MAX));
        assert_eq!(read::<u32>("4294967296"), None);
        assert_eq!(read::<u32>("1e300"), None);
        assert_eq!(read::<u8>("-0.0"), Some(0));
        assert_eq!(read::<i64>("-7"), Some(-7));
        assert_eq!(read::<i64>("-7.0"), Some(-7));
        assert_eq!(read::<u64>("18446744073709551615"), Some(u64::MAX));
        assert_eq!(read::<u64>("18446744073709551616"), None);
    }

    #[test]
    fn ids_are_texts_or_integers() {
        assert_eq!(read::<ChannelId>("\"127121515262115840\""), Some(ChannelId::new(127_121_515_262_115_840)));
        assert_eq!(read::<Snowflake>("5"), Some(Snowflake::new(5)));
    }

    #[test]
    fn items_that_do_not_belong_are_passed_over_and_counted() {
        assert_eq!(read::<Vec<String>>(r#"["a",1,{},"b",null]"#), Some(vec!["a".to_owned(), "b".to_owned()]));
        let of = |count| format!("[{}]", vec!["1"; count].join(","));
        assert_eq!(read::<Vec<String>>(&of(MAX_EXPERIMENTS)), Some(Vec::new()));
        let json = of(MAX_EXPERIMENTS + 1);
        assert_eq!(read::<Vec<String>>(&json), None);
    }

    #[test]
    fn a_deserializer_without_raw_values_is_asked_for_the_value() {
        #[derive(serde::Deserialize)]
        struct Outer {
            #[serde(flatten)]
            inner: crate::ServerSessionUpdate,
        }

        let json = r#"{"audio_codec":["opus"],"video_codec":"VP8","keyframe_interval":{"a":1}}"#;
        let Outer { inner } = serde_json::from_str(json).unwrap();
        assert_eq!(
            (inner.audio_codec, inner.video_codec.as_deref(), inner.keyframe_interval),
            (None, Some("VP8"), None)
        );
    }

    #[test]
    fn texts_of_values_are_borrowed() {
        struct Borrowed;

        impl<'de> Visitor<'de> for Borrowed {
            type Value = &'de str;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the text of a value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<&'de str, A::Error> {
                Ok(entries.next_entry::<IgnoredAny, &str>()?.unwrap().1)
            }
        }

        let mut deserializer = serde_json::Deserializer::from_str(r#" ["\ud800", 1e999]"#);
        let text = deserializer.deserialize_newtype_struct(RAW_VALUE, Borrowed).unwrap();
        assert_eq!(text, r#"["\ud800", 1e999]"#);
    }
}
