//! Packets of RTP, and their encryption on the way, `aead_aes256_gcm_rtpsize`.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use rtp::header::Header;
use rtp::packet::Packet;
use webrtc_util::marshal::{Marshal, Unmarshal};

pub const MODE: &str = "aead_aes256_gcm_rtpsize";

/// Opus, as the voice server has it.
pub const PAYLOAD_TYPE: u8 = 120;

/// One key, and the counter of what is sent with it.
pub struct Cipher {
    cipher: Aes256Gcm,
    counter: u32,
}

impl Cipher {
    pub fn new(key: [u8; 32]) -> Self {
        Self { cipher: Aes256Gcm::new(&key.into()), counter: 0 }
    }

    /// A datagram of a packet.
    pub fn seal(&mut self, packet: &Packet) -> Vec<u8> {
        let mut datagram = packet.marshal().unwrap().to_vec();
        let clear = clear_len(&datagram).unwrap();
        let suffix = self.counter.to_be_bytes();
        self.counter += 1;
        let (header, body) = datagram.split_at_mut(clear);
        let tag = self.cipher.encrypt_inout_detached(&nonce(suffix).into(), header, body.into()).unwrap();
        datagram.extend_from_slice(&tag);
        datagram.extend_from_slice(&suffix);
        datagram
    }

    /// The packet of a datagram; `None` if it is none, or not authentic.
    pub fn open(&self, datagram: &[u8]) -> Option<Packet> {
        let (rest, suffix) = datagram.split_last_chunk::<4>()?;
        let (rest, tag) = rest.split_last_chunk::<16>()?;
        let mut packet = rest.to_vec();
        let (header, body) = packet.split_at_mut_checked(clear_len(rest)?)?;
        self.cipher.decrypt_inout_detached(&nonce(*suffix).into(), header, body.into(), &(*tag).into()).ok()?;
        Packet::unmarshal(&mut packet.as_slice()).ok()
    }
}

/// What is not encrypted: header, CSRCs, and the preamble of the extension.
fn clear_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    Some(12 + 4 * usize::from(first & 15) + if first & 16 == 0 { 0 } else { 4 })
}

fn nonce([a, b, c, d]: [u8; 4]) -> [u8; 12] {
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Whether a datagram is a packet of media, and not RTCP or something of the voice server.
pub fn is_media(datagram: &[u8]) -> bool {
    datagram.len() >= 12 && datagram[0] >> 6 == 2 && datagram[1] & 127 == PAYLOAD_TYPE
}

/// Whose packet it is.
pub fn ssrc(datagram: &[u8]) -> u32 {
    u32::from_be_bytes(datagram[8..12].try_into().unwrap())
}

/// The next packet of a source.
pub struct Sequence {
    pub ssrc: u32,
    next: u16,
}

impl Sequence {
    pub fn new(ssrc: u32) -> Self {
        // Some packets before it wraps.
        Self { ssrc, next: 65_500 }
    }

    pub fn packet(&mut self, payload: Vec<u8>) -> Packet {
        let number = self.next;
        self.next = number.wrapping_add(1);
        let header = Header {
            version: 2,
            payload_type: PAYLOAD_TYPE,
            sequence_number: number,
            timestamp: u32::from(number.wrapping_sub(65_500)) * 960,
            ssrc: self.ssrc,
            ..Header::default()
        };
        Packet { header, payload: payload.into() }
    }
}
