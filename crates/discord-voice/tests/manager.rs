//! One call per guild: joins, moves and leaves through a main gateway that answers as told.

mod common;

use std::{
    error::Error,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use common::{ALICE, CHANNEL, Counted, GUILD, capacity, next_sound, numbered, server, within};
use discord_voice::{
    Config, EndReason, Event, GatewayEvent, JoinError, Shard, VoiceGateway, VoiceManager,
    model::{
        ChannelId, CloseAction, CloseCode, ClosePolicy, GuildId, SessionId, UpdateVoiceState, UserId,
        VoiceServerUpdate, VoiceState,
    },
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use voice_server::Server;

/// A main gateway that answers opcode 4 with tickets of a loopback server.
struct Gateway {
    server: Arc<Server>,
    manager: OnceLock<VoiceManager>,
    wishes: Mutex<Vec<UpdateVoiceState>>,
    answer: Mutex<Answer>,
    queue: UnboundedSender<(UpdateVoiceState, Answer)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    StateFirst,
    ServerFirst,
    StateOnly,
    Nothing,
    /// Not even a leave is answered.
    Silence,
}

struct Handle(Arc<Gateway>);

impl VoiceGateway for Handle {
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.wishes.lock().expect("no panic").push(update);
        let answer = *self.0.answer.lock().expect("no panic");
        // As in life, answers come later, and in the order of the wishes.
        Ok(self.0.queue.send((update, answer))?)
    }
}

impl Gateway {
    async fn start(answer: Answer) -> Arc<Self> {
        Self::start_with(answer, Config::default()).await
    }

    async fn start_with(answer: Answer, config: Config) -> Arc<Self> {
        let (queue, mut wishes) = unbounded_channel();
        let gateway = Arc::new(Self {
            server: Arc::new(server().await),
            manager: OnceLock::new(),
            wishes: Mutex::default(),
            answer: Mutex::new(answer),
            queue,
        });
        let answering = Arc::clone(&gateway);
        tokio::spawn(async move {
            while let Some((update, answer)) = wishes.recv().await {
                answering.answer(update, answer);
            }
        });
        let manager = gateway.other_process(ALICE, config);
        gateway.manager.set(manager).expect("set once");
        gateway
    }

    /// A manager of another process.
    fn other_process(self: &Arc<Self>, user: UserId, config: Config) -> VoiceManager {
        VoiceManager::builder(user, Handle(Arc::clone(self))).config(config).build().expect("media threads")
    }

    fn manager(&self) -> &VoiceManager {
        self.manager.get().expect("set at the start")
    }

    fn answer(&self, update: UpdateVoiceState, answer: Answer) {
        let manager = self.manager();
        if answer == Answer::Silence {
            return;
        }
        let Some(channel) = update.channel_id else {
            return manager.handle_event(state(None, "any"));
        };
        if answer == Answer::Nothing {
            // A new ticket would take an older one's place.
            return;
        }
        let mut ticket = self.server.issue(update.guild_id, channel, ALICE);
        // All joins are of one session of the main gateway.
        ticket.session_id = SessionId::new("any");
        self.server.grant(ticket.clone());
        let state = state(Some(channel), ticket.session_id.expose());
        let server = VoiceServerUpdate {
            endpoint: Some(ticket.endpoint.clone()),
            guild_id: update.guild_id,
            token: ticket.token.clone(),
        };
        match answer {
            Answer::StateFirst => (manager.handle_event(state), manager.handle_event(server)).1,
            Answer::ServerFirst => (manager.handle_event(server), manager.handle_event(state)).1,
            Answer::StateOnly => manager.handle_event(state),
            Answer::Nothing | Answer::Silence => {}
        }
    }

    fn channels_wished(&self) -> Vec<Option<ChannelId>> {
        self.wishes.lock().expect("no panic").iter().map(|wish| wish.channel_id).collect()
    }
}

fn state(channel_id: Option<ChannelId>, session_id: &str) -> VoiceState {
    VoiceState { channel_id, guild_id: Some(GUILD), ..VoiceState::new(ALICE, SessionId::new(session_id)) }
}

async fn end_of(events: &mut discord_voice::Events) -> EndReason {
    loop {
        if let Event::Ended(reason) = within(events.next()).await.expect("an end comes") {
            return reason;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_orders_of_the_two_events_join() {
    for answer in [Answer::StateFirst, Answer::ServerFirst] {
        let gateway = Gateway::start(answer).await;
        let (client, mut events) =
            within(async { gateway.manager().join(GUILD, CHANNEL).await }).await.expect("a call");
        assert_eq!(gateway.manager().guilds(), [GUILD]);
        within(client.leave()).await.expect("left");
        assert_eq!(end_of(&mut events).await, EndReason::Left);
        assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None]);
        assert_eq!(gateway.manager().guilds(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_nobody_answers_ends_with_what_is_missing_and_takes_the_wish_back() {
    for (answer, voice_state) in [(Answer::Nothing, true), (Answer::StateOnly, false)] {
        let gateway = Gateway::start(answer).await;
        let join = gateway.manager().join(GUILD, CHANNEL).timeout(Duration::from_secs(5));
        match within(async { join.await }).await {
            Err(JoinError::TimedOut(missing)) => {
                assert_eq!((missing.voice_state, missing.voice_server), (voice_state, true));
            }
            other => panic!("{other:?}"),
        }
        common::until("the wish is taken back", || gateway.channels_wished().len() > 3).await;
        assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None, Some(CHANNEL), None]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_several_joins_counts() {
    let gateway = Gateway::start(Answer::Nothing).await;
    let first = tokio::spawn({
        let manager = gateway.manager().clone();
        async move { manager.join(GUILD, CHANNEL).await }
    });
    common::until("the first wish", || !gateway.channels_wished().is_empty()).await;
    *gateway.answer.lock().expect("no panic") = Answer::StateFirst;
    let other = ChannelId::new(77);
    let second = within(async { gateway.manager().join(GUILD, other).await }).await;
    assert!(matches!(within(first).await.expect("no panic"), Err(JoinError::Superseded)));
    second.expect("the second join stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_gives_up_a_join() {
    let gateway = Gateway::start(Answer::Nothing).await;
    let join = tokio::spawn({
        let manager = gateway.manager().clone();
        async move { manager.join(GUILD, CHANNEL).await }
    });
    common::until("the wish", || !gateway.channels_wished().is_empty()).await;
    within(gateway.manager().leave(GUILD)).await;
    assert!(matches!(within(join).await.expect("no panic"), Err(JoinError::Superseded)));
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_again_leaves_the_old_call_first() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let join = || within(async { gateway.manager().join(GUILD, CHANNEL).await });
    let (_old, mut old_events) = join().await.expect("a call");
    let (new, _events) = join().await.expect("another");
    assert_eq!(end_of(&mut old_events).await, EndReason::Left);
    assert!(!new.is_ended());
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None, Some(CHANNEL)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_ends_the_call_and_nothing_is_asked_of_the_gateway() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let (client, mut events) = within(async { gateway.manager().join(GUILD, CHANNEL).await }).await.expect("a call");
    gateway.manager().handle_event(state(None, "any"));
    assert_eq!(end_of(&mut events).await, EndReason::Disconnected);
    assert!(client.is_ended());
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_voice_server_is_followed_and_what_plays_and_listens_carries_over() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let manager = gateway.manager();
    let (client, mut events) = within(async { manager.join(GUILD, CHANNEL).await }).await.expect("a call");
    let mut heard = client.receive(capacity(500));
    let playback = client.play(Counted::new(100_000));
    common::until("audio", || playback.position() >= Duration::from_millis(100)).await;

    // The region changes: another server, another token, no voice state.
    let second_server = server().await;
    let driver = common::driver(&second_server);
    let (listener, _listener_events) = common::join(&second_server, &driver, common::BOB).await;
    let mut listener_heard = listener.receive(capacity(500));
    let ticket = second_server.issue(GUILD, CHANNEL, ALICE);
    gateway.manager().handle_event(state(Some(CHANNEL), ticket.session_id.expose()));
    let update = VoiceServerUpdate { endpoint: Some(ticket.endpoint), guild_id: GUILD, token: ticket.token };
    manager.handle_event(update.clone());
    // The same one again changes nothing.
    manager.handle_event(update);

    let (user, first) = next_sound(&mut listener_heard).await;
    assert_eq!(user, ALICE);
    let number = u32::from_be_bytes([first[1], first[2], first[3], first[4]]);
    assert!(number > 0, "playback goes on where it was");
    listener.play(Counted::new(3));
    assert_eq!(next_sound(&mut heard).await, (common::BOB, numbered(0).to_vec()));
    let mut connected = 0;
    while connected < 2 {
        connected += u32::from(matches!(within(events.next()).await.expect("the call goes on"), Event::Connected));
    }
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL)], "nothing was asked of the main gateway");
    assert!(!client.is_ended());
}

#[tokio::test]
async fn joining_right_after_the_last_handle_was_dropped_is_not_undone_by_the_old_call() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let join = || within(async { gateway.manager().join(GUILD, CHANNEL).await });
    drop(join().await.expect("a call"));
    let (client, _events) = join().await.expect("another");
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None, Some(CHANNEL)]);
    within(client.play(Counted::new(5)).finished()).await;
    assert!(!client.is_ended());
    assert_eq!(gateway.channels_wished().len(), 3);
}

#[tokio::test]
async fn a_join_that_is_superseded_while_it_connects_does_not_end_its_successor() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let slow = voice_server::FaultKind::Delay(Duration::from_millis(300));
    gateway.server.inject(voice_server::Fault::all(slow));
    let first = tokio::spawn({
        let manager = gateway.manager().clone();
        async move { manager.join(GUILD, CHANNEL).await }
    });
    within(gateway.server.wait_for(|stats| stats.connections == 1)).await.expect("the server runs");
    let second = within(async { gateway.manager().join(GUILD, CHANNEL).await }).await;
    assert!(matches!(within(first).await.expect("no panic"), Err(JoinError::Superseded)));
    let (client, _events) = second.expect("the second join stands");
    within(client.play(Counted::new(5)).finished()).await;
    assert!(!client.is_ended());
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None, Some(CHANNEL)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_another_process_gave_up_goes_on_through_the_manager_that_takes_it_over() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let (client, mut events) =
        within(async { gateway.manager().join(GUILD, CHANNEL).self_mute(true).await }).await.expect("a call");
    let handover = within(client.detach()).await.expect("it is connected");
    assert_eq!(end_of(&mut events).await, EndReason::Detached);
    let copy = discord_voice::Handover::decode(&handover.encode()).expect("the same");
    let stranger = gateway.other_process(common::BOB, Config::default());
    let refused = within(async { stranger.attach(copy).await }).await;
    assert!(matches!(refused, Err(JoinError::OtherUser)), "{refused:?}");

    let (client, mut events) = within(async { gateway.manager().attach(handover).await }).await.expect("the same call");
    assert_eq!(gateway.manager().guilds(), [GUILD]);
    within(client.play(Counted::new(5)).finished()).await;
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL)], "nothing was asked of the main gateway");
    let other = ChannelId::new(77);
    client.move_to(other);
    while !matches!(within(events.next()).await.expect("the call goes on"), Event::Moved(channel) if channel == other) {
    }
    let muted = gateway.wishes.lock().expect("no panic").iter().all(|wish| wish.self_mute);
    assert!(muted, "what was decided there holds here");
    within(client.leave()).await.expect("left");
    assert_eq!(end_of(&mut events).await, EndReason::Left);
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_a_key_that_is_nearly_spent_is_replaced_before_a_nonce_repeats() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let (client, mut events) = within(async { gateway.manager().join(GUILD, CHANNEL).await }).await.expect("a call");
    let handover = within(client.detach()).await.expect("it is connected");
    assert_eq!(end_of(&mut events).await, EndReason::Detached);
    // Two years and eight months later.
    let text = handover.encode();
    let begin = text.find("\"packets_left\":").expect("how much the key is good for") + "\"packets_left\":".len();
    let end = begin + text[begin..].find([',', '}']).expect("more of it");
    let old = discord_voice::Handover::decode(&format!("{}499{}", &text[..begin], &text[end..])).expect("a call");
    drop(handover);

    let (client, mut events) = within(async { gateway.manager().attach(old).await }).await.expect("the same call");
    let playback = client.play(Counted::new(60));
    while !matches!(within(events.next()).await.expect("the call goes on"), Event::Rejoining { .. }) {}
    while !matches!(within(events.next()).await.expect("the call goes on"), Event::Connected) {}
    within(playback.finished()).await;
    let stats = within(client.fresh_stats()).await;
    assert_eq!(
        (stats.call.connections, stats.call.rejoins),
        (1, 1),
        "what was taken over was no new connection: {stats:?}"
    );
    assert_eq!(stats.media.sent.frames_refused, 0, "it was replaced in time");
}

