//! The life of a voice session: identified, lost, resumed, ended.

use std::time::Instant;

use voice_model::{BinaryMessage, CloseCode, Identify, Opcode, Ready, Resume, ServerMessage};

use crate::connection::Role;
use crate::core::{Core, Output};
use crate::registry::{Session, SessionKey};
use crate::replay::{Kept, Replay};
use crate::timers::Timer;
use crate::{ConnectionId, DaveMode, Event};

/// How a message was taken; an error is the code to close with.
pub(crate) type Handled = Result<(), CloseCode>;

impl Core {
    pub(crate) fn identify(&mut self, now: Instant, id: ConnectionId, version: u8, identify: Identify) -> Handled {
        if version >= CHANNEL_VERSION && identify.channel_id.is_none() {
            return Err(CloseCode::FAILED_TO_DECODE);
        }
        let admission = self.credentials.check(&identify, &self.config)?;
        if self.config.dave.mode == DaveMode::Required && identify.max_dave_protocol_version == 0 {
            return Err(CloseCode::E2EE_REQUIRED);
        }
        if let Some(old) = self.sessions.by_member(identify.server_id, identify.user_id) {
            let same = self
                .sessions
                .get(old)
                .is_some_and(|session| session.session_id == identify.session_id && session.token == identify.token);
            // Field reports: a session that lives refuses its own credentials; only a resume
            // works. A standing rule has no other credentials to offer.
            if same && !admission.standing {
                return Err(CloseCode::SESSION_NO_LONGER_VALID);
            }
            self.end_session(now, old, Some(CloseCode::DISCONNECTED));
        }
        if self.sessions.len() >= self.config.limits.sessions {
            self.stats.refused += 1;
            return Err(CloseCode::VOICE_SERVER_CRASHED);
        }
        let ssrc = self.new_ssrc();
        let key = self.sessions.insert(Session {
            guild: identify.server_id,
            channel: admission.channel,
            user: identify.user_id,
            session_id: identify.session_id,
            token: identify.token,
            version,
            max_dave_version: identify.max_dave_protocol_version,
            connection: Some(id),
            expiry: None,
            replay: Replay::new(self.config.replay_len),
            ssrc,
            speaking: None,
            patience: None,
            address: None,
            discovered: None,
            heard: false,
            wants_media: true,
            restrictions: self.gateway.states.restrictions(identify.server_id, identify.user_id),
            link: None,
        });
        self.attach(id, version, key);
        self.stats.joins += 1;
        let media = self.config.media_addr;
        let ready = Ready::new(ssrc, media.ip().to_string(), media.port(), self.config.modes.clone());
        self.send_plain(now, key, &ServerMessage::Ready(ready));
        self.enter_room(now, key);
        Ok(())
    }

    pub(crate) fn resume(&mut self, now: Instant, id: ConnectionId, version: u8, resume: &Resume) -> Handled {
        if version >= CHANNEL_VERSION && resume.channel_id.is_none() {
            return Err(CloseCode::FAILED_TO_DECODE);
        }
        let gone = CloseCode::SESSION_NO_LONGER_VALID;
        let key = self.sessions.by_session_id(resume.server_id, &resume.session_id).ok_or(gone)?;
        let session = self.sessions.get(key).ok_or(gone)?;
        if session.token != resume.token {
            return Err(CloseCode::AUTHENTICATION_FAILED);
        }
        // Before version 8 nothing is numbered, so nothing can be replayed either.
        let missed: Vec<Kept> = if version >= NUMBERED_VERSION {
            session.replay.after(resume.seq_ack).ok_or(gone)?.cloned().collect()
        } else {
            Vec::new()
        };
        if let Some(old) = session.connection {
            // The client gave this socket up before the server noticed.
            if let Some(connection) = self.connections.get_mut(&old) {
                connection.role = Role::Voice { version, session: None };
            }
            self.close(now, old, CloseCode::SESSION_TIMEOUT);
        }
        let Some(session) = self.sessions.get_mut(key) else { return Err(gone) };
        session.connection = Some(id);
        session.version = version;
        let (guild, user, expiry) = (session.guild, session.user, session.expiry.take());
        let patience = session.patience.take();
        self.timers.disarm(expiry);
        // What was said on the lost connection may have been lost with it.
        self.timers.disarm(patience);
        self.attach(id, version, key);
        self.stats.resumes += 1;
        self.event(Event::Resumed { guild, user });
        if !self.config.replay_before_resumed {
            self.send_plain(now, key, &ServerMessage::Resumed);
        }
        for kept in missed {
            match kept {
                Kept::Text(text) => self.send_text(now, id, text),
                Kept::Binary(bytes) => self.send(now, id, Output::Binary { connection: id, bytes }),
            }
        }
        if self.config.replay_before_resumed {
            self.send_plain(now, key, &ServerMessage::Resumed);
        }
        Ok(())
    }

