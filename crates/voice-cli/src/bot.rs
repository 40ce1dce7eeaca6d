//! A bot's own connection to the main gateway, for as long as one call needs it.

use std::{env, fmt, str::FromStr, time::Duration};

use discord_voice::{
    Config, Connector, E2ee, Endpoint, EndpointError, Events, VoiceClient, VoiceManager,
    model::{ChannelId, GuildId, UserId},
};
use discord_voice_twilight::{EVENTS, TwilightGateway, gateway_event};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use twilight_gateway::{
    CloseFrame, ConfigBuilder, Event, EventTypeFlags, Intents, MessageSender, Shard, ShardId, StreamExt as _,
    error::ReceiveMessageErrorType,
};

use crate::error::Error;

/// Where a main gateway listens, other than Discord's own.
#[derive(Clone, Debug)]
pub(crate) struct GatewayUrl(String);

/// Logged in, and answering for a call.
pub(crate) struct Bot {
    manager: VoiceManager,
    guild: GuildId,
    sender: MessageSender,
    shard: JoinHandle<()>,
}

impl Bot {
    /// Logs in with the token from the environment, and joins a channel.
    pub(crate) async fn join(
        guild: GuildId,
        channel: ChannelId,
        gateway: Option<GatewayUrl>,
        (connector, e2ee): (Connector, E2ee),
        limit: Duration,
    ) -> Result<(Self, VoiceClient, Events), Error> {
        let token = env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty()).ok_or(Error::NoBotToken)?;
        let deadline = Instant::now() + limit;
        let mut shard = shard(&token, gateway.as_ref());
        let user = match timeout_at(deadline, log_in(&mut shard)).await {
            Ok(user) => user?,
            Err(_) => return Err(Error::LoginTimedOut { limit }),
        };
        let sender = shard.sender();
        let manager = VoiceManager::builder(user, TwilightGateway::new(sender.clone()))
            .config(Config::default())
            .connector(connector)
            .e2ee(e2ee)
            .build()
            .map_err(|source| Error::Driver { source })?;
        let shard = tokio::spawn(run(shard, manager.clone()));
        let bot = Self { manager, guild, sender, shard };
        let left = deadline.saturating_duration_since(Instant::now());
        match bot.manager.join(guild, channel).timeout(left).await {
            Ok((client, events)) => Ok((bot, client, events)),
            Err(source) => {
                bot.log_out().await;
                Err(Error::Join { limit, source })
            }
        }
    }

    /// Leaves the call and logs out.
    pub(crate) async fn leave(self) {
        self.manager.leave(self.guild).await;
        self.log_out().await;
    }

    async fn log_out(mut self) {
        let _ = self.sender.close(CloseFrame::NORMAL);
        if timeout(LOGOUT_LIMIT, &mut self.shard).await.is_err() {
            self.shard.abort();
        }
    }
}

fn shard(token: &str, gateway: Option<&GatewayUrl>) -> Shard {
    // Twilight's TLS takes the process-wide one. Set already: another one is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = ConfigBuilder::new(token.trim().to_owned(), Intents::GUILDS | Intents::GUILD_VOICE_STATES);
    if let Some(GatewayUrl(url)) = gateway {
        config = config.proxy_url(url.clone());
    }
    Shard::with_config(ShardId::ONE, config.build())
}

/// Waits until the main gateway says who we are.
async fn log_in(shard: &mut Shard) -> Result<UserId, Error> {
    let mut closed = None;
    loop {
        match shard.next_event(EventTypeFlags::READY).await {
            Some(Ok(Event::Ready(ready))) => return Ok(UserId::new(ready.user.id.get())),
            Some(Ok(Event::GatewayClose(frame))) => closed = frame.map(|frame| frame.code),
            Some(Err(error)) if matches!(error.kind(), ReceiveMessageErrorType::Reconnect) => {
                return Err(Error::GatewayUnreachable { source: error.into_source() });
            }
            Some(_) => {}
            None => return Err(Error::LoginRefused { code: closed }),
        }
    }
}

/// Keeps the main gateway's connection, and hands on what concerns voice.
async fn run(mut shard: Shard, manager: VoiceManager) {
    while let Some(event) = shard.next_event(EVENTS).await {
        // What cannot be read or reached now is tried again by the shard itself.
        let Ok(event) = event else { continue };
        let ours = matches!(&event, Event::GatewayClose(Some(frame)) if frame.code == CloseFrame::NORMAL.code);
        if let Some(event) = gateway_event(shard.id(), &event) {
            manager.handle_event(event);
        }
        if ours {
            return;
        }
    }
}

impl FromStr for GatewayUrl {
    type Err = GatewayUrlError;

    fn from_str(text: &str) -> Result<Self, GatewayUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(GatewayUrlError::Scheme)?;
        if !matches!(scheme, "ws" | "wss") {
            return Err(GatewayUrlError::Scheme);
        }
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        format!("{scheme}://{address}").parse::<Endpoint>().map_err(GatewayUrlError::Address)?;
        // The query is the gateway client's.
        if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)) {
            return Err(GatewayUrlError::Path);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// Why a text is not the URL of a main gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatewayUrlError {
    Scheme,
    Address(EndpointError),
    Path,
}

impl fmt::Display for GatewayUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("give a URL that begins with wss://, or ws:// on a loopback address"),
            Self::Address(error) => error.fmt(f),
            Self::Path => f.write_str("give a URL without a query"),
        }
    }
}

impl std::error::Error for GatewayUrlError {}

/// Where the bot's token is taken from: never the command line, which everybody on the machine can read.
pub(crate) const TOKEN_VARIABLE: &str = "DISCORD_TOKEN";
/// How long the main gateway may take to answer the close message.
const LOGOUT_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_encrypted_or_on_this_machine() {
        for url in ["wss://gateway.example", "ws://127.0.0.1:80/gateway/", "ws://[::1]:80", "wss://a.example:443/a-b"] {
            assert!(url.parse::<GatewayUrl>().is_ok(), "{url}");
        }
        for url in ["gateway.example", "http://a.example", "ws://a.example", "wss://", "wss://a b", "wss://a/?v=9"] {
            assert!(url.parse::<GatewayUrl>().is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_gateway_client_can_be_made_whatever_tls_the_build_has() {
        // Twilight builds its TLS configuration here, and panics without a provider for it.
        drop(shard("token", None));
    }
}
