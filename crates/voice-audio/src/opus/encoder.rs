//! The Opus encoder.

use core::fmt;

use super::backend::RawEncoder;
use super::{Channels, InitError};
use crate::{FrameBuf, MAX_FRAME_LEN};

/// Turns 48 kHz audio into Opus packets.
///
/// ```
/// use voice_audio::opus::{Encoder, EncoderConfig};
/// use voice_audio::{CHANNELS, FRAME_SAMPLES, FrameBuf};
///
/// let mut encoder = Encoder::new(EncoderConfig {
///     bitrate: 96_000,
///     ..EncoderConfig::default()
/// })?;
/// let mut frame = FrameBuf::new();
/// encoder.encode_frame(&[0.0; FRAME_SAMPLES * CHANNELS], &mut frame)?;
/// assert!(!frame.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Encoder {
    raw: RawEncoder,
    config: EncoderConfig,
}

impl Encoder {
    /// An encoder with these settings.
    ///
    /// # Errors
    ///
    /// [`InitError`] when the codec library cannot allocate or refuses a setting.
    pub fn new(config: EncoderConfig) -> Result<Self, InitError> {
        let config = config.clamped();
        let mut raw = RawEncoder::new(config.application, config.channels)?;
        raw.configure(&config)?;
        Ok(Self { raw, config })
    }

    /// Changes every setting but the application and the channels, between two packets.
    ///
    /// # Errors
    ///
    /// [`InitError`] when the codec library refuses a setting; which then applies is undefined.
    pub fn configure(&mut self, config: EncoderConfig) -> Result<(), InitError> {
        let config =
            EncoderConfig { application: self.config.application, channels: self.config.channels, ..config.clamped() };
        self.raw.configure(&config)?;
        self.config = config;
        Ok(())
    }

    /// Encodes interleaved samples in -1.0 to 1.0 into one packet and returns its length in bytes.
    ///
    /// `pcm` lasts 2.5, 5, 10, 20, 40 or 60 ms. The length of `out` is a budget: the packet is made to fit it.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when `pcm` has another length or `out` holds fewer than two bytes.
    pub fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, EncodeError> {
        let channels = self.config.channels.count();
        let samples = pcm.len() / channels;
        if !pcm.len().is_multiple_of(channels) || !FRAME_LENS.contains(&samples) {
            return Err(EncodeError::FrameLength { samples: pcm.len() });
        }
        if out.len() < 2 {
            return Err(EncodeError::BufferTooSmall);
        }
        self.raw.encode(pcm, samples, out)
    }

    /// Encodes interleaved samples, usually [`FRAME_SAMPLES`](crate::FRAME_SAMPLES) of each channel, into `out`.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode); `out` is then empty.
    pub fn encode_frame(&mut self, pcm: &[f32], out: &mut FrameBuf) -> Result<(), EncodeError> {
        out.clear();
        let budget = out.buffer_mut().get_mut(..MAX_FRAME_LEN).ok_or(EncodeError::BufferTooSmall)?;
        let len = self.encode(pcm, budget)?;
        out.set_len(len).map_err(|_| EncodeError::BufferTooSmall)
    }

    /// How far the decoded audio trails the input, in samples per channel at 48 kHz.
    ///
    /// An Ogg Opus file states this as its pre-skip.
    #[must_use]
    pub fn lookahead(&self) -> usize {
        self.raw.lookahead()
    }

    /// The settings in use.
    #[must_use]
    pub const fn config(&self) -> EncoderConfig {
        self.config
    }

    /// Forgets the audio encoded so far, as before an unrelated stream.
    ///
    /// # Errors
    ///
    /// [`InitError`] when the codec library cannot start again.
    pub fn reset(&mut self) -> Result<(), InitError> {
        self.raw = RawEncoder::new(self.config.application, self.config.channels)?;
        self.raw.configure(&self.config)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The settings of an [`Encoder`]; values out of range are brought into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// What to optimise for.
    pub application: Application,
    /// Channels of the input.
    pub channels: Channels,
    /// Bits per second of all channels together, 6 000 to 510 000. The default is 64 000, what a plain Discord
    /// channel starts with.
    pub bitrate: u32,
    /// How much work to spend, 0 to 10. The default is 9, which sounds as 10 does and costs less.
    pub complexity: u8,
    /// Whether to repeat the previous frame at a low rate inside the next (SILK and hybrid only).
    pub fec: bool,
    /// Packets expected to be lost, in percent, 0 to 100: how much to spend on [`fec`](Self::fec).
    pub expected_loss: u8,
    /// Whether to send next to nothing while the input is silent.
    pub dtx: bool,
}

impl EncoderConfig {
    fn clamped(self) -> Self {
        Self {
            bitrate: self.bitrate.clamp(MIN_BITRATE, MAX_BITRATE),
            complexity: self.complexity.min(10),
            expected_loss: self.expected_loss.min(100),
            ..self
        }
    }
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            application: Application::Audio,
            channels: Channels::Stereo,
            bitrate: 64_000,
            complexity: 9,
            fec: false,
            expected_loss: 0,
            dtx: false,
        }
    }
}

/// What an [`Encoder`] optimises for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Application {
    /// Faithfulness to the input: music, mixed content.
    Audio,
    /// Intelligible speech.
    Voip,
}

/// The lowest bitrate, in bits per second.
///
/// RFC 6716, section 2.1.1.
pub const MIN_BITRATE: u32 = 6_000;

/// The highest bitrate, in bits per second.
///
/// RFC 6716, section 2.1.1.
pub const MAX_BITRATE: u32 = 510_000;

/// Why audio could not be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The input is not 2.5, 5, 10, 20, 40 or 60 ms of all channels.
    FrameLength {
        /// Samples given, all channels together.
        samples: usize,
    },
    /// The output has no room for a packet.
    BufferTooSmall,
    /// The codec library failed.
    Codec,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameLength { samples } => write!(f, "{samples} samples are not a frame"),
            Self::BufferTooSmall => f.write_str("the output has no room for a packet"),
            Self::Codec => f.write_str("the opus encoder failed"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Frame lengths in samples per channel at 48 kHz: RFC 6716, section 2.1.4.
const FRAME_LENS: [usize; 6] = [120, 240, 480, 960, 1920, 2880];
