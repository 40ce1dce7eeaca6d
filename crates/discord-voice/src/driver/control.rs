//! The control of one call: a task that sleeps between heartbeats.

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    net::UdpSocket,
    runtime::{Handle, RuntimeFlavor},
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tracing::Instrument as _;
use voice_crypto::Mode;
use voice_dave::{DaveStats, DaveStatus, Verification};
use voice_model::{GuildId, SessionId, UpdateVoiceState, UserId};
use voice_udp::socket::{RECEIVE_BUFFER_LEN, Socket};
use voice_ws::{Connector, Identity, Input, SessionStats, Transport, TransportError};

use super::{
    clock, on_grid,
    playing::{PlaybackShared, Playing},
    pool::Pool,
    ring::ReceiveSink,
    shard::{Route, ShardCommand, Shards},
    shared::{CallShared, LinkFault},
    wall,
};
use crate::{
    CallCommand, CallCounters, CallInput, CallOutput, CallSession, Config, ConnectionState, EndReason, Event,
    GatewayEvent, Handover, JoinInfo, JoinTimes, MediaCommand, Missing, UdpAction, WsAction,
    api::{EventSender, Events},
};

/// What a call's handles ask of its control.
pub(crate) enum ControlCommand {
    Play(Box<Playing>),
    Pause(Arc<PlaybackShared>),
    Resume(Arc<PlaybackShared>),
    StopPlaying(Arc<PlaybackShared>),
    Update(Box<Identity>),
    MoveTo(voice_model::ChannelId),
    SetSelf { mute: bool, deaf: bool },
    Detach(oneshot::Sender<Handover>),
    Publish(oneshot::Sender<()>),
    Verify(UserId, oneshot::Sender<Option<Verification>>),
    Leave,
}

/// What the main gateway says to a call that was joined through it.
pub(crate) enum GatewaySignal {
    Event(GatewayEvent),
    /// It did not take what the call asked for.
    Refused(String),
}

/// Where a call gets its voice server from.
pub(crate) enum Origin {
    Known(Identity),
    OtherProcess(Box<Handover>),
    MainGateway { call: MainGatewayCall, updates: Updates, signals: mpsc::Receiver<GatewaySignal> },
}

impl Origin {
    /// Whose call it is, and where.
    fn names(&self) -> (GuildId, UserId) {
        let of = |identity: &Identity| (identity.server_id, identity.user_id);
        match self {
            Self::Known(identity) => of(identity),
            Self::OtherProcess(handover) => (handover.guild_id(), handover.user_id()),
            Self::MainGateway { call: MainGatewayCall::Joined(join), .. } => (join.guild_id, join.user_id),
            Self::MainGateway { call: MainGatewayCall::OtherProcess(handover, _), .. } => {
                (handover.guild_id(), handover.user_id())
            }
        }
    }
}

/// A call that goes through the main gateway.
pub(crate) enum MainGatewayCall {
    Joined(JoinInfo),
    /// With the session of the bot's own gateway connection, if it is known.
    OtherProcess(Box<Handover>, Option<SessionId>),
}

/// Hands an update to the main gateway. Returns for how long it has to wait for its turn.
pub(crate) type Updates = Box<dyn FnMut(UpdateVoiceState) -> Duration + Send>;

/// What a call's handles can see of its control.
#[derive(Clone, Debug, Default)]
pub(crate) struct ControlState {
    pub(crate) connected: bool,
    pub(crate) connection: ConnectionState,
    pub(crate) ended: Option<EndReason>,
    /// What the main gateway has not sent yet.
    pub(crate) missing: Option<Missing>,
    pub(crate) mode: Option<Mode>,
    pub(crate) times: JoinTimes,
    pub(crate) session: SessionStats,
    pub(crate) counters: CallCounters,
    pub(crate) latency: Option<Duration>,
    pub(crate) mean_latency: Option<Duration>,
    pub(crate) e2ee: DaveStatus,
    pub(crate) dave_stats: DaveStats,
    /// Why the last socket could not be opened, or broke.
    pub(crate) transport_error: Option<Arc<TransportError>>,
}

