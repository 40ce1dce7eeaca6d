//! Calls with members that run davey, the DAVE library of the Discord libraries for Rust: the delivery service is that
//! of the loopback server, the members are of either kind, and either kind commits and is added.
//!
//! In `changes`, `groups` and `media` frames are handed from member to member and time is virtual. In `sockets` everything is real: a
//! client of other people's crates alone (`foreign`) and ours on the server's sockets, and on a server of such crates.
#![allow(unreachable_pub, reason = "a test has no interface")]

mod call;
mod changes;
mod foreign;
mod groups;
mod media;
mod member;
mod sockets;