#[tokio::test]
async fn w15_a_call_that_nobody_holds_any_more_leaves_once_and_waits_asleep() {
    let mut config = Config::default();
    config.leave_timeout = Duration::from_secs(1);
    let gateway = Gateway::start_with(Answer::StateFirst, config).await;
    let (client, mut events) = within(async { gateway.manager().join(GUILD, CHANNEL).await }).await.expect("a call");
    let clone = client.clone();
    drop(client);
    within(clone.play(Counted::new(5)).finished()).await;
    assert!(!clone.is_ended(), "only the last handle leaves");
    *gateway.answer.lock().expect("no panic") = Answer::Silence;
    let before = busy();
    drop(clone);
    assert_eq!(end_of(&mut events).await, EndReason::Left);
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None]);
    if let (Some(before), Some(after)) = (before, busy()) {
        // One that asks to leave again and again is busy for the whole second.
        assert!(after - before < Duration::from_millis(150), "{:?}", after - before);
    }
}

/// How long this thread, on which control runs, was busy. `None` where the system does not tell.
fn busy() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().map(Duration::from_nanos).ok()
}

#[tokio::test]
async fn a_close_code_has_the_policy_that_the_caller_gives_it() {
    let mut config = Config::default();
    // By the table the call would be joined again.
    config.session.close_policies.insert(CloseCode::SESSION_NO_LONGER_VALID, ClosePolicy::new(CloseAction::Stop));
    let gateway = Gateway::start_with(Answer::StateFirst, config).await;
    let (_client, mut events) = within(async { gateway.manager().join(GUILD, CHANNEL).await }).await.expect("a call");
    gateway.server.close_voice(ALICE, CloseCode::SESSION_NO_LONGER_VALID);
    let reason = end_of(&mut events).await;
    assert!(matches!(reason, EndReason::Session { advice: discord_voice::Advice::Stop, .. }), "{reason:?}");
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None]);
}

