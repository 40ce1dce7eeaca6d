//! A loopback server with one bot account, another user in a channel, and waiting with a deadline.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::{future::IntoFuture, num::NonZeroUsize, time::Duration};

use discord_voice::{
    Config, ConnectInfo, Driver, EndReason, Event, Events, FrameBuf, FrameSource, NextFrame, Receive, Received,
    VoiceClient,
    model::{ChannelId, GuildId, Token, UserId},
};
use voice_server::{
    Bots, DEFAULT_CHANNEL, DEFAULT_GUILD, Event as ServerEvent, EventResult, Fault, FaultKind, GuildConfig, Server,
    ServerConfig,
};

pub(crate) const GUILD: GuildId = DEFAULT_GUILD;
pub(crate) const CHANNEL: ChannelId = DEFAULT_CHANNEL;
pub(crate) const OTHER_CHANNEL: ChannelId = ChannelId::new(DEFAULT_CHANNEL.get() + 1);
pub(crate) const BOT: UserId = UserId::new(77);
pub(crate) const LISTENER: UserId = UserId::new(78);
pub(crate) const TOKEN: &str = "the-token-of-the-bot";

/// Another user in a channel, who joined without a main gateway.
pub(crate) struct Ear {
    pub(crate) client: VoiceClient,
    pub(crate) heard: Receive,
}

impl Ear {
    pub(crate) async fn join(server: &Server, channel: ChannelId) -> Self {
        Self::join_in(server, GUILD, channel).await
    }

    pub(crate) async fn join_in(server: &Server, guild: GuildId, channel: ChannelId) -> Self {
        let ticket = server.issue(guild, channel, LISTENER);
        let info = ConnectInfo {
            channel_id: ticket.channel_id,
            endpoint: ticket.endpoint.parse().expect("an endpoint"),
            server_id: ticket.server_id,
            session_id: ticket.session_id,
            token: ticket.token,
            user_id: ticket.user_id,
        };
        let driver = Driver::new(Config::default()).expect("media threads");
        let (client, _events) = within(driver.connect(info).into_future()).await.expect("a call");
        let heard = client.receive(NonZeroUsize::new(500).expect("not zero"));
        Self { client, heard }
    }

    /// The number of the bot's next frame, silence left out.
    pub(crate) async fn next(&mut self) -> u32 {
        loop {
            if let Received::Frame { user, frame, .. } = within(self.heard.next()).await.expect("the call goes on") {
                assert_eq!(user, BOT);
                if let [0xF8, number @ ..] = frame.as_slice()
                    && let Ok(number) = <[u8; 4]>::try_from(number)
                {
                    return u32::from_be_bytes(number);
                }
            }
        }
    }
}

/// Frames that say which ones they are, without end.
#[derive(Default)]
pub(crate) struct Counted {
    next: u32,
}

impl FrameSource for Counted {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        let [a, b, c, d] = self.next.to_be_bytes();
        out.set(&[0xF8, a, b, c, d]).expect("it fits");
        self.next += 1;
        NextFrame::Ready
    }
}

pub(crate) fn frame_of(position: Duration) -> u32 {
    u32::try_from(position.as_millis() / 20).expect("short")
}

pub(crate) async fn server() -> Server {
    server_with(ServerConfig::default()).await
}

/// A server on which the bot is in a second guild, of the other one of two shards; and that guild with its channel.
pub(crate) async fn server_with_two_guilds() -> (Server, GuildId, ChannelId) {
    let (guild, channel) = (GuildId::new(GUILD.get() + (1 << 22)), ChannelId::new(CHANNEL.get() + 100));
    let mut config = ServerConfig::default();
    let mut other = GuildConfig::default();
    (other.id, other.channels) = (guild, vec![channel]);
    config.core.guilds.push(other);
    (server_with(config).await, guild, channel)
}

/// Lets the main gateway ask for a reconnect, and waits until the bot has resumed its session there.
pub(crate) async fn resume_main_gateway(server: &Server) {
    let mut events = server.events();
    server.inject(Fault::user(BOT, FaultKind::GatewayReconnect));
    let resumed = async {
        while let Some(event) = events.next().await {
            match event {
                EventResult::Event(ServerEvent::GatewayResumed { user: BOT }) => return,
                EventResult::Event(ServerEvent::LoggedIn { .. }) => panic!("a new session"),
                _ => {}
            }
        }
    };
    within(resumed).await;
}

/// The call goes on until `wanted`, and none of what happens to it before is a loss.
pub(crate) async fn undisturbed_until(events: &mut Events, wanted: impl Fn(&Event) -> bool) {
    until(events, |event| {
        let is_loss = matches!(event, Event::Rejoining { .. } | Event::Interrupted(_) | Event::Ended(_));
        assert!(!is_loss, "{event:?}");
        wanted(event)
    })
    .await;
}

pub(crate) async fn server_with(mut config: ServerConfig) -> Server {
    config.core.bots = Bots::Listed(vec![(Token::new(TOKEN), BOT)]);
    Server::bind(config).await.expect("a server on loopback")
}

pub(crate) async fn until(events: &mut Events, mut wanted: impl FnMut(&Event) -> bool) {
    let found = async { while !wanted(&events.next().await.expect("the call goes on")) {} };
    within(found).await;
}

pub(crate) async fn end_of(events: &mut Events) -> EndReason {
    loop {
        if let Event::Ended(reason) = within(events.next()).await.expect("an end comes") {
            return reason;
        }
    }
}

/// Waits for something with a deadline.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it happens in time")
}
