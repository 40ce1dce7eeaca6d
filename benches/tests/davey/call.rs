//! A channel of the loopback server in virtual time, and members of either kind in it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use voice_dave::Media;
use voice_model::{
    ChannelId, ClientBinary, ClientMessage, CloseCode, GuildId, Heartbeat, HeartbeatForm, Identify, SelectProtocol,
    ServerBinary, UserId,
};
use voice_server::{Command, ConnectionId, Core, CoreConfig, DaveFault, Fault, FaultKind, Input, Output, ServerStats};

use crate::foreign::session::Answer;
use crate::member::{Davey, Member, Ours};

const GUILD: GuildId = GuildId::new(81_384_788_765_712_384);
const CHANNEL: ChannelId = ChannelId::new(127_121_515_262_115_840);

/// More often than the server asks for.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Whose session a member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Davey,
    /// A client that offers no end-to-end encryption.
    Plain,
}

pub struct Call {
    core: Core,
    pub now: Instant,
    pub members: BTreeMap<UserId, Joined>,
    /// Who is heard by the server first when several have something to say.
    pub first: Option<UserId>,
    /// Who made the commits that won, in their order.
    pub committers: Vec<UserId>,
    deadline: Option<Instant>,
    heartbeat: Instant,
    connections: u64,
}

/// A member and its WebSocket.
pub struct Joined {
    pub kind: Kind,
    pub member: Box<dyn Member>,
    connection: ConnectionId,
    inbox: VecDeque<Frame>,
    commit: Vec<u8>,
    /// Its next op 23 is lost.
    pub loses_ready: bool,
    /// Its next op 28 is lost.
    pub loses_commit: bool,
}

enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

