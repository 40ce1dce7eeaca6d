//! A reader that may block, behind a source that may not.

use std::error::Error;
use std::fmt;
use std::thread::{self, Thread};

use rtrb::{Consumer, PopError, Producer, PushError, RingBuffer};

use super::{FrameReader, FrameSource, NextFrame, SourceError};
use crate::FrameBuf;

/// A thread reads frames ahead into a ring; [`next_frame`](FrameSource::next_frame) takes them out of it and never
/// blocks, allocates or locks.
///
/// The thread ends with the audio, with its first error, or when this is dropped.
///
/// ```
/// use voice_audio::source::{FrameReader, Prefetch, ReadError};
/// use voice_audio::{FrameBuf, FrameSource, NextFrame, SILENCE_FRAME};
///
/// struct Pause(u32);
///
/// impl FrameReader for Pause {
///     fn read_frame(&mut self, out: &mut FrameBuf) -> Result<bool, ReadError> {
///         out.set(&SILENCE_FRAME).map_err(|error| ReadError::Malformed(error.into()))?;
///         self.0 += 1;
///         Ok(self.0 <= 3)
///     }
/// }
///
/// let mut source = Prefetch::spawn(Pause(0), 50);
/// let (mut frame, mut frames) = (FrameBuf::new(), 0);
/// loop {
///     match source.next_frame(&mut frame) {
///         NextFrame::Ready => frames += 1,
///         NextFrame::NotYet => std::thread::yield_now(),
///         NextFrame::End => break,
///         NextFrame::Failed(error) => panic!("{error}"),
///     }
/// }
/// assert_eq!(frames, 3);
/// ```
pub struct Prefetch {
    /// `None` once the end was reached, and while dropping.
    ring: Option<Consumer<Slot>>,
    thread: Option<Thread>,
    failed: Option<SourceError>,
    /// Free slots from which on the thread is woken: half the ring, so that it works in batches.
    wake_at: usize,
    underruns: u64,
}

#[expect(clippy::large_enum_variant, reason = "nearly every slot is a frame, and a box would have to be allocated")]
enum Slot {
    Frame(FrameBuf),
    End,
    Failed(SourceError),
}

impl Prefetch {
    /// Starts the thread, which reads up to `depth` frames ahead (at least 2; a frame takes about 1.4 kB).
    ///
    /// When the thread cannot be started, the source fails at its first frame.
    pub fn spawn(reader: impl FrameReader + 'static, depth: usize) -> Self {
        let depth = depth.max(2);
        let (producer, consumer) = RingBuffer::new(depth);
        let spawned = thread::Builder::new().name("voice-prefetch".to_owned()).spawn(move || fill(reader, producer));
        let (thread, failed) = match spawned {
            Ok(handle) => (Some(handle.thread().clone()), None),
            Err(error) => (None, Some(SourceError::new(error))),
        };
        Self { ring: Some(consumer), thread, failed, wake_at: depth / 2, underruns: 0 }
    }

    /// Frames read ahead at this moment.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.ring.as_ref().map_or(0, Consumer::slots)
    }

    /// How often a frame was asked for before it was there.
    #[must_use]
    pub const fn underruns(&self) -> u64 {
        self.underruns
    }

    fn finish(&mut self, last: NextFrame) -> NextFrame {
        self.ring = None;
        last
    }
}

impl FrameSource for Prefetch {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        if let Some(error) = self.failed.take() {
            return self.finish(NextFrame::Failed(error));
        }
        let Some(ring) = &mut self.ring else {
            return NextFrame::End;
        };
        // Asked before the ring is looked at: what was pushed before the thread ended is then seen below.
        let stopped = ring.is_abandoned();
        match ring.pop() {
            Ok(Slot::Frame(frame)) => {
                if ring.buffer().capacity() - ring.slots() >= self.wake_at
                    && let Some(thread) = &self.thread
                {
                    thread.unpark();
                }
                out.clone_from(&frame);
                NextFrame::Ready
            }
            Ok(Slot::End) => self.finish(NextFrame::End),
            Ok(Slot::Failed(error)) => self.finish(NextFrame::Failed(error)),
            Err(PopError::Empty) if stopped => self.finish(NextFrame::Failed(SourceError::new(ReaderStopped))),
            Err(PopError::Empty) => {
                self.underruns += 1;
                NextFrame::NotYet
            }
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // The ring goes first, so that the thread, once woken, finds it abandoned.
        self.ring = None;
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetch")
            .field("buffered", &self.buffered())
            .field("underruns", &self.underruns)
            .finish_non_exhaustive()
    }
}

/// The reading thread ended without a word: the reader panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderStopped;

impl fmt::Display for ReaderStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reading thread stopped")
    }
}

impl Error for ReaderStopped {}

/// The thread: reads until the end, an error, or nobody listens.
fn fill(mut reader: impl FrameReader, mut ring: Producer<Slot>) {
    let mut frame = FrameBuf::new();
    loop {
        let slot = match reader.read_frame(&mut frame) {
            Ok(true) => Slot::Frame(frame.clone()),
            Ok(false) => Slot::End,
            Err(error) => Slot::Failed(SourceError::new(error)),
        };
        let last = !matches!(slot, Slot::Frame(_));
        if !push(&mut ring, slot) || last {
            return;
        }
    }
}

