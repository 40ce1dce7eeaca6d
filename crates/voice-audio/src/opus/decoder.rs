//! The Opus decoder.

use core::fmt;

use super::backend::RawDecoder;
use super::{Channels, InitError, MAX_PACKET_SAMPLES, Packet, PacketError};

/// Turns Opus packets into 48 kHz audio, and fills in for packets that never came.
///
/// ```
/// use voice_audio::opus::{Channels, Decoder};
/// use voice_audio::{CHANNELS, FRAME_SAMPLES, SILENCE_FRAME};
///
/// let mut decoder = Decoder::new(Channels::Stereo)?;
/// let mut pcm = [0.0; FRAME_SAMPLES * CHANNELS];
/// assert_eq!(decoder.decode(&SILENCE_FRAME, &mut pcm)?, FRAME_SAMPLES);
/// // The next frame is lost: 20 ms of plausible audio instead.
/// assert_eq!(decoder.conceal(FRAME_SAMPLES, &mut pcm)?, FRAME_SAMPLES);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Decoder {
    raw: RawDecoder,
    channels: Channels,
}

impl Decoder {
    /// A decoder to this many channels, whatever the packets have.
    ///
    /// # Errors
    ///
    /// [`InitError`] when the codec library cannot allocate.
    pub fn new(channels: Channels) -> Result<Self, InitError> {
        Ok(Self { raw: RawDecoder::new(channels)?, channels })
    }

    /// Decodes one packet to interleaved samples and returns how many there are of each channel.
    ///
    /// Samples may go slightly beyond -1.0 to 1.0. [`MAX_PACKET_SAMPLES`] of each channel always suffice.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the packet is malformed or `out` too short; the decoder stays usable.
    pub fn decode(&mut self, packet: &[u8], out: &mut [f32]) -> Result<usize, DecodeError> {
        let samples = Packet::parse(packet).map_err(DecodeError::Packet)?.samples();
        let out = self.room(samples, out)?;
        self.raw.decode(packet, samples, out)
    }

    /// Makes up audio for `lost_samples` of each channel that never came and returns that number.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when `lost_samples` is no multiple of 2.5 ms (120) or above 120 ms, or `out` is too short.
    pub fn conceal(&mut self, lost_samples: usize, out: &mut [f32]) -> Result<usize, DecodeError> {
        check_lost(lost_samples)?;
        let out = self.room(lost_samples, out)?;
        self.raw.conceal(lost_samples, out)
    }

    /// Restores the `lost_samples` of each channel before `next_packet` from the copy it may carry, and returns that
    /// number.
    ///
    /// Without such a copy this conceals. Decode `next_packet` itself afterwards.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode) and [`conceal`](Self::conceal).
    pub fn recover(&mut self, next_packet: &[u8], lost_samples: usize, out: &mut [f32]) -> Result<usize, DecodeError> {
        Packet::parse(next_packet).map_err(DecodeError::Packet)?;
        check_lost(lost_samples)?;
        let out = self.room(lost_samples, out)?;
        self.raw.recover(next_packet, lost_samples, out)
    }

    /// Forgets what was decoded so far, as before an unrelated stream.
    ///
    /// # Errors
    ///
    /// [`InitError`] when the codec library cannot start again.
    pub fn reset(&mut self) -> Result<(), InitError> {
        self.raw = RawDecoder::new(self.channels)?;
        Ok(())
    }

    /// Channels of the output.
    #[must_use]
    pub const fn channels(&self) -> Channels {
        self.channels
    }

    fn room<'o>(&self, samples: usize, out: &'o mut [f32]) -> Result<&'o mut [f32], DecodeError> {
        let needed = samples * self.channels.count();
        out.get_mut(..needed).ok_or(DecodeError::BufferTooSmall { needed })
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("channels", &self.channels).finish_non_exhaustive()
    }
}

/// Why a packet could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The packet is malformed.
    Packet(PacketError),
    /// A loss is a multiple of 2.5 ms and at most 120 ms.
    LossLength {
        /// Samples of each channel that were asked for.
        samples: usize,
    },
    /// The output is too short.
    BufferTooSmall {
        /// Samples needed, all channels together.
        needed: usize,
    },
    /// The codec library refused the packet.
    Codec,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(_) => f.write_str("the opus packet is malformed"),
            Self::LossLength { samples } => write!(f, "{samples} samples cannot be concealed"),
            Self::BufferTooSmall { needed } => write!(f, "the output needs room for {needed} samples"),
            Self::Codec => f.write_str("the opus decoder failed"),
        }
    }
}

impl core::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Packet(cause) => Some(cause),
            _ => None,
        }
    }
}

const fn check_lost(samples: usize) -> Result<(), DecodeError> {
    // 2.5 ms is the shortest frame there is.
    if samples == 0 || !samples.is_multiple_of(120) || samples > MAX_PACKET_SAMPLES {
        return Err(DecodeError::LossLength { samples });
    }
    Ok(())
}