impl Call {
    #[expect(clippy::disallowed_methods, reason = "virtual time has to start somewhere")]
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            core: Core::new(now, CoreConfig::default(), [42; 32]),
            now,
            members: BTreeMap::new(),
            first: None,
            committers: Vec::new(),
            deadline: None,
            heartbeat: now + HEARTBEAT,
            connections: 0,
        }
    }

    /// A call in which these users have come together, the first kind being that of user 1.
    pub fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let mut call = Self::new();
        for (kind, user) in kinds.into_iter().zip(1..) {
            call.enter(user, kind);
            call.settle();
        }
        call
    }

    /// Lets a user connect, without waiting for what follows.
    pub fn enter(&mut self, user: u64, kind: Kind) {
        let user = UserId::new(user);
        self.connections += 1;
        let connection = ConnectionId::new(self.connections);
        let member: Box<dyn Member> = match kind {
            Kind::Ours | Kind::Plain => Box::new(Ours::new(user, CHANNEL)),
            Kind::Davey => Box::new(Davey::new(user, CHANNEL)),
        };
        let joined = Joined {
            kind,
            member,
            connection,
            inbox: VecDeque::new(),
            commit: Vec::new(),
            loses_ready: false,
            loses_commit: false,
        };
        self.members.insert(user, joined);
        let ticket = self.core.issue(GUILD, CHANNEL, user);
        self.input(Input::Opened { connection, target: "/?v=8" });
        let mut identify = Identify::new(ticket.server_id, user, ticket.session_id, ticket.token);
        identify.max_dave_protocol_version = u16::from(kind != Kind::Plain);
        self.say(connection, &ClientMessage::Identify(identify));
        let port = 10_000 + u16::try_from(self.connections).unwrap();
        let select = SelectProtocol::udp("127.0.0.1", port, "aead_aes256_gcm_rtpsize");
        self.say(connection, &ClientMessage::SelectProtocol(select));
    }

    pub fn leave(&mut self, user: u64) -> Joined {
        let joined = self.members.remove(&UserId::new(user)).unwrap();
        self.input(Input::Disconnected { connection: joined.connection, code: Some(CloseCode::new(1000)) });
        joined
    }

    pub fn fault(&mut self, user: u64, fault: DaveFault) {
        let command = Command::Inject(Fault::user(UserId::new(user), FaultKind::Dave(fault)));
        self.core.handle_command(self.now, command);
        self.drain();
    }

    pub fn stats(&self) -> ServerStats {
        self.core.stats()
    }

    pub fn member(&mut self, user: u64) -> &mut Joined {
        self.members.get_mut(&UserId::new(user)).unwrap()
    }

    /// Long enough for proposals to be gathered, and for every answer.
    pub fn settle(&mut self) {
        self.run(Duration::from_millis(200));
    }

    /// Lets time pass in steps of 10 ms, with every message carried at once.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.carry();
            if self.now >= end {
                return;
            }
            self.now += Duration::from_millis(10);
            if self.now >= self.heartbeat {
                self.heartbeat += HEARTBEAT;
                let beat = Heartbeat { nonce: 1, seq_ack: None, form: HeartbeatForm::Object };
                let connections: Vec<_> = self.members.values().map(|joined| joined.connection).collect();
                for connection in connections {
                    self.say(connection, &ClientMessage::Heartbeat(beat));
                }
            }
            if self.deadline.is_some_and(|at| at <= self.now) {
                self.core.handle_timeout(self.now, &mut |_, _| {});
                self.drain();
            }
        }
    }

    fn carry(&mut self) {
        loop {
            let mut users: Vec<_> = self.members.keys().copied().collect();
            users.sort_by_key(|user| (Some(*user) != self.first, *user));
            let mut quiet = true;
            for user in users {
                while let Some(frame) = self.members.get_mut(&user).and_then(|joined| joined.inbox.pop_front()) {
                    quiet = false;
                    self.hand(user, &frame);
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Hands a message to a member, and its answers to the server.
    fn hand(&mut self, user: UserId, frame: &Frame) {
        let now = self.now;
        let joined = self.members.get_mut(&user).unwrap();
        match frame {
            Frame::Text(text) => joined.member.handle_text(now, text),
            Frame::Binary(bytes) => {
                let message = ServerBinary::decode(8, bytes).unwrap().message;
                if let ServerBinary::AnnounceCommitTransition { commit, .. } = message
                    && joined.commit.starts_with(commit)
                {
                    self.committers.push(user);
                }
                joined.member.handle_binary(now, bytes);
            }
        }
        let connection = joined.connection;
        for answer in joined.member.answers() {
            let joined = self.members.get_mut(&user).unwrap();
            match answer {
                Answer::Text(text) => {
                    let ready = matches!(ClientMessage::decode(&text), Ok(ClientMessage::DaveTransitionReady(_)));
                    if !(ready && std::mem::take(&mut joined.loses_ready)) {
                        self.input(Input::Text { connection, text: &text });
                    }
                }
                Answer::Binary(bytes) => {
                    if let Ok(ClientBinary::CommitWelcome(payload)) = ClientBinary::decode(&bytes) {
                        if std::mem::take(&mut joined.loses_commit) {
                            continue;
                        }
                        joined.commit = payload.to_vec();
                    }
                    self.input(Input::Binary { connection, bytes: &bytes });
                }
            }
        }
    }

    fn say(&mut self, connection: ConnectionId, message: &ClientMessage) {
        self.input(Input::Text { connection, text: &message.encode() });
    }

    fn input(&mut self, input: Input<'_>) {
        self.core.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let (connection, frame) = match self.core.poll_output() {
                Output::Text { connection, text } => (connection, Frame::Text(text)),
                Output::Binary { connection, bytes } => (connection, Frame::Binary(bytes)),
                Output::Event(_) => continue,
                Output::Close { connection, code } => panic!("{connection:?} was closed with {code}"),
                Output::Reset { connection } => panic!("{connection:?} was reset"),
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            };
            if let Some(joined) = self.members.values_mut().find(|joined| joined.connection == connection) {
                joined.inbox.push_back(frame);
            }
        }
    }

    /// Whether a frame of one user is understood by another one, and as what it was.
    pub fn hears(&mut self, from: u64, to: u64, sealed: &[u8], frame: &[u8]) -> bool {
        let (now, from) = (self.now, UserId::new(from));
        let opened = self.member(to).member.open(now, from, Media::Audio, sealed);
        opened.is_some_and(|opened| opened == frame)
    }

    /// All who are there are in one group, say the same codes, and hear each other encrypted.
    pub fn assert_together(&mut self) {
        let users: Vec<_> = self.members.keys().copied().collect();
        let (epoch, code) = {
            let one = &self.members.values().next().unwrap().member;
            (one.epoch(), one.privacy_code())
        };
        assert!(epoch.is_some() && code.as_ref().is_some_and(|code| code.len() == 30));
        for (user, joined) in &self.members {
            let member = &joined.member;
            assert_eq!(member.members().into_iter().collect::<Vec<_>>(), users, "as {user} has it");
            assert_eq!((member.epoch(), member.privacy_code()), (epoch, code.clone()), "as {user} has it");
        }
        for round in 0..2_u8 {
            for from in users.iter().map(|user| user.get()) {
                let frame: Vec<_> = (0..160).map(|byte| byte ^ round).collect();
                let sealed = self.member(from).member.seal(&frame).expect("a key to speak with");
                assert!(voice_dave::is_protocol_frame(&sealed));
                for to in users.iter().map(|user| user.get()).filter(|to| *to != from) {
                    assert!(self.hears(from, to, &sealed, &frame), "{to} does not hear {from}");
                    assert!(!self.hears(from, to, &sealed, &frame), "{to} hears a frame of {from} twice");
                }
            }
        }
    }
}
