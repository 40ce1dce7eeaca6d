//! Calls of songbird's.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use songbird::{
    Config, ConnectionInfo, Driver,
    driver::{Bitrate, DisposalThread},
    id::{ChannelId, GuildId, UserId},
};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use voice_peers::{Error, clock::Time, server::Server};

use crate::{Args, Mode, media::Media};

/// All calls, connected.
pub(crate) struct Calls {
    drivers: Vec<Driver>,
    mode: Mode,
}

impl Calls {
    /// Joins all of them, and says how long each took.
    pub(crate) async fn join(args: &Args, server: &Server) -> Result<(Self, Vec<Duration>), Error> {
        let config = config();
        let turns = Arc::new(Semaphore::new(args.joining as usize));
        let mut joining = JoinSet::new();
        for call in 0..args.load.calls {
            let (info, config, turns) = (identity(server, call, 0), config.clone(), Arc::clone(&turns));
            let bitrate = Bitrate::Bits(args.bitrate);
            joining.spawn(async move {
                let _turn = turns.acquire().await;
                let beginning = Time::now();
                let mut driver = Driver::new(config);
                driver.set_bitrate(bitrate);
                connect(&mut driver, info, call).await?;
                Ok((driver, beginning.elapsed()))
            });
        }
        let (mut drivers, mut took) = (Vec::new(), Vec::new());
        let all = async {
            while let Some(joined) = joining.join_next().await {
                let joined = joined.map_err(|error| Error::Call { call: 0, source: error.into() })?;
                let (driver, time) = joined?;
                drivers.push(driver);
                took.push(time);
            }
            Ok(())
        };
        timeout(args.timeout, all).await.map_err(|_| Error::TimedOut { what: "joining" })??;
        Ok((Self { drivers, mode: args.mode }, took))
    }

    /// Has all of them play, unless they are only to be connected.
    ///
    /// A few at a time: songbird does not wait with its first packet until it has announced that it speaks, and a
    /// server may end the call of whose packet is the faster one.
    pub(crate) async fn play(&mut self, media: &Media) {
        if self.mode == Mode::Idle {
            return;
        }
        for (drivers, first) in self.drivers.chunks_mut(PLAYING_AT_ONCE).zip((0..).step_by(PLAYING_AT_ONCE)) {
            for (driver, call) in drivers.iter_mut().zip(first..) {
                driver.play_input(media.input(call));
            }
            tokio::time::sleep(BETWEEN_PLAYS).await;
        }
    }

    /// Ends all of them.
    pub(crate) fn leave(self) {
        for mut driver in self.drivers {
            driver.leave();
        }
    }
}

/// As songbird's users have it, who share what disposes of used tracks as its manager does.
pub(crate) fn config() -> Config {
    Config::default().disposer(DisposalThread::run())
}

/// Connects it.
pub(crate) async fn connect(driver: &mut Driver, info: ConnectionInfo, call: u32) -> Result<(), Error> {
    driver.connect(info).await.map_err(|error| Error::Call { call, source: error.into() })
}

/// What a member of a call connects with.
pub(crate) fn identity(server: &Server, call: u32, member: u32) -> ConnectionInfo {
    let id = |base: u64| NonZeroU64::MIN.saturating_add(base + u64::from(call));
    ConnectionInfo {
        channel_id: ChannelId(id(2_000_000)),
        endpoint: server.endpoint().to_owned(),
        guild_id: GuildId(id(1_000_000)),
        session_id: format!("songbird-{call}-{member}"),
        token: server.token().to_owned(),
        user_id: UserId(id(3_000_000 + 1_000_000 * u64::from(member))),
    }
}

/// Calls that begin to play at a time.
const PLAYING_AT_ONCE: usize = 4;

/// And how long after each other.
const BETWEEN_PLAYS: Duration = Duration::from_millis(10);
