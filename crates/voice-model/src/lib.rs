#![cfg_attr(feature = "serde", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "serde"), doc = "Ids, opcodes and close codes of Discord's voice gateway.")]
#![forbid(unsafe_code)]
#![cfg_attr(not(any(feature = "serde", test)), no_std)]

mod close;
mod id;
mod opcode;

pub use close::{CloseAction, CloseCode, ClosePolicy, Limit};
pub use id::{ChannelId, GuildId, ParseIdError, UserId};
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
mod heartbeat;
#[cfg(feature = "serde")]
mod main_gateway;
#[cfg(feature = "serde")]
mod secret;
#[cfg(feature = "serde")]
mod server;
#[cfg(feature = "serde")]
mod speaking;

#[cfg(feature = "serde")]
pub use binary::BinaryMessage;
#[cfg(feature = "serde")]
pub use client::{ClientMessage, ClientSpeaking, Identify, Resume, SelectProtocol, SelectProtocolData};
#[cfg(feature = "serde")]
pub use codec::{MAX_DEPTH, MAX_MESSAGE_LEN, MAX_SENT_LEN, UnknownMessage};
#[cfg(feature = "serde")]
pub use error::DecodeError;
#[cfg(feature = "serde")]
pub use heartbeat::{Heartbeat, HeartbeatAck, HeartbeatForm};
#[cfg(feature = "serde")]
pub use main_gateway::{UpdateVoiceState, VoiceServerUpdate, VoiceState};
#[cfg(feature = "serde")]
pub use secret::{SecretKey, SessionId, Token};
#[cfg(feature = "serde")]
pub use server::{
    ClientDisconnect, ClientsConnect, Hello, MAX_MODES, MAX_USER_IDS, Numbered, Ready, ServerMessage, ServerSpeaking,
    SessionDescription,
};
#[cfg(feature = "serde")]
pub use speaking::SpeakingFlags;
