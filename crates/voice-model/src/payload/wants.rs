//! Payload of opcode 15, whose keys are SSRCs.

use core::{fmt, marker::PhantomData};
use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{
    field::{Lenient, LenientValue},
    id::parse_decimal,
};

/// Most SSRCs that one [`MediaSinkWants`] may name, and most pixel counts.
///
/// An opcode 15 with more SSRCs is an [`UnknownMessage`](crate::UnknownMessage); more pixel counts count as missing.
pub const MAX_WANTS: usize = 4096;

/// Opcode 15: the wanted quality of streams (community documentation).
///
/// From a server: of ours. From a client: of those it receives, sound included.
///
/// ```
/// use voice_model::{ClientMessage, MediaSinkWants};
///
/// let text = r#"{"op":15,"d":{"any":100,"8964":0}}"#;
/// let ClientMessage::MediaSinkWants(wants) = ClientMessage::decode(text)? else { unreachable!() };
/// assert_eq!(wants.quality(8964), 0);
/// assert_eq!(wants.quality(1), MediaSinkWants::FULL);
/// assert_eq!(ClientMessage::MediaSinkWants(wants).encode(), text);
/// # Ok::<(), voice_model::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MediaSinkWants {
    /// Quality of all streams that are not named, from 0 to 100.
    pub any: Option<u8>,
    /// Quality per SSRC, from 0 to 100, of at most [`MAX_WANTS`].
    pub streams: BTreeMap<u32, u8>,
    /// Pixels per picture (`pixelCounts`) per SSRC, of at most [`MAX_WANTS`].
    pub pixel_counts: BTreeMap<u32, f64>,
}

impl MediaSinkWants {
    /// The best quality.
    pub const FULL: u8 = 100;

    /// Wants the same of all streams.
    #[must_use]
    pub const fn all(quality: u8) -> Self {
        Self { any: Some(quality), streams: BTreeMap::new(), pixel_counts: BTreeMap::new() }
    }

    /// The wanted quality of a stream; the best when nothing is said about it.
    #[must_use]
    pub fn quality(&self, ssrc: u32) -> u8 {
        self.streams.get(&ssrc).copied().or(self.any).unwrap_or(Self::FULL)
    }
}

impl Serialize for MediaSinkWants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(any) = self.any {
            map.serialize_entry("any", &any.min(Self::FULL))?;
        }
        for (ssrc, quality) in &self.streams {
            map.serialize_entry(ssrc, &quality.min(&Self::FULL))?;
        }
        if !self.pixel_counts.is_empty() {
            map.serialize_entry("pixelCounts", &self.pixel_counts)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for MediaSinkWants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WantsVisitor)
    }
}

struct WantsVisitor;

impl<'de> Visitor<'de> for WantsVisitor {
    type Value = MediaSinkWants;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MAX_WANTS} SSRCs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<MediaSinkWants, A::Error> {
        let mut wants = MediaSinkWants::default();
        while let Some(key) = entries.next_key()? {
            match key {
                Key::Any => wants.any = quality(&mut entries)?,
                Key::PixelCounts => {
                    let counts = entries.next_value_seed(LenientValue(PhantomData))?;
                    wants.pixel_counts = counts.unwrap_or_default();
                }
                Key::Ssrc(ssrc) => {
                    let Some(quality) = quality(&mut entries)? else { continue };
                    wants.streams.insert(ssrc, quality);
                    if wants.streams.len() > MAX_WANTS {
                        return Err(A::Error::invalid_length(MAX_WANTS + 1, &self));
                    }
                }
                Key::Other => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(wants)
    }
}

fn quality<'de, A: MapAccess<'de>>(entries: &mut A) -> Result<Option<u8>, A::Error> {
    let value: Option<u64> = entries.next_value_seed(LenientValue(PhantomData))?;
    Ok(value.map(|value| value.min(MediaSinkWants::FULL.into()) as u8))
}

impl Lenient for BTreeMap<u32, f64> {
    fn from_object<'de, A: MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        let mut counts = Self::new();
        while let Some(key) = entries.next_key()? {
            let value = entries.next_value_seed(LenientValue(PhantomData))?;
            let (Key::Ssrc(ssrc), Some(count)) = (key, value) else { continue };
            counts.insert(ssrc, count);
            if counts.len() > MAX_WANTS {
                return Err(A::Error::invalid_length(MAX_WANTS + 1, &WantsVisitor));
            }
        }
        Ok(Some(counts))
    }
}

