//! Calls of real members: the MLS engine of the client against the delivery service.

use std::collections::BTreeMap;
use std::time::Duration;

use voice_dave::{
    DaveConfig, DaveEvent, DaveMessage, DaveOutput, DaveSession, FrameOpener, FrameSealer, Media, OpenedKind,
    OutgoingMessage, SigningKey,
};
use voice_model::{ServerBinary, ServerMessage, UserId};
use voice_server::{CoreConfig, DaveFault, FaultKind, ServerStats};

use super::world::{CHANNEL, Client, Frame, World, resume};

/// A channel with members that encrypt.
pub struct Call {
    pub world: World,
    pub members: BTreeMap<UserId, Member>,
}

/// One of them.
pub struct Member {
    pub client: Client,
    pub session: DaveSession,
    /// The opcodes it was sent, and for binary ones those too.
    pub told: Vec<u8>,
    /// What it says is lost.
    pub mute: bool,
    pub events: Vec<DaveEvent>,
    sealer: FrameSealer,
    openers: BTreeMap<UserId, FrameOpener>,
    stranger: FrameOpener,
    last_sequence: i64,
}

impl Call {
    pub fn new() -> Self {
        Self::with(voice_server::DaveConfig::default())
    }

    pub fn with(dave: voice_server::DaveConfig) -> Self {
        let world = World::with(CoreConfig { first_ssrc: Some(100), dave, ..CoreConfig::default() });
        Self { world, members: BTreeMap::new() }
    }

    /// Lets a user join whose client offers encryption, without waiting for what follows.
    pub fn enter(&mut self, user: u64) -> UserId {
        let user = UserId::new(user);
        let client = self.world.join_with(user, 1);
        let signing_key = SigningKey::generate();
        let session = DaveSession::new(DaveConfig { user, channel: CHANNEL, signing_key });
        let member = Member {
            client,
            session,
            told: Vec::new(),
            mute: false,
            events: Vec::new(),
            sealer: FrameSealer::new(),
            openers: BTreeMap::new(),
            stranger: FrameOpener::new(),
            last_sequence: -1,
        };
        self.members.insert(user, member);
        user
    }

    /// Lets users join and waits until nothing happens any more.
    pub fn join(&mut self, users: impl IntoIterator<Item = u64>) {
        for user in users {
            self.enter(user);
        }
        self.settle();
    }

    pub fn leave(&mut self, user: u64) {
        let member = self.members.remove(&UserId::new(user)).unwrap();
        self.world.lose(member.client.connection, Some(1000));
    }

    /// Loses the WebSocket of a member and opens another one for the same session.
    pub fn resume(&mut self, user: u64) {
        let member = self.members.get_mut(&UserId::new(user)).unwrap();
        self.world.lose(member.client.connection, None);
        let connection = self.world.open("/?v=8");
        self.world.send(connection, resume(&member.client.ticket, member.last_sequence));
        member.client.connection = connection;
    }

    pub fn fault(&mut self, user: u64, fault: DaveFault) {
        self.world.fault(UserId::new(user), FaultKind::Dave(fault));
    }

    pub fn member(&self, user: u64) -> &Member {
        &self.members[&UserId::new(user)]
    }

    pub fn stats(&self) -> ServerStats {
        self.world.core.stats()
    }

    /// Half a second in steps, with every message carried at once.
    pub fn settle(&mut self) {
        self.run(Duration::from_millis(500));
    }

    /// Lets time pass in steps of 10 ms, with every message carried at once.
    pub fn run(&mut self, time: Duration) {
        let end = self.world.now + time;
        loop {
            self.carry();
            if self.world.now >= end {
                return;
            }
            self.world.advance(Duration::from_millis(10));
        }
    }

