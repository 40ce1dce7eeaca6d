//! The eight-byte datagram that keeps the path open and measures it.

/// A keepalive of the voice server: four bytes of the sender's choice, which come back.
///
/// The official clients send one every five seconds from the opening of the socket and take the
/// time until the answer as the round trip. A missing answer says nothing about the connection.
///
/// ```
/// use voice_rtp::Ping;
///
/// let ping = Ping(7_u32.to_be_bytes());
/// let answered = Ping::parse_request(&ping.request()).unwrap();
/// assert_eq!(Ping::parse_response(&answered.response()), Some(ping));
/// assert_eq!(Ping::parse_response(&ping.request()), None);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ping(pub [u8; 4]);

impl Ping {
    /// The length of a request and of a response, in bytes.
    pub const LEN: usize = 8;

    /// Returns the datagram a client sends.
    #[must_use]
    pub const fn request(self) -> [u8; Self::LEN] {
        self.with_magic(REQUEST_MAGIC)
    }

    /// Returns the datagram a server answers with.
    #[must_use]
    pub const fn response(self) -> [u8; Self::LEN] {
        self.with_magic(RESPONSE_MAGIC)
    }

    /// Reads a request; `None` when `datagram` is anything else, longer ones included.
    #[must_use]
    pub fn parse_request(datagram: &[u8]) -> Option<Self> {
        Self::parse(datagram, REQUEST_MAGIC)
    }

    /// Reads a response; `None` when `datagram` is anything else, longer ones included.
    #[must_use]
    pub fn parse_response(datagram: &[u8]) -> Option<Self> {
        Self::parse(datagram, RESPONSE_MAGIC)
    }

    const fn with_magic(self, magic: [u8; 4]) -> [u8; Self::LEN] {
        let [m0, m1, m2, m3] = magic;
        let [b0, b1, b2, b3] = self.0;
        [m0, m1, m2, m3, b0, b1, b2, b3]
    }

    fn parse(datagram: &[u8], magic: [u8; 4]) -> Option<Self> {
        let &[m0, m1, m2, m3, b0, b1, b2, b3] = datagram else {
            return None;
        };
        ([m0, m1, m2, m3] == magic).then_some(Self([b0, b1, b2, b3]))
    }
}

/// What starts a request. Observed in the official clients; no public document names it.
const REQUEST_MAGIC: [u8; 4] = [0x13, 0x37, 0xCA, 0xFE];

/// What starts a response. Observed in the official clients; no public document names it.
const RESPONSE_MAGIC: [u8; 4] = [0x13, 0x37, 0xF0, 0x0D];
