//! All calls of one bot: guild to client, main-gateway events in, opcode 4 out.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    future::{Future, IntoFuture},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc::WeakSender},
    time::{Instant, timeout_at},
};
use voice_model::{ChannelId, GuildId, UpdateVoiceState, UserId, VoiceServerUpdate, VoiceState};
use voice_ws::{Connector, EndpointError, Identity};

use crate::{
    Config, ConnectError, Driver, EndReason, Events, GatewayEvent, JoinCollector, VoiceClient, VoiceGateway,
    driver::{ControlCommand, OnEnd},
};

/// The calls of one bot user, one per guild. Cheap to clone.
///
/// Feed it both voice events of the main gateway; it sends opcode 4 through the [`VoiceGateway`] it was given.
///
/// ```no_run
/// use discord_voice::{GatewayEvent, VoiceGateway, VoiceManager};
/// use discord_voice::model::{ChannelId, GuildId, UserId};
///
/// # async fn run(gateway: impl VoiceGateway) -> Result<(), Box<dyn std::error::Error>> {
/// let voice = VoiceManager::builder(UserId::new(1), gateway).build()?;
/// // In the bot's event loop: voice.handle_event(event);
/// let (client, mut events) = voice.join(GuildId::new(2), ChannelId::new(3)).await?;
/// while let Some(event) = events.next().await {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VoiceManager(Arc<Inner>);

struct Inner {
    driver: Driver,
    gateway: Box<dyn VoiceGateway>,
    user: UserId,
    guilds: Mutex<HashMap<GuildId, Guild>>,
}

/// What is known of one guild.
struct Guild {
    collector: JoinCollector,
    /// Woken whenever something here changes.
    changed: Arc<Notify>,
    /// The newest join or leave; an older one that finds another number gives up.
    generation: u64,
    joining: bool,
    /// Left, and the main gateway has not confirmed it yet.
    leaving: bool,
    /// The call, and the server it is connected to.
    call: Option<(WeakSender<ControlCommand>, Identity)>,
}

/// Builds a [`VoiceManager`].
#[derive(Debug)]
pub struct VoiceManagerBuilder<G> {
    user: UserId,
    gateway: G,
    config: Config,
    connector: Connector,
}

impl<G: VoiceGateway> VoiceManagerBuilder<G> {
    /// Sets how calls are made.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets what opens connections to voice gateways, such as one that trusts a local server's certificate.
    #[must_use]
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// Sets how many threads send and receive media.
    #[must_use]
    pub const fn media_threads(mut self, threads: usize) -> Self {
        self.config.media_threads = threads;
        self
    }

    /// Starts the media threads.
    ///
    /// # Errors
    ///
    /// The operating system's, when it has no threads or descriptors left.
    pub fn build(self) -> io::Result<VoiceManager> {
        let driver = Driver::with_connector(self.config, self.connector)?;
        let guilds = Mutex::new(HashMap::new());
        Ok(VoiceManager(Arc::new(Inner { driver, gateway: Box::new(self.gateway), user: self.user, guilds })))
    }
}

impl VoiceManager {
    /// Begins a manager for the bot's own user and its main gateway.
    pub fn builder<G: VoiceGateway>(user: UserId, gateway: G) -> VoiceManagerBuilder<G> {
        VoiceManagerBuilder { user, gateway, config: Config::default(), connector: Connector::new() }
    }

    /// Takes an event of the main gateway, from the bot's own event loop. Never waits.
    pub fn handle_event(&self, event: impl Into<GatewayEvent>) {
        match event.into() {
            GatewayEvent::VoiceState(state) => self.0.handle_voice_state(&state),
            GatewayEvent::VoiceServer(update) => self.0.handle_voice_server(&update),
        }
    }

    /// Joins a channel; await it. A call that the guild has already is left first. Of several joins for one
    /// guild the last one counts; the others end with [`JoinError::Superseded`].
    pub fn join(&self, guild: GuildId, channel: ChannelId) -> Join {
        let timeout = self.0.driver.config().join_timeout;
        Join { manager: self.clone(), guild, channel, timeout, self_mute: false, self_deaf: false }
    }

    /// Leaves the guild's channel, or gives up a join, and waits, within bounds, for the main gateway to
    /// confirm it.
    pub async fn leave(&self, guild: GuildId) {
        let deadline = Instant::now() + self.0.driver.config().leave_timeout;
        self.0.hang_up(guild, deadline).await;
    }

    /// The guilds that have a call.
    #[must_use]
    pub fn guilds(&self) -> Vec<GuildId> {
        let guilds = self.0.lock();
        guilds.iter().filter(|(_, guild)| guild.commands().is_some()).map(|(id, _)| *id).collect()
    }
}

/// A join that is under way; await it.
#[must_use = "nothing happens before it is awaited"]
#[derive(Debug)]
pub struct Join {
    manager: VoiceManager,
    guild: GuildId,
    channel: ChannelId,
    timeout: Duration,
    self_mute: bool,
    self_deaf: bool,
}

