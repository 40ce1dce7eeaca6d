//! A call's events on the way to their reader.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::{EndReason, Event};

/// The events of one call: a [`Stream`] that ends after [`Event::Ended`].
///
/// The newest events are dropped while nobody reads, and counted in [`Event::Lagged`]; `Ended` never is.
pub struct Events {
    events: mpsc::Receiver<Event>,
    shared: Arc<Shared>,
    missed: u64,
    over: bool,
}

/// Control's end.
pub(crate) struct EventSender {
    events: mpsc::Sender<Event>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    missed: AtomicU64,
    end: OnceLock<EndReason>,
}

pub(crate) fn events() -> (EventSender, Events) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let shared = Arc::new(Shared::default());
    let events = Events { events: receiver, shared: Arc::clone(&shared), missed: 0, over: false };
    (EventSender { events: sender, shared }, events)
}

impl Events {
    /// Waits for the next event; `None` after [`Event::Ended`].
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let missed = self.shared.missed.load(Ordering::Relaxed);
        if missed > self.missed {
            let news = missed - std::mem::replace(&mut self.missed, missed);
            return Poll::Ready(Some(Event::Lagged { missed: news }));
        }
        let event = std::task::ready!(self.events.poll_recv(cx));
        Poll::Ready(event.or_else(|| {
            let first = !std::mem::replace(&mut self.over, true);
            let reason = self.shared.end.get().cloned().unwrap_or(EndReason::Internal);
            first.then_some(Event::Ended(reason))
        }))
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl EventSender {
    /// Returns `false` if there was no place for it. That nobody wants to read it is no loss.
    pub(crate) fn send(&self, event: Event) -> bool {
        let is_full = matches!(self.events.try_send(event), Err(mpsc::error::TrySendError::Full(_)));
        if is_full {
            self.shared.missed.fetch_add(1, Ordering::Relaxed);
        }
        !is_full
    }

    /// Lets the events end with this reason, once this is dropped.
    pub(crate) fn end(&self, reason: EndReason) {
        let _ = self.shared.end.set(reason);
    }
}

/// Events that wait for their reader.
const CAPACITY: usize = 256;

#[cfg(test)]
mod tests {
    use voice_model::UserId;

    use super::*;

    #[tokio::test]
    async fn w18_the_end_is_never_dropped_and_comes_last() {
        let (sender, mut events) = events();
        for user in 0..300 {
            sender.send(Event::UserLeft(UserId::new(user)));
        }
        sender.end(EndReason::Disconnected);
        drop(sender);
        assert!(matches!(events.next().await, Some(Event::Lagged { missed: 44 })));
        for _ in 0..256 {
            assert!(matches!(events.next().await, Some(Event::UserLeft(_))));
        }
        assert!(matches!(events.next().await, Some(Event::Ended(EndReason::Disconnected))));
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn w18_who_stops_reading_keeps_nothing_and_hinders_nothing() {
        let (sender, events) = events();
        let shared = Arc::downgrade(&sender.shared);
        drop(events);
        assert!((0..300).all(|user| sender.send(Event::UserLeft(UserId::new(user)))));
        drop(sender);
        assert!(shared.upgrade().is_none(), "nothing is registered anywhere");
    }
}
