//! Calls of real members: the MLS engine of the client against the delivery service.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use voice_dave::{
    DaveConfig, DaveEvent, DaveMessage, DaveOutput, DaveSession, FrameOpener, FrameSealer, KEY_GRACE, Media, OpenError,
    OpenedKind, OutgoingMessage, ReceiveMode, SealError, SendMode, SigningKey, is_protocol_frame,
};
use voice_model::{ServerBinary, ServerMessage, UserId};
use voice_server::{CoreConfig, DaveFault, FaultKind, ServerStats};

use super::world::{CHANNEL, Client, Frame, World, resume};

/// A channel with members that encrypt.
pub struct Call {
    pub world: World,
    pub members: BTreeMap<UserId, Member>,
    /// Every encrypted frame. All are of the same bytes, so two would be equal if a key and nonce were used twice.
    sealed: HashSet<Vec<u8>>,
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
    /// The payload of the last binary message it sent, of opcodes 26 and 28.
    pub package: Vec<u8>,
    pub commit: Vec<u8>,
    /// The last external sender it was told of.
    pub sender: Vec<u8>,
    sealer: FrameSealer,
    /// What the last mode of the sealer lets leave.
    sends: Sends,
    openers: BTreeMap<UserId, Ear>,
    stranger: Ear,
    last_sequence: i64,
}

/// In which form frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    Nothing,
    Plain,
    Encrypted,
}

/// An opener, and what is known of it from the modes it was given alone.
struct Ear {
    opener: FrameOpener,
    plain: Window,
    /// What it has decrypted.
    heard: BTreeSet<Vec<u8>>,
}

/// Until when frames are accepted in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    Closed,
    Until(Instant),
    Open,
}

/// What everybody says, in every frame.
pub const SPOKEN: &[u8] = b"always the same bytes";

impl Call {
    pub fn new() -> Self {
        Self::with(voice_server::DaveConfig::default())
    }

    pub fn with(dave: voice_server::DaveConfig) -> Self {
        Self::of(CoreConfig { first_ssrc: Some(100), dave, ..CoreConfig::default() })
    }

    pub fn of(config: CoreConfig) -> Self {
        Self { world: World::with(config), members: BTreeMap::new(), sealed: HashSet::new() }
    }

    /// Lets a user join whose client offers encryption, without waiting for what follows.
    pub fn enter(&mut self, user: u64) -> UserId {
        let user = UserId::new(user);
        let client = self.world.join_with(user, 1);
        self.members.insert(user, Member::new(user, client));
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
        self.assert_grouped(users);
        assert!(self.members.values().all(|it| it.session.status().pending_transitions == 0));
    }

    /// The same, whatever transitions were prepared out of nowhere.
    pub fn assert_grouped(&mut self, users: impl IntoIterator<Item = u64>) {
        let users: Vec<_> = users.into_iter().map(UserId::new).collect();
        assert_eq!(self.members.keys().copied().collect::<Vec<_>>(), users);
        let statuses: Vec<_> = self.members.values().map(|it| it.session.status()).collect();
        for status in &statuses {
            let mut members = status.members.clone();
            members.sort_unstable();
            assert_eq!(members, users);
            assert_eq!(status.active_version, Some(1));
            assert!(status.privacy_code.is_some());
            assert_eq!((&status.privacy_code, status.epoch), (&statuses[0].privacy_code, statuses[0].epoch));
        }
        for &from in &users {
            let frame = self.speak(from).expect("an epoch with keys");
            for &to in users.iter().filter(|to| **to != from) {
                let heard = self.hear(from, to, &frame).unwrap_or_else(|e| panic!("{from} to {to}: {e}"));
                assert_eq!(heard, OpenedKind::Decrypted);
            }
        }
    }

    /// Seals a frame, if any may leave, in the form that the member's session wants.
    pub fn speak(&mut self, from: UserId) -> Option<Vec<u8>> {
        let member = self.members.get_mut(&from).unwrap();
        let mut buffer = [0; SPOKEN.len() + FrameSealer::MAX_OVERHEAD];
        buffer[..SPOKEN.len()].copy_from_slice(SPOKEN);
        let sealed = member.sealer.seal(&mut buffer, SPOKEN.len());
        match member.sends {
            Sends::Nothing => assert_eq!(sealed, Err(SealError::Held)),
            Sends::Plain => assert_eq!((sealed, &buffer[..SPOKEN.len()]), (Ok(SPOKEN.len()), SPOKEN)),
            Sends::Encrypted => {
                let frame = &buffer[..sealed.expect("there is room")];
                assert!(is_protocol_frame(frame) && !frame.starts_with(SPOKEN), "in the clear");
                assert!(self.sealed.insert(frame.to_vec()), "a key and nonce were used twice");
            }
        }
        sealed.ok().map(|len| buffer[..len].to_vec())
    }

