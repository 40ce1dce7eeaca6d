//! What a session says and hears on an open socket.

use std::time::{Duration, Instant};

use voice_model::{
    BinaryMessage, ClientMessage, DecodeError, Heartbeat as HeartbeatMessage, HeartbeatForm, Hello, Identify, Opcode,
    Ready, Resume, ServerMessage, SessionDescription,
};

use super::{Session, State, Trial};
use crate::{Cause, Output, ProtocolViolation, SessionEvent, config::later, heartbeat::Heartbeat};

impl Session {
    pub(super) fn handle_connected(&mut self, now: Instant) {
        let deadline = self.trouble.limit(later(now, self.config.message_timeout));
        self.hello_by = Some(deadline);
        let identity = &self.identity;
        let message = if self.established {
            self.state = State::Resuming { deadline };
            ClientMessage::Resume(Resume {
                server_id: identity.server_id,
                session_id: identity.session_id.clone(),
                token: identity.token.clone(),
                seq_ack: Some(self.seq_ack()),
                channel_id: Some(identity.channel_id),
            })
        } else {
            self.state = State::Identifying { deadline };
            self.sequence = None;
            self.selected_mode = None;
            ClientMessage::Identify(Identify {
                max_dave_protocol_version: self.config.max_dave_protocol_version,
                // Required from version 9 on. Where the server knows only the guild, the group of the end-to-end
                // encryption, whose id is the channel's, depends on it.
                channel_id: Some(identity.channel_id),
                ..Identify::new(
                    identity.server_id,
                    identity.user_id,
                    identity.session_id.clone(),
                    identity.token.clone(),
                )
            })
        };
        self.outputs.push_back(Output::Text(message.encode()));
    }

    pub(super) fn handle_text(&mut self, now: Instant, text: &str) {
        self.heard(now);
        match ServerMessage::decode(text) {
            Ok(numbered) => {
                self.note_sequence(numbered.sequence);
                self.handle_message(now, numbered.message);
            }
            Err(error) => self.handle_undecodable(now, &error),
        }
    }

    pub(super) fn handle_binary(&mut self, now: Instant, bytes: &[u8]) {
        self.heard(now);
        match BinaryMessage::decode_server(bytes) {
            Ok(message) => {
                self.note_sequence(message.sequence);
                let event = SessionEvent::Binary { opcode: message.opcode, payload: message.payload.to_vec() };
                self.event(event);
            }
            Err(error) => self.handle_undecodable(now, &error),
        }
    }

    pub(super) fn handle_oversized(&mut self, now: Instant) {
        self.stats.messages_oversized += 1;
        self.fail(now, Cause::Protocol(ProtocolViolation::MessageTooBig));
    }

    pub(super) fn send_heartbeat(&mut self, nonce: u64) {
        self.stats.heartbeats_sent += 1;
        let beat = HeartbeatMessage { nonce, seq_ack: Some(self.seq_ack()), form: HeartbeatForm::Object };
        self.outputs.push_back(Output::Text(ClientMessage::Heartbeat(beat).encode()));
    }

    /// The nonce of a heartbeat beside the schedule.
    pub(super) fn extra_nonce(&mut self, now: Instant) -> u64 {
        match &mut self.heartbeat {
            Some(heartbeat) => heartbeat.beat(now),
            None => self.history.next_nonce(),
        }
    }

    pub(super) fn flush_speaking(&mut self, now: Instant) {
        if self.state == State::Established
            && let Some(message) = self.speaking.poll(now)
        {
            self.outputs.push_back(Output::Text(ClientMessage::Speaking(message).encode()));
        }
    }

