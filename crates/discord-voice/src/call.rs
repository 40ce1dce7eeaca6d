//! A whole call without I/O: gateway session, discovery, end-to-end encryption and media commands.

mod e2ee;
mod handover;
mod io;
mod media;
mod path;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use voice_crypto::Mode;
use voice_dave::{DaveMessage, SigningKey};
use voice_model::{ChannelId, ClientMessage, CloseCode, ServerMessage, UserId};
use voice_rtp::Ssrc;
use voice_udp::{Discovery, Receiver, Sender};
use voice_ws::{Advice, Cause, Ended, Identity, Input, Output, Session, SessionEvent, SessionStats};

pub use self::io::{
    CallCommand, CallCounters, CallInput, CallOutput, ConnectionState, JoinTimes, MediaCommand, UdpAction, WsAction,
};
use self::{e2ee::Encryption, media::Link, path::Path};
use crate::{
    Config, EndReason, Event, JoinInfo, Missing,
    signalling::{Signal, Signalling},
};

/// One call, sans-IO: the composition of the gateway session, IP discovery, end-to-end encryption and the media halves.
///
/// Feed it with [`handle_input`](Self::handle_input) and drain [`poll_output`](Self::poll_output) until
/// [`CallOutput::Timeout`]. Media never passes through it: it makes the two halves and hands them on as values.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use discord_voice::{CallOutput, CallSession, Config, ConnectInfo, WsAction};
/// use discord_voice::model::{ChannelId, GuildId, SessionId, Token, UserId};
///
/// let info = ConnectInfo {
///     channel_id: ChannelId::new(3),
///     endpoint: "voice.example.net".parse()?,
///     server_id: GuildId::new(1),
///     session_id: SessionId::new("4f1d0c9be27a8e63"),
///     token: Token::new("a6d2c81e07b94f35"),
///     user_id: UserId::new(2),
/// };
/// let mut call = CallSession::new(Instant::now(), Arc::new(Config::default()), info, [7; 32]);
/// assert!(matches!(call.poll_output(), CallOutput::Ws(WsAction::Connect(_))));
/// assert!(matches!(call.poll_output(), CallOutput::Timeout(Some(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CallSession {
    config: Arc<Config>,
    /// The main gateway's half, for a call that was joined through it.
    signalling: Option<Signalling>,
    /// The session on the newest voice server, also after its end.
    session: Option<Session>,
    encryption: Encryption,
    rng: fastrand::Rng,
    phase: Phase,
    /// The session's socket was lost, and the session is being resumed.
    is_interrupted: bool,
    /// The mode that every voice server has is to be selected.
    falls_back: bool,
    mode: Option<Mode>,
    ssrc: Ssrc,
    /// What another process would need of the media: the key, and where the media server is.
    link: Option<Link>,
    /// What the sessions before counted.
    past_sessions: SessionStats,
    counters: CallCounters,
    /// Whose streams are known.
    speakers: Vec<(Ssrc, UserId)>,
    times: JoinTimes,
    started: Instant,
    speaking: bool,
    /// Whether this user has muted and deafened itself, as far as another process told.
    own: (bool, bool),
    /// Frames could flow at some time: this is no join any more.
    was_established: bool,
    /// The session was resumed, and the gateway has not said everything yet that it says again.
    repeats_encryption: bool,
    /// For how long the call was on its way from another process, until its stream goes on.
    away: Option<Duration>,
    outputs: VecDeque<CallOutput>,
}

#[derive(Debug)]
enum Phase {
    /// There is no voice server. The main gateway names one, or there will be none.
    Signalling,
    /// No Ready yet.
    Identifying,
    /// Waiting for the driver to open the media socket.
    OpeningSocket(SocketAddr),
    Discovering(Discovery, SocketAddr),
    Selecting,
    /// Waiting for the driver to open the media socket that another process had.
    Reopening(Box<(Sender, Receiver)>),
    /// Media may flow once the server has taken our SSRC, and has heard of our socket.
    Confirming(Box<(Sender, Receiver)>, Path),
    /// There is somebody to hear frames, and they cannot leave for want of a key.
    Keying {
        until: Instant,
    },
    Established,
    /// The server has ended the session, and only the main gateway knows what follows.
    Waiting {
        until: Instant,
        cause: Cause,
    },
    Ended,
}

