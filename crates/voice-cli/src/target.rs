//! Which call is joined, and how.

use std::{fs, path::PathBuf, time::Duration};

use discord_voice::{
    Config, ConnectInfo, Connector, Driver, E2ee, Event, Events, VoiceClient,
    dave::DaveEvent,
    model::{ChannelId, GuildId},
};

use crate::{
    args::{E2eeArg, TargetArgs},
    bot::{Bot, GatewayUrl},
    error::Error,
    summary::State,
    terminal,
};

/// Where a command goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// A server of our own, in this process.
    Embedded {
        /// How long a join may take.
        timeout: Duration,
    },
    /// A call of others.
    Others(Others),
}

/// A call on a server that is not ours.
#[derive(Debug)]
pub(crate) struct Others {
    way: Way,
    /// Certificates to trust as well.
    ca_cert: Option<PathBuf>,
    /// What it makes of end-to-end encryption.
    e2ee: E2ee,
    /// How long the join may take.
    timeout: Duration,
}

#[derive(Debug)]
enum Way {
    /// Straight to the voice server, with credentials from elsewhere.
    Direct(ConnectInfo),
    /// Through the main gateway.
    Bot { guild: GuildId, channel: ChannelId, gateway: Option<GatewayUrl> },
}

impl From<TargetArgs> for Target {
    fn from(args: TargetArgs) -> Self {
        let TargetArgs { endpoint, server_id, channel_id, user_id, session_id, token, .. } = args;
        let TargetArgs { guild, channel, gateway, ca_cert, e2ee, timeout, .. } = args;
        let e2ee = match e2ee {
            E2eeArg::Require => E2ee::Require,
            E2eeArg::Prefer => E2ee::Prefer,
            E2eeArg::Allow => E2ee::Allow,
        };
        let direct = endpoint.zip(server_id).zip(channel_id).zip(user_id).zip(session_id).zip(token);
        let direct = direct.map(|(((((endpoint, server_id), channel_id), user_id), session_id), token)| ConnectInfo {
            channel_id,
            endpoint,
            server_id,
            session_id,
            token,
            user_id,
        });
        let bot = guild.zip(channel).map(|(guild, channel)| Way::Bot { guild, channel, gateway });
        // Half of either is wrong usage, which the command line does not let through.
        match direct.map(Way::Direct).or(bot) {
            Some(way) => Self::Others(Others { way, ca_cert, e2ee, timeout }),
            None => Self::Embedded { timeout },
        }
    }
}

impl Others {
    /// Joins the call.
    pub(crate) async fn join(self) -> Result<Call, Error> {
        let Self { way, ca_cert, e2ee, timeout } = self;
        let connector = connector(ca_cert)?;
        match way {
            Way::Direct(info) => Call::join(&driver(connector, e2ee)?, JOINED, info, timeout).await,
            Way::Bot { guild, channel, gateway } => {
                let (bot, client, events) = Bot::join(guild, channel, gateway, (connector, e2ee), timeout).await?;
                let call = Call { client, events, bot: Some(bot) };
                call.say_joined(JOINED);
                Ok(call)
            }
        }
    }
}

/// A joined call.
pub(crate) struct Call {
    pub(crate) client: VoiceClient,
    events: Events,
    /// Who joined, if it was through the main gateway.
    bot: Option<Bot>,
}

impl Call {
    /// Joins, and tells how long it took.
    pub(crate) async fn join(driver: &Driver, who: &str, info: ConnectInfo, timeout: Duration) -> Result<Self, Error> {
        let endpoint = info.endpoint.clone();
        let joined = driver.connect(info).timeout(timeout).await;
        let (client, events) = joined.map_err(|source| Error::Connect { endpoint, timeout, source })?;
        let call = Self { client, events, bot: None };
        call.say_joined(who);
        Ok(call)
    }

    fn say_joined(&self, who: &str) {
        let (stats, e2ee) = (self.client.stats(), self.client.e2ee());
        let mode = stats.mode.map_or_else(String::new, |mode| mode.to_string());
        let end_to_end = match State::from(&e2ee) {
            State::Off => "not end-to-end encrypted",
            State::On => "end-to-end encrypted",
            State::Alone => "end-to-end encrypted, and nothing is sent until somebody else is here",
            State::Keyless => "silent until there is a key for the end-to-end encryption",
        };
        terminal::say_joined(who, &stats.join, &format!("{mode}, {end_to_end}"));
    }

    /// Tells what happened to the call; `None` once it is over.
    pub(crate) async fn news(&mut self) -> Option<&'static str> {
        loop {
            match self.events.next().await? {
                Event::Interrupted(_) => return Some("connection lost, resuming; audio goes on"),
                Event::Released(_) => return Some("the voice server let go, waiting for another"),
                Event::Resumed => return Some("resumed"),
                Event::E2ee(DaveEvent::Upgraded) => return Some("end-to-end encrypted from now on"),
                Event::E2ee(DaveEvent::Downgraded) => return Some("NOT end-to-end encrypted from now on"),
                Event::E2ee(DaveEvent::Removed) => return Some("taken out of the encrypted group; silent until back"),
                Event::Moved(_) => return Some("moved to another channel"),
                Event::Ended(_) => return None,
                _ => {}
            }
        }
    }

    /// Leaves. That nobody acknowledges it changes nothing.
    pub(crate) async fn leave(self) {
        match self.bot {
            Some(bot) => bot.leave().await,
            None => drop(self.client.leave().await),
        }
    }
}

/// Starts the media threads.
pub(crate) fn driver(connector: Connector, e2ee: E2ee) -> Result<Driver, Error> {
    let mut config = Config::default();
    config.e2ee = e2ee;
    // There is no main gateway that could name another server.
    config.follow_timeout = Duration::ZERO;
    Driver::with_connector(config, connector).map_err(|source| Error::Driver { source })
}

/// What opens connections to voice servers.
pub(crate) fn connector(ca_cert: Option<PathBuf>) -> Result<Connector, Error> {
    let Some(path) = ca_cert else { return Ok(Connector::new()) };
    match fs::read(&path) {
        Ok(pem) => Connector::with_extra_roots(&pem).map_err(|source| Error::BadCertificate { path, source }),
        Err(source) => Err(Error::ReadCertificate { path, source }),
    }
}

/// How the call of others is called in the terminal.
const JOINED: &str = "joined";
