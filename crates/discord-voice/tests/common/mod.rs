//! A loopback voice server and clients for it.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    future::{Future, IntoFuture as _},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use discord_voice::{
    Config, ConnectInfo, Connector, Driver, Events, FrameBuf, FrameSource, NextFrame, Received, VoiceClient,
    model::{ChannelId, GuildId, UserId},
};
use voice_server::{Server, ServerConfig};

pub(crate) const GUILD: GuildId = GuildId::new(1);
pub(crate) const CHANNEL: ChannelId = ChannelId::new(2);
pub(crate) const ALICE: UserId = UserId::new(11);
pub(crate) const BOB: UserId = UserId::new(12);

/// No step of a test takes longer than this, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something with a deadline.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

pub(crate) async fn server() -> Server {
    Server::bind(ServerConfig::default()).await.expect("a server on loopback")
}

pub(crate) fn driver(server: &Server) -> Driver {
    driver_with(server, Config::default())
}

pub(crate) fn driver_with(server: &Server, config: Config) -> Driver {
    let connector = match server.certificate_pem() {
        Some(pem) => Connector::with_extra_roots(pem.as_bytes()).expect("the server's certificate"),
        None => Connector::new(),
    };
    Driver::with_connector(config, connector).expect("media threads")
}

/// Fresh credentials for a user.
pub(crate) fn info(server: &Server, guild: GuildId, user: UserId) -> ConnectInfo {
    let ticket = server.issue(guild, CHANNEL, user);
    ConnectInfo {
        channel_id: ticket.channel_id,
        endpoint: ticket.endpoint.parse().expect("an endpoint"),
        server_id: ticket.server_id,
        session_id: ticket.session_id,
        token: ticket.token,
        user_id: ticket.user_id,
    }
}

pub(crate) async fn join(server: &Server, driver: &Driver, user: UserId) -> (VoiceClient, Events) {
    within(driver.connect(info(server, GUILD, user)).into_future()).await.expect("a call")
}

pub(crate) fn capacity(frames: usize) -> NonZeroUsize {
    NonZeroUsize::new(frames).expect("not zero")
}

/// So many frames, each of which says which one it is.
pub(crate) struct Counted {
    pub(crate) next: u32,
    pub(crate) end: u32,
}

impl Counted {
    pub(crate) fn new(frames: u32) -> Self {
        Self { next: 0, end: frames }
    }
}

/// The frame with this number.
pub(crate) fn numbered(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [0xF8, a, b, c, d]
}

impl FrameSource for Counted {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        if self.next == self.end {
            return NextFrame::End;
        }
        out.set(&numbered(self.next)).expect("it fits");
        self.next += 1;
        NextFrame::Ready
    }
}

/// The next frame that is no silence, with its sender.
pub(crate) async fn next_sound(receive: &mut discord_voice::Receive) -> (UserId, Vec<u8>) {
    loop {
        match within(receive.next()).await.expect("the call goes on") {
            Received::Frame { user, frame, .. } if frame.as_slice() != [0xF8, 0xFF, 0xFE] => {
                return (user, frame.as_slice().to_vec());
            }
            Received::Frame { .. } => {}
            other => panic!("a gap on loopback: {other:?}"),
        }
    }
}

/// Repeats a look at something until it is as wanted, without giving the clock a say in how often.
pub(crate) async fn until(what: &str, mut looks_right: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !looks_right() {
        assert!(now() < deadline, "{what} did not come about");
        tokio::task::yield_now().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "real sockets live in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
