//! All calls of one bot: guild to client, main-gateway events in, opcode 4 out.

mod error;
mod join;
mod queue;
mod updates;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::{Instant, timeout_at},
};
use voice_dave::SigningKey;
use voice_model::{ChannelId, GuildId, SessionId, UserId};
use voice_ws::Connector;

use self::queue::Queue;
use crate::{
    Config, Driver, E2ee, EndReason, GatewayEvent, Handover, Metrics, Shard, VoiceGateway,
    api::VOICE_GATEWAY_LIMIT,
    driver::{CallParts, CallShared, ControlCommand, ControlState, GatewaySignal, MainGatewayCall, Origin, clock},
};

pub use error::JoinError;
pub use join::Join;

/// The calls of one bot user, one per guild. Cheap to clone.
///
/// Feed it the events of the main gateway; it sends opcode 4 through the [`VoiceGateway`] it was given, at most
/// twice in two seconds for a guild and 60 times a minute on each of the bot's connections: of what has to wait only the
/// newest of a guild is sent, and joins before leaves.
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
    config: Arc<Config>,
    driver: Driver,
    gateway: Box<dyn VoiceGateway>,
    user: UserId,
    state: Mutex<State>,
}

/// Builds a [`VoiceManager`].
#[derive(Debug)]
pub struct VoiceManagerBuilder<G> {
    user: UserId,
    gateway: G,
    config: Config,
    connector: Connector,
    driver: Option<Driver>,
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

    /// Makes calls with the threads and the connector of a driver, which other managers may use too: a process with several
    /// bots needs one. How calls are made is still this manager's own configuration.
    #[must_use]
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = Some(driver);
        self
    }

    /// Sets what is made of end-to-end encryption.
    #[must_use]
    pub const fn e2ee(mut self, policy: E2ee) -> Self {
        self.config.e2ee = policy;
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
    pub fn build(mut self) -> io::Result<VoiceManager> {
        self.config.signing_key.get_or_insert_with(SigningKey::generate);
        let driver = match self.driver {
            Some(driver) => driver,
            None => Driver::with_connector(self.config.clone(), self.connector)?,
        };
        let config = Arc::new(self.config);
        let gateway = Box::new(self.gateway);
        Ok(VoiceManager(Arc::new(Inner { config, driver, gateway, user: self.user, state: Mutex::default() })))
    }
}

impl VoiceManager {
    /// Begins a manager for the bot's own user and its main gateway.
    pub fn builder<G: VoiceGateway>(user: UserId, gateway: G) -> VoiceManagerBuilder<G> {
        VoiceManagerBuilder { user, gateway, config: Config::default(), connector: Connector::new(), driver: None }
    }

    /// Takes an event of the main gateway, from the bot's own event loop. Never waits.
    pub fn handle_event(&self, event: impl Into<GatewayEvent>) {
        self.0.handle_event(event.into());
    }

    /// Joins a channel; await it. A call that the guild has already is left first. Of several joins for one
    /// guild the last one counts; the others end with [`JoinError::Superseded`].
    pub fn join(&self, guild: GuildId, channel: ChannelId) -> Join {
        Join::new(Arc::clone(&self.0), guild, channel)
    }

    /// Takes over a call that another process has [given up](crate::VoiceClient::detach), on this machine; await it. What
    /// the main gateway says of the guild from now on belongs to the call: it has to be told here as for a call that was
    /// [joined](Self::join), and only here. If the bot's own gateway connection has begun a new session meanwhile, the call
    /// is joined again in that one. Whether it is muted or deafened was decided there.
    ///
    /// The user is in one call of a guild: where there is a living one here, its end is waited for as long as a leave may
    /// take, and then the hand-over ends with [`JoinError::Superseded`]. [Leave](Self::leave) first.
    pub fn attach(&self, handover: Handover) -> Join {
        Join::take_over(Arc::clone(&self.0), handover)
    }

    /// Leaves the guild's channel, or gives up a join, and waits, within bounds, for the main gateway to
    /// confirm it. Where the main gateway could not be told so before, it is told again.
    pub async fn leave(&self, guild: GuildId) {
        let _wish = Wish::new(&self.0, guild);
        self.0.hang_up(guild, after(self.0.leave_limit()), true).await;
        self.0.leave_what_is_owed(guild);
    }

