//! The JSON envelope `{"op", "d", "seq"}` and the limits every text message has to keep.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use core::fmt;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{DecodeError, Opcode};

/// Largest message that is decoded, in bytes.
pub const MAX_MESSAGE_LEN: usize = 1 << 20;

/// Largest message that should be sent, in bytes; whoever sends checks it.
pub const MAX_SENT_LEN: usize = 256 << 10;

/// Deepest nesting of arrays and objects in a message that is decoded, the envelope included.
pub const MAX_DEPTH: usize = 32;

/// A message whose payload has no type here: its opcode and its JSON as it came.
///
/// Also the way to send such a message. `Debug` prints the length of the payload, not the payload.
///
/// ```
/// use voice_model::{Opcode, ServerMessage};
///
/// let decoded = ServerMessage::decode(r#"{"op":33,"d":{"flags":2},"seq":1}"#)?;
/// let ServerMessage::Unknown(message) = decoded.message else { unreachable!() };
/// assert_eq!(message.opcode, Opcode::Unknown(33));
/// assert_eq!(message.data, r#"{"flags":2}"#);
/// assert_eq!(decoded.sequence, Some(1)); // counts as received all the same
/// # Ok::<(), voice_model::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UnknownMessage {
    /// The kind of the message.
    pub opcode: Opcode,
    /// The JSON of `d`; `null` when the message has none.
    ///
    /// Text that is not JSON is sent as `null`.
    pub data: String,
}

impl fmt::Debug for UnknownMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownMessage")
            .field("opcode", &self.opcode)
            .field("data", &format_args!("[.. {} bytes]", self.data.len()))
            .finish()
    }
}

impl UnknownMessage {
    pub(crate) fn raw(&self) -> &RawValue {
        serde_json::from_str(&self.data).unwrap_or(RawValue::NULL)
    }
}

/// A message whose payload is still JSON.
pub(crate) struct Envelope<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) data: &'a str,
    pub(crate) sequence: Option<u16>,
}

impl<'a> Envelope<'a> {
    /// Reads a message of a server, where `seq` matters.
    pub(crate) fn from_server(text: &'a str) -> Result<Self, DecodeError> {
        let parts = Parts::parse(text)?;
        let sequence = parts.sequence();
        let Some(opcode) = parts.opcode() else {
            return Err(DecodeError::MissingOpcode { sequence: sequence.ok().flatten() });
        };
        let sequence = sequence.map_err(|NotASequence| DecodeError::InvalidSequence { opcode })?;
        Ok(Self { opcode, data: parts.data(), sequence })
    }

    /// Reads a message of a client, which is not numbered.
    pub(crate) fn from_client(text: &'a str) -> Result<Self, DecodeError> {
        let parts = Parts::parse(text)?;
        let opcode = parts.opcode().ok_or(DecodeError::MissingOpcode { sequence: None })?;
        Ok(Self { opcode, data: parts.data(), sequence: None })
    }

    /// Decodes the payload as the object `T`.
    pub(crate) fn object<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        self.parse_object(self.data)
    }

    /// Decodes the payload as the object `T` that only community documentation describes, or hands it on as it is.
    pub(crate) fn described<T: Deserialize<'a>>(&self) -> Result<T, UnknownMessage> {
        self.object().map_err(|_| self.unknown())
    }

    /// Decodes a part of the payload as the object `T`.
    pub(crate) fn inner_object<T: Deserialize<'a>>(&self, part: Option<&'a RawValue>) -> Result<T, DecodeError> {
        self.parse_object(part.map_or("null", RawValue::get))
    }

    /// Decodes the payload as any JSON value `T`.
    pub(crate) fn value<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        self.parse(self.data)
    }

    /// Whether the payload is an object.
    pub(crate) fn is_object(&self) -> bool {
        self.data.starts_with('{')
    }

    pub(crate) fn unknown(&self) -> UnknownMessage {
        UnknownMessage { opcode: self.opcode, data: self.data.to_owned() }
    }

    fn parse_object<T: Deserialize<'a>>(&self, json: &'a str) -> Result<T, DecodeError> {
        // Derived types would take an array of their fields, too.
        if !json.starts_with('{') {
            return Err(DecodeError::WrongPayload {
                opcode: self.opcode,
                sequence: self.sequence,
                detail: "expected an object".to_owned(),
            });
        }
        self.parse(json)
    }

    fn parse<T: Deserialize<'a>>(&self, json: &'a str) -> Result<T, DecodeError> {
        serde_json::from_str(json).map_err(|error| DecodeError::wrong_payload(self.opcode, self.sequence, &error))
    }
}

/// Writes a message.
pub(crate) fn encode<T: Serialize + ?Sized>(opcode: Opcode, data: &T, sequence: Option<u16>) -> String {
    #[derive(Serialize)]
    struct Written<'a, T: ?Sized> {
        op: u64,
        d: &'a T,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u16>,
    }

    serde_json::to_string(&Written { op: opcode.code(), d: data, seq: sequence })
        .expect("payloads have string keys only and their Serialize does not fail")
}

/// The first pass over a text: the three keys, their values still JSON.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    op: Option<&'a RawValue>,
    #[serde(borrow)]
    d: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: Option<&'a RawValue>,
}

