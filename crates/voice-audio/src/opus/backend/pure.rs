//! The codec in Rust.

use opus_pure::{OpusDecoder, OpusEncoder, RateControl};

use crate::SAMPLE_RATE;
use crate::opus::{Application, Channels, DecodeError, EncodeError, EncoderConfig, InitError};

const RATE: i32 = SAMPLE_RATE as i32;

pub(in crate::opus) struct RawEncoder(Box<OpusEncoder>);

impl RawEncoder {
    pub(in crate::opus) fn new(application: Application, channels: Channels) -> Result<Self, InitError> {
        let application = match application {
            Application::Audio => opus_pure::Application::Audio,
            Application::Voip => opus_pure::Application::Voip,
        };
        OpusEncoder::new(RATE, channels.count(), application)
            .map(|encoder| Self(Box::new(encoder)))
            .map_err(|_| InitError(()))
    }

    pub(in crate::opus) fn configure(&mut self, config: &EncoderConfig) -> Result<(), InitError> {
        self.0.bitrate_bps = i32::try_from(config.bitrate).map_err(|_| InitError(()))?;
        self.0.complexity = i32::from(config.complexity);
        self.0.rate_control = RateControl::ConstrainedVbr;
        self.0.use_inband_fec = config.fec;
        self.0.packet_loss_perc = i32::from(config.expected_loss);
        self.0.use_dtx = config.dtx;
        Ok(())
    }

    pub(in crate::opus) fn encode(
        &mut self,
        pcm: &[f32],
        samples: usize,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        self.0.encode(pcm, samples, out).map_err(|_| EncodeError::Codec)
    }

    pub(in crate::opus) fn lookahead(&self) -> usize {
        self.0.lookahead()
    }
}

pub(in crate::opus) struct RawDecoder(Box<OpusDecoder>);

impl RawDecoder {
    pub(in crate::opus) fn new(channels: Channels) -> Result<Self, InitError> {
        OpusDecoder::new(RATE, channels.count()).map(|decoder| Self(Box::new(decoder))).map_err(|_| InitError(()))
    }

    pub(in crate::opus) fn decode(
        &mut self,
        packet: &[u8],
        samples: usize,
        out: &mut [f32],
    ) -> Result<usize, DecodeError> {
        self.0.decode(packet, samples, out).map_err(|_| DecodeError::Codec)
    }

    pub(in crate::opus) fn conceal(&mut self, samples: usize, out: &mut [f32]) -> Result<usize, DecodeError> {
        self.0.decode(&[], samples, out).map_err(|_| DecodeError::Codec)
    }

    pub(in crate::opus) fn recover(
        &mut self,
        next: &[u8],
        samples: usize,
        out: &mut [f32],
    ) -> Result<usize, DecodeError> {
        self.0.decode_fec(next, samples, out).map_err(|_| DecodeError::Codec)
    }
}