    /// What the media threads do that serve its calls, and those of other managers with the same driver.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.0.driver.metrics()
    }

    /// The guilds that have a call.
    #[must_use]
    pub fn guilds(&self) -> Vec<GuildId> {
        let is_living = |call: &Call| call.commands.strong_count() > 0;
        let guilds = self.0.lock();
        guilds
            .guilds
            .iter()
            .filter(|(_, guild)| guild.call.as_ref().is_some_and(is_living))
            .map(|(id, _)| *id)
            .collect()
    }
}

impl Inner {
    fn handle_event(self: &Arc<Self>, event: GatewayEvent) {
        // It came on a connection that is there, whatever was told of it.
        let back = event.guild().and_then(|guild| self.lock().offline.iter().find(|shard| shard.has(guild)).copied());
        // Most events are of other users.
        let is_own = !matches!(&event, GatewayEvent::VoiceState(state) if state.user_id != self.user);
        if is_own {
            self.take_event(event);
        }
        if let Some(shard) = back {
            self.take_event(GatewayEvent::Resumed { shard });
        }
    }

    fn take_event(self: &Arc<Self>, event: GatewayEvent) {
        let mut guilds = self.lock();
        match &event {
            GatewayEvent::Ready { session_id, shard } => {
                // A bot with another number of shards has other sessions.
                guilds.sessions.retain(|(other, _)| other != shard && other.total() == shard.total());
                guilds.offline.retain(|other| other != shard && other.total() == shard.total());
                guilds.sessions.extend(session_id.clone().map(|session| (*shard, session)));
            }
            GatewayEvent::Disconnected { shard } if !guilds.offline.contains(shard) => guilds.offline.push(*shard),
            GatewayEvent::Resumed { shard } => guilds.offline.retain(|other| other != shard),
            _ => {}
        }
        let of_guild = event.guild().map(|guild| guilds.guilds.get(&guild));
        let of_shard = of_guild.is_none().then(|| guilds.guilds.iter().filter(|(id, _)| event.concerns(**id)));
        let concerned = of_guild.flatten().into_iter().chain(of_shard.into_iter().flatten().map(|(_, guild)| guild));
        for call in concerned.filter_map(|guild| guild.call.as_ref()) {
            call.signal(GatewaySignal::Event(event.clone()));
        }
        let is_settled = guilds.queue.handle_event(clock(), &event);
        drop(guilds);
        if is_settled {
            self.send_updates();
        }
    }

    /// Ends the call of a guild, or the join, and waits until the main gateway has confirmed it; or only waits for one
    /// that is ending.
    async fn hang_up(&self, id: GuildId, deadline: Instant, leave: bool) {
        let call = self.lock().guilds.get(&id).and_then(|guild| guild.call.clone());
        let Some(mut call) = call else { return };
        let ended = async {
            if leave && let Some(commands) = call.commands.upgrade() {
                // One that is closed is on its way out already.
                let _ = commands.send(ControlCommand::Leave).await;
            }
            let _ = call.state.wait_for(|state| state.ended.is_some()).await;
        };
        let _ = timeout_at(deadline, ended).await;
    }

    /// Starts the call of a wish, unless there is a newer one.
    fn start(self: &Arc<Self>, wish: &Wish, config: Config, mut call: MainGatewayCall) -> Option<CallParts> {
        let id = wish.guild;
        let mut guilds = self.lock();
        let session_id = guilds.sessions.iter().find(|(shard, _)| shard.has(id)).map(|(_, session)| session.clone());
        let offline = guilds.offline.iter().find(|shard| shard.has(id)).copied();
        let guild = guilds.guilds.get_mut(&id).filter(|guild| guild.newest == wish.number)?;
        match &mut call {
            MainGatewayCall::Joined(info) => info.session_id = session_id,
            // The user is in one call of a guild: if that is ours, the one of the other process is no more.
            MainGatewayCall::OtherProcess(..) if guild.call.as_ref().is_some_and(Call::is_living) => return None,
            MainGatewayCall::OtherProcess(_, main_session) => *main_session = session_id,
        }
        let is_in_channel = matches!(call, MainGatewayCall::OtherProcess(..));
        let wish = wish.number;
        let (sender, signals) = mpsc::channel(MAX_SIGNALS);
        if let Some(shard) = offline {
            let _ = sender.try_send(GatewaySignal::Event(GatewayEvent::Disconnected { shard }));
        }
        let (inner, ended) = (Arc::clone(self), Arc::clone(self));
        let updates = Box::new(move |update| inner.update(update));
        let origin = Origin::MainGateway { call, updates, signals };
        let on_end = Box::new(move |reason: &EndReason| ended.forget(id, wish, reason));
        let parts = self.driver.start(Arc::new(config), origin, Some(on_end));
        let (commands, state) = (parts.commands.downgrade(), parts.state.clone());
        let shared = Arc::clone(&parts.shared);
        guild.call = Some(Call { wish, commands, signals: sender, state, shared });
        if is_in_channel {
            guilds.queue.know(id);
        }
        Some(parts)
    }