#[tokio::test]
async fn a_rejoin_says_which_attempt_it_is_and_why_and_is_counted() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let (client, mut events) = within(async { gateway.manager().join(GUILD, CHANNEL).await }).await.expect("a call");
    let sent = client.fresh_stats().await.session.messages_received;
    gateway.server.close_voice(ALICE, CloseCode::SESSION_NO_LONGER_VALID);
    let (attempt, after, why) = loop {
        if let Event::Rejoining { attempt, after, why } = within(events.next()).await.expect("the call goes on") {
            break (attempt, after, why);
        }
    };
    assert_eq!((attempt, after), (1, Duration::ZERO));
    let closed = discord_voice::Cause::Closed(CloseCode::SESSION_NO_LONGER_VALID);
    assert!(matches!(why, EndReason::Session { cause, .. } if cause == closed), "{why:?}");
    while !matches!(within(events.next()).await.expect("the call goes on"), Event::Connected) {}
    let stats = client.fresh_stats().await;
    assert_eq!((stats.call.rejoins, stats.call.connections), (1, 2));
    assert!(stats.session.messages_received > sent, "the figures of the session before are kept");
}

#[tokio::test]
async fn a_join_on_a_shard_that_is_lost_waits_for_it() {
    joins_when(GatewayEvent::Resumed { shard: Shard::ONLY }).await;
}

