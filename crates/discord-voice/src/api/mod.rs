//! What users of calls hold in their hands.

mod client;
mod events;
mod play;

pub(crate) use client::{VOICE_GATEWAY_LIMIT, settled};
pub(crate) use events::{EventSender, events};

pub use client::{CallStats, Connect, ConnectError, Driver, DropStats, LeaveError, VoiceClient};
pub use events::Events;
pub use play::Playback;
