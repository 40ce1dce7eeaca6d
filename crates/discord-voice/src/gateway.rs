//! What a call needs of the bot's own gateway connection.

use std::{error::Error, num::NonZeroU32};

use voice_model::{GuildId, SessionId, UpdateVoiceState, VoiceServerUpdate, VoiceState};

/// The way to the main gateway: the bot's own connection to Discord.
///
/// There is glue for twilight and serenity in crates of their own. For any other library: send the update as
/// opcode 4 on the shard of its guild.
pub trait VoiceGateway: Send + Sync + 'static {
    /// Hands an update of the own voice state to the main gateway. It must not wait for the network.
    ///
    /// # Errors
    ///
    /// Anything that keeps the update from being sent, such as a connection that is gone.
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>>;
}

impl<T: VoiceGateway + ?Sized> VoiceGateway for std::sync::Arc<T> {
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>> {
        (**self).update_voice_state(update)
    }
}

/// An event of the main gateway that voice needs: the first two always, the others make it survive more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GatewayEvent {
    /// `VOICE_STATE_UPDATE`, of any user.
    VoiceState(VoiceState),
    /// `VOICE_SERVER_UPDATE`.
    VoiceServer(VoiceServerUpdate),
    /// `READY`: a new session on a shard. Whatever was in voice in its guilds before is joined again, once for each
    /// session however often it is told.
    Ready {
        /// The new session. Where a library does not tell it in time it is `None`, and told once more when it is known:
        /// until then a voice state of another process with the same token is taken for our own.
        session_id: Option<SessionId>,
        /// The shard.
        shard: Shard,
    },
    /// `RESUMED`: a shard goes on with the session that it had.
    Resumed {
        /// The shard.
        shard: Shard,
    },
    /// A shard has lost its connection. Until it is ready or resumed nothing that takes the main gateway is given up for
    /// want of an answer.
    Disconnected {
        /// The shard.
        shard: Shard,
    },
}

impl GatewayEvent {
    #[cfg(feature = "tokio")]
    /// The guild of whose voice it tells, if it is of one.
    #[cfg(feature = "tokio")]
    pub(crate) const fn guild(&self) -> Option<GuildId> {
        match self {
            Self::VoiceState(state) => state.guild_id,
            Self::VoiceServer(update) => Some(update.guild_id),
            Self::Ready { .. } | Self::Resumed { .. } | Self::Disconnected { .. } => None,
        }
    }

    /// Whether the event may concern a guild.
    #[must_use]
    pub fn concerns(&self, guild: GuildId) -> bool {
        match self {
            Self::VoiceState(state) => state.guild_id == Some(guild),
            Self::VoiceServer(update) => update.guild_id == guild,
            Self::Ready { shard, .. } | Self::Resumed { shard } | Self::Disconnected { shard } => shard.has(guild),
        }
    }
}

/// One of a bot's connections to the main gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    number: u32,
    total: NonZeroU32,
}

impl Shard {
    /// The only connection of a bot.
    pub const ONLY: Self = Self { number: 0, total: NonZeroU32::MIN };

    /// Shard `number` of `total`.
    #[must_use]
    pub const fn new(number: u32, total: NonZeroU32) -> Self {
        Self { number, total }
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// How many there are.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.total.get()
    }

    /// Whether a guild's events come on it (Discord docs, Gateway, "Sharding").
    #[must_use]
    pub fn has(&self, guild: GuildId) -> bool {
        (guild.get() >> 22) % u64::from(self.total.get()) == u64::from(self.number)
    }
}

impl From<VoiceState> for GatewayEvent {
    fn from(state: VoiceState) -> Self {
        Self::VoiceState(state)
    }
}

impl From<VoiceServerUpdate> for GatewayEvent {
    fn from(update: VoiceServerUpdate) -> Self {
        Self::VoiceServer(update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guild_is_on_one_shard() {
        let total = NonZeroU32::new(4).expect("not zero");
        for guild in [0, 1 << 22, 613_425_648_685_547_541] {
            let guild = GuildId::new(guild);
            assert_eq!((0..4).filter(|number| Shard::new(*number, total).has(guild)).count(), 1);
            assert!(Shard::ONLY.has(guild));
        }
        assert!(Shard::new(3, total).has(GuildId::new(7 << 22)));
    }
}
