//! Opus: the grammar of its packets, and the codec behind types of our own.

#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
mod backend;
#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
mod decoder;
#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
mod encoder;
#[cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]
mod multistream;
mod packet;

#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
pub use codec::{Channels, InitError};
#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
pub use decoder::{DecodeError, Decoder};
#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
pub use encoder::{Application, EncodeError, Encoder, EncoderConfig, MAX_BITRATE, MIN_BITRATE};
#[cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]
pub(crate) use multistream::split_first;
pub use packet::{
    Bandwidth, MAX_OPUS_FRAME_LEN, MAX_PACKET_FRAMES, MAX_PACKET_SAMPLES, Mode, Packet, PacketError, Toc,
};

#[cfg(any(feature = "audiopus", feature = "opus-pure"))]
mod codec {
    use core::fmt;

    /// How many channels a codec takes or makes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Channels {
        /// One.
        Mono,
        /// Two, interleaved: left, right.
        Stereo,
    }

    impl Channels {
        /// One or two.
        #[must_use]
        pub const fn count(self) -> usize {
            match self {
                Self::Mono => 1,
                Self::Stereo => 2,
            }
        }
    }

    /// The codec library could not start, or refused a setting.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct InitError(pub(super) ());

    impl fmt::Display for InitError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the opus codec could not start")
        }
    }

    impl core::error::Error for InitError {}
}
