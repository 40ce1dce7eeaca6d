//! The sending half: from an Opus frame to a datagram, in one buffer.

use std::{error::Error, fmt};

use voice_dave::{FrameSealer, SendMode};
use voice_rtp::{MAX_DATAGRAM_LEN, OPUS_PAYLOAD_TYPE, RtpHeader, Sequence, Ssrc, Timestamp};

use super::StreamPosition;

/// Turns frames into sealed datagrams. Owns the sequence, the timestamp and the nonce; not `Clone`, because
/// the nonce has one owner.
///
/// Sequence numbers count packets, timestamps count time: [`skip`](Self::skip) moves the latter alone.
#[derive(Debug)]
pub struct Sender {
    pub(super) ssrc: Ssrc,
    pub(super) sequence: Sequence,
    pub(super) timestamp: Timestamp,
    pub(super) sealer: voice_crypto::Sealer,
    pub(super) frames: FrameSealer,
    pub(super) stats: SendStats,
}

impl Sender {
    /// Lays out a datagram in `out`: header, frame, end-to-end encryption in place, then transport encryption
    /// in place. Returns the bytes to send.
    ///
    /// 20 ms of the stream's time pass, whether it succeeds or not.
    ///
    /// # Errors
    ///
    /// [`SealError`] when the frame may not or cannot be sent; it is counted, and the next frame may succeed.
    pub fn seal<'b>(&mut self, frame: &[u8], out: &'b mut PacketBuf) -> Result<&'b [u8], SealError> {
        let timestamp = self.timestamp;
        self.skip(1);
        let sealed = self.seal_at(timestamp, frame, out);
        match sealed {
            Ok(_) => {
                self.sequence = self.sequence.wrapping_add(1);
                self.stats.packets += 1;
                self.stats.frame_bytes += frame.len() as u64;
            }
            Err(SealError::Held) => self.stats.frames_held += 1,
            Err(_) => self.stats.frames_refused += 1,
        }
        sealed.map(|len| &out.bytes[..len])
    }

    /// Lets `frames` × 20 ms pass unsent.
    pub const fn skip(&mut self, frames: u32) {
        self.timestamp = self.timestamp.wrapping_add(frames.wrapping_mul(FRAME_TICKS));
    }

    /// Says in which form frames leave from now on. Each is encrypted when it is sent, so this holds for the next
    /// one already.
    pub fn set_mode(&mut self, mode: SendMode) {
        self.frames.set_mode(mode);
    }

    /// Whether frames leave end-to-end encrypted.
    #[must_use]
    pub fn is_encrypting(&self) -> bool {
        self.frames.is_encrypting()
    }

    /// Reads a little of each part that sealing needs. Who serves many calls in turn does this for all of them first: then
    /// the processor waits for their memory at once, and not for each before its packet. The sum means nothing.
    #[must_use]
    pub fn prefetch(&self) -> u64 {
        let numbers = u64::from(self.sequence.get()) ^ u64::from(self.timestamp.get());
        numbers ^ self.sealer.remaining() ^ self.frames.prefetch() ^ self.stats.packets
    }

    /// Where the stream stands, for another process to [go on with](crate::media_at) once this half is gone.
    #[must_use]
    pub fn position(&self) -> StreamPosition {
        StreamPosition {
            sequence: self.sequence,
            timestamp: self.timestamp,
            nonce: self.sealer.next_counter(),
            packets_left: u32::try_from(self.sealer.remaining()).unwrap_or(u32::MAX),
        }
    }

    /// How many packets the key may seal still: in a new session nearly 2^32, 994 days of audio.
    #[must_use]
    pub const fn packets_left(&self) -> u64 {
        self.sealer.remaining()
    }

    /// The SSRC of the stream.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &SendStats {
        &self.stats
    }

    fn seal_at(&mut self, timestamp: Timestamp, frame: &[u8], out: &mut PacketBuf) -> Result<usize, SealError> {
        if frame.is_empty() || frame.len() > MAX_FRAME_LEN {
            return Err(SealError::FrameLen { len: frame.len() });
        }
        let header = RtpHeader {
            marker: false,
            payload_type: OPUS_PAYLOAD_TYPE,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
        };
        let (head, body) = out.bytes.split_first_chunk_mut().expect("a packet buffer holds a header");
        header.write(head);
        body[..frame.len()].copy_from_slice(frame);
        let frame_len = self.frames.seal(body, frame.len()).map_err(|error| match error {
            voice_dave::SealError::Held => SealError::Held,
            voice_dave::SealError::Exhausted => SealError::KeySpent,
            _ => SealError::FrameLen { len: frame.len() },
        })?;
        let sealed = self.sealer.seal(&mut out.bytes, RtpHeader::LEN, RtpHeader::LEN + frame_len);
        sealed.map_err(|error| match error {
            voice_crypto::SealError::NonceExhausted => SealError::KeySpent,
            _ => SealError::FrameLen { len: frame.len() },
        })
    }
}

/// The buffer one datagram is laid out in, reused for every packet.
#[derive(Clone)]
pub struct PacketBuf {
    bytes: [u8; MAX_DATAGRAM_LEN],
}

impl PacketBuf {
    /// Creates a buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_DATAGRAM_LEN] }
    }

    /// The first bytes of it, as [`Sender::seal`] laid them out.
    #[must_use]
    pub fn filled(&self, len: usize) -> &[u8] {
        &self.bytes[..len.min(MAX_DATAGRAM_LEN)]
    }
}

impl Default for PacketBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketBuf").finish_non_exhaustive()
    }
}

/// What a sending half did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendStats {
    /// Packets sealed.
    pub packets: u64,
    /// Bytes of the frames in them.
    pub frame_bytes: u64,
    /// Frames dropped because the call's end-to-end encryption did not allow them.
    pub frames_held: u64,
    /// Frames refused: empty, too long, or the key is spent.
    pub frames_refused: u64,
}

/// Why a frame was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The call's end-to-end encryption does not allow the frame now.
    Held,
    /// The frame is empty or longer than 1400 bytes (the source must send another).
    FrameLen {
        /// Its length in bytes.
        len: usize,
    },
    /// A key has sealed as many packets as it safely can; only a new session or epoch brings another.
    KeySpent,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("the call's end-to-end encryption does not allow the frame now"),
            Self::FrameLen { len } => write!(f, "a frame of {len} bytes; 1 to {MAX_FRAME_LEN} can be sent"),
            Self::KeySpent => f.write_str("the key has sealed as many packets as it safely can"),
        }
    }
}

impl Error for SealError {}

/// The longest frame that is sent, in bytes: with both encryptions it fits a datagram of 1460.
pub const MAX_FRAME_LEN: usize = 1400;
/// 20 ms at 48 kHz (RFC 7587, section 4.1).
pub(crate) const FRAME_TICKS: u32 = 960;
