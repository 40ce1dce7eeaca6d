//! A media thread: owns its calls outright and serves them from one loop.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver as CommandReceiver, SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use voice_udp::{
    Pacer, Receiver, Sender, StreamPosition,
    socket::{Poller, Socket, Waker},
};

use super::{
    clock,
    media_call::{Buffers, MediaCall},
    playing::{PlaybackShared, Playing},
    ring::ReceiveSink,
    shared::CallShared,
};
use crate::MediaCommand;

/// What control tells a media thread about the call with this key.
pub(crate) enum ShardCommand {
    /// With how long a fault of its media must last to be one.
    Add(Arc<CallShared>, Duration),
    Remove,
    /// A new link, with its number.
    Start(u64, Socket, Box<Sender>, Box<Receiver>),
    Media(MediaCommand),
    Play {
        playing: Playing,
        generation: u64,
    },
    Pause {
        playback: Arc<PlaybackShared>,
    },
    Resume {
        playback: Arc<PlaybackShared>,
        generation: u64,
    },
    StopPlaying {
        playback: Arc<PlaybackShared>,
    },
    Listen(ReceiveSink),
    /// Gives up the socket, and says where it was and where the stream stands.
    Detach(tokio::sync::oneshot::Sender<(SocketAddr, StreamPosition)>),
    Publish(tokio::sync::oneshot::Sender<()>),
}

/// The media threads of a process's calls. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Shards {
    handles: Vec<ShardHandle>,
    threads: Vec<JoinHandle<()>>,
    next_key: AtomicUsize,
}

/// A way to reach one media thread.
#[derive(Clone, Debug)]
pub(crate) struct ShardHandle {
    commands: SyncSender<Option<(usize, ShardCommand)>>,
    waker: Waker,
}

impl Shards {
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let mut shards = Self { handles: Vec::new(), threads: Vec::new(), next_key: AtomicUsize::new(0) };
        for number in 0..threads.max(1) {
            let (sender, receiver) = mpsc::sync_channel(MAX_COMMANDS);
            let poller = Poller::new()?;
            shards.handles.push(ShardHandle { commands: sender, waker: poller.waker() });
            let builder = std::thread::Builder::new().name(format!("voice-media-{number}"));
            shards.threads.push(builder.spawn(move || Shard::new(poller, receiver).run())?);
        }
        Ok(shards)
    }

    /// A key for a new call and the thread that will serve it.
    pub(crate) fn assign(&self) -> (usize, ShardHandle) {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        (key, self.handles[key % self.handles.len()].clone())
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for handle in &self.handles {
            let _ = handle.commands.send(None);
            let _ = handle.waker.wake();
        }
        for thread in self.threads.drain(..) {
            // A source that owned the last driver is dropped on a media thread, which cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl ShardHandle {
    /// Hands a command to the thread; waits, without blocking others, while its queue is full. Returns whether there is
    /// a thread to take it.
    pub(crate) async fn send(&self, key: usize, command: ShardCommand) -> bool {
        let mut message = Some((key, command));
        loop {
            match self.commands.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(unsent)) => message = unsent,
            }
            let _ = self.waker.wake();
            tokio::time::sleep(RETRY).await;
        }
        let _ = self.waker.wake();
        true
    }

    /// Hands a command to the thread at once, or drops it when the queue is full and returns `false`. What arrives after
    /// this is seen with the command in force.
    pub(crate) fn send_now(&self, key: usize, command: ShardCommand) -> bool {
        let is_sent = self.commands.try_send(Some((key, command))).is_ok();
        let _ = self.waker.wake();
        is_sent
    }

    /// Takes a call out of the thread, without waiting. A queue that is full for long means that the thread is gone.
    pub(crate) fn remove(&self, key: usize) {
        let mut message = Some((key, ShardCommand::Remove));
        for _ in 0..MAX_TRIES {
            match self.commands.try_send(message) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => break,
                Err(TrySendError::Full(unsent)) => message = unsent,
            }
            let _ = self.waker.wake();
            std::thread::yield_now();
        }
        let _ = self.waker.wake();
    }
}

struct Shard {
    poller: Poller,
    commands: CommandReceiver<Option<(usize, ShardCommand)>>,
    calls: HashMap<usize, MediaCall>,
    pacer: Pacer,
    timers: BTreeSet<(Instant, usize)>,
    /// The deadline of each call that is in `timers`.
    deadlines: HashMap<usize, Instant>,
    buffers: Buffers,
}

