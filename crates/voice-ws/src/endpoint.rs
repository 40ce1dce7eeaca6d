//! Where a voice gateway listens.

use std::{error::Error, fmt, net::IpAddr, str::FromStr};

/// The address of a voice gateway, as a voice server update names it: `host[:port]`.
///
/// A `wss://` prefix is taken off. A `ws://` prefix asks for a connection without TLS and is accepted for
/// loopback addresses only: Discord never sends it, a local server without a certificate does.
///
/// ```
/// use voice_ws::Endpoint;
///
/// let endpoint: Endpoint = "sample-1234.example.net:443".parse()?;
/// assert_eq!(endpoint.url(), "wss://sample-1234.example.net:443/?v=8");
/// assert!("ws://sample-1234.example.net".parse::<Endpoint>().is_err());
/// # Ok::<(), voice_ws::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: bool,
}

impl Endpoint {
    /// The host's name or address, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection is encrypted with TLS. False for loopback addresses only.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The URL of the WebSocket, with the voice gateway's version.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{self}/?v={GATEWAY_VERSION}", if self.tls { "wss" } else { "ws" })
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.len() > MAX_ENDPOINT_LEN {
            return Err(EndpointError::TooLong);
        }
        let (tls, address) = match (text.strip_prefix("ws://"), text.strip_prefix("wss://")) {
            (Some(rest), _) => (false, rest),
            (None, rest) => (true, rest.unwrap_or(text)),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\".contains(c);
        if address.is_empty() || address.contains(forbidden) {
            return Err(EndpointError::NotAnAddress);
        }
        let (host, port) = split_port(address)?;
        let default_port = if tls { 443 } else { 80 };
        // Old servers reported port 80 although TLS was spoken on 443.
        let port = match port {
            Some(80) if tls => 443,
            Some(port) => port,
            None => default_port,
        };
        if !tls && !is_loopback(host) {
            return Err(EndpointError::PlainNotLoopback);
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

/// Writes `host:port`, an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a text is not an endpoint that may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is longer than 255 bytes.
    TooLong,
    /// It is not `host[:port]`.
    NotAnAddress,
    /// It asks for a connection without TLS to something other than a loopback address.
    PlainNotLoopback,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "endpoint is longer than 255 bytes",
            Self::NotAnAddress => "endpoint is not host[:port]",
            Self::PlainNotLoopback => "ws:// is accepted for loopback addresses only; use wss://",
        })
    }
}

impl Error for EndpointError {}

fn split_port(address: &str) -> Result<(&str, Option<u16>), EndpointError> {
    let parse = |port: &str| match port.parse() {
        Ok(0) | Err(_) => Err(EndpointError::NotAnAddress),
        Ok(port) => Ok(Some(port)),
    };
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(EndpointError::NotAnAddress)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| EndpointError::NotAnAddress)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, parse(port)?)),
            None if after.is_empty() => Ok((host, None)),
            None => Err(EndpointError::NotAnAddress),
        };
    }
    match address.split_once(':') {
        None => Ok((address, None)),
        Some((host, port)) if !host.is_empty() => Ok((host, parse(port)?)),
        Some(_) => Err(EndpointError::NotAnAddress),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The version of the voice gateway that is spoken: eight, which brings buffered resume.
///
/// Discord docs, Voice Connections, "Voice Gateway Versions".
pub const GATEWAY_VERSION: u8 = 8;

const MAX_ENDPOINT_LEN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_prefixes_are_completed() {
        for (text, url) in [
            ("a.example", "wss://a.example:443/?v=8"),
            ("a.example:80", "wss://a.example:443/?v=8"),
            ("wss://a.example:2048/", "wss://a.example:2048/?v=8"),
            ("[::1]:9000", "wss://[::1]:9000/?v=8"),
            ("ws://127.0.0.1:80", "ws://127.0.0.1:80/?v=8"),
            ("ws://[::1]:81", "ws://[::1]:81/?v=8"),
            ("ws://localhost", "ws://localhost:80/?v=8"),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.url()).as_deref(), Ok(url), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", ":443", "a b", "a/b", "a?x", "a#x", "u@a", "a:0", "a:65536", "a:x", "[::1", "[::1]x", "[a]:1", "::1"]
        {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::NotAnAddress), "{text:?}");
        }
        assert_eq!("a".repeat(256).parse::<Endpoint>(), Err(EndpointError::TooLong));
    }

    #[test]
    fn plain_connections_stay_on_the_machine() {
        for text in ["ws://example.net", "ws://10.0.0.1:80", "ws://127.0.0.1.example.net"] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::PlainNotLoopback), "{text}");
        }
    }
}
