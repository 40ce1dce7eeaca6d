//! The gateway session: identify, heartbeat, sequence, resume, close; no I/O, no clock.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use voice_model::{
    BinaryMessage, ClientMessage, CloseCode, DecodeError, Heartbeat as HeartbeatMessage, HeartbeatForm, Hello,
    Identify, Opcode, Resume, ServerMessage,
};

use crate::{
    Advice, Backoff, Cause, Ended, Identity, Input, Output, ProtocolViolation, SessionConfig, SessionEvent, Waiting,
    heartbeat::{Beat, Heartbeat, History},
    policy::{Ledger, Verdict},
    speaking::Speaking,
};

/// The client's side of one voice gateway session, over as many sockets as it takes.
///
/// Feed it with [`handle_input`](Self::handle_input), drain it with [`poll_output`](Self::poll_output) until
/// [`Output::Timeout`] comes. Any number of inputs may precede a drain; outputs keep their order.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use voice_model::{ChannelId, GuildId, SessionId, Token, UserId};
/// use voice_ws::{Identity, Input, Output, Session, SessionConfig, SessionEvent};
///
/// let identity = Identity {
///     channel_id: ChannelId::new(3),
///     endpoint: "voice.example.net".parse()?,
///     server_id: GuildId::new(1),
///     session_id: SessionId::new("4f1d0c9be27a8e63"),
///     token: Token::new("a6d2c81e07b94f35"),
///     user_id: UserId::new(2),
/// };
/// let now = Instant::now();
/// let mut session = Session::new(now, Arc::new(SessionConfig::default()), identity, 7);
/// assert!(matches!(session.poll_output(), Output::Connect(_)));
///
/// // The driver opened the WebSocket and the server said hello and accepted us:
/// session.handle_input(now, Input::Connected);
/// session.handle_input(now, Input::Text(r#"{"op":8,"d":{"v":8,"heartbeat_interval":13750}}"#));
/// session.handle_input(now, Input::Text(r#"{"op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":2,"modes":[]}}"#));
/// assert!(matches!(session.poll_output(), Output::Text(identify) if identify.contains("\"op\":0")));
/// assert!(matches!(session.poll_output(), Output::Event(SessionEvent::Ready(ready)) if ready.ssrc == 1));
/// assert!(matches!(session.poll_output(), Output::Timeout(Some(_))));
/// # Ok::<(), voice_ws::EndpointError>(())
/// ```
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    identity: Identity,
    state: State,
    /// Running since the current socket's Hello.
    heartbeat: Option<Heartbeat>,
    history: History,
    /// The last numbered message, text or binary.
    sequence: Option<u16>,
    /// A session description came: there is something to resume.
    established: bool,
    /// When earlier failures are forgotten.
    stable_at: Option<Instant>,
    selected_mode: Option<String>,
    speaking: Speaking,
    trouble: Trouble,
    ledger: Ledger,
    malformed: VecDeque<Instant>,
    rng: fastrand::Rng,
    stats: SessionStats,
    outputs: VecDeque<Output>,
}

/// Counters of a session, from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Heartbeats sent.
    pub heartbeats_sent: u64,
    /// Heartbeats acknowledged.
    pub heartbeats_acknowledged: u64,
    /// Messages received, text and binary.
    pub messages_received: u64,
    /// Messages that could not be decoded and were dropped.
    pub messages_malformed: u64,
    /// Messages with an opcode that is not acted on.
    pub messages_unknown: u64,
    /// Numbered messages whose number did not follow the one before.
    pub sequence_gaps: u64,
    /// Sockets lost after the session was established.
    pub interruptions: u64,
    /// Times the session was resumed.
    pub resumes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A socket is being opened.
    Opening {
        deadline: Instant,
    },
    /// Identify was sent; waiting for Hello and Ready.
    Identifying {
        deadline: Instant,
    },
    /// Ready came; the owner discovers its address.
    Discovering,
    /// Select Protocol was sent.
    Selecting {
        deadline: Instant,
    },
    /// Resume was sent.
    Resuming {
        deadline: Instant,
    },
    Established,
    /// Waiting to open a socket again.
    BackingOff {
        until: Instant,
    },
    Ended,
}

/// The attempts since the session last ran well.
#[derive(Debug)]
struct Trouble {
    backoff: Backoff,
    /// When the current outage began.
    since: Option<Instant>,
    /// Failed attempts to resume in the current outage.
    failures: u32,
}

