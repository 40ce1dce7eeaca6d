//! The server side of a voice gateway connection.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use voice_crypto::Mode;
use voice_model::{
    BinaryMessage, ClientMessage, ClientSpeaking, CloseCode, DecodeError, Heartbeat, HeartbeatAck, HeartbeatForm,
    Hello, Identify, Opcode, Ready, Resume, SecretKey, SelectProtocol, ServerMessage, SessionDescription,
    UnknownMessage,
};

use crate::connection::Role;
use crate::core::{Core, Output};
use crate::faults::Reaction;
use crate::media::Link;
use crate::registry::{Session, SessionKey};
use crate::replay::{Kept, Replay};
use crate::timers::Timer;
use crate::{ConnectionId, Event};

/// How a message was taken; an error is the code to close with.
type Handled = Result<(), CloseCode>;

impl Core {
    pub(crate) fn voice_hello(&mut self, now: Instant, id: ConnectionId, version: u8) {
        let heartbeat_interval_ms = self.config.heartbeat_interval.as_secs_f64() * 1000.0;
        let hello = Hello { heartbeat_interval_ms, version: Some(version) };
        self.send_text(now, id, ServerMessage::Hello(hello).encode(None));
    }

    pub(crate) fn voice_text(
        &mut self,
        now: Instant,
        id: ConnectionId,
        version: u8,
        session: Option<SessionKey>,
        text: &str,
    ) {
        let handled = match ClientMessage::decode(text) {
            Ok(message) => {
                let user = match &message {
                    ClientMessage::Identify(identify) => Some(identify.user_id),
                    ClientMessage::Resume(resume) => self.resumed_user(resume),
                    _ => session.and_then(|key| self.sessions.get(key)).map(|s| s.user),
                };
                match self.faults.incoming(user, message.opcode()) {
                    Some(Reaction::Ignore) => Ok(()),
                    Some(Reaction::Close(code)) => Err(code),
                    None => self.voice_message(now, id, version, session, message),
                }
            }
            Err(error) => Err(wrong_message(&error, session.is_some())),
        };
        if let Err(code) = handled {
            self.close(now, id, code);
        }
    }

    pub(crate) fn voice_binary(&mut self, now: Instant, id: ConnectionId, session: Option<SessionKey>, bytes: &[u8]) {
        let code = match BinaryMessage::decode_client(bytes) {
            Err(_) => CloseCode::FAILED_TO_DECODE,
            Ok(_) if session.is_none() => CloseCode::NOT_AUTHENTICATED,
            Ok(message) if self.passes_over(message.opcode) => return,
            Ok(_) => CloseCode::UNKNOWN_OPCODE,
        };
        self.close(now, id, code);
    }