/// Waits for room; `false` when the consumer is gone.
fn push(ring: &mut Producer<Slot>, mut slot: Slot) -> bool {
    loop {
        if ring.is_abandoned() {
            return false;
        }
        match ring.push(slot) {
            Ok(()) => return true,
            Err(PushError::Full(back)) => slot = back,
        }
        // An unpark between the check and here is not lost: park then returns at once.
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
    use std::time::Duration;

    use super::*;
    use crate::source::ReadError;

    /// Yields numbered frames as it is allowed to; its `alive` is dropped with it.
    struct Numbers {
        next: u8,
        permits: Option<Receiver<()>>,
        until: u8,
        alive: SyncSender<()>,
        end: fn() -> Result<bool, ReadError>,
    }

    impl FrameReader for Numbers {
        fn read_frame(&mut self, out: &mut FrameBuf) -> Result<bool, ReadError> {
            let _ = &self.alive;
            if let Some(permits) = &self.permits {
                let _ = permits.recv();
            }
            if self.next == self.until {
                return (self.end)();
            }
            out.set(&[self.next]).unwrap();
            self.next += 1;
            Ok(true)
        }
    }

    fn numbers(until: u8, end: fn() -> Result<bool, ReadError>) -> (Numbers, Receiver<()>) {
        let (alive, dead) = mpsc::sync_channel(1);
        let reader = Numbers { next: 0, permits: None, until, alive, end };
        (reader, dead)
    }

    fn wait_for_end(dead: &Receiver<()>) {
        assert_eq!(dead.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Disconnected));
    }

    /// The next answer that is not `NotYet`.
    fn next(source: &mut Prefetch, frame: &mut FrameBuf) -> NextFrame {
        loop {
            match source.next_frame(frame) {
                NextFrame::NotYet => thread::yield_now(),
                other => return other,
            }
        }
    }

    #[test]
    fn frames_arrive_in_order_and_then_the_end() {
        let (reader, dead) = numbers(200, || Ok(false));
        let mut source = Prefetch::spawn(reader, 7);
        let mut frame = FrameBuf::new();
        for number in 0..200 {
            assert!(matches!(next(&mut source, &mut frame), NextFrame::Ready));
            assert_eq!(frame.as_slice(), [number]);
        }
        assert!(matches!(next(&mut source, &mut frame), NextFrame::End));
        assert!(matches!(source.next_frame(&mut frame), NextFrame::End));
        wait_for_end(&dead);
    }

    #[test]
    fn the_thread_ends_when_the_source_is_dropped() {
        // Far more frames than the ring holds: the thread waits for room when the source goes.
        let (reader, dead) = numbers(200, || Ok(false));
        let source = Prefetch::spawn(reader, 2);
        drop(source);
        wait_for_end(&dead);
    }

    #[test]
    fn the_thread_ends_when_the_source_is_dropped_in_the_middle() {
        let (reader, dead) = numbers(200, || Ok(false));
        let mut source = Prefetch::spawn(reader, 4);
        let mut frame = FrameBuf::new();
        for _ in 0..50 {
            assert!(matches!(next(&mut source, &mut frame), NextFrame::Ready));
        }
        drop(source);
        wait_for_end(&dead);
    }

    #[test]
    fn an_error_comes_after_the_frames_before_it() {
        let (reader, dead) = numbers(3, || Err(ReadError::Malformed("bent".into())));
        let mut source = Prefetch::spawn(reader, 10);
        let mut frame = FrameBuf::new();
        for _ in 0..3 {
            assert!(matches!(next(&mut source, &mut frame), NextFrame::Ready));
        }
        let NextFrame::Failed(error) = next(&mut source, &mut frame) else {
            panic!("the error was lost");
        };
        assert_eq!(error.source().unwrap().to_string(), "the audio is damaged");
        assert!(matches!(source.next_frame(&mut frame), NextFrame::End));
        wait_for_end(&dead);
    }

    #[test]
    fn a_reader_that_panics_fails_the_source() {
        let (reader, dead) = numbers(1, || panic!("part of the test"));
        let mut source = Prefetch::spawn(reader, 10);
        let mut frame = FrameBuf::new();
        assert!(matches!(next(&mut source, &mut frame), NextFrame::Ready));
        assert!(matches!(next(&mut source, &mut frame), NextFrame::Failed(_)));
        wait_for_end(&dead);
    }

    #[test]
    fn a_slow_reader_is_an_underrun_and_no_wait() {
        let (mut reader, dead) = numbers(2, || Ok(false));
        let (permit, permits) = mpsc::channel();
        reader.permits = Some(permits);
        let mut source = Prefetch::spawn(reader, 10);
        let mut frame = FrameBuf::new();
        assert!(matches!(source.next_frame(&mut frame), NextFrame::NotYet));
        assert_eq!(source.underruns(), 1);
        permit.send(()).unwrap();
        assert!(matches!(next(&mut source, &mut frame), NextFrame::Ready));
        drop(permit);
        assert!(matches!(next(&mut source, &mut frame), NextFrame::Ready));
        assert!(matches!(next(&mut source, &mut frame), NextFrame::End));
        wait_for_end(&dead);
    }
}
