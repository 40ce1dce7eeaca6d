//! All calls of one bot: guild to client, main-gateway events in, opcode 4 out.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    future::{Future, IntoFuture},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{
        Notify,
        mpsc::{Sender, WeakSender},
    },
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
    /// Numbers joins and leaves, across all guilds and for ever.
    wishes: AtomicU64,
}

/// What is known of one guild. It is forgotten once nothing is going on there.
struct Guild {
    collector: JoinCollector,
    /// Woken whenever something here changes.
    changed: Arc<Notify>,
    /// The newest join or leave; an older one that finds another number gives up.
    wish: u64,
    /// Joins and leaves that are under way.
    under_way: u32,
    joining: bool,
    /// Left, and the main gateway has not confirmed it yet.
    leaving: bool,
    /// The join whose connection has not ended yet. Its end tells the main gateway; the end of an older one, for
    /// which nobody waits any more, does not.
    open: Option<u64>,
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
        let gateway = Box::new(self.gateway);
        Ok(VoiceManager(Arc::new(Inner { driver, gateway, user: self.user, guilds, wishes: AtomicU64::new(0) })))
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
        let wish = Wish::new(&self.0, guild);
        wish.hang_up(after(self.0.driver.config().leave_timeout)).await;
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
        let deadline = after(self.timeout);
        let wish = Wish::new(&inner, self.guild);
        wish.hang_up(deadline.min(after(inner.driver.config().leave_timeout))).await;
        let mut attempt = Attempt::begin(wish)?;
        let update = UpdateVoiceState {
            guild_id: self.guild,
            channel_id: Some(self.channel),
            self_mute: self.self_mute,
            self_deaf: self.self_deaf,
        };
        if let Err(error) = inner.gateway.update_voice_state(update) {
            attempt.told = false;
            return Err(JoinError::Gateway(error));
        }
        let info = attempt.connect_info(self.channel, deadline).await?;
        let on_end = attempt.open()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let connect = inner.driver.connect_with(info.clone(), Some(on_end));
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

/// One join or leave, the newest of its guild until another one comes.
struct Wish {
    inner: Arc<Inner>,
    guild: GuildId,
    number: u64,
    changed: Arc<Notify>,
    /// What the wish found.
    found: Found,
}

/// What a guild was doing when a wish came.
enum Found {
    Call(Sender<ControlCommand>),
    /// A connection that nobody holds any more, or that is still being made.
    Connection,
    /// A join that the main gateway has not answered.
    Join,
    Nothing,
}

impl Wish {
    fn new(inner: &Arc<Inner>, id: GuildId) -> Self {
        let mut guilds = inner.lock();
        let guild = guilds.entry(id).or_insert_with(|| Guild::new(id, inner.user));
        guild.wish = inner.wishes.fetch_add(1, Ordering::Relaxed);
        guild.under_way += 1;
        let joining = std::mem::take(&mut guild.joining);
        let found = match guild.commands() {
            Some(commands) => Found::Call(commands),
            None if guild.open.is_some() => Found::Connection,
            None if joining => Found::Join,
            None => Found::Nothing,
        };
        guild.call = None;
        guild.leaving |= matches!(found, Found::Join) && guild.is_in_channel();
        guild.changed.notify_waiters();
        let (number, changed) = (guild.wish, Arc::clone(&guild.changed));
        Self { inner: Arc::clone(inner), guild: id, number, changed, found }
    }

    /// Ends what was found and waits until the main gateway has confirmed it.
    async fn hang_up(&self, deadline: Instant) {
        match &self.found {
            // The end of the connection tells the main gateway.
            Found::Call(commands) => _ = timeout_at(deadline, commands.send(ControlCommand::Leave)).await,
            Found::Join => self.inner.send_leave(self.guild),
            Found::Connection | Found::Nothing => {}
        }
        loop {
            let changed = self.changed.notified();
            let pending = |guild: &Guild| guild.leaving || guild.open.is_some();
            if !self.inner.lock().get(&self.guild).is_some_and(pending) || timeout_at(deadline, changed).await.is_err()
            {
                break;
            }
        }
        if let Some(guild) = self.inner.lock().get_mut(&self.guild).filter(|guild| guild.wish == self.number) {
            // Waited for long enough: what ends later is nobody's any more.
            (guild.leaving, guild.open) = (false, None);
        }
    }

    /// The guild, if there is no newer wish for it.
    fn current<'a>(&self, guilds: &'a mut HashMap<GuildId, Guild>) -> Result<&'a mut Guild, JoinError> {
        guilds.get_mut(&self.guild).filter(|guild| guild.wish == self.number).ok_or(JoinError::Superseded)
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let mut guilds = self.inner.lock();
        if let Some(guild) = guilds.get_mut(&self.guild) {
            guild.under_way -= 1;
        }
        Inner::forget_if_idle(&mut guilds, self.guild);
    }
}

/// A join between its opcode 4 and its call. Dropped before it succeeds, it takes the wish back.
struct Attempt {
    wish: Wish,
    /// The main gateway was told, and nobody has taken over to tell it the end.
    told: bool,
}

