//! The gateway session: identify, heartbeat, sequence, resume, close; no I/O, no clock.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    ops::AddAssign,
    sync::Arc,
    time::{Duration, Instant},
};

use voice_model::{BinaryMessage, ClientMessage, CloseCode, MAX_SENT_LEN, Opcode};

use self::recovery::{RECONNECTING, Trial, Trouble};
use crate::{
    Advice, Cause, Identity, Input, Output, SessionConfig, SessionEvent, Waiting,
    config::later,
    heartbeat::{Beat, Heartbeat, History},
    policy::Ledger,
    speaking::Speaking,
};

mod message;
#[cfg(test)]
mod properties;
mod recovery;
#[cfg(test)]
mod tests;

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
    /// The current socket's Hello is still to come, at the latest then.
    hello_by: Option<Instant>,
    history: History,
    /// The last numbered message, text or binary.
    sequence: Option<u16>,
    /// A session description came: there is something to resume.
    established: bool,
    /// The session was resumed, and has to show yet that this brought something.
    trial: Option<Trial>,
    /// When earlier failures are forgotten.
    stable_at: Option<Instant>,
    selected_mode: Option<String>,
    speaking: Speaking,
    /// The heartbeat whose acknowledgement confirms what was sent before it, and when it must have come.
    confirming: Option<(u64, Instant)>,
    /// Messages for the time after Resumed, and their length together.
    held: VecDeque<Output>,
    held_len: usize,
    trouble: Trouble,
    ledger: Ledger,
    malformed: VecDeque<Instant>,
    rng: fastrand::Rng,
    stats: SessionStats,
    outputs: VecDeque<Output>,
    /// The driver has taken the last [`Output::Connect`].
    connect_taken: bool,
}

/// What another process needs to go on with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detached {
    /// Who joined where.
    pub identity: Identity,
    /// The last numbered message that was taken.
    pub sequence: Option<u16>,
}

impl Detached {
    /// A session of which this was the last that was heard.
    #[must_use]
    pub const fn new(identity: Identity, sequence: Option<u16>) -> Self {
        Self { identity, sequence }
    }
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
    /// Messages longer than 1 MiB, each of which cost a socket.
    pub messages_oversized: u64,
    /// Messages with an opcode that is not acted on.
    pub messages_unknown: u64,
    /// Numbered messages whose number did not follow the one before.
    pub sequence_gaps: u64,
    /// Sockets lost after the session was established.
    pub interruptions: u64,
    /// Times the session was resumed.
    pub resumes: u64,
}

/// The counters of several sessions together.
impl AddAssign for SessionStats {
    fn add_assign(&mut self, other: Self) {
        // Taken apart, so that none can be forgotten.
        let Self {
            heartbeats_sent,
            heartbeats_acknowledged,
            messages_received,
            messages_malformed,
            messages_oversized,
            messages_unknown,
            sequence_gaps,
            interruptions,
            resumes,
        } = other;
        self.heartbeats_sent += heartbeats_sent;
        self.heartbeats_acknowledged += heartbeats_acknowledged;
        self.messages_received += messages_received;
        self.messages_malformed += messages_malformed;
        self.messages_oversized += messages_oversized;
        self.messages_unknown += messages_unknown;
        self.sequence_gaps += sequence_gaps;
        self.interruptions += interruptions;
        self.resumes += resumes;
    }
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
    Discovering {
        deadline: Instant,
    },
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

impl Session {
    /// Starts a session: the first output asks for a socket.
    ///
    /// `seed` draws the jitter of heartbeats and delays; equal seeds and inputs give equal outputs.
    #[must_use]
    pub fn new(now: Instant, config: Arc<SessionConfig>, identity: Identity, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let trouble = Trouble::new(now, &config, rng.u64(..));
        let history = History { last_nonce: rng.u64(..FIRST_NONCE_LIMIT), ..History::default() };
        let mut session = Self {
            config,
            identity,
            state: State::Ended,
            heartbeat: None,
            hello_by: None,
            history,
            sequence: None,
            established: false,
            trial: None,
            stable_at: None,
            selected_mode: None,
            speaking: Speaking::default(),
            confirming: None,
            held: VecDeque::new(),
            held_len: 0,
            trouble,
            ledger: Ledger::default(),
            malformed: VecDeque::new(),
            rng,
            stats: SessionStats::default(),
            outputs: VecDeque::new(),
            connect_taken: false,
        };
        session.connect(now);
        session
    }

