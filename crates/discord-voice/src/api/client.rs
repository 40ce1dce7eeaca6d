//! The handle of a call, and what makes calls without a manager.

use std::{
    error::Error,
    fmt,
    future::{Future, IntoFuture},
    io,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};
use voice_audio::FrameSource;
use voice_crypto::Mode;
use voice_dave::{DaveStats, DaveStatus};
use voice_model::{ChannelId, UserId};
use voice_ws::{Connector, Identity, SessionStats, TransportError};

use super::{Events, Playback};
use crate::{
    CallCounters, Config, ConnectionState, E2ee, EndReason, Handover, JoinTimes,
    driver::{
        CallParts, CallShared, ControlCommand, ControlState, Listeners, MediaStats, Metrics, OnEnd, Origin,
        PlaybackEnd, PlaybackShared, Playing, Pool, Receive, Shards, ring, start,
    },
};

/// Makes calls: owns the media threads and what they have in common. Cheap to clone.
///
/// A bot wants a [`VoiceManager`](crate::VoiceManager), which has one of these. Alone it is for those who have a
/// call's six values from elsewhere.
#[derive(Clone, Debug)]
pub struct Driver {
    config: Arc<Config>,
    connector: Connector,
    shards: Arc<Shards>,
    pool: Arc<Pool>,
}

impl Driver {
    /// Starts the media threads.
    ///
    /// # Errors
    ///
    /// The operating system's, when it has no threads or descriptors left.
    pub fn new(config: Config) -> io::Result<Self> {
        Self::with_connector(config, Connector::new())
    }

    /// Like [`new`](Self::new), with a connector that trusts further certificates.
    ///
    /// # Errors
    ///
    /// The operating system's, when it has no threads or descriptors left.
    pub fn with_connector(config: Config, connector: Connector) -> io::Result<Self> {
        let pool = Arc::new(Pool::new(config.encode_threads));
        let shards = Arc::new(Shards::start(&config, &pool)?);
        Ok(Self { config: Arc::new(config), connector, shards, pool })
    }

    /// Connects to a voice server. The future needs a tokio runtime; dropping it gives the call up.
    pub fn connect(&self, info: Identity) -> Connect {
        Connect { driver: self.clone(), origin: Origin::Known(info), timeout: self.config.join_timeout }
    }

    /// Takes over a call that another process has [given up](VoiceClient::detach): on this machine, at the address that its
    /// media socket had. Audio can be sent again as soon as the session is resumed and, in an end-to-end encrypted call,
    /// this process was added to the group. What played and who listened stayed in the other process.
    pub fn attach(&self, handover: Handover) -> Connect {
        let origin = Origin::OtherProcess(Box::new(handover));
        Connect { driver: self.clone(), origin, timeout: self.config.join_timeout }
    }

    /// What the media threads did, and do, and those that ask sources for frames ahead of time. Each media thread
    /// publishes its figures once a second while it does something.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let dead_controls = self.shards.dead_controls();
        Metrics { shards: self.shards.metrics(), encode: self.pool.stats(), dead_controls }
    }

    /// Starts a call, which lives for as long as its parts do.
    pub(crate) fn start(&self, config: Arc<Config>, origin: Origin, on_end: Option<OnEnd>) -> CallParts {
        start(config, self.connector.clone(), (Arc::clone(&self.shards), Arc::clone(&self.pool)), origin, on_end)
    }
}

/// A call that is being made; await it.
#[must_use = "nothing happens before it is awaited"]
pub struct Connect {
    driver: Driver,
    origin: Origin,
    timeout: Duration,
}

impl Connect {
    /// What is made of end-to-end encryption, in place of what is configured.
    pub fn e2ee(mut self, policy: E2ee) -> Self {
        Arc::make_mut(&mut self.driver.config).e2ee = policy;
        self
    }

