//! The subset of the main gateway that a bot needs to log in and to join a voice channel.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};
use voice_model::{ChannelId, CloseCode, GuildId, SessionId, Token, UpdateVoiceState, UserId};

use crate::connection::Role;
use crate::core::Core;
use crate::guild;
use crate::timers::{Timer, TimerId};
use crate::voice_state::VoiceStates;
use crate::{ConnectionId, Event};

/// All main-gateway sessions and what they are told.
#[derive(Default)]
pub(crate) struct Gateway {
    sessions: BTreeMap<u64, GatewaySession>,
    pub(crate) states: VoiceStates,
    delayed: BTreeMap<(Instant, u64), Dispatch>,
    count: u64,
}

/// A bot that is logged in, with or without a WebSocket at the moment.
pub(crate) struct GatewaySession {
    pub(crate) user: UserId,
    pub(crate) session_id: SessionId,
    token: Token,
    connection: Option<ConnectionId>,
    expiry: Option<TimerId>,
    intents: u64,
    shard: (u64, u64),
    /// The number of the event sent last.
    sequence: u64,
    replay: VecDeque<(u64, String)>,
}

/// An event for one session.
pub(crate) struct Dispatch {
    pub(crate) session: u64,
    pub(crate) name: &'static str,
    pub(crate) data: Value,
    /// Whose voice state it follows from, and in which guild: what happens to that takes back what is late.
    pub(crate) subject: Option<(GuildId, UserId)>,
}

impl Dispatch {
    pub(crate) const fn new(session: u64, name: &'static str, data: Value) -> Self {
        Self { session, name, data, subject: None }
    }
}

#[derive(Deserialize)]
struct Envelope {
    op: u64,
    #[serde(default)]
    d: Value,
}

/// How a message was taken; an error is the code to close with.
type Handled = Result<(), CloseCode>;

impl Gateway {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&GatewaySession> {
        self.sessions.get(&number)
    }

    pub(crate) fn user(&self, number: u64) -> Option<UserId> {
        self.get(number).map(|session| session.user)
    }

    /// The sessions that are told about voice states in a guild.
    pub(crate) fn watching(&self, guild: GuildId) -> Vec<u64> {
        self.with_intent(guild, GUILD_VOICE_STATES).map(|(number, _)| number).collect()
    }

    fn with_intent(&self, guild: GuildId, intent: u64) -> impl Iterator<Item = (u64, &GatewaySession)> {
        let sees = move |s: &GatewaySession| s.sees(guild) && s.intents & intent != 0;
        self.sessions.iter().filter(move |(_, s)| sees(s)).map(|(number, session)| (*number, session))
    }

    /// Takes back the late events that follow from a voice state: those about its server, and the states if wanted.
    pub(crate) fn take_back(&mut self, guild: GuildId, user: UserId, states_too: bool) {
        self.delayed.retain(|_, event| {
            event.subject != Some((guild, user)) || (event.name == VOICE_STATE_UPDATE && !states_too)
        });
    }

    /// When the last of the late events about a voice state is due.
    pub(crate) fn late_state(&self, guild: GuildId, user: UserId) -> Option<Instant> {
        let about = |event: &Dispatch| event.subject == Some((guild, user)) && event.name == VOICE_STATE_UPDATE;
        self.delayed.iter().rev().find(|(_, event)| about(event)).map(|((at, _), _)| *at)
    }

    fn of_user(&self, user: Option<UserId>) -> Vec<(u64, Option<ConnectionId>)> {
        let hit = |s: &GatewaySession| user.is_none_or(|user| user == s.user);
        self.sessions.iter().filter(|(_, s)| hit(s)).map(|(n, s)| (*n, s.connection)).collect()
    }
}

impl GatewaySession {
    /// Discord docs, Gateway, "Sharding".
    fn sees(&self, guild: GuildId) -> bool {
        let (shard, count) = self.shard;
        (guild.get() >> 22) % count.max(1) == shard
    }
}

