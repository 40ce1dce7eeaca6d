//! The TCP listener: HTTP, and WebSockets by upgrade, told apart by their path.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, UPGRADE,
};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::CapacityError};
use voice_model::CloseCode;

use crate::door::{Door, Stranger};
use crate::driver::{Inbound, Outbound, Outbox, Turned};
use crate::stream::Stream;
use crate::{ConnectionId, CoreConfig};

/// Opens a listener that many clients can connect to at once.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does: elsewhere this would let others take the address.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_QUEUE_LEN)
}

type Request = hyper::Request<Incoming>;
type Response = hyper::Response<Full<Bytes>>;

/// What the tasks of all connections share.
pub(crate) struct Listener {
    pub(crate) config: CoreConfig,
    pub(crate) inbound: mpsc::Sender<Inbound>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) door: Door,
    pub(crate) turned: watch::Sender<Turned>,
    pub(crate) numbers: AtomicU64,
    pub(crate) outbox_len: usize,
}

impl Listener {
    /// Accepts connections until the task is aborted, which ends all of them.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((tcp, _)) => match Arc::clone(&self.slots).try_acquire_owned() {
                        Ok(slot) => {
                            connections.spawn(Arc::clone(&self).serve(tcp, slot));
                        }
                        // Dropping the stream closes it.
                        Err(_) => self.refuse(),
                    },
                    // Out of file descriptors, most likely: let some connections end first.
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn refuse(&self) {
        self.turned.send_modify(|turned| turned.limited += 1);
    }

    /// Refuses what comes from a page, before anything else of it is looked at.
    fn stranger(&self, request: &Request) -> Option<Response> {
        let all = |name: HeaderName| request.headers().get_all(name).iter().map(HeaderValue::as_bytes);
        let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let stranger = self.door.check(all(ORIGIN), all(SEC_FETCH_SITE), all(HOST).chain(target)).err()?;
        self.turned.send_modify(|turned| turned.browsers += 1);
        Some(match stranger {
            Stranger::Origin => text(StatusCode::FORBIDDEN, "pages of this origin may not come here"),
            Stranger::Host => text(StatusCode::MISDIRECTED_REQUEST, "this server is not the host that was asked for"),
        })
    }

    async fn serve(self: Arc<Self>, tcp: TcpStream, slot: OwnedSemaphorePermit) {
        let _slot = slot;
        // A gateway message is small and wanted at once.
        let _ = tcp.set_nodelay(true);
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
                Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                _ => return,
            },
        };
        // One WebSocket per TCP connection: the upgrade ends the HTTP part.
        let (upgraded, mut upgrades) = mpsc::channel(1);
        let service = service_fn(|request| {
            let (listener, upgraded) = (Arc::clone(&self), upgraded.clone());
            async move { Ok::<_, Infallible>(listener.answer(request, upgraded).await) }
        });
        let http = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HANDSHAKE_TIMEOUT)
            .max_buf_size(MAX_HEAD_LEN)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if http.await.is_err() {
            return;
        }
        drop(upgraded);
        if let Some((upgrade, target)) = upgrades.recv().await {
            self.run_websocket(upgrade, target).await;
        }
    }

    async fn answer(
        &self,
        mut request: Request,
        upgraded: mpsc::Sender<(hyper::upgrade::OnUpgrade, String)>,
    ) -> Response {
        if let Some(refusal) = self.stranger(&request) {
            return refusal;
        }
        let path = request.uri().path();
        if path.starts_with("/api") {
            return self.api(&request).await;
        }
        let key = websocket_key(&request).map(derive_accept_key);
        let Some(accept) = key else { return text(StatusCode::UPGRADE_REQUIRED, "a websocket is expected here") };
        let target = request.uri().path_and_query().map_or("/", |t| t.as_str()).to_owned();
        if let Some(error) = self.config.refusal(&target) {
            self.refuse();
            return text(StatusCode::BAD_REQUEST, &error.to_string());
        }
        let upgrade = hyper::upgrade::on(&mut request);
        if upgraded.try_send((upgrade, target)).is_err() {
            return text(StatusCode::BAD_REQUEST, "one websocket per connection");
        }
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }

    async fn api(&self, request: &Request) -> Response {
        let (reply, answer) = oneshot::channel();
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let asked = Inbound::Http {
            method: request.method().as_str().to_owned(),
            path: request.uri().path().to_owned(),
            authorization: authorization.map(str::to_owned),
            reply,
        };
        let gone = || text(StatusCode::SERVICE_UNAVAILABLE, "the server stops");
        if self.inbound.send(asked).await.is_err() {
            return gone();
        }
        let Ok(answer) = answer.await else { return gone() };
        let mut response = text(StatusCode::OK, &answer.body);
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn run_websocket(&self, upgrade: hyper::upgrade::OnUpgrade, target: String) {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else { return };
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_LEN)
            .max_message_size(Some(self.config.limits.message_len))
            .max_frame_size(Some(self.config.limits.message_len));
        let stream = parts.io.into_inner();
        let read = parts.read_buf.to_vec();
        let socket = WebSocketStream::from_partially_read(stream, read, Role::Server, Some(limits)).await;
        let connection = ConnectionId::new(self.numbers.fetch_add(1, Ordering::Relaxed));
        let (sender, messages) = mpsc::channel(self.outbox_len);
        let (alive, dropped) = oneshot::channel();
        let outbox = Outbox { messages: sender, _alive: alive };
        let opened = Inbound::Opened { connection, target, outbox };
        if self.inbound.send(opened).await.is_err() {
            return;
        }
        let code = tokio::select! {
            code = self.pump(socket, connection, messages) => code,
            // The core dropped a client that does not read.
            _ = dropped => None,
        };
        // When the core is gone there is nobody to tell.
        let _ = self.inbound.send(Inbound::Disconnected { connection, code }).await;
    }

    /// Carries messages both ways until one side ends; returns the client's close code.
    async fn pump(
        &self,
        mut socket: WebSocketStream<Stream>,
        connection: ConnectionId,
        mut messages: mpsc::Receiver<Outbound>,
    ) -> Option<CloseCode> {
        loop {
            let sent = tokio::select! {
                message = messages.recv() => match message {
                    Some(Outbound::Text(text)) => socket.send(Message::text(text)),
                    Some(Outbound::Binary(bytes)) => socket.send(Message::binary(bytes)),
                    Some(Outbound::Close(code)) => {
                        close(&mut socket, code).await;
                        return None;
                    }
                    Some(Outbound::Reset) | None => {
                        socket.get_ref().reset_on_drop();
                        return None;
                    }
                },
                message = socket.next() => {
                    let inbound = match message {
                        Some(Ok(Message::Text(text))) => Inbound::Text { connection, text: text.as_str().to_owned() },
                        Some(Ok(Message::Binary(bytes))) => Inbound::Binary { connection, bytes: bytes.to_vec() },
                        Some(Ok(Message::Close(frame))) => {
                            // The answer is queued already; flush it.
                            let _ = timeout(CLOSE_TIMEOUT, socket.flush()).await;
                            return frame.map(|frame| CloseCode::new(frame.code.into()));
                        }
                        Some(Ok(_)) => continue,
                        Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                            self.refuse();
                            close(&mut socket, CloseCode::MESSAGE_TOO_BIG).await;
                            return None;
                        }
                        Some(Err(Error::Protocol(_) | Error::Utf8(_))) => {
                            close(&mut socket, CloseCode::PROTOCOL_ERROR).await;
                            return None;
                        }
                        Some(Err(_)) | None => return None,
                    };
                    if self.inbound.send(inbound).await.is_err() {
                        return None;
                    }
                    continue;
                }
            };
            // A client that does not read must not hold its messages here for ever.
            if !matches!(timeout(SEND_TIMEOUT, sent).await, Ok(Ok(()))) {
                socket.get_ref().reset_on_drop();
                return None;
            }
        }
    }
}

