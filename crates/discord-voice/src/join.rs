//! From the main gateway's two events to the values that a call needs.

use std::fmt;

use voice_model::{ChannelId, GuildId, SessionId, Token, UserId, VoiceServerUpdate, VoiceState};
use voice_ws::{Endpoint, EndpointError, Identity};

/// Who wants to be where, for a call that is joined through the main gateway.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinInfo {
    /// The guild.
    pub guild_id: GuildId,
    /// The voice channel.
    pub channel_id: ChannelId,
    /// The own user.
    pub user_id: UserId,
    /// Joins muted.
    pub self_mute: bool,
    /// Joins deafened: nothing is received.
    pub self_deaf: bool,
    /// The session of the bot's own gateway connection on the guild's shard, from READY. With it the voice states of
    /// another process with the same token are told from our own.
    pub session_id: Option<SessionId>,
}

impl JoinInfo {
    /// Joins neither muted nor deafened.
    #[must_use]
    pub const fn new(guild_id: GuildId, channel_id: ChannelId, user_id: UserId) -> Self {
        Self { guild_id, channel_id, user_id, self_mute: false, self_deaf: false, session_id: None }
    }
}

impl fmt::Debug for JoinInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinInfo")
            .field("guild_id", &self.guild_id)
            .field("channel_id", &self.channel_id)
            .field("user_id", &self.user_id)
            .field("self_mute", &self.self_mute)
            .field("self_deaf", &self.self_deaf)
            .finish_non_exhaustive()
    }
}

/// Pairs the voice state update and the voice server update of one join or move, in either order.
///
/// ```
/// use discord_voice::JoinCollector;
/// use discord_voice::model::{ChannelId, GuildId, Token, UserId, VoiceServerUpdate};
///
/// let mut collector = JoinCollector::new(GuildId::new(1), UserId::new(2));
/// let update = VoiceServerUpdate {
///     endpoint: None,
///     guild_id: GuildId::new(1),
///     token: Token::new("a6d2c81e07b94f35"),
/// };
/// collector.handle_voice_server(&update);
/// assert!(collector.connect_info().is_none(), "no server yet, and no voice state");
/// ```
#[derive(Clone, Debug)]
pub struct JoinCollector {
    guild: GuildId,
    user: UserId,
    state: Option<(ChannelId, SessionId)>,
    server: Option<(String, Token)>,
}

impl JoinCollector {
    /// Creates a collector for one guild and the own user.
    #[must_use]
    pub const fn new(guild: GuildId, user: UserId) -> Self {
        Self { guild, user, state: None, server: None }
    }

    /// Takes a voice state; those of other users and guilds are ignored.
    pub fn handle_voice_state(&mut self, state: &VoiceState) {
        if state.user_id == self.user && state.guild_id == Some(self.guild) {
            self.state = state.channel_id.map(|channel| (channel, state.session_id.clone()));
        }
    }

    /// Takes a voice server; one without an endpoint takes back what was known: another follows.
    pub fn handle_voice_server(&mut self, update: &VoiceServerUpdate) {
        if update.guild_id == self.guild {
            self.server = update.endpoint.clone().map(|endpoint| (endpoint, update.token.clone()));
        }
    }

    /// Takes what both events said that led to a call.
    pub(crate) fn know(&mut self, identity: &Identity) {
        self.state = Some((identity.channel_id, identity.session_id.clone()));
        self.server = Some((endpoint_text(&identity.endpoint), identity.token.clone()));
    }

    /// The channel of the own voice state, once it is known.
    #[must_use]
    pub fn channel(&self) -> Option<ChannelId> {
        self.state.as_ref().map(|(channel, _)| *channel)
    }

    /// The session of the own voice state, once it is known.
    pub(crate) fn session(&self) -> Option<&SessionId> {
        self.state.as_ref().map(|(_, session)| session)
    }

    /// Whether a voice server is known.
    #[must_use]
    pub const fn has_server(&self) -> bool {
        self.server.is_some()
    }

    /// The values for a call, once both events came.
    ///
    /// # Errors
    ///
    /// [`EndpointError`] when the voice server's endpoint is none.
    pub fn connect_info(&self) -> Option<Result<Identity, EndpointError>> {
        let ((channel_id, session_id), (endpoint, token)) = (self.state.clone()?, self.server.clone()?);
        Some(endpoint.parse().map(|endpoint| Identity {
            channel_id,
            endpoint,
            server_id: self.guild,
            session_id,
            token,
            user_id: self.user,
        }))
    }
}

/// An endpoint as it is parsed, with what it says of TLS.
pub(crate) fn endpoint_text(endpoint: &Endpoint) -> String {
    format!("{}://{endpoint}", if endpoint.is_tls() { "wss" } else { "ws" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUILD: GuildId = GuildId::new(1);
    const ME: UserId = UserId::new(2);

    fn state(user: UserId, channel: Option<u64>) -> VoiceState {
        VoiceState {
            channel_id: channel.map(ChannelId::new),
            guild_id: Some(GUILD),
            ..VoiceState::new(user, SessionId::new("session"))
        }
    }

    fn server(endpoint: Option<&str>) -> VoiceServerUpdate {
        VoiceServerUpdate { endpoint: endpoint.map(str::to_owned), guild_id: GUILD, token: Token::new("token") }
    }

    #[test]
    fn either_order_gives_the_same_values() {
        let mut first = JoinCollector::new(GUILD, ME);
        first.handle_voice_state(&state(ME, Some(3)));
        assert!(first.connect_info().is_none());
        first.handle_voice_server(&server(Some("a.example")));
        let mut second = JoinCollector::new(GUILD, ME);
        second.handle_voice_server(&server(Some("a.example")));
        assert!(second.connect_info().is_none());
        second.handle_voice_state(&state(ME, Some(3)));
        let info = first.connect_info().expect("both came").expect("an endpoint");
        assert_eq!(Some(Ok(info.clone())), second.connect_info());
        assert_eq!(info.channel_id, ChannelId::new(3));
    }

    #[test]
    fn session_ids_of_other_users_are_never_taken() {
        let mut collector = JoinCollector::new(GUILD, ME);
        collector.handle_voice_state(&state(UserId::new(9), Some(3)));
        assert_eq!(collector.channel(), None);
    }

    #[test]
    fn an_endpoint_of_null_takes_the_old_server_back() {
        let mut collector = JoinCollector::new(GUILD, ME);
        collector.handle_voice_state(&state(ME, Some(3)));
        collector.handle_voice_server(&server(Some("a.example")));
        collector.handle_voice_server(&server(None));
        assert!(collector.connect_info().is_none());
        collector.handle_voice_server(&server(Some("b.example")));
        assert_eq!(collector.connect_info().expect("both came").expect("an endpoint").endpoint.host(), "b.example");
    }
}
