//! A server, its clients and the network between them, in virtual time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use discord_voice::{
    CallCommand, CallInput, CallSession, Config, ConnectInfo, E2ee,
    model::{ChannelId, GuildId, Token, UserId},
};
use voice_server::{
    Bots, Command, Core, DaveMode, Direction, Event as ServerEvent, Fault, FaultKind, GuildConfig, ServerStats,
};
use voice_udp::PacketBuf;

use crate::{
    Builder, Client, Clock, Conditions, MAX_BOTS, Netem, NetemStats, Telling,
    busy::{Busy, Task},
    main_gateway::{MainGateway, Process, patience, token},
    told::Conversation,
    trace::Trace,
    watch::KEY_STREAM_LEN,
    wire::{Connection, Parcel},
};

/// Any number of clients and one server, in virtual time.
///
/// The clients are [`CallSession`]s with the media halves that these hand out, the server is a
/// [`Core`](voice_server::Core); between them is a [`Netem`]. No socket, no thread, no sleep: everything follows
/// from the seed, and [`trace_hash`](Self::trace_hash) is the same for equal seeds and equal calls.
///
/// A world watches over its clients. It panics, and says its seed, when a call is neither established nor over
/// within its limits, when it asks for anything after its end, when a nonce comes twice under one key of either
/// encryption, when a frame leaves or is accepted in the clear in an end-to-end encrypted call, and when the simulation
/// does not get on because something wakes again and again.
///
/// ```
/// use std::time::Duration;
/// use voice_testkit::{World, voice::model::UserId};
///
/// let [alice, bob] = [UserId::new(1), UserId::new(2)];
/// let mut world = World::builder().seed(7).latency(Duration::from_millis(40)).build();
/// world.join(alice);
/// world.join(bob);
/// world.speak(alice, 50);
/// world.run_for(Duration::from_secs(2));
/// assert_eq!(world.client(bob).frames_from(alice).len(), 55, "five frames of silence follow the speech");
/// ```
pub struct World {
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) core: Core,
    pub(crate) core_deadline: Option<Instant>,
    pub(crate) media_addr: SocketAddr,
    pub(crate) server_events: Vec<(Duration, ServerEvent)>,
    pub(crate) clients: BTreeMap<UserId, Client>,
    pub(crate) netem: Netem<Parcel>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) connections_opened: u64,
    pub(crate) main_gateways: BTreeMap<Process, MainGateway>,
    pub(crate) queues_updates: bool,
    pub(crate) telling: Telling,
    pub(crate) busy: Busy,
    /// All sessions with the voice server.
    pub(crate) conversations: Vec<Conversation>,
    /// The server was made to send what no server sends, with numbers of its own or none.
    pub(crate) sends_unnumbered: bool,
    pub(crate) sockets: BTreeMap<SocketAddr, UserId>,
    pub(crate) sockets_opened: u32,
    /// The nonces that clients used, by key.
    pub(crate) nonces: HashMap<[u8; 32], HashSet<[u8; 4]>>,
    /// The beginnings of the key streams under which frames left end-to-end encrypted.
    pub(crate) key_streams: HashSet<[u8; KEY_STREAM_LEN]>,
    /// The frames of silence that left end-to-end encrypted.
    pub(crate) silences: HashSet<Vec<u8>>,
    pub(crate) trace: Trace,
    conditions: Conditions,
    pub(crate) rng: fastrand::Rng,
    time_limit: Duration,
    pub(crate) steps_per_second: Option<u64>,
    /// The server lets nobody in who does not encrypt.
    pub(crate) is_encrypted_always: bool,
    buffer: PacketBuf,
    pub(crate) steps: u64,
    /// The present virtual second, and the steps in it.
    pub(crate) window: (u64, u64),
}

/// Who is next, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Network,
    Core,
    MainGateway(Process),
    Call(UserId),
    Media(UserId),
    Work(Task),
    Tick(UserId),
}