    pub(super) fn event(&mut self, event: SessionEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn handle_message(&mut self, now: Instant, message: ServerMessage) {
        match message {
            ServerMessage::Hello(hello) => self.handle_hello(now, &hello),
            ServerMessage::HeartbeatAck(ack) => {
                if let Some(heartbeat) = &mut self.heartbeat
                    && heartbeat.acknowledge(now, ack.nonce).is_some()
                {
                    self.stats.heartbeats_acknowledged += 1;
                    if let Some(trial) = &mut self.trial {
                        trial.handle_answer();
                    }
                }
                // Nonces ascend: the answer to a later heartbeat is as good.
                if self.confirming.is_some_and(|(nonce, _)| (nonce..=self.history().last_nonce).contains(&ack.nonce)) {
                    self.confirming = None;
                    self.event(SessionEvent::Confirmed);
                }
            }
            ServerMessage::Heartbeat => {
                let nonce = self.extra_nonce(now);
                self.send_heartbeat(nonce);
            }
            ServerMessage::Ready(ready) => self.handle_ready(now, ready),
            ServerMessage::SessionDescription(description) => self.handle_description(now, Some(description)),
            // It has neither mode nor key.
            ServerMessage::WebRtcDescription(_) => self.handle_description(now, None),
            ServerMessage::Resumed => self.handle_resumed(now),
            message => {
                if matches!(message, ServerMessage::Unknown(_)) {
                    self.stats.messages_unknown += 1;
                }
                self.event(SessionEvent::Message(message));
            }
        }
    }

    fn handle_hello(&mut self, now: Instant, hello: &Hello) {
        self.hello_by = None;
        let interval = hello.interval();
        match &mut self.heartbeat {
            Some(heartbeat) => heartbeat.set_interval(now, interval),
            None => self.heartbeat = Some(Heartbeat::start(now, interval, self.rng.f64(), self.history)),
        }
    }

    fn handle_ready(&mut self, now: Instant, ready: Ready) {
        if !matches!(self.state, State::Identifying { .. }) {
            return tracing::debug!("ignored a Ready that was not asked for");
        }
        if ready.media_addr().is_none() {
            return self.fail(now, Cause::Protocol(ProtocolViolation::MediaAddress));
        }
        // The owner's share of the way is limited by what is left for all of it.
        let deadline = self.trouble.limit(later(now, self.config.handshake_timeout));
        self.state = State::Discovering { deadline };
        self.speaking.restart(ready.ssrc);
        self.event(SessionEvent::Ready(ready));
    }

    fn handle_description(&mut self, now: Instant, description: Option<SessionDescription>) {
        let State::Selecting { .. } = self.state else {
            return tracing::debug!("ignored a session description that was not asked for");
        };
        let selected = |description: &SessionDescription| self.selected_mode.as_ref() == Some(&description.mode);
        let Some(description) = description.filter(selected) else {
            return self.fail(now, Cause::Protocol(ProtocolViolation::WrongMode));
        };
        self.run(now);
        self.trouble.over();
        self.established = true;
        self.trouble.backoff.reset();
        self.confirming = None;
        self.event(SessionEvent::Established(description));
        self.flush_speaking(now);
    }

    fn handle_resumed(&mut self, now: Instant) {
        let State::Resuming { .. } = self.state else {
            return tracing::debug!("ignored a Resumed that was not asked for");
        };
        self.run(now);
        self.trial = Some(Trial::new(later(now, self.config.resume_trial)));
        self.stats.resumes += 1;
        self.event(SessionEvent::Resumed);
        self.speaking.repeat();
        self.flush_speaking(now);
        if self.confirming.take().is_some() {
            // What was to be confirmed was sent, if at all, on a socket that is gone.
            self.confirm(now);
        }
        self.held_len = 0;
        self.outputs.append(&mut self.held);
    }

    fn handle_undecodable(&mut self, now: Instant, error: &DecodeError) {
        if let DecodeError::TooLarge { .. } = error {
            return self.handle_oversized(now);
        }
        self.stats.messages_malformed += 1;
        self.note_sequence(error.sequence());
        tracing::debug!(opcode = ?error.opcode(), %error, "dropped a malformed message");
        let needed = match error.opcode() {
            Some(Opcode::Hello) => self.hello_by.is_some(),
            Some(Opcode::Ready) => matches!(self.state, State::Identifying { .. }),
            Some(Opcode::SessionDescription) => matches!(self.state, State::Selecting { .. }),
            _ => false,
        };
        if let Some(opcode) = error.opcode().filter(|_| needed) {
            return self.fail(now, Cause::Protocol(ProtocolViolation::Undecodable(opcode)));
        }
        while self.malformed.front().is_some_and(|at| now.saturating_duration_since(*at) > MALFORMED_WINDOW) {
            self.malformed.pop_front();
        }
        self.malformed.push_back(now);
        if self.malformed.len() > MAX_MALFORMED {
            self.fail(now, Cause::Protocol(ProtocolViolation::TooManyMalformed));
        }
    }

    fn heard(&mut self, now: Instant) {
        self.stats.messages_received += 1;
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.heard(now);
        }
    }

    fn note_sequence(&mut self, sequence: Option<u16>) {
        let Some(sequence) = sequence else { return };
        if sequence != self.sequence.map_or(0, |last| last.wrapping_add(1)) {
            self.stats.sequence_gaps += 1;
        }
        self.sequence = Some(sequence);
    }

    /// The number of the last numbered message; -1 before the first.
    fn seq_ack(&self) -> i64 {
        self.sequence.map_or(-1, i64::from)
    }
}

/// More malformed messages than this within the window end the session.
const MAX_MALFORMED: usize = 20;
const MALFORMED_WINDOW: Duration = Duration::from_secs(10);
