//! What a bad source does to the calls beside it: nothing.

mod common;

use std::{error::Error as _, future::IntoFuture as _, sync::mpsc, time::Duration};

use common::{ALICE, BOB, Counted, capacity, driver, driver_with, info, next_sound, numbered, server, within};
use discord_voice::{
    Config, Driver, FrameBuf, FrameSource, Lead, NextFrame, Playback, PlaybackEnd, Receive, Received, VoiceClient,
    audio::{FrameTooLong, SILENCE_FRAME},
    model::GuildId,
    udp::SealError,
};
use futures_util::future::join_all;
use voice_server::Server;

/// Sixteen calls on one media thread, each with a listener elsewhere; one of them is to play what is bad.
struct Street {
    driver: Driver,
    bad: Call,
    neighbours: Vec<Call>,
    server: Server,
}

struct Call {
    guild: GuildId,
    client: VoiceClient,
    heard: Receive,
    _listener: VoiceClient,
}

impl Street {
    async fn new() -> Self {
        let server = server().await;
        let mut config = Config::default();
        (config.media_threads, config.encode_threads) = (1, 1);
        let (driver, elsewhere) = (driver_with(&server, config), driver(&server));
        let calls = (0..16).map(|guild| Call::join(&server, (&driver, &elsewhere), GuildId::new(100 + guild)));
        let mut neighbours = join_all(calls).await;
        let bad = neighbours.remove(7);
        Self { driver, bad, neighbours, server }
    }

    /// Lets the neighbours play while something is done to the bad one, and checks that they were heard without a gap.
    async fn play(mut self, be_bad: impl AsyncFnOnce(&mut Call, &Driver)) {
        let start = |(number, call): (usize, &Call)| {
            // A lead of one frame would be late by itself on a machine that is busy with other things.
            let lead = [Lead::default(), Lead::Immediate, Lead::Frames(25)][number % 3];
            call.client.play(Led { source: Counted::new(FRAMES), lead })
        };
        let playbacks: Vec<_> = self.neighbours.iter().enumerate().map(start).collect();
        let listening = join_all(self.neighbours.iter_mut().map(Call::hear_all));
        tokio::join!(listening, be_bad(&mut self.bad, &self.driver));
        for playback in playbacks {
            assert!(matches!(within(playback.finished()).await, PlaybackEnd::Finished));
            assert_eq!(playback.underruns(), 0);
        }
        for Call { client, .. } in self.neighbours.iter().chain([&self.bad]) {
            assert!(!client.is_ended());
        }
        within(self.server.shutdown()).await;
    }
}

impl Call {
    async fn join(server: &Server, (driver, elsewhere): (&Driver, &Driver), guild: GuildId) -> Self {
        let enter = async |driver: &Driver, user| {
            within(driver.connect(info(server, guild, user)).into_future()).await.expect("a call").0
        };
        let listener = enter(elsewhere, BOB).await;
        let heard = listener.receive(capacity(2 * FRAMES as usize));
        Self { guild, client: enter(driver, ALICE).await, heard, _listener: listener }
    }

    /// Every frame in its order and at its time, and nothing between them.
    async fn hear_all(&mut self) {
        let (mut before, mut missed) = (None, 0);
        for number in 0..FRAMES {
            match within(self.heard.next()).await.expect("the call goes on") {
                Received::Frame { timestamp, frame, .. } => {
                    assert_eq!(frame.as_slice(), numbered(number), "frame {number} of guild {}", self.guild);
                    let passed =
                        before.replace(timestamp.get()).map_or(960, |before| timestamp.get().wrapping_sub(before));
                    missed += passed / 960 - 1;
                }
                other => panic!("instead of frame {number}: {other:?}"),
            }
        }
        // A source that held the media thread up would cost tens of turns; a machine that is busy can cost a few.
        assert!(missed <= 6, "{missed} turns were missed in guild {}", self.guild);
    }

    /// The call itself goes on too.
    async fn plays_on(&mut self) {
        let playback = self.client.play(Counted { next: 90_000, end: 90_005 });
        while next_sound(&mut self.heard).await.1 != numbered(90_004) {}
        assert!(matches!(within(playback.finished()).await, PlaybackEnd::Finished));
    }
}

/// What the test panics with.
struct Wanted;

/// Another source with another lead.
struct Led<S> {
    source: S,
    lead: Lead,
}

impl<S: FrameSource> FrameSource for Led<S> {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        self.source.next_frame(out)
    }

    fn lead(&self) -> Lead {
        self.lead
    }
}

/// A good frame for every number but each tenth, for which the closure has to answer.
struct EachTenth<F>(u32, F);

impl<F: FnMut(&mut FrameBuf) -> NextFrame + Send + 'static> FrameSource for EachTenth<F> {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        self.0 += 1;
        if self.0.is_multiple_of(10) {
            return (self.1)(out);
        }
        out.set(&numbered(self.0)).expect("it fits");
        NextFrame::Ready
    }
}

