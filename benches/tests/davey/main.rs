//! Calls with members that run davey, the DAVE library of the Discord libraries for Rust: the delivery service is that
//! of the loopback server, the members are of either kind, and either kind commits and is added.
//!
//! Frames are handed from member to member; packets are not a matter of DAVE.
#![allow(unreachable_pub, reason = "a test has no interface")]

mod call;
mod groups;
mod media;
mod member;
