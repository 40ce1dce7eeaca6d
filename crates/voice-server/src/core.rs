//! The server without sockets: inputs in, outputs out, driven by a caller's clock and seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use voice_model::{CloseCode, UserId};

use crate::config::CoreConfig;
use crate::connection::{Connection, Role};
use crate::credentials::Credentials;
use crate::faults::Faults;
use crate::gateway::Gateway;
use crate::media::Media;
use crate::random::Random;
use crate::registry::Sessions;
use crate::room::{Room, RoomId};
use crate::route::Route;
use crate::timers::{Timer, Timers};
use crate::{ConnectionId, Event, ServerStats};

/// Takes a datagram to send: where to, and its bytes.
pub type Sink<'a> = &'a mut dyn FnMut(SocketAddr, &[u8]);

/// A loopback Discord for voice, without I/O.
///
/// Feed it with the `handle_*` methods and drain [`poll_output`](Self::poll_output) after each:
/// outputs are queued, and their number is bounded by what one input can cause.
///
/// ```
/// use std::time::Instant;
/// use voice_server::{ConnectionId, Core, CoreConfig, Input, Output};
///
/// # #[expect(clippy::disallowed_methods, reason = "the caller owns the clock")]
/// let now = Instant::now();
/// let mut core = Core::new(now, CoreConfig::default(), [7; 32]);
/// let connection = ConnectionId::new(1);
/// core.handle_input(now, Input::Opened { connection, target: "/?v=8" });
/// let Output::Text { text, .. } = core.poll_output() else { panic!("Hello comes at once") };
/// assert_eq!(text, r#"{"op":8,"d":{"heartbeat_interval":13750,"v":8}}"#);
/// ```
pub struct Core {
    pub(crate) config: CoreConfig,
    pub(crate) random: Random,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) sessions: Sessions,
    pub(crate) rooms: BTreeMap<RoomId, Room>,
    pub(crate) credentials: Credentials,
    pub(crate) gateway: Gateway,
    pub(crate) media: Media,
    pub(crate) faults: Faults,
    pub(crate) timers: Timers,
    pub(crate) stats: ServerStats,
    pub(crate) next_ssrc: u32,
    pub(crate) started: Instant,
    outputs: VecDeque<Output>,
}

/// Something that happened to a WebSocket.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The upgrade succeeded.
    Opened {
        /// The new connection.
        connection: ConnectionId,
        /// The path and query of the request.
        target: &'a str,
    },
    /// A text message came.
    Text {
        /// Where from.
        connection: ConnectionId,
        /// The message.
        text: &'a str,
    },
    /// A binary message came.
    Binary {
        /// Where from.
        connection: ConnectionId,
        /// The message.
        bytes: &'a [u8],
    },
    /// The connection is gone.
    Disconnected {
        /// Which.
        connection: ConnectionId,
        /// The code of the close frame, if there was one.
        code: Option<CloseCode>,
    },
}

/// What the caller has to do.
#[derive(Clone, PartialEq)]
#[must_use]
pub enum Output {
    /// Send a text message.
    Text {
        /// Where to.
        connection: ConnectionId,
        /// The message.
        text: String,
    },
    /// Send a binary message.
    Binary {
        /// Where to.
        connection: ConnectionId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Close the connection. The core knows it no more.
    Close {
        /// Which.
        connection: ConnectionId,
        /// With which code.
        code: CloseCode,
    },
    /// Drop the connection without a close frame, as a crash does. The core knows it no more.
    Reset {
        /// Which.
        connection: ConnectionId,
    },
    /// Something happened; nothing to do.
    Event(Event),
    /// Everything is drained. Call [`Core::handle_timeout`] at this time, if there is one.
    Timeout(Option<Instant>),
}

impl Core {
    /// A server nobody has connected to yet.
    ///
    /// Equal seeds and inputs give equal outputs, but for the signatures of end-to-end
    /// encryption, which are random by their nature.
    #[must_use]
    pub fn new(now: Instant, config: CoreConfig, seed: [u8; 32]) -> Self {
        let mut random = Random::new(seed);
        let next_ssrc = config.first_ssrc.unwrap_or_else(|| 1_000 + random.below(500_000));
        Self {
            config,
            random,
            connections: BTreeMap::new(),
            sessions: Sessions::default(),
            rooms: BTreeMap::new(),
            credentials: Credentials::default(),
            gateway: Gateway::default(),
            media: Media::default(),
            faults: Faults::default(),
            timers: Timers::default(),
            stats: ServerStats::default(),
            next_ssrc,
            started: now,
            outputs: VecDeque::new(),
        }
    }