impl Attempt {
    fn begin(wish: Wish) -> Result<Self, JoinError> {
        let mut guilds = wish.inner.lock();
        let guild = wish.current(&mut guilds)?;
        guild.joining = true;
        // What is known belongs to an earlier join: it is never used for this one.
        guild.collector = JoinCollector::new(wish.guild, wish.inner.user);
        drop(guilds);
        Ok(Self { wish, told: true })
    }

    /// Waits for both events.
    async fn connect_info(&self, channel: ChannelId, deadline: Instant) -> Result<Identity, JoinError> {
        loop {
            let changed = self.wish.changed.notified();
            let missing = {
                let mut guilds = self.wish.inner.lock();
                let collector = &self.wish.current(&mut guilds)?.collector;
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

    /// Hands the duty to tell the main gateway of the end over to the connection.
    fn open(&mut self) -> Result<OnEnd, JoinError> {
        let (id, number) = (self.wish.guild, self.wish.number);
        let mut guilds = self.wish.inner.lock();
        self.wish.current(&mut guilds)?.open = Some(number);
        drop(guilds);
        self.told = false;
        let inner = Arc::clone(&self.wish.inner);
        Ok(Box::new(move |reason: &EndReason| inner.handle_end(id, number, reason)))
    }

    fn succeed(self, client: &VoiceClient, info: Identity) -> Result<(), JoinError> {
        let mut guilds = self.wish.inner.lock();
        let guild = self.wish.current(&mut guilds)?;
        guild.joining = false;
        if !guild.is_in_channel() {
            return Err(JoinError::Disconnected);
        }
        guild.call = Some((client.downgrade(), info));
        // The server may have changed while we connected to it.
        guild.follow_server();
        Ok(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut guilds = self.wish.inner.lock();
        // Whoever superseded this join has ended it.
        let Ok(guild) = self.wish.current(&mut guilds) else { return };
        guild.joining = false;
        if self.told {
            guild.leaving = guild.is_in_channel();
            drop(guilds);
            self.wish.inner.send_leave(self.wish.guild);
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
        if let Some(id) = state.guild_id {
            Self::forget_if_idle(&mut guilds, id);
        }
    }

    fn handle_voice_server(&self, update: &VoiceServerUpdate) {
        let mut guilds = self.lock();
        let Some(guild) = guilds.get_mut(&update.guild_id) else { return };
        guild.collector.handle_voice_server(update);
        guild.follow_server();
        guild.changed.notify_waiters();
    }

    /// A connection has ended.
    fn handle_end(&self, id: GuildId, number: u64, reason: &EndReason) {
        let mut guilds = self.lock();
        let Some(guild) = guilds.get_mut(&id).filter(|guild| guild.open == Some(number)) else { return };
        (guild.open, guild.call) = (None, None);
        let tell = *reason != EndReason::Disconnected && guild.is_in_channel();
        guild.leaving |= tell;
        guild.changed.notify_waiters();
        Self::forget_if_idle(&mut guilds, id);
        drop(guilds);
        if tell {
            self.send_leave(id);
        }
    }

    fn forget_if_idle(guilds: &mut HashMap<GuildId, Guild>, id: GuildId) {
        if guilds.get(&id).is_some_and(Guild::is_idle) {
            guilds.remove(&id);
        }
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
            wish: 0,
            under_way: 0,
            joining: false,
            leaving: false,
            open: None,
            call: None,
        }
    }

    /// Whether the main gateway has a leave to confirm: one that never answered a join answers no leave either.
    fn is_in_channel(&self) -> bool {
        self.collector.channel().is_some()
    }

    const fn is_idle(&self) -> bool {
        self.under_way == 0 && !self.joining && !self.leaving && self.open.is_none() && self.call.is_none()
    }

    /// The way to the call, while it lives.
    fn commands(&self) -> Option<Sender<ControlCommand>> {
        self.call.as_ref()?.0.upgrade().filter(|commands| !commands.is_closed())
    }

    /// Lets the call follow to the server that the main gateway named last.
    fn follow_server(&mut self) {
        let Some(commands) = self.commands() else { return };
        let (Some((_, used)), Some(Ok(named))) = (&mut self.call, self.collector.connect_info()) else { return };
        // Both compared: the same endpoint with a new token is a new session.
        if (&used.endpoint, &used.token) != (&named.endpoint, &named.token) {
            // Refused by a call too busy to take it, it is tried again with the next event.
            if commands.try_send(ControlCommand::Update(named.clone())).is_ok() {
                *used = named;
            }
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
    /// We were taken out of the channel again while we connected (a moderator).
    Disconnected,
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
            Self::Disconnected => f.write_str("taken out of the channel again while joining"),
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
            Self::TimedOut(_) | Self::Disconnected | Self::Superseded => None,
        }
    }
}

/// A deadline; a duration that no clock can count is for ever, or near enough.
fn after(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}
