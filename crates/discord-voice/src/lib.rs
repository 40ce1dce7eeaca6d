#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod call;
mod config;
mod event;
mod gateway;
mod handover;
mod histogram;
mod join;
mod signalling;

#[cfg(feature = "tokio")]
mod api;
#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod manager;

#[cfg(feature = "tokio")]
pub use {
    api::{CallStats, Connect, ConnectError, Driver, DropStats, Events, LeaveError, Playback, VoiceClient},
    driver::{
        EncodeStats, MediaStats, Metrics, PlaybackEnd, PlaybackStatus, Receive, Received, ShardMetrics, SlotLateness,
    },
    manager::{Join, JoinError, VoiceManager, VoiceManagerBuilder},
    voice_ws::{CertificateError, Connector, TransportError},
};

pub use voice_audio as audio;
pub use voice_crypto as crypto;
pub use voice_dave as dave;
pub use voice_model as model;
pub use voice_rtp as rtp;
pub use voice_udp as udp;
pub use voice_ws as ws;

pub use voice_audio::{FrameBuf, FrameSource, Lead, NextFrame};
#[cfg(feature = "tokio")]
pub use voice_udp::socket::SendBackend;
pub use voice_udp::{DiscoveryError, MediaFault};
pub use voice_ws::{Advice, Cause, Endpoint, EndpointError, Identity as ConnectInfo};

pub use {
    call::{
        CallCommand, CallCounters, CallInput, CallOutput, CallSession, ConnectionState, JoinTimes, MediaCommand,
        UdpAction, WsAction,
    },
    config::{Config, E2ee},
    event::{EndReason, Event, Missing, Restrictions},
    gateway::{GatewayEvent, Shard, VoiceGateway},
    handover::{Handover, HandoverError},
    histogram::Histogram,
    join::{JoinCollector, JoinInfo},
};
