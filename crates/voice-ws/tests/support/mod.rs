//! A voice gateway that does exactly what a test tells it to.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use voice_model::{ChannelId, GuildId, SelectProtocol, SessionId, Token, UserId};
use voice_ws::{Client, Connector, Endpoint, Identity, SessionConfig, SessionEvent};

pub(crate) const HELLO: &str = r#"{"op":8,"d":{"v":8,"heartbeat_interval":1000}}"#;
pub(crate) const READY: &str =
    r#"{"op":2,"d":{"ssrc":7,"ip":"127.0.0.1","port":50007,"modes":["aead_aes256_gcm_rtpsize"]}}"#;
pub(crate) const RESUMED: &str = r#"{"op":9,"d":null}"#;
pub(crate) const MODE: &str = "aead_aes256_gcm_rtpsize";

/// Longer than anything here takes, on a machine with other things to do.
const DEADLINE: Duration = Duration::from_secs(15);

/// Waits for a future, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    pub(crate) certificate_pem: String,
}

impl Server {
    pub(crate) async fn plain() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self { listener, tls: None, certificate_pem: String::new() }
    }

    pub(crate) async fn with_tls() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let tls = Some(TlsAcceptor::from(Arc::new(config)));
        Self { tls, certificate_pem: made.cert.pem(), ..Self::plain().await }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let address = self.listener.local_addr().unwrap();
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{address}").parse().unwrap()
    }

    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        soon("a connection", self.listener.accept()).await.unwrap().0
    }

    /// Accepts a connection up to the WebSocket.
    pub(crate) async fn accept(&self) -> Peer {
        self.upgrade(self.accept_tcp().await).await
    }

    /// The server's side of a TLS handshake that cannot succeed.
    pub(crate) async fn fail_tls(&self) {
        let tcp = self.accept_tcp().await;
        let tls = self.tls.as_ref().expect("a server with TLS");
        assert!(soon("the end of the handshake", tls.accept(tcp)).await.is_err());
    }

    pub(crate) async fn upgrade(&self, tcp: TcpStream) -> Peer {
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(soon("a TLS session", tls.accept(tcp)).await.unwrap()),
            None => Box::new(tcp),
        };
        Peer(soon("a WebSocket", accept_async(stream)).await.unwrap())
    }

    /// Accepts a connection without TLS that [`Peer::reset`] can reset.
    pub(crate) async fn accept_resettable(&self) -> Peer<TcpStream> {
        Peer(soon("a WebSocket", accept_async(self.accept_tcp().await)).await.unwrap())
    }
}

/// The server's side of one WebSocket.
pub(crate) struct Peer<S = Box<dyn Stream>>(WebSocketStream<S>);

impl<S: Stream> Peer<S> {
    pub(crate) async fn text(&mut self, text: &str) {
        soon("sending", self.0.send(Message::text(text))).await.unwrap();
    }

    pub(crate) async fn binary(&mut self, bytes: &[u8]) {
        soon("sending", self.0.send(Message::binary(bytes.to_vec()))).await.unwrap();
    }

    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        let _ = soon("closing", self.0.close(Some(frame))).await;
    }

    /// The next text that is no heartbeat; heartbeats are answered.
    pub(crate) async fn read(&mut self) -> String {
        loop {
            match soon("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) if text.starts_with(r#"{"op":3,"#) => self.acknowledge(&text).await,
                Some(Ok(Message::Text(text))) => return text.as_str().to_owned(),
                other => panic!("expected a text, got {other:?}"),
            }
        }
    }

    pub(crate) async fn read_binary(&mut self) -> Vec<u8> {
        loop {
            match soon("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) if text.starts_with(r#"{"op":3,"#) => self.acknowledge(&text).await,
                Some(Ok(Message::Binary(bytes))) => return bytes.into(),
                other => panic!("expected binary, got {other:?}"),
            }
        }
    }

    /// Reads and answers nothing until the client is gone, and returns its close code.
    pub(crate) async fn ignore_until_closed(&mut self) -> Option<u16> {
        loop {
            match soon("the end", self.0.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// A whole handshake, from the server's side.
    pub(crate) async fn establish(&mut self) -> String {
        self.text(HELLO).await;
        let identify = self.read().await;
        assert!(identify.starts_with(r#"{"op":0,"#), "{identify}");
        self.text(READY).await;
        let select = self.read().await;
        assert!(select.starts_with(r#"{"op":1,"#), "{select}");
        let key = vec!["9"; 32].join(",");
        self.text(&format!(r#"{{"op":4,"d":{{"mode":"{MODE}","secret_key":[{key}]}}}}"#)).await;
        identify
    }

    async fn acknowledge(&mut self, beat: &str) {
        let nonce: String = beat
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .skip(1)
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        self.text(&format!(r#"{{"op":6,"d":{{"t":{nonce}}}}}"#)).await;
    }
}

impl Peer<TcpStream> {
    /// Resets the connection, as a dying host does.
    pub(crate) fn reset(self) {
        self.0.get_ref().set_zero_linger().unwrap();
    }
}

pub(crate) fn client(server: &Server) -> Client {
    let connector = if server.certificate_pem.is_empty() {
        Connector::new()
    } else {
        Connector::with_extra_roots(server.certificate_pem.as_bytes()).unwrap()
    };
    Client::connect(connector, SessionConfig::default(), identity(server.endpoint()), 7)
}

pub(crate) fn identity(endpoint: Endpoint) -> Identity {
    Identity {
        channel_id: ChannelId::new(3),
        endpoint,
        server_id: GuildId::new(1),
        session_id: SessionId::new("the-session"),
        token: Token::new("the-token"),
        user_id: UserId::new(2),
    }
}

pub(crate) async fn next(client: &mut Client) -> SessionEvent {
    soon("an event", client.next()).await.expect("the session goes on")
}

/// The handshake, from the client's side.
pub(crate) async fn join(client: &mut Client) {
    assert!(matches!(next(client).await, SessionEvent::Ready(ready) if ready.ssrc == 7));
    let select = SelectProtocol::udp("127.0.0.1", 9, MODE);
    client.send(voice_model::ClientMessage::SelectProtocol(select)).unwrap();
    assert!(matches!(next(client).await, SessionEvent::Established(description) if description.mode == MODE));
}