    /// Takes what happened to a WebSocket.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Opened { connection, target } => self.opened(now, connection, target),
            Input::Text { connection, text } => self.text(now, connection, text),
            Input::Binary { connection, bytes } => self.binary(now, connection, bytes),
            Input::Disconnected { connection, code } => self.disconnected(now, connection, code),
        }
    }

    /// Does everything that is due; datagrams go to `sink`.
    pub fn handle_timeout(&mut self, now: Instant, sink: Sink<'_>) {
        let armed = self.timers.armed();
        while let Some(timer) = self.timers.due(now, armed) {
            match timer {
                Timer::Heartbeat(connection) => {
                    tracing::debug!(connection = connection.get(), "no heartbeat in time");
                    self.close(now, connection, CloseCode::SESSION_TIMEOUT);
                }
                Timer::Outbox(connection) => self.release(now, connection),
                Timer::Expiry(session) => self.end_session(now, session, None),
                Timer::Speaking(session) => self.lose_patience(now, session),
                Timer::Report(session) => self.report(now, session, sink),
                Timer::Datagram => self.release_datagrams(now, sink),
                Timer::Dispatch => self.release_dispatches(now),
                Timer::GatewayExpiry(session) => self.end_gateway_session(now, session),
                Timer::Dave(room) => self.dave_timeout(now, room),
            }
        }
    }

    /// The next thing to do. [`Output::Timeout`] says that there is nothing until then.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Timeout(self.timers.next()))
    }

    /// What the server has seen and done.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            connections: self.connections.len() as u64,
            sessions: self.sessions.len() as u64,
            rooms: self.rooms.len() as u64,
            gateway_sessions: self.gateway.len() as u64,
            ..self.stats
        }
    }

    fn opened(&mut self, now: Instant, id: ConnectionId, target: &str) {
        let role = match Route::parse(target) {
            Ok(Route::Gateway) => Role::Gateway { session: None },
            Ok(Route::Voice { version }) => Role::Voice { version, session: None },
            Err(_) => {
                self.stats.closes += 1;
                let code = CloseCode::BAD_REQUEST;
                self.outputs.push_back(Output::Close { connection: id, code });
                return;
            }
        };
        self.connections.insert(id, Connection::new(now, role));
        self.touch(now, id);
        match role {
            Role::Voice { version, .. } => self.voice_hello(now, id, version),
            Role::Gateway { .. } => self.gateway_hello(now, id),
        }
    }

    fn text(&mut self, now: Instant, id: ConnectionId, text: &str) {
        let Some(role) = self.received(now, id) else { return };
        match role {
            Role::Voice { version, session } => self.voice_text(now, id, version, session, text),
            Role::Gateway { session } => self.gateway_text(now, id, session, text),
        }
    }

    fn binary(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        let Some(role) = self.received(now, id) else { return };
        match role {
            Role::Voice { session, .. } => self.voice_binary(now, id, session, bytes),
            Role::Gateway { .. } => self.close(now, id, CloseCode::FAILED_TO_DECODE),
        }
    }

    /// Counts an incoming message; `None` when it is not to be looked at.
    fn received(&mut self, now: Instant, id: ConnectionId) -> Option<Role> {
        let limit = self.config.limits.messages_per_window;
        let connection = self.connections.get_mut(&id)?;
        if connection.stalled {
            return None;
        }
        self.stats.messages_received += 1;
        let role = connection.role;
        if !connection.admits(now, limit) {
            let code = match role {
                Role::Voice { .. } => CloseCode::RATE_LIMITED,
                Role::Gateway { .. } => GATEWAY_RATE_LIMITED,
            };
            self.close(now, id, code);
            return None;
        }
        Some(role)
    }

    fn disconnected(&mut self, now: Instant, id: ConnectionId, code: Option<CloseCode>) {
        let Some(connection) = self.forget(id) else { return };
        // Only a deliberate end is one: Discord docs, Voice Connections, "Resuming".
        let deliberate = matches!(code, Some(CloseCode::NORMAL | CloseCode::GOING_AWAY));
        self.detach(now, connection.role, !deliberate);
    }

    /// Restarts the heartbeat deadline of a connection.
    pub(crate) fn touch(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let interval = match connection.role {
            Role::Voice { .. } => self.config.heartbeat_interval,
            Role::Gateway { .. } => self.config.gateway_heartbeat_interval,
        };
        let due = now + interval * MISSED_HEARTBEATS;
        self.timers.disarm(connection.heartbeat);
        connection.heartbeat = Some(self.timers.arm(due, Timer::Heartbeat(id)));
    }

    /// Sends a text message, unless a fault of the connection is in the way.
    pub(crate) fn send_text(&mut self, now: Instant, id: ConnectionId, text: String) {
        self.send(now, id, Output::Text { connection: id, text });
    }

    /// Sends a message, unless a fault of the connection is in the way.
    pub(crate) fn send(&mut self, now: Instant, id: ConnectionId, output: Output) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.stalled {
            return;
        }
        if connection.is_prompt() {
            self.stats.messages_sent += 1;
            self.outputs.push_back(output);
            return;
        }
        match connection.queue(now, output, self.config.limits.waiting_messages) {
            Some(due) if connection.outbox.is_none() => {
                connection.outbox = Some(self.timers.arm(due, Timer::Outbox(id)));
            }
            Some(_) => {}
            None => {
                self.stats.held_overflow += 1;
                self.reset(now, id);
            }
        }
    }

    /// Sends what was delayed and is due.
    fn release(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        while let Some(output) = connection.due(now) {
            self.stats.messages_sent += 1;
            self.outputs.push_back(output);
        }
        connection.outbox = connection.next_due().map(|due| self.timers.arm(due, Timer::Outbox(id)));
    }

    /// Closes a connection. Whether its session can be resumed follows from the code.
    pub(crate) fn close(&mut self, now: Instant, id: ConnectionId, code: CloseCode) {
        let Some(connection) = self.forget(id) else { return };
        self.stats.closes += 1;
        let user = self.user_of(connection.role);
        tracing::debug!(connection = id.get(), code = code.get(), "closing");
        self.outputs.push_back(Output::Close { connection: id, code });
        self.event(Event::Closed { user, code });
        self.detach(now, connection.role, is_resumable(connection.role, code));
    }

    /// Drops a connection without a word; its session can be resumed.
    pub(crate) fn reset(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.forget(id) else { return };
        self.outputs.push_back(Output::Reset { connection: id });
        self.detach(now, connection.role, true);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn user_of(&self, role: Role) -> Option<UserId> {
        match role {
            Role::Voice { session, .. } => Some(self.sessions.get(session?)?.user),
            Role::Gateway { session } => self.gateway.user(session?),
        }
    }

    fn forget(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.timers.disarm(connection.heartbeat);
        self.timers.disarm(connection.outbox);
        Some(connection)
    }

    /// Tells the session of a connection that is gone.
    fn detach(&mut self, now: Instant, role: Role, resumable: bool) {
        match role {
            Role::Voice { session: Some(key), .. } => self.lose_session(now, key, resumable),
            Role::Gateway { session: Some(key) } => self.lose_gateway_session(now, key, resumable),
            _ => {}
        }
    }
}

