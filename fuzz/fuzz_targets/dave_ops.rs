//! Calls of two real members and the real server, as lists of operations.
//!
//! The operations and what has to hold are those of the tests of `voice-server`, where a list that was found is
//! replayed without this.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/voice-server/tests/common/mod.rs"]
mod common;

fuzz_target!(|input: &[u8]| common::ops::run(input));