enum Key {
    Any,
    PixelCounts,
    Ssrc(u32),
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an SSRC")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
        Ok(match text {
            "any" => Key::Any,
            "pixelCounts" => Key::PixelCounts,
            ssrc => parse_decimal(ssrc).and_then(|ssrc| ssrc.try_into().ok()).map_or(Key::Other, Key::Ssrc),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerMessage;

    fn wants(d: &str) -> MediaSinkWants {
        match ServerMessage::decode(&format!(r#"{{"op":15,"d":{d}}}"#)).map(|decoded| decoded.message) {
            Ok(ServerMessage::MediaSinkWants(wants)) => wants,
            other => panic!("{d}: {other:?}"),
        }
    }

    #[test]
    fn keys_are_ssrcs_and_two_names() {
        let d = r#"{"any":100,"8964":0,"4294967295":50,"pixelCounts":{"8964":921600.0,"1":0.5}}"#;
        let read = wants(d);
        assert_eq!((read.any, read.quality(8964), read.quality(u32::MAX), read.quality(7)), (Some(100), 0, 50, 100));
        assert_eq!(read.pixel_counts, BTreeMap::from([(8964, 921_600.0), (1, 0.5)]));
        let again = ServerMessage::MediaSinkWants(read.clone()).encode(None);
        assert_eq!(ServerMessage::decode(&again).unwrap().message, ServerMessage::MediaSinkWants(read));
    }

    #[test]
    fn what_is_no_ssrc_or_no_quality_is_passed_over() {
        let odd = r#"{"any":"all","x":1,"-1":1,"4294967296":1,"":1,"3":null,"4":-1,"5":0.5,"6":1.0,"7":255,"pixelCounts":[1]}"#;
        let expected = MediaSinkWants { streams: BTreeMap::from([(6, 1), (7, 100)]), ..MediaSinkWants::default() };
        assert_eq!(wants(odd), expected);
        assert_eq!(
            wants(r#"{"any":0.0,"pixelCounts":{"x":1,"2":"y","3":4}}"#).pixel_counts,
            BTreeMap::from([(3, 4.0)])
        );
        assert_eq!(wants("{}").quality(1), MediaSinkWants::FULL);
    }

    #[test]
    fn all_of_them_can_be_turned_off() {
        assert_eq!(wants(r#"{"any":0}"#), MediaSinkWants::all(0));
        assert_eq!(
            ServerMessage::MediaSinkWants(MediaSinkWants::all(255)).encode(None),
            r#"{"op":15,"d":{"any":100}}"#
        );
    }

    #[test]
    fn ssrcs_are_limited() {
        let of = |count: usize| {
            let entries: Vec<String> = (0..count).map(|ssrc| format!(r#""{ssrc}":1"#)).collect();
            format!("{{{}}}", entries.join(","))
        };
        assert_eq!(wants(&of(MAX_WANTS)).streams.len(), MAX_WANTS);
        let more = format!(r#"{{"op":15,"d":{}}}"#, of(MAX_WANTS + 1));
        assert!(matches!(ServerMessage::decode(&more).unwrap().message, ServerMessage::Unknown(_)));
        for (count, read) in [(MAX_WANTS, MAX_WANTS), (MAX_WANTS + 1, 0)] {
            let read_back = wants(&format!(r#"{{"7":50,"pixelCounts":{}}}"#, of(count)));
            assert_eq!((read_back.quality(7), read_back.pixel_counts.len()), (50, read));
        }
    }
}
