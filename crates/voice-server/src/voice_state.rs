//! Who is in which voice channel as the main gateway sees it.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;
use voice_model::{
    ChannelId, CloseCode, GuildId, SessionId, Token, UpdateVoiceState, UserId, VoiceServerUpdate, VoiceState,
};

use crate::Ticket;
use crate::config::EventOrder;
use crate::core::Core;
use crate::gateway::{Dispatch, VOICE_STATE_UPDATE};

/// The voice states of bots that joined through the main gateway.
#[derive(Default)]
pub(crate) struct VoiceStates(BTreeMap<(GuildId, UserId), State>);

#[derive(Clone, Copy)]
struct State {
    channel: ChannelId,
    /// The number of the main-gateway session that joined.
    owner: u64,
    self_mute: bool,
    self_deaf: bool,
    restrictions: Restrictions,
}

/// What a user is kept from by moderators, or by the rules of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Muted by a moderator: nothing of what is sent is forwarded.
    pub mute: bool,
    /// Deafened by a moderator: nothing is forwarded to the user.
    pub deaf: bool,
    /// In the audience of a stage, or without the permission to speak: nothing of what is sent is forwarded.
    pub suppress: bool,
}

impl VoiceStates {
    /// What a user is kept from in a guild.
    pub(crate) fn restrictions(&self, guild: GuildId, user: UserId) -> Restrictions {
        self.0.get(&(guild, user)).map(|state| state.restrictions).unwrap_or_default()
    }

    /// The guilds in whose channels a main-gateway session is.
    pub(crate) fn owned_by(&self, owner: u64) -> Vec<GuildId> {
        self.0.iter().filter(|(_, s)| s.owner == owner).map(|((guild, _), _)| *guild).collect()
    }
}

impl Core {
    /// Op 4 of the main gateway.
    pub(crate) fn update_voice_state(&mut self, now: Instant, session: u64, update: UpdateVoiceState) {
        let guild = update.guild_id;
        let Some(user) = self.gateway.user(session) else { return };
        let Some(channel) = update.channel_id else {
            self.leave_voice(now, guild, user);
            return;
        };
        let known = self.config.guilds.iter().find(|known| known.id == guild);
        let exists = known.is_some_and(|known| known.channels.contains(&channel));
        // Full, forbidden or unknown: the service says nothing at all.
        if self.config.join.silent || !exists {
            return;
        }
        let before = self.gateway.states.0.get(&(guild, user)).copied();
        let UpdateVoiceState { self_mute, self_deaf, .. } = update;
        let restrictions = self.gateway.states.restrictions(guild, user);
        let state = State { channel, owner: session, self_mute, self_deaf, restrictions };
        self.gateway.states.0.insert((guild, user), state);
        if before.is_some_and(|before| before.channel == channel && before.owner == session) {
            // Never before the join itself, which may be late.
            let at = self.gateway.late_state(guild, user).unwrap_or(now);
            self.tell_state(now, at, guild, user);
        } else {
            self.tell_join(now, guild, user, true);
        }
    }

    /// Moves a user to another channel of the guild, as a moderator does.
    pub(crate) fn move_user(&mut self, now: Instant, guild: GuildId, user: UserId, channel: ChannelId) {
        match self.gateway.states.0.get_mut(&(guild, user)) {
            Some(state) => {
                state.channel = channel;
                self.tell_join(now, guild, user, true);
            }
            // Without a main gateway nobody could be told where to go.
            None => self.end_member(now, guild, user, self.config.on_move),
        }
    }

    /// Keeps a user who joined through the main gateway from speaking or hearing, from now on.
    pub(crate) fn restrict(&mut self, now: Instant, guild: GuildId, user: UserId, restrictions: Restrictions) {
        let Some(state) = self.gateway.states.0.get_mut(&(guild, user)) else { return };
        state.restrictions = restrictions;
        if let Some(session) = self.sessions.by_member(guild, user).and_then(|key| self.sessions.get_mut(key)) {
            session.restrictions = restrictions;
        }
        let at = self.gateway.late_state(guild, user).unwrap_or(now);
        self.tell_state(now, at, guild, user);
    }

    /// Gives a user another voice server, as after a crash or a change of region.
    pub(crate) fn rehome(&mut self, now: Instant, guild: GuildId, user: UserId) {
        if self.gateway.states.0.contains_key(&(guild, user)) {
            self.tell_join(now, guild, user, false);
        } else {
            self.end_member(now, guild, user, self.config.on_move);
        }
    }

    /// Ends a voice state; the user is told, and its voice connection is closed.
    pub(crate) fn leave_voice(&mut self, now: Instant, guild: GuildId, user: UserId) {
        let Some(state) = self.gateway.states.0.remove(&(guild, user)) else { return };
        let session_id = self.gateway.get(state.owner).map(|s| s.session_id.clone());
        let session_id = session_id.unwrap_or_else(|| SessionId::new(""));
        let left = voice_state(guild, user, None, session_id, &state);
        self.gateway.take_back(guild, user, true);
        self.tell_watchers(now, now, guild, &left);
        self.credentials.revoke(guild, user);
        self.end_member(now, guild, user, Some(CloseCode::DISCONNECTED));
    }