impl Session {
    /// Starts a session: the first output asks for a socket.
    ///
    /// `seed` draws the jitter of heartbeats and delays; equal seeds and inputs give equal outputs.
    #[must_use]
    pub fn new(now: Instant, config: Arc<SessionConfig>, identity: Identity, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut backoff = Backoff::new(config.backoff_step, config.backoff_cap, rng.u64(..));
        backoff.next_delay();
        let history = History { last_nonce: rng.u64(..FIRST_NONCE_LIMIT), ..History::default() };
        let mut session = Self {
            config,
            identity,
            state: State::Ended,
            heartbeat: None,
            history,
            sequence: None,
            established: false,
            stable_at: None,
            selected_mode: None,
            speaking: Speaking::default(),
            trouble: Trouble { backoff, since: None, failures: 0 },
            ledger: Ledger::default(),
            malformed: VecDeque::new(),
            rng,
            stats: SessionStats::default(),
            outputs: VecDeque::new(),
        };
        session.connect(now);
        session
    }

    /// Takes what happened to the socket, or the passing of time. Bad input becomes a counter or an output.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match (self.state, input) {
            (State::Ended, _) => {}
            (State::Opening { .. }, Input::Connected) => self.handle_connected(now),
            (State::Opening { .. } | State::BackingOff { .. }, Input::Text(_) | Input::Binary(_)) => {}
            (_, Input::Connected) => {}
            (_, Input::Text(text)) => self.handle_text(now, text),
            (_, Input::Binary(bytes)) => self.handle_binary(now, bytes),
            (State::BackingOff { .. }, Input::Disconnected(_)) => {}
            (_, Input::Disconnected(code)) => {
                self.lost(now, code.map_or(Cause::ConnectionLost, Cause::Closed));
            }
            (_, Input::Timeout) => {}
        }
        self.handle_time(now);
    }

    /// Sends a message, or remembers it where the protocol wants it repeated.
    ///
    /// A speaking message is always taken: it is sent when the socket allows, at most once per 100 ms, and
    /// again after a resume.
    ///
    /// # Errors
    ///
    /// [`NotReady`] when there is no socket on which the server would take the message.
    pub fn send(&mut self, now: Instant, message: ClientMessage) -> Result<(), NotReady> {
        if let ClientMessage::Speaking(wish) = message {
            if self.state == State::Ended {
                return Err(NotReady);
            }
            self.speaking.wish(wish);
            self.flush_speaking(now);
            return Ok(());
        }
        match (self.state, &message) {
            (State::Discovering, ClientMessage::SelectProtocol(select)) => {
                self.selected_mode = Some(select.data.mode.clone());
                self.state = State::Selecting { deadline: now + self.config.message_timeout };
            }
            (State::Discovering | State::Selecting { .. } | State::Established, _) => {}
            _ => return Err(NotReady),
        }
        self.outputs.push_back(Output::Text(message.encode()));
        Ok(())
    }

    /// Ends the session. [`CloseCode::NORMAL`] ends it on the server too.
    pub fn close(&mut self, code: CloseCode) {
        if self.state != State::Ended {
            if !matches!(self.state, State::BackingOff { .. }) {
                self.outputs.push_back(Output::Close(code));
            }
            self.end(Advice::Stop, Cause::Left);
        }
    }

    /// What to do next; [`Output::Timeout`] once everything is drained.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Timeout(self.deadline()))
    }

    /// Who joined where.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The time between the last acknowledged heartbeat and its acknowledgement.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.history().latency
    }

    /// The mean of that time over about the last 20 heartbeats.
    #[must_use]
    pub fn mean_latency(&self) -> Option<Duration> {
        self.history().mean
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &SessionStats {
        &self.stats
    }

    fn connect(&mut self, now: Instant) {
        self.state = State::Opening { deadline: now + self.config.connect_timeout };
        self.outputs.push_back(Output::Connect(self.identity.endpoint.clone()));
    }

    fn handle_connected(&mut self, now: Instant) {
        let deadline = now + self.config.message_timeout;
        let identity = &self.identity;
        let message = if self.established {
            self.state = State::Resuming { deadline };
            ClientMessage::Resume(Resume {
                server_id: identity.server_id,
                session_id: identity.session_id.clone(),
                token: identity.token.clone(),
                seq_ack: Some(self.sequence.map_or(-1, i64::from)),
                channel_id: None,
            })
        } else {
            self.state = State::Identifying { deadline };
            self.sequence = None;
            ClientMessage::Identify(Identify {
                server_id: identity.server_id,
                user_id: identity.user_id,
                session_id: identity.session_id.clone(),
                token: identity.token.clone(),
                max_dave_protocol_version: self.config.max_dave_protocol_version,
                channel_id: None,
            })
        };
        self.outputs.push_back(Output::Text(message.encode()));
    }

    fn handle_text(&mut self, now: Instant, text: &str) {
        self.heard(now);
        match ServerMessage::decode(text) {
            Ok(numbered) => {
                self.note_sequence(numbered.sequence);
                self.handle_message(now, numbered.message);
            }
            Err(error) => self.handle_undecodable(now, &error),
        }
    }

    fn handle_binary(&mut self, now: Instant, bytes: &[u8]) {
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

    fn handle_message(&mut self, now: Instant, message: ServerMessage) {
        match message {
            ServerMessage::Hello(hello) => self.handle_hello(now, &hello),
            ServerMessage::HeartbeatAck(ack) => {
                if let Some(heartbeat) = &mut self.heartbeat
                    && heartbeat.acknowledge(now, ack.nonce).is_some()
                {
                    self.stats.heartbeats_acknowledged += 1;
                }
            }
            ServerMessage::Heartbeat => {
                if let Some(heartbeat) = &mut self.heartbeat {
                    let nonce = heartbeat.beat(now);
                    self.send_heartbeat(nonce);
                }
            }
            ServerMessage::Ready(ready) => {
                if matches!(self.state, State::Identifying { .. }) {
                    self.state = State::Discovering;
                    self.event(SessionEvent::Ready(ready));
                }
            }
            ServerMessage::SessionDescription(description) => match self.state {
                State::Selecting { .. } if self.selected_mode.as_ref() == Some(&description.mode) => {
                    self.state = State::Established;
                    self.established = true;
                    self.stable_at = Some(now + self.config.stable_after);
                    self.trouble.backoff.reset();
                    self.event(SessionEvent::Established(description));
                    self.flush_speaking(now);
                }
                State::Selecting { .. } => self.fail(now, Cause::Protocol(ProtocolViolation::WrongMode)),
                _ => tracing::debug!("ignored a session description that was not asked for"),
            },
            ServerMessage::Resumed => {
                if matches!(self.state, State::Resuming { .. }) {
                    self.state = State::Established;
                    self.stable_at = Some(now + self.config.stable_after);
                    (self.trouble.since, self.trouble.failures) = (None, 0);
                    self.stats.resumes += 1;
                    self.event(SessionEvent::Resumed);
                    self.speaking.repeat();
                    self.flush_speaking(now);
                }
            }
            message => {
                if matches!(message, ServerMessage::Unknown(_)) {
                    self.stats.messages_unknown += 1;
                }
                self.event(SessionEvent::Message(message));
            }
        }
    }

    fn handle_hello(&mut self, now: Instant, hello: &Hello) {
        let interval = heartbeat_interval(hello);
        if let Some(heartbeat) = &mut self.heartbeat {
            return heartbeat.set_interval(now, interval);
        }
        self.heartbeat = Some(Heartbeat::start(now, interval, self.rng.f64(), self.history));
    }

    fn handle_undecodable(&mut self, now: Instant, error: &DecodeError) {
        self.stats.messages_malformed += 1;
        self.note_sequence(error.sequence());
        tracing::debug!(opcode = ?error.opcode(), %error, "dropped a malformed message");
        let handshake = matches!(self.state, State::Identifying { .. } | State::Selecting { .. });
        if let Some(opcode @ (Opcode::Ready | Opcode::SessionDescription)) = error.opcode()
            && handshake
        {
            return self.fail(now, Cause::Protocol(ProtocolViolation::Undecodable(opcode)));
        }
        while self.malformed.front().is_some_and(|at| now.saturating_duration_since(*at) > MALFORMED_WINDOW) {
            self.malformed.pop_front();
        }
        self.malformed.push_back(now);
        if self.malformed.len() > MAX_MALFORMED {
            self.outputs.push_back(Output::Close(CloseCode::PROTOCOL_ERROR));
            self.end(Advice::Rejoin, Cause::Protocol(ProtocolViolation::TooManyMalformed));
        }
    }

    fn handle_time(&mut self, now: Instant) {
        match self.state {
            State::Ended => return,
            State::Opening { deadline } if now >= deadline => self.fail(now, Cause::TimedOut(Waiting::Connection)),
            State::Identifying { deadline } if now >= deadline => {
                let waiting = if self.heartbeat.is_some() { Waiting::Ready } else { Waiting::Hello };
                self.fail(now, Cause::TimedOut(waiting));
            }
            State::Selecting { deadline } if now >= deadline => {
                self.fail(now, Cause::TimedOut(Waiting::SessionDescription));
            }
            State::Resuming { deadline } if now >= deadline => self.fail(now, Cause::TimedOut(Waiting::Resumed)),
            State::BackingOff { until } if now >= until => self.connect(now),
            _ => {}
        }
        if self.is_open() {
            match self.heartbeat.as_mut().map(|heartbeat| heartbeat.poll(now)) {
                Some(Beat::Send(nonce)) => self.send_heartbeat(nonce),
                Some(Beat::Dead) => self.fail(now, Cause::Zombie),
                Some(Beat::NotYet) | None => {}
            }
            self.flush_speaking(now);
        }
        if self.stable_at.is_some_and(|at| now >= at) && self.state == State::Established {
            self.stable_at = None;
            self.trouble.backoff.reset();
            self.ledger.clear();
        }
    }

    /// Gives up the socket, which is still open or opening.
    fn fail(&mut self, now: Instant, cause: Cause) {
        self.outputs.push_back(Output::Close(RECONNECTING));
        self.lost(now, cause);
    }

    /// Decides what follows the loss of the socket.
    fn lost(&mut self, now: Instant, cause: Cause) {
        self.history = self.history();
        self.heartbeat = None;
        self.stable_at = None;
        if self.state == State::Established {
            self.stats.interruptions += 1;
            self.event(SessionEvent::Interrupted(cause));
        }
        match self.ledger.judge(now, cause, self.established) {
            Verdict::End(advice) => return self.end(advice, cause),
            Verdict::Resume => {}
            Verdict::Identify => self.established = false,
        }
        let tried_enough = if self.established {
            if self.state != State::Established {
                self.trouble.failures += 1;
            }
            let since = *self.trouble.since.get_or_insert(now);
            self.trouble.failures >= self.config.max_resumes
                || now.saturating_duration_since(since) >= self.config.resume_window
        } else {
            self.trouble.backoff.attempts() >= self.config.max_handshakes
        };
        if tried_enough {
            return self.end(Advice::Rejoin, cause);
        }
        match self.trouble.backoff.next_delay() {
            Duration::ZERO => self.connect(now),
            delay => self.state = State::BackingOff { until: now + delay },
        }
    }

    fn end(&mut self, advice: Advice, cause: Cause) {
        self.history = self.history();
        self.heartbeat = None;
        self.state = State::Ended;
        self.event(SessionEvent::Ended(Ended { advice, cause }));
    }

    fn event(&mut self, event: SessionEvent) {
        self.outputs.push_back(Output::Event(event));
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

    fn send_heartbeat(&mut self, nonce: u64) {
        self.stats.heartbeats_sent += 1;
        let seq_ack = Some(self.sequence.map_or(-1, i64::from));
        let beat = HeartbeatMessage { nonce, seq_ack, form: HeartbeatForm::Object };
        self.outputs.push_back(Output::Text(ClientMessage::Heartbeat(beat).encode()));
    }

    fn flush_speaking(&mut self, now: Instant) {
        if matches!(self.state, State::Established)
            && let Some(message) = self.speaking.poll(now)
        {
            self.outputs.push_back(Output::Text(ClientMessage::Speaking(message).encode()));
        }
    }

    /// Whether the server listens on the current socket.
    const fn is_open(&self) -> bool {
        !matches!(self.state, State::Opening { .. } | State::BackingOff { .. } | State::Ended)
    }

    fn history(&self) -> History {
        self.heartbeat.as_ref().map_or(self.history, Heartbeat::history)
    }

    fn deadline(&self) -> Option<Instant> {
        let state = match self.state {
            State::Ended => return None,
            State::BackingOff { until } => return Some(until),
            State::Opening { deadline }
            | State::Identifying { deadline }
            | State::Selecting { deadline }
            | State::Resuming { deadline } => Some(deadline),
            State::Discovering => None,
            State::Established => self.speaking.deadline(),
        };
        [state, self.stable_at, self.heartbeat.as_ref().map(Heartbeat::deadline)].into_iter().flatten().min()
    }
}

/// There is no socket on which the server would take the message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReady;

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the voice gateway takes no such message now")
    }
}

impl Error for NotReady {}

/// Clamps what the server asks for: a second to a minute; nonsense becomes 5 s.
fn heartbeat_interval(hello: &Hello) -> Duration {
    let ms = hello.heartbeat_interval_ms;
    if ms.is_finite() && ms > 0.0 {
        Duration::from_secs_f64(ms.clamp(1_000.0, 60_000.0) / 1_000.0)
    } else {
        Duration::from_secs(5)
    }
}

/// More malformed messages than this within the window end the session.
const MAX_MALFORMED: usize = 20;
const MALFORMED_WINDOW: Duration = Duration::from_secs(10);
/// Heartbeat nonces start below this, so that they stay exact in JSON for ever.
const FIRST_NONCE_LIMIT: u64 = 1 << 48;
/// What a socket is closed with that is given up while the session is to go on: 1000 would end it on the server.
const RECONNECTING: CloseCode = CloseCode::new(4900);
