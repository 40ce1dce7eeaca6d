//! What is made of other people's crates alone: no type of ours is in here.

pub mod client;
pub mod media;
pub mod server;
pub mod session;
