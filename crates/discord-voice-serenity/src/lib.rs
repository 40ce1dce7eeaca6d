#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    error::Error,
    fmt, io,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use discord_voice::{
    Config, Connector, GatewayEvent, Shard, VoiceGateway, VoiceManager,
    model::{ChannelId, GuildId, SessionId, Token, UpdateVoiceState, UserId, VoiceServerUpdate, VoiceState},
};
use serenity::{
    all as discord, async_trait,
    futures::channel::mpsc::UnboundedSender,
    gateway::{ConnectionStage, ShardRunnerMessage, ShardStageUpdateEvent, VoiceGatewayManager},
};

/// The voice calls of a serenity bot.
///
/// Give it to serenity twice: with `ClientBuilder::voice_manager_arc`, and with `event_handler_arc` beside the bot's own
/// handler, so that calls hear when a shard is lost, resumed or ready. The manager is there once serenity is logged in.
pub struct SerenityVoice {
    config: Config,
    connector: Connector,
    shards: Arc<Shards>,
    manager: OnceLock<VoiceManager>,
}

/// The way to each shard of this process.
#[derive(Default)]
struct Shards {
    senders: Mutex<HashMap<u32, UnboundedSender<ShardRunnerMessage>>>,
    count: OnceLock<u32>,
}

impl SerenityVoice {
    /// Creates the calls' owner.
    #[must_use]
    pub fn new(config: Config, connector: Connector) -> Arc<Self> {
        Arc::new(Self { config, connector, shards: Arc::default(), manager: OnceLock::new() })
    }

    /// The manager of the calls; `None` before serenity is logged in.
    #[must_use]
    pub fn manager(&self) -> Option<&VoiceManager> {
        self.manager.get()
    }

    /// Tells calls what has happened to a shard.
    fn tell(&self, shard_id: u32, event: impl FnOnce(Shard) -> GatewayEvent) {
        if let (Some(manager), Some(total)) =
            (self.manager(), self.shards.count.get().copied().and_then(NonZeroU32::new))
        {
            manager.handle_event(event(Shard::new(shard_id, total)));
        }
    }

    fn start(&self, user: UserId) -> io::Result<VoiceManager> {
        let gateway = Arc::clone(&self.shards);
        VoiceManager::builder(user, gateway).config(self.config.clone()).connector(self.connector.clone()).build()
    }
}

#[async_trait]
impl VoiceGatewayManager for SerenityVoice {
    async fn initialise(&self, shard_count: u32, user_id: discord::UserId) {
        let _ = self.shards.count.set(shard_count.max(1));
        match self.start(UserId::new(user_id.get())) {
            Ok(manager) => _ = self.manager.set(manager),
            Err(error) => tracing::error!(%error, "no media threads for voice"),
        }
    }

    async fn register_shard(&self, shard_id: u32, sender: UnboundedSender<ShardRunnerMessage>) {
        self.shards.lock().insert(shard_id, sender);
    }

    async fn deregister_shard(&self, shard_id: u32) {
        self.shards.lock().remove(&shard_id);
    }

    async fn server_update(&self, guild_id: discord::GuildId, endpoint: &Option<String>, token: &str) {
        if let Some(manager) = self.manager() {
            manager.handle_event(VoiceServerUpdate {
                endpoint: endpoint.clone(),
                guild_id: GuildId::new(guild_id.get()),
                token: Token::new(token),
            });
        }
    }

    async fn state_update(&self, guild_id: discord::GuildId, state: &discord::VoiceState) {
        if let Some(manager) = self.manager() {
            manager.handle_event(VoiceState {
                channel_id: state.channel_id.map(|id| ChannelId::new(id.get())),
                deaf: state.deaf,
                guild_id: Some(GuildId::new(guild_id.get())),
                mute: state.mute,
                request_to_speak_timestamp: state.request_to_speak_timestamp.and_then(|at| at.to_rfc3339()),
                self_deaf: state.self_deaf,
                self_mute: state.self_mute,
                self_stream: state.self_stream,
                self_video: state.self_video,
                suppress: state.suppress,
                ..VoiceState::new(UserId::new(state.user_id.get()), SessionId::new(state.session_id.as_str()))
            });
        }
    }
}

#[async_trait]
impl discord::EventHandler for SerenityVoice {
    async fn ready(&self, context: discord::Context, ready: discord::Ready) {
        let session_id = Some(SessionId::new(ready.session_id));
        self.tell(context.shard_id.0, |shard| GatewayEvent::Ready { session_id, shard });
    }

    async fn resume(&self, context: discord::Context, _: discord::ResumedEvent) {
        self.tell(context.shard_id.0, |shard| GatewayEvent::Resumed { shard });
    }

    async fn shard_stage_update(&self, _: discord::Context, update: ShardStageUpdateEvent) {
        if update.old == ConnectionStage::Connected {
            self.tell(update.shard_id.0, |shard| GatewayEvent::Disconnected { shard });
        }
    }
}

impl fmt::Debug for SerenityVoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerenityVoice").field("manager", &self.manager).finish_non_exhaustive()
    }
}

impl VoiceGateway for Shards {
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>> {
        let count = *self.count.get().ok_or(GatewayError::NotLoggedIn)?;
        // Discord docs, Gateway, "Sharding".
        let shard = (update.guild_id.get() >> 22) % u64::from(count);
        let shards = self.lock();
        let sender = u32::try_from(shard).ok().and_then(|shard| shards.get(&shard));
        let message = ShardRunnerMessage::Message(update.encode().into());
        sender.ok_or(GatewayError::NoShard(shard))?.unbounded_send(message)?;
        Ok(())
    }
}

impl Shards {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, UnboundedSender<ShardRunnerMessage>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an update could not be given to serenity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayError {
    /// The bot is not logged in yet (the caller).
    NotLoggedIn,
    /// The guild's shard is not connected, or not in this process (the network, or the caller).
    NoShard(u64),
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoggedIn => f.write_str("the bot is not logged in yet"),
            Self::NoShard(shard) => write!(f, "shard {shard} of the guild is not connected here"),
        }
    }
}

impl Error for GatewayError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_update_goes_to_the_guilds_shard() {
        let voice = SerenityVoice::new(Config::default(), Connector::new());
        let update = UpdateVoiceState {
            guild_id: GuildId::new(3 << 22),
            channel_id: Some(ChannelId::new(7)),
            self_mute: false,
            self_deaf: false,
        };
        let error = voice.shards.update_voice_state(update).expect_err("not logged in");
        assert_eq!(error.downcast_ref(), Some(&GatewayError::NotLoggedIn));
        voice.initialise(2, discord::UserId::new(9)).await;
        let error = voice.shards.update_voice_state(update).expect_err("no shard");
        assert_eq!(error.downcast_ref(), Some(&GatewayError::NoShard(1)));

        let (sender, mut messages) = serenity::futures::channel::mpsc::unbounded();
        voice.register_shard(1, sender).await;
        voice.shards.update_voice_state(update).expect("sent");
        let Ok(ShardRunnerMessage::Message(message)) = messages.try_recv() else { panic!("a message") };
        assert!(message.to_text().expect("text").contains(r#""channel_id":"7""#));
        assert!(voice.manager().is_some());
    }
}