struct NotASequence;

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self, DecodeError> {
        if text.len() > MAX_MESSAGE_LEN {
            return Err(DecodeError::TooLarge { len: text.len() });
        }
        check_depth(text)?;
        if !starts_an_object(text) {
            return Err(match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => DecodeError::NotAnObject,
                Err(error) => not_json(&error),
            });
        }
        serde_json::from_str(text).map_err(|error| {
            // Raw values take any type, so this is all that can be wrong with an object.
            if error.is_data() { DecodeError::DuplicateKey } else { not_json(&error) }
        })
    }

    fn opcode(&self) -> Option<Opcode> {
        serde_json::from_str::<u64>(self.op?.get()).ok().map(Opcode::from)
    }

    fn data(&self) -> &'a str {
        self.d.map_or("null", RawValue::get)
    }

    fn sequence(&self) -> Result<Option<u16>, NotASequence> {
        let Some(raw) = self.seq else { return Ok(None) };
        let number: u64 = serde_json::from_str(raw.get()).map_err(|_| NotASequence)?;
        // One counter numbers text and binary messages, and binary ones hold its low 16 bits.
        Ok(Some((number & 0xFFFF) as u16))
    }
}

fn not_json(error: &serde_json::Error) -> DecodeError {
    DecodeError::NotJson { line: error.line(), column: error.column() }
}

/// Whether the first thing in a text, after the space that JSON allows, is an object.
pub(crate) fn starts_an_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

/// Checks the nesting before any recursive code sees the text.
pub(crate) fn check_depth(text: &str) -> Result<(), DecodeError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(DecodeError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Result<(u64, &str, Option<u16>), DecodeError> {
        Envelope::from_server(text).map(|it| (it.opcode.code(), it.data, it.sequence))
    }

    #[test]
    fn keys_come_in_any_order_with_any_others() {
        let text = "\n{ \"x\":[1,{}], \"seq\":3 ,\"d\": [ 1 ] ,\"\\u006fp\":99, \"y\":null }\t";
        assert_eq!(server(text), Ok((99, "[ 1 ]", Some(3))));
        assert_eq!(server(r#"{"op":9}"#), Ok((9, "null", None)));
        assert_eq!(server(r#"{"op":9,"d":null,"seq":null}"#), Ok((9, "null", None)));
    }

    #[test]
    fn sequence_zero_is_a_sequence_and_wider_ones_wrap() {
        for (text, expected) in [("0", 0), ("65535", 65535), ("65536", 0), ("65541", 5)] {
            let text = format!(r#"{{"op":99,"seq":{text}}}"#);
            assert_eq!(server(&text), Ok((99, "null", Some(expected))));
        }
    }

    #[test]
    fn malformed_envelopes_say_what_is_wrong() {
        let invalid = DecodeError::InvalidSequence { opcode: Opcode::Speaking };
        let missing = |sequence| DecodeError::MissingOpcode { sequence };
        let cases = [
            ("[1]", DecodeError::NotAnObject),
            ("  \"op\"", DecodeError::NotAnObject),
            (r#"{"op":5,"op":5}"#, DecodeError::DuplicateKey),
            (r#"{"seq":0,"d":1}"#, missing(Some(0))),
            (r#"{"op":"5","seq":7}"#, missing(Some(7))),
            (r#"{"op":-5,"seq":"7"}"#, missing(None)),
            (r#"{"op":5.0}"#, missing(None)),
            (r#"{"op":5,"seq":-1}"#, invalid.clone()),
            (r#"{"op":5,"seq":"1"}"#, invalid.clone()),
            (r#"{"op":5,"seq":1.5}"#, invalid),
        ];
        for (text, error) in cases {
            assert_eq!(server(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        for text in ["", "{", "hello", "{\"op\":5}x", "{\"op\":5,}", "{\"op\":01}", "\u{feff}{}"] {
            assert!(matches!(server(text), Err(DecodeError::NotJson { .. })), "{text:?}");
        }
        let error = server("{\n\"op\":}").unwrap_err();
        assert_eq!(error, DecodeError::NotJson { line: 2, column: 6 });
    }

    #[test]
    fn nesting_is_limited_outside_of_strings() {
        let nested = |depth: usize| format!(r#"{{"op":99,"d":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(server(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(server(&nested(MAX_DEPTH)), Err(DecodeError::TooDeep));
        assert_eq!(server(&"[".repeat(1 << 20)), Err(DecodeError::TooDeep));
        let text = format!(r#"{{"op":99,"d":"\"{}"}}"#, "[{".repeat(100));
        assert!(server(&text).is_ok());
        let wide = format!(r#"{{"op":99,"d":[{}[]]}}"#, "[],".repeat(1000));
        assert!(server(&wide).is_ok());
    }

    #[test]
    fn length_is_limited() {
        let of_len = |len: usize| {
            let text = r#"{"op":99}"#;
            format!("{text}{}", " ".repeat(len - text.len()))
        };
        assert!(server(&of_len(MAX_MESSAGE_LEN)).is_ok());
        let len = MAX_MESSAGE_LEN + 1;
        assert_eq!(server(&of_len(len)), Err(DecodeError::TooLarge { len }));
    }

    #[test]
    fn data_that_is_not_json_is_sent_as_null() {
        let send = |data: &str| {
            let message = UnknownMessage { opcode: Opcode::Unknown(99), data: data.to_owned() };
            encode(message.opcode, message.raw(), None)
        };
        assert_eq!(send(" {\"a\" : 1} "), r#"{"op":99,"d":{"a" : 1}}"#);
        assert_eq!(send(r#"1},"op":0,"d":{"#), r#"{"op":99,"d":null}"#);
    }
}
