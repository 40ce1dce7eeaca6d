//! TLS and WebSocket handshakes over TCP.

use std::{error::Error, fmt, io, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error as WsError, error::ProtocolError, protocol::WebSocketConfig},
};

use voice_model::{MAX_MESSAGE_LEN, MAX_SENT_LEN};

use crate::Endpoint;

/// Opens WebSockets to voice gateways. Cheap to clone; one serves every call of a process.
///
/// The server's certificate is checked against the roots that browsers trust, which are compiled in, and
/// against those given here.
#[derive(Clone)]
pub struct Connector {
    tls: Arc<ClientConfig>,
}

impl Connector {
    /// Creates a connector that trusts the compiled-in roots.
    #[must_use]
    pub fn new() -> Self {
        Self::from_roots(public_roots())
    }

    /// Creates a connector that also trusts the certificates in this PEM text, such as a local server's own.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] when the text holds no certificate, or one that cannot be a root.
    pub fn with_extra_roots(pem: &[u8]) -> Result<Self, CertificateError> {
        let mut roots = public_roots();
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| CertificateError(Some(error.into())))?;
            roots.add(certificate).map_err(|error| CertificateError(Some(error.into())))?;
            found = true;
        }
        if found { Ok(Self::from_roots(roots)) } else { Err(CertificateError(None)) }
    }

    fn from_roots(roots: RootCertStore) -> Self {
        let provider = aws_lc_rs::default_provider();
        // A process's first random bytes take 20 ms and more, with or without TLS: they are drawn before there is a call to
        // wait for them. Whether there are any, each handshake finds out for itself.
        let _ = provider.secure_random.fill(&mut [0; 32]);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions");
        Self { tls: Arc::new(builder.with_root_certificates(roots).with_no_client_auth()) }
    }

    pub(crate) async fn connect(&self, endpoint: Endpoint) -> Result<WebSocket, TransportError> {
        let tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(TransportError::Connect)?;
        tcp.set_nodelay(true).map_err(TransportError::Connect)?;
        let stream: Box<dyn Stream> = if endpoint.is_tls() {
            let name = ServerName::try_from(endpoint.host().to_owned())
                .map_err(|error| TransportError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
            let connector = TlsConnector::from(Arc::clone(&self.tls));
            Box::new(connector.connect(name, tcp).await.map_err(TransportError::Tls)?)
        } else {
            Box::new(tcp)
        };
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_LEN)
            .max_message_size(Some(MAX_MESSAGE_LEN))
            .max_frame_size(Some(MAX_MESSAGE_LEN))
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT_LEN);
        let (socket, _) = client_async_with_config(endpoint.url(), stream, Some(limits))
            .await
            .map_err(TransportError::from_handshake)?;
        Ok(socket)
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// A text that should have held root certificates does not (the caller must give another).
#[derive(Debug)]
pub struct CertificateError(Option<Box<dyn Error + Send + Sync>>);

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "unusable certificate" } else { "no certificate in the PEM text" })
    }
}

impl Error for CertificateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|error| error as _)
    }
}

/// Why a WebSocket could not be opened, or broke (the network, unless the variant says otherwise).
#[derive(Debug)]
#[non_exhaustive]
pub enum TransportError {
    /// No TCP connection: the name does not resolve, or nobody listens there.
    Connect(io::Error),
    /// No TLS session, most often because the certificate is not trusted.
    Tls(io::Error),
    /// The server speaks no WebSocket there (the peer, or a wrong address).
    Handshake(Box<dyn Error + Send + Sync>),
    /// The server broke the WebSocket protocol, or its limits (the peer).
    Protocol(Box<dyn Error + Send + Sync>),
    /// The connection broke.
    Broken(io::Error),
    /// The server does not read what is sent to it.
    Stalled,
}

impl TransportError {
    fn from_handshake(error: WsError) -> Self {
        match error {
            WsError::Io(error) => Self::Broken(error),
            WsError::Protocol(ProtocolError::HandshakeIncomplete) => Self::Broken(io::ErrorKind::UnexpectedEof.into()),
            error => Self::Handshake(error.into()),
        }
    }

    pub(crate) fn from_open_socket(error: WsError) -> Self {
        match error {
            WsError::Io(error) => Self::Broken(error),
            WsError::ConnectionClosed
            | WsError::AlreadyClosed
            | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::Broken(io::ErrorKind::UnexpectedEof.into())
            }
            error => Self::Protocol(error.into()),
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect(_) => "cannot connect to the voice gateway",
            Self::Tls(_) => "no TLS session with the voice gateway",
            Self::Handshake(_) => "no WebSocket at the voice gateway's address",
            Self::Protocol(_) => "the voice gateway broke the WebSocket protocol",
            Self::Broken(_) => "the connection to the voice gateway broke",
            Self::Stalled => "the voice gateway reads nothing any more",
        })
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Tls(error) | Self::Broken(error) => Some(error),
            Self::Handshake(error) | Self::Protocol(error) => Some(error.as_ref() as _),
            Self::Stalled => None,
        }
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type WebSocket = WebSocketStream<Box<dyn Stream>>;

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// What may wait to be sent: two of the longest messages.
const MAX_UNSENT_LEN: usize = 2 * MAX_SENT_LEN;
/// A voice gateway sends a few short messages a minute, and there may be thousands of sockets.
const READ_BUFFER_LEN: usize = 1 << 10;