    /// Goes on with a session that another process had: the first output asks for a socket, on which it is resumed.
    /// `sequence` is the number of the last numbered message that the other process took.
    ///
    /// The first event is [`SessionEvent::Resumed`](crate::SessionEvent::Resumed), or the end.
    #[must_use]
    pub fn resume(
        now: Instant,
        config: Arc<SessionConfig>,
        identity: Identity,
        sequence: Option<u16>,
        seed: u64,
    ) -> Self {
        let mut session = Self::new(now, config, identity, seed);
        (session.established, session.sequence) = (true, sequence);
        session
    }

    /// Gives up the socket and leaves the session to another process, which can [resume](Self::resume) it for as long as
    /// the server keeps it. `None`, and nothing happens, if there is nothing to resume.
    pub fn detach(&mut self) -> Option<Detached> {
        if !self.established || self.state == State::Ended {
            return None;
        }
        if !matches!(self.state, State::BackingOff { .. }) {
            self.outputs.push_back(Output::Close(RECONNECTING));
        }
        self.end(Advice::Stop, Cause::Left);
        Some(Detached { identity: self.identity.clone(), sequence: self.sequence })
    }

    /// Takes what happened to the socket, or the passing of time. Bad input becomes a counter or an output.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match (self.state, input) {
            (State::Ended, _) | (_, Input::Timeout) => {}
            (State::Opening { .. }, Input::Connected) => self.handle_connected(now),
            (_, Input::Connected) => {}
            // Inputs that were under way when the session gave up their socket.
            (State::BackingOff { .. }, _) => {}
            (State::Opening { .. }, Input::Text(_) | Input::Binary(_) | Input::Oversized) => {}
            (State::Opening { .. }, Input::Disconnected(_)) if !self.connect_taken => {}
            (_, Input::Text(text)) => self.handle_text(now, text),
            (_, Input::Binary(bytes)) => self.handle_binary(now, bytes),
            (_, Input::Oversized) => self.handle_oversized(now),
            (_, Input::Disconnected(code)) => self.lost(now, code.map_or(Cause::ConnectionLost, Cause::Closed)),
        }
        self.handle_time(now);
    }

    /// Sends a message, or keeps it for when the server takes it.
    ///
    /// A speaking message is always taken: it is sent when the socket allows, about once per 100 ms, and again
    /// after a resume. Other messages are kept while the session resumes, 64 at most, and sent after
    /// [`SessionEvent::Resumed`](crate::SessionEvent::Resumed): they may answer what the server replays before.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the server would not take the message now, or ever.
    pub fn send(&mut self, now: Instant, message: ClientMessage) -> Result<(), SendError> {
        if let ClientMessage::Speaking(wish) = message {
            if self.state == State::Ended {
                return Err(SendError::NotReady);
            }
            self.speaking.wish(wish);
            self.flush_speaking(now);
            return Ok(());
        }
        let text = message.encode();
        let len = text.len();
        match &message {
            ClientMessage::SelectProtocol(select) => {
                let State::Discovering { .. } = self.state else { return Err(SendError::NotReady) };
                self.queue(Output::Text(text), len)?;
                self.selected_mode = Some(select.data.mode.clone());
                let deadline = self.trouble.limit(later(now, self.config.message_timeout));
                self.state = State::Selecting { deadline };
                Ok(())
            }
            _ => match message.opcode() {
                Opcode::Identify | Opcode::SelectProtocol | Opcode::Heartbeat | Opcode::Resume => {
                    Err(SendError::Reserved)
                }
                _ => self.queue(Output::Text(text), len),
            },
        }
    }

    /// Sends a binary message, or keeps it, like [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`SendError`]: the server would not take the message now, or ever.
    pub fn send_binary(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), SendError> {
        if u8::try_from(opcode.code()).is_err() {
            return Err(SendError::Reserved);
        }
        let bytes = BinaryMessage { sequence: None, opcode, payload }.encode();
        let len = bytes.len();
        self.queue(Output::Binary(bytes), len)
    }

    /// Asks the server to acknowledge what it was sent so far: [`SessionEvent::Confirmed`](crate::SessionEvent::Confirmed) says that it has taken
    /// it. It goes out as a heartbeat beside the schedule, and again after a resume.
    ///
    /// Media travels another way than messages and may overtake them: a server that has not read yet which SSRC is
    /// ours may refuse its packets.
    pub fn confirm(&mut self, now: Instant) {
        let nonce = self.extra_nonce(now);
        self.confirming = Some((nonce, later(now, self.config.message_timeout)));
        if self.state == State::Established {
            self.send_heartbeat(nonce);
        }
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
        let output = self.outputs.pop_front().unwrap_or_else(|| {
            // What a join fills is hardly needed again, and there may be thousands of sessions.
            self.outputs = VecDeque::new();
            Output::Timeout(self.deadline())
        });
        self.connect_taken |= matches!(output, Output::Connect(_));
        output
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

    fn handle_time(&mut self, now: Instant) {
        let overdue = match self.state {
            State::Ended => return,
            State::BackingOff { until } => {
                if now >= until {
                    self.connect(now);
                }
                None
            }
            State::Opening { deadline } => Some((deadline, Waiting::Connection)),
            State::Identifying { deadline } => Some((deadline, Waiting::Ready)),
            State::Discovering { deadline } => Some((deadline, Waiting::SelectProtocol)),
            State::Selecting { deadline } => Some((deadline, Waiting::SessionDescription)),
            State::Resuming { deadline } => Some((deadline, Waiting::Resumed)),
            State::Established => self.confirming.map(|(_, deadline)| (deadline, Waiting::Confirmation)),
        };
        // Hello first: without it nothing else can have come.
        let overdue = [self.hello_by.map(|at| (at, Waiting::Hello)), overdue].into_iter().flatten();
        if let Some((_, waiting)) = overdue.into_iter().find(|(deadline, _)| now >= *deadline) {
            self.fail(now, Cause::TimedOut(waiting));
        }
        if self.is_open() {
            match self.heartbeat.as_mut().map(|heartbeat| heartbeat.poll(now)) {
                Some(Beat::Send(nonce)) => self.send_heartbeat(nonce),
                Some(Beat::Dead) => self.fail(now, Cause::Zombie),
                Some(Beat::NotYet) | None => {}
            }
            self.flush_speaking(now);
        }
        if self.state == State::Established && self.trial.take_if(|trial| trial.is_passed(now)).is_some() {
            self.trouble.over();
            self.event(SessionEvent::Recovered);
        }
        if self.stable_at.is_some_and(|at| now >= at) && self.state == State::Established {
            self.stable_at = None;
            self.trouble.backoff.reset();
            self.ledger.clear();
        }
    }

    /// Passes a message on to the socket, or keeps it for the time after Resumed.
    fn queue(&mut self, message: Output, len: usize) -> Result<(), SendError> {
        if len > MAX_SENT_LEN {
            return Err(SendError::TooLong { len });
        }
        match self.state {
            State::Discovering { .. } | State::Selecting { .. } | State::Established => {
                self.outputs.push_back(message);
                Ok(())
            }
            State::Opening { .. } | State::Resuming { .. } | State::BackingOff { .. }
                if self.established && self.held.len() < MAX_HELD && self.held_len + len <= MAX_SENT_LEN =>
            {
                self.held_len += len;
                self.held.push_back(message);
                Ok(())
            }
            _ => Err(SendError::NotReady),
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
            | State::Discovering { deadline }
            | State::Selecting { deadline }
            | State::Resuming { deadline } => Some(deadline),
            State::Established => {
                let confirmation = self.confirming.map(|(_, deadline)| deadline);
                let trial = self.trial.and_then(|trial| trial.deadline());
                [self.speaking.deadline(), confirmation, trial].into_iter().flatten().min()
            }
        };
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::deadline);
        [state, self.hello_by, self.stable_at, heartbeat].into_iter().flatten().min()
    }
}

/// Why a message was not sent (the caller must wait, or never send it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There is no socket on which the server would take the message now.
    NotReady,
    /// The session sends messages with this opcode by itself, or they have another form.
    Reserved,
    /// The message is longer than 256 KiB.
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("the voice gateway takes no such message now"),
            Self::Reserved => f.write_str("only the session itself sends such a message"),
            Self::TooLong { len } => write!(f, "message of {len} bytes is longer than {MAX_SENT_LEN}"),
        }
    }
}

impl Error for SendError {}

/// Messages kept for the time after Resumed.
const MAX_HELD: usize = 64;
/// Heartbeat nonces start below this, so that they stay exact in JSON for ever.
const FIRST_NONCE_LIMIT: u64 = 1 << 48;
