//! Calls of two as a list of operations that any bytes are: what comes and goes, what the connections do to
//! messages, what the delivery service does wrong. At its end everything works again, and then the call has to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use voice_dave::OutgoingMessage;
use voice_model::{Opcode, ServerBinary, ServerMessage, UserId};
use voice_server::{CoreConfig, DaveConfig, DaveFault, DaveMode, Fault, FaultKind, ProposalFault, Tamper};

use super::dave::{Call, SPOKEN, say};
use super::world::{Client, Frame};

/// Carries out a list of operations and lets the call come to rest.
///
/// # Panics
///
/// When two members do not end in one group in which they hear each other, when messages never end, or when a frame
/// leaves or is accepted in a form that it must not have.
pub fn run(bytes: &[u8]) {
    play(bytes, false);
}

/// The same, and says what happens.
pub fn tell(bytes: &[u8]) {
    play(bytes, true);
}

fn play(bytes: &[u8], tell: bool) {
    let mut input = Input(bytes);
    let mut ops = Ops::new(input.byte(), tell);
    for _ in 0..MAX_OPS {
        if input.0.is_empty() {
            break;
        }
        let before = input.0;
        ops.next(&mut input);
        if tell {
            eprintln!("{:?}", &before[..before.len() - input.0.len()]);
        }
        ops.flow();
    }
    ops.settle();
}

/// The first byte: what the server is like and whether both are there from the beginning.
pub mod setup {
    pub const REQUIRED: u8 = 1;
    pub const EARLY_SENDER: u8 = 2;
    pub const REPLAY_FIRST: u8 = 4;
    pub const TOGETHER: u8 = 8;
}

/// Operations, each with the bytes that follow it: `m` is a member (0 or 1), `l` a message (bit 0 the member, bit 1
/// whether it goes to the server, the rest its place).
pub mod op {
    /// `m`
    pub const JOIN: u8 = 0;
    /// `m`
    pub const LEAVE: u8 = 1;
    /// `m`: messages from and to it wait from now on.
    pub const HOLD: u8 = 2;
    /// `m`: they go on.
    pub const RELEASE: u8 = 3;
    /// `l`: the first of those that wait goes on.
    pub const DELIVER: u8 = 4;
    /// `l`
    pub const LOSE: u8 = 5;
    /// `l`
    pub const DUPLICATE: u8 = 6;
    /// `l`: it changes places with the next one.
    pub const SWAP: u8 = 7;
    /// `l`, two bytes where, one byte which bit.
    pub const CORRUPT: u8 = 8;
    /// `m`: the socket breaks, with all that waits.
    pub const CUT: u8 = 9;
    /// `m`
    pub const RESUME: u8 = 10;
    /// Tens of milliseconds.
    pub const WAIT: u8 = 11;
    /// Tenths of a second.
    pub const WAIT_LONG: u8 = 12;
    /// `m`
    pub const SPEAK: u8 = 13;
    /// `m`, which of the frames of the other it hears again, and which byte of it is another.
    pub const HEAR: u8 = 14;
    /// `m`: hears a frame that nobody sealed.
    pub const FORGE: u8 = 15;
    /// Whom it hits (2 is both), which, two bytes more.
    pub const FAULT: u8 = 16;
    /// Somebody without encryption comes, or goes.
    pub const PLAIN: u8 = 17;

    pub const COUNT: u8 = 18;
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    /// The next byte, or 0.
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }
}

/// A call of two, and what waits on its connections.
struct Ops {
    call: Call,
    required: bool,
    lines: BTreeMap<UserId, Line>,
    plain: Option<Client>,
    /// Frames of each member.
    frames: BTreeMap<UserId, Vec<Vec<u8>>>,
    /// Members to whom the server may lie, once they are there, in a way that they cannot find out.
    deceived: BTreeSet<UserId>,
    /// The server has said that frames leave in the clear, though it does not.
    lured: bool,
    /// Messages of the delivery service that were carried.
    carried: u64,
    tell: bool,
}

/// The connection of a member.
#[derive(Default)]
struct Line {
    down: VecDeque<Frame>,
    up: VecDeque<OutgoingMessage>,
    held: bool,
    lost: bool,
    /// Something happened that no WebSocket does, and that neither side can find out by the protocol.
    broken: bool,
}