impl World {
    /// Starts making a world.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(mut builder: Builder) -> Self {
        let channels = vec![CHANNEL, OTHER_CHANNEL];
        builder.server.guilds.push(GuildConfig { id: GUILD, name: "world".to_owned(), channels });
        if let Bots::Any = builder.server.bots {
            let users = (1..=MAX_BOTS).map(UserId::new);
            builder.server.bots = Bots::Listed(users.map(|user| (Token::new(token(user)), user)).collect());
        }
        let clock = Clock::new();
        let mut rng = fastrand::Rng::with_seed(builder.seed);
        let media_addr = builder.server.media_addr;
        let is_encrypted_always = builder.server.dave.mode == DaveMode::Required;
        let core_seed = std::array::from_fn(|_| rng.u8(..));
        Self {
            seed: builder.seed,
            clock,
            config: builder.config,
            core: Core::new(clock.now(), builder.server, core_seed),
            core_deadline: None,
            media_addr,
            server_events: Vec::new(),
            clients: BTreeMap::new(),
            netem: Netem::new(rng.u64(..)),
            connections: BTreeMap::new(),
            connections_opened: 0,
            main_gateways: BTreeMap::new(),
            queues_updates: builder.queues_updates,
            telling: builder.telling,
            busy: Busy::new(builder.busy, builder.seed),
            conversations: Vec::new(),
            sends_unnumbered: false,
            sockets: BTreeMap::new(),
            sockets_opened: 0,
            nonces: HashMap::new(),
            key_streams: HashSet::new(),
            silences: HashSet::new(),
            trace: Trace::new(),
            conditions: builder.conditions,
            rng,
            time_limit: builder.time_limit,
            steps_per_second: builder.steps_per_second,
            is_encrypted_always,
            buffer: PacketBuf::new(),
            steps: 0,
            window: (0, 0),
        }
    }

    /// Lets a user join the channel [`CHANNEL`], and waits until media can flow.
    ///
    /// # Panics
    ///
    /// When the call ends instead.
    pub fn join(&mut self, user: UserId) {
        self.begin_join(user);
        self.run_until(|world| world.client(user).is_established() || world.client(user).ended().is_some());
        let ended = self.client(user).ended();
        assert!(ended.is_none(), "seed {}: {user} did not get in: {ended:?}", self.seed);
    }

    /// Lets a user join the channel [`CHANNEL`], without waiting. A call that it is in is dropped without a word.
    pub fn begin_join(&mut self, user: UserId) {
        self.begin_join_with(user, &Arc::clone(&self.config));
    }

    /// The same for a user whose calls are made in another way than those of others.
    pub fn begin_join_with(&mut self, user: UserId, config: &Arc<Config>) {
        let info = self.issue(user);
        self.drop_call(user);
        let now = self.clock.now();
        let settle_by = now + config.session.handshake_timeout + config.session.message_timeout;
        let seed = std::array::from_fn(|_| self.rng.u8(..));
        let call = CallSession::new(now, Arc::clone(config), info, seed);
        self.install_call(user, call, config, Some(settle_by));
    }

    /// Ends what a user's call uses, without a word to it.
    pub(crate) fn drop_call(&mut self, user: UserId) {
        if !self.clients.contains_key(&user) {
            let client = Client::new(user, self.rng.u64(..), self.conditions, self.conditions);
            self.clients.insert(user, client);
        }
        self.client_mut(user).call = None;
        self.busy.forget(user);
        self.break_connection(user);
        let client = self.client_mut(user);
        (client.discovery, client.media, client.media_at) = (None, None, None);
        (client.tick_at, client.ended, client.joins) = (None, None, None);
        (client.is_established, client.settle_by, client.deadline) = (false, None, None);
    }

    /// Gives a user a call. One that goes through the main gateway has another limit than an instant.
    pub(crate) fn install_call(
        &mut self,
        user: UserId,
        call: CallSession,
        config: &Config,
        settle_by: Option<Instant>,
    ) {
        let client = self.client_mut(user);
        client.settle_by = settle_by;
        client.patience = settle_by.is_none().then(|| patience(config));
        client.requires_e2ee = config.e2ee == E2ee::Require;
        client.call = Some(call);
        self.drain_call(user);
    }

    /// Lets a user leave.
    pub fn leave(&mut self, user: UserId) {
        self.feed(user, CallInput::Command(CallCommand::Leave));
    }

    /// Gives a user's call a new token, as a change of server does; it connects anew.
    pub fn update(&mut self, user: UserId) {
        if !self.client(user).is_in_call() {
            return;
        }
        let info = self.issue(user);
        let session = &self.config.session;
        // The confirmation of our SSRC has a time of its own, after the handshake.
        let settle_by = self.clock.now() + session.handshake_timeout + session.message_timeout;
        let client = self.client_mut(user);
        (client.is_established, client.settle_by) = (false, Some(settle_by));
        self.feed(user, CallInput::Command(CallCommand::Update(info)));
    }

    /// Queues so many frames that nobody else ever sends; they are sent one in 20 ms as soon as the call allows, and
    /// five of silence follow them.
    pub fn speak(&mut self, user: UserId, frames: u32) {
        self.client_mut(user).make_frames(frames);
        self.feed(user, CallInput::Command(CallCommand::Speak(true)));
        let clock = self.clock;
        self.client_mut(user).schedule(&clock);
    }

    /// Makes a fault of the server happen, or last.
    pub fn fault(&mut self, fault: Fault) {
        self.command(Command::Inject(fault));
    }

    /// Does something to the server.
    pub fn command(&mut self, command: Command) {
        self.trace.text(self.clock.elapsed(), None, "command", &command);
        if let Command::Inject(Fault { kind: FaultKind::SendText(_) | FaultKind::SendBinary(_), .. }) = &command {
            self.sends_unnumbered = true;
        }
        self.core.handle_command(self.clock.now(), command);
        self.drain_core();
    }

    /// Changes what one direction of a client's path does.
    pub fn impair(&mut self, user: UserId, direction: Direction, conditions: Conditions) {
        let client = self.client_mut(user);
        match direction {
            Direction::FromClient => client.up = conditions,
            Direction::ToClient => client.down = conditions,
        }
    }

    /// Breaks a client's WebSocket for both sides at once, without a close message.
    pub fn reset(&mut self, user: UserId) {
        self.break_connection(user);
    }

    /// Holds everything on a client's WebSockets, present and new, for so long.
    pub fn stall(&mut self, user: UserId, duration: Duration) {
        self.netem.stall(user.get(), self.clock.now() + duration);
    }

    /// Refuses every WebSocket that a client tries to open from now on, or takes that back.
    pub fn refuse(&mut self, user: UserId, refused: bool) {
        self.client_mut(user).refused = refused;
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.clock.now() + duration;
        while self.next_due().is_some_and(|(at, _)| at <= end) {
            self.step();
        }
        self.clock.advance_to(end);
    }

    /// Lets time pass until something is the case, and says how long it took.
    ///
    /// # Panics
    ///
    /// When it is not the case within the limit, which is 60 s of virtual time unless the builder said otherwise.
    pub fn run_until(&mut self, is_it: impl Fn(&Self) -> bool) -> Duration {
        let (start, end) = (self.clock.elapsed(), self.clock.now() + self.time_limit);
        while !is_it(self) {
            let next = self.next_due().filter(|(at, _)| *at <= end);
            assert!(next.is_some(), "seed {}: not the case within {:?}", self.seed, self.time_limit);
            self.step();
        }
        self.clock.elapsed() - start
    }

    /// One of the clients.
    ///
    /// # Panics
    ///
    /// When that user never joined.
    #[must_use]
    pub fn client(&self, user: UserId) -> &Client {
        self.clients.get(&user).expect("the user joined at some time")
    }

    /// All clients, ordered by user.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values()
    }

    /// The virtual time since the start.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// What happened on the server, and when from the start.
    #[must_use]
    pub fn server_events(&self) -> &[(Duration, ServerEvent)] {
        &self.server_events
    }

    /// The server's counters.
    #[must_use]
    pub fn server_stats(&self) -> ServerStats {
        self.core.stats()
    }

    /// The network's counters.
    #[must_use]
    pub const fn netem_stats(&self) -> &NetemStats {
        self.netem.stats()
    }

    /// A hash of everything that was sent, received and told, with its time.
    #[must_use]
    pub const fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Things that happened so far.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn client_mut(&mut self, user: UserId) -> &mut Client {
        self.clients.get_mut(&user).expect("the user joined at some time")
    }

    /// What a main gateway would tell of a join.
    fn issue(&mut self, user: UserId) -> ConnectInfo {
        let ticket = self.core.issue(GUILD, CHANNEL, user);
        ConnectInfo {
            channel_id: ticket.channel_id,
            endpoint: ticket.endpoint.parse().expect("the server names an endpoint"),
            server_id: ticket.server_id,
            session_id: ticket.session_id,
            token: ticket.token,
            user_id: ticket.user_id,
        }
    }

    fn next_due(&self) -> Option<(Instant, Due)> {
        let work = self.busy.next();
        let shared = [
            (self.netem.next_at(), Due::Network),
            (self.core_deadline, Due::Core),
            (work.map(|(at, _)| at), work.map_or(Due::Core, |(_, task)| Due::Work(task))),
        ];
        let own = self.clients.values().flat_map(|client| {
            [
                (client.deadline, Due::Call(client.user)),
                (client.media_at, Due::Media(client.user)),
                (client.tick_at.map(|(_, at)| at), Due::Tick(client.user)),
            ]
        });
        let main = self.main_gateways.iter().map(|(process, main)| (main.deadline(), Due::MainGateway(*process)));
        shared.into_iter().chain(own).chain(main).filter_map(|(at, due)| Some((at?, due))).min()
    }

    /// Does the next thing at its time.
    fn step(&mut self) {
        let Some((at, due)) = self.next_due() else { return };
        self.clock.advance_to(at);
        self.watch(due);
        match due {
            Due::Network => {
                if let Some(parcel) = self.netem.poll(self.clock.now()) {
                    self.deliver(parcel);
                }
            }
            Due::Core => self.core_timeout(),
            Due::MainGateway(process) => self.main_gateway_timeout(process),
            Due::Call(user) => self.feed(user, CallInput::Timeout),
            Due::Media(user) => self.media_timeout(user),
            Due::Work(task) => self.take_work(task),
            Due::Tick(user) => self.tick(user),
        }
    }

    fn media_timeout(&mut self, user: UserId) {
        let clock = self.clock;
        let client = self.client_mut(user);
        let ping = client.media_timeout(&clock);
        if let (Some(ping), Some(media)) = (ping, &client.media) {
            let from = media.address;
            self.datagram_to_server(user, from, ping);
        }
    }

    fn tick(&mut self, user: UserId) {
        let client = self.clients.get_mut(&user).expect("it wants ticks");
        let datagram = client.tick(&self.clock, &mut self.buffer);
        let is_silent = !client.wants_ticks();
        if let (Some(datagram), Some(media)) = (datagram, &client.media) {
            let from = media.address;
            self.watch_frame(user, &datagram);
            self.datagram_to_server(user, from, datagram);
        }
        if is_silent {
            self.feed(user, CallInput::Command(CallCommand::Speak(false)));
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("elapsed", &self.elapsed())
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

/// Says how to see a failure again.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, elapsed, hash) = (self.seed, self.elapsed(), self.trace_hash());
            eprintln!("{}failed with seed {seed} after {elapsed:?} of virtual time; trace {hash:016x}", self.trace);
        }
    }
}

/// The guild in which everything happens.
pub const GUILD: GuildId = GuildId::new(10);

/// The channel in which everything happens.
pub const CHANNEL: ChannelId = ChannelId::new(20);

/// Another channel of the guild, to which users can be moved in calls that were joined through the main gateway.
pub const OTHER_CHANNEL: ChannelId = ChannelId::new(21);
