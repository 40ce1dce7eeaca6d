//! The server on real sockets, and the handle to it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use voice_model::{ChannelId, CloseCode, GuildId, SessionId, Token, UserId};

use crate::door::{Door, Loopback};
use crate::driver::{Driver, Order, Turned};
use crate::events::Events;
use crate::listen::{Listener, listen};
use crate::random::Random;
use crate::socket::MediaSocket;
use crate::tls::{self, Tls};
use crate::{Access, Command, Core, CoreConfig, Event, Fault, JoinAnswer, MeasureError, ServerStats, Ticket};

/// Where and how a server listens.
#[derive(Clone)]
pub struct ServerConfig {
    /// The address for HTTP and WebSockets; port 0 takes a free one.
    pub tcp: SocketAddr,
    /// The address for media; port 0 takes a free one.
    pub udp: SocketAddr,
    /// The address clients are told, when it is not the one that is listened on.
    pub advertised: Option<IpAddr>,
    /// Origins of pages that may ask here, as browsers write them: `http://127.0.0.1:7800`. A request with any other
    /// `Origin` is answered with 403, on every path: no bot sends one, and no page has business with a bot's server. A server
    /// on loopback without `advertised` also answers requests for another `Host` than itself with 421, because a page can
    /// have its own name mean this machine. None by default.
    pub origins: Vec<String>,
    /// Whether TLS is spoken, with a self-signed certificate.
    pub tls: bool,
    /// What everything random is derived from; `None` asks the system.
    pub seed: Option<[u8; 32]>,
    /// TCP connections at a time; more are closed at once.
    pub max_connections: usize,
    /// Messages that wait for one WebSocket's reader before it is dropped as too slow.
    pub max_unread: usize,
    /// Bytes the system buffers for the media socket in each direction, as far as it allows. The default holds what
    /// comes in a twentieth of a second at 100 000 datagrams a second, several times over.
    pub media_buffer_len: usize,
    /// How the server behaves. Addresses and URLs in it are filled in by [`Server::bind`].
    pub core: CoreConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            tcp: loopback,
            udp: loopback,
            advertised: None,
            origins: Vec::new(),
            tls: false,
            seed: None,
            max_connections: 32_768,
            max_unread: 4_096,
            media_buffer_len: 16 * 1024 * 1024,
            core: CoreConfig::default(),
        }
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seed is left out: every key follows from it.
        f.debug_struct("ServerConfig")
            .field("tcp", &self.tcp)
            .field("udp", &self.udp)
            .field("advertised", &self.advertised)
            .field("origins", &self.origins)
            .field("tls", &self.tls)
            .field("max_connections", &self.max_connections)
            .field("max_unread", &self.max_unread)
            .field("media_buffer_len", &self.media_buffer_len)
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// A running server. Dropping it stops everything it started.
///
/// ```
/// use voice_model::UserId;
/// use voice_server::{DEFAULT_CHANNEL, DEFAULT_GUILD, Server, ServerConfig};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = Server::bind(ServerConfig::default()).await?;
/// let ticket = server.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, UserId::new(7));
/// assert_eq!(ticket.endpoint, format!("ws://{}", server.tcp_addr()));
/// server.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    tcp: SocketAddr,
    udp: SocketAddr,
    endpoint: String,
    gateway_url: String,
    api_url: String,
    certificate_pem: Option<String>,
    commands: Option<mpsc::Sender<Order>>,
    commands_dropped: AtomicU64,
    stats: watch::Receiver<ServerStats>,
    events: broadcast::Sender<Event>,
    tickets: Mutex<Random>,
    driver: JoinHandle<()>,
    listener: JoinHandle<()>,
}

impl Server {
    /// Opens the sockets and starts the tasks of a server.
    ///
    /// # Errors
    ///
    /// Returns [`BindError`] when a socket cannot be opened, or a certificate or a seed not be made.
    pub async fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let ServerConfig {
            tcp,
            udp,
            advertised,
            origins,
            tls,
            seed,
            max_connections,
            max_unread,
            media_buffer_len,
            mut core,
        } = config;
        let seed = seed.map_or_else(tls::seed, Ok)?;
        let listening = listen(tcp).map_err(BindError::Tcp)?;
        let tcp = listening.local_addr().map_err(BindError::Tcp)?;
        let socket = MediaSocket::bind(udp, media_buffer_len).await.map_err(BindError::Udp)?;
        let udp = socket.local_addr().map_err(BindError::Udp)?;