    /// How long it may take, in place of the configured time.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn run(self) -> Result<(VoiceClient, Events), ConnectError> {
        let config = Arc::clone(&self.driver.config);
        let mut parts = self.driver.start(config, self.origin, None);
        match tokio::time::timeout(self.timeout, settled(&mut parts)).await {
            Ok(None) => Ok(VoiceClient::new(parts, self.driver.config.leave_timeout)),
            Ok(Some((reason, cause))) => Err(ConnectError::Ended { reason, cause }),
            Err(_) => Err(ConnectError::TimedOut),
        }
    }
}

/// Waits until a call is connected, or over for a reason and perhaps the cause of that.
pub(crate) async fn settled(parts: &mut CallParts) -> Option<(EndReason, Option<Arc<TransportError>>)> {
    let settled = parts.state.wait_for(|state| state.connected || state.ended.is_some()).await;
    let Ok(state) = settled else { return Some((EndReason::Internal, None)) };
    state.ended.clone().map(|reason| (reason, state.transport_error.clone()))
}

impl IntoFuture for Connect {
    type Output = Result<(VoiceClient, Events), ConnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A handle of a call, for any task: clones are handles of the same call. When the last one is dropped, the
/// call is left, without waiting for that.
#[derive(Clone)]
pub struct VoiceClient(Arc<Inner>);

struct Inner {
    commands: mpsc::Sender<ControlCommand>,
    state: watch::Receiver<ControlState>,
    shared: Arc<CallShared>,
    listeners: Listeners,
    pool: Arc<Pool>,
    leave_timeout: Duration,
    /// The newest playback.
    playing: Mutex<Option<Playback>>,
}

/// The way to a call's control. It does not keep the call alive.
#[derive(Clone)]
pub(super) struct Commands {
    sender: mpsc::WeakSender<ControlCommand>,
    shared: Arc<CallShared>,
}

impl Commands {
    /// Hands a command on without waiting. One for which there is no place is counted.
    pub(super) fn try_send(&self, command: ControlCommand) -> Result<(), PlaybackEnd> {
        let Some(sender) = self.sender.upgrade() else { return Err(PlaybackEnd::CallEnded) };
        sender.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => PlaybackEnd::CallEnded,
            mpsc::error::TrySendError::Full(command) => {
                self.shared.dropped.commands.fetch_add(1, Ordering::Relaxed);
                if let ControlCommand::Play(playing) = command {
                    // Before it is dropped, which would say that the call has ended.
                    playing.end(PlaybackEnd::Refused);
                }
                PlaybackEnd::Refused
            }
        })
    }
}

/// What was dropped because a queue of the call was full: of what its handles asked for, of what they were to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropStats {
    /// Commands: to play, pause, resume, stop, move, mute or update.
    pub commands: u64,
    /// Listeners, whose streams ended at once.
    pub listeners: u64,
    /// Events of the main gateway.
    pub gateway_events: u64,
    /// Events for the reader of [`Events`], who was told with [`Event::Lagged`](crate::Event::Lagged).
    pub events: u64,
}

/// The figures of a call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CallStats {
    /// The counters of the call itself, such as its rejoins.
    pub call: CallCounters,
    /// What was dropped because a queue was full.
    pub dropped: DropStats,
    /// What the group and the transitions of the end-to-end encryption did and refused in this session; frames are counted
    /// in [`media`](Self::media).
    pub dave: DaveStats,
    /// How long each step of joining took.
    pub join: JoinTimes,
    /// The last measured time to the voice gateway and back.
    pub latency: Option<Duration>,
    /// The mean of that time over about the last 20 heartbeats.
    pub mean_latency: Option<Duration>,
    /// The media's counters, at most a second old.
    pub media: MediaStats,
    /// The transport encryption.
    pub mode: Option<Mode>,
    /// The gateway sessions' counters, of all that the call has had together.
    pub session: SessionStats,
}

impl VoiceClient {
    /// Connects to a voice server without a manager, with a media thread of its own. Prefer one [`Driver`] for
    /// several calls.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says why there is no call.
    pub async fn connect(info: Identity) -> Result<(Self, Events), ConnectError> {
        let config = Config { media_threads: 1, ..Config::default() };
        Driver::new(config).map_err(ConnectError::Driver)?.connect(info).await
    }

