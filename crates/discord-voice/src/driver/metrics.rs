//! What media threads did, for those who watch over them.

use std::time::Duration;

use voice_udp::socket::SendBackend;

use super::EncodeStats;
use crate::Histogram;

/// What all media threads of a [`Driver`](crate::Driver) did, each at most a second ago while it does something.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The media threads.
    pub shards: Vec<ShardMetrics>,
    /// The threads that ask sources for frames ahead of time.
    pub encode: EncodeStats,
    /// Calls whose control task died; each ended with [`EndReason::Internal`](crate::EndReason::Internal).
    pub dead_controls: u64,
}

impl Metrics {
    /// How late the frames of all threads left.
    #[must_use]
    pub fn lateness(&self) -> Histogram {
        let mut all = Histogram::default();
        self.shards.iter().for_each(|shard| all.merge(&shard.lateness));
        all
    }
}

/// What one media thread did since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardMetrics {
    /// Calls that it serves.
    pub calls: usize,
    /// Those of them that send audio.
    pub playing: usize,
    /// Times a call had its turn, 50 a second for each that sends audio.
    pub ticks: u64,
    /// Turns that were skipped because the thread came more than 60 ms too late for them.
    pub skipped_ticks: u64,
    /// How late turns were: from the instant at which a call's slot was due to the moment at which its frame was sealed.
    pub lateness: Histogram,
    /// How long the thread's present turn has taken: from its last wake-up, zero while it waits. It is read from outside, and
    /// true also of a thread that hangs.
    pub turn: Duration,
    /// Turns that took more than a second, a present one included: every call of the thread was silent meanwhile.
    pub stalls: u64,
    /// The thread is no more, because something panicked in it: its calls have ended, and it is given no others.
    pub is_gone: bool,
    /// Times the thread woke up.
    pub wakeups: u64,
    /// Timers that wanted to be served again at once, and had to wait for a millisecond; more than 0 is a fault of this library.
    pub overdue_timers: u64,
    /// How late slots began, by what the thread did when they came due.
    pub slots: SlotLateness,
    /// Datagrams that it received.
    pub datagrams: u64,
    /// Commands that wait for it; 4096 at most.
    pub commands_waiting: usize,
    /// Processor time it took, where the system tells.
    pub cpu: Duration,
    /// Calls that were given to other threads because this one ran late.
    pub moved_away: u64,
    /// Calls that others gave to it.
    pub moved_here: u64,
    /// How its datagrams leave.
    pub send_backend: SendBackend,
}

/// How late slots began, by what the media thread did when they came due. A slot is a tenth of the 20 ms, and the calls in
/// it have their turns one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotLateness {
    /// It waited: the system woke it late, or let others run.
    pub waiting: Histogram,
    /// It sent: earlier slots took longer than their time.
    pub sending: Histogram,
    /// It did what it was told, by the control of a call for instance.
    pub commands: Histogram,
    /// It read from a socket.
    pub receiving: Histogram,
    /// It served a call's timer, a ping for instance.
    pub timers: Histogram,
    /// It told its own figures, or asked calls to move.
    pub telling: Histogram,
}

impl ShardMetrics {
    /// Processor time for each turn of a call, receiving included; `None` before the first.
    #[must_use]
    pub fn cpu_per_tick(&self) -> Option<Duration> {
        let nanos = self.cpu.as_nanos().checked_div(self.ticks.into())?;
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }
}
