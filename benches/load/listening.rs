//! Who listens, and how much was heard.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use discord_voice::{Received, VoiceClient};
use serde::Serialize;

/// What all calls together have heard.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    frames: AtomicU64,
    lost: AtomicU64,
    lagged: AtomicU64,
}

/// The same at one moment, or within some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Heard {
    /// Frames that were read.
    pub(crate) frames: u64,
    /// Packets that never came.
    pub(crate) lost: u64,
    /// Frames that came and were not read in time.
    pub(crate) lagged: u64,
}

impl Ears {
    /// Listens to everybody in a call until it is over.
    pub(crate) fn listen(self: &Arc<Self>, client: &VoiceClient, speakers: u32) {
        let capacity = NonZeroUsize::MIN.saturating_add(speakers as usize * QUEUED_PER_SPEAKER);
        let mut receive = client.receive(capacity);
        let ears = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(received) = receive.next().await {
                let (counter, number) = match received {
                    Received::Frame { .. } => (&ears.frames, 1),
                    Received::Lost { packets, .. } => (&ears.lost, packets),
                    Received::Lagged { missed } => (&ears.lagged, missed),
                };
                counter.fetch_add(number, Ordering::Relaxed);
            }
        });
    }

    /// What was heard so far.
    pub(crate) fn heard(&self) -> Heard {
        let [frames, lost, lagged] =
            [&self.frames, &self.lost, &self.lagged].map(|counter| counter.load(Ordering::Relaxed));
        Heard { frames, lost, lagged }
    }
}

impl Heard {
    /// What was heard since an earlier moment.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self { frames: self.frames - before.frames, lost: self.lost - before.lost, lagged: self.lagged - before.lagged }
    }
}

/// Frames of each speaker that wait to be read: a fifth of a second.
const QUEUED_PER_SPEAKER: usize = 10;
