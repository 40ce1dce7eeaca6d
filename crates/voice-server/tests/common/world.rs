//! The core in virtual time, with clients that write their JSON by hand.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use voice_crypto::{Mode, Opener, Sealer, SecretKey};
use voice_model::{ChannelId, CloseCode, GuildId, UserId};
use voice_rtp::{Ping, RtpHeader, Sequence, Ssrc, Timestamp, discovery};
use voice_server::{Command, ConnectionId, Core, CoreConfig, Event, Fault, FaultKind, Input, Output, Ticket};

pub const GUILD: GuildId = GuildId::new(10);
pub const CHANNEL: ChannelId = ChannelId::new(20);
pub const ALICE: UserId = UserId::new(1);
pub const BOB: UserId = UserId::new(2);
pub const CAROL: UserId = UserId::new(3);

/// A server and everything it has sent.
pub struct World {
    pub core: Core,
    pub now: Instant,
    pub events: Vec<Event>,
    texts: BTreeMap<u64, VecDeque<String>>,
    binaries: BTreeMap<u64, Vec<Vec<u8>>>,
    frames: BTreeMap<u64, VecDeque<Frame>>,
    closed: BTreeMap<u64, u16>,
    reset: Vec<u64>,
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    deadline: Option<Instant>,
    connections: u64,
}

impl World {
    pub fn new() -> Self {
        Self::with(CoreConfig { first_ssrc: Some(100), ..CoreConfig::default() })
    }

    #[expect(clippy::disallowed_methods, reason = "virtual time has to start somewhere")]
    pub fn with(config: CoreConfig) -> Self {
        let now = Instant::now();
        Self {
            core: Core::new(now, config, [42; 32]),
            now,
            events: Vec::new(),
            texts: BTreeMap::new(),
            binaries: BTreeMap::new(),
            frames: BTreeMap::new(),
            closed: BTreeMap::new(),
            reset: Vec::new(),
            datagrams: VecDeque::new(),
            deadline: None,
            connections: 0,
        }
    }

    /// Opens a WebSocket.
    pub fn open(&mut self, target: &str) -> u64 {
        self.connections += 1;
        let connection = ConnectionId::new(self.connections);
        self.core.handle_input(self.now, Input::Opened { connection, target });
        self.drain();
        self.connections
    }

    pub fn send(&mut self, connection: u64, message: Value) {
        self.raw(connection, &message.to_string());
    }

    pub fn raw(&mut self, connection: u64, text: &str) {
        let connection = ConnectionId::new(connection);
        self.core.handle_input(self.now, Input::Text { connection, text });
        self.drain();
    }

    pub fn binary(&mut self, connection: u64, bytes: &[u8]) {
        let connection = ConnectionId::new(connection);
        self.core.handle_input(self.now, Input::Binary { connection, bytes });
        self.drain();
    }

    /// The client's socket is gone.
    pub fn lose(&mut self, connection: u64, code: Option<u16>) {
        let (connection, code) = (ConnectionId::new(connection), code.map(CloseCode::new));
        self.core.handle_input(self.now, Input::Disconnected { connection, code });
        self.drain();
    }

    pub fn command(&mut self, command: Command) {
        self.core.handle_command(self.now, command);
        self.drain();
        self.advance(Duration::ZERO);
    }

