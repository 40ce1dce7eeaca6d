//! What drives calls: one task per call for control, a few threads for media.

mod control;
mod export;
mod latest;
mod media_call;
mod metrics;
mod playing;
mod pool;
mod ring;
mod shard;
mod shared;

use std::time::{Duration, Instant, SystemTime};

pub(crate) use control::{
    CallParts, ControlCommand, ControlState, GatewaySignal, Listeners, MainGatewayCall, OnEnd, Origin, start,
};
pub(crate) use playing::{PlaybackShared, Playing};
pub(crate) use pool::Pool;
pub(crate) use ring::ring;
pub(crate) use shard::Shards;
pub(crate) use shared::CallShared;

pub use metrics::{Metrics, ShardMetrics, SlotLateness};
pub use playing::{PlaybackEnd, PlaybackStatus};
pub use pool::EncodeStats;
pub use ring::{Receive, Received};
pub use shared::MediaStats;

#[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// The time of day, which other processes know too.
#[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
fn wall() -> SystemTime {
    SystemTime::now()
}

/// The first instant from `at` on that is a whole number of steps after the epoch: where calls wait for each other, so that
/// one wake-up serves many, and in the middle of a pacer's slot, when most of its calls have had their turn. Never earlier than `at`, not by a nanosecond: a timer there would be due before what it is for.
fn on_grid(epoch: Instant, at: Instant, step: Duration) -> Instant {
    let epoch = epoch + HALF_A_SLOT;
    let steps = at.saturating_duration_since(epoch).as_nanos().div_ceil(step.as_nanos().max(1));
    let after =
        u64::try_from(steps * step.as_nanos()).ok().and_then(|nanos| epoch.checked_add(Duration::from_nanos(nanos)));
    after.map_or(at, |on_grid| on_grid.max(at))
}

/// The pacer has a slot every 2 ms.
const HALF_A_SLOT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_grid_is_never_before_what_waits_for_it(
            epoch in 0u64..2_000_000_000, at in 0u64..100_000_000_000_000, step in 1u64..1_000_000_000,
        ) {
            let start = clock();
            let (epoch, at) = (start + Duration::from_nanos(epoch), start + Duration::from_nanos(at));
            let step = Duration::from_nanos(step);
            let on_grid = on_grid(epoch, at, step);
            prop_assert!(on_grid >= at);
            let epoch = epoch + HALF_A_SLOT;
            prop_assert!(on_grid < at.max(epoch) + step);
            prop_assert_eq!(on_grid.saturating_duration_since(epoch).as_nanos() % step.as_nanos(), 0);
        }
    }
}
