//! Serenity's own client on the loopback main gateway, and calls of it.

use std::{future::IntoFuture, num::NonZeroUsize, sync::Arc, time::Duration};

use discord_voice::{
    Config, ConnectInfo, Connector, Driver, EndReason, Event, Events, FrameBuf, FrameSource, NextFrame, Receive,
    Received, VoiceClient, VoiceManager,
    model::{ChannelId, GuildId, Token, UserId},
};
use discord_voice_serenity::SerenityVoice;
use serenity::all::{Client, Context, EventHandler, GatewayIntents, HttpBuilder, Ready, ShardManager};
use tokio::{sync::mpsc, task::JoinHandle};
use voice_server::{Bots, DEFAULT_CHANNEL, DEFAULT_GUILD, EventOrder, JoinAnswer, Server, ServerConfig};

const GUILD: GuildId = DEFAULT_GUILD;
const CHANNEL: ChannelId = DEFAULT_CHANNEL;
const OTHER_CHANNEL: ChannelId = ChannelId::new(DEFAULT_CHANNEL.get() + 1);
const BOT: UserId = UserId::new(77);
const LISTENER: UserId = UserId::new(78);
const TOKEN: &str = "the-token-of-the-bot";

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_joins_is_heard_leaves_and_joins_again() {
    for order in [EventOrder::StateFirst, EventOrder::ServerFirst] {
        let server = server().await;
        server.set_join_answer(JoinAnswer { order, ..JoinAnswer::default() });
        let bot = Bot::log_in(&server).await;
        let mut ear = Ear::join(&server, CHANNEL).await;
        for _ in 0..2 {
            let (client, mut events) = bot.join(CHANNEL).await;
            client.play(Counted::default());
            while ear.next().await != 0 {}
            assert_eq!(ear.next().await, 1);
            within(bot.manager().leave(GUILD)).await;
            assert_eq!(end_of(&mut events).await, EndReason::Left);
            within(server.wait_for(|stats| stats.sessions == 1)).await.expect("the server runs");
        }
        bot.log_out().await;
        within(ear.client.leave()).await.expect("left");
        within(server.wait_for(|stats| (stats.sessions, stats.connections) == (0, 0))).await.expect("the server runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_follows_to_another_channel_and_ends_with_a_kick() {
    let server = server().await;
    let bot = Bot::log_in(&server).await;
    let (client, mut events) = bot.join(CHANNEL).await;
    client.play(Counted::default());
    until(&mut events, |event| matches!(event, Event::Connected)).await;

    let mut ear = Ear::join(&server, OTHER_CHANNEL).await;
    server.move_user(GUILD, BOT, OTHER_CHANNEL);
    until(&mut events, |event| matches!(event, Event::Moved(OTHER_CHANNEL))).await;
    let first = ear.next().await;
    assert_eq!(ear.next().await, first + 1);

    server.disconnect_user(GUILD, BOT);
    assert_eq!(end_of(&mut events).await, EndReason::Disconnected);
    assert_eq!(bot.manager().guilds(), []);
}

/// A bot on serenity that is logged in.
struct Bot {
    voice: Arc<SerenityVoice>,
    shards: Arc<ShardManager>,
    client: JoinHandle<()>,
}

/// Tells when serenity is ready.
struct Handler(mpsc::UnboundedSender<UserId>);

#[serenity::async_trait]
impl EventHandler for Handler {
    async fn ready(&self, _: Context, ready: Ready) {
        let _ = self.0.send(UserId::new(ready.user.id.get()));
    }
}

impl Bot {
    async fn log_in(server: &Server) -> Self {
        // Serenity asks the HTTP API where the main gateway is.
        let http = HttpBuilder::new(TOKEN).proxy(server.api_url()).ratelimiter_disabled(true).build();
        let voice = SerenityVoice::new(Config::default(), Connector::new());
        assert!(voice.manager().is_none());
        let (sender, mut ready) = mpsc::unbounded_channel();
        let intents = GatewayIntents::GUILDS | GatewayIntents::GUILD_VOICE_STATES;
        let client = within(
            serenity::client::ClientBuilder::new_with_http(http, intents)
                .event_handler(Handler(sender))
                .voice_manager_arc(voice.clone())
                .into_future(),
        );
        let mut client = client.await.expect("a client");
        let shards = Arc::clone(&client.shard_manager);
        let client = tokio::spawn(async move { Client::start(&mut client).await.expect("a login") });
        assert_eq!(within(ready.recv()).await, Some(BOT));
        Self { voice, shards, client }
    }

    fn manager(&self) -> &VoiceManager {
        self.voice.manager().expect("logged in")
    }

    async fn join(&self, channel: ChannelId) -> (VoiceClient, Events) {
        within(self.manager().join(GUILD, channel).into_future()).await.expect("a call")
    }

    async fn log_out(self) {
        within(self.shards.shutdown_all()).await;
        within(self.client).await.expect("no panic");
    }
}

/// Another user in a channel, who joined without a main gateway.
struct Ear {
    client: VoiceClient,
    heard: Receive,
}

impl Ear {
    async fn join(server: &Server, channel: ChannelId) -> Self {
        let ticket = server.issue(GUILD, channel, LISTENER);
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
    async fn next(&mut self) -> u32 {
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
struct Counted {
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

async fn server() -> Server {
    let mut config = ServerConfig::default();
    config.core.bots = Bots::Listed(vec![(Token::new(TOKEN), BOT)]);
    Server::bind(config).await.expect("a server on loopback")
}

async fn until(events: &mut Events, mut wanted: impl FnMut(&Event) -> bool) {
    let found = async { while !wanted(&events.next().await.expect("the call goes on")) {} };
    within(found).await;
}

async fn end_of(events: &mut Events) -> EndReason {
    loop {
        if let Event::Ended(reason) = within(events.next()).await.expect("an end comes") {
            return reason;
        }
    }
}

/// Waits for something with a deadline.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it happens in time")
}