    pub fn fault(&mut self, user: UserId, kind: FaultKind) {
        self.command(Command::Inject(Fault::user(user, kind)));
    }

    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let datagrams = &mut self.datagrams;
        let mut sink = |to, bytes: &[u8]| datagrams.push_back((to, bytes.to_vec()));
        self.core.handle_datagram(self.now, from, &mut bytes.to_vec(), &mut sink);
        self.drain();
    }

    /// Lets time pass, with every timeout at its time.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.deadline.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let datagrams = &mut self.datagrams;
            let mut sink = |to, bytes: &[u8]| datagrams.push_back((to, bytes.to_vec()));
            self.core.handle_timeout(self.now, &mut sink);
            self.drain();
        }
        self.now = end;
    }

    /// When the core wants to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn drain(&mut self) {
        loop {
            match self.core.poll_output() {
                Output::Text { connection, text } => {
                    let frames = self.frames.entry(connection.get()).or_default();
                    frames.push_back(Frame::Text(text.clone()));
                    self.texts.entry(connection.get()).or_default().push_back(text);
                }
                Output::Binary { connection, bytes } => {
                    let frames = self.frames.entry(connection.get()).or_default();
                    frames.push_back(Frame::Binary(bytes.clone()));
                    self.binaries.entry(connection.get()).or_default().push(bytes);
                }
                Output::Close { connection, code } => {
                    assert!(self.closed.insert(connection.get(), code.get()).is_none(), "closed once");
                }
                Output::Reset { connection } => self.reset.push(connection.get()),
                Output::Event(event) => self.events.push(event),
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    /// The text messages since the last look, as they came.
    pub fn texts(&mut self, connection: u64) -> Vec<String> {
        self.texts.remove(&connection).unwrap_or_default().into()
    }

    /// The text messages since the last look.
    pub fn messages(&mut self, connection: u64) -> Vec<Value> {
        self.texts(connection).iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// The opcodes and sequences of the messages since the last look.
    pub fn numbered(&mut self, connection: u64) -> Vec<(u64, Option<u64>)> {
        let all = self.messages(connection);
        all.iter().map(|m| (m["op"].as_u64().unwrap(), m["seq"].as_u64())).collect()
    }

    /// The opcodes of the messages since the last look.
    pub fn ops(&mut self, connection: u64) -> Vec<u64> {
        self.numbered(connection).into_iter().map(|(op, _)| op).collect()
    }

    pub fn binaries(&mut self, connection: u64) -> Vec<Vec<u8>> {
        self.binaries.remove(&connection).unwrap_or_default()
    }

    /// All messages since the last look of this kind, in order.
    pub fn frames(&mut self, connection: u64) -> VecDeque<Frame> {
        self.frames.remove(&connection).unwrap_or_default()
    }

    pub fn closed(&self, connection: u64) -> Option<u16> {
        self.closed.get(&connection).copied()
    }

    pub fn was_reset(&self, connection: u64) -> bool {
        self.reset.contains(&connection)
    }

    /// The datagrams to an address since the last look.
    pub fn datagrams(&mut self, to: SocketAddr) -> Vec<Vec<u8>> {
        let (taken, kept) = self.datagrams.drain(..).partition(|(address, _)| *address == to);
        self.datagrams = kept;
        Vec::from(taken).into_iter().map(|(_, bytes)| bytes).collect()
    }

    pub fn ticket(&mut self, user: UserId) -> Ticket {
        self.core.issue(GUILD, CHANNEL, user)
    }

    /// A connection that has identified; what it was sent up to Ready is gone.
    pub fn identified(&mut self, ticket: &Ticket) -> (u64, u32) {
        self.identified_with(ticket, 0)
    }

    /// The same with a client that offers end-to-end encryption up to this version.
    pub fn identified_with(&mut self, ticket: &Ticket, max_dave_version: u16) -> (u64, u32) {
        let connection = self.open("/?v=8");
        let mut message = identify(ticket);
        message["d"]["max_dave_protocol_version"] = max_dave_version.into();
        self.send(connection, message);
        assert_eq!(self.closed(connection), None);
        let queue = self.texts.get_mut(&connection).unwrap();
        assert!(queue.pop_front().unwrap().contains(r#""op":8"#), "Hello comes first");
        let ready: Value = serde_json::from_str(&queue.pop_front().unwrap()).unwrap();
        assert_eq!(ready["op"], 2);
        (connection, u32::try_from(ready["d"]["ssrc"].as_u64().unwrap()).unwrap())
    }

    /// A client that went through the whole handshake, up to op 5 and a ping.
    pub fn join(&mut self, user: UserId) -> Client {
        self.join_with(user, 0)
    }

    /// The same with a client that offers end-to-end encryption up to this version.
    pub fn join_with(&mut self, user: UserId, max_dave_version: u16) -> Client {
        let mut client = self.connected_with(user, max_dave_version);
        self.send(client.connection, client.speaking(0));
        self.ping(&client);
        let more = self.messages(client.connection);
        client.messages.extend(more);
        client
    }

    /// A client with its key, but without op 5 and without a datagram since.
    pub fn connected(&mut self, user: UserId) -> Client {
        self.connected_with(user, 0)
    }

    fn connected_with(&mut self, user: UserId, max_dave_version: u16) -> Client {
        let ticket = self.ticket(user);
        let (connection, ssrc) = self.identified_with(&ticket, max_dave_version);
        let port = u16::try_from(10_000 + self.connections).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        self.discover(address, ssrc);
        let answer = self.datagrams(address).pop().unwrap();
        let found = discovery::Response::parse(&answer, Ssrc::new(ssrc)).unwrap();
        assert_eq!(SocketAddr::new(found.address, found.port), address);
        let mode = Mode::Aes256GcmRtpsize;
        self.send(connection, select(address, mode.wire_name()));
        let messages = self.messages(connection);
        let description = messages.iter().find(|message| message["op"] == 4).unwrap();
        let secret: Vec<u8> = serde_json::from_value(description["d"]["secret_key"].clone()).unwrap();
        let key = SecretKey::new(secret.try_into().unwrap());
        Client {
            ticket,
            connection,
            ssrc,
            address,
            messages,
            opener: Opener::new(mode, &key),
            sealer: Sealer::new(mode, key, 0),
            sequence: 0,
        }
    }

    pub fn discover(&mut self, from: SocketAddr, ssrc: u32) {
        let mut request = [0; discovery::DISCOVERY_LEN];
        discovery::Request { ssrc: Ssrc::new(ssrc) }.write(&mut request);
        self.datagram(from, &request);
    }

    pub fn ping(&mut self, client: &Client) {
        let ping = Ping(*b"ping");
        self.datagram(client.address, &ping.request());
        assert_eq!(self.datagrams(client.address), [ping.response()]);
    }

    /// Sends one frame as a client.
    pub fn frame(&mut self, client: &mut Client, payload: &[u8]) {
        let sealed = client.seal(payload);
        self.datagram(client.address, &sealed);
    }
}

/// A message of the server.
#[derive(Clone, Debug)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

/// A client of a [`World`].
pub struct Client {
    pub ticket: Ticket,
    pub connection: u64,
    pub ssrc: u32,
    pub address: SocketAddr,
    /// What it was sent while it joined.
    pub messages: Vec<Value>,
    pub opener: Opener,
    pub sealer: Sealer,
    pub sequence: u16,
}

impl Client {
    pub fn speaking(&self, flags: u8) -> Value {
        json!({ "op": 5, "d": { "speaking": flags, "delay": 0, "ssrc": self.ssrc } })
    }

    pub fn header(&mut self) -> RtpHeader {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        RtpHeader {
            marker: false,
            payload_type: 120,
            sequence: Sequence::new(sequence),
            timestamp: Timestamp::new(u32::from(sequence) * 960),
            ssrc: Ssrc::new(self.ssrc),
        }
    }

    /// Seals one frame.
    pub fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut plain = [0; 12].to_vec();
        self.header().write(plain.first_chunk_mut().unwrap());
        plain.extend_from_slice(payload);
        self.seal_plain(&plain)
    }

    /// Seals a packet that is complete but for its encryption.
    pub fn seal_plain(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut bytes = plain.to_vec();
        bytes.resize(plain.len() + 20, 0);
        self.sealer.seal_rtp(&mut bytes, plain.len()).unwrap();
        bytes
    }

    /// Opens what it was sent: the plain packets.
    pub fn open(&self, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let open = |datagram: &Vec<u8>| {
            let mut bytes = datagram.clone();
            let opened = self.opener.open_rtp(&mut bytes).unwrap();
            bytes.truncate(opened.plain_len);
            bytes
        };
        datagrams.iter().map(open).collect()
    }
}

pub fn identify(ticket: &Ticket) -> Value {
    json!({ "op": 0, "d": {
        "server_id": ticket.server_id.to_string(),
        "user_id": ticket.user_id.to_string(),
        "session_id": ticket.session_id.expose(),
        "token": ticket.token.expose(),
        "max_dave_protocol_version": 0,
    }})
}

pub fn resume(ticket: &Ticket, seq_ack: impl Into<Option<i64>>) -> Value {
    let mut message = json!({ "op": 7, "d": {
        "server_id": ticket.server_id.to_string(),
        "session_id": ticket.session_id.expose(),
        "token": ticket.token.expose(),
    }});
    if let Some(seq_ack) = seq_ack.into() {
        message["d"]["seq_ack"] = seq_ack.into();
    }
    message
}

pub fn select(address: SocketAddr, mode: &str) -> Value {
    json!({ "op": 1, "d": { "protocol": "udp", "data": {
        "address": address.ip().to_string(), "port": address.port(), "mode": mode,
    }}})
}
