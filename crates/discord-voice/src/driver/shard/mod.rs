//! A media thread: owns its calls outright and serves them from one loop.

mod handle;
mod thread;
mod timers;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering, mpsc::Receiver as CommandReceiver},
    time::{Duration, Instant},
};

use voice_udp::{
    Pacer, Phase,
    socket::{Inbox, Poller, SendBackend, Socket, Sockets, sink},
};

use self::{handle::Load, timers::Timers};
use super::{
    clock,
    export::ShardExport,
    media_call::{MediaCall, Tick},
};
use crate::{Histogram, MediaCommand, ShardMetrics, driver::media_call::Outlet};

use handle::{MovingCall, ShardHandle};
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
    /// Where in the 20 ms it has its turn, while it has something to send.
    phase: Option<Phase>,
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
        number: usize,
        epoch: Instant,
        poller: Poller,
        commands: CommandReceiver<Option<(usize, ShardCommand)>>,
        load: Arc<Load>,
        loads: Vec<Arc<Load>>,
        backend: SendBackend,
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
            load,
            loads,
            metrics,
            export: ShardExport::new(number),
            lateness: Histogram::default(),
            skipped_before: 0,
            published_at: now,
            published_work: 0,
            received_at: now,
            gather_until: None,
        }
    }

    fn run(mut self) {
        let mut readable = Vec::new();
        let mut unfinished = Vec::new();
        let mut due = Vec::new();
        loop {
            let timer = self.timers.next();
            let deadline = self.pacer.next_due().into_iter().chain(timer).min();
            let deadline = if unfinished.is_empty() { deadline } else { Some(clock()) };
            self.before_sleep(deadline);
            self.gather(deadline);
            if let Err(error) = self.poller.wait(deadline, &mut readable) {
                tracing::error!(%error, "a media thread cannot wait for its sockets");
                return;
            }
            self.metrics.wakeups += 1;
            while let Ok(command) = self.commands.try_recv() {
                self.load.received_command();
                match command {
                    Some((key, command)) => self.handle_command(key, command),
                    None => return,
                }
            }
            self.receive(&mut readable, &mut unfinished);
            let now = clock();
            while let Some(turn) = self.pacer.poll(now) {
                let (round, at) = (turn.round, turn.at);
                due.extend_from_slice(turn.keys);
                self.prefetch(&due);
                for number in due.drain(..) {
                    self.tick(number, round, at);
                }
                self.flush();
            }
            while let Some(number) = self.timers.pop(now) {
                if let Some(seat) = self.seat(number) {
                    seat.call.handle_timeout(now);
                }
                self.reschedule(number);
            }
            if now.saturating_duration_since(self.published_at) >= PUBLISH_INTERVAL {
                self.publish(now);
            }
        }
    }

    /// Reads what arrived: of as many calls as there is time for before the next are due to send.
    fn receive(&mut self, readable: &mut Vec<usize>, unfinished: &mut Vec<usize>) {
        readable.append(unfinished);
        if readable.is_empty() {
            return;
        }
        let due = self.pacer.next_due();
        let mut now = clock();
        let before = std::mem::replace(&mut self.received_at, now);
        if now.saturating_duration_since(before) < 2 * GATHER {
            self.gather_until = Some(now + GATHER);
        }
        for (count, number) in readable.drain(..).enumerate() {
            if count % CALLS_BETWEEN_LOOKS == CALLS_BETWEEN_LOOKS - 1 {
                now = clock();
            }
            if due.is_some_and(|due| due < now) && count > 0 {
                unfinished.push(number);
                continue;
            }
            let Self { calls, inbox, metrics, .. } = self;
            if let Some(Some(seat)) = calls.get_mut(number) {
                if seat.call.receive(now, inbox, &mut metrics.datagrams) {
                    unfinished.push(number);
                }
                self.reschedule(number);
            }
        }
    }

    /// Reads a little of each call that is due. Their memory lies apart and was not used for 20 ms: so the processor waits
    /// for many pieces of it at once, and not for one after the other.
    fn prefetch(&self, due: &[usize]) {
        let mut sum = 0;
        for number in due {
            if let Some(Some(seat)) = self.calls.get(*number) {
                sum ^= seat.call.prefetch();
            }
        }
        std::hint::black_box(sum);
    }

    fn tick(&mut self, number: usize, round: u64, at: Instant) {
        let Self { calls, outlet, metrics, lateness, .. } = self;
        let Some(Some(seat)) = calls.get_mut(number) else { return };
        let now = clock();
        let late = now.saturating_duration_since(at);
        metrics.ticks += 1;
        metrics.lateness.record(late);
        lateness.record(late);
        seat.call.tick(Tick { now, round, late, number }, outlet);
        // Its timers are as before.
        if !seat.call.wants_ticks() {
            self.reschedule(number);
        }
        if self.outlet.sink.is_full() {
            self.flush();
        }
    }

    /// Lets what was sealed leave, and tells calls of what did not.
    fn flush(&mut self) {
        self.outlet.sink.flush(&mut Seats(&mut self.calls));
        while let Some(failure) = self.outlet.sink.next_failure() {
            if let Some(Some(seat)) = self.calls.get_mut(failure.key) {
                seat.call.send_failed(clock(), &failure.error);
            }
        }
    }

    fn seat(&mut self, number: usize) -> Option<&mut Seat> {
        self.calls.get_mut(number)?.as_mut()
    }

    fn handle_command(&mut self, key: usize, command: ShardCommand) {
        let now = clock();
        let number = match (self.places.get(&key), command) {
            (_, ShardCommand::Add(shared, fault_after)) => {
                self.seat_call(key, Box::new(MediaCall::new(shared, fault_after, self.export.call())), None);
                return;
            }
            (_, ShardCommand::Adopt(moving)) => return self.adopt(now, key, moving),
            (Some(Place::Moved(elsewhere)), ShardCommand::Listen(sink)) => {
                // One for which there is no place there is dropped, which ends its stream.
                elsewhere.send_now(key, ShardCommand::Listen(sink));
                return;
            }
            (Some(Place::Moved(_)), ShardCommand::Remove) => {
                self.places.remove(&key);
                return;
            }
            (Some(Place::Here(number)), command) => {
                let number = *number;
                self.handle_call_command(now, key, number, command);
                number
            }
            _ => return,
        };
        self.reschedule(number);
    }

    fn handle_call_command(&mut self, now: Instant, key: usize, number: usize, command: ShardCommand) {
        let Self { calls, poller, outlet, pacer, .. } = self;
        let Some(Some(Seat { call, .. })) = calls.get_mut(number) else { return };
        match command {
            ShardCommand::Add(..) | ShardCommand::Adopt(_) => {}
            ShardCommand::Remove => {
                call.stop(now, number, poller, outlet);
                self.unseat(number);
                self.places.remove(&key);
            }
            ShardCommand::GiveUp(target, answer) => {
                let _ = answer.send(self.give_up(key, number, &target));
            }
            ShardCommand::Start(link, socket, sender, receiver) => {
                let round = pacer.round_at(now);
                call.start(now, (link, round, number), poller, outlet, (socket, *sender, *receiver));
            }
            ShardCommand::Media(command) => match *command {
                MediaCommand::Stop => call.stop(now, number, poller, outlet),
                command => call.handle_command(now, command),
            },
            ShardCommand::Play { playing, generation } => call.play(*playing, generation),
            ShardCommand::Pause { playback } => call.pause(&playback),
            ShardCommand::Resume { playback, generation } => call.resume(&playback, generation),
            ShardCommand::StopPlaying { playback } => call.stop_playing(&playback),
            ShardCommand::Listen(sink) => call.listen(sink),
            ShardCommand::Detach(answer) => {
                if let Some(place) = call.detach(now, number, poller, outlet) {
                    let _ = answer.send(place);
                }
            }
            ShardCommand::Publish(done) => {
                call.publish_now(now);
                self.publish(now);
                let _ = done.send(());
            }
        }
    }

    fn seat_call(&mut self, key: usize, call: Box<MediaCall>, phase: Option<Phase>) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[number] = Some(Seat { call, phase });
        self.places.insert(key, Place::Here(number));
        number
    }

    fn unseat(&mut self, number: usize) -> Option<Seat> {
        let seat = self.calls.get_mut(number)?.take()?;
        self.timers.set(number, None);
        if let Some(phase) = seat.phase {
            self.pacer.remove(number, phase);
            self.load.playing.store(self.pacer.len(), Ordering::Relaxed);
        }
        self.free.push(number);
        Some(seat)
    }

    /// Lets a call go on in another thread.
    fn give_up(&mut self, key: usize, number: usize, target: &ShardHandle) -> bool {
        let Self { calls, poller, outlet, .. } = self;
        let Some(Some(seat)) = calls.get_mut(number) else { return false };
        seat.call.leave_thread(number, poller, outlet);
        let Some(Seat { call, phase, .. }) = self.unseat(number) else { return false };
        match target.adopt(key, MovingCall { call, phase }) {
            Ok(()) => {
                self.metrics.moved_away += 1;
                self.places.insert(key, Place::Moved(target.clone()));
                true
            }
            Err(moving) => {
                self.adopt(clock(), key, moving);
                false
            }
        }
    }

    /// Goes on with a call of another thread, in the phase that it had, and with the turn that it missed on the way.
    fn adopt(&mut self, now: Instant, key: usize, MovingCall { call, phase }: MovingCall) {
        self.metrics.moved_here += 1;
        let number = self.seat_call(key, call, phase);
        let Self { calls, poller, outlet, pacer, .. } = self;
        let Some(Some(seat)) = calls.get_mut(number) else { return };
        seat.call.enter_thread(number, poller, outlet);
        if let Some(phase) = phase {
            pacer.insert_at(now, number, phase);
            self.load.playing.store(pacer.len(), Ordering::Relaxed);
            let last = pacer.last_round(phase).map_or(0, |round| round + 1);
            for round in seat.call.next_round().max(last.saturating_sub(MAX_CATCH_UP))..last {
                self.tick(number, round, now);
            }
            self.flush();
        }
        self.reschedule(number);
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
                        self.flush();
                    }
                    last => call.begin_ticks(last.map_or(0, |round| round + 1)),
                }
                return;
            }
            (Some(at), false) => {
                *phase = None;
                self.pacer.remove(number, at);
                self.load.playing.store(self.pacer.len(), Ordering::Relaxed);
            }
            _ => {}
        }
        call.report_silence();
    }

    /// Publishes before a long sleep, so that figures are not old only because nothing happens.
    fn before_sleep(&mut self, deadline: Option<Instant>) {
        let next = self.published_at + PUBLISH_INTERVAL;
        if self.published_work != self.work() && deadline.is_none_or(|at| at > next) {
            self.publish(clock());
        }
    }

    /// When datagrams come one after the other, waits a moment, so that many are read with one wake-up.
    fn gather(&mut self, deadline: Option<Instant>) {
        let Some(until) = self.gather_until.take() else { return };
        self.poller.pause(deadline.map_or(until, |at| at.min(until)));
    }

    fn publish(&mut self, now: Instant) {
        self.published_at = now;
        self.published_work = self.work();
        self.metrics.skipped_ticks = self.pacer.skipped();
        self.metrics.cpu = thread::cpu_time();
        self.load.publish(&self.metrics);
        self.export.update(&self.load.add_to(self.metrics));
        self.balance();
    }

    /// Asks some calls to go to a thread with less to do, if this one ran late in the last second and that one did not.
    fn balance(&mut self) {
        let skipped = self.pacer.skipped() - std::mem::replace(&mut self.skipped_before, self.pacer.skipped());
        let lateness = std::mem::take(&mut self.lateness);
        let is_late = skipped > 0 || lateness.quantile(0.99) > LATE;
        self.load.is_late.store(is_late, Ordering::Relaxed);
        if !is_late {
            return;
        }
        let on_time = |other: &(usize, &Arc<Load>)| other.0 != self.number && !other.1.is_late.load(Ordering::Relaxed);
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

const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// Calls that are read from before the clock is looked at again.
const CALLS_BETWEEN_LOOKS: usize = 8;
/// Turns that a call may have missed on its way from another thread and still catches up with.
const MAX_CATCH_UP: u64 = 3;
/// A thread whose 99th percentile of lateness is above this gives calls away, if another one has time.
const LATE: Duration = Duration::from_millis(5);
/// Calls that leave a thread in a second.
const MAX_MOVES: usize = 64;
/// How long datagrams are gathered when they come more often than this.
const GATHER: Duration = Duration::from_millis(1);
