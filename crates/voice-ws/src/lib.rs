#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backoff;
#[cfg(feature = "tokio")]
mod client;
mod config;
#[cfg(feature = "tokio")]
mod connector;
mod endpoint;
mod event;
mod heartbeat;
mod policy;
mod session;
mod speaking;
#[cfg(feature = "tokio")]
mod transport;

#[cfg(feature = "tokio")]
pub use client::Client;
#[cfg(feature = "tokio")]
pub use connector::{CertificateError, Connector, TransportError};
#[cfg(feature = "tokio")]
pub use transport::{Transport, TransportEvent};
pub use {
    backoff::Backoff,
    config::{Identity, SessionConfig},
    endpoint::{Endpoint, EndpointError, GATEWAY_VERSION},
    event::{Advice, Cause, Ended, Input, Output, ProtocolViolation, SessionEvent, Waiting},
    session::{Detached, SendError, Session, SessionStats},
};
