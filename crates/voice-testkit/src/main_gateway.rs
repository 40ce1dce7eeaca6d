//! The users' own connections to the main gateway, in virtual time: small bots' gateway clients.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use discord_voice::{
    CallCommand, CallInput, CallSession, Config, ConnectionState, GatewayEvent, JoinInfo, Shard,
    crypto::Mode,
    model::{ChannelId, CloseCode, MainGatewayEvent, SessionId, UpdateVoiceState, UserId},
};
use serde_json::{Value, json};

use crate::{
    CHANNEL, Client, GUILD, World,
    wire::{Down, Up},
};

/// A process that is logged in as a user: the one with the user's call, or another with the same token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) user: UserId,
    pub(crate) is_rival: bool,
}

/// What a bot's library tells of its connection to the main gateway, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Telling {
    /// Everything, as it happens.
    #[default]
    InOrder,
    /// That a connection was lost only after the next one goes on.
    LossLate,
    /// That a connection was lost, and not that it goes on with its session.
    NoResumed,
    /// Not that a connection was lost.
    NoLoss,
}

/// One connection to the main gateway, and the session that outlives it.
#[derive(Debug)]
pub(crate) struct MainGateway {
    pub(crate) connection: Option<u64>,
    session: Option<SessionId>,
    /// The number of the event taken last.
    sequence: u64,
    /// The number of the event that the server sent last.
    pub(crate) sent: u64,
    is_ready: bool,
    is_acknowledged: bool,
    interval: Duration,
    heartbeat_at: Option<Instant>,
    connect_at: Option<Instant>,
    identify_at: Option<Instant>,
    is_refused: bool,
    /// Opcode 4 waits here for the connection.
    waiting: VecDeque<UpdateVoiceState>,
    resumes: u64,
    /// That the connection was lost is still to be told.
    owes_loss: bool,
    rng: fastrand::Rng,
}

impl MainGateway {
    fn new(seed: u64) -> Self {
        Self {
            connection: None,
            session: None,
            sequence: 0,
            sent: 0,
            is_ready: false,
            is_acknowledged: true,
            interval: Duration::ZERO,
            heartbeat_at: None,
            connect_at: None,
            identify_at: None,
            is_refused: false,
            waiting: VecDeque::new(),
            resumes: 0,
            owes_loss: false,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.heartbeat_at, self.connect_at, self.identify_at].into_iter().flatten().min()
    }

    /// The connection is gone; another one follows.
    fn lose(&mut self, now: Instant, code: Option<CloseCode>) {
        (self.connection, self.is_ready) = (None, false);
        (self.heartbeat_at, self.identify_at) = (None, None);
        // Discord docs, Gateway Close Event Codes.
        let code = code.map_or(0, CloseCode::get);
        if matches!(code, 1000 | 1001 | 4007 | 4009) {
            self.session = None;
        }
        let is_final = matches!(code, 4004 | 4010..=4014);
        let pause = Duration::from_millis(self.rng.u64(200..2_000));
        self.connect_at = (!is_final).then(|| now + pause);
    }
}

impl World {
    /// Logs a user in to the main gateway and lets it join the channel [`CHANNEL`] through it, then waits until media can
    /// flow. Such a call goes back to the main gateway whenever it has to.
    ///
    /// Users 1 to [`MAX_BOTS`] can log in.
    ///
    /// # Panics
    ///
    /// When the call ends instead.
    pub fn join_through(&mut self, user: UserId) {
        self.begin_join_through(user);
        self.run_until(|world| world.client(user).is_established() || world.client(user).ended().is_some());
        let ended = self.client(user).ended();
        assert!(ended.is_none(), "seed {}: {user} did not get in: {ended:?}", self.seed);
    }

    /// The same without waiting. The call begins when the user is logged in; a call that it is in is dropped without a
    /// word.
    pub fn begin_join_through(&mut self, user: UserId) {
        self.begin_join_through_with(user, &Arc::clone(&self.config));
    }

    /// The same for a user whose calls are made in another way than those of others.
    pub fn begin_join_through_with(&mut self, user: UserId, config: &Arc<Config>) {
        self.drop_call(user);
        self.client_mut(user).joins = Some(Arc::clone(config));
        let process = Process { user, is_rival: false };
        self.log_in(process);
        if self.main_gateways.get(&process).is_some_and(|main| main.is_ready) {
            self.start_call(process);
        }
    }

    /// Another process with the token of a user logs in and takes its place in voice. It opens no voice connection.
    pub fn take_over(&mut self, user: UserId) {
        let rival = Process { user, is_rival: true };
        self.log_in(rival);
        self.update_from(
            rival,
            UpdateVoiceState { guild_id: GUILD, channel_id: Some(CHANNEL), self_mute: false, self_deaf: false },
        );
    }

