//! Reads the known answers in this folder.
#![allow(dead_code, reason = "each test program uses some of it")]

use serde_json::Value;

/// Known answers for every transport mode, each made by two independent implementations that
/// agreed: OpenSSL and PyCryptodome for AES-GCM, libsodium and PyCryptodome for XChaCha20-Poly1305,
/// libsodium and a composition of PyCryptodome's Salsa20 with OpenSSL's Poly1305 for secretbox.
pub(crate) fn transport() -> Value {
    serde_json::from_str(include_str!("transport.json")).expect("the vectors are JSON")
}

/// The list `name` of an object.
pub(crate) fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().expect("a list")
}

/// The text field `name` of an object.
pub(crate) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().expect("a text")
}

/// The number field `name` of an object.
pub(crate) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().expect("a number")
}

/// The hexadecimal field `name` of an object.
pub(crate) fn bytes(value: &Value, name: &str) -> Vec<u8> {
    hex(text(value, name))
}

/// The bytes of a hexadecimal text.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        })
        .collect()
}
