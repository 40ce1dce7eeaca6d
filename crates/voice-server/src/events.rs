//! Reading a running server's events.

use tokio::sync::broadcast;

use crate::Event;

/// A reader of a server's events.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    pub(crate) fn new(reader: broadcast::Receiver<Event>) -> Self {
        Self(reader)
    }

    /// The next event; `None` when the server stopped.
    ///
    /// A reader that is too slow misses events: [`EventResult::Missed`] says how many.
    pub async fn next(&mut self) -> Option<EventResult> {
        match self.0.recv().await {
            Ok(event) => Some(EventResult::Event(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(EventResult::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// An event, or how many a slow reader missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// Something happened.
    Event(Event),
    /// The reader was too slow.
    Missed {
        /// How many events are lost to it.
        count: u64,
    },
}
