//! One join, from opcode 4 to a call.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout_at;
use voice_model::{ChannelId, GuildId};

use super::{Inner, JoinError, Wish, after};
use crate::{
    ConnectError, E2ee, EndReason, Events, Handover, JoinInfo, VoiceClient, api::settled, driver::MainGatewayCall,
};

/// A join that is under way, or a call that is being taken over; await it. Dropped before it is done, it is taken back.
#[must_use = "nothing happens before it is awaited"]
#[derive(Debug)]
pub struct Join {
    inner: Arc<Inner>,
    guild: GuildId,
    place: Place,
    e2ee: E2ee,
    timeout: Duration,
    self_mute: bool,
    self_deaf: bool,
}

#[derive(Debug)]
enum Place {
    Channel(ChannelId),
    /// Where another process was.
    Call(Box<Handover>),
}

impl Join {
    pub(super) fn new(inner: Arc<Inner>, guild: GuildId, channel: ChannelId) -> Self {
        Self::at(inner, guild, Place::Channel(channel))
    }

    pub(super) fn take_over(inner: Arc<Inner>, handover: Handover) -> Self {
        Self::at(inner, handover.guild_id(), Place::Call(Box::new(handover)))
    }

    fn at(inner: Arc<Inner>, guild: GuildId, place: Place) -> Self {
        let (e2ee, timeout) = (inner.config.e2ee, inner.config.join_timeout);
        Self { inner, guild, place, e2ee, timeout, self_mute: false, self_deaf: false }
    }

    /// What is made of end-to-end encryption, in place of what is configured.
    pub const fn e2ee(mut self, policy: E2ee) -> Self {
        self.e2ee = policy;
        self
    }

    /// How long it may take, in place of the configured time. Where many guilds are joined at once the
    /// [main gateway's limits](crate::VoiceManager) may ask for more.
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
        let inner = &self.inner;
        let deadline = after(self.timeout);
        let call = match self.place {
            Place::Channel(channel) => {
                let mut info = JoinInfo::new(self.guild, channel, inner.user);
                (info.self_mute, info.self_deaf) = (self.self_mute, self.self_deaf);
                MainGatewayCall::Joined(info)
            }
            Place::Call(handover) if handover.user_id() != inner.user => return Err(JoinError::OtherUser),
            Place::Call(handover) => MainGatewayCall::OtherProcess(handover, None),
        };
        let wish = Wish::new(inner, self.guild);
        let leave = matches!(call, MainGatewayCall::Joined(_));
        inner.hang_up(self.guild, deadline.min(after(inner.leave_limit())), leave).await;
        let mut config = (*inner.config).clone();
        config.e2ee = self.e2ee;
        // Asked twice, and the limit that says what is missing should not be the later one.
        config.gateway_timeout = config.gateway_timeout.min(self.timeout / 2);
        let mut parts = inner.start(&wish, config, call).ok_or(JoinError::Superseded)?;
        let settled = timeout_at(deadline, settled(&mut parts)).await;
        if !wish.is_newest() {
            return Err(JoinError::Superseded);
        }
        match settled {
            Ok(None) => Ok(VoiceClient::new(parts, inner.config.leave_timeout)),
            Ok(Some((reason, cause))) => Err(match reason {
                EndReason::NoAnswer(missing) => JoinError::TimedOut(missing),
                EndReason::Gateway(error) => JoinError::Gateway(error.into()),
                EndReason::Endpoint(error) => JoinError::Endpoint(error),
                EndReason::Disconnected => JoinError::Disconnected,
                reason => JoinError::Connect(ConnectError::Ended { reason, cause }),
            }),
            Err(_) => Err(match parts.state.borrow().missing {
                Some(missing) => JoinError::TimedOut(missing),
                None => JoinError::Connect(ConnectError::TimedOut),
            }),
        }
    }
}

impl IntoFuture for Join {
    type Output = Result<(VoiceClient, Events), JoinError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
