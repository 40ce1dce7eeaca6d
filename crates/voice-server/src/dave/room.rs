//! The delivery services of all channels, as the core drives them.

use std::time::Instant;

use voice_model::{ClientBinary, ClientMessage, UserId};

use crate::core::Core;
use crate::dave::delivery::Delivery;
use crate::dave::messages::{DeliveryOutput, Message};
use crate::dave::{DaveFault, DaveMode};
use crate::registry::SessionKey;
use crate::room::RoomId;
use crate::timers::Timer;

impl Core {
    /// A session has entered its channel.
    pub(crate) fn dave_join(&mut self, now: Instant, key: SessionKey) {
        if self.config.dave.mode == DaveMode::Off {
            return;
        }
        let Some(session) = self.sessions.get(key) else { return };
        let (user, max_version) = (session.user, session.max_dave_version);
        let id = RoomId { guild: session.guild, channel: session.channel };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let (config, random) = (self.config.dave, &mut self.random);
        let delivery =
            room.delivery.get_or_insert_with(|| Box::new(Delivery::new(config, id.guild, id.channel, random.bytes())));
        for (user, fault) in self.faults.dave_waiting(user, room.members.len() == 1) {
            delivery.inject(now, user, fault);
        }
        self.dave(now, id, |delivery| delivery.join(now, user, max_version));
    }

    /// A user has left a channel.
    pub(crate) fn dave_leave(&mut self, now: Instant, id: RoomId, user: UserId) {
        self.dave(now, id, |delivery| delivery.leave(now, user));
    }

    /// The version for op 4 of a session.
    pub(crate) fn dave_version(&self, key: SessionKey) -> u16 {
        let delivery = self.room_of(key).and_then(|id| self.rooms.get(&id)?.delivery.as_ref());
        delivery.map_or(0, |delivery| delivery.version())
    }

    /// Op 4 has gone out to a session.
    pub(crate) fn dave_described(&mut self, now: Instant, key: SessionKey) {
        self.dave_of(now, key, |delivery, user| delivery.described(now, user));
    }

    /// Takes op 23 and op 31.
    pub(crate) fn dave_text(&mut self, now: Instant, key: SessionKey, message: &ClientMessage) {
        match message {
            ClientMessage::DaveTransitionReady(ready) => {
                self.dave_of(now, key, |delivery, user| delivery.transition_ready(now, user, ready.transition_id));
            }
            ClientMessage::MlsInvalidCommitWelcome(invalid) => {
                let id = invalid.transition_id;
                self.dave_of(now, key, |delivery, user| delivery.invalid_commit_welcome(now, user, id));
            }
            _ => {}
        }
    }

    /// Takes op 26 and op 28.
    pub(crate) fn dave_binary(&mut self, now: Instant, key: SessionKey, message: ClientBinary<'_>) {
        match message {
            ClientBinary::KeyPackage(bytes) => {
                self.dave_of(now, key, |delivery, user| delivery.key_package(now, user, bytes));
            }
            ClientBinary::CommitWelcome(bytes) => {
                self.dave_of(now, key, |delivery, user| delivery.commit_welcome(now, user, bytes));
            }
            _ => {}
        }
    }

    /// Something of a channel is due.
    pub(crate) fn dave_timeout(&mut self, now: Instant, id: RoomId) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.timer = None;
        }
        self.dave(now, id, |delivery| delivery.handle_timeout(now));
    }

    /// Makes a fault happen, or last.
    pub(crate) fn inject_dave(&mut self, now: Instant, user: Option<UserId>, fault: DaveFault) {
        let rooms: Vec<RoomId> = match user {
            None => self.rooms.keys().copied().collect(),
            Some(_) => self.sessions.of_user(user).into_iter().filter_map(|key| self.room_of(key)).collect(),
        };
        if (user.is_none() || rooms.is_empty()) && fault.count().is_some() {
            self.faults.wait_for_dave(user, fault);
        }
        for id in rooms {
            self.dave(now, id, |delivery| delivery.inject(now, user, fault));
        }
    }

    /// Ends the faults that last.
    pub(crate) fn clear_dave(&mut self) {
        for delivery in self.rooms.values_mut().filter_map(|room| room.delivery.as_mut()) {
            delivery.faults_clear();
        }
    }

    fn room_of(&self, key: SessionKey) -> Option<RoomId> {
        self.sessions.get(key).map(|session| RoomId { guild: session.guild, channel: session.channel })
    }

    fn dave_of(&mut self, now: Instant, key: SessionKey, act: impl FnOnce(&mut Delivery, UserId)) {
        let Some(session) = self.sessions.get(key) else { return };
        let (user, id) = (session.user, RoomId { guild: session.guild, channel: session.channel });
        self.dave(now, id, |delivery| act(delivery, user));
    }

    /// Lets something happen to the delivery service of a channel, if it has one, and does what
    /// follows from it.
    fn dave(&mut self, now: Instant, id: RoomId, act: impl FnOnce(&mut Delivery)) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(delivery) = room.delivery.as_mut() else { return };
        act(delivery);
        self.stats.dave += delivery.take_stats();
        let due = delivery.poll_timeout();
        self.timers.disarm(room.timer.take());
        room.timer = due.map(|due| self.timers.arm(due, Timer::Dave(id)));
        let outputs: Vec<_> = core::iter::from_fn(|| delivery.poll_output()).collect();
        for output in outputs {
            match output {
                DeliveryOutput::Event(event) => self.event(event),
                DeliveryOutput::Send(user, message) => {
                    let Some(key) = self.sessions.by_member(id.guild, user) else { continue };
                    match message {
                        Message::Text(message) => self.send_numbered(now, key, &message),
                        Message::Binary(opcode, payload) => self.send_binary(now, key, opcode, &payload),
                    }
                }
            }
        }
    }
}
