//! One WebSocket after another, as a session asks for them.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message,
    protocol::{CloseFrame, frame::coding::CloseCode as WireCode},
};
use voice_model::CloseCode;

use crate::{Connector, Endpoint, TransportError, connector::WebSocket};

/// The socket of a session: carries out [`Output`](crate::Output), yields what becomes an
/// [`Input`](crate::Input).
///
/// Nothing here waits but [`next`](Self::next), which may be dropped at any time without losing anything, and
/// [`closed`](Self::closed). Both need a tokio runtime with its I/O and time drivers.
pub struct Transport {
    connector: Connector,
    state: State,
    /// The socket before, while its close message is on the way.
    closing: Option<Closing>,
}

enum State {
    Idle,
    Connecting(Pin<Box<dyn Future<Output = Result<WebSocket, TransportError>> + Send>>),
    Open(Box<WebSocket>),
    /// An oversized message waits to be read, which nobody will.
    Oversized(Box<WebSocket>),
    /// What the next event tells.
    Failed(TransportError),
}

/// What happened to the socket. `Debug` shows lengths, not messages, which can contain keys.
pub enum TransportEvent {
    /// It is open.
    Connected,
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A message longer than 1 MiB. Nothing more is read from the socket; it waits to be closed.
    Oversized,
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

    /// Closes the socket with this code, or without one where the WebSocket protocol forbids it.
    ///
    /// [`next`](Self::next) goes on with it for up to 2 s beside a new socket; [`closed`](Self::closed) waits for
    /// it.
    pub fn close(&mut self, code: CloseCode) {
        let (mut socket, until) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(socket) => (socket, Until::Answered),
            State::Oversized(socket) => (socket, Until::Drained),
            State::Idle | State::Connecting(_) | State::Failed(_) => return,
        };
        let frame = CloseFrame { code: WireCode::from(code.get()), reason: "".into() };
        let _ = Pin::new(&mut *socket).start_send(Message::Close(code.is_sendable().then_some(frame)));
        self.finish(socket, until);
    }

    /// Waits for the server to answer the close message, at most `limit`, and drops the socket.
    pub async fn closed(&mut self, limit: Duration) {
        if let Some(mut closing) = self.closing.take() {
            let _ = tokio::time::timeout(limit, poll_fn(|cx| closing.poll_socket(cx))).await;
        }
    }

    /// Waits for the next thing to happen; for ever while there is no socket.
    pub async fn next(&mut self) -> TransportEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Like [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        if self.closing.as_mut().is_some_and(|closing| closing.poll(cx).is_ready()) {
            self.closing = None;
        }
        let event = match &mut self.state {
            State::Idle | State::Oversized(_) => return Poll::Pending,
            State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                Ok(socket) => {
                    self.state = State::Open(Box::new(socket));
                    return Poll::Ready(TransportEvent::Connected);
                }
                Err(error) => TransportEvent::Failed(error),
            },
            State::Open(socket) => match ready!(poll_open(socket, cx)) {
                event @ (TransportEvent::Text(_) | TransportEvent::Binary(_)) => return Poll::Ready(event),
                event => event,
            },
            State::Failed(_) => TransportEvent::Connected,
        };
        // Anything else is the last that the socket says.
        let event = match (std::mem::replace(&mut self.state, State::Idle), event) {
            (State::Failed(error), _) => TransportEvent::Failed(error),
            (State::Open(socket), TransportEvent::Oversized) => {
                self.state = State::Oversized(socket);
                TransportEvent::Oversized
            }
            (State::Open(socket), TransportEvent::Closed(code)) => {
                // The answer to the close message is on its way.
                self.finish(socket, Until::Flushed);
                TransportEvent::Closed(code)
            }
            (_, event) => event,
        };
        Poll::Ready(event)
    }

    fn send(&mut self, message: Message) {
        let State::Open(socket) = &mut self.state else { return };
        match Pin::new(&mut **socket).start_send(message) {
            Err(WsError::WriteBufferFull(_)) => {
                tracing::debug!("giving up a socket that the server does not read from");
                self.state = State::Failed(TransportError::Stalled);
            }
            // On its way before this returns, if the system has room; `next` sees to the rest. It also sees a
            // broken socket, but reads first what the server may have said about it.
            Ok(()) | Err(_) => {
                let _ = Pin::new(&mut **socket).poll_flush(&mut Context::from_waker(Waker::noop()));
            }
        }
    }

    /// Lets a socket finish beside the next one.
    fn finish(&mut self, socket: Box<WebSocket>, until: Until) {
        let mut closing = Closing { socket, until, deadline: None };
        let _ = Pin::new(&mut *closing.socket).poll_flush(&mut Context::from_waker(Waker::noop()));
        self.closing = Some(closing);
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Idle => "Idle",
            State::Connecting(_) => "Connecting",
            State::Open(_) => "Open",
            State::Oversized(_) => "Oversized",
            State::Failed(_) => "Failed",
        };
        f.debug_struct("Transport").field("state", &state).finish_non_exhaustive()
    }
}

