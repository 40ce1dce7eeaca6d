//! A media thread: owns its calls outright and serves them from one loop.

mod balance;
mod commands;
mod handle;
mod slots;
mod thread;
mod timers;

use std::{
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering, mpsc::Receiver as CommandReceiver},
    time::{Duration, Instant},
};

use voice_udp::{
    Pacer, Phase,
    socket::{Inbox, Poller, SendBackend, Socket, Sockets, sink},
};

use self::{handle::Load, slots::Doing, timers::Timers};
use super::{clock, export::ShardExport, media_call::MediaCall};
use crate::{Histogram, ShardMetrics, driver::media_call::Outlet};

use handle::{MAX_COMMANDS, ShardHandle};
pub(crate) use handle::{Route, ShardCommand, Shards};

struct Shard {
    number: usize,
    /// From which all threads count rounds.
    epoch: Instant,
    poller: Poller,
    commands: CommandReceiver<Option<(usize, ShardCommand)>>,
    /// Where the call with a key of control's is.
    places: HashMap<usize, Place>,
    /// The calls, each under the small number by which poller, pacer, timers and sink know it.
    calls: Vec<Option<Seat>>,
    free: Vec<usize>,
    pacer: Pacer,
    timers: Timers,
    outlet: Outlet,
    inbox: Inbox,
    /// Calls of the slot that is being served.
    due: Vec<usize>,
    /// Calls whose timers are being served.
    timed: Vec<usize>,
    /// Calls that have datagrams, each once.
    unread: VecDeque<usize>,
    load: Arc<Load>,
    /// What all threads show of themselves, this one included.
    loads: Vec<Arc<Load>>,
    metrics: ShardMetrics,
    export: ShardExport,
    /// The figures of the last second, by which it is judged.
    lateness: Histogram,
    skipped_before: u64,
    published_at: Instant,
    /// How much had been done by then.
    published_work: u64,
    /// When something had arrived.
    received_at: Instant,
    /// When the last slot was done with.
    sent_until: Instant,
    /// Datagrams come so often that it is worth to wait for more.
    gather_until: Option<Instant>,
}

/// Where a call is.
enum Place {
    Here(usize),
    /// Another thread has it.
    Moved(ShardHandle),
}

/// A call of this thread.
struct Seat {
    call: Box<MediaCall>,
    /// It is among those that have datagrams and were not read from.
    is_unread: bool,
    /// Where in the 20 ms it has its turn, while it has something to send.
    phase: Option<Phase>,
}

impl Drop for Shard {
    /// Whatever ends the thread, no call is given to it any more.
    fn drop(&mut self) {
        self.load.is_gone.store(true, Ordering::Relaxed);
    }
}

/// The sockets of a thread's calls.
struct Seats<'a>(&'a mut [Option<Seat>]);

impl Sockets for Seats<'_> {
    fn socket(&mut self, key: usize) -> Option<&mut Socket> {
        self.0.get_mut(key)?.as_mut()?.call.socket()
    }
}

impl Shard {
    fn new(
        (number, epoch): (usize, Instant),
        poller: Poller,
        commands: CommandReceiver<Option<(usize, ShardCommand)>>,
        (load, loads): (Arc<Load>, Vec<Arc<Load>>),
        backend: SendBackend,
        export: ShardExport,
    ) -> Self {
        let outlet = Outlet::new(sink(backend));
        let metrics = ShardMetrics { send_backend: outlet.sink.backend(), ..ShardMetrics::default() };
        let now = clock();
        load.publish(&metrics);
        Self {
            number,
            epoch,
            poller,
            commands,
            places: HashMap::new(),
            calls: Vec::new(),
            free: Vec::new(),
            pacer: Pacer::new(epoch),
            timers: Timers::default(),
            outlet,
            inbox: Inbox::new(),
            due: Vec::new(),
            timed: Vec::new(),
            unread: VecDeque::new(),
            load,
            loads,
            metrics,
            export,
            lateness: Histogram::default(),
            skipped_before: 0,
            published_at: now,
            published_work: 0,
            received_at: now,
            sent_until: now,
            gather_until: None,
        }
    }

    fn run(mut self) {
        let mut readable = Vec::new();
        loop {
            let timer = self.timers.next();
            let deadline = self.pacer.next_due().into_iter().chain(timer).min();
            let deadline = if self.unread.is_empty() { deadline } else { Some(clock()) };
            self.before_sleep(deadline);
            self.load.end_turn(self.epoch, clock());
            if self.gather(deadline) {
                self.send_due(Doing::Waiting);
            }
            if let Err(error) = self.poller.wait(deadline, &mut readable) {
                tracing::error!(%error, "a media thread cannot wait for its sockets");
                return;
            }
            self.load.begin_turn(self.epoch, clock());
            self.metrics.wakeups += 1;
            self.send_due(Doing::Waiting);
            if self.take_commands().is_break() {
                return;
            }
            self.receive(&mut readable);
            let now = self.serve_timers();
            if now.saturating_duration_since(self.published_at) >= PUBLISH_INTERVAL {
                self.publish();
                self.balance(now);
                self.send_due(Doing::Telling);
            }
        }
    }

