//! One join, from opcode 4 to a call.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use voice_model::{ChannelId, GuildId, UpdateVoiceState};
use voice_ws::Identity;

use super::{Inner, JoinError, Missing, after, wish::Wish};
use crate::{Config, E2ee, EndReason, Events, JoinCollector, VoiceClient, driver::OnEnd};

/// A join that is under way; await it.
#[must_use = "nothing happens before it is awaited"]
#[derive(Debug)]
pub struct Join {
    inner: Arc<Inner>,
    guild: GuildId,
    channel: ChannelId,
    e2ee: E2ee,
    timeout: Duration,
    self_mute: bool,
    self_deaf: bool,
}

impl Join {
    pub(super) fn new(inner: Arc<Inner>, guild: GuildId, channel: ChannelId) -> Self {
        let Config { e2ee, join_timeout: timeout, .. } = *inner.driver.config();
        Self { inner, guild, channel, e2ee, timeout, self_mute: false, self_deaf: false }
    }

    /// What is made of end-to-end encryption, in place of what is configured.
    pub const fn e2ee(mut self, policy: E2ee) -> Self {
        self.e2ee = policy;
        self
    }

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
        let inner = Arc::clone(&self.inner);
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
        let (client, events) = connect.e2ee(self.e2ee).timeout(left).await.map_err(JoinError::Connect)?;
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