    /// Carries messages until there are none.
    pub fn carry(&mut self) {
        loop {
            let mut quiet = true;
            for member in self.members.values_mut() {
                let connection = member.client.connection;
                for frame in self.world.frames(connection) {
                    quiet = false;
                    member.take(&frame);
                }
                for message in member.answer(self.world.now) {
                    if !member.mute {
                        say(&mut self.world, connection, &message);
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// All are in one group of these users with one privacy code, and hear each other encrypted.
    pub fn assert_together(&mut self, users: impl IntoIterator<Item = u64>) {
        let users: Vec<_> = users.into_iter().map(UserId::new).collect();
        assert_eq!(self.members.keys().copied().collect::<Vec<_>>(), users);
        let statuses: Vec<_> = self.members.values().map(|it| it.session.status()).collect();
        for status in &statuses {
            let mut members = status.members.clone();
            members.sort_unstable();
            assert_eq!(members, users);
            assert_eq!((status.active_version, status.pending_transitions), (Some(1), 0));
            assert!(status.privacy_code.is_some());
            assert_eq!((&status.privacy_code, status.epoch), (&statuses[0].privacy_code, statuses[0].epoch));
        }
        let now = self.world.now;
        for &from in &users {
            let mut buffer = [0; 64];
            buffer[..5].copy_from_slice(b"hello");
            let len = self.members.get_mut(&from).unwrap().sealer.seal(&mut buffer, 5).unwrap();
            assert!(voice_dave::is_protocol_frame(&buffer[..len]));
            for &to in users.iter().filter(|to| **to != from) {
                let mut frame = buffer[..len].to_vec();
                let opener = self.members.get_mut(&to).unwrap().openers.get_mut(&from).unwrap();
                let opened =
                    opener.open(now, Media::Audio, &mut frame).unwrap_or_else(|e| panic!("{from} to {to}: {e}"));
                assert_eq!((opened.kind, &frame[..opened.len]), (OpenedKind::Decrypted, &b"hello"[..]));
            }
        }
    }
}

fn say(world: &mut World, connection: u64, message: &OutgoingMessage) {
    match message {
        OutgoingMessage::Text(message) => world.raw(connection, &message.encode()),
        OutgoingMessage::Binary(bytes) => world.binary(connection, bytes),
    }
}

impl Member {
    fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Text(text) => {
                let decoded = ServerMessage::decode(text).unwrap();
                self.told.push(u8::try_from(decoded.message.opcode().code()).unwrap());
                self.last_sequence = decoded.sequence.map_or(self.last_sequence, i64::from);
                let message = match &decoded.message {
                    ServerMessage::SessionDescription(it) => {
                        DaveMessage::SessionDescription { version: it.dave_protocol_version }
                    }
                    ServerMessage::ClientsConnect(it) => DaveMessage::ClientsConnect(&it.user_ids),
                    ServerMessage::ClientDisconnect(it) => DaveMessage::ClientDisconnect(it.user_id),
                    ServerMessage::DavePrepareTransition(it) => DaveMessage::PrepareTransition(*it),
                    ServerMessage::DaveExecuteTransition(it) => DaveMessage::ExecuteTransition(*it),
                    ServerMessage::DavePrepareEpoch(it) => DaveMessage::PrepareEpoch(*it),
                    _ => return,
                };
                self.session.handle_message(message);
            }
            Frame::Binary(bytes) => {
                // What is damaged on purpose may be no message at all.
                let Ok(decoded) = ServerBinary::decode(8, bytes) else { return };
                self.told.push(u8::try_from(decoded.message.opcode().code()).unwrap());
                self.last_sequence = decoded.sequence.map_or(self.last_sequence, i64::from);
                self.session.handle_message(DaveMessage::Binary(decoded.message));
            }
        }
    }

    /// Does what the session says, and returns what it wants to send.
    fn answer(&mut self, now: std::time::Instant) -> Vec<OutgoingMessage> {
        let mut messages = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                DaveOutput::Message(message) => messages.push(message),
                DaveOutput::Send(mode) => self.sealer.set_mode(mode),
                DaveOutput::Receive { user, mode } => {
                    let stranger = &self.stranger;
                    let opener = self.openers.entry(user).or_insert_with(|| stranger.for_another_sender());
                    opener.set_mode(now, mode);
                }
                DaveOutput::ReceiveDefault(mode) => self.stranger.set_mode(now, mode),
                DaveOutput::Forget(user) => drop(self.openers.remove(&user)),
                DaveOutput::Event(event) => self.events.push(event),
                _ => {}
            }
        }
        messages
    }

    /// How often it was sent an opcode.
    pub fn count(&self, opcode: u8) -> usize {
        self.told.iter().filter(|it| **it == opcode).count()
    }

    /// Whether frames leave in the clear.
    pub fn sends_plain(&mut self) -> bool {
        let mut buffer = [0; 64];
        self.sealer.seal(&mut buffer, 5) == Ok(5)
    }
}