impl CallSession {
    /// Starts a call with values that were got from the main gateway already; the first output asks for a WebSocket.
    ///
    /// `seed` draws the nonces, sequence numbers and jitter; it must be drawn anew for each call.
    #[must_use]
    pub fn new(now: Instant, config: Arc<Config>, info: Identity, seed: [u8; 32]) -> Self {
        let mut call = Self::without_server(now, config, (info.user_id, info.channel_id), seed);
        call.connect(now, info);
        call.settle(now);
        call
    }

    /// Starts a call that gets its values from the main gateway, and goes back there whenever it has to; the first output
    /// is opcode 4. Feed it with [`CallInput::Gateway`].
    ///
    /// `seed` draws the nonces, sequence numbers and jitter; it must be drawn anew for each call.
    #[must_use]
    pub fn join(now: Instant, config: Arc<Config>, info: JoinInfo, seed: [u8; 32]) -> Self {
        let mut call = Self::without_server(now, Arc::clone(&config), (info.user_id, info.channel_id), seed);
        call.signalling = Some(Signalling::new(now, config, info, call.rng.u64(..)));
        call.settle(now);
        call
    }

    fn without_server(now: Instant, config: Arc<Config>, (user, channel): (UserId, ChannelId), seed: [u8; 32]) -> Self {
        let signing_key = config.signing_key.clone().unwrap_or_else(SigningKey::generate);
        Self {
            config,
            signalling: None,
            session: None,
            encryption: Encryption::new(signing_key, user, channel),
            rng: fastrand::Rng::with_seed(fold(seed)),
            phase: Phase::Signalling,
            is_interrupted: false,
            falls_back: false,
            mode: None,
            ssrc: Ssrc::new(0),
            link: None,
            past_sessions: SessionStats::default(),
            counters: CallCounters::default(),
            speakers: Vec::new(),
            times: JoinTimes::default(),
            started: now,
            speaking: false,
            own: (false, false),
            was_established: false,
            repeats_encryption: false,
            away: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes what happened.
    pub fn handle_input(&mut self, now: Instant, input: CallInput<'_>) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        match input {
            CallInput::Ws(input) => {
                if matches!(input, Input::Connected) && self.times.connected.is_none() {
                    self.times.connected = Some(now.saturating_duration_since(self.started));
                }
                self.feed_session(now, input);
            }
            CallInput::UdpOpened => {
                self.phase = match std::mem::replace(&mut self.phase, Phase::Signalling) {
                    Phase::OpeningSocket(server) => Phase::Discovering(Discovery::new(now, self.ssrc), server),
                    Phase::Reopening(halves) => Phase::Confirming(halves, self.new_path(now)),
                    phase => phase,
                };
                if matches!(self.phase, Phase::Confirming(..)) {
                    self.confirm(now);
                }
            }
            CallInput::UdpFailed(error) => self.lose(now, EndReason::Socket(error.to_owned())),
            CallInput::UdpUnreachable => {
                if let Phase::Discovering(discovery, _) = &mut self.phase {
                    discovery.handle_unreachable();
                }
            }
            CallInput::Datagram(datagram) => match &mut self.phase {
                Phase::Discovering(discovery, _) => discovery.handle_datagram(datagram),
                Phase::Confirming(_, path) => path.handle_datagram(datagram),
                _ => {}
            },
            CallInput::MediaFailed(fault) => {
                if matches!(self.phase, Phase::Established | Phase::Keying { .. }) {
                    self.lose(now, EndReason::Media(fault));
                }
            }
            CallInput::Gateway(event) => {
                if let Some(signalling) = &mut self.signalling {
                    signalling.handle_event(now, event);
                }
            }
            CallInput::GatewayRefused(error) => {
                if let Some(signalling) = &mut self.signalling {
                    signalling.handle_refused(now, error);
                }
            }
            CallInput::GatewayDelayed(delay) => {
                if let Some(signalling) = &mut self.signalling {
                    signalling.handle_delayed(now, delay);
                }
            }
            CallInput::Command(command) => self.handle_command(now, command),
            CallInput::Timeout => {
                self.feed_session(now, Input::Timeout);
                if let Some(signalling) = &mut self.signalling {
                    signalling.handle_timeout(now);
                }
            }
        }
        self.check_waiting(now);
        self.drive_discovery(now);
        self.drive_path(now);
        self.settle(now);
    }

    /// What to do next; [`CallOutput::Timeout`] once everything is drained.
    pub fn poll_output(&mut self) -> CallOutput {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        // What a join fills is hardly needed again, and there may be thousands of calls.
        self.outputs = VecDeque::new();
        if matches!(self.phase, Phase::Ended) {
            return CallOutput::Timeout(None);
        }
        let session = self.session.as_mut().map(Session::poll_output).and_then(|output| match output {
            Output::Timeout(at) => at,
            _ => unreachable!("the session was drained when something was fed"),
        });
        let own = match &self.phase {
            Phase::Discovering(discovery, _) => discovery.poll_timeout(),
            Phase::Confirming(_, path) => path.poll_timeout(),
            Phase::Waiting { until, .. } | Phase::Keying { until } => Some(*until),
            _ => None,
        };
        let signalling = self.signalling.as_ref().and_then(Signalling::poll_timeout);
        CallOutput::Timeout([session, own, signalling].into_iter().flatten().min())
    }

    /// Who joined where, the newest; `None` before the main gateway has named a voice server.
    #[must_use]
    pub fn info(&self) -> Option<&Identity> {
        self.session.as_ref().map(Session::identity)
    }

    /// What the main gateway has not sent yet of what it was asked for.
    #[must_use]
    pub fn missing(&self) -> Option<Missing> {
        self.signalling.as_ref().and_then(Signalling::missing)
    }

    /// How far the call is.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::Ended => ConnectionState::Ended,
            Phase::Waiting { .. } => ConnectionState::Waiting,
            Phase::Signalling => match &self.signalling {
                Some(signalling) if signalling.is_rejoining() => ConnectionState::Rejoining,
                Some(signalling) if signalling.is_joining() => ConnectionState::Signalling,
                _ => ConnectionState::Waiting,
            },
            Phase::Established if self.is_interrupted => ConnectionState::Resuming,
            Phase::Established => ConnectionState::Connected,
            _ => ConnectionState::Connecting,
        }
    }

    /// How long each step of joining took.
    #[must_use]
    pub const fn times(&self) -> &JoinTimes {
        &self.times
    }

    /// The counters of the gateway's sessions, all that the call has had together.
    #[must_use]
    pub fn session_stats(&self) -> SessionStats {
        let mut stats = self.past_sessions;
        stats += self.session.as_ref().map(|session| *session.stats()).unwrap_or_default();
        stats
    }

    /// The counters of the call itself.
    #[must_use]
    pub const fn counters(&self) -> &CallCounters {
        &self.counters
    }

    /// The last measured time to the gateway and back.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.session.as_ref()?.latency()
    }

    /// The mean of that time over about the last 20 heartbeats.
    #[must_use]
    pub fn mean_latency(&self) -> Option<Duration> {
        self.session.as_ref()?.mean_latency()
    }

    /// The transport encryption, once it was agreed on.
    #[must_use]
    pub const fn mode(&self) -> Option<Mode> {
        self.mode
    }

    fn handle_command(&mut self, now: Instant, command: CallCommand) {
        match command {
            CallCommand::Speak(speaking) => {
                self.speaking = speaking;
                self.announce(now);
            }
            CallCommand::Update(info) => self.connect(now, info),
            CallCommand::Disconnected => self.end(EndReason::Disconnected),
            CallCommand::Leave => match &mut self.signalling {
                Some(signalling) => {
                    signalling.leave(now);
                    self.release();
                }
                None => self.end(EndReason::Left),
            },
            CallCommand::MoveTo(channel) => {
                if let Some(signalling) = &mut self.signalling {
                    signalling.move_to(now, channel);
                }
            }
            CallCommand::SetSelf { mute, deaf } => {
                if let Some(signalling) = &mut self.signalling {
                    signalling.set_self(mute, deaf);
                }
            }
        }
    }

    /// Connects to a voice server, in place of the one before. What plays and who listens waits for it.
    fn connect(&mut self, now: Instant, info: Identity) {
        self.release();
        self.encryption.restart(info.channel_id);
        self.past_sessions = self.session_stats();
        self.counters.connections += 1;
        let config = Arc::new(self.config.session.clone());
        self.session = Some(Session::new(now, config, info, self.rng.u64(..)));
        self.phase = Phase::Identifying;
        (self.started, self.times) = (now, JoinTimes::default());
    }

    fn feed_session(&mut self, now: Instant, input: Input<'_>) {
        if let Some(session) = &mut self.session {
            session.handle_input(now, input);
        }
    }

    /// Carries out what the two gateways' halves have to say, until they have nothing more.
    fn settle(&mut self, now: Instant) {
        loop {
            self.drain_session(now);
            self.check_keyed(now);
            let Some(signal) = self.signalling.as_mut().and_then(Signalling::poll_output) else { return };
            match signal {
                Signal::Update(update) => self.outputs.push_back(CallOutput::Gateway(update)),
                Signal::Connect(info) => self.connect(now, info),
                Signal::Release => self.release(),
                Signal::FallBack => self.falls_back = true,
                Signal::Event(event) => self.event(event),
                Signal::End(reason) => self.end(reason),
            }
        }
    }

    /// Takes what the session has for its owner and hands on what it has for the WebSocket.
    fn drain_session(&mut self, now: Instant) {
        while let Some(session) = &mut self.session {
            let action = match session.poll_output() {
                Output::Connect(endpoint) => WsAction::Connect(endpoint),
                Output::Text(text) => WsAction::Text(text),
                Output::Binary(bytes) => WsAction::Binary(bytes),
                Output::Close(code) => WsAction::Close(code),
                Output::Event(event) => {
                    self.handle_event(now, event);
                    continue;
                }
                Output::Timeout(_) => return,
            };
            self.outputs.push_back(CallOutput::Ws(action));
        }
    }

    fn handle_event(&mut self, now: Instant, event: SessionEvent) {
        match event {
            SessionEvent::Ready(ready) => self.handle_ready(now, &ready),
            SessionEvent::Established(description) => self.handle_description(now, &description),
            SessionEvent::Interrupted(cause) => {
                self.is_interrupted = true;
                if let Some(signalling) = &mut self.signalling {
                    signalling.handle_interrupted();
                }
                self.event(Event::Interrupted(cause));
            }
            SessionEvent::Resumed => {
                self.is_interrupted = false;
                self.event(Event::Resumed);
                // What the gateway may not have heard is said again once everything was read that it says again: a welcome
                // among that makes a key package of before it one too many.
                self.repeats_encryption = true;
                if let Some(session) = &mut self.session {
                    session.confirm(now);
                }
            }
            SessionEvent::Confirmed => {
                if std::mem::take(&mut self.repeats_encryption) {
                    self.encrypt(now, DaveMessage::Resumed);
                }
                if let Phase::Confirming(_, path) = &mut self.phase {
                    path.confirmed();
                    self.drive_path(now);
                }
            }
            SessionEvent::Recovered => {
                if let Some(signalling) = &mut self.signalling {
                    signalling.handle_recovered(now);
                }
            }
            SessionEvent::Message(message) => self.handle_message(now, message),
            SessionEvent::Binary { opcode, payload } => self.handle_binary(now, opcode, &payload),
            // A kick, a move and a change of server look the same from here.
            SessionEvent::Ended(Ended { cause, advice: Advice::Wait })
                if self.was_established && self.signalling.is_none() =>
            {
                self.phase = Phase::Waiting { until: later(now, self.config.follow_timeout), cause };
                self.outputs.push_back(CallOutput::Media(MediaCommand::Stop));
                self.event(Event::Released(cause));
            }
            SessionEvent::Ended(Ended { cause, advice }) => self.lose(now, EndReason::Session { cause, advice }),
            _ => {}
        }
    }

    fn handle_message(&mut self, now: Instant, message: ServerMessage) {
        match message {
            ServerMessage::Speaking(speaking) => {
                let (ssrc, user) = (Ssrc::new(speaking.ssrc), speaking.user_id);
                self.speakers.retain(|(other, _)| *other != ssrc);
                if self.speakers.len() >= MAX_SPEAKERS {
                    self.speakers.remove(0);
                    self.counters.speakers_dropped += 1;
                }
                self.speakers.push((ssrc, user));
                self.media(now, MediaCommand::Bind(ssrc, user));
                self.event(Event::Speaking { flags: speaking.speaking, ssrc, user });
            }
            ServerMessage::ClientsConnect(connect) => {
                self.encrypt(now, DaveMessage::ClientsConnect(&connect.user_ids));
                self.event(Event::UsersConnected(connect.user_ids));
            }
            ServerMessage::ClientDisconnect(disconnect) => {
                let user = disconnect.user_id;
                self.speakers.retain(|(_, speaker)| *speaker != user);
                self.encrypt(now, DaveMessage::ClientDisconnect(user));
                self.media(now, MediaCommand::Forget(user));
                self.event(Event::UserLeft(user));
            }
            ServerMessage::DavePrepareTransition(message) => {
                self.encrypt(now, DaveMessage::PrepareTransition(message));
            }
            ServerMessage::DaveExecuteTransition(message) => {
                self.encrypt(now, DaveMessage::ExecuteTransition(message));
            }
            ServerMessage::DavePrepareEpoch(message) => self.encrypt(now, DaveMessage::PrepareEpoch(message)),
            _ => {}
        }
    }

    /// Ends a call about which the main gateway says nothing.
    fn check_waiting(&mut self, now: Instant) {
        if let Phase::Waiting { until, cause } = self.phase
            && now >= until
        {
            self.finish(EndReason::Session { cause, advice: Advice::Wait });
        }
    }

    fn send(&mut self, now: Instant, message: ClientMessage) {
        if let Some(Err(error)) = self.session.as_mut().map(|session| session.send(now, message)) {
            self.counters.messages_dropped += 1;
            tracing::debug!(%error, "a message to the voice gateway was not sent");
        }
    }

    /// The voice server cannot be stayed on, or is gone. What follows is the business of the main gateway's half, if
    /// there is one.
    fn lose(&mut self, now: Instant, reason: EndReason) {
        match &mut self.signalling {
            Some(signalling) => {
                signalling.handle_lost(now, reason);
                self.release();
            }
            None => self.end(reason),
        }
    }

    /// Ends the call.
    fn end(&mut self, reason: EndReason) {
        self.release();
        self.finish(reason);
    }

    /// Gives up the voice server.
    fn release(&mut self) {
        if let Some(session) = &mut self.session {
            session.close(CloseCode::NORMAL);
        }
        self.drain_closing();
        if self.has_halves() {
            self.outputs.push_back(CallOutput::Media(MediaCommand::Stop));
        }
        self.speakers.clear();
        self.is_interrupted = false;
        self.phase = Phase::Signalling;
    }

    /// Hands on what a session that is over still has for the WebSocket.
    fn drain_closing(&mut self) {
        while let Some(session) = &mut self.session {
            match session.poll_output() {
                Output::Close(code) => self.outputs.push_back(CallOutput::Ws(WsAction::Close(code))),
                Output::Timeout(_) => return,
                _ => {}
            }
        }
    }

    fn finish(&mut self, reason: EndReason) {
        if !matches!(self.phase, Phase::Ended) {
            self.signalling = None;
            self.phase = Phase::Ended;
            self.outputs.push_back(CallOutput::Media(MediaCommand::Stop));
            self.event(Event::Ended(reason));
        }
    }

    fn event(&mut self, event: Event) {
        self.counters.rejoins += u64::from(matches!(event, Event::Rejoining { .. }));
        self.outputs.push_back(CallOutput::Event(event));
    }
}

/// One word from which everything that needs no secrecy is drawn.
fn fold(seed: [u8; 32]) -> u64 {
    let words = seed.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    words.fold(0, |folded, word| folded.rotate_left(17) ^ word)
}

/// Speakers remembered; the media half has as many streams.
const MAX_SPEAKERS: usize = 512;

/// An instant after `now`; a duration that no clock can count is for ever, or near enough.
pub(crate) fn later(now: Instant, after: Duration) -> Instant {
    now.checked_add(after).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}