impl Core {
    pub(crate) fn gateway_hello(&mut self, now: Instant, id: ConnectionId) {
        let interval_ms = self.config.gateway_heartbeat_interval.as_millis() as u64;
        self.send_op(now, id, 10, &json!({ "heartbeat_interval": interval_ms }));
    }

    pub(crate) fn gateway_text(&mut self, now: Instant, id: ConnectionId, session: Option<u64>, text: &str) {
        let handled = match serde_json::from_str::<Envelope>(text) {
            Ok(_) if text.len() > MAX_PAYLOAD_LEN => Err(DECODE_ERROR),
            Ok(envelope) => self.gateway_message(now, id, session, envelope),
            Err(_) => Err(DECODE_ERROR),
        };
        if let Err(code) = handled {
            self.close(now, id, code);
        }
    }

    fn gateway_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: Option<u64>,
        Envelope { op, d }: Envelope,
    ) -> Handled {
        match (op, session) {
            (1, _) => {
                self.touch(now, id);
                self.send_op(now, id, 11, &Value::Null);
                Ok(())
            }
            (2, None) => self.log_in(now, id, &d),
            (6, None) => self.gateway_resume(now, id, &d),
            (2 | 6, Some(_)) => Err(ALREADY_AUTHENTICATED),
            (4, Some(session)) => {
                let update = UpdateVoiceState::deserialize(d).map_err(|_| DECODE_ERROR)?;
                self.update_voice_state(now, session, update);
                Ok(())
            }
            // Presence, voice server ping, members, soundboard sounds, channel info: no answer
            // is one that a bot has to expect.
            (3 | 5 | 8 | 31 | 43, Some(_)) => Ok(()),
            (3..=5 | 8 | 31 | 43, None) => Err(NOT_AUTHENTICATED),
            _ => Err(UNKNOWN_OPCODE),
        }
    }

    fn log_in(&mut self, now: Instant, id: ConnectionId, d: &Value) -> Handled {
        let token = d.get("token").and_then(Value::as_str).ok_or(DECODE_ERROR)?;
        let user = self.config.bots.user(token).ok_or(AUTHENTICATION_FAILED)?;
        let shard = match d.get("shard") {
            None | Some(Value::Null) => (0, 1),
            Some(shard) => <(u64, u64)>::deserialize(shard).map_err(|_| DECODE_ERROR)?,
        };
        if shard.0 >= shard.1 {
            return Err(INVALID_SHARD);
        }
        if self.gateway.len() >= self.config.limits.sessions {
            self.stats.refused += 1;
            return Err(UNKNOWN_ERROR);
        }
        let session_id = self.random.hex::<16>();
        let number = self.gateway.count;
        self.gateway.count += 1;
        let session = GatewaySession {
            user,
            session_id: SessionId::new(session_id.clone()),
            token: Token::new(token),
            connection: Some(id),
            expiry: None,
            intents: d.get("intents").and_then(Value::as_u64).unwrap_or(u64::MAX),
            shard,
            sequence: 0,
            replay: VecDeque::new(),
        };
        let guilds: Vec<_> = self.config.guilds.iter().filter(|guild| session.sees(guild.id)).cloned().collect();
        let tells_voice = session.intents & GUILD_VOICE_STATES != 0;
        let tells_guilds = session.intents & GUILDS != 0;
        self.gateway.sessions.insert(number, session);
        self.attach_gateway(id, Some(number));
        self.event(Event::LoggedIn { user });

        let unavailable = guilds.iter().map(|g| json!({ "id": g.id.to_string(), "unavailable": true }));
        let ready = json!({
            "v": 10,
            "user": guild::user(user),
            "guilds": unavailable.collect::<Vec<_>>(),
            "session_id": session_id,
            "resume_gateway_url": self.config.gateway_url,
            "shard": [shard.0, shard.1],
            "application": { "id": user.to_string(), "flags": 0 },
            "private_channels": [],
            "relationships": [],
            "user_settings": {},
        });
        self.dispatch(now, Dispatch::new(number, "READY", ready));
        if tells_guilds {
            for config in guilds {
                let states = if tells_voice { self.voice_states_of(config.id) } else { Vec::new() };
                let data = guild::guild(&config, user, &states);
                self.dispatch(now, Dispatch::new(number, "GUILD_CREATE", data));
            }
        }
        Ok(())
    }

    fn gateway_resume(&mut self, now: Instant, id: ConnectionId, d: &Value) -> Handled {
        let text = |key| d.get(key).and_then(Value::as_str).ok_or(DECODE_ERROR);
        let (token, session_id) = (text("token")?, text("session_id")?);
        let sequence = d.get("seq").and_then(Value::as_u64).ok_or(DECODE_ERROR)?;
        let mut sessions = self.gateway.sessions.iter_mut();
        let same =
            |s: &GatewaySession| s.session_id.expose() == session_id && strip_bot(s.token.expose()) == strip_bot(token);
        let found = sessions.find(|(_, session)| same(session)).filter(|(_, session)| {
            let oldest = session.replay.front().map_or(session.sequence + 1, |(n, _)| *n);
            sequence <= session.sequence && sequence + 1 >= oldest
        });
        let Some((&number, session)) = found else {
            // Invalid session: the bot identifies anew on the same connection.
            self.send_op(now, id, 9, &json!(false));
            return Ok(());
        };
        let user = session.user;
        let before = session.connection.replace(id);
        let expiry = session.expiry.take();
        let missed: Vec<String> =
            session.replay.iter().filter(|(n, _)| *n > sequence).map(|(_, t)| t.clone()).collect();
        self.timers.disarm(expiry);
        if let Some(before) = before {
            self.attach_gateway(before, None);
            self.close(now, before, CloseCode::new(4000));
        }
        self.attach_gateway(id, Some(number));
        for text in missed {
            self.send_text(now, id, text);
        }
        self.dispatch(now, Dispatch::new(number, "RESUMED", json!({})));
        self.event(Event::GatewayResumed { user });
        Ok(())
    }

    /// Sends an event to a session, and keeps it for a Resume.
    pub(crate) fn dispatch(&mut self, now: Instant, event: Dispatch) {
        let Some(session) = self.gateway.sessions.get_mut(&event.session) else { return };
        session.sequence += 1;
        let s = session.sequence;
        let text = json!({ "op": 0, "t": event.name, "s": s, "d": event.data }).to_string();
        session.replay.push_back((s, text.clone()));
        if session.replay.len() > REPLAY_LEN {
            session.replay.pop_front();
        }
        if let Some(id) = session.connection {
            self.send_text(now, id, text);
        }
    }

    /// Sends an event later, if it is not already time.
    pub(crate) fn dispatch_at(&mut self, now: Instant, at: Instant, event: Dispatch) {
        if at <= now {
            self.dispatch(now, event);
        } else if self.gateway.delayed.len() >= self.config.limits.waiting_messages {
            self.stats.held_overflow += 1;
        } else {
            self.gateway.delayed.insert((at, self.gateway.count), event);
            self.gateway.count += 1;
            self.timers.arm(at, Timer::Dispatch);
        }
    }

    pub(crate) fn release_dispatches(&mut self, now: Instant) {
        while let Some(first) = self.gateway.delayed.first_entry() {
            if first.key().0 > now {
                return;
            }
            let event = first.remove();
            self.dispatch(now, event);
        }
    }

    /// The connection of a main-gateway session is gone.
    pub(crate) fn lose_gateway_session(&mut self, now: Instant, number: u64, resumable: bool) {
        let Some(session) = self.gateway.sessions.get_mut(&number) else { return };
        session.connection = None;
        if resumable {
            let due = now + self.config.session_lifetime;
            session.expiry = Some(self.timers.arm(due, Timer::GatewayExpiry(number)));
        } else {
            self.end_gateway_session(now, number);
        }
    }

    /// Ends a main-gateway session; its user leaves every voice channel.
    pub(crate) fn end_gateway_session(&mut self, now: Instant, number: u64) {
        let Some(session) = self.gateway.sessions.remove(&number) else { return };
        self.timers.disarm(session.expiry);
        for guild in self.gateway.states.owned_by(number) {
            self.leave_voice(now, guild, session.user);
        }
        self.event(Event::LoggedOut { user: session.user });
    }

    /// A user writes a text in a channel.
    pub(crate) fn say(&mut self, now: Instant, (guild, channel): (GuildId, ChannelId), author: UserId, text: &str) {
        let id = SAID + self.gateway.count;
        self.gateway.count += 1;
        let reads = |(number, session): (u64, &GatewaySession)| (number, session.intents & MESSAGE_CONTENT != 0);
        let readers: Vec<_> = self.gateway.with_intent(guild, GUILD_MESSAGES).map(reads).collect();
        for (session, reads) in readers {
            let data = guild::message(id, (guild, channel), author, if reads { text } else { "" });
            self.dispatch(now, Dispatch::new(session, "MESSAGE_CREATE", data));
        }
    }

    pub(crate) fn close_gateway(&mut self, now: Instant, user: Option<UserId>, code: CloseCode) {
        for (_, connection) in self.gateway.of_user(user) {
            if let Some(id) = connection {
                self.close(now, id, code);
            }
        }
    }

    pub(crate) fn ask_reconnect(&mut self, now: Instant, user: Option<UserId>) {
        for (_, connection) in self.gateway.of_user(user) {
            if let Some(id) = connection {
                self.send_op(now, id, 7, &Value::Null);
            }
        }
    }

    pub(crate) fn invalidate_gateway(&mut self, now: Instant, user: Option<UserId>) {
        for (number, connection) in self.gateway.of_user(user) {
            if let Some(id) = connection {
                self.attach_gateway(id, None);
                self.send_op(now, id, 9, &json!(false));
            }
            self.end_gateway_session(now, number);
        }
    }

    fn attach_gateway(&mut self, id: ConnectionId, session: Option<u64>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.role = Role::Gateway { session };
        }
    }

    fn send_op(&mut self, now: Instant, id: ConnectionId, op: u64, d: &Value) {
        let text = json!({ "op": op, "d": d, "s": null, "t": null }).to_string();
        self.send_text(now, id, text);
    }
}

