//! Calls on real sockets: a client of other people's crates and ours, on the server that `discord-voice serve` runs, and
//! on one of other people's crates.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, IntoFuture as _};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use discord_voice::{
    Config, ConnectInfo, Connector, Driver, E2ee, Events, FrameBuf, FrameSource, Lead, NextFrame, Receive, Received,
    VoiceClient,
};
use voice_model::{ChannelId, GuildId, Opcode, SessionId, Token, UserId};
use voice_server::{DaveConfig, DaveMode, Fault, FaultKind, Server, ServerConfig};

use crate::foreign::client::{Client, Credentials, Heard};
use crate::foreign::server::Server as ForeignServer;

const GUILD: GuildId = GuildId::new(81_384_788_765_712_384);
const CHANNEL: ChannelId = ChannelId::new(127_121_515_262_115_840);
const OURS: u64 = 104_694_319_306_248_192;
const FOREIGNER: u64 = 80_351_110_224_678_912;
const SECOND: u64 = 852_892_297_661_906_993;

const SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// No step takes longer than this, or the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

async fn server() -> Server {
    let mut config = ServerConfig::default();
    config.core.dave = DaveConfig::new(DaveMode::Required);
    Server::bind(config).await.expect("a server on loopback")
}

fn driver() -> Driver {
    let mut config = Config::default();
    config.e2ee = E2ee::Require;
    Driver::with_connector(config, Connector::new()).expect("media threads")
}

async fn join_ours(server: &Server, driver: &Driver) -> (VoiceClient, Events) {
    let ticket = server.issue(GUILD, CHANNEL, UserId::new(OURS));
    let info = ConnectInfo {
        channel_id: ticket.channel_id,
        endpoint: ticket.endpoint.parse().expect("an endpoint"),
        server_id: ticket.server_id,
        session_id: ticket.session_id,
        token: ticket.token,
        user_id: ticket.user_id,
    };
    within(driver.connect(info).into_future()).await.expect("a call")
}

/// Joins a server that is not ours, and takes any token.
async fn join_ours_elsewhere(server: &ForeignServer, driver: &Driver, user: u64) -> (VoiceClient, Events) {
    let info = ConnectInfo {
        channel_id: CHANNEL,
        endpoint: format!("ws://{}", server.authority).parse().expect("an endpoint"),
        server_id: GUILD,
        session_id: SessionId::new("4f1d0c9be27a8e63"),
        token: Token::new("a6d2c81e07b94f35"),
        user_id: UserId::new(user),
    };
    within(driver.connect(info).into_future()).await.expect("a call")
}

async fn join_foreigner(server: &Server, user: u64) -> (Client, Heard) {
    let ticket = server.issue(GUILD, CHANNEL, UserId::new(user));
    let credentials = Credentials {
        authority: server.tcp_addr().to_string(),
        server: ticket.server_id.get(),
        channel: ticket.channel_id.get(),
        user,
        session: ticket.session_id.expose().to_owned(),
        token: ticket.token.expose().to_owned(),
    };
    within(Client::join(credentials)).await
}