    /// The other process logs out, which ends its session.
    pub fn log_out_rival(&mut self, user: UserId) {
        let rival = Process { user, is_rival: true };
        if let Some(id) = self.main_gateways.remove(&rival).and_then(|main| main.connection) {
            self.send_up(id, Up::Gone(Some(CloseCode::NORMAL)));
        }
    }

    /// Lets a user move to another channel of the guild, in a call that was joined through the main gateway.
    pub fn move_to(&mut self, user: UserId, channel: ChannelId) {
        self.feed(user, CallInput::Command(CallCommand::MoveTo(channel)));
    }

    /// Mutes or deafens a user by itself, in a call that was joined through the main gateway.
    pub fn set_self(&mut self, user: UserId, mute: bool, deaf: bool) {
        self.feed(user, CallInput::Command(CallCommand::SetSelf { mute, deaf }));
    }

    /// Breaks a user's connection to the main gateway for both sides at once, without a close message.
    pub fn reset_main_gateway(&mut self, user: UserId) {
        self.break_main_gateway(Process { user, is_rival: false });
    }

    /// Holds everything on a user's connections to the main gateway, present and new, for so long.
    pub fn stall_main_gateway(&mut self, user: UserId, duration: Duration) {
        self.netem.stall(main_path(user), self.clock.now() + duration);
    }

    /// Refuses every connection to the main gateway that a user tries to open from now on, or takes that back.
    pub fn refuse_main_gateway(&mut self, user: UserId, refused: bool) {
        for is_rival in [false, true] {
            if let Some(main) = self.main_gateways.get_mut(&Process { user, is_rival }) {
                main.is_refused = refused;
            }
        }
    }

    /// Whether a user is logged in to the main gateway and has taken every event that was sent to it.
    #[must_use]
    pub fn is_online(&self, user: UserId) -> bool {
        let main = self.main_gateways.get(&Process { user, is_rival: false });
        main.is_some_and(|main| main.is_ready && main.sequence == main.sent)
    }

    /// How often a user's session with the main gateway was resumed.
    #[must_use]
    pub fn main_gateway_resumes(&self, user: UserId) -> u64 {
        self.main_gateways.get(&Process { user, is_rival: false }).map_or(0, |main| main.resumes)
    }

    fn log_in(&mut self, process: Process) {
        if self.main_gateways.contains_key(&process) {
            return;
        }
        let mut main = MainGateway::new(self.rng.u64(..));
        main.connect_at = Some(self.clock.now());
        self.main_gateways.insert(process, main);
    }

    /// Carries out an opcode 4 that a call asks for; false when there is no connection for it.
    pub(crate) fn update_voice_state(&mut self, user: UserId, update: UpdateVoiceState) -> bool {
        let at = self.clock.elapsed();
        self.client_mut(user).updates.push((at, update.channel_id));
        let process = Process { user, is_rival: false };
        let is_ready = self.main_gateways.get(&process).is_some_and(|main| main.is_ready);
        if !is_ready && !self.queues_updates {
            return false;
        }
        self.update_from(process, update);
        true
    }

    fn update_from(&mut self, process: Process, update: UpdateVoiceState) {
        let Some(main) = self.main_gateways.get_mut(&process) else { return };
        match main.connection.filter(|_| main.is_ready) {
            Some(id) => self.send_main(id, 4, &json!(update)),
            None if main.waiting.len() < MAX_WAITING => main.waiting.push_back(update),
            None => {}
        }
    }

    /// What was to be done at an instant is due.
    pub(crate) fn main_gateway_timeout(&mut self, process: Process) {
        let now = self.clock.now();
        let Some(main) = self.main_gateways.get_mut(&process) else { return };
        if main.connect_at.take_if(|at| now >= *at).is_some() {
            let id = self.open_connection(process.user, Some(process), main_path(process.user));
            self.main_gateways.get_mut(&process).expect("it connects").connection = Some(id);
            self.send_up(id, Up::Open("/gateway/?v=10&encoding=json".to_owned()));
            return;
        }
        let Some(id) = main.connection else { return };
        if main.identify_at.take_if(|at| now >= *at).is_some() {
            self.identify(process, id);
        } else if main.heartbeat_at.is_some_and(|at| now >= at) {
            if !main.is_acknowledged {
                // Nothing comes from there any more. Codes 1000 and 1001 would end the session.
                return self.abandon(process, id);
            }
            main.is_acknowledged = false;
            main.heartbeat_at = Some(now + main.interval);
            let sequence = main.sequence;
            self.send_main(id, 1, &json!(sequence));
        }
    }

    /// Closes a connection in order to resume on another.
    fn abandon(&mut self, process: Process, id: u64) {
        self.send_up(id, Up::Gone(Some(ABANDONED)));
        self.main_gateway_lost(process, Some(ABANDONED));
    }