/// Sends a close frame and waits a little for the client's.
async fn close(socket: &mut WebSocketStream<Stream>, code: CloseCode) {
    let frame = CloseFrame { code: code.get().into(), reason: code.meaning().unwrap_or_default().into() };
    let closing = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // However it ends, the connection is dropped next.
    let _ = timeout(CLOSE_TIMEOUT, closing).await;
}

/// The key of a request that asks for a WebSocket: RFC 6455, section 4.2.1.
fn websocket_key(request: &Request) -> Option<&[u8]> {
    let says = |name, word: &str| {
        let value = request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        value.is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    let asks = request.method() == Method::GET && says(CONNECTION, "upgrade") && says(UPGRADE, "websocket");
    request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| asks).map(HeaderValue::as_bytes)
}

fn text(status: StatusCode, body: &str) -> Response {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Connections that wait to be accepted, as far as the system allows.
const LISTEN_QUEUE_LEN: u32 = 4_096;

/// How long TLS and the head of a request may take: with thousands that connect at once, most of it is waiting for the
/// others' arithmetic.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take to read one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is read of a WebSocket at once, in bytes: most messages are far shorter, and each connection has a buffer.
const READ_BUFFER_LEN: usize = 4 * 1024;

/// The longest head of a request, in bytes.
const MAX_HEAD_LEN: usize = 16 * 1024;
