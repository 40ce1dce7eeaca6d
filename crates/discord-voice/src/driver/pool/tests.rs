use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use voice_audio::{FrameBuf, FrameSource, NextFrame, SourceError};

use super::{EncodeStats, Feed, Help, Pool, SPARES_PER_CORE};
use crate::driver::{clock, playing::PlaybackEnd};

const PATIENCE: Duration = Duration::from_secs(30);

/// A source that does what the closure does with the number of the frame; its `alive` is dropped with it.
struct Source<F> {
    next: u32,
    step: F,
    asked: Arc<AtomicU32>,
    alive: Sender<String>,
}

impl<F: FnMut(u32, &mut FrameBuf) -> NextFrame + Send + 'static> FrameSource for Source<F> {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        assert!(out.is_empty(), "the buffer is handed over empty");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let next = (self.step)(self.next, out);
        self.next += u32::from(matches!(next, NextFrame::Ready));
        next
    }
}

impl<F> Drop for Source<F> {
    fn drop(&mut self) {
        let _ = self.alive.send(thread::current().name().unwrap_or_default().to_owned());
    }
}

/// What a test sees of its source.
struct Seen {
    asked: Arc<AtomicU32>,
    dropped: Receiver<String>,
}

impl Seen {
    /// The thread that dropped it.
    fn dropped_on(&self) -> String {
        self.dropped.recv_timeout(PATIENCE).expect("the source is dropped")
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn feed(pool: &Pool, depth: u8, step: impl FnMut(u32, &mut FrameBuf) -> NextFrame + Send + 'static) -> (Feed, Seen) {
    let (alive, dropped) = mpsc::channel();
    let asked = Arc::new(AtomicU32::new(0));
    let source = Source { next: 0, step, asked: Arc::clone(&asked), alive };
    let feed = pool.feed(Box::new(source), depth).expect("there is room");
    (feed, Seen { asked, dropped })
}

fn numbers(until: u32) -> impl FnMut(u32, &mut FrameBuf) -> NextFrame + Send + 'static {
    move |number, out| {
        if number == until {
            return NextFrame::End;
        }
        out.set(&number.to_be_bytes()).expect("it fits");
        NextFrame::Ready
    }
}

/// As a media thread does that has one call.
fn take(feed: &mut Feed, frame: &mut FrameBuf) -> Result<bool, PlaybackEnd> {
    let mut help = Help::default();
    let taken = feed.next_frame(frame, &mut help);
    help.call();
    taken
}

/// The next answer that is not "not yet".
fn next(feed: &mut Feed, frame: &mut FrameBuf) -> Result<(), PlaybackEnd> {
    let deadline = clock() + PATIENCE;
    loop {
        frame.clear();
        if take(feed, frame)? {
            return Ok(());
        }
        assert!(clock() < deadline, "no frame");
        thread::yield_now();
    }
}

fn expect_numbers(feed: &mut Feed, numbers: impl IntoIterator<Item = u32>) {
    let mut frame = FrameBuf::new();
    for number in numbers {
        next(feed, &mut frame).expect("a frame");
        assert_eq!(frame.as_slice(), number.to_be_bytes());
    }
}

fn until(pool: &Pool, what: &str, looks_right: impl Fn(EncodeStats) -> bool) {
    let deadline = clock() + PATIENCE;
    while !looks_right(pool.stats()) {
        assert!(clock() < deadline, "{what}: {:?}", pool.stats());
        thread::yield_now();
    }
}

#[test]
fn frames_come_in_order_and_then_the_end_at_any_depth() {
    let pool = Pool::new(2);
    for depth in [0, 1, 2, 3, 5, 25, 255] {
        let (mut feed, seen) = feed(&pool, depth, numbers(600));
        expect_numbers(&mut feed, 0..600);
        let mut frame = FrameBuf::new();
        assert!(matches!(next(&mut feed, &mut frame), Err(PlaybackEnd::Finished)));
        assert!(matches!(take(&mut feed, &mut frame), Err(PlaybackEnd::Finished)), "the end stays the end");
        assert!(seen.dropped_on().starts_with("voice-encode"));
    }
    assert_eq!(pool.stats().frames, 7 * 600);
}

#[test]
fn frames_of_any_length_pass() {
    let pool = Pool::new(1);
    let len = |number: u32| number as usize * 577 % (FrameBuf::CAPACITY + 1);
    let (mut feed, _seen) = feed(&pool, 25, move |number, out| {
        out.set(&vec![number as u8; len(number)]).expect("it fits");
        NextFrame::Ready
    });
    let mut frame = FrameBuf::new();
    for number in 0..2_000_u32 {
        next(&mut feed, &mut frame).expect("a frame");
        assert_eq!(frame.as_slice(), vec![number as u8; len(number)]);
    }
}

#[test]
fn a_ring_that_long_frames_fill_is_left_alone_until_one_is_taken() {
    let pool = Pool::new(1);
    let (mut feed, seen) = feed(&pool, 25, |_, out| {
        out.set(&[7; FrameBuf::CAPACITY]).expect("it fits");
        NextFrame::Ready
    });
    let mut frame = FrameBuf::new();
    for _ in 0..3 {
        until(&pool, "a full ring", |stats| stats.frames > 0 && stats.queued == 0 && !feed.job.is_busy());
        let before = seen.asked();
        for _ in 0..1_000 {
            assert!(!feed.job.is_busy(), "it is looked at over and over");
            thread::yield_now();
        }
        assert_eq!(seen.asked(), before);
        next(&mut feed, &mut frame).expect("a frame");
    }
}

#[test]
fn no_more_frames_are_made_than_were_asked_for() {
    let pool = Pool::new(1);
    let (mut feed, seen) = feed(&pool, 3, numbers(u32::MAX));
    let full = |frames| until(&pool, "a full ring", |stats| stats.frames >= frames && stats.queued == 0);
    full(3);
    expect_numbers(&mut feed, 0..2);
    full(5);
    assert!(seen.asked() <= 5, "{} frames", seen.asked());
}

#[test]
fn a_panic_and_an_error_come_after_the_frames_before_them_and_end_nothing_else() {
    let pool = Pool::new(1);
    let (mut other, _seen) = feed(&pool, 2, numbers(u32::MAX));
    let (mut panics, seen) = feed(&pool, 10, |number, out| {
        assert!(number < 3, "as the test wants it");
        numbers(10)(number, out)
    });
    expect_numbers(&mut panics, 0..3);
    let mut frame = FrameBuf::new();
    assert!(matches!(next(&mut panics, &mut frame), Err(PlaybackEnd::Panicked)));
    seen.dropped_on();
    let (mut fails, seen) = feed(&pool, 10, |number, out| match number {
        3 => NextFrame::Failed(SourceError::new("bent")),
        _ => numbers(10)(number, out),
    });
    expect_numbers(&mut fails, 0..3);
    let Err(PlaybackEnd::Failed(error)) = next(&mut fails, &mut frame) else { panic!("the error is lost") };
    assert_eq!(error.source().expect("a cause").to_string(), "bent");
    seen.dropped_on();
    expect_numbers(&mut other, 0..100);
    let stats = pool.stats();
    assert_eq!((stats.panics, stats.threads), (1, 1));
}

#[test]
fn what_panics_as_it_is_dropped_ends_nothing_else() {
    struct Bomb(Sender<()>);
    impl FrameSource for Bomb {
        fn next_frame(&mut self, _: &mut FrameBuf) -> NextFrame {
            std::panic::panic_any(Self(self.0.clone()))
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            let _ = self.0.send(());
            panic!("as the test wants it")
        }
    }
    let pool = Pool::new(1);
    let (sender, dropped) = mpsc::channel();
    let mut bomb = pool.feed(Box::new(Bomb(sender)), 1).expect("there is room");
    assert!(matches!(next(&mut bomb, &mut FrameBuf::new()), Err(PlaybackEnd::Panicked)));
    for _ in 0..2 {
        dropped.recv_timeout(PATIENCE).expect("both are dropped");
    }
    let (mut other, _seen) = feed(&pool, 2, numbers(u32::MAX));
    expect_numbers(&mut other, 0..10);
    assert_eq!(pool.stats().threads, 1);
}

#[test]
fn a_spare_takes_the_place_of_a_blocked_worker_and_then_there_is_one_less_again() {
    let pool = Pool::new(1);
    let (release, released) = mpsc::channel::<()>();
    let (blocked, seen) = feed(&pool, 1, move |number, out| {
        let _ = released.recv();
        numbers(1)(number, out)
    });
    let (mut other, _seen) = feed(&pool, 2, numbers(u32::MAX));
    expect_numbers(&mut other, 0..100);
    let stats = pool.stats();
    assert_eq!((stats.threads, stats.spare_threads, stats.blocked_threads, stats.blocked), (2, 1, 1, 1));
    // Giving it up waits for nothing; the source goes when it can.
    drop(blocked);
    assert_eq!(seen.dropped.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(release);
    assert!(seen.dropped_on().starts_with("voice-encode"));
    until(&pool, "one thread", |stats| stats.threads == 1 && stats.blocked_threads == 0);
    // The worker, the watch, the source that is left and this hold the pool: nobody else is there any more.
    let running = pool.running().expect("it runs");
    until(&pool, "the end of the spare", |_| Arc::strong_count(&running.0) == 4);
    expect_numbers(&mut other, 100..200);
    assert!(pool.stats().longest >= Duration::from_millis(10));
}

#[test]
fn there_are_only_so_many_spares_and_what_waits_goes_on_when_one_is_free() {
    let pool = Pool::new(1);
    let most = 1 + SPARES_PER_CORE * thread::available_parallelism().map_or(1, usize::from);
    let blocking = |_| {
        let (release, released) = mpsc::channel::<()>();
        let (feed, seen) = feed(&pool, 1, move |_, _| {
            let _ = released.recv();
            NextFrame::End
        });
        (release, feed, seen)
    };
    let mut blockers: Vec<_> = (0..most).map(blocking).collect();
    let (mut other, _seen) = feed(&pool, 1, numbers(u32::MAX));
    until(&pool, "the last refusal", |stats| stats.blocked_threads == most && stats.spares_refused > 0);
    let stats = pool.stats();
    assert_eq!((stats.threads, stats.queued, stats.sources), (most, 1, most + 1));
    assert!(matches!(take(&mut other, &mut FrameBuf::new()), Ok(false)));
    blockers.pop();
    expect_numbers(&mut other, 0..10);
    drop(blockers);
    until(&pool, "one thread", |stats| stats.threads == 1 && stats.sources == 1);
}

#[test]
fn what_has_nothing_yet_is_asked_again_before_the_frame_is_due() {
    let pool = Pool::new(1);
    let mut times = 0;
    let (mut feed, _seen) = feed(&pool, 1, move |number, out| {
        times += 1;
        if times % 3 == 0 { numbers(1)(number, out) } else { NextFrame::NotYet }
    });
    until(&pool, "a frame", |stats| stats.frames == 1);
    expect_numbers(&mut feed, 0..1);
}

#[test]
fn what_never_has_anything_is_left_alone_until_it_is_asked() {
    let pool = Pool::new(1);
    let (mut silent, seen) = feed(&pool, 5, |_, _| NextFrame::NotYet);
    let asked = || {
        let deadline = clock() + PATIENCE;
        let running = pool.running().expect("it runs");
        // The watch sleeps once there is nothing for it to do.
        while running.0.is_armed() || running.0.queued() > 0 || seen.asked() == 0 {
            assert!(clock() < deadline, "it is asked over and over");
            thread::yield_now();
        }
        seen.asked()
    };
    let at_first = asked();
    assert!(at_first <= 4, "asked {at_first} times for the first frame");
    assert!(matches!(take(&mut silent, &mut FrameBuf::new()), Ok(false)));
    drop(silent);
    seen.dropped_on();
}

#[test]
fn the_threads_end_with_the_pool_and_its_feeds() {
    let pool = Pool::new(2);
    let feeds: Vec<_> = (0..100).map(|_| feed(&pool, 5, numbers(u32::MAX))).collect();
    let shared = Arc::downgrade(&pool.running().expect("it runs").0);
    drop(pool);
    let (feeds, seen): (Vec<_>, Vec<_>) = feeds.into_iter().unzip();
    for mut feed in feeds {
        expect_numbers(&mut feed, 0..20);
    }
    for seen in seen {
        seen.dropped_on();
        assert_eq!(seen.dropped.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    }
    let deadline = clock() + PATIENCE;
    while shared.upgrade().is_some() {
        assert!(clock() < deadline, "a thread goes on");
        thread::yield_now();
    }
}

#[test]
fn sources_that_wait_in_vain_are_dropped_when_the_pool_goes() {
    let pool = Pool::new(1);
    let most = 1 + SPARES_PER_CORE * thread::available_parallelism().map_or(1, usize::from);
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let blocked: Vec<_> = (0..most)
        .map(|_| {
            let released = Arc::clone(&released);
            feed(&pool, 1, move |_, _| {
                let _ = released.lock().map(|released| released.recv());
                NextFrame::End
            })
        })
        .collect();
    let (waiting, seen) = feed(&pool, 1, numbers(1));
    until(&pool, "all workers blocked", |stats| stats.blocked_threads == most);
    drop(waiting);
    drop(pool);
    let (feeds, _blocked): (Vec<_>, Vec<_>) = blocked.into_iter().unzip();
    drop(feeds);
    assert_eq!(seen.dropped_on(), "voice-encode", "by the watch: no worker is free");
    drop(release);
}

#[test]
fn many_sources_share_a_few_threads() {
    let pool = Pool::new(2);
    let mut feeds: Vec<_> =
        (0..1_000_u32).map(|number| feed(&pool, [1, 5, 25][number as usize % 3], numbers(200))).collect();
    for round in 0..200 {
        for (feed, _) in &mut feeds {
            expect_numbers(feed, [round]);
        }
    }
    let stats = pool.stats();
    assert_eq!((stats.frames, stats.sources), (200_000, 1_000));
    drop(feeds);
    until(&pool, "nothing", |stats| stats.sources == 0 && stats.queued == 0);
}

#[test]
fn one_call_for_help_after_many_calls_had_their_turn_is_enough() {
    let pool = Pool::new(2);
    let mut feeds: Vec<_> = (0..200).map(|_| feed(&pool, 1, numbers(u32::MAX)).0).collect();
    let mut frame = FrameBuf::new();
    for round in 1..=20 {
        until(&pool, "a frame of each", |stats| stats.frames == 200 * round && stats.queued == 0);
        let mut help = Help::default();
        for feed in &mut feeds {
            assert!(matches!(feed.next_frame(&mut frame, &mut help), Ok(true)));
        }
        help.call();
    }
}

#[test]
fn taking_frames_and_giving_up_allocates_nothing() {
    let pool = Pool::new(1);
    let (mut feed, seen) = feed(&pool, 8, numbers(u32::MAX));
    until(&pool, "frames", |stats| stats.frames == 8);
    let mut frame = FrameBuf::new();
    let mut frames = 0;
    let counted = allocation_counter::measure(|| {
        while frames < 200 {
            frames += u32::from(matches!(take(&mut feed, &mut frame), Ok(true)));
        }
        drop(feed);
    });
    assert_eq!(counted.count_total, 0);
    seen.dropped_on();
}
