//! Which call is joined, and how.

use std::{fs, path::PathBuf, time::Duration};

use discord_voice::{Config, ConnectInfo, Connector, Driver, Event, Events, VoiceClient};

use crate::{args::TargetArgs, error::Error, terminal};

/// Where a command goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// A server of our own, in this process.
    Embedded {
        /// How long a join may take.
        timeout: Duration,
    },
    /// A voice server, with credentials from elsewhere.
    Direct {
        /// The six values.
        info: ConnectInfo,
        /// Certificates to trust as well.
        ca_cert: Option<PathBuf>,
        /// How long the join may take.
        timeout: Duration,
    },
}

impl From<TargetArgs> for Target {
    fn from(args: TargetArgs) -> Self {
        let TargetArgs { endpoint, server_id, channel_id, user_id, session_id, token, ca_cert, timeout } = args;
        match (endpoint, server_id, channel_id, user_id, session_id, token) {
            (Some(endpoint), Some(server_id), Some(channel_id), Some(user_id), Some(session_id), Some(token)) => {
                let info = ConnectInfo { channel_id, endpoint, server_id, session_id, token, user_id };
                Self::Direct { info, ca_cert, timeout }
            }
            _ => Self::Embedded { timeout },
        }
    }
}

/// A joined call.
pub(crate) struct Call {
    pub(crate) client: VoiceClient,
    pub(crate) events: Events,
}

impl Call {
    /// Joins a voice server with credentials from elsewhere.
    pub(crate) async fn direct(info: ConnectInfo, ca_cert: Option<PathBuf>, timeout: Duration) -> Result<Self, Error> {
        let connector = connector(ca_cert)?;
        let driver = driver(connector)?;
        Self::join(&driver, "joined", info, timeout).await
    }

    /// Joins, and tells how long it took.
    pub(crate) async fn join(driver: &Driver, who: &str, info: ConnectInfo, timeout: Duration) -> Result<Self, Error> {
        let endpoint = info.endpoint.clone();
        let joined = driver.connect(info).timeout(timeout).await;
        let (client, events) = joined.map_err(|source| Error::Connect { endpoint, timeout, source })?;
        let call = Self { client, events };
        call.say_joined(who);
        Ok(call)
    }

    fn say_joined(&self, who: &str) {
        let stats = self.client.stats();
        terminal::say_joined(who, &stats.join, &stats.mode.map_or_else(String::new, |mode| mode.to_string()));
    }

    /// Tells what happened to the call; `None` once it is over.
    pub(crate) async fn news(&mut self) -> Option<&'static str> {
        loop {
            match self.events.next().await? {
                Event::Interrupted(_) => return Some("connection lost, resuming; audio goes on"),
                Event::Resumed => return Some("resumed"),
                Event::Moved(_) => return Some("moved to another channel"),
                Event::Ended(_) => return None,
                _ => {}
            }
        }
    }

    /// Leaves. That nobody acknowledges it changes nothing.
    pub(crate) async fn leave(self) {
        let _ = self.client.leave().await;
    }
}

/// Starts the media threads.
pub(crate) fn driver(connector: Connector) -> Result<Driver, Error> {
    Driver::with_connector(Config::default(), connector).map_err(|source| Error::Driver { source })
}

/// What opens connections to voice servers.
pub(crate) fn connector(ca_cert: Option<PathBuf>) -> Result<Connector, Error> {
    let Some(path) = ca_cert else { return Ok(Connector::new()) };
    match fs::read(&path) {
        Ok(pem) => Connector::with_extra_roots(&pem).map_err(|source| Error::BadCertificate { path, source }),
        Err(source) => Err(Error::ReadCertificate { path, source }),
    }
}
