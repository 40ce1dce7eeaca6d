//! The codec of the reference library, libopus.

use audiopus::coder::{Decoder, Encoder};
use audiopus::packet::Packet;
use audiopus::{Bitrate, MutSignals, SampleRate};

use crate::opus::{Application, Channels, DecodeError, EncodeError, EncoderConfig, InitError};

pub(in crate::opus) struct RawEncoder(Encoder);

impl RawEncoder {
    pub(in crate::opus) fn new(application: Application, channels: Channels) -> Result<Self, InitError> {
        let application = match application {
            Application::Audio => audiopus::Application::Audio,
            Application::Voip => audiopus::Application::Voip,
        };
        Encoder::new(SampleRate::Hz48000, map_channels(channels), application).map(Self).map_err(|_| InitError(()))
    }

    pub(in crate::opus) fn configure(&mut self, config: &EncoderConfig) -> Result<(), InitError> {
        let bitrate = i32::try_from(config.bitrate).map_err(|_| InitError(()))?;
        let encoder = &mut self.0;
        encoder
            .set_bitrate(Bitrate::BitsPerSecond(bitrate))
            .and_then(|()| encoder.set_complexity(config.complexity))
            .and_then(|()| encoder.set_inband_fec(config.fec))
            .and_then(|()| encoder.set_packet_loss_perc(config.expected_loss))
            .and_then(|()| encoder.set_dtx(config.dtx))
            .map_err(|_| InitError(()))
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "the library changes the encoder behind its pointer")]
    pub(in crate::opus) fn encode(
        &mut self,
        pcm: &[f32],
        _samples: usize,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        self.0.encode_float(pcm, out).map_err(|_| EncodeError::Codec)
    }

    pub(in crate::opus) fn lookahead(&self) -> usize {
        // The request cannot fail on a valid encoder; 312 is what libopus answers at 48 kHz.
        self.0.lookahead().map_or(312, |samples| samples as usize)
    }
}

pub(in crate::opus) struct RawDecoder(Decoder);

impl RawDecoder {
    pub(in crate::opus) fn new(channels: Channels) -> Result<Self, InitError> {
        Decoder::new(SampleRate::Hz48000, map_channels(channels)).map(Self).map_err(|_| InitError(()))
    }

    pub(in crate::opus) fn decode(
        &mut self,
        packet: &[u8],
        _samples: usize,
        out: &mut [f32],
    ) -> Result<usize, DecodeError> {
        self.run(Some(packet), out, false)
    }

    pub(in crate::opus) fn conceal(&mut self, _samples: usize, out: &mut [f32]) -> Result<usize, DecodeError> {
        self.run(None, out, false)
    }

    pub(in crate::opus) fn recover(
        &mut self,
        next: &[u8],
        _samples: usize,
        out: &mut [f32],
    ) -> Result<usize, DecodeError> {
        self.run(Some(next), out, true)
    }

    fn run(&mut self, packet: Option<&[u8]>, out: &mut [f32], fec: bool) -> Result<usize, DecodeError> {
        let packet = packet.map(Packet::try_from).transpose().map_err(|_| DecodeError::Codec)?;
        let out = MutSignals::try_from(out).map_err(|_| DecodeError::Codec)?;
        self.0.decode_float(packet, out, fec).map_err(|_| DecodeError::Codec)
    }
}

const fn map_channels(channels: Channels) -> audiopus::Channels {
    match channels {
        Channels::Mono => audiopus::Channels::Mono,
        Channels::Stereo => audiopus::Channels::Stereo,
    }
}
