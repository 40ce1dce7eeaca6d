//! A raw client: hand-written JSON over a WebSocket, datagrams over a socket.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use voice_crypto::{Mode, OpenedRtp, Opener, Sealer, SecretKey};
use voice_rtp::{Ping, RtpHeader, Sequence, Ssrc, Timestamp, discovery};
use voice_server::{Server, Ticket};

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Every wait has this deadline.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens in time")
}

/// A TCP connection to the server, with TLS when it has a certificate.
pub async fn dial(server: &Server, name: &'static str) -> Box<dyn Io> {
    let tcp = within(TcpStream::connect(server.tcp_addr())).await.unwrap();
    let Some(pem) = server.certificate_pem() else { return Box::new(tcp) };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).unwrap();
    Box::new(within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap())
}

/// A WebSocket whose messages are written by hand.
pub struct Ws(pub WebSocketStream<Box<dyn Io>>);

impl Ws {
    pub async fn open(server: &Server, target: &str) -> Self {
        Self::try_open(server, target).await.unwrap()
    }

    pub async fn try_open(server: &Server, target: &str) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let stream = dial(server, "localhost").await;
        let url = format!("ws://{}{target}", server.tcp_addr());
        Ok(Self(within(client_async(url, stream)).await?.0))
    }

    pub async fn send(&mut self, message: Value) {
        within(self.0.send(Message::text(message.to_string()))).await.unwrap();
    }

    /// The next message that is JSON.
    pub async fn next(&mut self) -> Value {
        match within(self.0.next()).await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("a text message, not {other:?}"),
        }
    }

    /// Skips messages until one has this opcode.
    pub async fn until(&mut self, op: u64) -> Value {
        loop {
            let message = self.next().await;
            if message["op"] == op {
                return message;
            }
        }
    }

    /// Skips messages until the close frame; `None` when the connection breaks without one.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match within(self.0.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

/// A client that went through the handshake.
pub struct Member {
    pub ws: Ws,
    pub udp: UdpSocket,
    pub ssrc: u32,
    pub external: SocketAddr,
    pub mode: Mode,
    pub secret: [u8; 32],
    pub opener: Opener,
    pub sealer: Sealer,
    pub sequence: u16,
}

impl Member {
    /// With op 5, which says nothing but the SSRC, and a ping.
    pub async fn join(server: &Server, ticket: &Ticket, mode: Mode) -> Self {
        let mut member = Self::connected(server, ticket, mode).await;
        member.speak(0).await;
        member.ping().await;
        member
    }

    /// Up to the key.
    pub async fn connected(server: &Server, ticket: &Ticket, mode: Mode) -> Self {
        let mut ws = Ws::open(server, "/?v=8").await;
        let hello = ws.next().await;
        assert_eq!(hello, json!({ "op": 8, "d": { "heartbeat_interval": 13750, "v": 8 } }));
        ws.send(json!({ "op": 0, "d": {
            "server_id": ticket.server_id.to_string(),
            "user_id": ticket.user_id.to_string(),
            "session_id": ticket.session_id.expose(),
            "token": ticket.token.expose(),
            "max_dave_protocol_version": 0,
        }}))
        .await;
        let ready = ws.until(2).await["d"].take();
        let ssrc = u32::try_from(ready["ssrc"].as_u64().unwrap()).unwrap();
        let modes = ready["modes"].as_array().unwrap();
        assert!(modes.contains(&json!(mode.wire_name())));
        let media = format!("{}:{}", ready["ip"].as_str().unwrap(), ready["port"]);

        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        udp.connect(&media).await.unwrap();
        let mut request = [0; discovery::DISCOVERY_LEN];
        discovery::Request { ssrc: Ssrc::new(ssrc) }.write(&mut request);
        within(udp.send(&request)).await.unwrap();
        let mut answer = [0; 100];
        let len = within(udp.recv(&mut answer)).await.unwrap();
        let found = discovery::Response::parse(&answer[..len], Ssrc::new(ssrc)).unwrap();
        let external = SocketAddr::new(found.address, found.port);
        assert_eq!(external, udp.local_addr().unwrap());

        ws.send(json!({ "op": 1, "d": { "protocol": "udp", "data": {
            "address": external.ip().to_string(), "port": external.port(), "mode": mode.wire_name(),
        }}}))
        .await;
        let description = ws.until(4).await["d"].take();
        assert_eq!(description["mode"], mode.wire_name());
        assert_eq!(description["dave_protocol_version"], 0);
        let secret: Vec<u8> = serde_json::from_value(description["secret_key"].clone()).unwrap();
        let secret: [u8; 32] = secret.try_into().unwrap();
        let key = SecretKey::new(secret);
        let (opener, sealer) = (Opener::new(mode, &key), Sealer::new(mode, key, 0));
        Self { ws, udp, ssrc, external, mode, secret, opener, sealer, sequence: 0 }
    }

    /// Op 5.
    pub async fn speak(&mut self, flags: u8) {
        let ssrc = self.ssrc;
        self.ws.send(json!({ "op": 5, "d": { "speaking": flags, "delay": 0, "ssrc": ssrc } })).await;
        // The answer to this heartbeat shows that the server has taken the op 5.
        self.ws.send(json!({ "op": 3, "d": { "t": 1, "seq_ack": -1 } })).await;
        self.ws.until(6).await;
    }

    /// A ping and its answer, which opens reception.
    pub async fn ping(&self) {
        let ping = Ping(*b"ping");
        within(self.udp.send(&ping.request())).await.unwrap();
        let mut answer = [0; 100];
        let len = within(self.udp.recv(&mut answer)).await.unwrap();
        assert_eq!(answer[..len], ping.response());
    }

    /// Sends one frame.
    pub async fn frame(&mut self, payload: &[u8]) {
        let sequence = self.sequence;
        self.sequence += 1;
        let mut buffer = [0; 1400];
        let header = RtpHeader {
            marker: false,
            payload_type: 120,
            sequence: Sequence::new(sequence),
            timestamp: Timestamp::new(u32::from(sequence) * 960),
            ssrc: Ssrc::new(self.ssrc),
        };
        header.write(buffer.first_chunk_mut().unwrap());
        let len = 12 + payload.len();
        buffer[12..len].copy_from_slice(payload);
        let len = self.sealer.seal_rtp(&mut buffer, len).unwrap();
        within(self.udp.send(&buffer[..len])).await.unwrap();
    }

    /// The next media packet and its payload.
    pub async fn hear(&self) -> (OpenedRtp, Vec<u8>) {
        let mut buffer = [0; 2048];
        let len = within(self.udp.recv(&mut buffer)).await.unwrap();
        let opened = self.opener.open_rtp(&mut buffer[..len]).unwrap();
        let payload = buffer[opened.payload.clone()].to_vec();
        (opened, payload)
    }
}