/// Waits until our client and these foreigners are one group, of which they see the same code.
async fn together(ours: &VoiceClient, foreigners: &[&Client]) {
    within(async {
        loop {
            let (ours, theirs) = (ours.e2ee(), foreigners.iter().map(|client| client.status()).collect::<Vec<_>>());
            let members: BTreeSet<_> = ours.members.iter().map(|user| user.get()).collect();
            if ours.is_encrypting
                && members.len() == foreigners.len() + 1
                && theirs.iter().all(|status| status.members == members && status.privacy_code == ours.privacy_code)
            {
                assert_eq!(ours.privacy_code.map(|code| code.len()), Some(30));
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What a user says until it is told to stop: frames of different lengths, each of which says which one it is. Some
/// look like encrypted ones at their end.
#[derive(Clone)]
struct Speech {
    user: u64,
    said: Arc<AtomicU32>,
    end: Arc<AtomicU32>,
}

impl Speech {
    fn new(user: u64) -> Self {
        Self::of(user, u32::MAX)
    }

    fn of(user: u64, frames: u32) -> Self {
        Self { user, said: Arc::default(), end: Arc::new(AtomicU32::new(frames)) }
    }

    fn frame(user: u64, number: u32) -> Vec<u8> {
        let mut frame = vec![0xF8];
        frame.extend(number.to_be_bytes());
        frame.extend((0..number * 37 % 300).map(|at| (at ^ number) as u8 ^ user.to_be_bytes()[at as usize % 8]));
        if number.is_multiple_of(10) {
            frame.extend([0x0C, 0xFA, 0xFA]);
        }
        frame
    }
}

impl Iterator for Speech {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let number = self.said.load(Ordering::SeqCst);
        (number < self.end.load(Ordering::SeqCst)).then(|| {
            self.said.store(number + 1, Ordering::SeqCst);
            Self::frame(self.user, number)
        })
    }
}

impl FrameSource for Speech {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        match self.next() {
            Some(frame) => {
                out.set(&frame).expect("it fits");
                NextFrame::Ready
            }
            None => NextFrame::End,
        }
    }

    /// What was said is what was sent.
    fn lead(&self) -> Lead {
        Lead::Immediate
    }
}

impl Speech {
    /// Says no more.
    fn stop(&self) {
        self.end.store(0, Ordering::SeqCst);
    }

    /// How many frames there were.
    fn said(&self) -> usize {
        self.said.load(Ordering::SeqCst) as usize
    }
}

/// Everything but silence that somebody hears.
struct Ear {
    source: Source,
    heard: BTreeMap<u64, Vec<Vec<u8>>>,
}

enum Source {
    Ours(Receive),
    Foreign(Heard),
}

impl Ear {
    fn new(source: Source) -> Self {
        Self { source, heard: BTreeMap::new() }
    }

    async fn hear(&mut self) {
        let (user, frame) = match &mut self.source {
            Source::Ours(receive) => match receive.next().await.expect("the call goes on") {
                Received::Frame { user, frame, .. } => (user.get(), frame.as_slice().to_vec()),
                other => panic!("a gap on loopback: {other:?}"),
            },
            Source::Foreign(heard) => heard.recv().await.expect("the call goes on"),
        };
        if frame != SILENCE {
            self.heard.entry(user).or_default().push(frame);
        }
    }

    fn count(&self, from: u64) -> usize {
        self.heard.get(&from).map_or(0, Vec::len)
    }

    /// Listens until so many frames of a user were heard in all.
    async fn hear_frames(&mut self, from: u64, frames: usize) {
        within(async {
            while self.count(from) < frames {
                self.hear().await;
            }
        })
        .await;
    }

    /// Whatever was heard of this user is what it said, from this frame on and without a gap.
    fn assert_heard(&self, from: u64, first: u32) {
        for (frame, number) in self.heard[&from].iter().zip(first..) {
            assert_eq!(*frame, Speech::frame(from, number), "frame {number} of {from}");
        }
    }
}

/// Nothing that our client heard was plain, or not understood.
async fn assert_all_encrypted(ours: &VoiceClient, frames: usize) {
    let stats = ours.fresh_stats().await;
    let heard = stats.media.received.e2ee;
    assert_eq!((heard.plaintext, heard.plaintext_refused, heard.silence), (0, 0, 0));
    assert_eq!((heard.missing_key, heard.replayed, heard.not_authentic, heard.expired), (0, 0, 0, 0));
    assert_eq!(heard.decrypted, frames as u64);
    assert_eq!((stats.dave.recoveries, stats.dave.refusals().count()), (0, 0));
}

/// Either one comes first, and that one makes the group.
async fn two_hear_each_other(foreigner_first: bool) {
    let (server, driver) = (server().await, driver());
    let second = UserId::new(if foreigner_first { OURS } else { FOREIGNER });
    // Both commit; this one's is lost, so that it is the other one that adds it.
    server.inject(Fault::user(second, FaultKind::IgnoreIncoming { opcode: Opcode::MlsCommitWelcome, count: 1 }));
    let ((client, heard), (ours, _events)) = if foreigner_first {
        let foreigner = join_foreigner(&server, FOREIGNER).await;
        (foreigner, join_ours(&server, &driver).await)
    } else {
        let ours = join_ours(&server, &driver).await;
        (join_foreigner(&server, FOREIGNER).await, ours)
    };
    together(&ours, &[&client]).await;

    let mut ears = [Ear::new(Source::Ours(ours.receive(CAPACITY))), Ear::new(Source::Foreign(heard))];
    client.speak(Speech::of(FOREIGNER, 50));
    let playback = ours.play(Speech::of(OURS, 50));
    let [our_ear, foreign_ear] = &mut ears;
    our_ear.hear_frames(FOREIGNER, 50).await;
    foreign_ear.hear_frames(OURS, 50).await;
    within(playback.finished()).await;
    our_ear.assert_heard(FOREIGNER, 0);
    foreign_ear.assert_heard(OURS, 0);

    assert_all_encrypted(&ours, 50).await;
    let made = ours.stats().dave;
    let stats = server.stats().dave;
    assert_eq!((stats.commits, stats.welcomes, stats.transitions_timed_out), (1, 1, 0));
    let status = client.leave().await;
    assert_eq!((status.sent, status.recoveries, status.refused), (50, 0, Vec::new()));
    assert!(status.opened >= 50);
    let foreign = (status.commits_won, status.welcomes);
    let ours = (made.commits_applied, made.welcomes_applied);
    assert_eq!((foreign, ours), if foreigner_first { ((1, 0), (0, 1)) } else { ((0, 1), (1, 0)) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_that_was_there_first_adds_ours_and_both_hear_each_other() {
    two_hear_each_other(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_is_added_by_ours_and_both_hear_each_other() {
    two_hear_each_other(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_frame_is_missed_while_another_foreign_client_comes_and_goes() {
    let (server, driver) = (server().await, driver());
    let (ours, _events) = join_ours(&server, &driver).await;
    let (first, heard) = join_foreigner(&server, FOREIGNER).await;
    together(&ours, &[&first]).await;
    let mut our_ear = Ear::new(Source::Ours(ours.receive(CAPACITY)));
    let mut first_ear = Ear::new(Source::Foreign(heard));
    let (our_speech, first_speech) = (Speech::new(OURS), Speech::new(FOREIGNER));
    let playback = ours.play(our_speech.clone());
    first.speak(first_speech.clone());
    our_ear.hear_frames(FOREIGNER, 10).await;
    first_ear.hear_frames(OURS, 10).await;

    let (second, heard) = join_foreigner(&server, SECOND).await;
    let mut second_ear = Ear::new(Source::Foreign(heard));
    together(&ours, &[&first, &second]).await;
    second.speak(Speech::of(SECOND, 25));
    our_ear.hear_frames(SECOND, 25).await;
    first_ear.hear_frames(SECOND, 25).await;
    for (user, speech) in [(OURS, &our_speech), (FOREIGNER, &first_speech)] {
        second_ear.hear_frames(user, 25).await;
        let first = &second_ear.heard[&user][0];
        let first = u32::from_be_bytes(first[1..5].try_into().expect("a frame"));
        assert!(first > 0 && speech.said() > 0, "it came into the middle");
        second_ear.assert_heard(user, first);
    }
    let left = within(second.leave()).await;
    assert_eq!((left.sent, left.welcomes, left.recoveries), (25, 1, 0));

    together(&ours, &[&first]).await;
    let executed = |stats: &voice_server::ServerStats| stats.dave.transitions == 3;
    let stats = within(server.wait_for(executed)).await.expect("the server goes on");
    assert_eq!((stats.dave.commits, stats.dave.transitions_timed_out, stats.dave.recoveries), (3, 0, 0));
    let (ours_said, first_said) = (our_speech.said(), first_speech.said());
    our_ear.hear_frames(FOREIGNER, first_said + 25).await;
    first_ear.hear_frames(OURS, ours_said + 25).await;
    our_speech.stop();
    first_speech.stop();
    our_ear.hear_frames(FOREIGNER, first_speech.said()).await;
    first_ear.hear_frames(OURS, our_speech.said()).await;
    within(playback.finished()).await;

    our_ear.assert_heard(FOREIGNER, 0);
    our_ear.assert_heard(SECOND, 0);
    first_ear.assert_heard(OURS, 0);
    first_ear.assert_heard(SECOND, 0);
    assert_all_encrypted(&ours, first_speech.said() + 25).await;
    let status = first.leave().await;
    assert_eq!((status.recoveries, status.refused), (0, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_clients_hear_each_other_on_a_foreign_server() {
    for unseen in [OURS, SECOND] {
        let server = ForeignServer::bind(CHANNEL.get(), unseen).await;
        let (one_driver, other_driver) = (driver(), driver());
        let (one, _one_events) = join_ours_elsewhere(&server, &one_driver, OURS).await;
        let (other, _other_events) = join_ours_elsewhere(&server, &other_driver, SECOND).await;
        within(async {
            while !(one.e2ee().is_encrypting && other.e2ee().is_encrypting) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(one.e2ee().privacy_code, other.e2ee().privacy_code);
        let mut one_ear = Ear::new(Source::Ours(one.receive(CAPACITY)));
        let mut other_ear = Ear::new(Source::Ours(other.receive(CAPACITY)));
        let playing = [one.play(Speech::of(OURS, 50)), other.play(Speech::of(SECOND, 50))];
        one_ear.hear_frames(SECOND, 50).await;
        other_ear.hear_frames(OURS, 50).await;
        for playback in playing {
            within(playback.finished()).await;
        }
        one_ear.assert_heard(SECOND, 0);
        other_ear.assert_heard(OURS, 0);
        for client in [&one, &other] {
            let heard = client.fresh_stats().await.media.received.e2ee;
            assert_eq!(
                (heard.plaintext, heard.plaintext_refused, heard.missing_key, heard.not_authentic),
                (0, 0, 0, 0)
            );
            assert!(heard.decrypted >= 50);
        }
        let stats = server.stats();
        let committer = if unseen == OURS { SECOND } else { OURS };
        assert_eq!((stats.committers, stats.invalid, stats.executed, stats.plain), (vec![committer], vec![], 1, 0));
        assert!(stats.forwarded >= 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_and_a_foreign_one_hear_each_other_on_a_foreign_server() {
    for unseen in [OURS, FOREIGNER] {
        let server = ForeignServer::bind(CHANNEL.get(), unseen).await;
        let driver = driver();
        let (ours, _events) = join_ours_elsewhere(&server, &driver, OURS).await;
        let credentials = Credentials {
            authority: server.authority.clone(),
            server: GUILD.get(),
            channel: CHANNEL.get(),
            user: FOREIGNER,
            session: "8e634f1d0c9be27a".to_owned(),
            token: "4f35a6d2c81e07b9".to_owned(),
        };
        let (client, heard) = within(Client::join(credentials)).await;
        together(&ours, &[&client]).await;
        let mut our_ear = Ear::new(Source::Ours(ours.receive(CAPACITY)));
        let mut foreign_ear = Ear::new(Source::Foreign(heard));
        client.speak(Speech::of(FOREIGNER, 50));
        let playback = ours.play(Speech::of(OURS, 50));
        our_ear.hear_frames(FOREIGNER, 50).await;
        foreign_ear.hear_frames(OURS, 50).await;
        within(playback.finished()).await;
        our_ear.assert_heard(FOREIGNER, 0);
        foreign_ear.assert_heard(OURS, 0);
        assert_all_encrypted(&ours, 50).await;
        let stats = server.stats();
        let committer = if unseen == OURS { FOREIGNER } else { OURS };
        assert_eq!((stats.committers, stats.invalid, stats.executed, stats.plain), (vec![committer], vec![], 1, 0));
        let status = client.leave().await;
        assert_eq!((status.recoveries, status.refused), (0, Vec::new()));
    }
}

/// Frames that wait for whoever looks at them later.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
