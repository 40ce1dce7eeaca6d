//! A session and the WebSocket that it lives on.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;
use tokio::time::{Sleep, sleep_until};
use voice_model::{ClientMessage, CloseCode, Opcode};

use crate::{
    Connector, Identity, Input, Output, SendError, Session, SessionConfig, SessionEvent, Transport, TransportError,
    TransportEvent,
};

/// A voice gateway client: a [`Session`] driven over one WebSocket at a time. A [`Stream`] of
/// [`SessionEvent`] that ends after [`SessionEvent::Ended`].
///
/// The session only runs while the stream is polled.
///
/// ```no_run
/// use voice_ws::{Client, Connector, Identity, SessionEvent};
///
/// # async fn run(identity: Identity) {
/// let mut client = Client::connect(Connector::new(), Default::default(), identity, 7);
/// while let Some(event) = client.next().await {
///     if let SessionEvent::Ready(ready) = event {
///         println!("media server at {}:{}", ready.ip, ready.port);
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    session: Session,
    transport: Transport,
    timer: Pin<Box<Sleep>>,
    ended: bool,
    last_error: Option<TransportError>,
}

impl Client {
    /// Starts a session. Nothing happens before the stream is polled, which needs a tokio runtime with its I/O
    /// and time drivers.
    ///
    /// `seed` draws the jitter of heartbeats and delays.
    #[must_use]
    pub fn connect(connector: Connector, config: SessionConfig, identity: Identity, seed: u64) -> Self {
        Self {
            session: Session::new(clock(), Arc::new(config), identity, seed),
            transport: Transport::new(connector),
            timer: Box::pin(sleep_until(clock().into())),
            ended: false,
            last_error: None,
        }
    }

    /// Waits for the next event; `None` after the session has ended.
    pub async fn next(&mut self) -> Option<SessionEvent> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Sends a message; see [`Session::send`].
    ///
    /// # Errors
    ///
    /// [`SendError`]: the server would not take the message now, or ever.
    pub fn send(&mut self, message: ClientMessage) -> Result<(), SendError> {
        self.session.send(clock(), message)
    }

    /// Sends a binary message; see [`Session::send_binary`].
    ///
    /// # Errors
    ///
    /// [`SendError`]: the server would not take the message now, or ever.
    pub fn send_binary(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), SendError> {
        self.session.send_binary(opcode, payload)
    }

    /// Ends the session and waits, at most `limit`, for the server to acknowledge it.
    pub async fn close(&mut self, limit: Duration) {
        self.session.close(CloseCode::NORMAL);
        while self.next().await.is_some() {}
        self.transport.closed(limit).await;
    }

    /// The session, for its latency and counters.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Why the last socket could not be opened, or broke.
    #[must_use]
    pub const fn last_error(&self) -> Option<&TransportError> {
        self.last_error.as_ref()
    }

    /// Takes that error, to keep or to pass on.
    pub const fn take_last_error(&mut self) -> Option<TransportError> {
        self.last_error.take()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<SessionEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            match self.session.poll_output() {
                Output::Connect(endpoint) => self.transport.connect(endpoint),
                Output::Text(text) => self.transport.send_text(text),
                Output::Binary(bytes) => self.transport.send_binary(bytes),
                Output::Close(code) => self.transport.close(code),
                Output::Event(event) => {
                    self.ended = matches!(event, SessionEvent::Ended(_));
                    return Poll::Ready(Some(event));
                }
                Output::Timeout(at) => {
                    if let Some(at) = at {
                        self.timer.as_mut().reset(at.into());
                    }
                    if let Poll::Ready(event) = self.transport.poll_next(cx) {
                        if let Some(error) = event.feed(&mut self.session, clock()) {
                            self.last_error = Some(error);
                        }
                    } else if at.is_some() && self.timer.as_mut().poll(cx).is_ready() {
                        self.session.handle_input(clock(), Input::Timeout);
                    } else {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Stream for Client {
    type Item = SessionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionEvent>> {
        self.poll_event(cx)
    }
}

impl TransportEvent {
    /// Feeds the event to a session and returns what broke the socket, if something did.
    pub fn feed(self, session: &mut Session, now: Instant) -> Option<TransportError> {
        self.feed_with(|input| session.handle_input(now, input))
    }

    /// Like [`feed`](Self::feed), for a session inside of something else.
    pub fn feed_with(self, handle_input: impl FnOnce(Input<'_>)) -> Option<TransportError> {
        match self {
            Self::Connected => handle_input(Input::Connected),
            Self::Text(text) => handle_input(Input::Text(&text)),
            Self::Binary(bytes) => handle_input(Input::Binary(&bytes)),
            Self::Oversized => handle_input(Input::Oversized),
            Self::Closed(code) => handle_input(Input::Disconnected(code)),
            Self::Failed(error) => {
                handle_input(Input::Disconnected(None));
                return Some(error);
            }
        }
        None
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver of a session is where the clock is read")]
fn clock() -> Instant {
    Instant::now()
}
