//! IP discovery: asking the voice server under which public address it sees us.
//!
//! Discord docs, Voice Connections, "IP Discovery". Request and response are 74 bytes:
//!
//! ```text
//! 0      2      4           8                              72     74
//! +------+------+-----------+------------------------------+------+
//! | type |  70  |   ssrc    | address, 64 bytes, 0-padded  | port |
//! +------+------+-----------+------------------------------+------+
//! ```

use core::fmt;
use core::net::IpAddr;

use crate::number::Ssrc;

mod address;

/// What a client sends; the server answers with a [`Response`].
///
/// ```
/// use voice_rtp::Ssrc;
/// use voice_rtp::discovery::{DISCOVERY_LEN, Request};
///
/// let mut datagram = [0; DISCOVERY_LEN];
/// Request { ssrc: Ssrc::new(369_020) }.write(&mut datagram);
/// assert_eq!(datagram[..8], [0, 1, 0, 70, 0, 5, 0xA1, 0x7C]);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Request {
    /// The stream number the gateway gave us.
    pub ssrc: Ssrc,
}

impl Request {
    /// Writes the request to `out`.
    pub fn write(&self, out: &mut [u8; DISCOVERY_LEN]) {
        Wire { kind: REQUEST_TYPE, length: LENGTH_FIELD, ssrc: self.ssrc, address: &[0; ADDRESS_LEN], port: 0 }
            .write(out);
    }

    /// Reads a request, as a server does.
    ///
    /// The address and port fields are not looked at: clients are free to leave anything in them.
    ///
    /// # Errors
    ///
    /// [`RequestError`] says which field is wrong. Drop the datagram without an answer.
    pub fn parse(datagram: &[u8]) -> Result<Self, RequestError> {
        let wire = Wire::read(datagram).ok_or(RequestError::Size)?;
        if wire.kind != REQUEST_TYPE {
            return Err(RequestError::Type);
        }
        if wire.length != LENGTH_FIELD {
            return Err(RequestError::LengthField);
        }
        Ok(Self { ssrc: wire.ssrc })
    }
}

/// What the server answers: our public address and port.
///
/// ```
/// use voice_rtp::Ssrc;
/// use voice_rtp::discovery::{DISCOVERY_LEN, Response, ResponseError};
///
/// let answer = Response { ssrc: Ssrc::new(7), address: [203, 0, 113, 7].into(), port: 50_004 };
/// let mut datagram = [0; DISCOVERY_LEN];
/// answer.write(&mut datagram);
/// assert_eq!(Response::parse(&datagram, Ssrc::new(7)), Ok(answer));
/// assert_eq!(Response::parse(&datagram, Ssrc::new(8)), Err(ResponseError::Ssrc));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Response {
    /// The stream number of the request.
    pub ssrc: Ssrc,
    /// The public address. An IPv4 address mapped into IPv6 is kept as it was written.
    pub address: IpAddr,
    /// The public UDP port, never 0 in a parsed response.
    pub port: u16,
}

impl Response {
    /// Writes the response to `out`, as a server does.
    pub fn write(&self, out: &mut [u8; DISCOVERY_LEN]) {
        let address = address::write(self.address);
        Wire { kind: RESPONSE_TYPE, length: LENGTH_FIELD, ssrc: self.ssrc, address: &address, port: self.port }
            .write(out);
    }

    /// Reads a response that must be for the stream `expected`.
    ///
    /// Only the bytes before the first zero of the address field count.
    ///
    /// # Errors
    ///
    /// [`ResponseError`] says which field is wrong, in the order of its variants. A client ignores
    /// the datagram and keeps waiting: a forged one must not end the attempt.
    pub fn parse(datagram: &[u8], expected: Ssrc) -> Result<Self, ResponseError> {
        let wire = Wire::read(datagram).ok_or(ResponseError::Size)?;
        if wire.kind != RESPONSE_TYPE {
            return Err(ResponseError::Type);
        }
        if wire.length != LENGTH_FIELD {
            return Err(ResponseError::LengthField);
        }
        if wire.ssrc != expected {
            return Err(ResponseError::Ssrc);
        }
        let end = wire.address.iter().position(|&byte| byte == 0).ok_or(ResponseError::NoTerminator)?;
        let address = wire.address.get(..end).and_then(address::parse).ok_or(ResponseError::Address)?;
        if wire.port == 0 {
            return Err(ResponseError::Port);
        }
        Ok(Self { ssrc: wire.ssrc, address, port: wire.port })
    }
}