impl core::fmt::Debug for Core {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Core").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Output {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Messages carry keys and tokens.
        match self {
            Self::Text { connection, .. } => write!(f, "Text({}, ..)", connection.get()),
            Self::Binary { connection, .. } => write!(f, "Binary({}, ..)", connection.get()),
            Self::Close { connection, code } => {
                write!(f, "Close({}, {})", connection.get(), code.get())
            }
            Self::Reset { connection } => write!(f, "Reset({})", connection.get()),
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Self::Timeout(at) => f.debug_tuple("Timeout").field(at).finish(),
        }
    }
}

/// Whether the session outlives a close by the server with this code.
///
/// Those are the codes after which clients resume; every other one asks for a new session.
fn is_resumable(role: Role, code: CloseCode) -> bool {
    match role {
        Role::Voice { .. } => {
            code.get() < 4000 || code == CloseCode::SESSION_TIMEOUT || code == CloseCode::VOICE_SERVER_CRASHED
        }
        Role::Gateway { .. } => !matches!(code.get(), 1000 | 1001 | 4004 | 4010..),
    }
}

/// Heartbeat intervals without one until the connection is closed.
const MISSED_HEARTBEATS: u32 = 2;

/// Discord docs, Gateway Close Event Codes.
const GATEWAY_RATE_LIMITED: CloseCode = CloseCode::new(4008);
