//! The benches of discord-voice.
#![forbid(unsafe_code)]