/// Why a datagram is not an IP discovery request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not [`DISCOVERY_LEN`] bytes long.
    Size,
    /// Its type is not 1.
    Type,
    /// Its length field is not 70.
    LengthField,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "discovery request is not 74 bytes",
            Self::Type => "discovery request has a wrong type",
            Self::LengthField => "discovery request has a wrong length field",
        })
    }
}

impl core::error::Error for RequestError {}

/// Why a datagram is not the IP discovery response we wait for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ResponseError {
    /// It is not [`DISCOVERY_LEN`] bytes long.
    Size,
    /// Its type is not 2.
    Type,
    /// Its length field is not 70.
    LengthField,
    /// It is for another stream.
    Ssrc,
    /// The address has no zero byte at its end.
    NoTerminator,
    /// The address is neither IPv4 nor IPv6.
    Address,
    /// The port is 0.
    Port,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "discovery response is not 74 bytes",
            Self::Type => "discovery response has a wrong type",
            Self::LengthField => "discovery response has a wrong length field",
            Self::Ssrc => "discovery response is for another stream",
            Self::NoTerminator => "discovery response has an address without end",
            Self::Address => "discovery response has an unreadable address",
            Self::Port => "discovery response has port 0",
        })
    }
}

impl core::error::Error for ResponseError {}

/// The five fields as they are on the wire.
struct Wire<'a> {
    kind: u16,
    length: u16,
    ssrc: Ssrc,
    address: &'a [u8; ADDRESS_LEN],
    port: u16,
}

impl<'a> Wire<'a> {
    fn read(datagram: &'a [u8]) -> Option<Self> {
        let (&[k0, k1, l0, l1, s0, s1, s2, s3], rest) = datagram.split_first_chunk()?;
        let (address, rest) = rest.split_first_chunk()?;
        let &[p0, p1] = rest else { return None };
        Some(Self {
            kind: u16::from_be_bytes([k0, k1]),
            length: u16::from_be_bytes([l0, l1]),
            ssrc: Ssrc::new(u32::from_be_bytes([s0, s1, s2, s3])),
            address,
            port: u16::from_be_bytes([p0, p1]),
        })
    }

    fn write(&self, out: &mut [u8; DISCOVERY_LEN]) {
        let fields = self
            .kind
            .to_be_bytes()
            .into_iter()
            .chain(self.length.to_be_bytes())
            .chain(self.ssrc.get().to_be_bytes())
            .chain(*self.address)
            .chain(self.port.to_be_bytes());
        for (byte, field) in out.iter_mut().zip(fields) {
            *byte = field;
        }
    }
}

/// The length of a request and of a response, in bytes.
///
/// Discord docs, Voice Connections, "IP Discovery".
pub const DISCOVERY_LEN: usize = 74;

/// What a response starts with: its type and its length field.
pub(crate) const RESPONSE_PREFIX: [u8; 4] = [0, 2, 0, 70];

/// Discord docs, Voice Connections, "IP Discovery": `type`, request.
const REQUEST_TYPE: u16 = 1;

/// Discord docs, Voice Connections, "IP Discovery": `type`, response.
const RESPONSE_TYPE: u16 = 2;

/// Discord docs, Voice Connections, "IP Discovery": the length without type and length.
const LENGTH_FIELD: u16 = 70;

/// Discord docs, Voice Connections, "IP Discovery": the size of the address field, in bytes.
const ADDRESS_LEN: usize = 64;