    pub(crate) fn new(parts: CallParts, leave_timeout: Duration) -> (Self, Events) {
        let CallParts { commands, events, state, shared, listeners, pool } = parts;
        let inner = Inner { commands, state, shared, listeners, pool, leave_timeout, playing: Mutex::new(None) };
        (Self(Arc::new(inner)), events)
    }

    /// Plays a source, in place of what was playing. Never waits, and nor does anything else for the source: it is asked
    /// for frames ahead of time, on [threads of its own kind](Config::encode_threads), unless its
    /// [`lead`](FrameSource::lead) says that this is not needed.
    pub fn play(&self, source: impl FrameSource) -> Playback {
        let shared = Arc::new(PlaybackShared::default());
        let commands = self.commands();
        let playing = Playing::new(&self.0.pool, source, Arc::clone(&shared));
        if let Err(end) = playing.and_then(|playing| commands.try_send(ControlCommand::Play(Box::new(playing)))) {
            shared.end(end);
        }
        let playback = Playback { shared, commands };
        *self.0.playing.lock().unwrap_or_else(PoisonError::into_inner) = Some(playback.clone());
        playback
    }

    /// What was put on to play last.
    #[must_use]
    pub fn playback(&self) -> Option<Playback> {
        self.0.playing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Listens: frames of all users from now on, each in the order in which it was sent. `capacity` frames wait
    /// for their reader; beyond that they are dropped and counted.
    #[must_use]
    pub fn receive(&self, capacity: NonZeroUsize) -> Receive {
        let (sink, receive) = ring(capacity.get());
        self.0.listeners.add(sink);
        receive
    }

    /// The main gateway named another server or a new token: connects there. What plays and who listens
    /// carries over. With a manager this happens by itself.
    pub fn update(&self, info: Identity) {
        let _ = self.commands().try_send(ControlCommand::Update(Box::new(info)));
    }

    fn commands(&self) -> Commands {
        Commands { sender: self.0.commands.downgrade(), shared: Arc::clone(&self.0.shared) }
    }

    /// The figures of the call, media at most a second old.
    #[must_use]
    pub fn stats(&self) -> CallStats {
        let state = self.0.state.borrow();
        let dropped = &self.0.shared.dropped;
        let [commands, listeners, gateway_events, events] =
            [&dropped.commands, &dropped.listeners, &dropped.gateway_events, &dropped.events]
                .map(|counter| counter.load(Ordering::Relaxed));
        CallStats {
            call: state.counters,
            dropped: DropStats { commands, listeners, gateway_events, events },
            dave: state.dave_stats.clone(),
            join: state.times,
            latency: state.latency,
            mean_latency: state.mean_latency,
            media: self.0.shared.stats(),
            mode: state.mode,
            session: state.session,
        }
    }

    /// The figures of the call as they are now. Waits for the media thread, at most a few milliseconds.
    pub async fn fresh_stats(&self) -> CallStats {
        let (done, published) = oneshot::channel();
        if self.0.commands.send(ControlCommand::Publish(done)).await.is_ok() {
            let _ = published.await;
        }
        self.stats()
    }

    /// How far the end-to-end encryption is, and the voice privacy code of its group.
    #[must_use]
    pub fn e2ee(&self) -> DaveStatus {
        self.0.state.borrow().e2ee.clone()
    }

    /// The 45 digits that this user and another one in the encrypted call both see if nobody is between them; `None` if
    /// the user is not in its group. They stay the same for as long as both keep their signing keys.
    ///
    /// Computed on a thread of the runtime that may block, in tens of milliseconds.
    pub async fn verification_code(&self, user: UserId) -> Option<String> {
        let (answer, verification) = oneshot::channel();
        self.0.commands.send(ControlCommand::Verify(user, answer)).await.ok()?;
        let verification = verification.await.ok()??;
        tokio::task::spawn_blocking(move || verification.code()).await.ok()
    }

    /// Gives the call up for another process to [take over](Driver::attach), and ends it here: without a word to the main
    /// gateway, and so that the voice server keeps the session for a while. `None`, and nothing happens, if the call is not
    /// connected.
    ///
    /// Once this was polled the call may be given up: who drops the future then loses it.
    pub async fn detach(&self) -> Option<Handover> {
        let (answer, handover) = oneshot::channel();
        self.0.commands.send(ControlCommand::Detach(answer)).await.ok()?;
        handover.await.ok()
    }

    /// Moves to another channel of the guild; never waits. What plays and who listens carries over.
    /// [`Event::Moved`](crate::Event::Moved) says that the main gateway has done it,
    /// [`Event::MoveFailed`](crate::Event::MoveFailed) that it has not answered. Only a call that a
    /// [`VoiceManager`](crate::VoiceManager) joined can be moved.
    pub fn move_to(&self, channel: ChannelId) {
        let _ = self.commands().try_send(ControlCommand::MoveTo(channel));
    }

    /// Mutes or deafens this user, as others see it; never waits. Only in a call that a
    /// [`VoiceManager`](crate::VoiceManager) joined.
    pub fn set_self(&self, mute: bool, deaf: bool) {
        let _ = self.commands().try_send(ControlCommand::SetSelf { mute, deaf });
    }

    /// How far the call is.
    #[must_use]
    pub fn connection_state(&self) -> ConnectionState {
        let state = self.0.state.borrow();
        if state.ended.is_some() { ConnectionState::Ended } else { state.connection }
    }

    /// Whether the call is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.0.state.borrow().ended.is_some()
    }

