//! What the manager tells the main gateway, with a gateway that never answers and sometimes fails.

mod common;

use std::{
    error::Error,
    future::IntoFuture as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{ALICE, CHANNEL, PATIENCE, now, within};
use discord_voice::{
    GatewayEvent, JoinError, Shard, VoiceGateway, VoiceManager,
    model::{GuildId, SessionId, UpdateVoiceState, VoiceState},
};
use tokio::{runtime::Runtime, sync::watch};

/// Takes down what it is told.
#[derive(Clone)]
struct Deaf {
    told: watch::Sender<Vec<UpdateVoiceState>>,
    panics: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
}

impl Deaf {
    fn new() -> Self {
        Self { told: watch::Sender::new(Vec::new()), panics: Arc::default(), refuses: Arc::default() }
    }

    fn manager(&self) -> VoiceManager {
        VoiceManager::builder(ALICE, self.clone()).media_threads(1).build().expect("media threads")
    }

    /// Waits until it was told so many updates.
    async fn told(&self, count: usize) -> Vec<UpdateVoiceState> {
        within(self.told.subscribe().wait_for(|told| told.len() >= count)).await.expect("it lives").clone()
    }
}

impl VoiceGateway for Deaf {
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>> {
        assert!(!self.panics.load(Ordering::Relaxed), "a fault of the user's");
        if self.refuses.load(Ordering::Relaxed) {
            return Err("not connected".into());
        }
        self.told.send_modify(|told| told.push(update));
        Ok(())
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Joins, gives up and joins again: the third update has to wait for two seconds.
async fn hurry(gateway: &Deaf, manager: &VoiceManager, guild: GuildId, before: usize) {
    let first = tokio::spawn(manager.join(guild, CHANNEL).timeout(Duration::from_secs(10)).into_future());
    gateway.told(before + 1).await;
    let leaving = manager.clone();
    let leaving = tokio::spawn(async move { leaving.leave(guild).await });
    gateway.told(before + 2).await;
    // The main gateway confirms it.
    manager.handle_event(VoiceState { guild_id: Some(guild), ..VoiceState::new(ALICE, SessionId::new("s")) });
    within(leaving).await.expect("no panic");
    drop(within(first).await);
    tokio::spawn(manager.join(guild, CHANNEL).into_future());
}

#[test]
fn what_waits_is_sent_whatever_becomes_of_the_runtime_that_it_came_from() {
    let gateway = Deaf::new();
    let first = runtime();
    let manager = gateway.manager();
    first.block_on(hurry(&gateway, &manager, GuildId::new(1), 0));
    // Something waits there for its turn, and for nobody else's.
    first.shutdown_background();
    let second = runtime();
    second.block_on(async {
        hurry(&gateway, &manager, GuildId::new(2), 2).await;
        let told = gateway.told(5).await;
        let of_second: Vec<_> = told.iter().filter(|update| update.guild_id == GuildId::new(2)).collect();
        let last = match of_second[..] {
            [_, _, last] => *last,
            // The first one's third update was sent before.
            _ => *gateway.told(6).await.last().expect("six"),
        };
        assert_eq!((last.guild_id, last.channel_id), (GuildId::new(2), Some(CHANNEL)));
    });
}

#[tokio::test]
async fn a_gateway_that_panics_fails_the_join_and_nothing_else() {
    let gateway = Deaf::new();
    let manager = gateway.manager();
    gateway.panics.store(true, Ordering::Relaxed);
    let joined = within(manager.join(GuildId::new(1), CHANNEL).into_future()).await;
    assert!(matches!(joined, Err(JoinError::Gateway(_))), "{joined:?}");
    assert!(manager.guilds().is_empty());
    gateway.panics.store(false, Ordering::Relaxed);
    tokio::spawn(manager.join(GuildId::new(2), CHANNEL).into_future());
    assert_eq!(gateway.told(1).await[0].guild_id, GuildId::new(2));
}

#[tokio::test]
async fn a_leave_that_was_refused_is_told_when_the_gateway_is_back() {
    let (gateway, guild) = (Deaf::new(), GuildId::new(1));
    let manager = gateway.manager();
    let join = tokio::spawn(manager.join(guild, CHANNEL).into_future());
    gateway.told(1).await;
    gateway.refuses.store(true, Ordering::Relaxed);
    within(manager.leave(guild)).await;
    drop(within(join).await);
    assert_eq!(gateway.told.borrow().len(), 1);
    gateway.refuses.store(false, Ordering::Relaxed);
    // No call is left, and the user asks again.
    within(manager.leave(guild)).await;
    assert_eq!(gateway.told(2).await[1].channel_id, None);
    within(manager.leave(guild)).await;
    assert_eq!(gateway.told.borrow().len(), 2, "once is enough");
    assert!(manager.guilds().is_empty());
}

/// Waits until so many joins have begun. Looks now and then: who looks holds up those who begin.
async fn begun(manager: &VoiceManager, guilds: usize) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    within(async {
        while manager.guilds().len() < guilds {
            look.tick().await;
        }
    })
    .await;
}

/// How long an event of the bot's own takes with so many guilds, in seconds.
async fn event_time(guilds: u64) -> f64 {
    let gateway = Deaf::new();
    let manager = gateway.manager();
    let joins: Vec<_> = (1..=guilds)
        .map(|guild| tokio::spawn(manager.join(GuildId::new(guild), CHANNEL).timeout(PATIENCE * 4).into_future()))
        .collect();
    begun(&manager, guilds as usize).await;
    let event = |guild| VoiceState {
        channel_id: Some(CHANNEL),
        guild_id: Some(GuildId::new(guild)),
        ..VoiceState::new(ALICE, SessionId::new("s"))
    };
    let mut best = f64::MAX;
    for round in 0..20 {
        let begun = now();
        for guild in 1..=20 {
            manager.handle_event(event(round * 20 + guild));
        }
        best = best.min(begun.elapsed().as_secs_f64() / 20.0);
        tokio::task::yield_now().await;
    }
    joins.iter().for_each(tokio::task::JoinHandle::abort);
    best
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_event_costs_the_same_whatever_the_number_of_guilds() {
    let (few, many) = (event_time(400).await, event_time(8_000).await);
    println!("{few} s with 400 guilds, {many} s with 8000");
    assert!(many < few * 5.0, "{many} s against {few} s");
}

#[tokio::test]
async fn ten_thousand_joins_begin_within_a_moment() {
    let gateway = Deaf::new();
    let manager = gateway.manager();
    let start = now();
    let joins: Vec<_> = (1..=10_000)
        .map(|guild| tokio::spawn(manager.join(GuildId::new(guild), CHANNEL).timeout(PATIENCE * 4).into_future()))
        .collect();
    begun(&manager, 10_000).await;
    let took = start.elapsed();
    println!("10 000 joins began in {took:?}");
    // Half of a second in a debug build on a machine of its own; it was 4 to 6 when each looked at all others.
    assert!(took < Duration::from_secs(3), "{took:?}");
    gateway.told(60).await;
    manager.handle_event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    joins.iter().for_each(tokio::task::JoinHandle::abort);
}
