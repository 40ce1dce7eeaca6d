//! Telling apart what arrives on a voice socket.

use crate::discovery::{DISCOVERY_LEN, RESPONSE_PREFIX};
use crate::header::{RtpHeader, VERSION};
use crate::ping::Ping;

/// What a datagram from the voice server claims to be.
///
/// Nothing is verified but the shape: only opening the packet tells whether it is genuine.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// An IP discovery response: see [`discovery::Response`](crate::discovery::Response).
    Discovery,
    /// The answer to a [`Ping`].
    Pong,
    /// A sealed RTCP packet.
    Rtcp,
    /// A sealed RTP packet, of any payload type.
    Rtp,
    /// Nothing a client has a use for: echoes of keepalives, foreign or damaged datagrams.
    Ignored,
}

/// Says what a client should treat `datagram` as.
///
/// RTCP is told from RTP by the packet types 200 to 207 in the second byte, which would be marked
/// RTP packets of payload types 72 to 79. Opus with the marker bit stays RTP.
///
/// A server reads two more kinds, which only clients send, before it asks this function:
/// [`discovery::Request`](crate::discovery::Request) and [`Ping::parse_request`].
///
/// ```
/// use voice_rtp::{Kind, Ping, classify};
///
/// assert_eq!(classify(&Ping([0; 4]).response()), Kind::Pong);
/// assert_eq!(classify(&[0x80, 0xF8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]), Kind::Rtp);
/// assert_eq!(classify(&[0x80, 0xC9, 0, 1, 0, 0, 0, 1]), Kind::Rtcp);
/// assert_eq!(classify(&[]), Kind::Ignored);
/// ```
#[must_use]
pub fn classify(datagram: &[u8]) -> Kind {
    if datagram.len() == DISCOVERY_LEN && datagram.starts_with(&RESPONSE_PREFIX) {
        return Kind::Discovery;
    }
    if Ping::parse_response(datagram).is_some() {
        return Kind::Pong;
    }
    match datagram.first_chunk::<RTCP_MIN_LEN>() {
        Some(&[first, second, ..]) if first >> 6 == VERSION => {
            if RTCP_TYPES.contains(&second) {
                Kind::Rtcp
            } else if datagram.len() >= RtpHeader::LEN {
                Kind::Rtp
            } else {
                Kind::Ignored
            }
        }
        _ => Kind::Ignored,
    }
}

/// The common header and the sender's SSRC: RFC 3550, section 6.4.1.
const RTCP_MIN_LEN: usize = 8;

/// The packet types that are RTCP: RFC 5761, section 4, narrowed to the assigned 200 to 207.
const RTCP_TYPES: core::ops::RangeInclusive<u8> = 200..=207;