    /// Does what it was told: as much as there is time for before the next calls are due, and a little in any case.
    fn take_commands(&mut self) -> ControlFlow<()> {
        let mut has_sent = false;
        // What is told meanwhile is for the next turn.
        for count in 1..=MAX_COMMANDS {
            let Ok(command) = self.commands.try_recv() else { break };
            self.load.received_command();
            let Some((key, command)) = command else { return ControlFlow::Break(()) };
            self.handle_command(key, command);
            has_sent |= self.send_due(Doing::Commands).1;
            if has_sent && count >= COMMANDS_IN_ANY_CASE {
                // They are woken for already, so the next wait must be short.
                let _ = self.poller.waker().wake();
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads what arrived, of those first that wait for the longest: of as many calls as there is time for before the next
    /// are due to send, and of a few in any case.
    fn receive(&mut self, readable: &mut Vec<usize>) {
        for number in readable.drain(..) {
            if let Some(Some(seat)) = self.calls.get_mut(number)
                && !std::mem::replace(&mut seat.is_unread, true)
            {
                self.unread.push_back(number);
            }
        }
        if self.unread.is_empty() {
            return;
        }
        let mut now = clock();
        let before = std::mem::replace(&mut self.received_at, now);
        if now.saturating_duration_since(before) < 2 * GATHER {
            self.gather_until = Some(now + GATHER);
        }
        let mut has_sent = false;
        for count in 1..=self.unread.len() {
            let Some(number) = self.unread.pop_front() else { return };
            let Self { calls, inbox, metrics, .. } = self;
            if let Some(Some(seat)) = calls.get_mut(number) {
                seat.is_unread = seat.call.receive(now, inbox, &mut metrics.datagrams);
                if seat.is_unread {
                    self.unread.push_back(number);
                }
                self.reschedule(number);
            }
            let sent;
            (now, sent) = self.send_due(Doing::Receiving);
            has_sent |= sent;
            if has_sent && count >= CALLS_IN_ANY_CASE {
                return;
            }
        }
    }

    /// Serves the calls whose timers are due, and none of them twice. Returns the time.
    fn serve_timers(&mut self) -> Instant {
        let mut now = clock();
        let mut due = std::mem::take(&mut self.timed);
        self.timers.take_due(now, &mut due);
        for number in due.drain(..) {
            if let Some(seat) = self.seat(number) {
                seat.call.handle_timeout(now);
            }
            self.reschedule(number);
            self.metrics.overdue_timers += u64::from(self.timers.pause(now, number));
            (now, _) = self.send_due(Doing::Timers);
        }
        self.timed = due;
        now
    }

    fn seat(&mut self, number: usize) -> Option<&mut Seat> {
        self.calls.get_mut(number)?.as_mut()
    }

    /// Brings a call's place in the schedule and among the timers up to date.
    fn reschedule(&mut self, number: usize) {
        let Some(Some(Seat { call, phase, .. })) = self.calls.get_mut(number) else { return };
        self.timers.set(number, call.deadline(self.epoch));
        match (*phase, call.wants_ticks()) {
            (None, true) => {
                let now = clock();
                let at = self.pacer.insert(now, number);
                *phase = Some(at);
                self.load.playing.store(self.pacer.len(), Ordering::Relaxed);
                match self.pacer.last_round(at) {
                    // Its slot is that of this moment, and was served before it came.
                    Some(round) if round == self.pacer.round_at(now) => {
                        call.begin_ticks(round);
                        self.tick(number, round, now);
                        self.finish_slot();
                    }
                    // Turns that the thread is behind with were those of others.
                    last => call.begin_ticks(last.map_or(0, |round| round + 1).max(self.pacer.round_at(now))),
                }
                return;
            }
            (Some(at), false) => {
                *phase = None;
                // What it did last is not to wait for its next ping.
                call.publish_now(clock());
                self.pacer.remove(number, at);
                self.load.playing.store(self.pacer.len(), Ordering::Relaxed);
            }
            _ => {}
        }
        call.report_silence();
    }

    /// When datagrams come one after the other, waits a moment, so that many are read with one wake-up. Returns whether it
    /// did, for the next slot may have come due.
    fn gather(&mut self, deadline: Option<Instant>) -> bool {
        let Some(until) = self.gather_until.take() else { return false };
        self.poller.pause(deadline.map_or(until, |at| at.min(until)));
        true
    }
}

/// Between two publications of the figures.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// Commands that are carried out in a turn, however many slots come due meanwhile.
const COMMANDS_IN_ANY_CASE: usize = 32;
/// Calls that are read from in a turn, however many slots come due meanwhile.
const CALLS_IN_ANY_CASE: usize = 8;
/// How long datagrams are gathered when they come more often than this.
const GATHER: Duration = Duration::from_millis(1);