impl Ops {
    fn new(byte: u8, tell: bool) -> Self {
        let required = byte & setup::REQUIRED != 0;
        let mut dave = DaveConfig::new(if required { DaveMode::Required } else { DaveMode::Optional });
        dave.early_external_sender = byte & setup::EARLY_SENDER != 0;
        let mut config = CoreConfig { first_ssrc: Some(100), dave, ..CoreConfig::default() };
        config.replay_before_resumed = byte & setup::REPLAY_FIRST != 0;
        // Nobody sends heartbeats, and everybody sends as fast as it goes.
        config.heartbeat_interval = Duration::from_secs(3600);
        config.limits.messages_per_window = u32::MAX;
        let mut ops = Self {
            call: Call::of(config),
            required,
            lines: BTreeMap::new(),
            plain: None,
            frames: BTreeMap::new(),
            deceived: BTreeSet::new(),
            lured: false,
            carried: 0,
            tell,
        };
        if byte & setup::TOGETHER != 0 {
            ops.join(0);
            ops.join(1);
            ops.wait(Duration::from_millis(500));
        }
        ops
    }

    fn next(&mut self, input: &mut Input<'_>) {
        let op = input.byte() % op::COUNT;
        match op {
            op::JOIN => self.join(input.byte()),
            op::LEAVE => self.leave(user(input.byte())),
            op::HOLD | op::RELEASE => {
                if let Some(line) = self.lines.get_mut(&user(input.byte())) {
                    line.held = op == op::HOLD;
                }
            }
            op::DELIVER => self.deliver(input.byte()),
            op::LOSE | op::DUPLICATE | op::SWAP => self.disturb(op, input.byte()),
            op::CORRUPT => {
                let message = input.byte();
                let at = usize::from(u16::from_be_bytes([input.byte(), input.byte()]));
                self.corrupt(message, at, input.byte());
            }
            op::CUT => self.cut(user(input.byte())),
            op::RESUME => self.resume(user(input.byte())),
            op::WAIT => self.wait(Duration::from_millis(10) * u32::from(input.byte())),
            op::WAIT_LONG => self.wait(Duration::from_millis(100) * u32::from(input.byte())),
            op::SPEAK => self.speak(user(input.byte())),
            op::HEAR => {
                let to = user(input.byte());
                let (which, byte) = (usize::from(input.byte()), usize::from(input.byte()));
                let Some(frame) = self.frames.get(&other(to)).and_then(|frames| frames.get(which)) else { return };
                let mut frame = frame.clone();
                if let Some(byte) = frame.get_mut(byte) {
                    *byte ^= 1;
                }
                self.hear(to, &frame);
            }
            op::FORGE => self.hear(user(input.byte()), SPOKEN),
            op::FAULT => {
                let whom = match input.byte() {
                    byte @ 0..2 => Some(user(byte)),
                    _ => None,
                };
                self.fault(whom, input.byte(), input.byte(), input.byte());
            }
            _ if self.required => {}
            _ => match self.plain.take() {
                None => self.plain = Some(self.call.world.join(PLAIN)),
                Some(client) => self.call.world.lose(client.connection, Some(1000)),
            },
        }
    }

    fn join(&mut self, byte: u8) {
        let user = user(byte);
        if self.lines.contains_key(&user) {
            return;
        }
        self.call.enter(user.get());
        self.lines.insert(user, Line::default());
        self.frames.remove(&user);
    }

    fn leave(&mut self, user: UserId) {
        if self.lines.remove(&user).is_some() {
            self.call.leave(user.get());
        }
    }

    fn cut(&mut self, user: UserId) {
        let Some(line) = self.lines.get_mut(&user) else { return };
        let connection = self.call.members[&user].client.connection;
        self.call.world.lose(connection, None);
        self.call.world.frames(connection);
        (line.down, line.up, line.lost) = (VecDeque::new(), VecDeque::new(), true);
    }

    fn resume(&mut self, user: UserId) {
        if !self.lines.contains_key(&user) {
            return;
        }
        self.cut(user);
        self.call.resume(user.get());
        if let Some(line) = self.lines.get_mut(&user) {
            line.lost = false;
        }
    }

    /// Lets time pass, with every message carried at once that does not wait.
    fn wait(&mut self, time: Duration) {
        let (end, carried) = (self.call.world.now + time, self.carried);
        loop {
            self.flow();
            let now = self.call.world.now;
            let next = self.call.world.deadline().map_or(end, |at| at.clamp(now, end));
            self.call.world.advance(next - now);
            if next == end {
                self.flow();
                let carried = self.carried - carried;
                assert!(carried <= MAX_BURST + 10 * time.as_secs(), "{carried} messages in {time:?}");
                return;
            }
        }
    }

