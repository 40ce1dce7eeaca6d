//! Twilight's own shard on the loopback main gateway, and what calls do when the gateway says something.

use std::{future::IntoFuture, num::NonZeroUsize, time::Duration};

use discord_voice::{
    Config, ConnectInfo, Driver, EndReason, Event, Events, FrameBuf, FrameSource, JoinError, NextFrame, Receive,
    Received, VoiceClient, VoiceManager,
    model::{ChannelId, GuildId, Token, UserId},
};
use discord_voice_twilight::{TwilightGateway, gateway_event};
use tokio::task::JoinHandle;
use twilight_gateway::{
    CloseFrame, ConfigBuilder, Event as BotEvent, EventTypeFlags, Intents, MessageSender, Shard, ShardId,
    StreamExt as _,
};
use voice_server::{Bots, DEFAULT_CHANNEL, DEFAULT_GUILD, EventOrder, JoinAnswer, Server, ServerConfig};

const GUILD: GuildId = DEFAULT_GUILD;
const CHANNEL: ChannelId = DEFAULT_CHANNEL;
const OTHER_CHANNEL: ChannelId = ChannelId::new(DEFAULT_CHANNEL.get() + 1);
const BOT: UserId = UserId::new(77);
const LISTENER: UserId = UserId::new(78);
const TOKEN: &str = "the-token-of-the-bot";

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

/// A bot on twilight that is logged in.
struct Bot {
    voice: VoiceManager,
    sender: MessageSender,
    shard: JoinHandle<()>,
}

impl Bot {
    async fn log_in(server: &Server) -> Self {
        // Twilight makes its TLS configuration whether or not it is used, from the provider of the process.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = ConfigBuilder::new(TOKEN.to_owned(), Intents::GUILDS | Intents::GUILD_VOICE_STATES)
            .proxy_url(server.gateway_url())
            .build();
        let mut shard = Shard::with_config(ShardId::ONE, config);
        let ready = async {
            loop {
                let event = shard.next_event(EventTypeFlags::READY).await.expect("the shard goes on");
                if let BotEvent::Ready(ready) = event.expect("a login") {
                    return ready;
                }
            }
        };
        let user = UserId::new(within(ready).await.user.id.get());
        assert_eq!(user, BOT);
        let sender = shard.sender();
        let voice = VoiceManager::builder(user, TwilightGateway::new(sender.clone())).build().expect("media threads");
        let shard = tokio::spawn(run(shard, voice.clone()));
        Self { voice, sender, shard }
    }

    async fn join(&self, channel: ChannelId) -> Result<(VoiceClient, Events), JoinError> {
        within(self.voice.join(GUILD, channel).into_future()).await
    }

    async fn log_out(self) {
        self.sender.close(CloseFrame::NORMAL).expect("the shard runs");
        within(self.shard).await.expect("no panic");
    }
}

/// A bot's event loop.
async fn run(mut shard: Shard, voice: VoiceManager) {
    while let Some(event) = shard.next_event(EventTypeFlags::all()).await {
        match event {
            Ok(BotEvent::GatewayClose(_)) => return,
            Ok(event) => {
                if let Some(event) = gateway_event(shard.id(), &event) {
                    voice.handle_event(event);
                }
            }
            // The end of the test takes the server away.
            Err(_) => {}
        }
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

fn frame_of(position: Duration) -> u32 {
    u32::try_from(position.as_millis() / 20).expect("short")
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
