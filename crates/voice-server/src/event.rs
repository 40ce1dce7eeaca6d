//! What happened, for whoever runs the server.

use voice_model::{ChannelId, CloseCode, GuildId, SpeakingFlags, UserId};

/// Something that happened on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A bot logged in to the main gateway.
    LoggedIn {
        /// Who.
        user: UserId,
    },
    /// A bot resumed its main-gateway session.
    GatewayResumed {
        /// Who.
        user: UserId,
    },
    /// A main-gateway session ended, and with it the voice states of its user.
    LoggedOut {
        /// Who.
        user: UserId,
    },
    /// A client identified on the voice gateway.
    Joined {
        /// The guild.
        guild: GuildId,
        /// The voice channel.
        channel: ChannelId,
        /// Who.
        user: UserId,
        /// The SSRC it was given.
        ssrc: u32,
        /// The newest version of end-to-end encryption it offered; 0 is none.
        max_dave_version: u16,
    },
    /// A client has selected its transport and got a key.
    Connected {
        /// The guild.
        guild: GuildId,
        /// Who.
        user: UserId,
    },
    /// A client sent op 5.
    Speaking {
        /// The guild.
        guild: GuildId,
        /// Who.
        user: UserId,
        /// The flags it sent.
        flags: SpeakingFlags,
    },
    /// The WebSocket of a session was lost; it may be resumed.
    Interrupted {
        /// The guild.
        guild: GuildId,
        /// Who.
        user: UserId,
    },
    /// A session was resumed.
    Resumed {
        /// The guild.
        guild: GuildId,
        /// Who.
        user: UserId,
    },
    /// A session ended.
    Left {
        /// The guild.
        guild: GuildId,
        /// The voice channel.
        channel: ChannelId,
        /// Who.
        user: UserId,
    },
    /// The version of end-to-end encryption of a channel in use has changed; 0 is none.
    DaveVersion {
        /// The guild.
        guild: GuildId,
        /// The voice channel.
        channel: ChannelId,
        /// The new version.
        version: u16,
    },
    /// A commit was chosen: the group of a channel has a new epoch.
    EpochBegan {
        /// The guild.
        guild: GuildId,
        /// The voice channel.
        channel: ChannelId,
        /// The epoch; the first of a group is 1.
        epoch: u64,
        /// How many are in the group now.
        members: usize,
    },
    /// The server closed a connection.
    Closed {
        /// Whose, if that was known.
        user: Option<UserId>,
        /// With which code.
        code: CloseCode,
    },
}
