//! The media threads as others see them: which one serves a call, and the way to it.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use voice_udp::{
    Phase, Receiver, Sender, StreamPosition,
    socket::{Poller, Socket, Waker},
};

use super::Shard;
use crate::{
    Config, MediaCommand, ShardMetrics,
    driver::{
        clock,
        export::{PoolExport, ShardExport, count_dead_control},
        latest::Latest,
        media_call::MediaCall,
        playing::{PlaybackShared, Playing},
        pool::Pool,
        ring::ReceiveSink,
        shared::CallShared,
    },
};

/// What control tells a media thread about the call with this key.
pub(crate) enum ShardCommand {
    /// With how long a fault of its media must last to be one.
    Add(Arc<CallShared>, Duration),
    Remove,
    /// A new link, with its number.
    Start(u64, Socket, Box<Sender>, Box<Receiver>),
    Media(Box<MediaCommand>),
    Play {
        playing: Box<Playing>,
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
    /// Hands the call to another thread, if that can take it, and says so; those who begin to listen are sent after it.
    GiveUp(ShardHandle, tokio::sync::oneshot::Sender<bool>),
    Adopt(MovingCall),
}

/// A call on its way from one media thread to another.
pub(crate) struct MovingCall {
    pub(super) call: Box<MediaCall>,
    /// Where in the 20 ms it has its turn, if it has any.
    pub(super) phase: Option<Phase>,
}

/// The media threads of a process's calls. Dropping it ends them.
pub(crate) struct Shards {
    handles: Arc<[ShardHandle]>,
    threads: Vec<JoinHandle<()>>,
    epoch: Instant,
    next_key: AtomicUsize,
    /// Control tasks that died.
    dead_controls: AtomicU64,
}

/// A way to reach one media thread.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    commands: SyncSender<Option<(usize, ShardCommand)>>,
    waker: Waker,
    pub(super) load: Arc<Load>,
}

/// What a thread shows of itself.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Calls that it was given, or will be.
    pub(super) calls: AtomicUsize,
    /// Those that send audio.
    pub(super) playing: AtomicUsize,
    /// It could not keep its deadlines in the last second.
    pub(super) is_late: AtomicBool,
    /// There is no such thread any more.
    pub(super) is_gone: AtomicBool,
    commands_waiting: AtomicUsize,
    /// Nanoseconds from the epoch to the beginning of the present turn of the loop; 0 while the thread waits.
    turn_began: AtomicU64,
    /// Turns that took too long.
    stalls: AtomicU64,
    metrics: Latest<ShardMetrics>,
}

/// A call's way to the thread that serves it, which can change.
#[derive(Clone)]
pub(crate) struct Route {
    key: usize,
    handles: Arc<[ShardHandle]>,
    current: Arc<AtomicUsize>,
    /// More than one thread has had it.
    has_moved: Arc<AtomicBool>,
}

impl Shards {
    pub(crate) fn start(config: &Config, pool: &Arc<Pool>) -> io::Result<Self> {
        let pool = PoolExport::new(pool);
        let count = config.media_threads.max(1);
        let epoch = clock();
        let mut starts = Vec::with_capacity(count);
        let mut handles = Vec::with_capacity(count);
        for _ in 0..count {
            let (sender, receiver) = mpsc::sync_channel(MAX_COMMANDS);
            let poller = Poller::new()?;
            let load = Arc::new(Load::default());
            handles.push(ShardHandle { commands: sender, waker: poller.waker(), load: Arc::clone(&load) });
            starts.push((poller, receiver, load));
        }
        let mut shards = Self {
            handles: handles.into(),
            threads: Vec::new(),
            epoch,
            next_key: AtomicUsize::new(0),
            dead_controls: AtomicU64::new(0),
        };
        for (number, (poller, commands, load)) in starts.into_iter().enumerate() {
            let loads = shards.handles.iter().map(|handle| Arc::clone(&handle.load)).collect();
            let core = config.media_cores.get(number % config.media_cores.len().max(1)).copied();
            let export = ShardExport::new(number, pool.clone());
            let (backend, nice, real_time) = (config.send_backend, config.media_nice, config.media_real_time);
            let thread = std::thread::Builder::new().name(format!("voice-media-{number}")).spawn(move || {
                super::thread::settle(core, nice, real_time);
                Shard::new((number, epoch), poller, commands, (load, loads), backend, export).run();
            })?;
            shards.threads.push(thread);
        }
        Ok(shards)
    }

