#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod discovery;
mod media;
mod pacer;
mod reorder;
#[cfg(feature = "socket")]
pub mod socket;

pub use {
    discovery::{DISCOVERY_LEN, Discovery, DiscoveryError},
    media::{
        Arrival, Content, E2eeStats, FrameMemory, Keepalive, MAX_FRAME_LEN, MediaConfig, MediaFault, MediaHealth,
        OpenError, PacketBuf, Playout, ReceiveStats, Receiver, SILENCE_FRAMES, SealError, SendStats, Sender,
        StreamPosition, Talkspurt, media, media_at,
    },
    pacer::{Due, Pacer, Phase},
};