    fn voice_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        version: u8,
        session: Option<SessionKey>,
        message: ClientMessage,
    ) -> Handled {
        match (message, session) {
            (ClientMessage::Identify(_) | ClientMessage::Resume(_), Some(_)) => Err(CloseCode::ALREADY_AUTHENTICATED),
            (ClientMessage::Identify(identify), None) => self.identify(now, id, version, identify),
            (ClientMessage::Resume(resume), None) => self.resume(now, id, version, &resume),
            (ClientMessage::Heartbeat(heartbeat), _) => self.heartbeat(now, id, version, session, heartbeat),
            (ClientMessage::Unknown(message), session) => self.other(now, id, session, &message),
            (_, None) => Err(CloseCode::NOT_AUTHENTICATED),
            (ClientMessage::SelectProtocol(select), Some(key)) => self.select_protocol(now, key, &select),
            (ClientMessage::Speaking(speaking), Some(key)) => self.speaking(now, key, speaking),
            (_, Some(_)) => Err(CloseCode::UNKNOWN_OPCODE),
        }
    }

    fn identify(&mut self, now: Instant, id: ConnectionId, version: u8, identify: Identify) -> Handled {
        if version >= CHANNEL_VERSION && identify.channel_id.is_none() {
            return Err(CloseCode::FAILED_TO_DECODE);
        }
        let admission = self.credentials.check(&identify, &self.config)?;
        if self.config.dave.required && identify.max_dave_protocol_version == 0 {
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
            address: None,
            heard: false,
            wants_media: true,
            link: None,
        });
        self.attach(id, version, key);
        self.stats.joins += 1;
        let ready = Ready {
            ssrc,
            ip: self.config.media_addr.ip().to_string(),
            port: self.config.media_addr.port(),
            modes: self.config.modes.clone(),
        };
        self.send_plain(now, key, &ServerMessage::Ready(ready));
        self.enter_room(now, key);
        Ok(())
    }

    fn resume(&mut self, now: Instant, id: ConnectionId, version: u8, resume: &Resume) -> Handled {
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
        self.timers.disarm(expiry);
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

    fn heartbeat(
        &mut self,
        now: Instant,
        id: ConnectionId,
        version: u8,
        session: Option<SessionKey>,
        heartbeat: Heartbeat,
    ) -> Handled {
        let form = if version >= NUMBERED_VERSION { HeartbeatForm::Object } else { HeartbeatForm::Number };
        if heartbeat.form != form {
            return Err(CloseCode::BAD_REQUEST);
        }
        self.touch(now, id);
        let mut user = None;
        if let Some(session) = session.and_then(|key| self.sessions.get_mut(key)) {
            user = Some(session.user);
            if let Some(seq_ack) = heartbeat.seq_ack {
                session.replay.acknowledge(seq_ack);
            }
        }
        let ack = HeartbeatAck { nonce: heartbeat.nonce, form };
        if !self.faults.drops_outgoing(user, Opcode::HeartbeatAck) {
            self.send_text(now, id, ServerMessage::HeartbeatAck(ack).encode(None));
        }
        Ok(())
    }

    fn select_protocol(&mut self, now: Instant, key: SessionKey, select: &SelectProtocol) -> Handled {
        if select.protocol != SelectProtocol::UDP {
            return Err(CloseCode::UNKNOWN_PROTOCOL);
        }
        let offered = self.config.modes.contains(&select.data.mode);
        let mode = select.data.mode.parse::<Mode>().ok().filter(|_| offered);
        let mode = mode.ok_or(CloseCode::UNKNOWN_ENCRYPTION_MODE)?;
        let secret = self.random.bytes::<32>();
        let first_nonce = self.random.u32();
        let media_session_id = self.random.hex::<16>();
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let first_link = session.link.is_none();
        session.link = Some(Link::new(mode, secret, first_nonce, self.config.suffix_order));
        session.heard = self.config.discovery_opens_reception && session.address.is_some();
        let (guild, user) = (session.guild, session.user);
        // Discovery saw the address itself; what the client says is for those who skip it.
        let said = select.data.address.parse::<IpAddr>().ok();
        if let (None, Some(ip), 1..) = (session.address, said, select.data.port) {
            self.sessions.bind_address(key, SocketAddr::new(ip, select.data.port));
        }
        let mut description = SessionDescription::new(mode.wire_name(), SecretKey::new(secret), DAVE_VERSION);
        description.audio_codec = Some("opus".to_owned());
        description.video_codec = Some("H264".to_owned());
        description.media_session_id = Some(media_session_id);
        self.send_plain(now, key, &ServerMessage::SessionDescription(description));
        if first_link {
            if !self.config.report_interval.is_zero() {
                self.timers.arm(now + self.config.report_interval, Timer::Report(key));
            }
            self.event(Event::Connected { guild, user });
        }
        Ok(())
    }

    fn speaking(&mut self, now: Instant, key: SessionKey, speaking: ClientSpeaking) -> Handled {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        // Some clients send zero for their own SSRC until they speak.
        if speaking.ssrc != session.ssrc && speaking.ssrc != 0 {
            return self.config.on_bad_media.map_or(Ok(()), Err);
        }
        let flags = speaking.speaking;
        let (guild, user) = (session.guild, session.user);
        // The service tells of the first op 5 and of changes of the mode, not of every burst.
        let news = match session.speaking {
            None => true,
            Some(told) => told != flags && !flags.is_empty(),
        };
        let told = news || self.config.forward_every_speaking;
        if told {
            session.speaking = Some(flags);
        }
        self.event(Event::Speaking { guild, user, flags });
        if told {
            self.announce_speaking(now, key);
        }
        Ok(())
    }

    /// Opcodes without a type of their own: some mean something, others are passed over.
    fn other(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: Option<SessionKey>,
        message: &UnknownMessage,
    ) -> Handled {
        if !self.passes_over(message.opcode) {
            return Err(CloseCode::UNKNOWN_OPCODE);
        }
        let Some(key) = session else { return Err(CloseCode::NOT_AUTHENTICATED) };
        match message.opcode {
            Opcode::VoiceBackendVersion => {
                let version = UnknownMessage {
                    opcode: Opcode::VoiceBackendVersion,
                    data: r#"{"voice":"0.9.1","rtc_worker":"0.3.35"}"#.to_owned(),
                };
                self.send_text(now, id, ServerMessage::Unknown(version).encode(None));
            }
            Opcode::MediaSinkWants => {
                let wants: serde_json::Value =
                    serde_json::from_str(&message.data).map_err(|_| CloseCode::BAD_REQUEST)?;
                if let Some(session) = self.sessions.get_mut(key) {
                    session.wants_media = wants.get("any").and_then(|a| a.as_f64()) != Some(0.0);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a client may send this opcode and it asks for nothing the server must refuse.
    fn passes_over(&self, opcode: Opcode) -> bool {
        match opcode {
            Opcode::Video
            | Opcode::SessionUpdate
            | Opcode::MediaSinkWants
            | Opcode::VoiceBackendVersion
            | Opcode::NoRoute => true,
            Opcode::DaveTransitionReady
            | Opcode::MlsKeyPackage
            | Opcode::MlsCommitWelcome
            | Opcode::MlsInvalidCommitWelcome => !self.config.dave.refuse_opcodes,
            _ => false,
        }
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

    fn resumed_user(&self, resume: &Resume) -> Option<voice_model::UserId> {
        let key = self.sessions.by_session_id(resume.server_id, &resume.session_id)?;
        self.sessions.get(key).map(|session| session.user)
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

/// The code for a message that could not be read.
fn wrong_message(error: &DecodeError, identified: bool) -> CloseCode {
    match error.opcode() {
        None | Some(Opcode::Identify | Opcode::Resume) => CloseCode::FAILED_TO_DECODE,
        Some(Opcode::Heartbeat) => CloseCode::BAD_REQUEST,
        Some(_) if identified => CloseCode::BAD_REQUEST,
        Some(_) => CloseCode::NOT_AUTHENTICATED,
    }
}

/// The first gateway version with numbered messages, and heartbeats that are objects:
/// Discord docs, Voice Connections, "Voice Gateway Versioning Reference".
pub(crate) const NUMBERED_VERSION: u8 = 8;

/// The first gateway version whose Identify and Resume need `channel_id`.
const CHANNEL_VERSION: u8 = 9;

/// The version of end-to-end encryption this server runs: none.
const DAVE_VERSION: u16 = 0;