    /// Waits for the end of the call, whatever brings it.
    pub async fn ended(&self) -> EndReason {
        let mut state = self.0.state.clone();
        match state.wait_for(|state| state.ended.is_some()).await {
            Ok(state) => state.ended.clone().unwrap_or(EndReason::Internal),
            Err(_) => EndReason::Internal,
        }
    }

    /// Leaves, and waits for the servers to acknowledge it: the main gateway within
    /// [`leave_timeout`](Config::leave_timeout), then the voice gateway within two seconds. What plays is cut off.
    ///
    /// # Errors
    ///
    /// [`LeaveError::TimedOut`] when the call itself did not end within the configured time; it is given up
    /// nevertheless.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        let left = async {
            let _ = self.0.commands.send(ControlCommand::Leave).await;
            self.ended().await;
        };
        // The main gateway is waited for first, then the voice gateway.
        let limit = self.0.leave_timeout.saturating_add(VOICE_GATEWAY_LIMIT);
        tokio::time::timeout(limit, left).await.map_err(|_| LeaveError::TimedOut)
    }
}

/// How long the voice gateway may take to acknowledge a leave, and the call to end after that.
pub(crate) const VOICE_GATEWAY_LIMIT: Duration = Duration::from_secs(2);

impl fmt::Debug for VoiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoiceClient").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Why there is no call.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// No media threads (the local system).
    Driver(io::Error),
    /// The call ended before it began.
    Ended {
        /// Why.
        reason: EndReason,
        /// What broke the connection, if something did.
        cause: Option<Arc<TransportError>>,
    },
    /// It took too long (the network, or the peer).
    TimedOut,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(_) => f.write_str("no media threads"),
            Self::Ended { .. } => f.write_str("no voice connection"),
            Self::TimedOut => f.write_str("the voice server did not let us in in time"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Driver(error) => Some(error),
            Self::Ended { cause: Some(cause), .. } => Some(cause.as_ref()),
            Self::Ended { reason, .. } => Some(reason),
            Self::TimedOut => None,
        }
    }
}

/// Why leaving was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaveError {
    /// The server did not acknowledge it in time (the peer, or the network). The call is over nevertheless.
    TimedOut,
}

impl fmt::Display for LeaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("leaving was not acknowledged in time")
    }
}

impl Error for LeaveError {}
