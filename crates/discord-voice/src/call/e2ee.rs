//! The end-to-end encryption of a call: what the session of DAVE is told, and what becomes of what it says.

use std::time::Instant;

use voice_dave::{
    CallState, DaveConfig, DaveEvent, DaveMessage, DaveOutput, DaveSession, DaveStats, DaveStatus,
    MAX_PROTOCOL_VERSION, OutgoingMessage, ReceiveMode, SendMode, SigningKey, Verification,
};
use voice_model::{BinaryMessage, ChannelId, Opcode, ServerBinary, UserId};

use super::{CallSession, MediaCommand, Phase};
use crate::{E2ee, EndReason, Event};

/// The encryption of one voice gateway session.
#[derive(Debug)]
pub(super) struct Encryption {
    session: DaveSession,
    status: DaveStatus,
    channel: ChannelId,
    /// The gateway let us in: a second time it begins anew.
    used: bool,
}

impl Encryption {
    pub(super) fn new(signing_key: SigningKey, user: UserId, channel: ChannelId) -> Self {
        let config = DaveConfig { user, channel, signing_key };
        Self { session: DaveSession::new(config), status: DaveStatus::default(), channel, used: false }
    }

    /// Begins anew, with another session of the same user.
    pub(super) fn restart(&mut self, channel: ChannelId) {
        self.session.restart(channel);
        (self.status, self.channel, self.used) = (DaveStatus::default(), channel, false);
    }

    pub(super) const fn status(&self) -> &DaveStatus {
        &self.status
    }
}

impl CallSession {
    /// How far the end-to-end encryption is.
    #[must_use]
    pub const fn e2ee(&self) -> &DaveStatus {
        self.encryption.status()
    }

    /// What the end-to-end encryption did and refused in this session.
    #[must_use]
    pub const fn dave_stats(&self) -> &DaveStats {
        self.encryption.session.stats()
    }

    /// The public keys of the own user and of another one in the encrypted call, to be compared by the two of them;
    /// `None` if the user is not in its group.
    #[must_use]
    pub fn verification(&self, user: UserId) -> Option<Verification> {
        self.encryption.session.verification(user)
    }

    /// The gateway let us in. What was said before to a session that is gone is void.
    pub(super) fn renew_encryption(&mut self) {
        if self.encryption.used {
            self.encryption.restart(self.encryption.channel);
        }
        self.encryption.used = true;
    }

    /// Whether the policy and the protocol allow a call with this version.
    pub(super) fn accept_version(&self, version: u16) -> Result<(), EndReason> {
        match version {
            0 if self.config.e2ee == E2ee::Require => Err(EndReason::NotEncrypted),
            0..=MAX_PROTOCOL_VERSION => Ok(()),
            version => Err(EndReason::E2eeVersion { version }),
        }
    }

    pub(super) fn handle_binary(&mut self, now: Instant, opcode: Opcode, payload: &[u8]) {
        match ServerBinary::from_message(BinaryMessage { sequence: None, opcode, payload }) {
            Ok(message) => self.encrypt(now, DaveMessage::Binary(message)),
            Err(error) => tracing::debug!(%error, "dropped a malformed binary message"),
        }
    }

    /// Begins in a call whose group another process was in.
    pub(super) fn take_over(&mut self, now: Instant, call: &CallState) {
        self.encryption.session.take_over(call);
        self.encryption.used = true;
        self.carry_out(now);
    }

    pub(super) fn encrypted_call(&self) -> CallState {
        self.encryption.session.call_state()
    }

    /// Tells the encryption what the gateway said, and carries out what follows from it.
    pub(super) fn encrypt(&mut self, now: Instant, message: DaveMessage<'_>) {
        self.encryption.session.handle_message(message);
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Instant) {
        while let Some(output) = self.encryption.session.poll_output() {
            self.handle_output(now, output);
        }
        self.encryption.status = self.encryption.session.status();
        if self.encryption.status.is_encrypting && self.times.encrypted.is_none() {
            self.times.encrypted = Some(now.saturating_duration_since(self.started));
        }
    }

    fn handle_output(&mut self, now: Instant, output: DaveOutput) {
        if matches!(self.phase, Phase::Ended | Phase::Signalling) {
            // An output before this one has ended it.
            return;
        }
        match output {
            DaveOutput::Send(SendMode::Passthrough)
            | DaveOutput::Receive { mode: ReceiveMode::Passthrough, .. }
            | DaveOutput::ReceiveDefault(ReceiveMode::Passthrough)
            | DaveOutput::Event(DaveEvent::Downgraded)
                if self.config.e2ee == E2ee::Require =>
            {
                self.lose(now, EndReason::Downgraded);
            }
            DaveOutput::Message(message) => {
                let Some(session) = &mut self.session else { return };
                let sent = match message {
                    OutgoingMessage::Text(message) => session.send(now, message),
                    OutgoingMessage::Binary(bytes) => match &bytes[..] {
                        [opcode, payload @ ..] => session.send_binary(u64::from(*opcode).into(), payload),
                        [] => Ok(()),
                    },
                };
                if let Err(error) = sent {
                    self.counters.messages_dropped += 1;
                    tracing::debug!(%error, "a message of the end-to-end encryption was not sent");
                }
            }
            DaveOutput::Send(mode) => self.media(now, MediaCommand::SetSendMode(mode)),
            DaveOutput::Receive { user, mode } => self.media(now, MediaCommand::SetReceiveMode(user, mode)),
            DaveOutput::ReceiveDefault(mode) => self.media(now, MediaCommand::SetDefaultReceiveMode(mode)),
            DaveOutput::Forget(user) => self.media(now, MediaCommand::Forget(user)),
            DaveOutput::Event(event) => self.event(Event::E2ee(event)),
            _ => {}
        }
    }
}
