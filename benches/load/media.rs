//! What the library says of its media threads: how late packets were sent, and what the threads did for it.

use std::{collections::BTreeMap, time::Duration};

use discord_voice::{Histogram, Metrics, SlotLateness};
use serde::Serialize;

use crate::measuring::rounded;

/// How late packets were sent, in microseconds: a fifth too high at most, never too low.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Lateness {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Lateness {
    /// Of what was counted since an earlier moment; `None` if that is nothing.
    pub(crate) fn between(before: &Histogram, after: &Histogram) -> Option<Self> {
        let counts = before.buckets().map(|(_, count)| count);
        let news: Vec<(Duration, u64)> = after
            .buckets()
            .zip(counts)
            .map(|((bound, count), before)| (bound.min(after.max()), count.saturating_sub(before)))
            .collect();
        let count: u64 = news.iter().map(|(_, count)| count).sum();
        let at = |permille: u64| {
            let mut left = (count * permille).div_ceil(1_000).max(1);
            let bound = news.iter().find(|(_, count)| {
                let found = *count >= left;
                left = left.saturating_sub(*count);
                found
            });
            bound.map(|(bound, _)| u64::try_from(bound.as_micros()).unwrap_or(u64::MAX))
        };
        Some(Self { count, p50: at(500)?, p90: at(900)?, p99: at(990)?, p99_9: at(999)?, max: at(1_000)? })
    }
}

/// What media threads did between two moments, each told at most a second late.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct MediaThreads {
    /// Times a call had its turn to send.
    ticks: u64,
    /// Turns that came too late.
    skipped_ticks: u64,
    wakeups: u64,
    /// Datagrams that came.
    datagrams: u64,
    cpu_s: f64,
    /// Times a call was given to another thread.
    moved: u64,
    /// How late slots began, by what the thread did when they came due; each may have several calls.
    slots: BTreeMap<&'static str, Lateness>,
    /// How packets are sent.
    send_backend: String,
}

impl MediaThreads {
    /// Adds up all threads.
    pub(crate) fn between(before: &Metrics, after: &Metrics) -> Self {
        let mut all = Self {
            ticks: 0,
            skipped_ticks: 0,
            wakeups: 0,
            datagrams: 0,
            cpu_s: 0.0,
            moved: 0,
            slots: BTreeMap::new(),
            send_backend: after.shards.first().map(|shard| shard.send_backend.to_string()).unwrap_or_default(),
        };
        for (before, after) in before.shards.iter().zip(&after.shards) {
            all.ticks += after.ticks - before.ticks;
            all.skipped_ticks += after.skipped_ticks - before.skipped_ticks;
            all.wakeups += after.wakeups - before.wakeups;
            all.datagrams += after.datagrams - before.datagrams;
            all.cpu_s += after.cpu.saturating_sub(before.cpu).as_secs_f64();
            all.moved += after.moved_away - before.moved_away;
        }
        all.cpu_s = rounded(all.cpu_s, 6);
        all.slots = SLOTS.iter().filter_map(|(name, of)| Some((*name, Self::late(before, after, of)?))).collect();
        all
    }

    fn late(before: &Metrics, after: &Metrics, of: &Cause) -> Option<Lateness> {
        let sum = |metrics: &Metrics| {
            let mut all = Histogram::default();
            metrics.shards.iter().for_each(|shard| all.merge(of(&shard.slots)));
            all
        };
        Lateness::between(&sum(before), &sum(after))
    }
}

type Cause = fn(&SlotLateness) -> &Histogram;
const SLOTS: [(&str, Cause); 6] = [
    ("waiting", |slots| &slots.waiting),
    ("sending", |slots| &slots.sending),
    ("commands", |slots| &slots.commands),
    ("receiving", |slots| &slots.receiving),
    ("timers", |slots| &slots.timers),
    ("telling", |slots| &slots.telling),
];

/// What the threads did that encode ahead of time.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct EncodeThreads {
    /// How many there are at the end, and how many of those are in place of blocked ones.
    threads: usize,
    spare_threads: usize,
    frames: u64,
    /// Times a frame took more than 10 ms while others waited, and times nothing could be done about it.
    blocked: u64,
    spares_refused: u64,
    /// Since the beginning.
    sources_refused: u64,
    longest_us: u64,
}

impl EncodeThreads {
    /// What they did between two moments.
    pub(crate) fn between(before: &Metrics, after: &Metrics) -> Self {
        let (before, after) = (&before.encode, &after.encode);
        Self {
            threads: after.threads,
            spare_threads: after.spare_threads,
            frames: after.frames - before.frames,
            blocked: after.blocked - before.blocked,
            spares_refused: after.spares_refused - before.spares_refused,
            sources_refused: after.sources_refused,
            longest_us: u64::try_from(after.longest.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let mut before = Histogram::default();
        (0..1_000).for_each(|_| before.record(Duration::from_millis(500)));
        let mut after = before;
        (0..98).for_each(|_| after.record(Duration::from_micros(2)));
        (0..2).for_each(|_| after.record(Duration::from_micros(1_000)));
        let lateness = Lateness::between(&before, &after).expect("there is something new");
        assert_eq!((lateness.count, lateness.p50, lateness.p90), (100, 2, 2));
        for high in [lateness.p99, lateness.p99_9, lateness.max] {
            assert!((1_000..=1_250).contains(&high), "{lateness:?}");
        }
        assert_eq!(Lateness::between(&after, &after), None);
    }
}
