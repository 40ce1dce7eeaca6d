//! The two halves of a call's media.

mod health;
mod keepalive;
mod openers;
mod pool;
mod receive;
mod send;
mod stats;
mod talkspurt;
mod waiting;

use voice_crypto::{Mode, Opener, Sealer, SecretKey};
use voice_dave::FrameSealer;
use voice_rtp::{Sequence, Ssrc, Timestamp};

pub use health::{MediaFault, MediaHealth};
pub use keepalive::Keepalive;
pub use pool::FrameMemory;
pub use receive::{Arrival, Content, OpenError, Playout, Receiver};
pub use send::{MAX_FRAME_LEN, PacketBuf, SealError, SendStats, Sender};
pub use stats::{E2eeStats, ReceiveStats};
pub use talkspurt::{SILENCE_FRAMES, Talkspurt};

/// What the gateway's session description and Ready say about the media of a call.
#[derive(Debug)]
pub struct MediaConfig {
    /// The key of both directions.
    pub key: SecretKey,
    /// The transport encryption.
    pub mode: Mode,
    /// Draws the first sequence number, timestamp and nonce. Equal seeds under one key would repeat nonces:
    /// draw it anew for each session.
    pub seed: u64,
    /// The SSRC of the own audio.
    pub ssrc: Ssrc,
}

/// Makes the two halves of a call's media. Both hold everything back until they are told what the call demands.
///
/// ```
/// use std::time::Instant;
/// use voice_crypto::{Mode, SecretKey};
/// use voice_dave::{ReceiveMode, SendMode};
/// use voice_model::UserId;
/// use voice_rtp::Ssrc;
/// use voice_udp::{Content, MediaConfig, PacketBuf, media};
///
/// let config = |ssrc| MediaConfig {
///     key: SecretKey::new([7; 32]),
///     mode: Mode::Aes256GcmRtpsize,
///     seed: ssrc,
///     ssrc: Ssrc::new(ssrc as u32),
/// };
/// let (mut sender, _) = media(config(1));
/// let (_, mut receiver) = media(config(2));
/// let now = Instant::now();
/// sender.set_mode(SendMode::Passthrough);
/// receiver.set_default_mode(now, ReceiveMode::Passthrough);
///
/// let mut buffer = PacketBuf::new();
/// let mut datagram = sender.seal(&[0xF8, 0xFF, 0xFE], &mut buffer)?.to_vec();
///
/// receiver.open(now, &mut datagram)?;
/// assert!(receiver.next_frame(now).is_none(), "nobody knows yet whose stream it is");
/// receiver.bind(now, Ssrc::new(1), UserId::new(42));
/// let playout = receiver.next_frame(now).expect("now it is known");
/// assert_eq!(playout.user, UserId::new(42));
/// assert!(matches!(playout.content, Content::Frame { frame: [0xF8, 0xFF, 0xFE], .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn media(config: MediaConfig) -> (Sender, Receiver) {
    let mut rng = fastrand::Rng::with_seed(config.seed);
    let receiver = Receiver::new(Opener::new(config.mode, &config.key));
    let sender = Sender {
        ssrc: config.ssrc,
        sequence: Sequence::new(rng.u16(..)),
        timestamp: Timestamp::new(rng.u32(..)),
        sealer: Sealer::new(config.mode, config.key, rng.u32(..)),
        frames: FrameSealer::new(),
        stats: SendStats::default(),
    };
    (sender, receiver)
}

/// Makes two halves that go on where those of another process stopped, under the same key. The seed is not used; the
/// receiving half begins every stream anew with its next packet.
#[must_use]
pub fn media_at(config: MediaConfig, position: StreamPosition) -> (Sender, Receiver) {
    let StreamPosition { sequence, timestamp, nonce, packets_left } = position;
    let receiver = Receiver::new(Opener::new(config.mode, &config.key));
    let sender = Sender {
        ssrc: config.ssrc,
        sequence,
        timestamp,
        sealer: Sealer::with_limit(config.mode, config.key, nonce, packets_left),
        frames: FrameSealer::new(),
        stats: SendStats::default(),
    };
    (sender, receiver)
}

/// Where a sending half stands. Only one may go on from here: two would repeat nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// The next packet's sequence number.
    pub sequence: Sequence,
    /// The next frame's time.
    pub timestamp: Timestamp,
    /// The counter of the next packet's nonce.
    pub nonce: u32,
    /// How many packets the key may seal still.
    pub packets_left: u32,
}

#[cfg(test)]
mod tests;