        let host = advertised.unwrap_or_else(|| tcp.ip());
        let authority = SocketAddr::new(host, tcp.port()).to_string();
        let tls = if tls { Some(Tls::self_signed(&host.to_string())?) } else { None };
        let (ws, http) = if tls.is_some() { ("wss", "https") } else { ("ws", "http") };
        let endpoint = if tls.is_some() { authority.clone() } else { format!("ws://{authority}") };
        core.media_addr = SocketAddr::new(advertised.unwrap_or_else(|| udp.ip()), udp.port());
        core.endpoint.clone_from(&endpoint);
        core.gateway_url = format!("{ws}://{authority}/gateway");
        let gateway_url = core.gateway_url.clone();

        let mut random = Random::new(seed);
        let (commands, order_queue) = mpsc::channel(COMMAND_QUEUE_LEN);
        let (inbound, inbound_queue) = mpsc::channel(INBOUND_QUEUE_LEN);
        let (events, _) = broadcast::channel(EVENT_QUEUE_LEN);
        let (stats_writer, stats) = watch::channel(ServerStats::default());
        let (turned, turned_reader) = watch::channel(Turned::default());
        let default_port = if tls.is_some() { 443 } else { 80 };
        let loopback =
            (advertised.is_none() && tcp.ip().is_loopback()).then_some(Loopback { port: tcp.port(), default_port });
        let listener = Arc::new(Listener {
            config: core.clone(),
            inbound,
            tls: tls.as_ref().map(|tls| tls.acceptor.clone()),
            slots: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            door: Door { origins, loopback },
            turned,
            numbers: AtomicU64::new(0),
            outbox_len: max_unread.max(1),
        });
        let driver = Driver {
            core: Core::new(now(), core, random.bytes()),
            socket,
            inbound: inbound_queue,
            orders: order_queue,
            stats: stats_writer,
            events: events.clone(),
            turned: turned_reader,
            outboxes: HashMap::new(),
            slow_readers: 0,
            measuring: None,
        };
        Ok(Self {
            tcp,
            udp,
            endpoint,
            gateway_url,
            api_url: format!("{http}://{authority}"),
            certificate_pem: tls.map(|tls| tls.certificate_pem),
            commands: Some(commands),
            commands_dropped: AtomicU64::new(0),
            stats,
            events,
            tickets: Mutex::new(random),
            driver: tokio::spawn(driver.run()),
            listener: tokio::spawn(listener.run(listening)),
        })
    }

    /// Hands out what a client needs to join a channel, without a main gateway.
    ///
    /// A second ticket for the same user in the same guild replaces the first. The ticket is good
    /// at once, unless 65 536 commands wait already: then it is lost, and counted.
    pub fn issue(&self, guild: GuildId, channel: ChannelId, user: UserId) -> Ticket {
        let (session_id, token) = {
            let mut random = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
            (random.hex::<16>(), random.hex::<16>())
        };
        let ticket = Ticket {
            server_id: guild,
            channel_id: channel,
            user_id: user,
            session_id: SessionId::new(session_id),
            token: Token::new(token),
            endpoint: self.endpoint.clone(),
        };
        self.grant(ticket.clone());
        ticket
    }

    /// Accepts a ticket that was made elsewhere, such as one of [`issue`](Self::issue) with another session. It replaces
    /// an older one of the same user in the same guild.
    pub fn grant(&self, ticket: Ticket) {
        self.command(Command::Grant(ticket));
    }

    /// Accepts a standing permission from now on.
    pub fn allow(&self, access: Access) {
        self.command(Command::Allow(access));
    }

    /// Moves a user to another channel of the guild, as a moderator does.
    pub fn move_user(&self, guild: GuildId, user: UserId, channel: ChannelId) {
        self.command(Command::Move { guild, user, channel });
    }

    /// Removes a user from voice, as a moderator does.
    pub fn disconnect_user(&self, guild: GuildId, user: UserId) {
        self.command(Command::Disconnect { guild, user });
    }

    /// Gives a user another voice server, as a change of region does.
    pub fn rehome(&self, guild: GuildId, user: UserId) {
        self.command(Command::Rehome { guild, user });
    }

    /// Lets a user, who is no bot, write a text in a channel; bots that ask for such messages are told.
    pub fn say(&self, guild: GuildId, channel: ChannelId, author: UserId, text: impl Into<String>) {
        self.command(Command::Say { guild, channel, author, text: text.into() });
    }

    /// Closes the voice connections of a user; whether the session survives follows from the code.
    pub fn close_voice(&self, user: UserId, code: CloseCode) {
        self.command(Command::CloseVoice { user, code });
    }

    /// Answers op 4 of the main gateway differently from now on.
    pub fn set_join_answer(&self, answer: JoinAnswer) {
        self.command(Command::SetJoinAnswer(answer));
    }

    /// Makes a fault happen, or last.
    pub fn inject(&self, fault: Fault) {
        self.command(Command::Inject(fault));
    }

    /// Reads the events from now on. Each reader gets all of them.
    pub fn events(&self) -> Events {
        Events::new(self.events.subscribe())
    }

    /// Waits until the statistics say what they should, and returns them.
    ///
    /// `None` means that the server stopped. The wait has no deadline of its own.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&ServerStats) -> bool) -> Option<ServerStats> {
        let mut stats = self.stats.clone();
        stats.wait_for(|stats| wanted(stats)).await.ok().map(|stats| *stats)
    }

    /// What the server has seen and done.
    pub fn stats(&self) -> ServerStats {
        let commands_dropped = self.commands_dropped.load(std::sync::atomic::Ordering::Relaxed);
        ServerStats { commands_dropped, ..*self.stats.borrow() }
    }

    pub(crate) async fn order(&self, order: Order) -> Result<(), MeasureError> {
        let orders = self.commands.as_ref().ok_or(MeasureError::Stopped)?;
        orders.send(order).await.map_err(|_| MeasureError::Stopped)
    }

    /// Where the voice gateway is, as VOICE_SERVER_UPDATE says it: `host:port` with TLS,
    /// `ws://host:port` without.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// The URL of the main gateway.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        self.gateway_url.clone()
    }

    /// The URL before `/api` of the HTTP API.
    #[must_use]
    pub fn api_url(&self) -> String {
        self.api_url.clone()
    }

    /// The address HTTP and WebSockets are served on.
    #[must_use]
    pub fn tcp_addr(&self) -> SocketAddr {
        self.tcp
    }

    /// The address media is served on.
    #[must_use]
    pub fn udp_addr(&self) -> SocketAddr {
        self.udp
    }

    /// The certificate clients have to trust, when TLS is spoken.
    #[must_use]
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate_pem.as_deref()
    }

    /// Stops everything and waits until it has stopped.
    pub async fn shutdown(mut self) {
        self.commands = None;
        self.listener.abort();
        self.driver.abort();
        // Aborted tasks report that they were; there is nothing else to learn.
        let _ = (&mut self.listener).await;
        let _ = (&mut self.driver).await;
    }

    fn command(&self, command: Command) {
        let sent = self.commands.as_ref().is_some_and(|commands| commands.try_send(Order::Command(command)).is_ok());
        if !sent {
            self.commands_dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The listener's task owns those of its connections.
        self.listener.abort();
        self.driver.abort();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("tcp", &self.tcp).field("udp", &self.udp).finish_non_exhaustive()
    }
}

/// Why a server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The TCP socket could not be opened.
    Tcp(io::Error),
    /// The UDP socket could not be opened.
    Udp(io::Error),
    /// The certificate could not be made.
    Certificate(Box<dyn std::error::Error + Send + Sync>),
    /// The system gave no random numbers.
    NoEntropy,
}

impl BindError {
    pub(crate) fn certificate(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Certificate(Box::new(error))
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "the tcp socket could not be opened",
            Self::Udp(_) => "the udp socket could not be opened",
            Self::Certificate(_) => "the certificate could not be made",
            Self::NoEntropy => "the system gave no random numbers",
        })
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tcp(error) | Self::Udp(error) => Some(error),
            Self::Certificate(error) => Some(&**error),
            Self::NoEntropy => None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Commands that wait for the core. A program may issue this many tickets without yielding.
const COMMAND_QUEUE_LEN: usize = 65_536;

/// Gateway messages that wait for the core; when it is full, sockets are not read.
const INBOUND_QUEUE_LEN: usize = 1_024;

/// Events a slow reader may be behind.
const EVENT_QUEUE_LEN: usize = 4_096;