impl Shard {
    fn new(poller: Poller, commands: CommandReceiver<Option<(usize, ShardCommand)>>) -> Self {
        Self {
            poller,
            commands,
            calls: HashMap::new(),
            pacer: Pacer::new(clock()),
            timers: BTreeSet::new(),
            deadlines: HashMap::new(),
            buffers: Buffers::new(),
        }
    }

    fn run(mut self) {
        let mut readable = Vec::new();
        let mut unfinished = Vec::new();
        let mut due = Vec::new();
        loop {
            let timer = self.timers.first().map(|(at, _)| *at);
            let deadline = self.pacer.next_due().into_iter().chain(timer).min();
            let deadline = if unfinished.is_empty() { deadline } else { Some(clock()) };
            if let Err(error) = self.poller.wait(deadline, &mut readable) {
                tracing::error!(%error, "a media thread cannot wait for its sockets");
                return;
            }
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Some((key, command)) => self.handle_command(key, command),
                    None => return,
                }
            }
            readable.append(&mut unfinished);
            for key in readable.drain(..) {
                if let Some(call) = self.calls.get_mut(&key) {
                    if call.receive(clock(), &mut self.buffers) {
                        unfinished.push(key);
                    }
                    self.reschedule(key);
                }
            }
            let now = clock();
            while let Some((round, keys)) = self.pacer.poll(now) {
                due.extend_from_slice(keys);
                for key in due.drain(..) {
                    if let Some(call) = self.calls.get_mut(&key) {
                        call.tick(now, round, &mut self.buffers);
                        self.reschedule(key);
                    }
                }
            }
            self.handle_timers(now);
        }
    }

    fn handle_command(&mut self, key: usize, command: ShardCommand) {
        let now = clock();
        if let ShardCommand::Add(shared, fault_after) = command {
            self.calls.insert(key, MediaCall::new(shared, fault_after));
            return;
        }
        let Some(call) = self.calls.get_mut(&key) else { return };
        match command {
            ShardCommand::Add(..) => {}
            ShardCommand::Remove => {
                call.stop(now, &mut self.poller);
                self.calls.remove(&key);
                self.pacer.remove(key);
            }
            ShardCommand::Start(link, socket, sender, receiver) => {
                let round = self.pacer.round_at(now);
                call.start(now, (link, round), &mut self.poller, key, (socket, *sender, *receiver));
            }
            ShardCommand::Media(MediaCommand::Stop) => call.stop(now, &mut self.poller),
            ShardCommand::Media(command) => call.handle_command(now, command),
            ShardCommand::Play { playing, generation } => call.play(playing, generation),
            ShardCommand::Pause { playback } => call.pause(&playback),
            ShardCommand::Resume { playback, generation } => call.resume(&playback, generation),
            ShardCommand::StopPlaying { playback } => call.stop_playing(&playback),
            ShardCommand::Listen(sink) => call.listen(sink),
            ShardCommand::Detach(answer) => {
                if let Some(place) = call.detach(now, &mut self.poller) {
                    let _ = answer.send(place);
                }
            }
            ShardCommand::Publish(done) => {
                call.publish_now(now);
                let _ = done.send(());
            }
        }
        self.reschedule(key);
    }

    fn handle_timers(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.timers.first() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            self.deadlines.remove(&key);
            if let Some(call) = self.calls.get_mut(&key) {
                call.handle_timeout(now);
            }
            self.reschedule(key);
        }
    }

    /// Brings a call's place in the schedule and among the timers up to date.
    fn reschedule(&mut self, key: usize) {
        let call = self.calls.get_mut(&key);
        let deadline = call.as_ref().and_then(|call| call.deadline());
        if self.deadlines.get(&key).copied() != deadline {
            let before = match deadline {
                Some(at) => {
                    self.timers.insert((at, key));
                    self.deadlines.insert(key, at)
                }
                None => self.deadlines.remove(&key),
            };
            if let Some(before) = before {
                self.timers.remove(&(before, key));
            }
        }
        let Some(call) = call else { return };
        match (call.scheduled, call.wants_ticks()) {
            (false, true) => {
                call.scheduled = true;
                self.pacer.insert(clock(), key);
            }
            (true, false) => {
                call.scheduled = false;
                self.pacer.remove(key);
            }
            _ => {}
        }
        call.report_silence();
    }
}

/// How long a full queue is given to empty.
const RETRY: Duration = Duration::from_millis(1);
/// Attempts to hand over a removal.
const MAX_TRIES: usize = 10_000;
/// Commands that may wait for a media thread.
const MAX_COMMANDS: usize = 4_096;
