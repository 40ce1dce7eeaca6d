#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod busy;
mod client;
mod clock;
mod main_gateway;
mod media;
mod memory;
mod netem;
mod seeds;
mod told;
mod trace;
mod watch;
mod wire;
mod world;

pub use builder::Builder;
pub use client::{Client, Heard, HeardContent, Said};
pub use clock::Clock;
pub use main_gateway::{MAX_BOTS, Telling};
pub use netem::{Conditions, Lane, LaneFull, MAX_DATAGRAMS, MAX_LANE_LEN, Netem, NetemStats, REORDER_HOLD};
pub use seeds::for_each_seed;
pub use world::{CHANNEL, GUILD, OTHER_CHANNEL, World};

pub use discord_voice as voice;
pub use voice_server as server;