    /// Carries messages until there are none that do not wait.
    fn flow(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut quiet = true;
            for (&user, line) in &mut self.lines {
                let Some(member) = self.call.members.get_mut(&user) else { continue };
                let connection = member.client.connection;
                line.lost |= self.call.world.closed(connection).is_some() || self.call.world.was_reset(connection);
                line.down.extend(self.call.world.frames(connection));
                if line.lost {
                    (line.down, line.up) = (VecDeque::new(), VecDeque::new());
                } else if !line.held {
                    quiet &= line.down.is_empty() && line.up.is_empty();
                    for frame in line.down.drain(..) {
                        self.carried += u64::from(opcode(&frame).is_some_and(is_dave));
                        member.take(&frame);
                        if self.tell {
                            eprintln!("    {user} is told {} {:?}", told(&frame), member.session.stats());
                        }
                        line.up.extend(member.answer(self.call.world.now));
                    }
                    for message in line.up.drain(..) {
                        if self.tell {
                            eprintln!("    {user} says {}", said(&message));
                        }
                        say(&mut self.call.world, connection, &message);
                    }
                }
            }
            if quiet {
                return;
            }
        }
        panic!("messages without end");
    }

    fn deliver(&mut self, message: u8) {
        let (user, up) = (user(message), message & 2 != 0);
        let Some(line) = self.lines.get_mut(&user) else { return };
        let Some(member) = self.call.members.get_mut(&user) else { return };
        if up {
            if let Some(message) = line.up.pop_front() {
                say(&mut self.call.world, member.client.connection, &message);
            }
        } else if let Some(frame) = line.down.pop_front() {
            if self.tell {
                eprintln!("    {user} is told alone {}", told(&frame));
            }
            member.take(&frame);
            line.up.extend(member.answer(self.call.world.now));
        }
    }

    fn disturb(&mut self, op: u8, message: u8) {
        let (user, up, place) = (user(message), message & 2 != 0, usize::from(message >> 2));
        let Some(line) = self.lines.get_mut(&user) else { return };
        if up {
            // A key package that is lost is waited for on one side, and its addition on the other.
            let lost = disturb(&mut line.up, op, place);
            line.broken |= lost.is_some_and(|message| is_key_package(&message));
            return;
        }
        if op == op::SWAP {
            let pair = [place, place + 1].map(|place| line.down.get(place).and_then(opcode));
            if let [Some(first), Some(second)] = pair {
                line.broken |= !may_change_places(first, second);
            }
        }
        let lost = disturb(&mut line.down, op, place);
        line.broken |= lost.is_some_and(|frame| opcode(&frame).is_some_and(is_dave) && !is_append(&frame));
    }

    fn corrupt(&mut self, message: u8, at: usize, bit: u8) {
        let (user, up, place) = (user(message), message & 2 != 0, usize::from(message >> 2));
        let Some(line) = self.lines.get_mut(&user) else { return };
        let (bytes, start) = if up {
            let Some(OutgoingMessage::Binary(bytes)) = line.up.get_mut(place) else { return };
            line.broken |= bytes.first() == Some(&KEY_PACKAGE);
            (bytes, 1)
        } else {
            let Some(frame) = line.down.get_mut(place) else { return };
            let append = is_append(frame);
            let Frame::Binary(bytes) = frame else { return };
            line.broken |= !append && matches!(bytes.get(2), Some(&(EXTERNAL_SENDER | PROPOSE)));
            let numbered = matches!(bytes.get(2), Some(&COMMIT | &WELCOME));
            // The number of a transition has no other protection than that of the connection.
            (bytes, if numbered { 5 } else { 3 })
        };
        let len = bytes.len().saturating_sub(start).max(1);
        if let Some(byte) = bytes.get_mut(start + at % len) {
            *byte ^= 1 << (bit % 8);
        }
    }

    fn speak(&mut self, from: UserId) {
        if !self.lines.contains_key(&from) {
            return;
        }
        let Some(frame) = self.call.speak(from) else { return };
        assert!(!self.required || self.lured || frame != SPOKEN, "in the clear");
        self.hear(other(from), &frame);
        let frames = self.frames.entry(from).or_default();
        if frames.len() < MAX_FRAMES {
            frames.push(frame);
        }
    }

    fn hear(&mut self, to: UserId, frame: &[u8]) {
        if !self.lines.contains_key(&to) {
            return;
        }
        let heard = self.call.hear(other(to), to, frame);
        assert!(!self.required || self.lured || heard.is_err() || frame != SPOKEN, "accepted in the clear");
    }

    fn fault(&mut self, whom: Option<UserId>, which: u8, one: u8, two: u8) {
        let id = u16::from(one % 8);
        let version = u16::from(two % 3);
        let count = u32::from(one % 4) + 1;
        let fault = match which % FAULTS {
            0 => DaveFault::RepeatProposals,
            1 => DaveFault::Propose(PROPOSALS[usize::from(one) % PROPOSALS.len()]),
            2 => DaveFault::RevokeOne,
            3 => DaveFault::RevokeAll,
            4 => DaveFault::RevokeUnknown,
            5 if one < 128 => DaveFault::RepeatExternalSender,
            5 => DaveFault::ForeignExternalSender,
            6 if one < 128 => DaveFault::ExecuteUnknown,
            6 => DaveFault::ExecuteAgain,
            7 => DaveFault::PrepareTransition { transition_id: id, protocol_version: version },
            8 => DaveFault::PrepareEpoch { epoch: u64::from(one % 4), protocol_version: version },
            9 => DaveFault::ReplayCommit { transition_id: id },
            10 => DaveFault::ReplayWelcome { transition_id: id },
            11 => DaveFault::RefuseCommits { count },
            12 => DaveFault::TransitionZero { count },
            13 => DaveFault::CommitBeforeWelcome { count },
            14 => DaveFault::MisaddressWelcome { count },
            _ => {
                let how = match two % 4 {
                    0 => Tamper::Withhold,
                    1 => Tamper::Duplicate,
                    2 => Tamper::Truncate { len: usize::from(two >> 2) },
                    _ => Tamper::Flip,
                };
                DaveFault::Tamper { opcode: OPCODES[usize::from(one) % OPCODES.len()], how, count: 1 }
            }
        };
        let deceives = match fault {
            DaveFault::ForeignExternalSender | DaveFault::PrepareTransition { protocol_version: 0, .. } => true,
            DaveFault::Tamper { how: Tamper::Withhold, .. } => true,
            // Proposals may be such that are taken back.
            DaveFault::Tamper { opcode, how: Tamper::Truncate { .. } | Tamper::Flip, .. } => {
                matches!(opcode, Opcode::MlsExternalSender | Opcode::MlsProposals)
            }
            _ => false,
        };
        self.lured |= matches!(fault, DaveFault::PrepareTransition { protocol_version: 0, .. });
        if deceives {
            self.deceived.extend(whom.map_or(BOTH, |user| [user; 2]));
        }
        let kind = FaultKind::Dave(fault);
        let fault = whom.map_or_else(|| Fault::all(kind.clone()), |user| Fault::user(user, kind.clone()));
        self.call.world.command(voice_server::Command::Inject(fault));
    }

    /// Ends all that is wrong, and waits until nobody says anything any more.
    fn settle(&mut self) {
        if self.tell {
            eprintln!("settle");
        }
        self.call.world.command(voice_server::Command::Inject(Fault::all(FaultKind::Clear)));
        if let Some(plain) = self.plain.take() {
            self.call.world.lose(plain.connection, Some(1000));
        }
        for line in self.lines.values_mut() {
            line.held = false;
        }
        self.flow();
        for user in BOTH {
            let line = self.lines.get(&user);
            if line.is_some_and(|line| line.broken) || self.deceived.contains(&user) {
                self.leave(user);
            } else if line.is_some_and(|line| line.lost) {
                self.resume(user);
            }
        }
        self.flow();
        for byte in [0, 1] {
            // Where there was nothing left to resume.
            if self.lines.get(&user(byte)).is_some_and(|line| line.lost) {
                self.leave(user(byte));
            }
            self.join(byte);
        }
        self.wait(SETTLING);
        let carried = self.carried;
        self.wait(REST);
        assert_eq!(self.carried, carried, "the call does not come to rest");
        assert!(self.lines.values().all(|line| !line.lost));
        self.call.assert_grouped([1, 2]);
        for member in self.call.members.values() {
            assert!(member.session.status().pending_transitions <= 16);
        }
    }
}