    fn break_main_gateway(&mut self, process: Process) {
        let Some(id) = self.main_gateways.get(&process).and_then(|main| main.connection) else { return };
        self.cut_connection(id);
        self.main_gateway_lost(process, None);
    }

    fn main_gateway_lost(&mut self, process: Process, code: Option<CloseCode>) {
        let now = self.clock.now();
        let Some(main) = self.main_gateways.get_mut(&process) else { return };
        let was_ready = main.is_ready;
        main.lose(now, code);
        if was_ready {
            self.tell_loss(process);
        }
    }

    /// Tells that the connection was lost, or keeps it to itself.
    fn tell_loss(&mut self, process: Process) {
        match self.telling {
            Telling::InOrder | Telling::NoResumed => {
                self.tell_call(process, &GatewayEvent::Disconnected { shard: Shard::ONLY });
            }
            Telling::LossLate => {
                if let Some(main) = self.main_gateways.get_mut(&process) {
                    main.owes_loss = true;
                }
            }
            Telling::NoLoss => {}
        }
    }

    /// Tells that the connection goes on, and what was not told before.
    fn tell_return(&mut self, process: Process, event: &GatewayEvent) {
        if !matches!((self.telling, event), (Telling::NoResumed, GatewayEvent::Resumed { .. })) {
            self.tell_call(process, event);
        }
        let owed = self.main_gateways.get_mut(&process).is_some_and(|main| std::mem::take(&mut main.owes_loss));
        if owed {
            self.tell_call(process, &GatewayEvent::Disconnected { shard: Shard::ONLY });
        }
    }

    fn tell_call(&mut self, process: Process, event: &GatewayEvent) {
        if !process.is_rival {
            self.feed(process.user, CallInput::Gateway(event));
        }
    }

    fn identify(&mut self, process: Process, id: u64) {
        let Some(main) = self.main_gateways.get_mut(&process) else { return };
        main.sequence = 0;
        let identify = json!({ "token": token(process.user), "intents": INTENTS, "properties": {} });
        self.send_main(id, 2, &identify);
    }

    fn send_main(&mut self, id: u64, op: u64, d: &Value) {
        self.send_up(id, Up::Text(json!({ "op": op, "d": d }).to_string()));
    }

    /// Takes a message of the main gateway on the present connection.
    pub(crate) fn main_gateway_message(&mut self, process: Process, id: u64, message: Down) {
        let (now, at, seed) = (self.clock.now(), self.clock.elapsed(), self.seed);
        let text = match message {
            Down::Text(text) => text,
            Down::Gone(code) => {
                self.trace.text(at, Some(process.user), "main gateway gone", &code);
                return self.main_gateway_lost(process, code);
            }
            Down::Accepted | Down::Binary(_) => return,
        };
        self.trace.bytes(at, Some(process.user), "main gateway", text.as_bytes());
        let value: Value = serde_json::from_str(&text).expect("the main gateway speaks JSON");
        let Some(main) = self.main_gateways.get_mut(&process) else { return };
        match value["op"].as_u64() {
            Some(0) => {
                let number = value["s"].as_u64().expect("events are numbered");
                let next = main.sequence + 1;
                assert_eq!(number, next, "seed {seed}: an event for {} is lost or came twice", process.user);
                main.sequence = number;
                self.main_gateway_event(process, &value, &text);
            }
            Some(7) => self.abandon(process, id),
            Some(9) => {
                main.session = None;
                let was_ready = std::mem::take(&mut main.is_ready);
                main.identify_at = Some(now + Duration::from_millis(main.rng.u64(1_000..5_000)));
                if was_ready {
                    self.tell_loss(process);
                }
            }
            Some(10) => {
                main.interval = Duration::from_millis(value["d"]["heartbeat_interval"].as_u64().expect("an interval"));
                let first = main.interval.mul_f64(main.rng.f64());
                (main.heartbeat_at, main.is_acknowledged) = (Some(now + first), true);
                match &main.session {
                    Some(session) => {
                        let (session_id, seq) = (session.expose(), main.sequence);
                        let resume = json!({ "token": token(process.user), "session_id": session_id, "seq": seq });
                        self.send_main(id, 6, &resume);
                    }
                    None => self.identify(process, id),
                }
            }
            Some(11) => main.is_acknowledged = true,
            _ => {}
        }
    }

