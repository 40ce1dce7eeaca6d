//! The examples of discord-voice.
#![forbid(unsafe_code)]
