//! JSON that is handed on as it came.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON value that has no type here, as it came.
///
/// `Debug` prints its length only: members and emoji have names.
///
/// ```
/// use voice_model::Json;
///
/// let member = Json::new(r#"{"nick":null}"#).unwrap();
/// assert_eq!(member.get(), r#"{"nick":null}"#);
/// assert!(Json::new("{").is_none());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Box<str>);

impl Json {
    /// Takes a JSON text; `None` when it is not one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|raw| Self(raw.get().into()))
    }

    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[.. {} bytes]", self.0.len())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).unwrap_or(RawValue::NULL).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self(raw.into()))
    }
}

/// Reads any value but `null`.
pub(crate) fn not_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(|json| Some(json).filter(|json| json.get() != "null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_as_it_came_without_the_space_around() {
        let json: Json = serde_json::from_str(" {\"a\" : 1.0} ").unwrap();
        assert_eq!(json.get(), "{\"a\" : 1.0}");
        assert_eq!(serde_json::to_string(&json).unwrap(), "{\"a\" : 1.0}");
        assert_eq!(Json::new(" {\"a\" : 1.0} "), Some(json.clone()));
        assert_eq!(format!("{json:?}"), "[.. 11 bytes]");
        let value = serde_json::to_value(&json).unwrap();
        assert_eq!(value, serde_json::json!({ "a": 1.0 }));
        assert_eq!(serde_json::from_value::<Json>(value).unwrap().get(), "{\"a\":1.0}");
    }
}
