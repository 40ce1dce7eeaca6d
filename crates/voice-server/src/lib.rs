#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod config;
mod connection;
mod control;
mod core;
mod credentials;
mod dave;
#[cfg(feature = "tokio")]
mod door;
#[cfg(feature = "tokio")]
mod driver;
mod event;
#[cfg(feature = "tokio")]
mod events;
mod faults;
mod gateway;
mod guild;
mod http;
mod impair;
#[cfg(feature = "tokio")]
mod listen;
#[cfg(feature = "tokio")]
mod measure;
#[cfg(feature = "tokio")]
mod measuring;
mod media;
mod random;
mod registry;
mod replay;
mod room;
mod route;
#[cfg(feature = "tokio")]
mod server;
mod session;
#[cfg(feature = "tokio")]
mod socket;
mod stats;
#[cfg(feature = "tokio")]
mod stream;
mod timers;
#[cfg(feature = "tokio")]
mod tls;
mod voice;
mod voice_state;

pub use crate::config::{
    Access, Bots, CoreConfig, DEFAULT_CHANNEL, DEFAULT_GUILD, EventOrder, GuildConfig, JoinAnswer, Limits,
    VersionRefusal,
};
pub use crate::connection::ConnectionId;
pub use crate::control::Command;
pub use crate::core::{Core, Input, Output, Sink};
pub use crate::credentials::Ticket;
pub use crate::dave::{DaveConfig, DaveFault, DaveLimits, DaveMode, DaveRefusal, DaveStats, ProposalFault, Tamper};
pub use crate::event::Event;
#[cfg(feature = "tokio")]
pub use crate::events::{EventResult, Events};
pub use crate::faults::{Direction, Fault, FaultKind, Impairment, REORDER_HOLD};
pub use crate::http::{Request, Response};
#[cfg(feature = "tokio")]
pub use crate::measure::{MeasureLimits, Measurement, Spread};
#[cfg(feature = "tokio")]
pub use crate::measuring::MeasureError;
pub use crate::route::{Route, RouteError};
#[cfg(feature = "tokio")]
pub use crate::server::{BindError, Server, ServerConfig};
pub use crate::stats::ServerStats;
pub use crate::voice_state::Restrictions;
