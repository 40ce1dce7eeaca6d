//! All calls of one bot: guild to client, main-gateway events in, opcode 4 out.

mod error;
mod guild;
mod join;
mod wish;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use tokio::time::Instant;
use voice_dave::SigningKey;
use voice_model::{ChannelId, GuildId, UpdateVoiceState, UserId, VoiceServerUpdate, VoiceState};
use voice_ws::Connector;

use crate::{Config, Driver, E2ee, EndReason, GatewayEvent, VoiceGateway, driver::ControlCommand};

use guild::Guild;
use wish::Wish;

pub use error::{JoinError, Missing};
pub use join::Join;

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
        Join::new(Arc::clone(&self.0), guild, channel)
    }

    /// Leaves the guild's channel, or gives up a join, and waits, within bounds, for the main gateway to
    /// confirm it.
    pub async fn leave(&self, guild: GuildId) {
        Wish::new(&self.0, guild).hang_up(after(self.0.driver.config().leave_timeout)).await;
    }

    /// The guilds that have a call.
    #[must_use]
    pub fn guilds(&self) -> Vec<GuildId> {
        let guilds = self.0.lock();
        guilds.iter().filter(|(_, guild)| guild.commands().is_some()).map(|(id, _)| *id).collect()
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
                guild.follow_channel();
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

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A deadline; a duration that no clock can count is for ever, or near enough.
fn after(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}
