//! Opening many calls, and what they say of themselves.

use std::time::{Duration, Instant};

use discord_voice::{
    CallStats, Config, ConnectError, ConnectInfo, Driver, E2ee, VoiceClient, udp::socket::SendBackend,
};
use tokio::task::JoinSet;

use crate::{
    args::Join,
    error::Error,
    measuring::now,
    sources::{FirstSent, Sources},
    target::Target,
};

/// Starts the media threads.
pub(crate) fn driver(
    target: &Target,
    dave: bool,
    (media_threads, send_backend, nice, real_time): (u16, SendBackend, Option<i32>, bool),
) -> Result<Driver, Error> {
    let mut config = Config::default();
    config.media_threads = media_threads.into();
    config.media_nice = nice.or(config.media_nice);
    config.media_real_time = real_time;
    config.send_backend = send_backend;
    // There is no main gateway that could name another server.
    config.follow_timeout = Duration::ZERO;
    if dave {
        config.e2ee = E2ee::Require;
    } else {
        config.session.max_dave_protocol_version = 0;
    }
    Driver::with_connector(config, target.connector()?).map_err(|source| Error::Threads { source })
}

/// A call that is connected.
pub(crate) struct Call {
    pub(crate) client: VoiceClient,
    /// Its number.
    room: u32,
    started: Instant,
    connected: Instant,
    first_sent: Option<FirstSent>,
}

impl Call {
    /// How long it took until it was connected.
    pub(crate) fn connect_time(&self) -> Duration {
        self.connected - self.started
    }

    /// How long it took until its first packet was sent.
    pub(crate) fn first_packet_time(&self) -> Option<Duration> {
        Some(*self.first_sent.as_ref()?.get()? - self.started)
    }

    /// How often what it plays was not there in time.
    pub(crate) fn underruns(&self) -> Option<u64> {
        Some(self.client.playback()?.underruns())
    }

    /// Lets it play.
    pub(crate) fn play(&mut self, sources: &Sources) {
        self.first_sent = sources.play(&self.client, self.room);
    }
}

/// What came of opening calls.
#[derive(Default)]
pub(crate) struct Opened {
    pub(crate) calls: Vec<Call>,
    pub(crate) failures: u64,
    /// Why the first of those failed.
    pub(crate) first_failure: Option<ConnectError>,
    /// From the first to the last.
    pub(crate) took: Duration,
}

/// How calls are opened.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) join: Join,
    pub(crate) timeout: Duration,
    /// What a call plays as soon as it is connected.
    pub(crate) sources: Option<Sources>,
}

impl Opening {
    /// Opens calls, one in each room.
    pub(crate) async fn open(&self, driver: &Driver, infos: impl ExactSizeIterator<Item = ConnectInfo>) -> Opened {
        let at_a_time = match self.join {
            Join::OneByOne => 1,
            Join::AtOnce => infos.len(),
            Join::Paced => PACED,
        };
        let begun = now();
        let mut opened = Opened::default();
        let mut waiting = (0..).zip(infos);
        let mut joining = JoinSet::new();
        loop {
            while joining.len() < at_a_time
                && let Some((room, info)) = waiting.next()
            {
                // Those that come together have all been waiting since they came.
                let started = if self.join == Join::AtOnce { begun } else { now() };
                joining.spawn(self.clone().open_one(driver.clone(), room, info, started));
            }
            match joining.join_next().await {
                None => break,
                Some(Ok(Ok(call))) => opened.calls.push(call),
                Some(Ok(Err(error))) => {
                    opened.failures += 1;
                    opened.first_failure.get_or_insert(error);
                }
                Some(Err(_)) => opened.failures += 1,
            }
        }
        opened.took = begun.elapsed();
        opened
    }

    async fn open_one(
        self,
        driver: Driver,
        room: u32,
        info: ConnectInfo,
        started: Instant,
    ) -> Result<Call, ConnectError> {
        // Nobody reads what happens to a call: whether it is over is asked at the end.
        let (client, _) = driver.connect(info).timeout(self.timeout).await?;
        let mut call = Call { client, room, started, connected: now(), first_sent: None };
        if let Some(sources) = &self.sources {
            call.play(sources);
        }
        Ok(call)
    }
}

impl Opened {
    /// All calls, or why there are not all of them.
    pub(crate) fn all(self) -> Result<Vec<Call>, Error> {
        if self.failures == 0 {
            return Ok(self.calls);
        }
        Err(Error::NoCall { failed: self.failures, first: self.first_failure })
    }
}

/// What a call has done, and when it was asked.
pub(crate) struct Figures {
    pub(crate) at: Instant,
    pub(crate) stats: CallStats,
}

/// Asks all calls, some at a time.
pub(crate) async fn figures(calls: &[Call]) -> Vec<Figures> {
    let mut figures = Vec::with_capacity(calls.len());
    for some in calls.chunks(ASKED_AT_A_TIME) {
        let mut asked = JoinSet::new();
        for (index, call) in some.iter().enumerate() {
            let client = call.client.clone();
            asked.spawn(async move {
                let stats = client.fresh_stats().await;
                (index, Figures { at: now(), stats })
            });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(index, _)| *index);
        figures.extend(answers.into_iter().map(|(_, figures)| figures));
    }
    figures
}

/// Leaves all calls. That nobody acknowledges it changes nothing.
pub(crate) async fn leave(calls: Vec<Call>) {
    let mut leaving = JoinSet::new();
    for call in calls {
        if leaving.len() == PACED {
            leaving.join_next().await;
        }
        leaving.spawn(async move { call.client.leave().await });
    }
    leaving.join_all().await;
}

/// How many join at a time if they are not to overrun the server.
const PACED: usize = 32;

/// How many calls are asked for their figures at a time.
const ASKED_AT_A_TIME: usize = 256;