    /// Removes a user from voice, whether or not a main gateway is involved.
    pub(crate) fn disconnect_user(&mut self, now: Instant, guild: GuildId, user: UserId) {
        self.leave_voice(now, guild, user);
        self.credentials.revoke(guild, user);
        self.end_member(now, guild, user, Some(CloseCode::DISCONNECTED));
    }

    /// The voice states in a guild.
    pub(crate) fn voice_states_of(&self, guild: GuildId) -> Vec<VoiceState> {
        let all = self.gateway.states.0.iter().filter(|((of, _), _)| *of == guild);
        all.filter_map(|((_, user), state)| {
            let session_id = self.gateway.get(state.owner)?.session_id.clone();
            let mut state = voice_state(guild, *user, Some(state.channel), session_id, state);
            state.guild_id = None;
            Some(state)
        })
        .collect()
    }

    /// Hands out credentials for a channel.
    pub(crate) fn grant(&mut self, guild: GuildId, channel: ChannelId, user: UserId, session_id: SessionId) -> Ticket {
        let ticket = Ticket {
            server_id: guild,
            channel_id: channel,
            user_id: user,
            session_id,
            token: Token::new(self.random.hex::<16>()),
            endpoint: self.config.endpoint.clone(),
        };
        let evicted = self.credentials.grant(ticket.clone(), self.config.limits.grants);
        self.stats.grants_evicted += u64::from(evicted);
        ticket
    }

    /// Sends the events of a join, a move or a change of server, and ends the old connection.
    fn tell_join(&mut self, now: Instant, guild: GuildId, user: UserId, state_too: bool) {
        let Some(state) = self.gateway.states.0.get(&(guild, user)).copied() else { return };
        let Some(owner) = self.gateway.get(state.owner) else { return };
        let session_id = owner.session_id.clone();
        self.gateway.take_back(guild, user, state_too);
        let answer = self.config.join;
        // A server is never named long before the channel that it is for.
        let late_state = self.gateway.late_state(guild, user).filter(|_| !state_too);
        let at = late_state.map_or(now + answer.delay, |late| late.max(now + answer.delay));
        let ticket = self.grant(guild, state.channel, user, session_id);
        if state_too && answer.order == EventOrder::StateFirst {
            self.tell_state(now, at, guild, user);
        }
        let mut server_at = at;
        if let Some(after) = answer.null_endpoint_first {
            // This token is good for nothing: it belongs to the endpoint that is not there.
            let token = Token::new(self.random.hex::<16>());
            self.tell_server(now, at, (state.owner, user), guild, token, None);
            server_at = at + after;
        }
        self.tell_server(now, server_at, (state.owner, user), guild, ticket.token, Some(ticket.endpoint));
        if state_too && answer.order == EventOrder::ServerFirst {
            self.tell_state(now, at, guild, user);
        }
        self.end_member(now, guild, user, self.config.on_move);
    }

    fn tell_state(&mut self, now: Instant, at: Instant, guild: GuildId, user: UserId) {
        let Some(state) = self.gateway.states.0.get(&(guild, user)).copied() else { return };
        let Some(owner) = self.gateway.get(state.owner) else { return };
        let session_id = owner.session_id.clone();
        let update = voice_state(guild, user, Some(state.channel), session_id, &state);
        self.tell_watchers(now, at, guild, &update);
    }

    fn tell_watchers(&mut self, now: Instant, at: Instant, guild: GuildId, update: &VoiceState) {
        for session in self.gateway.watching(guild) {
            let subject = Some((guild, update.user_id));
            let event = Dispatch { subject, ..Dispatch::new(session, VOICE_STATE_UPDATE, json!(update)) };
            self.dispatch_at(now, at, event);
        }
    }

    fn tell_server(
        &mut self,
        now: Instant,
        at: Instant,
        (session, user): (u64, UserId),
        guild_id: GuildId,
        token: Token,
        endpoint: Option<String>,
    ) {
        let data = json!(VoiceServerUpdate { token, guild_id, endpoint });
        let subject = Some((guild_id, user));
        self.dispatch_at(now, at, Dispatch { subject, ..Dispatch::new(session, "VOICE_SERVER_UPDATE", data) });
    }

    /// Ends the voice session of a user, unless no code says how.
    fn end_member(&mut self, now: Instant, guild: GuildId, user: UserId, code: Option<CloseCode>) {
        let key = self.sessions.by_member(guild, user);
        if let (Some(key), Some(_)) = (key, code) {
            self.end_session(now, key, code);
        }
    }
}

fn voice_state(
    guild: GuildId,
    user: UserId,
    channel: Option<ChannelId>,
    session_id: SessionId,
    state: &State,
) -> VoiceState {
    VoiceState {
        guild_id: Some(guild),
        channel_id: channel,
        self_deaf: state.self_deaf,
        self_mute: state.self_mute,
        mute: state.restrictions.mute,
        deaf: state.restrictions.deaf,
        suppress: state.restrictions.suppress,
        ..VoiceState::new(user, session_id)
    }
}