fn each_tenth(
    lead: Lead,
    answer: impl FnMut(&mut FrameBuf) -> NextFrame + Send + 'static,
) -> Led<EachTenth<impl FnMut(&mut FrameBuf) -> NextFrame + Send + 'static>> {
    Led { source: EachTenth(0, answer), lead }
}

async fn end(playback: &Playback) -> PlaybackEnd {
    within(playback.finished()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_a_frame_that_is_too_long_is_a_typed_error_and_every_call_goes_on() {
    let street = Street::new().await;
    street
        .play(async |bad, _| {
            for lead in [Lead::default(), Lead::Immediate] {
                // Who looks at what `set` says hands it on.
                let honest = each_tenth(lead, |out| match out.set(&[7; 2_000]) {
                    Ok(()) => NextFrame::Ready,
                    Err(error) => NextFrame::Failed(error.into()),
                });
                let PlaybackEnd::Failed(error) = end(&bad.client.play(honest)).await else { panic!("it did not fail") };
                let cause = error.source().and_then(|cause| cause.downcast_ref::<FrameTooLong>());
                assert_eq!(cause.map(|cause| cause.len), Some(2_000));
                // Who does not has given no frame, and surely not the one before again.
                let careless = each_tenth(lead, |out| {
                    let _ = out.set(&[7; 2_000]);
                    out.buffer_mut().fill(7);
                    let _ = out.set_len(2_000);
                    NextFrame::Ready
                });
                let end = end(&bad.client.play(careless)).await;
                assert!(matches!(end, PlaybackEnd::Unsendable(SealError::FrameLen { len: 0 })), "{end}");
                bad.plays_on().await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_a_source_that_panics_ends_its_playback_and_no_neighbour_misses_a_packet() {
    // What a program does about panics is its own affair; writing a backtrace takes longer than a frame lasts.
    std::panic::set_hook(Box::new(|panicked| {
        if !panicked.payload().is::<Wanted>() {
            println!("{panicked}");
        }
    }));
    let street = Street::new().await;
    street
        .play(async |bad, driver| {
            for lead in [Lead::default(), Lead::Immediate, Lead::Frames(1)] {
                let panics = each_tenth(lead, |_| std::panic::panic_any(Wanted));
                assert!(matches!(end(&bad.client.play(panics)).await, PlaybackEnd::Panicked));
                bad.plays_on().await;
            }
            assert_eq!(driver.metrics().encode.panics, 2, "those that the media thread did not ask");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_blocks_is_late_itself_and_delays_no_other() {
    let street = Street::new().await;
    street
        .play(async |bad, driver| {
            for lead in [Lead::Frames(1), Lead::default(), Lead::Frames(25)] {
                let mut times = 0;
                let blocks = each_tenth(lead, move |out| {
                    #[expect(clippy::disallowed_methods, reason = "this is what the source does wrong")]
                    std::thread::sleep(Duration::from_millis(100));
                    times += 1;
                    if times == 4 {
                        return NextFrame::End;
                    }
                    out.set(&SILENCE_FRAME).expect("it fits");
                    NextFrame::Ready
                });
                let playback = bad.client.play(blocks);
                assert!(matches!(end(&playback).await, PlaybackEnd::Finished));
                assert_eq!(playback.position(), Duration::from_millis(39 * 20));
                if lead == Lead::Frames(1) {
                    assert!(playback.underruns() > 0, "it was late itself");
                }
            }
            let stats = driver.metrics().encode;
            assert!(stats.blocked > 0 && stats.spares_refused == 0, "{stats:?}");
            assert!(stats.longest >= Duration::from_millis(100), "{stats:?}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_never_returns_is_paused_stopped_and_replaced_like_any_other() {
    let server = server().await;
    let driver = driver(&server);
    let mut call = Call::join(&server, (&driver, &driver), GuildId::new(7)).await;
    let stuck = || {
        let (release, released) = mpsc::channel::<()>();
        let (is_stuck, stuck) = mpsc::channel();
        let source = each_tenth(Lead::Frames(1), move |_| {
            let _ = is_stuck.send(());
            let _ = released.recv();
            NextFrame::End
        });
        (release, stuck, source)
    };
    let (release, is_stuck, source) = stuck();
    let first = call.client.play(source);
    common::until("the block", || is_stuck.try_recv().is_ok()).await;
    common::until("silence", || first.underruns() > 0).await;
    first.pause();
    common::until("the pause", || first.status() == discord_voice::PlaybackStatus::Paused).await;
    first.resume();
    first.stop();
    assert!(matches!(end(&first).await, PlaybackEnd::Stopped));
    let (second_release, is_stuck, source) = stuck();
    let second = call.client.play(source);
    common::until("the block", || is_stuck.try_recv().is_ok()).await;
    call.plays_on().await;
    assert!(matches!(end(&second).await, PlaybackEnd::Replaced));
    // Nobody waits for them: what was played since is gone before.
    common::until("the end of the other", || driver.metrics().encode.sources == 2).await;
    drop((release, second_release));
    common::until("their end", || driver.metrics().encode.sources == 0).await;
}

/// Frames that each neighbour plays: three seconds.
const FRAMES: u32 = 150;
