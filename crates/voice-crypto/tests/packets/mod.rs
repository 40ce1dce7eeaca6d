//! Packets to seal.
#![allow(dead_code, reason = "each test program uses some of it")]

use voice_crypto::{Mode, SecretKey};
use voice_rtp::{OPUS_PAYLOAD_TYPE, RtpHeader, Sequence, Ssrc, Timestamp};

/// The length of the buffer a packet comes in: room for every overhead, and some more.
pub(crate) const BUFFER: usize = 96;

pub(crate) fn key() -> SecretKey {
    SecretKey::new([0xA5; 32])
}

/// The silence packet of a stream with this number and its length, in a buffer with room to spare.
pub(crate) fn silence(number: u32) -> ([u8; BUFFER], usize) {
    let mut buffer = [0; BUFFER];
    header(number).write(buffer.first_chunk_mut().expect("room"));
    buffer[12..15].copy_from_slice(&[0xF8, 0xFF, 0xFE]);
    (buffer, 15)
}

/// The header of the packet with this number.
pub(crate) fn header(number: u32) -> RtpHeader {
    RtpHeader {
        marker: false,
        payload_type: OPUS_PAYLOAD_TYPE,
        sequence: Sequence::new(number as u16),
        timestamp: Timestamp::new(number.wrapping_mul(960)),
        ssrc: Ssrc::new(369_020),
    }
}

/// Says whether the mode makes its nonces of headers.
pub(crate) fn header_is_nonce(mode: Mode) -> bool {
    mode.suffix_len() == 0
}
