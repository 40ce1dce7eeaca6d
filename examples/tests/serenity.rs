//! Serenity's own client on the loopback main gateway, and calls of it.

mod common;

use std::{future::IntoFuture, sync::Arc};

use common::{
    BOT, CHANNEL, Counted, Ear, GUILD, OTHER_CHANNEL, TOKEN, end_of, resume_main_gateway, server,
    server_with_two_guilds, undisturbed_until, until, within,
};
use discord_voice::{
    Config, Connector, EndReason, Event, Events, VoiceClient, VoiceManager,
    model::{ChannelId, UserId},
};
use discord_voice_serenity::SerenityVoice;
use serenity::all::{Context, EventHandler, GatewayIntents, HttpBuilder, Ready, ShardManager};
use tokio::{sync::mpsc, task::JoinHandle};
use voice_server::{EventOrder, Fault, FaultKind, JoinAnswer, Server};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_main_gateway_that_is_resumed_does_nothing_to_a_call() {
    let server = server().await;
    let bot = Bot::log_in(&server).await;
    let mut ear = Ear::join(&server, CHANNEL).await;
    let (client, mut events) = bot.join(CHANNEL).await;
    client.play(Counted::default());
    let first = ear.next().await;
    resume_main_gateway(&server).await;
    for number in first + 1..first + 10 {
        assert_eq!(ear.next().await, number);
    }
    // What it says reaches the call again.
    server.move_user(GUILD, BOT, OTHER_CHANNEL);
    undisturbed_until(&mut events, |event| matches!(event, Event::Moved(OTHER_CHANNEL))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_main_gateway_that_is_lost_is_followed_by_a_join_in_the_next_one() {
    let server = server().await;
    let bot = Bot::log_in(&server).await;
    let mut ear = Ear::join(&server, CHANNEL).await;
    let (client, mut events) = bot.join(CHANNEL).await;
    client.play(Counted::default());
    let first = ear.next().await;
    until(&mut events, |event| matches!(event, Event::Connected)).await;
    server.inject(Fault::user(BOT, FaultKind::GatewayInvalidate));
    until(&mut events, |event| matches!(event, Event::Rejoining { .. })).await;
    until(&mut events, |event| matches!(event, Event::Connected)).await;
    assert!(ear.next().await > first, "playback goes on where it was");
    assert_eq!(client.stats().call.rejoins, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_guild_is_joined_on_its_own_shard() {
    let (server, guild, channel) = server_with_two_guilds().await;
    let bot = Bot::log_in_with(&server, 2).await;
    for (guild, channel) in [(GUILD, CHANNEL), (guild, channel)] {
        let mut ear = Ear::join_in(&server, guild, channel).await;
        let joined = within(bot.manager().join(guild, channel).into_future()).await;
        let (client, mut events) = joined.expect("a call");
        client.play(Counted::default());
        assert_eq!(ear.next().await, 0);
        server.disconnect_user(guild, BOT);
        assert_eq!(end_of(&mut events).await, EndReason::Disconnected, "its events come there as well");
        within(ear.client.leave()).await.expect("left");
    }
    bot.log_out().await;
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
        Self::log_in_with(server, 1).await
    }

    async fn log_in_with(server: &Server, count: u32) -> Self {
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
                .event_handler_arc(voice.clone())
                .into_future(),
        );
        let mut client = client.await.expect("a client");
        let shards = Arc::clone(&client.shard_manager);
        let client = tokio::spawn(async move { client.start_shards(count).await.expect("a login") });
        for _ in 0..count {
            assert_eq!(within(ready.recv()).await, Some(BOT));
        }
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