impl Join {
    /// How long it may take, in place of the configured time.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Joins muted.
    pub const fn self_mute(mut self, mute: bool) -> Self {
        self.self_mute = mute;
        self
    }

    /// Joins deafened. Nothing is received then.
    pub const fn self_deaf(mut self, deaf: bool) -> Self {
        self.self_deaf = deaf;
        self
    }

    async fn run(self) -> Result<(VoiceClient, Events), JoinError> {
        let inner = Arc::clone(&self.manager.0);
        let deadline = Instant::now() + self.timeout;
        inner.hang_up(self.guild, deadline.min(Instant::now() + inner.driver.config().leave_timeout)).await;
        let attempt = Attempt::begin(&inner, self.guild);
        let wish = UpdateVoiceState {
            guild_id: self.guild,
            channel_id: Some(self.channel),
            self_mute: self.self_mute,
            self_deaf: self.self_deaf,
        };
        inner.gateway.update_voice_state(wish).map_err(JoinError::Gateway)?;
        let info = attempt.connect_info(self.channel, deadline).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let connect = inner.driver.connect_with(info.clone(), Some(inner.on_end(self.guild)));
        let (client, events) = connect.timeout(left).await.map_err(JoinError::Connect)?;
        attempt.succeed(&client, info)?;
        Ok((client, events))
    }
}

impl IntoFuture for Join {
    type Output = Result<(VoiceClient, Events), JoinError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A join between its opcode 4 and its call. Dropped before it succeeds, it takes the wish back.
struct Attempt {
    inner: Arc<Inner>,
    guild: GuildId,
    generation: u64,
    changed: Arc<Notify>,
    done: bool,
}

impl Attempt {
    fn begin(inner: &Arc<Inner>, id: GuildId) -> Self {
        let mut guilds = inner.lock();
        let guild = guilds.entry(id).or_insert_with(|| Guild::new(id, inner.user));
        guild.generation += 1;
        guild.joining = true;
        // What is known belongs to an earlier join: it is never used for this one.
        guild.collector = JoinCollector::new(id, inner.user);
        guild.changed.notify_waiters();
        let (generation, changed) = (guild.generation, Arc::clone(&guild.changed));
        Self { inner: Arc::clone(inner), guild: id, generation, changed, done: false }
    }

    /// Waits for both events.
    async fn connect_info(&self, channel: ChannelId, deadline: Instant) -> Result<Identity, JoinError> {
        loop {
            let changed = self.changed.notified();
            let missing = {
                let guilds = self.inner.lock();
                let guild = guilds.get(&self.guild).filter(|guild| guild.generation == self.generation);
                let collector = &guild.ok_or(JoinError::Superseded)?.collector;
                if collector.channel() == Some(channel)
                    && let Some(info) = collector.connect_info()
                {
                    return info.map_err(JoinError::Endpoint);
                }
                Missing { voice_state: collector.channel() != Some(channel), voice_server: !collector.has_server() }
            };
            if timeout_at(deadline, changed).await.is_err() {
                return Err(JoinError::TimedOut(missing));
            }
        }
    }

    fn succeed(mut self, client: &VoiceClient, info: Identity) -> Result<(), JoinError> {
        let mut guilds = self.inner.lock();
        let guild = guilds.get_mut(&self.guild).filter(|guild| guild.generation == self.generation);
        let guild = guild.ok_or(JoinError::Superseded)?;
        guild.joining = false;
        guild.call = Some((client.downgrade(), info));
        // The server may have changed while we connected to it.
        guild.follow_server();
        drop(guilds);
        self.done = true;
        Ok(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.done {
            let current = {
                let mut guilds = self.inner.lock();
                let guild = guilds.get_mut(&self.guild).filter(|guild| guild.generation == self.generation);
                guild.map(|guild| (guild.joining, guild.leaving) = (false, true)).is_some()
            };
            // Whoever superseded this join has sent a wish of its own.
            if current {
                self.inner.send_leave(self.guild);
            }
        }
    }
}

impl Inner {
    fn handle_voice_state(&self, state: &VoiceState) {
        let mut guilds = self.lock();
        let Some(guild) = state.guild_id.and_then(|id| guilds.get_mut(&id)) else { return };
        if state.user_id != self.user {
            return;
        }
        let before = guild.collector.channel();
        guild.collector.handle_voice_state(state);
        match state.channel_id {
            None => {
                guild.leaving = false;
                if let Some(commands) = guild.commands() {
                    let _ = commands.try_send(ControlCommand::Disconnected);
                }
                guild.call = None;
            }
            Some(channel) if before != Some(channel) => {
                if let Some(commands) = guild.commands() {
                    let _ = commands.try_send(ControlCommand::Moved(channel));
                }
            }
            Some(_) => {}
        }
        guild.changed.notify_waiters();
    }