    /// Sends a message without a number.
    pub(crate) fn send_plain(&mut self, now: Instant, key: SessionKey, message: &ServerMessage) {
        let Some(session) = self.sessions.get(key) else { return };
        let (connection, user) = (session.connection, session.user);
        if let Some(id) = connection
            && !self.faults.drops_outgoing(Some(user), message.opcode())
        {
            self.send_text(now, id, message.encode(None));
        }
    }

    /// Sends a numbered message, and keeps it for a Resume.
    ///
    /// A message that a fault drops has its number all the same: it was lost, not unsaid.
    pub(crate) fn send_numbered(&mut self, now: Instant, key: SessionKey, message: &ServerMessage) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (connection, user) = (session.connection, session.user);
        let text = if session.version >= NUMBERED_VERSION {
            let text = message.encode(Some(session.replay.next_sequence()));
            session.replay.push(Kept::Text(text.clone()));
            text
        } else {
            message.encode(None)
        };
        if let Some(id) = connection
            && !self.faults.drops_outgoing(Some(user), message.opcode())
        {
            self.send_text(now, id, text);
        }
    }

    /// Sends a numbered binary message, and keeps it for a Resume.
    pub(crate) fn send_binary(&mut self, now: Instant, key: SessionKey, opcode: Opcode, payload: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (connection, user) = (session.connection, session.user);
        let numbered = session.version >= NUMBERED_VERSION;
        let sequence = numbered.then(|| session.replay.next_sequence());
        let bytes = BinaryMessage { sequence, opcode, payload }.encode();
        if numbered {
            session.replay.push(Kept::Binary(bytes.clone()));
        }
        if let Some(id) = connection
            && !self.faults.drops_outgoing(Some(user), opcode)
        {
            self.send(now, id, Output::Binary { connection: id, bytes });
        }
    }

    /// Ends a session: the others are told, and its connection is closed if a code is given.
    pub(crate) fn end_session(&mut self, now: Instant, key: SessionKey, code: Option<CloseCode>) {
        self.leave_room(now, key);
        let Some(session) = self.sessions.remove(key) else { return };
        self.timers.disarm(session.expiry);
        self.timers.disarm(session.patience);
        if let Some(id) = session.connection {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.role = Role::Voice { version: session.version, session: None };
            }
            if let Some(code) = code {
                self.close(now, id, code);
            }
        }
        let Session { guild, channel, user, .. } = session;
        self.event(Event::Left { guild, channel, user });
    }

    /// The connection of a session is gone.
    pub(crate) fn lose_session(&mut self, now: Instant, key: SessionKey, resumable: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.connection = None;
        if !resumable {
            self.end_session(now, key, None);
            return;
        }
        let (guild, user) = (session.guild, session.user);
        let due = now + self.config.session_lifetime;
        session.expiry = Some(self.timers.arm(due, Timer::Expiry(key)));
        self.event(Event::Interrupted { guild, user });
    }

    fn attach(&mut self, id: ConnectionId, version: u8, key: SessionKey) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.role = Role::Voice { version, session: Some(key) };
        }
    }

    fn new_ssrc(&mut self) -> u32 {
        loop {
            let ssrc = self.next_ssrc;
            self.next_ssrc = ssrc.wrapping_add(self.config.ssrc_step.max(1));
            if ssrc != 0 && self.sessions.by_ssrc(ssrc).is_none() {
                return ssrc;
            }
        }
    }
}

/// The first gateway version with numbered messages, and heartbeats that are objects:
/// Discord docs, Voice Connections, "Voice Gateway Versioning Reference".
pub(crate) const NUMBERED_VERSION: u8 = 8;

/// The first gateway version whose Identify and Resume need `channel_id`.
const CHANNEL_VERSION: u8 = 9;
