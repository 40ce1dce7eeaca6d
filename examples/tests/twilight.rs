//! Twilight's own shard on the loopback main gateway, and what calls do when the gateway says something.

mod common;

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{
    BOT, CHANNEL, Counted, Ear, GUILD, OTHER_CHANNEL, TOKEN, end_of, frame_of, resume_main_gateway, server,
    server_with_two_guilds, undisturbed_until, until, within,
};
use discord_voice::{EndReason, Event, Events, JoinError, VoiceClient, VoiceManager, model::ChannelId};
use discord_voice_twilight::{TwilightGateway, gateway_event};
use tokio::task::JoinHandle;
use twilight_gateway::{
    CloseFrame, ConfigBuilder, Event as BotEvent, EventTypeFlags, Intents, MessageSender, Shard, ShardId,
    StreamExt as _,
};
use voice_server::{EventOrder, Fault, FaultKind, JoinAnswer, Server};

#[tokio::test(flavor = "multi_thread")]
async fn both_orders_of_the_two_events_lead_to_audio() {
    for order in [EventOrder::StateFirst, EventOrder::ServerFirst] {
        let server = server().await;
        server.set_join_answer(JoinAnswer { order, ..JoinAnswer::default() });
        let bot = Bot::log_in(&server).await;
        let mut ear = Ear::join(&server, CHANNEL).await;
        let (client, _events) = bot.join(CHANNEL).await.expect("a call");
        client.play(Counted::default());
        for number in 0..10 {
            assert_eq!(ear.next().await, number);
        }
        bot.log_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_endpoint_is_waited_out() {
    let server = server().await;
    let null_endpoint_first = Some(Duration::from_millis(50));
    server.set_join_answer(JoinAnswer { null_endpoint_first, ..JoinAnswer::default() });
    let bot = Bot::log_in(&server).await;
    let mut ear = Ear::join(&server, CHANNEL).await;
    let (client, _events) = bot.join(CHANNEL).await.expect("a call");
    client.play(Counted::default());
    assert_eq!(ear.next().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_channel_is_a_join_that_times_out_and_hinders_no_later_one() {
    let server = server().await;
    server.set_join_answer(JoinAnswer { silent: true, ..JoinAnswer::default() });
    let bot = Bot::log_in(&server).await;
    match within(bot.voice.join(GUILD, CHANNEL).timeout(Duration::from_millis(300)).into_future()).await {
        Err(JoinError::TimedOut(missing)) => assert!(missing.voice_state && missing.voice_server),
        other => panic!("{other:?}"),
    }
    assert_eq!(bot.voice.guilds(), []);

    server.set_join_answer(JoinAnswer::default());
    let (client, _events) = bot.join(CHANNEL).await.expect("a seat is free again");
    assert!(!client.is_ended());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_follows_to_another_channel_and_playback_goes_on() {
    for order in [EventOrder::StateFirst, EventOrder::ServerFirst] {
        let server = server().await;
        server.set_join_answer(JoinAnswer { order, ..JoinAnswer::default() });
        let bot = Bot::log_in(&server).await;
        let mut ear = Ear::join(&server, CHANNEL).await;
        let (client, mut events) = bot.join(CHANNEL).await.expect("a call");
        let playback = client.play(Counted::default());
        assert_eq!(ear.next().await, 0);
        until(&mut events, |event| matches!(event, Event::Connected)).await;

        // One user hears one channel of a guild at a time.
        within(ear.client.leave()).await.expect("left");
        let mut elsewhere = Ear::join(&server, OTHER_CHANNEL).await;
        server.move_user(GUILD, BOT, OTHER_CHANNEL);
        let (mut moved, mut connected) = (false, false);
        until(&mut events, |event| {
            moved |= matches!(event, Event::Moved(OTHER_CHANNEL));
            connected |= matches!(event, Event::Connected);
            moved && connected
        })
        .await;
        let first = elsewhere.next().await;
        assert!(first > 0, "playback goes on where it was");
        assert_eq!(elsewhere.next().await, first + 1);
        assert!(!client.is_ended());
        assert!(playback.position() > Duration::ZERO);
        assert_eq!(bot.voice.guilds(), [GUILD]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_voice_server_is_followed_and_playback_goes_on() {
    let server = server().await;
    let bot = Bot::log_in(&server).await;
    let mut ear = Ear::join(&server, CHANNEL).await;
    let (client, mut events) = bot.join(CHANNEL).await.expect("a call");
    client.play(Counted::default());
    assert_eq!(ear.next().await, 0);
    until(&mut events, |event| matches!(event, Event::Connected)).await;

    server.rehome(GUILD, BOT);
    until(&mut events, |event| matches!(event, Event::Connected)).await;
    // A frame that the source gives after this is sent on the new connection.
    let position = frame_of(client.playback().expect("it plays").position());
    while ear.next().await <= position {}
    assert!(!client.is_ended());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_ends_the_call_and_the_bot_can_join_again() {
    let server = server().await;
    let bot = Bot::log_in(&server).await;
    let mut ear = Ear::join(&server, CHANNEL).await;
    let (client, mut events) = bot.join(CHANNEL).await.expect("a call");
    server.disconnect_user(GUILD, BOT);
    assert_eq!(end_of(&mut events).await, EndReason::Disconnected);
    assert_eq!(within(client.ended()).await, EndReason::Disconnected);
    assert_eq!(bot.voice.guilds(), []);

    let (client, _events) = bot.join(CHANNEL).await.expect("another call");
    client.play(Counted::default());
    assert_eq!(ear.next().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_leaves_and_joins_again() {
    let server = server().await;
    let bot = Bot::log_in(&server).await;
    let mut ear = Ear::join(&server, CHANNEL).await;
    for _ in 0..3 {
        let (client, mut events) = bot.join(CHANNEL).await.expect("a call");
        client.play(Counted::default());
        while ear.next().await != 0 {}
        within(bot.voice.leave(GUILD)).await;
        assert_eq!(end_of(&mut events).await, EndReason::Left);
        // The main gateway knows as well: only the ear is left.
        within(server.wait_for(|stats| stats.sessions == 1)).await.expect("the server runs");
    }
    bot.log_out().await;
    within(ear.client.leave()).await.expect("left");
    within(server.wait_for(|stats| (stats.sessions, stats.connections) == (0, 0))).await.expect("the server runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_gateway_that_is_resumed_does_nothing_to_a_call() {
    let server = server().await;
    let bot = Bot::log_in(&server).await;
    let mut ear = Ear::join(&server, CHANNEL).await;
    let (client, mut events) = bot.join(CHANNEL).await.expect("a call");
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
    let (client, mut events) = bot.join(CHANNEL).await.expect("a call");
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
        let (client, mut events) = within(bot.voice.join(guild, channel).into_future()).await.expect("a call");
        client.play(Counted::default());
        assert_eq!(ear.next().await, 0);
        server.disconnect_user(guild, BOT);
        assert_eq!(end_of(&mut events).await, EndReason::Disconnected, "its events come there as well");
        within(ear.client.leave()).await.expect("left");
    }
    bot.log_out().await;
}

/// A bot on twilight that is logged in.
struct Bot {
    voice: VoiceManager,
    senders: Vec<MessageSender>,
    shards: Vec<JoinHandle<()>>,
    is_leaving: Arc<AtomicBool>,
}

impl Bot {
    async fn log_in(server: &Server) -> Self {
        Self::log_in_with(server, 1).await
    }

    async fn log_in_with(server: &Server, count: u32) -> Self {
        // Twilight makes its TLS configuration whether or not it is used, from the provider of the process.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = ConfigBuilder::new(TOKEN.to_owned(), Intents::GUILDS | Intents::GUILD_VOICE_STATES)
            .proxy_url(server.gateway_url())
            .build();
        let mut shards = Vec::new();
        for number in 0..count {
            let mut shard = Shard::with_config(ShardId::new(number, count), config.clone());
            let ready = async {
                loop {
                    let event = shard.next_event(EventTypeFlags::READY).await.expect("the shard goes on");
                    if let BotEvent::Ready(ready) = event.expect("a login") {
                        return ready;
                    }
                }
            };
            assert_eq!(within(ready).await.user.id.get(), BOT.get());
            shards.push(shard);
        }
        let senders: Vec<_> = shards.iter().map(Shard::sender).collect();
        let gateway = match &*senders {
            [only] => TwilightGateway::new(only.clone()),
            all => TwilightGateway::with_shards((0..).zip(all.iter().cloned()), count),
        };
        let voice = VoiceManager::builder(BOT, gateway).build().expect("media threads");
        let is_leaving = Arc::new(AtomicBool::new(false));
        let run = |shard| tokio::spawn(run(shard, voice.clone(), Arc::clone(&is_leaving)));
        let shards = shards.into_iter().map(run).collect();
        Self { voice, senders, shards, is_leaving }
    }

    async fn join(&self, channel: ChannelId) -> Result<(VoiceClient, Events), JoinError> {
        within(self.voice.join(GUILD, channel).into_future()).await
    }

    async fn log_out(self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        for (sender, shard) in self.senders.into_iter().zip(self.shards) {
            sender.close(CloseFrame::NORMAL).expect("the shard runs");
            within(shard).await.expect("no panic");
        }
    }
}

/// A bot's event loop.
async fn run(mut shard: Shard, voice: VoiceManager, is_leaving: Arc<AtomicBool>) {
    while let Some(event) = shard.next_event(EventTypeFlags::all()).await {
        match event {
            // That of a session that was lost has the same code.
            Ok(BotEvent::GatewayClose(_)) if is_leaving.load(Ordering::Relaxed) => return,
            Ok(event) => {
                if let Some(event) = gateway_event(shard.id(), &event) {
                    voice.handle_event(event);
                }
            }
            // The end of the test takes the server away.
            Err(_) => return,
        }
    }
}
