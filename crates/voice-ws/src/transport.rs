//! One WebSocket after another, as a session asks for them.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame, protocol::frame::coding::CloseCode as WireCode};
use voice_model::CloseCode;

use crate::{Connector, Endpoint, TransportError, connector::WebSocket};

/// The socket of a session: carries out [`Output`](crate::Output), yields what becomes an
/// [`Input`](crate::Input).
///
/// Nothing here waits but [`next`](Self::next), which may be dropped at any time without losing anything.
pub struct Transport {
    connector: Connector,
    state: State,
    /// The socket before, while its close message is on the way.
    closing: Option<Box<WebSocket>>,
}

enum State {
    Idle,
    Connecting(Pin<Box<dyn Future<Output = Result<WebSocket, TransportError>> + Send>>),
    Open(Box<WebSocket>),
}

/// What happened to the socket.
#[derive(Debug)]
pub enum TransportEvent {
    /// It is open.
    Connected,
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// The server closed it.
    Closed(Option<CloseCode>),
    /// It could not be opened, or broke.
    Failed(TransportError),
}

impl Transport {
    /// Creates a transport without a socket.
    #[must_use]
    pub const fn new(connector: Connector) -> Self {
        Self { connector, state: State::Idle, closing: None }
    }

    /// Begins to open a socket, in place of any older one.
    pub fn connect(&mut self, endpoint: Endpoint) {
        let connector = self.connector.clone();
        self.closing = None;
        self.state = State::Connecting(Box::pin(async move { connector.connect(endpoint).await }));
    }

    /// Queues a text message. Without an open socket it is dropped: the session hears of the loss by itself.
    pub fn send_text(&mut self, text: String) {
        self.send(Message::text(text));
    }

    /// Queues a binary message, like [`send_text`](Self::send_text).
    pub fn send_binary(&mut self, bytes: Vec<u8>) {
        self.send(Message::binary(bytes));
    }

    /// Closes the socket with this code; [`closed`](Self::closed) waits until the server has answered.
    pub fn close(&mut self, code: CloseCode) {
        if let State::Open(mut socket) = std::mem::replace(&mut self.state, State::Idle) {
            let frame = CloseFrame { code: WireCode::from(code.get()), reason: "".into() };
            let _ = Pin::new(&mut *socket).start_send(Message::Close(Some(frame)));
            let mut context = Context::from_waker(std::task::Waker::noop());
            let _ = Pin::new(&mut *socket).poll_flush(&mut context);
            self.closing = Some(socket);
        }
    }

    /// Waits for the server to answer the close message, at most `limit`, and drops the socket.
    pub async fn closed(&mut self, limit: Duration) {
        if let Some(mut socket) = self.closing.take() {
            let answered = poll_fn(|cx| {
                if Pin::new(&mut *socket).poll_flush(cx).is_ready() {
                    while ready!(Pin::new(&mut *socket).poll_next(cx)).is_some_and(|message| message.is_ok()) {}
                    return Poll::Ready(());
                }
                Poll::Pending
            });
            let _ = tokio::time::timeout(limit, answered).await;
        }
    }

    /// Waits for the next thing to happen; for ever while there is no socket.
    pub async fn next(&mut self) -> TransportEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Like [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        match &mut self.state {
            State::Idle => Poll::Pending,
            State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                Ok(socket) => {
                    self.state = State::Open(Box::new(socket));
                    Poll::Ready(TransportEvent::Connected)
                }
                Err(error) => self.failed(error),
            },
            State::Open(socket) => {
                if let Poll::Ready(Err(error)) = Pin::new(&mut **socket).poll_flush(cx) {
                    return self.failed(TransportError::from_open_socket(error));
                }
                loop {
                    return match ready!(Pin::new(&mut **socket).poll_next(cx)) {
                        Some(Ok(Message::Text(text))) => Poll::Ready(TransportEvent::Text(text.as_str().to_owned())),
                        Some(Ok(Message::Binary(bytes))) => Poll::Ready(TransportEvent::Binary(bytes.into())),
                        Some(Ok(Message::Close(frame))) => {
                            // Reading once more sends the answer to the close message.
                            let _ = Pin::new(&mut **socket).poll_next(cx);
                            self.state = State::Idle;
                            Poll::Ready(TransportEvent::Closed(frame.map(|frame| CloseCode::new(frame.code.into()))))
                        }
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => self.failed(TransportError::from_open_socket(error)),
                        None => self.failed(TransportError::Broken(std::io::ErrorKind::UnexpectedEof.into())),
                    };
                }
            }
        }
    }

    fn send(&mut self, message: Message) {
        if let State::Open(socket) = &mut self.state {
            if let Err(error) = Pin::new(&mut **socket).start_send(message) {
                // A full write buffer: the server has not read for a long time.
                tracing::debug!(%error, "giving up a stalled socket");
                self.state = State::Connecting(Box::pin(async { Err(TransportError::Stalled) }));
            } else {
                // On its way before this returns, if the system has room; `next` sees to the rest.
                let mut context = Context::from_waker(std::task::Waker::noop());
                let _ = Pin::new(&mut **socket).poll_flush(&mut context);
            }
        }
    }

    fn failed(&mut self, error: TransportError) -> Poll<TransportEvent> {
        self.state = State::Idle;
        Poll::Ready(TransportEvent::Failed(error))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Idle => "Idle",
            State::Connecting(_) => "Connecting",
            State::Open(_) => "Open",
        };
        f.debug_struct("Transport").field("state", &state).finish_non_exhaustive()
    }
}
