//! A call on a server in this process: over loopback, with TLS, end-to-end encrypted, and nothing left out.

use std::time::Duration;

use discord_voice::{ConnectInfo, Connector, Driver, E2ee, model::UserId};
use voice_server::{DEFAULT_CHANNEL, DEFAULT_GUILD, DaveConfig, DaveMode, Server, ServerConfig};

use crate::{
    error::Error,
    target::{Call, driver},
    terminal,
};

/// The server and its two guests, the listener being there first.
pub(crate) struct Embedded {
    server: Server,
    pub(crate) listener: Call,
    pub(crate) player: Call,
}

impl Embedded {
    pub(crate) async fn start(timeout: Duration) -> Result<Self, Error> {
        let mut config = ServerConfig { tls: true, ..ServerConfig::default() };
        config.core.dave = DaveConfig::new(DaveMode::Required);
        let server = Server::bind(config).await.map_err(|source| Error::Embedded { source })?;
        let (tcp, udp) = (server.tcp_addr(), server.udp_addr());
        terminal::say(format_args!("{:<9} {tcp} with TLS, media on {udp}", "server"));
        let pem = server.certificate_pem().expect("a server with TLS has a certificate");
        let connector = Connector::with_extra_roots(pem.as_bytes()).expect("the server's certificate can be a root");
        let driver = driver(connector, E2ee::Require)?;
        let listener = join(&server, &driver, "listener", LISTENER, timeout).await?;
        let player = join(&server, &driver, "player", PLAYER, timeout).await?;
        Ok(Self { server, listener, player })
    }

    /// Leaves both calls and stops the server.
    pub(crate) async fn stop(self) {
        self.player.leave().await;
        self.listener.leave().await;
        self.server.shutdown().await;
    }
}

async fn join(server: &Server, driver: &Driver, who: &str, user: UserId, timeout: Duration) -> Result<Call, Error> {
    let ticket = server.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, user);
    let info = ConnectInfo {
        channel_id: ticket.channel_id,
        endpoint: ticket.endpoint.parse().expect("the server's endpoint is one"),
        server_id: ticket.server_id,
        session_id: ticket.session_id,
        token: ticket.token,
        user_id: ticket.user_id,
    };
    Call::join(driver, who, info, timeout).await
}

const LISTENER: UserId = UserId::new(1);
const PLAYER: UserId = UserId::new(2);
