//! What a media thread tells a call's control and its users: figures and three facts, never audio.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use crossbeam_queue::ArrayQueue;

use tokio::sync::Notify;
use voice_udp::{FrameMemory, MediaFault, ReceiveStats, SendStats};

use super::latest::Latest;
use crate::Histogram;

/// The counters of a call's media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MediaStats {
    /// What was sent over the current connection.
    pub sent: SendStats,
    /// What was received over the current connection.
    pub received: ReceiveStats,
    /// The last measured time to the media server and back.
    pub round_trip: Option<Duration>,
    /// Datagrams dropped because the system's send buffer was full.
    pub blocked: u64,
    /// Pings sent to the media server.
    pub pings: u64,
    /// Pings that it answered. It need not; none where there were some before means that UDP does not get through.
    pub pongs: u64,
    /// Datagrams that the system did not let leave, for whatever reason; those that were `blocked` are among them.
    pub unsent: u64,
    /// Errors of the socket, such as a port that is refused.
    pub socket_errors: u64,
    /// Those of them that say that the media server cannot be reached.
    pub unreachable: u64,
    /// Datagrams longer than any packet, dropped unread.
    pub oversized: u64,
    /// Datagrams of media that arrived while nobody listened, and were not even opened.
    pub unheard: u64,
    /// Turns, 50 a second, in which nothing was sent although there was audio, because the media thread came more than
    /// 60 ms too late for them. The stream's time passed all the same.
    pub skipped: u64,
    /// How late the turns were, for the whole call.
    pub lateness: Histogram,
}

/// What is wrong with the way to a media server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkFault {
    /// The network.
    Media(MediaFault),
    /// The local socket, in the system's words.
    Socket(String),
}

/// What a full queue of a call had no place for.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) commands: AtomicU64,
    pub(crate) listeners: AtomicU64,
    pub(crate) gateway_events: AtomicU64,
    pub(crate) events: AtomicU64,
}

/// Shared by one call's media, its control and its handles. What the media thread does here never waits for another thread
/// of this process to let go of something.
#[derive(Debug)]
pub(crate) struct CallShared {
    stats: Latest<MediaStats>,
    silent_generation: AtomicU64,
    /// What is wrong with media, and with the link of which number.
    faults: ArrayQueue<(u64, LinkFault)>,
    /// Memory on its way to the media thread, which wants it, and on its way back.
    memory: ArrayQueue<FrameMemory>,
    spare_memory: ArrayQueue<FrameMemory>,
    wants_memory: AtomicBool,
    /// The media thread has given the call up.
    is_abandoned: AtomicBool,
    /// One more than the number of the media thread that the call is to move to; 0 for none.
    move_to: AtomicUsize,
    pub(crate) dropped: Dropped,
    /// Wakes control.
    pub(crate) notify: Notify,
}

impl Default for CallShared {
    fn default() -> Self {
        Self {
            stats: Latest::default(),
            silent_generation: AtomicU64::default(),
            faults: ArrayQueue::new(MAX_FAULTS),
            memory: ArrayQueue::new(1),
            spare_memory: ArrayQueue::new(1),
            wants_memory: AtomicBool::default(),
            is_abandoned: AtomicBool::default(),
            move_to: AtomicUsize::default(),
            dropped: Dropped::default(),
            notify: Notify::default(),
        }
    }
}

impl CallShared {
    /// Called by the media thread, about once a second.
    pub(super) fn publish(&self, news: MediaStats) {
        self.stats.set(news);
    }

    pub(crate) fn stats(&self) -> MediaStats {
        self.stats.get()
    }

    /// The media thread has nothing more to send.
    pub(super) fn fell_silent(&self, generation: u64) {
        self.silent_generation.store(generation, Ordering::Release);
        self.notify.notify_one();
    }

    /// Media does not get through any more over the link with this number.
    pub(super) fn media_failed(&self, link: u64, fault: LinkFault) {
        // Each link tells of one at most, and only the newest link's counts.
        self.faults.force_push((link, fault));
        self.notify.notify_one();
    }

    /// What is newly wrong with media, and with the link of which number.
    pub(crate) fn take_fault(&self) -> Option<(u64, LinkFault)> {
        std::iter::from_fn(|| self.faults.pop()).take(MAX_FAULTS).last()
    }

    /// Memory for frames that wait, if it has come; otherwise control is asked for it, once.
    pub(super) fn take_memory(&self) -> Option<FrameMemory> {
        let memory = self.memory.pop();
        if memory.is_none() && !self.wants_memory.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
        memory
    }

    /// Has control drop memory that is not needed any more.
    pub(super) fn give_back(&self, memory: FrameMemory) {
        // There is at most one in ten seconds.
        let _ = self.spare_memory.force_push(memory);
        self.notify.notify_one();
    }

    /// Brings and takes away what the media thread wants, on a thread that has time for it.
    pub(crate) fn mind_memory(&self) {
        drop(self.spare_memory.pop());
        if self.wants_memory.load(Ordering::Acquire) {
            let _ = self.memory.push(FrameMemory::new());
            self.wants_memory.store(false, Ordering::Release);
        }
    }

    /// Another media thread has more time for the call.
    pub(super) fn ask_to_move(&self, target: usize) {
        self.move_to.store(target + 1, Ordering::Release);
        self.notify.notify_one();
    }

    /// The media thread that the call is to move to, told once.
    pub(crate) fn take_move(&self) -> Option<usize> {
        self.move_to.swap(0, Ordering::AcqRel).checked_sub(1)
    }

    /// There is no media thread any more that would serve the call.
    pub(super) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire)
    }

    /// The last request for audio after which everything fell silent.
    pub(crate) fn silent_generation(&self) -> u64 {
        self.silent_generation.load(Ordering::Acquire)
    }
}

/// Faults that control was told of and has not looked at; older ones are of links that are gone.
const MAX_FAULTS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_brought_when_it_is_asked_for_and_taken_away_when_it_comes_back() {
        let shared = CallShared::default();
        shared.mind_memory();
        assert!(shared.memory.is_empty(), "nobody wants any");
        assert!(shared.take_memory().is_none() && shared.take_memory().is_none());
        shared.mind_memory();
        shared.mind_memory();
        let memory = shared.take_memory().expect("control was there");
        assert!(shared.take_memory().is_none(), "one at a time");
        shared.give_back(memory);
        shared.mind_memory();
        assert!(shared.spare_memory.is_empty() && shared.take_memory().is_some());
    }

    #[test]
    fn the_newest_fault_is_the_one_that_control_hears_of() {
        let shared = CallShared::default();
        for link in 1..=5 {
            shared.media_failed(link, LinkFault::Media(MediaFault::NotSent));
        }
        assert_eq!(shared.take_fault(), Some((5, LinkFault::Media(MediaFault::NotSent))));
        assert_eq!(shared.take_fault(), None);
    }
}