    /// Opens a frame as one of `from`, if it is accepted.
    pub fn hear(&mut self, from: UserId, to: UserId, frame: &[u8]) -> Result<OpenedKind, OpenError> {
        let now = self.world.now;
        let member = self.members.get_mut(&to).unwrap();
        let ear = member.openers.entry(from).or_insert_with(|| member.stranger.for_another());
        let mut buffer = frame.to_vec();
        let opened = ear.opener.open(now, Media::Audio, &mut buffer)?;
        match opened.kind {
            OpenedKind::Decrypted => {
                assert_eq!(&buffer[..opened.len], SPOKEN);
                assert!(self.sealed.contains(frame), "forged");
                assert!(ear.heard.insert(frame.to_vec()), "heard twice");
            }
            OpenedKind::Passthrough => {
                assert!(!is_protocol_frame(frame));
                assert!(ear.plain.is_open(now), "accepted in the clear");
            }
            kind => assert_eq!(kind, OpenedKind::Silence),
        }
        Ok(opened.kind)
    }
}

/// Sends what a member wants to say.
pub fn say(world: &mut World, connection: u64, message: &OutgoingMessage) {
    match message {
        OutgoingMessage::Text(message) => world.raw(connection, &message.encode()),
        OutgoingMessage::Binary(bytes) => world.binary(connection, bytes),
    }
}

impl Ear {
    fn new() -> Self {
        Self { opener: FrameOpener::new(), plain: Window::Closed, heard: BTreeSet::new() }
    }

    fn for_another(&self) -> Self {
        Self { opener: self.opener.for_another_sender(), plain: self.plain, heard: BTreeSet::new() }
    }

    fn set_mode(&mut self, now: Instant, mode: ReceiveMode) {
        self.plain = match (&mode, self.plain) {
            (ReceiveMode::Hold, _) | (ReceiveMode::Decrypt(_), Window::Closed) => Window::Closed,
            (ReceiveMode::Passthrough, _) => Window::Open,
            (ReceiveMode::Expire, plain) => plain,
            (ReceiveMode::Decrypt(_), Window::Open) => Window::Until(now + KEY_GRACE),
            (ReceiveMode::Decrypt(_), Window::Until(end)) => Window::Until(end.min(now + KEY_GRACE)),
        };
        self.opener.set_mode(now, mode);
    }
}

impl Window {
    fn is_open(self, now: Instant) -> bool {
        match self {
            Self::Closed => false,
            Self::Until(end) => now < end,
            Self::Open => true,
        }
    }
}

impl Member {
    fn new(user: UserId, client: Client) -> Self {
        let config = DaveConfig { user, channel: CHANNEL, signing_key: SigningKey::generate() };
        Self {
            client,
            session: DaveSession::new(config),
            told: Vec::new(),
            mute: false,
            events: Vec::new(),
            package: Vec::new(),
            commit: Vec::new(),
            sender: Vec::new(),
            sealer: FrameSealer::new(),
            sends: Sends::Nothing,
            openers: BTreeMap::new(),
            stranger: Ear::new(),
            last_sequence: -1,
        }
    }

    pub fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Text(text) => {
                let decoded = ServerMessage::decode(text).unwrap();
                self.told.push(u8::try_from(decoded.message.opcode().code()).unwrap());
                self.last_sequence = decoded.sequence.map_or(self.last_sequence, i64::from);
                let message = match &decoded.message {
                    ServerMessage::SessionDescription(it) => {
                        DaveMessage::SessionDescription { version: it.dave_protocol_version }
                    }
                    ServerMessage::Resumed => DaveMessage::Resumed,
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
                if let ServerBinary::ExternalSender(sender) = decoded.message {
                    self.sender = sender.to_vec();
                }
                self.session.handle_message(DaveMessage::Binary(decoded.message));
            }
        }
    }

    /// Does what the session says, and returns what it wants to send.
    pub fn answer(&mut self, now: Instant) -> Vec<OutgoingMessage> {
        let mut messages = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                DaveOutput::Message(message) => {
                    match &message {
                        OutgoingMessage::Binary(bytes) if bytes[0] == 26 => self.package = bytes[1..].to_vec(),
                        OutgoingMessage::Binary(bytes) => self.commit = bytes[1..].to_vec(),
                        OutgoingMessage::Text(_) => {}
                    }
                    messages.push(message);
                }
                DaveOutput::Send(mode) => {
                    self.sends = match mode {
                        SendMode::Hold => Sends::Nothing,
                        SendMode::Passthrough => Sends::Plain,
                        SendMode::Encrypt(_) => Sends::Encrypted,
                    };
                    self.sealer.set_mode(mode);
                }
                DaveOutput::Receive { user, mode } => {
                    let stranger = &self.stranger;
                    self.openers.entry(user).or_insert_with(|| stranger.for_another()).set_mode(now, mode);
                }
                DaveOutput::ReceiveDefault(mode) => self.stranger.set_mode(now, mode),
                DaveOutput::Forget(user) => self.openers.get_mut(&user).into_iter().for_each(|ear| ear.opener.erase()),
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
    pub fn sends_plain(&self) -> bool {
        self.sends == Sends::Plain
    }

    /// The number of the last message it was sent.
    pub fn last_sequence(&self) -> i64 {
        self.last_sequence
    }
}