    /// The call of a wish is over.
    fn forget(&self, id: GuildId, wish: u64, reason: &EndReason) {
        let mut guilds = self.lock();
        let State { guilds: all, queue, .. } = &mut *guilds;
        if let Some(guild) = all.get_mut(&id)
            && guild.call.take_if(|call| call.wish == wish).is_some()
        {
            queue.handle_end(clock(), id, reason);
        }
        guilds.forget_if_idle(id);
    }

    /// How long a call may take to end.
    fn leave_limit(&self) -> Duration {
        self.config.leave_timeout.saturating_add(VOICE_GATEWAY_LIMIT)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changes in a manager.
#[derive(Default)]
struct State {
    guilds: HashMap<GuildId, Guild>,
    /// The sessions of the bot's connections to the main gateway, as far as they were told.
    sessions: Vec<(Shard, SessionId)>,
    /// The connections that are lost and neither resumed nor ready again.
    offline: Vec<Shard>,
    queue: Queue,
    /// Joins and leaves so far, across all guilds.
    wishes: u64,
}

impl State {
    fn forget_if_idle(&mut self, id: GuildId) {
        if self.guilds.get(&id).is_some_and(|guild| guild.under_way == 0 && guild.call.is_none()) {
            self.guilds.remove(&id);
        }
    }
}

/// One guild with a join, a leave or a call.
#[derive(Default)]
struct Guild {
    /// Joins and leaves that are under way.
    under_way: u32,
    /// The newest join or leave; an older one that finds another number gives up.
    newest: u64,
    call: Option<Call>,
}

/// One join or leave, the newest of its guild until another one comes.
struct Wish {
    inner: Arc<Inner>,
    guild: GuildId,
    number: u64,
}

impl Wish {
    fn new(inner: &Arc<Inner>, id: GuildId) -> Self {
        let mut guilds = inner.lock();
        guilds.wishes += 1;
        let number = guilds.wishes;
        let guild = guilds.guilds.entry(id).or_default();
        guild.newest = number;
        guild.under_way += 1;
        Self { inner: Arc::clone(inner), guild: id, number }
    }

    fn is_newest(&self) -> bool {
        self.inner.lock().guilds.get(&self.guild).is_some_and(|guild| guild.newest == self.number)
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let mut guilds = self.inner.lock();
        if let Some(guild) = guilds.guilds.get_mut(&self.guild) {
            guild.under_way -= 1;
        }
        guilds.forget_if_idle(self.guild);
    }
}

/// A call, from its first opcode 4 to its end.
#[derive(Clone)]
struct Call {
    wish: u64,
    commands: mpsc::WeakSender<ControlCommand>,
    signals: mpsc::Sender<GatewaySignal>,
    state: watch::Receiver<ControlState>,
    shared: Arc<CallShared>,
}

impl Call {
    fn signal(&self, signal: GatewaySignal) {
        // One that is over needs to hear nothing any more.
        if let Err(TrySendError::Full(_)) = self.signals.try_send(signal) {
            self.shared.dropped.gateway_events.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("a call that is too busy missed an event of the main gateway");
        }
    }

    fn is_living(&self) -> bool {
        self.state.borrow().ended.is_none()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Events of the main gateway that may wait for a call.
const MAX_SIGNALS: usize = 64;

/// A deadline; a duration that no clock can count is for ever, or near enough.
fn after(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}
