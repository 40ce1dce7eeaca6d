//! Frames from a media thread to a task: a bounded ring that says what it lost.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;
use futures_core::Stream;
use rtrb::{Consumer, Producer, RingBuffer};
use voice_audio::FrameBuf;
use voice_model::UserId;
use voice_rtp::{Ssrc, Timestamp};

/// What was heard.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are frames, and a box would be an allocation for each")]
pub enum Received {
    /// A frame, exactly as its sender encoded it.
    Frame {
        /// Who sent it.
        user: UserId,
        /// The stream that it belongs to.
        ssrc: Ssrc,
        /// When it was sampled, in ticks of 48 kHz.
        timestamp: Timestamp,
        /// The Opus packet.
        frame: FrameBuf,
    },
    /// So many packets of a stream were sent and did not come in time.
    Lost {
        /// Who sent them.
        user: UserId,
        /// The stream.
        ssrc: Ssrc,
        /// Their number, at least 1.
        packets: u64,
    },
    /// So many frames were dropped here because they were not read in time.
    Lagged {
        /// Their number, at least 1.
        missed: u64,
    },
}

/// Frames as they are heard: a [`Stream`] that ends with the call. Dropping it ends the reception.
pub struct Receive {
    frames: Consumer<Received>,
    shared: Arc<Shared>,
    missed: u64,
}

/// The media thread's end.
pub(crate) struct ReceiveSink {
    frames: Producer<Received>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waker: AtomicWaker,
    missed: AtomicU64,
    closed: AtomicBool,
}

/// Makes a ring for so many frames.
pub(crate) fn ring(capacity: usize) -> (ReceiveSink, Receive) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let shared = Arc::new(Shared::default());
    let sink = ReceiveSink { frames: producer, shared: Arc::clone(&shared) };
    (sink, Receive { frames: consumer, shared, missed: 0 })
}

impl Receive {
    /// Waits for what is heard next; `None` once the call is over and everything was read.
    pub async fn next(&mut self) -> Option<Received> {
        std::future::poll_fn(|cx| self.poll_received(cx)).await
    }

    /// Frames dropped because they were not read in time.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Relaxed)
    }

    fn poll_received(&mut self, cx: &Context<'_>) -> Poll<Option<Received>> {
        if let Some(received) = self.take() {
            return Poll::Ready(Some(received));
        }
        self.shared.waker.register(cx.waker());
        // Closing comes after the last frame, so the ring is looked at once more after it.
        let closed = self.shared.closed.load(Ordering::Acquire);
        match self.take() {
            Some(received) => Poll::Ready(Some(received)),
            None if closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn take(&mut self) -> Option<Received> {
        let missed = self.missed();
        if missed > self.missed {
            let news = missed - std::mem::replace(&mut self.missed, missed);
            return Some(Received::Lagged { missed: news });
        }
        self.frames.pop().ok()
    }
}

impl Stream for Receive {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        self.poll_received(cx)
    }
}

impl fmt::Debug for Receive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receive").field("missed", &self.missed()).finish_non_exhaustive()
    }
}

impl ReceiveSink {
    /// Hands on what was heard; a full ring counts it as missed.
    pub(crate) fn push(&mut self, received: Received) {
        if self.frames.push(received).is_err() {
            self.shared.missed.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.waker.wake();
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.frames.is_abandoned()
    }
}

impl Drop for ReceiveSink {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(packets: u64) -> Received {
        Received::Lost { user: UserId::new(1), ssrc: Ssrc::new(1), packets }
    }

    #[tokio::test]
    async fn a_reader_is_told_what_it_missed_and_when_the_call_is_over() {
        let (mut sink, mut receive) = ring(2);
        (1..=5).for_each(|n| sink.push(lost(n)));
        assert!(matches!(receive.next().await, Some(Received::Lagged { missed: 3 })));
        assert!(matches!(receive.next().await, Some(Received::Lost { packets: 1, .. })));
        drop(sink);
        assert!(matches!(receive.next().await, Some(Received::Lost { packets: 2, .. })));
        assert!(receive.next().await.is_none());
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let (mut sink, mut receive) = ring(2);
        let reader = tokio::spawn(async move { receive.next().await });
        tokio::task::yield_now().await;
        sink.push(lost(7));
        assert!(matches!(reader.await.expect("no panic"), Some(Received::Lost { packets: 7, .. })));
    }

    #[test]
    fn dropping_the_reader_abandons_the_ring() {
        let (sink, receive) = ring(2);
        assert!(!sink.is_abandoned());
        drop(receive);
        assert!(sink.is_abandoned());
    }
}
