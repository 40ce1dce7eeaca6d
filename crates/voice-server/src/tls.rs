//! A certificate for a server that only this machine knows.

use std::sync::Arc;

use rustls::ServerConfig as TlsConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::server::BindError;

/// TLS with a certificate of its own.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The certificate, for clients that are to trust it.
    pub(crate) certificate_pem: String,
}

impl Tls {
    /// Makes a key and a certificate for the names a loopback server has, and for `host`.
    pub(crate) fn self_signed(host: &str) -> Result<Self, BindError> {
        let mut names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
        if !NAMES.contains(&host) {
            names.push(host.to_owned());
        }
        let made = rcgen::generate_simple_self_signed(names).map_err(BindError::certificate)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = TlsConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(BindError::certificate)?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .map_err(BindError::certificate)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate_pem: made.cert.pem() })
    }
}

/// A seed from the system.
pub(crate) fn seed() -> Result<[u8; 32], BindError> {
    let mut seed = [0; 32];
    let filled = provider().secure_random.fill(&mut seed);
    filled.map_err(|_| BindError::NoEntropy)?;
    Ok(seed)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