impl fmt::Debug for TransportEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("Connected"),
            Self::Text(text) => write!(f, "Text([{} bytes])", text.len()),
            Self::Binary(bytes) => write!(f, "Binary([{} bytes])", bytes.len()),
            Self::Oversized => f.write_str("Oversized"),
            Self::Closed(code) => f.debug_tuple("Closed").field(code).finish(),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

/// The next event of an open socket, after what waits was sent.
fn poll_open(socket: &mut WebSocket, cx: &mut Context<'_>) -> Poll<TransportEvent> {
    // A broken socket shows when it is read, too, and after what the server said before: why it closed, perhaps.
    let _ = Pin::new(&mut *socket).poll_flush(cx);
    loop {
        let message = ready!(Pin::new(&mut *socket).poll_next(cx));
        return Poll::Ready(match message {
            Some(Ok(Message::Text(text))) => TransportEvent::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(bytes))) => TransportEvent::Binary(bytes.into()),
            Some(Ok(Message::Close(frame))) => {
                TransportEvent::Closed(frame.map(|frame| CloseCode::new(frame.code.into())))
            }
            Some(Ok(_)) => continue,
            Some(Err(WsError::Capacity(_))) => TransportEvent::Oversized,
            Some(Err(error)) => TransportEvent::Failed(TransportError::from_open_socket(error)),
            None => TransportEvent::Failed(TransportError::Broken(std::io::ErrorKind::UnexpectedEof.into())),
        });
    }
}

/// A socket whose close message is on the way.
struct Closing {
    socket: Box<WebSocket>,
    until: Until,
    /// Made when first polled, for only then there is a runtime for certain.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// When a closing socket can be dropped.
#[derive(Clone, Copy)]
enum Until {
    /// When everything is sent: the server closed it.
    Flushed,
    /// When the server has answered the close message.
    Answered,
    /// When the server is done sending: to drop a socket with unread data resets it, and the server would not
    /// see the close message.
    Drained,
}

impl Closing {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.poll_socket(cx),
        }
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A socket that takes nothing more may still be read from.
        let flushed = Pin::new(&mut *self.socket).poll_flush(cx);
        match self.until {
            Until::Flushed => flushed.map(|_| ()),
            Until::Answered => loop {
                match ready!(Pin::new(&mut *self.socket).poll_next(cx)) {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Poll::Ready(()),
                    Some(Ok(_)) => {}
                }
            },
            Until::Drained => {
                let mut chunk = [0; 4 << 10];
                loop {
                    let mut buffer = ReadBuf::new(&mut chunk);
                    let read = Pin::new(self.socket.get_mut()).poll_read(cx, &mut buffer);
                    if ready!(read).is_err() || buffer.filled().is_empty() {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

/// How long a closing socket is kept beside the next one.
const LINGER: Duration = Duration::from_secs(2);