/// Does something to a message that waits, and returns it if it is lost.
fn disturb<T: Clone>(queue: &mut VecDeque<T>, op: u8, place: usize) -> Option<T> {
    if op == op::LOSE {
        return queue.remove(place);
    }
    let message = queue.get(place)?.clone();
    if op == op::DUPLICATE && queue.len() < MAX_WAITING {
        queue.insert(place, message);
    } else if op == op::SWAP && place + 1 < queue.len() {
        queue.swap(place, place + 1);
    }
    None
}

fn user(byte: u8) -> UserId {
    UserId::new(u64::from(byte & 1) + 1)
}

fn other(user: UserId) -> UserId {
    UserId::new(3 - user.get())
}

fn opcode(frame: &Frame) -> Option<Opcode> {
    match frame {
        Frame::Text(text) => ServerMessage::decode(text).ok().map(|decoded| decoded.message.opcode()),
        Frame::Binary(bytes) => ServerBinary::decode(8, bytes).ok().map(|decoded| decoded.message.opcode()),
    }
}

fn told(frame: &Frame) -> String {
    match frame {
        Frame::Text(text) => text.clone(),
        Frame::Binary(bytes) => format!("{:?} {:02x?}", opcode(frame), &bytes[..bytes.len().min(8)]),
    }
}