/// A token may come with the prefix the HTTP API wants.
fn strip_bot(token: &str) -> &str {
    token.strip_prefix("Bot ").unwrap_or(token)
}

/// Discord docs, Gateway, "Gateway Intents".
const GUILDS: u64 = 1;
const GUILD_VOICE_STATES: u64 = 1 << 7;
const GUILD_MESSAGES: u64 = 1 << 9;
/// Privileged: without it texts are empty.
const MESSAGE_CONTENT: u64 = 1 << 15;

pub(crate) const VOICE_STATE_UPDATE: &str = "VOICE_STATE_UPDATE";

/// The ids of messages begin here.
const SAID: u64 = 1 << 40;

/// Discord docs, Gateway, "Sending Events".
const MAX_PAYLOAD_LEN: usize = 4_096;

/// Events kept for a Resume. Not documented.
const REPLAY_LEN: usize = 256;

// Discord docs, Gateway Close Event Codes.
const UNKNOWN_ERROR: CloseCode = CloseCode::new(4000);
const UNKNOWN_OPCODE: CloseCode = CloseCode::new(4001);
const DECODE_ERROR: CloseCode = CloseCode::new(4002);
const NOT_AUTHENTICATED: CloseCode = CloseCode::new(4003);
const AUTHENTICATION_FAILED: CloseCode = CloseCode::new(4004);
const ALREADY_AUTHENTICATED: CloseCode = CloseCode::new(4005);
const INVALID_SHARD: CloseCode = CloseCode::new(4010);