#[tokio::test]
async fn an_event_of_anybody_on_a_shard_says_that_it_is_there() {
    let mut state = VoiceState::new(UserId::new(77), SessionId::new("another"));
    (state.guild_id, state.channel_id) = (Some(GuildId::new(4_242)), Some(CHANNEL));
    joins_when(state.into()).await;
}

/// A join that begins while the shard is away is made again with that event.
async fn joins_when(event: GatewayEvent) {
    let mut config = Config::default();
    (config.gateway_timeout, config.offline_timeout) = (Duration::from_millis(100), Duration::from_secs(60));
    let gateway = Gateway::start_with(Answer::Silence, config).await;
    gateway.manager().handle_event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    let join = tokio::spawn({
        let manager = gateway.manager().clone();
        async move { manager.join(GUILD, CHANNEL).timeout(Duration::from_secs(10)).await }
    });
    common::until("the first wish", || !gateway.channels_wished().is_empty()).await;
    *gateway.answer.lock().expect("no panic") = Answer::StateFirst;
    gateway.manager().handle_event(event);
    within(join).await.expect("no panic").expect("what was sent while it was away is sent again");
    assert_eq!(gateway.channels_wished(), [Some(CHANNEL), Some(CHANNEL)]);
}

#[tokio::test]
async fn no_timeout_is_a_timeout_too() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let join = gateway.manager().join(GUILD, CHANNEL).timeout(Duration::MAX);
    within(async { join.await }).await.expect("a call");
}
