//! A control task that dies.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};
use voice_model::{ChannelId, GuildId, UpdateVoiceState, UserId};
use voice_ws::Connector;

use super::{CallParts, GatewaySignal, MainGatewayCall, Origin};
use crate::{Config, Driver, EndReason, Event, JoinInfo, VoiceClient};

const GUILD: GuildId = GuildId::new(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// A call whose way to the main gateway does what it is told to with each update, given how many there were before.
struct Case {
    parts: CallParts,
    told: Arc<Mutex<Vec<UpdateVoiceState>>>,
    ends: Arc<Mutex<Vec<EndReason>>>,
    signals: mpsc::Sender<GatewaySignal>,
}

impl Case {
    fn start(driver: &Driver, panics: impl Fn(usize) -> bool + Send + 'static) -> Self {
        let (told, ends) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let count = AtomicUsize::new(0);
        let telling = Arc::clone(&told);
        let updates = Box::new(move |update| {
            telling.lock().expect("no panic").push(update);
            assert!(!panics(count.fetch_add(1, Ordering::Relaxed)), "a panic that was asked for");
            Duration::ZERO
        });
        let (signals, receiver) = mpsc::channel(4);
        let call = MainGatewayCall::Joined(JoinInfo::new(GUILD, ChannelId::new(2), UserId::new(3)));
        let origin = Origin::MainGateway { call, updates, signals: receiver };
        let ending = Arc::clone(&ends);
        let on_end = Box::new(move |reason: &EndReason| ending.lock().expect("no panic").push(reason.clone()));
        let parts = driver.start(Arc::new(Config::default()), origin, Some(on_end));
        Self { parts, told, ends, signals }
    }

    fn channels_told(&self) -> Vec<Option<ChannelId>> {
        self.told.lock().expect("no panic").iter().map(|update| update.channel_id).collect()
    }

    /// The end is the same for everybody who can see it.
    async fn ends_as_internal(self, driver: &Driver, deaths: u64) {
        let (told, ends, signals) = (self.told, self.ends, self.signals);
        let (client, mut events) = VoiceClient::new(self.parts, Duration::from_secs(1));
        assert_eq!(timeout(PATIENCE, client.ended()).await, Ok(EndReason::Internal));
        let event = timeout(PATIENCE, events.next()).await.expect("in time");
        assert!(matches!(event, Some(Event::Ended(EndReason::Internal))), "{event:?}");
        assert!(timeout(PATIENCE, events.next()).await.expect("in time").is_none());
        assert!(client.is_ended());
        assert_eq!(client.connection_state(), crate::ConnectionState::Ended);
        assert_eq!(*ends.lock().expect("no panic"), [EndReason::Internal]);
        assert_eq!(driver.metrics().dead_controls, deaths);
        assert!(signals.is_closed());
        assert_eq!(told.lock().expect("no panic").last().and_then(|update| update.channel_id), None, "it leaves");
        timeout(PATIENCE, async {
            while driver.metrics().shards[0].calls > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("its media thread has let go of it");
    }
}

fn driver() -> Driver {
    let config = Config { media_threads: 1, ..Config::default() };
    Driver::with_connector(config, Connector::new()).expect("media threads")
}

#[tokio::test]
async fn a_control_task_that_panics_ends_its_call_for_everybody_and_leaves_the_channel() {
    let driver = driver();
    let case = Case::start(&driver, |number| number == 0);
    let neighbour = Case::start(&driver, |_| false);
    timeout(PATIENCE, async {
        while neighbour.channels_told().is_empty() || driver.metrics().shards[0].calls > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the neighbour asks for its channel, and one call is left");
    assert!(neighbour.parts.state.borrow().ended.is_none());
    drop(neighbour);
    timeout(PATIENCE, async {
        while driver.metrics().shards[0].calls > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the neighbour has left");
    assert_eq!(case.channels_told(), [Some(ChannelId::new(2)), None]);
    case.ends_as_internal(&driver, 1).await;
}

#[tokio::test]
async fn a_control_task_whose_leave_panics_too_takes_nobody_with_it() {
    let driver = driver();
    Case::start(&driver, |_| true).ends_as_internal(&driver, 1).await;
}

#[test]
fn a_control_task_whose_runtime_ends_ends_its_call() {
    let driver = driver();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = runtime();
    let case = first.block_on(async {
        let case = Case::start(&driver, |_| false);
        while case.channels_told().is_empty() {
            tokio::task::yield_now().await;
        }
        case
    });
    drop(first);
    runtime().block_on(case.ends_as_internal(&driver, 1));
}