/// What a call is made of.
pub(crate) struct CallParts {
    pub(crate) commands: mpsc::Sender<ControlCommand>,
    pub(crate) events: Events,
    pub(crate) state: watch::Receiver<ControlState>,
    pub(crate) shared: Arc<CallShared>,
    pub(crate) listeners: Listeners,
    pub(crate) pool: Arc<Pool>,
}

/// The way of new listeners to the media thread. It does not pass through control: what is sent after the user asked
/// to listen is heard.
pub(crate) struct Listeners {
    route: Route,
    shared: Arc<CallShared>,
}

impl Listeners {
    /// Adds one. A thread too busy to take it drops it, which ends its stream.
    pub(crate) fn add(&self, sink: ReceiveSink) {
        if !self.route.send_now(ShardCommand::Listen(sink)) {
            self.shared.dropped.listeners.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Called once when the call has ended, to tell the main gateway.
pub(crate) type OnEnd = Box<dyn FnOnce(&EndReason) + Send>;

/// Starts a call's control task.
pub(crate) fn start(
    config: Arc<Config>,
    connector: Connector,
    (shards, pool): (Arc<Shards>, Arc<Pool>),
    origin: Origin,
    on_end: Option<OnEnd>,
) -> CallParts {
    let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
    let (event_sender, events) = crate::api::events();
    let (state, state_receiver) = watch::channel(ControlState::default());
    let shared = Arc::new(CallShared::default());
    let route = shards.assign();
    let listeners = Listeners { route: route.clone(), shared: Arc::clone(&shared) };
    let fault_after = config.media_fault_after;
    let (guild, user) = origin.names();
    let span = tracing::info_span!("voice_call", guild = guild.get(), user = user.get());
    let (call, gateway) = match origin {
        Origin::Known(info) => (CallSession::new(clock(), config, info, seed()), None),
        Origin::OtherProcess(handover) => (take_over(config, &handover), None),
        Origin::MainGateway { call, updates, signals } => {
            let call = match call {
                MainGatewayCall::Joined(info) => CallSession::join(clock(), config, info, seed()),
                MainGatewayCall::OtherProcess(handover, main_session) => {
                    let mut call = take_over(config, &handover);
                    call.follow(clock(), main_session);
                    call
                }
            };
            (call, Some((updates, signals)))
        }
    };
    let control = Control {
        call: Box::new(call),
        gateway,
        guild,
        on_end,
        reason: None,
        transport: Transport::new(connector),
        fault_after,
        links: 0,
        socket: None,
        commands: receiver,
        is_forsaken: false,
        events: event_sender,
        state,
        shared: Arc::clone(&shared),
        shard: OwnCall { route },
        generation: 0,
        answered_silence: 0,
        shards,
    };
    tokio::spawn(control.run().instrument(span));
    CallParts { commands, events, state: state_receiver, shared, listeners, pool }
}

fn take_over(config: Arc<Config>, handover: &Handover) -> CallSession {
    CallSession::attach(clock(), wall(), config, handover, seed()).expect("it was checked when it was read")
}

struct Control {
    /// Not inline: a future can hold what it is given twice.
    call: Box<CallSession>,
    /// The way to the main gateway and back.
    gateway: Option<(Updates, mpsc::Receiver<GatewaySignal>)>,
    guild: GuildId,
    on_end: Option<OnEnd>,
    /// Why the call is over, once it is.
    reason: Option<EndReason>,
    transport: Transport,
    fault_after: Duration,
    /// Media sockets handed on so far.
    links: u64,
    /// The media socket while it is still used for discovery.
    socket: Option<UdpSocket>,
    commands: mpsc::Receiver<ControlCommand>,
    /// Nobody has a handle any more.
    is_forsaken: bool,
    events: EventSender,
    state: watch::Sender<ControlState>,
    shared: Arc<CallShared>,
    shard: OwnCall,
    /// Requests for audio so far.
    generation: u64,
    answered_silence: u64,
    /// The media threads live as long as a call needs them.
    shards: Arc<Shards>,
}

impl Control {
    async fn run(mut self) {
        self.command_shard(ShardCommand::Add(Arc::clone(&self.shared), self.fault_after)).await;
        // Room for what arrives while the socket is here; a call's media has the thread's.
        let mut datagram = Vec::new();
        let ended = loop {
            let deadline = match self.drain().await {
                Ok(deadline) => deadline,
                Err(reason) => break reason,
            };
            self.publish();
            let deadline = self.together(deadline);
            tokio::select! {
                event = self.transport.next() => {
                    let call = &mut self.call;
                    let error = event.feed_with(|input| {
                        let is_heavy = matches!(input, Input::Binary(bytes) if bytes.len() > HEAVY_LEN);
                        aside(is_heavy, || call.handle_input(clock(), CallInput::Ws(input)));
                    });
                    if let Some(error) = error {
                        tracing::debug!(%error, "the voice gateway's socket broke");
                        self.state.send_modify(|state| state.transport_error = Some(Arc::new(error)));
                    }
                }
                received = receive(self.socket.as_ref(), &mut datagram) => {
                    // An error here is a refused port, which a later answer may overrule.
                    let input = received.map_or(CallInput::UdpUnreachable, |len| CallInput::Datagram(&datagram[..len]));
                    self.call.handle_input(clock(), input);
                }
                command = self.commands.recv(), if !self.is_forsaken => match command {
                    Some(command) => {
                        if let Err(reason) = self.handle_command(command).await {
                            break reason;
                        }
                    }
                    None => {
                        self.is_forsaken = true;
                        self.command(CallCommand::Leave);
                    }
                },
                signal = next_signal(&mut self.gateway) => match signal {
                    GatewaySignal::Event(event) => self.call.handle_input(clock(), CallInput::Gateway(&event)),
                    GatewaySignal::Refused(error) => {
                        self.call.handle_input(clock(), CallInput::GatewayRefused(&error));
                    }
                },
                () = self.shared.notify.notified() => {
                    self.handle_media();
                    self.follow_balance().await;
                }
                () = wait(deadline) => self.call.handle_input(clock(), CallInput::Timeout),
            }
        };
        self.command_shard(ShardCommand::Remove).await;
        // Closed first, so that nobody takes this call for a living one any more.
        self.commands.close();
        if let Some(on_end) = self.on_end.take() {
            on_end(&ended);
        }
        self.reason = Some(ended);
        self.transport.closed(CLOSE_LIMIT).await;
        self.publish();
    }

    /// Carries out what the call asks for. Returns when to look again, or why the call is over.
    async fn drain(&mut self) -> Result<Option<Instant>, EndReason> {
        loop {
            match self.call.poll_output() {
                CallOutput::Ws(WsAction::Connect(endpoint)) => self.transport.connect(endpoint),
                CallOutput::Ws(WsAction::Text(text)) => self.transport.send_text(text),
                CallOutput::Ws(WsAction::Binary(bytes)) => self.transport.send_binary(bytes),
                CallOutput::Ws(WsAction::Close(code)) => self.transport.close(code),
                CallOutput::Udp(UdpAction::Open(server)) => {
                    let any: IpAddr =
                        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
                    self.open_socket((any, 0).into(), server).await;
                }
                CallOutput::Udp(UdpAction::Reopen { local, server }) => self.open_socket(local, server).await,
                CallOutput::Udp(UdpAction::Send(datagram)) => self.send_datagram(&datagram),
                CallOutput::Udp(UdpAction::Ping(ping)) => self.send_datagram(&ping),
                CallOutput::Media(MediaCommand::Start(sender, receiver)) => {
                    match self.socket.take().map(|socket| socket.into_std().and_then(Socket::from_std)) {
                        Some(Ok(socket)) => {
                            self.links += 1;
                            self.command_shard(ShardCommand::Start(self.links, socket, sender, receiver)).await;
                        }
                        Some(Err(error)) => self.socket_failed(&error.to_string()),
                        None => tracing::error!("media without a socket"),
                    }
                }
                CallOutput::Media(command) => self.command_shard(ShardCommand::Media(Box::new(command))).await,
                CallOutput::Gateway(update) => {
                    if let Some((updates, _)) = &mut self.gateway {
                        let delay = updates(update);
                        if !delay.is_zero() {
                            self.call.handle_input(clock(), CallInput::GatewayDelayed(delay));
                        }
                    }
                }
                CallOutput::Event(Event::Ended(reason)) => return Err(reason),
                CallOutput::Event(event) => {
                    if matches!(event, Event::Connected) {
                        self.publish();
                        self.state.send_modify(|state| state.connected = true);
                    }
                    if !self.events.send(event) {
                        self.shared.dropped.events.fetch_add(1, Ordering::Relaxed);
                    }
                }
                CallOutput::Timeout(deadline) => return Ok(deadline),
            }
        }
    }

    fn send_datagram(&self, datagram: &[u8]) {
        if let Some(socket) = &self.socket {
            // One that is not sent is repeated.
            let _ = socket.try_send(datagram);
        }
    }

    async fn handle_command(&mut self, command: ControlCommand) -> Result<(), EndReason> {
        match command {
            ControlCommand::Play(playing) => {
                self.speak().await?;
                self.command_shard(ShardCommand::Play { playing, generation: self.generation }).await;
            }
            ControlCommand::Resume(playback) => {
                self.speak().await?;
                self.command_shard(ShardCommand::Resume { playback, generation: self.generation }).await;
            }
            ControlCommand::Pause(playback) => self.command_shard(ShardCommand::Pause { playback }).await,
            ControlCommand::StopPlaying(playback) => self.command_shard(ShardCommand::StopPlaying { playback }).await,
            ControlCommand::Publish(done) => {
                self.publish();
                self.command_shard(ShardCommand::Publish(done)).await;
            }
            ControlCommand::Verify(user, answer) => drop(answer.send(self.call.verification(user))),
            ControlCommand::Update(info) => self.command(CallCommand::Update(*info)),
            ControlCommand::Detach(answer) => self.detach(answer).await,
            ControlCommand::MoveTo(channel) => self.command(CallCommand::MoveTo(channel)),
            ControlCommand::SetSelf { mute, deaf } => self.command(CallCommand::SetSelf { mute, deaf }),
            ControlCommand::Leave => self.command(CallCommand::Leave),
        }
        Ok(())
    }

    /// Announces audio. Unless the session is being resumed or has announced too often just now, it is on its way to
    /// the server before the media thread hears of the audio.
    async fn speak(&mut self) -> Result<(), EndReason> {
        self.generation += 1;
        self.command(CallCommand::Speak(true));
        self.drain().await.map(drop)
    }

    /// The media thread has something to say.
    fn handle_media(&mut self) {
        if self.shared.is_abandoned() {
            return self.media_thread_gone();
        }
        self.shared.mind_memory();
        // A fault of an older link is over with it.
        match self.shared.take_fault().filter(|(link, _)| *link == self.links) {
            Some((_, LinkFault::Media(fault))) => {
                tracing::debug!(%fault, "media does not get through any more");
                self.call.handle_input(clock(), CallInput::MediaFailed(fault));
            }
            Some((_, LinkFault::Socket(error))) => self.socket_failed(&error),
            None => {}
        }
        let silent = self.shared.silent_generation();
        // Audio that was asked for meanwhile is not taken back.
        if silent == self.generation && self.answered_silence != silent {
            self.answered_silence = silent;
            self.command(CallCommand::Speak(false));
        }
    }

    /// Gives the call up for another process.
    async fn detach(&mut self, answer: oneshot::Sender<Handover>) {
        if !self.call.can_detach() {
            return;
        }
        let (sender, place) = oneshot::channel();
        self.command_shard(ShardCommand::Detach(sender)).await;
        match place.await {
            Ok((local, position)) => {
                if let Some(handover) = self.call.detach(local, position, wall()) {
                    let _ = answer.send(handover);
                }
            }
            // Without media there is nothing to go on with.
            Err(_) => self.command(CallCommand::Leave),
        }
    }

    async fn open_socket(&mut self, local: SocketAddr, server: SocketAddr) {
        let opened = async {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(server).await?;
            // Sending without waiting works only once the socket is known to be writable.
            socket.writable().await?;
            Ok::<_, std::io::Error>(socket)
        };
        match opened.await {
            Ok(socket) => {
                self.socket = Some(socket);
                self.call.handle_input(clock(), CallInput::UdpOpened);
            }
            Err(error) => self.socket_failed(&error.to_string()),
        }
    }

    fn socket_failed(&mut self, error: &str) {
        self.call.handle_input(clock(), CallInput::UdpFailed(error));
    }

    fn media_thread_gone(&mut self) {
        self.socket_failed("the media thread is gone");
    }

    fn command(&mut self, command: CallCommand) {
        self.call.handle_input(clock(), CallInput::Command(command));
    }

    /// Not `&self`: a socket is not `Sync`, and the task has to be `Send`.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "a shared reference would not be Send")]
    async fn command_shard(&mut self, command: ShardCommand) {
        if !self.shard.route.send(command).await {
            self.shared.abandon();
        }
    }

    /// Moves the call to a media thread with more time, if it was asked to.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "a shared reference would not be Send")]
    async fn follow_balance(&mut self) {
        if let Some(target) = self.shared.take_move()
            && !self.shard.route.move_to(target).await
        {
            self.shared.abandon();
        }
    }

    /// Heartbeats of calls that are well wait for those of others.
    fn together(&self, deadline: Option<Instant>) -> Option<Instant> {
        let is_well = self.call.state() == ConnectionState::Connected;
        deadline.map(|at| if is_well { on_grid(self.shards.epoch(), at, HEARTBEAT_GRID) } else { at })
    }

    /// Makes the figures readable.
    fn publish(&self) {
        self.state.send_if_modified(|state| {
            state.connection = self.call.state();
            if state.connection != ConnectionState::Ended {
                // A join that has ended keeps it, for who gave up at the same time.
                state.missing = self.call.missing();
            }
            state.session = self.call.session_stats();
            state.counters = *self.call.counters();
            (state.latency, state.mean_latency) = (self.call.latency(), self.call.mean_latency());
            state.mode = self.call.mode();
            state.times = *self.call.times();
            if state.e2ee != *self.call.e2ee() {
                state.e2ee.clone_from(self.call.e2ee());
            }
            if state.dave_stats != *self.call.dave_stats() {
                state.dave_stats.clone_from(self.call.dave_stats());
            }
            false
        });
    }
}

impl Drop for Control {
    /// Tells everybody of the end of the call, whatever ended its task: one that died without a word would look alive for
    /// ever.
    fn drop(&mut self) {
        self.commands.close();
        let reason = self.reason.take().unwrap_or_else(|| {
            self.shards.count_dead_control();
            if let Some((updates, _)) = &mut self.gateway {
                let leave =
                    UpdateVoiceState { guild_id: self.guild, channel_id: None, self_mute: false, self_deaf: false };
                // What panicked may have been just this; a second panic would take the process.
                let _ = catch_unwind(AssertUnwindSafe(|| updates(leave)));
            }
            EndReason::Internal
        });
        if let Some(on_end) = self.on_end.take() {
            on_end(&reason);
        }
        self.state.send_modify(|state| state.ended = Some(reason.clone()));
        self.events.end(reason);
    }
}

/// Does what takes long without keeping the runtime's other tasks waiting, where the runtime has threads for that.
fn aside(is_heavy: bool, work: impl FnOnce()) {
    let has_threads = || Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if is_heavy && has_threads() { tokio::task::block_in_place(work) } else { work() }
}

/// A call's place on its media thread, which is given up with the control task in whatever way that ends.
struct OwnCall {
    route: Route,
}

impl Drop for OwnCall {
    fn drop(&mut self) {
        self.route.remove();
    }
}

async fn next_signal(gateway: &mut Option<(Updates, mpsc::Receiver<GatewaySignal>)>) -> GatewaySignal {
    if let Some((_, signals)) = gateway
        && let Some(signal) = signals.recv().await
    {
        return signal;
    }
    std::future::pending().await
}

async fn receive(socket: Option<&UdpSocket>, datagram: &mut Vec<u8>) -> std::io::Result<usize> {
    match socket {
        Some(socket) => {
            datagram.resize(RECEIVE_BUFFER_LEN, 0);
            socket.recv(datagram).await
        }
        None => {
            *datagram = Vec::new();
            std::future::pending().await
        }
    }
}

async fn wait(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Randomness of the operating system.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system has randomness");
    seed
}

/// Bytes of a message of the end-to-end encryption from which on its arithmetic may take milliseconds.
const HEAVY_LEN: usize = 8 * 1024;
/// Heartbeats of a process's calls leave together, every 100 ms; a gateway waits for one for seconds.
const HEARTBEAT_GRID: Duration = Duration::from_millis(100);
/// Commands that may wait for a call's control.
const MAX_COMMANDS: usize = 256;
/// How long the server may take to answer the close message.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
