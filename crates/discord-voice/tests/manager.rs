//! One call per guild: joins, moves and leaves through a main gateway that answers as told.

mod common;

use std::{
    error::Error,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use common::{ALICE, CHANNEL, Counted, GUILD, capacity, next_sound, numbered, server, within};
use discord_voice::{
    EndReason, Event, JoinError, VoiceGateway, VoiceManager,
    model::{ChannelId, SessionId, UpdateVoiceState, VoiceServerUpdate, VoiceState},
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
        let manager = VoiceManager::builder(ALICE, Handle(Arc::clone(&gateway))).build().expect("media threads");
        gateway.manager.set(manager).expect("set once");
        gateway
    }

    fn manager(&self) -> &VoiceManager {
        self.manager.get().expect("set at the start")
    }

    fn answer(&self, update: UpdateVoiceState, answer: Answer) {
        let manager = self.manager();
        let Some(channel) = update.channel_id else {
            return manager.handle_event(state(None, "any"));
        };
        if answer == Answer::Nothing {
            // A new ticket would take an older one's place.
            return;
        }
        let ticket = self.server.issue(update.guild_id, channel, ALICE);
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
            Answer::Nothing => {}
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
        let join = gateway.manager().join(GUILD, CHANNEL).timeout(Duration::from_millis(300));
        match within(async { join.await }).await {
            Err(JoinError::TimedOut(missing)) => {
                assert_eq!((missing.voice_state, missing.voice_server), (voice_state, true));
            }
            other => panic!("{other:?}"),
        }
        common::until("the wish is taken back", || gateway.channels_wished().len() > 1).await;
        assert_eq!(gateway.channels_wished(), [Some(CHANNEL), None]);
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

#[tokio::test]
async fn no_timeout_is_a_timeout_too() {
    let gateway = Gateway::start(Answer::StateFirst).await;
    let join = gateway.manager().join(GUILD, CHANNEL).timeout(Duration::MAX);
    within(async { join.await }).await.expect("a call");
}
