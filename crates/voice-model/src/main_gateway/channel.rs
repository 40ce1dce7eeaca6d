//! What happens in and to voice channels.

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    ChannelId, GuildId, Json, Snowflake, UserId,
    field::{Item, Lenient, at_most, lenient, lenient_or_default, texts},
    json::not_null,
};

/// Most channels that one [`ChannelInfo`] may name; more is a malformed payload.
pub const MAX_CHANNELS: usize = 1000;

/// The main gateway's `VOICE_CHANNEL_EFFECT_SEND`: a user of our channel sent an emoji or played a sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoiceChannelEffect {
    /// The channel.
    pub channel_id: ChannelId,
    /// The guild.
    pub guild_id: GuildId,
    /// The user.
    pub user_id: UserId,
    /// The emoji; a sound may have none.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    pub emoji: Option<Json>,
    /// How the emoji moves.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub animation_type: Option<AnimationKind>,
    /// Which of the animations it is.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub animation_id: Option<u64>,
    /// The sound.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub sound_id: Option<Snowflake>,
    /// Volume of the sound, from 0 to 1.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub sound_volume: Option<f64>,
}

/// How an emoji of a [`VoiceChannelEffect`] moves (Discord docs, Gateway Events, "Animation Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnimationKind {
    /// A fun animation, of subscribers.
    Premium,
    /// The standard animation.
    Basic,
    /// A number that has no name here.
    ///
    /// Made by `from`, it never holds the number of a named one.
    Unknown(u64),
}

/// The main gateway's `VOICE_CHANNEL_STATUS_UPDATE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoiceChannelStatus {
    /// The channel.
    pub id: ChannelId,
    /// The guild.
    pub guild_id: GuildId,
    /// What the members say they do.
    pub status: Option<String>,
}

/// The main gateway's `VOICE_CHANNEL_START_TIME_UPDATE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoiceChannelStartTime {
    /// The channel.
    pub id: ChannelId,
    /// The guild.
    pub guild_id: GuildId,
    /// When the first user joined, in seconds since the Unix epoch; `None` when nobody is there.
    #[serde(default, deserialize_with = "lenient")]
    pub voice_start_time: Option<i64>,
}

/// Opcode 43 of the main gateway: asks about the voice channels of a guild, answered by [`ChannelInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestChannelInfo {
    /// The guild.
    pub guild_id: GuildId,
    /// What is asked for; a list of more than 16 fields counts as missing.
    #[serde(default, deserialize_with = "lenient_or_default")]
    pub fields: Vec<ChannelInfoField>,
}

/// The main gateway's `CHANNEL_INFO`: the answer to [`RequestChannelInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChannelInfo {
    /// The guild.
    pub guild_id: GuildId,
    /// Its voice channels of which there is something to tell, at most [`MAX_CHANNELS`].
    #[serde(deserialize_with = "at_most::<MAX_CHANNELS, _, _>")]
    pub channels: Vec<ChannelInfoEntry>,
}

/// A channel of a [`ChannelInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChannelInfoEntry {
    /// The channel.
    pub id: ChannelId,
    /// What the members say they do.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When the first user joined, in seconds since the Unix epoch.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub voice_start_time: Option<i64>,
}

texts! {
    /// What a [`RequestChannelInfo`] asks for.
    ChannelInfoField {
        /// What the members say they do.
        Status = "status",
        /// When the first user joined.
        VoiceStartTime = "voice_start_time",
    }
}

impl Item for ChannelInfoField {
    const MAX: usize = 16;
}

impl AnimationKind {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Premium => 0,
            Self::Basic => 1,
            Self::Unknown(code) => code,
        }
    }
}

impl From<u64> for AnimationKind {
    fn from(code: u64) -> Self {
        match code {
            0 => Self::Premium,
            1 => Self::Basic,
            _ => Self::Unknown(code),
        }
    }
}

impl Serialize for AnimationKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.code())
    }
}

impl Lenient for AnimationKind {
    fn from_unsigned(code: u64) -> Option<Self> {
        Some(code.into())
    }
}
