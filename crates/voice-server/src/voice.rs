//! The messages of a voice gateway connection.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use voice_crypto::Mode;
use voice_model::{
    BinaryMessage, ClientBinary, ClientMessage, ClientSpeaking, CloseCode, DecodeError, Heartbeat, HeartbeatAck,
    HeartbeatForm, Hello, Opcode, Resume, SecretKey, SelectProtocol, ServerMessage, SessionDescription, UserId,
    VoiceBackendVersion,
};
use voice_rtp::Ssrc;

use crate::core::Core;
use crate::faults::Reaction;
use crate::media::Link;
use crate::registry::SessionKey;
use crate::session::{Handled, NUMBERED_VERSION};
use crate::timers::Timer;
use crate::{ConnectionId, Event};

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
            Ok(message) if !self.passes_over(message.opcode) => CloseCode::UNKNOWN_OPCODE,
            Ok(message) => {
                let user = session.and_then(|key| self.sessions.get(key)).map(|session| session.user);
                match (self.faults.incoming(user, message.opcode), session) {
                    (Some(Reaction::Close(code)), _) => code,
                    (None, Some(key)) => return self.dave_binary(now, key, ClientBinary::from_message(message)),
                    _ => return,
                }
            }
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
            (message, None) if self.knows(&message) => Err(CloseCode::NOT_AUTHENTICATED),
            (ClientMessage::SelectProtocol(select), Some(key)) => self.select_protocol(now, key, &select),
            (ClientMessage::Speaking(speaking), Some(key)) => self.speaking(now, key, speaking),
            (message, Some(key)) if self.passes_over(message.opcode()) => {
                self.other(now, id, key, &message);
                Ok(())
            }
            _ => Err(CloseCode::UNKNOWN_OPCODE),
        }
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
        session.link = Some(Link::new(mode, secret, first_nonce, self.config.suffix_order, Ssrc::new(session.ssrc)));
        session.heard = self.config.discovery_opens_reception && session.address.is_some();
        let (guild, user) = (session.guild, session.user);
        // Discovery saw the address itself; what the client says is for those who skip it, and for those whose socket is
        // another than it was.
        let said = select.data.address.parse::<IpAddr>().ok();
        if let (Some(ip), port @ 1..) = (said, select.data.port) {
            let address = SocketAddr::new(ip, port);
            // What is only said takes nothing from a client that is known there.
            let is_found = session.discovered == Some(address);
            if is_found || session.address.is_none() && self.sessions.by_address(address).is_none() {
                self.sessions.bind_address(key, address);
            }
        }
        let dave_version = self.dave_version(key);
        let mut description = SessionDescription::new(mode.wire_name(), SecretKey::new(secret), dave_version);
        description.audio_codec = Some("opus".to_owned());
        description.video_codec = Some("H264".to_owned());
        description.media_session_id = Some(media_session_id);
        self.send_plain(now, key, &ServerMessage::SessionDescription(description));
        self.dave_described(now, key);
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
        let (guild, user, patience) = (session.guild, session.user, session.patience.take());
        // The service tells of the first op 5 and of changes of the mode, not of every burst.
        let news = match session.speaking {
            None => true,
            Some(told) => told != flags && !flags.is_empty(),
        };
        let told = news || self.config.forward_every_speaking;
        if told {
            session.speaking = Some(flags);
        }
        self.timers.disarm(patience);
        self.event(Event::Speaking { guild, user, flags });
        if told {
            self.announce_speaking(now, key);
        }
        Ok(())
    }

    /// What a client may say besides: some mean something, others are passed over.
    fn other(&mut self, now: Instant, id: ConnectionId, key: SessionKey, message: &ClientMessage) {
        match message {
            ClientMessage::VoiceBackendVersion => {
                let version =
                    VoiceBackendVersion { voice: Some("0.9.1".to_owned()), rtc_worker: Some("0.3.35".to_owned()) };
                self.send_text(now, id, ServerMessage::VoiceBackendVersion(version).encode(None));
            }
            ClientMessage::MediaSinkWants(wants) => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.wants_media = wants.any != Some(0);
                }
            }
            message => self.dave_text(now, key, message),
        }
    }

    /// Whether a client may send this kind of message at all.
    fn knows(&self, message: &ClientMessage) -> bool {
        matches!(message, ClientMessage::SelectProtocol(_) | ClientMessage::Speaking(_))
            || self.passes_over(message.opcode())
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

    fn resumed_user(&self, resume: &Resume) -> Option<UserId> {
        let key = self.sessions.by_session_id(resume.server_id, &resume.session_id)?;
        self.sessions.get(key).map(|session| session.user)
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
