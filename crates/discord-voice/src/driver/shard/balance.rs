//! What a media thread shows of itself, and what it does when it runs late.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{PUBLISH_INTERVAL, Shard, handle::Load, thread};
use crate::driver::clock;

impl Shard {
    /// Publishes before a long sleep, so that figures are not old only because nothing happens.
    pub(super) fn before_sleep(&mut self, deadline: Option<Instant>) {
        let next = self.published_at + PUBLISH_INTERVAL;
        if self.published_work != self.work() && deadline.is_none_or(|at| at > next) {
            self.publish();
            self.balance(clock());
        }
    }

    pub(super) fn publish(&mut self) {
        self.published_work = self.work();
        self.metrics.skipped_ticks = self.pacer.skipped();
        self.metrics.cpu = thread::cpu_time();
        self.metrics.send_backend = self.outlet.sink.backend();
        self.load.publish(&self.metrics);
        self.export.update(&self.load.add_to(self.metrics));
    }

    /// Asks some calls to go to a thread with less to do, if this one ran late in the last second and that one did not.
    pub(super) fn balance(&mut self, now: Instant) {
        self.published_at = now;
        let skipped = self.pacer.skipped() - std::mem::replace(&mut self.skipped_before, self.pacer.skipped());
        let lateness = std::mem::take(&mut self.lateness);
        let is_late = skipped > 0 || lateness.quantile(0.99) > LATE;
        self.load.is_late.store(is_late, Ordering::Relaxed);
        if !is_late {
            return;
        }
        let on_time = |other: &(usize, &Arc<Load>)| {
            let Load { is_late, is_gone, .. } = &**other.1;
            other.0 != self.number && !is_late.load(Ordering::Relaxed) && !is_gone.load(Ordering::Relaxed)
        };
        let others = self.loads.iter().enumerate().filter(on_time);
        let playing = others.map(|(number, load)| (load.playing.load(Ordering::Relaxed), number));
        let Some((theirs, target)) = playing.min() else { return };
        let ours = self.pacer.len();
        // Even a thread with as many calls can have more time for them: its core may be less busy.
        let count = (ours.saturating_sub(theirs) / 2).max(ours.div_ceil(8)).min(MAX_MOVES);
        // Those that came last go first: what makes the thread late has most likely been here.
        let sending = self.calls.iter().rev().flatten().filter(|seat| seat.phase.is_some());
        sending.take(count).for_each(|seat| seat.call.ask_to_move(target));
    }

    const fn work(&self) -> u64 {
        self.metrics.ticks + self.metrics.datagrams
    }
}

/// A thread whose 99th percentile of lateness is above this gives calls away, if another one has time.
const LATE: Duration = Duration::from_millis(5);
/// Calls that leave a thread in a second.
const MAX_MOVES: usize = 64;