    /// A key for a new call, and the way to the thread that will serve it: the one with the least to do.
    pub(crate) fn assign(&self) -> Route {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let load = |handle: &ShardHandle| {
            let Load { calls, playing, is_gone, .. } = &*handle.load;
            // One that sends counts twice. Those that join together are spread although none of them sends yet.
            (is_gone.load(Ordering::Relaxed), playing.load(Ordering::Relaxed) + calls.load(Ordering::Relaxed))
        };
        let (least, handle) =
            self.handles.iter().enumerate().min_by_key(|(_, handle)| load(handle)).expect("there is one at least");
        handle.load.calls.fetch_add(1, Ordering::Relaxed);
        Route {
            key,
            handles: Arc::clone(&self.handles),
            current: Arc::new(AtomicUsize::new(least)),
            has_moved: Arc::default(),
        }
    }

    /// From which everything counts that calls do together.
    pub(crate) const fn epoch(&self) -> Instant {
        self.epoch
    }

    /// A control task died.
    pub(crate) fn count_dead_control(&self) {
        self.dead_controls.fetch_add(1, Ordering::Relaxed);
        count_dead_control();
    }

    pub(crate) fn dead_controls(&self) -> u64 {
        self.dead_controls.load(Ordering::Relaxed)
    }

    pub(crate) fn metrics(&self) -> Vec<ShardMetrics> {
        let now = clock();
        self.handles.iter().map(|handle| handle.load.metrics(self.epoch, now)).collect()
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for handle in &*self.handles {
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

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Load {
    pub(super) fn received_command(&self) {
        self.commands_waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Makes the figures readable.
    pub(super) fn publish(&self, metrics: &ShardMetrics) {
        self.metrics.set(*metrics);
    }

    /// With what is true at this moment.
    pub(super) fn add_to(&self, metrics: ShardMetrics) -> ShardMetrics {
        ShardMetrics {
            calls: self.calls.load(Ordering::Relaxed),
            playing: self.playing.load(Ordering::Relaxed),
            commands_waiting: self.commands_waiting.load(Ordering::Relaxed),
            stalls: self.stalls.load(Ordering::Relaxed),
            is_gone: self.is_gone.load(Ordering::Relaxed),
            ..metrics
        }
    }

    /// The thread has something to do from now on.
    pub(super) fn begin_turn(&self, epoch: Instant, now: Instant) {
        self.turn_began.store(nanos(epoch, now), Ordering::Relaxed);
    }

    /// The thread waits from now on.
    pub(super) fn end_turn(&self, epoch: Instant, now: Instant) {
        if self.turn(epoch, now) >= STALL {
            self.stalls.fetch_add(1, Ordering::Relaxed);
        }
        self.turn_began.store(0, Ordering::Relaxed);
    }

    /// How long the present turn has taken so far.
    fn turn(&self, epoch: Instant, now: Instant) -> Duration {
        match self.turn_began.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_nanos(nanos(epoch, now).saturating_sub(began)),
        }
    }

    /// What the thread published, and what can be seen of it from outside: one that hangs publishes nothing.
    fn metrics(&self, epoch: Instant, now: Instant) -> ShardMetrics {
        let mut metrics = self.add_to(self.metrics.get());
        metrics.turn = self.turn(epoch, now);
        metrics.stalls += u64::from(metrics.turn >= STALL);
        metrics
    }
}

/// From the epoch to `at`, and never 0.
fn nanos(epoch: Instant, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX).max(1)
}

impl ShardHandle {
    fn try_send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        // Before it is sent, so that the thread does not count down what was not counted.
        self.load.commands_waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.commands.try_send(message);
        if sent.is_err() {
            self.load.received_command();
        }
        sent
    }

    /// Hands a command to the thread; waits, without blocking others, while its queue is full. Returns whether there is
    /// a thread to take it.
    async fn send(&self, key: usize, command: ShardCommand) -> bool {
        let mut message = Some((key, command));
        loop {
            match self.try_send(message) {
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
    pub(super) fn send_now(&self, key: usize, command: ShardCommand) -> bool {
        let is_sent = self.try_send(Some((key, command))).is_ok();
        let _ = self.waker.wake();
        is_sent
    }

    /// Hands over a call of another thread, or gives it back when the queue is full.
    pub(super) fn adopt(&self, key: usize, moving: MovingCall) -> Result<(), MovingCall> {
        let sent = self.try_send(Some((key, ShardCommand::Adopt(moving))));
        let _ = self.waker.wake();
        match sent {
            Err(TrySendError::Full(Some((_, ShardCommand::Adopt(moving)))))
            | Err(TrySendError::Disconnected(Some((_, ShardCommand::Adopt(moving))))) => Err(moving),
            _ => Ok(()),
        }
    }

    /// Takes a call out of the thread, without waiting. A queue that is full for long means that the thread is gone.
    fn remove(&self, key: usize) {
        let mut message = Some((key, ShardCommand::Remove));
        for _ in 0..MAX_TRIES {
            match self.try_send(message) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => break,
                Err(TrySendError::Full(unsent)) => message = unsent,
            }
            let _ = self.waker.wake();
            std::thread::yield_now();
        }
        let _ = self.waker.wake();
    }
}

impl Route {
    fn handle(&self) -> &ShardHandle {
        &self.handles[self.current.load(Ordering::Acquire)]
    }

    /// Hands a command to the thread; waits, without blocking others, while its queue is full. Returns whether there is
    /// a thread to take it.
    pub(crate) async fn send(&self, command: ShardCommand) -> bool {
        self.handle().send(self.key, command).await
    }

    /// Hands a command to the thread at once, or drops it when the queue is full and returns `false`.
    pub(crate) fn send_now(&self, command: ShardCommand) -> bool {
        self.handle().send_now(self.key, command)
    }

    /// Moves the call to another thread, between two of its turns. Nothing else may be sent meanwhile.
    pub(crate) async fn move_to(&self, target: usize) -> bool {
        let Some(new) = self.handles.get(target) else { return true };
        if self.current.load(Ordering::Acquire) == target {
            return true;
        }
        self.has_moved.store(true, Ordering::Release);
        let (sender, moved) = tokio::sync::oneshot::channel();
        if !self.send(ShardCommand::GiveUp(new.clone(), sender)).await {
            return false;
        }
        if moved.await == Ok(true) {
            self.handle().load.calls.fetch_sub(1, Ordering::Relaxed);
            new.load.calls.fetch_add(1, Ordering::Relaxed);
            self.current.store(target, Ordering::Release);
        }
        true
    }

    /// Ends the call on its thread, and the forwarding on those that had it before.
    pub(crate) fn remove(&self) {
        self.handle().load.calls.fetch_sub(1, Ordering::Relaxed);
        if !self.has_moved.load(Ordering::Acquire) {
            return self.handle().remove(self.key);
        }
        for handle in &*self.handles {
            handle.remove(self.key);
        }
    }
}

type Message = Option<(usize, ShardCommand)>;

/// A turn of a thread's loop that takes longer has gone wrong: every call of the thread is silent meanwhile.
const STALL: Duration = Duration::from_secs(1);
/// How long a full queue is given to empty.
const RETRY: Duration = Duration::from_millis(1);
/// Attempts to hand over a removal.
const MAX_TRIES: usize = 10_000;
/// Commands that may wait for a media thread.
pub(super) const MAX_COMMANDS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_is_seen_from_outside() {
        let epoch = clock();
        let at = |millis| epoch + Duration::from_millis(millis);
        let load = Load::default();
        assert_eq!((load.metrics(epoch, at(0)).turn, load.metrics(epoch, at(0)).stalls), (Duration::ZERO, 0));
        load.begin_turn(epoch, epoch);
        load.end_turn(epoch, at(999));
        assert_eq!(load.metrics(epoch, at(999)).stalls, 0);
        load.begin_turn(epoch, at(2_000));
        assert_eq!(load.metrics(epoch, at(2_500)).turn, Duration::from_millis(500));
        let hanging = load.metrics(epoch, at(60_000));
        assert_eq!((hanging.turn, hanging.stalls), (Duration::from_secs(58), 1), "it hangs still, and counts already");
        load.end_turn(epoch, at(60_000));
        let over = load.metrics(epoch, at(90_000));
        assert_eq!((over.turn, over.stalls), (Duration::ZERO, 1));
    }
}
