#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod client;
mod clock;
mod media;
mod netem;
mod trace;
mod watch;
mod wire;
mod world;

pub use builder::Builder;
pub use client::{Client, Heard, HeardContent, Said};
pub use clock::Clock;
pub use netem::{Conditions, Lane, LaneFull, MAX_DATAGRAMS, MAX_LANE_LEN, Netem, NetemStats, REORDER_HOLD};
pub use world::{CHANNEL, GUILD, World};

pub use discord_voice as voice;
pub use voice_server as server;
