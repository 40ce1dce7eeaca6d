#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use std::{collections::HashMap, error::Error, fmt, num::NonZeroU32};

use discord_voice::{
    GatewayEvent, Shard, VoiceGateway,
    model::{ChannelId, GuildId, SessionId, Token, UpdateVoiceState, UserId, VoiceServerUpdate, VoiceState},
};
use twilight_gateway::{Event, EventTypeFlags, MessageSender, ShardId};
use twilight_model::{
    gateway::payload::outgoing::UpdateVoiceState as TwilightUpdate,
    id::{Id, marker::GuildMarker},
};

/// Sends opcode 4 through twilight's shards, each guild's on its own shard.
#[derive(Clone, Debug)]
pub struct TwilightGateway {
    senders: HashMap<u32, MessageSender>,
    shard_count: u32,
}

impl TwilightGateway {
    /// A bot with one shard. The sender is [`Shard::sender`](twilight_gateway::Shard::sender).
    #[must_use]
    pub fn new(sender: MessageSender) -> Self {
        Self { senders: HashMap::from([(0, sender)]), shard_count: 1 }
    }

    /// A bot with several shards: the number of each shard of this process with its sender, and how many shards
    /// the bot has in all. A count of zero is taken for one.
    #[must_use]
    pub fn with_shards(senders: impl IntoIterator<Item = (u32, MessageSender)>, shard_count: u32) -> Self {
        Self { senders: senders.into_iter().collect(), shard_count: shard_count.max(1) }
    }

    fn shard_of(&self, guild: GuildId) -> u64 {
        // Discord docs, Gateway, "Sharding".
        (guild.get() >> 22) % u64::from(self.shard_count)
    }
}

impl VoiceGateway for TwilightGateway {
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>> {
        let shard = self.shard_of(update.guild_id);
        let sender = u32::try_from(shard).ok().and_then(|shard| self.senders.get(&shard));
        let sender = sender.ok_or(GatewayError::ForeignShard(shard))?;
        let guild = Id::<GuildMarker>::new_checked(update.guild_id.get()).ok_or(GatewayError::ZeroId)?;
        let channel = match update.channel_id {
            Some(channel) => Some(Id::new_checked(channel.get()).ok_or(GatewayError::ZeroId)?),
            None => None,
        };
        sender.command(&TwilightUpdate::new(guild, channel, update.self_deaf, update.self_mute))?;
        Ok(())
    }
}

/// The types of events that calls live on, for [`StreamExt::next_event`](twilight_gateway::StreamExt::next_event). The
/// end of a connection, which calls want to know too, comes whatever is asked for.
pub const EVENTS: EventTypeFlags = EventTypeFlags::VOICE_STATE_UPDATE
    .union(EventTypeFlags::VOICE_SERVER_UPDATE)
    .union(EventTypeFlags::READY)
    .union(EventTypeFlags::RESUMED);

/// What an event of a shard of twilight's means to calls, if anything.
///
/// ```
/// use discord_voice::{GatewayEvent, Shard};
/// use discord_voice_twilight::gateway_event;
/// use twilight_gateway::{Event, ShardId};
///
/// let event = gateway_event(ShardId::ONE, &Event::Resumed);
/// assert!(matches!(event, Some(GatewayEvent::Resumed { shard: Shard::ONLY })));
/// assert!(gateway_event(ShardId::ONE, &Event::GatewayHeartbeatAck).is_none());
/// ```
#[must_use]
pub fn gateway_event(shard: ShardId, event: &Event) -> Option<GatewayEvent> {
    let shard = || Shard::new(shard.number(), NonZeroU32::new(shard.total()).unwrap_or(NonZeroU32::MIN));
    match event {
        Event::Ready(ready) => {
            let session_id = Some(SessionId::new(ready.session_id.as_str()));
            Some(GatewayEvent::Ready { session_id, shard: shard() })
        }
        Event::Resumed => Some(GatewayEvent::Resumed { shard: shard() }),
        Event::GatewayClose(_) => Some(GatewayEvent::Disconnected { shard: shard() }),
        Event::VoiceStateUpdate(update) => {
            let state = &update.0;
            Some(GatewayEvent::VoiceState(VoiceState {
                channel_id: state.channel_id.map(|id| ChannelId::new(id.get())),
                deaf: state.deaf,
                guild_id: state.guild_id.map(|id| GuildId::new(id.get())),
                mute: state.mute,
                request_to_speak_timestamp: state.request_to_speak_timestamp.map(|at| at.iso_8601().to_string()),
                self_deaf: state.self_deaf,
                self_mute: state.self_mute,
                self_stream: Some(state.self_stream),
                self_video: state.self_video,
                suppress: state.suppress,
                ..VoiceState::new(UserId::new(state.user_id.get()), SessionId::new(state.session_id.as_str()))
            }))
        }
        Event::VoiceServerUpdate(update) => Some(GatewayEvent::VoiceServer(VoiceServerUpdate {
            endpoint: update.endpoint.clone(),
            guild_id: GuildId::new(update.guild_id.get()),
            token: Token::new(update.token.as_str()),
        })),
        _ => None,
    }
}

/// Why an update could not be given to twilight (the caller).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayError {
    /// The guild belongs to a shard that this process was not given.
    ForeignShard(u64),
    /// A guild or channel id of zero.
    ZeroId,
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignShard(shard) => write!(f, "the guild belongs to shard {shard}, which is not here"),
            Self::ZeroId => f.write_str("an id of zero"),
        }
    }
}

impl Error for GatewayError {}

#[cfg(test)]
mod tests {
    use discord_voice::model::{ChannelId, GuildId};
    use twilight_model::{gateway::payload::incoming::VoiceServerUpdate as TwilightServerUpdate, id::Id};

    use super::*;

    fn join(guild: u64) -> UpdateVoiceState {
        UpdateVoiceState {
            guild_id: GuildId::new(guild),
            channel_id: Some(ChannelId::new(1)),
            self_mute: false,
            self_deaf: false,
        }
    }

    #[test]
    fn a_guild_of_another_process_is_refused_by_its_shard() {
        let gateway = TwilightGateway::with_shards([], 4);
        let error = gateway.update_voice_state(join(7 << 22)).expect_err("no shards here");
        assert_eq!(error.downcast_ref(), Some(&GatewayError::ForeignShard(3)));
    }

    #[test]
    fn what_happens_to_a_shard_concerns_its_guilds_alone() {
        let here = ShardId::new(1, 2);
        for event in [Event::Resumed, Event::GatewayClose(None)] {
            let event = gateway_event(here, &event).expect("it means something");
            assert!(event.concerns(GuildId::new(1 << 22)) && !event.concerns(GuildId::new(2 << 22)));
        }
    }

    #[test]
    fn a_voice_server_update_is_translated_with_its_null() {
        let update = TwilightServerUpdate { endpoint: None, guild_id: Id::new(5), token: "secret".to_owned() };
        let Some(GatewayEvent::VoiceServer(update)) = gateway_event(ShardId::ONE, &Event::VoiceServerUpdate(update))
        else {
            panic!("a voice server update");
        };
        assert_eq!((update.guild_id, update.endpoint, update.token.expose()), (GuildId::new(5), None, "secret"));
    }
}
