#![cfg_attr(feature = "serde", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "serde"), doc = "Ids, opcodes and close codes of Discord's voice gateway.")]
#![forbid(unsafe_code)]
#![cfg_attr(not(any(feature = "serde", test)), no_std)]

mod close;
mod id;
mod opcode;

pub use close::{CloseAction, CloseCode, ClosePolicy, Limit};
pub use id::{ChannelId, GuildId, ParseIdError, Snowflake, UserId};
pub use opcode::Opcode;

#[cfg(feature = "serde")]
mod binary;
#[cfg(feature = "serde")]
mod client;
#[cfg(feature = "serde")]
mod codec;
#[cfg(feature = "serde")]
mod error;
#[cfg(feature = "serde")]
mod field;
#[cfg(feature = "serde")]
mod heartbeat;
#[cfg(feature = "serde")]
mod json;
#[cfg(feature = "serde")]
mod main_gateway;
#[cfg(feature = "serde")]
mod mls;
#[cfg(feature = "serde")]
mod payload;
#[cfg(feature = "serde")]
mod secret;
#[cfg(feature = "serde")]
mod server;
#[cfg(feature = "serde")]
mod speaking;

#[cfg(feature = "serde")]
pub use binary::{BinaryMessage, NUMBERED_SINCE};
#[cfg(feature = "serde")]
pub use client::ClientMessage;
#[cfg(feature = "serde")]
pub use codec::{MAX_DEPTH, MAX_MESSAGE_LEN, MAX_SENT_LEN, UnknownMessage};
#[cfg(feature = "serde")]
pub use error::DecodeError;
#[cfg(feature = "serde")]
pub use field::MAX_EXPERIMENTS;
#[cfg(feature = "serde")]
pub use heartbeat::{Heartbeat, HeartbeatAck, HeartbeatForm};
#[cfg(feature = "serde")]
pub use json::Json;
#[cfg(feature = "serde")]
pub use main_gateway::{
    AnimationKind, ChannelInfo, ChannelInfoEntry, ChannelInfoField, MAX_CHANNELS, MAX_COMMAND_LEN, MainGatewayCommand,
    MainGatewayError, MainGatewayEvent, RequestChannelInfo, UpdateVoiceState, VoiceChannelEffect,
    VoiceChannelStartTime, VoiceChannelStatus, VoiceServerUpdate, VoiceState,
};
#[cfg(feature = "serde")]
pub use mls::{ClientBinary, ProposalsOperation, ServerBinary};
#[cfg(feature = "serde")]
pub use payload::dave::{
    DaveExecuteTransition, DavePrepareEpoch, DavePrepareTransition, DaveTransitionReady, MlsInvalidCommitWelcome,
};
#[cfg(feature = "serde")]
pub use payload::media::{ClientSessionUpdate, Codec, CodecKind, MAX_CODECS, ServerSessionUpdate, VoiceBackendVersion};
#[cfg(feature = "serde")]
pub use payload::members::{ClientDisconnect, ClientFlags, ClientPlatform, ClientsConnect, MAX_USER_IDS, Platform};
#[cfg(feature = "serde")]
pub use payload::session::{Hello, Identify, MAX_MODES, Ready, Resume};
#[cfg(feature = "serde")]
pub use payload::speaking::{ClientSpeaking, ServerSpeaking};
#[cfg(feature = "serde")]
pub use payload::transport::{SelectProtocol, SelectProtocolData, SessionDescription, WebRtcDescription};
#[cfg(feature = "serde")]
pub use payload::video::{ClientVideo, MAX_STREAMS, Resolution, ResolutionKind, ServerVideo, Stream, StreamKind};
#[cfg(feature = "serde")]
pub use payload::wants::{MAX_WANTS, MediaSinkWants};
#[cfg(feature = "serde")]
pub use secret::{Sdp, SecretKey, SessionId, Token};
#[cfg(feature = "serde")]
pub use server::{Numbered, ServerMessage};
#[cfg(feature = "serde")]
pub use speaking::SpeakingFlags;