fn said(message: &OutgoingMessage) -> String {
    match message {
        OutgoingMessage::Text(message) => message.encode(),
        OutgoingMessage::Binary(bytes) => format!("{:02x?}", &bytes[..bytes.len().min(8)]),
    }
}

/// Whether encryption depends on a message of the server.
fn is_dave(opcode: Opcode) -> bool {
    opcode.code() >= 21 || matches!(opcode, Opcode::SessionDescription | Opcode::Resumed | Opcode::ClientsConnect)
}

/// Whether it makes proposals, which the server does once more if nobody commits them. Those that a member does not
/// know to be taken back stay in all of its commits.
fn is_append(frame: &Frame) -> bool {
    matches!(frame, Frame::Binary(bytes) if bytes.get(2..4) == Some(&[PROPOSE, 0]))
}

fn is_key_package(message: &OutgoingMessage) -> bool {
    matches!(message, OutgoingMessage::Binary(bytes) if bytes.first() == Some(&KEY_PACKAGE))
}

/// Whether members find out, or need not, that two messages came in the wrong order.
fn may_change_places(first: Opcode, second: Opcode) -> bool {
    let mut codes = [first.code(), second.code()];
    codes.sort_unstable();
    match codes {
        // Who comes and who goes; a transition and its execution.
        [11, 13] | [22, 29 | 30] => false,
        [11 | 13 | 22 | 25 | 27, 13 | 22 | 25 | 27 | 29 | 30] => codes != [22, 22],
        _ => !codes.iter().any(|code| matches!(code, 4 | 11 | 13 | 21..)),
    }
}

const KEY_PACKAGE: u8 = 26;
const EXTERNAL_SENDER: u8 = 25;
const PROPOSE: u8 = 27;
const COMMIT: u8 = 29;
const WELCOME: u8 = 30;

const BOTH: [UserId; 2] = [UserId::new(1), UserId::new(2)];

/// The user without encryption.
const PLAIN: UserId = UserId::new(3);

/// Operations of a list.
const MAX_OPS: usize = 64;

/// Messages that wait in one direction.
const MAX_WAITING: usize = 64;

/// Frames of a member that are heard again.
const MAX_FRAMES: usize = 256;

/// Messages of the delivery service in a time without operations, beside ten in a second.
const MAX_BURST: u64 = 300;

/// Rounds of messages at one moment.
const MAX_ROUNDS: usize = 200;

/// Longer than all timeouts after each other.
const SETTLING: Duration = Duration::from_secs(40);

/// Longer than each timeout.
const REST: Duration = Duration::from_secs(10);

/// Opcodes that a server may get wrong.
const OPCODES: [Opcode; 7] = [
    Opcode::MlsProposals,
    Opcode::MlsAnnounceCommitTransition,
    Opcode::MlsWelcome,
    Opcode::DavePrepareTransition,
    Opcode::DaveExecuteTransition,
    Opcode::DavePrepareEpoch,
    Opcode::MlsExternalSender,
];

/// Kinds of faults.
pub const FAULTS: u8 = 16;

/// Proposals that nobody may commit.
pub const PROPOSALS: [ProposalFault; 12] = [
    ProposalFault::WrongEpoch,
    ProposalFault::OtherGroup,
    ProposalFault::ForeignSigner,
    ProposalFault::SenderIndex(1),
    ProposalFault::Stranger,
    ProposalFault::OwnAdd,
    ProposalFault::OwnRemoval,
    ProposalFault::BlankLeaf,
    ProposalFault::Update,
    ProposalFault::GroupContextExtensions,
    ProposalFault::Truncated,
    ProposalFault::HugeLength,
];
