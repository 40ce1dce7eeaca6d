//! The known answers of the tests, those in `tests` included.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::fmt;

use serde_json::Value;

/// A JSON object of a file of known answers; bytes are in hexadecimal, `-` is none.
#[derive(Clone)]
pub(crate) struct Case(Value);

/// Reads `tests/vectors/<name>.json`.
pub(crate) fn load(name: &str) -> Case {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Case(serde_json::from_str(&text).expect("JSON"))
}

impl Case {
    pub(crate) fn list(&self, key: &str) -> Vec<Self> {
        let list: Vec<_> = self.0[key].as_array().expect("a list").iter().cloned().map(Self).collect();
        assert!(!list.is_empty(), "no cases under {key}");
        list
    }

    pub(crate) fn optional(&self, key: &str) -> Option<Self> {
        let value = &self.0[key];
        (!value.is_null()).then(|| Self(value.clone()))
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.0[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {self:?}"))
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.0[key].as_bool().expect("a flag")
    }

    pub(crate) fn text(&self, key: &str) -> String {
        self.0[key].as_str().unwrap_or_else(|| panic!("no text {key} in {self:?}")).to_owned()
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        hex(&self.text(key))
    }

    pub(crate) fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        self.bytes(key).try_into().expect("as many bytes")
    }

    pub(crate) fn hex_map(&self, key: &str) -> Vec<(String, Vec<u8>)> {
        let map = self.0[key].as_object().expect("a map");
        map.iter().map(|(key, value)| (key.clone(), hex(value.as_str().expect("hexadecimal")))).collect()
    }

    /// A list of bytes.
    pub(crate) fn byte_strings(&self, key: &str) -> Vec<Vec<u8>> {
        let list = self.0[key].as_array().expect("a list");
        list.iter().map(|value| hex(value.as_str().expect("hexadecimal"))).collect()
    }

    /// A number that is text, as users and channels are.
    pub(crate) fn id(&self, key: &str) -> u64 {
        self.text(key).parse().expect("a number")
    }

    /// Pairs of numbers.
    pub(crate) fn pairs(&self, key: &str) -> Vec<(usize, usize)> {
        let number = |value: &Value| value.as_u64().expect("a number") as usize;
        self.0[key].as_array().expect("a list").iter().map(|pair| (number(&pair[0]), number(&pair[1]))).collect()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn hex(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "hexadecimal has two digits a byte");
    let digits = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    digits.map(|byte| byte.expect("a hexadecimal digit")).collect()
}
