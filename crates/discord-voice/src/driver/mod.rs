//! What drives calls: one task per call for control, a few threads for media.

mod control;
mod export;
mod media_call;
mod metrics;
mod playing;
mod pool;
mod ring;
mod shard;
mod shared;

use std::time::Instant;

pub(crate) use control::{
    CallParts, ControlCommand, ControlState, GatewaySignal, Listeners, MainGatewayCall, OnEnd, Origin, start,
};
pub(crate) use playing::{PlaybackShared, Playing};
pub(crate) use pool::Pool;
pub(crate) use ring::ring;
pub(crate) use shard::Shards;
pub(crate) use shared::CallShared;

pub use metrics::{Metrics, ShardMetrics};
pub use playing::{PlaybackEnd, PlaybackStatus};
pub use pool::EncodeStats;
pub use ring::{Receive, Received};
pub use shared::MediaStats;

#[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}