    fn main_gateway_event(&mut self, process: Process, value: &Value, text: &str) {
        let Some(main) = self.main_gateways.get_mut(&process) else { return };
        match value["t"].as_str() {
            Some("READY") => {
                let session_id = SessionId::new(value["d"]["session_id"].as_str().expect("READY names it"));
                (main.session, main.is_ready) = (Some(session_id.clone()), true);
                self.send_waiting(process);
                self.tell_return(process, &GatewayEvent::Ready { session_id: Some(session_id), shard: Shard::ONLY });
                self.start_call(process);
            }
            Some("RESUMED") => {
                main.is_ready = true;
                main.resumes += 1;
                self.send_waiting(process);
                self.tell_return(process, &GatewayEvent::Resumed { shard: Shard::ONLY });
                self.start_call(process);
            }
            _ => match MainGatewayEvent::decode(text) {
                Ok(Some(MainGatewayEvent::VoiceState(state))) => self.tell_call(process, &(*state).into()),
                Ok(Some(MainGatewayEvent::VoiceServer(update))) => self.tell_call(process, &update.into()),
                Ok(_) => {}
                Err(error) => panic!("seed {}: the main gateway sent {text}: {error}", self.seed),
            },
        }
    }

    /// Whether a connection is refused.
    pub(crate) fn is_refused(&self, user: UserId, process: Option<Process>) -> bool {
        match process {
            Some(process) => self.main_gateways.get(&process).is_some_and(|main| main.is_refused),
            None => self.client(user).refused,
        }
    }

    /// Notes the number of an event that the server sends.
    pub(crate) fn note_event(&mut self, process: Process, text: &str) {
        let value: Value = serde_json::from_str(text).expect("the main gateway speaks JSON");
        if let (Some(main), Some(number)) = (self.main_gateways.get_mut(&process), value["s"].as_u64()) {
            main.sent = number;
        }
    }

    fn send_waiting(&mut self, process: Process) {
        let waiting = self.main_gateways.get_mut(&process).map(|main| std::mem::take(&mut main.waiting));
        for update in waiting.into_iter().flatten() {
            self.update_from(process, update);
        }
    }

    /// Starts the call for which a user logged in, if there is one to start.
    fn start_call(&mut self, process: Process) {
        let user = process.user;
        let Some(config) = self.client_mut(user).joins.take_if(|_| !process.is_rival) else { return };
        let mut info = JoinInfo::new(GUILD, CHANNEL, user);
        info.session_id = self.main_gateways.get(&process).and_then(|main| main.session.clone());
        let seed = std::array::from_fn(|_| self.rng.u8(..));
        let call = CallSession::join(self.clock.now(), Arc::clone(&config), info, seed);
        self.install_call(user, call, &config, None);
    }
}

impl Client {
    /// The channel of its voice server, also of the one before while there is none.
    #[must_use]
    pub fn channel(&self) -> Option<ChannelId> {
        self.call.as_ref().and_then(CallSession::info).map(|info| info.channel_id)
    }

    /// Notes whether a call that goes through the main gateway is established, and until when it must be otherwise.
    pub(crate) fn settle(&mut self, now: Instant) {
        let (Some(patience), Some(call)) = (self.patience, &self.call) else { return };
        let state = call.state();
        self.is_established = state == ConnectionState::Connected;
        if self.is_established || state == ConnectionState::Ended {
            self.settle_by = None;
        } else {
            self.settle_by = self.settle_by.or(Some(now + patience));
        }
    }

    /// How far its call is.
    #[must_use]
    pub fn state(&self) -> Option<ConnectionState> {
        self.call.as_ref().map(CallSession::state)
    }

    /// The transport encryption of its call, once it was agreed on.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.call.as_ref().and_then(CallSession::mode)
    }

    /// What its calls asked of the main gateway with opcode 4, and when from the start of the world.
    #[must_use]
    pub fn updates(&self) -> &[(Duration, Option<ChannelId>)] {
        &self.updates
    }
}

/// How long a call that goes through the main gateway may be neither established nor over, from the last word of the
/// main gateway or of its user: every attempt takes as long as it may.
pub(crate) fn patience(config: &Config) -> Duration {
    let session = &config.session;
    let handshake = session.handshake_timeout + session.message_timeout + config.e2ee_timeout;
    let attempt = config.rejoin_cap + config.leave_timeout + config.gateway_timeout + handshake + config.follow_timeout;
    session.resume_window + config.offline_timeout + attempt * (config.max_rejoins + 1)
}

/// The users with tokens of their own, in each world's list of bots.
pub(crate) fn token(user: UserId) -> String {
    format!("bot-{user}")
}

/// The path of a user's connections to the main gateway, which stall together.
const fn main_path(user: UserId) -> u64 {
    user.get() | 1 << 63
}

/// Guilds and their voice states: Discord docs, Gateway, "Gateway Intents".
const INTENTS: u64 = 1 | 1 << 7;

/// Ends a connection, not its session.
const ABANDONED: CloseCode = CloseCode::new(4900);

/// Opcodes 4 that wait for a connection.
const MAX_WAITING: usize = 64;

/// The users who can log in to the main gateway: from 1 to this.
pub const MAX_BOTS: u64 = 64;
