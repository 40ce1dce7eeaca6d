//! Sessions of several members against a voice gateway.
#![cfg(feature = "group")]

mod call;
mod commits;
mod defects;
mod groups;
mod proposals;
mod replays;
mod resume;
mod transitions;
mod welcomes;