    fn handle_voice_server(&self, update: &VoiceServerUpdate) {
        let mut guilds = self.lock();
        let Some(guild) = guilds.get_mut(&update.guild_id) else { return };
        guild.collector.handle_voice_server(update);
        guild.follow_server();
        guild.changed.notify_waiters();
    }

    /// Ends the guild's call, or gives its join up, and waits until the main gateway has confirmed it.
    async fn hang_up(&self, id: GuildId, deadline: Instant) {
        let (call, changed) = {
            let mut guilds = self.lock();
            let Some(guild) = guilds.get_mut(&id) else { return };
            guild.generation += 1;
            guild.changed.notify_waiters();
            let joining = std::mem::take(&mut guild.joining);
            let call = guild.commands();
            guild.call = None;
            guild.leaving |= joining || call.is_some();
            (call.map_or(Ok(joining), Err), Arc::clone(&guild.changed))
        };
        match call {
            // The call's control tells the main gateway when it has closed the connection.
            Err(commands) => _ = commands.send(ControlCommand::Leave).await,
            Ok(true) => self.send_leave(id),
            Ok(false) => {}
        }
        loop {
            let changed = changed.notified();
            if self.lock().get(&id).is_none_or(|guild| !guild.leaving) || timeout_at(deadline, changed).await.is_err() {
                break;
            }
        }
        let mut guilds = self.lock();
        if let Some(guild) = guilds.get_mut(&id)
            && !guild.joining
            && guild.commands().is_none()
        {
            guilds.remove(&id);
        }
    }

    /// What a call's control does when the call has ended.
    fn on_end(self: &Arc<Self>, id: GuildId) -> OnEnd {
        let inner = Arc::downgrade(self);
        Box::new(move |reason: &EndReason| {
            let Some(inner) = inner.upgrade() else { return };
            if *reason != EndReason::Disconnected {
                if let Some(guild) = inner.lock().get_mut(&id)
                    && guild.commands().is_none()
                {
                    guild.leaving = true;
                }
                inner.send_leave(id);
            }
        })
    }

    fn send_leave(&self, guild_id: GuildId) {
        let wish = UpdateVoiceState { guild_id, channel_id: None, self_mute: false, self_deaf: false };
        if let Err(error) = self.gateway.update_voice_state(wish) {
            tracing::warn!(%error, %guild_id, "the main gateway could not be told that a channel was left");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GuildId, Guild>> {
        self.guilds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guild {
    fn new(id: GuildId, user: UserId) -> Self {
        Self {
            collector: JoinCollector::new(id, user),
            changed: Arc::new(Notify::new()),
            generation: 0,
            joining: false,
            leaving: false,
            call: None,
        }
    }

    /// The way to the call, while it lives.
    fn commands(&self) -> Option<tokio::sync::mpsc::Sender<ControlCommand>> {
        self.call.as_ref()?.0.upgrade().filter(|commands| !commands.is_closed())
    }

    /// Lets the call follow to the server that the main gateway named last.
    fn follow_server(&mut self) {
        let Some(commands) = self.commands() else { return };
        let (Some((_, used)), Some(Ok(named))) = (&mut self.call, self.collector.connect_info()) else { return };
        // Both compared: the same endpoint with a new token is a new session.
        if (&used.endpoint, &used.token) != (&named.endpoint, &named.token) {
            *used = named.clone();
            let _ = commands.try_send(ControlCommand::Update(named));
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a channel was not joined.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The main gateway took no opcode 4 (the caller's gateway connection).
    Gateway(Box<dyn Error + Send + Sync>),
    /// The main gateway did not answer in time. It never refuses: the channel may be full or unknown, or the
    /// bot may lack the permission to see it or to connect.
    TimedOut(Missing),
    /// The main gateway named an unusable voice server (the peer).
    Endpoint(EndpointError),
    /// The voice server did not let us in.
    Connect(ConnectError),
    /// Another join or leave for the guild took this one's place (the caller).
    Superseded,
}

/// What the main gateway did not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The own voice state in the wanted channel.
    pub voice_state: bool,
    /// The voice server.
    pub voice_server: bool,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(_) => f.write_str("the main gateway did not take the join"),
            Self::TimedOut(Missing { voice_state: true, voice_server: true }) => f.write_str(
                "the main gateway did not answer the join in time (channel full, unknown, or permission missing)",
            ),
            Self::TimedOut(Missing { voice_server: true, .. }) => {
                f.write_str("the main gateway named no voice server in time")
            }
            Self::TimedOut(_) => f.write_str("the main gateway did not confirm the channel in time"),
            Self::Endpoint(_) => f.write_str("the main gateway named an unusable voice server"),
            Self::Connect(_) => f.write_str("the voice server did not let us in"),
            Self::Superseded => f.write_str("another join or leave for the guild took this one's place"),
        }
    }
}

impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Gateway(error) => Some(error.as_ref() as _),
            Self::Endpoint(error) => Some(error),
            Self::Connect(error) => Some(error),
            Self::TimedOut(_) | Self::Superseded => None,
        }
    }
}
