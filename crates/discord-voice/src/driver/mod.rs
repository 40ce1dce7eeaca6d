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

use std::time::{Duration, Instant};

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

/// The first instant from `at` on that is a whole number of steps after the epoch: where calls wait for each other, so that
/// one wake-up serves many.
fn on_grid(epoch: Instant, at: Instant, step: Duration) -> Instant {
    let since = at.saturating_duration_since(epoch).as_micros();
    epoch + step * u32::try_from(since.div_ceil(step.as_micros())).unwrap_or(u32::MAX)
}
