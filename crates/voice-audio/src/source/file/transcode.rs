//! Packets of any codec to 20 ms Opus frames.

use super::decode::Decoding;
use super::input::TrackInfo;
use super::{OpenError, OpenOptions, ReadError};
use crate::opus::{Encoder, EncoderConfig};
use crate::{CHANNELS, FRAME_SAMPLES, FrameBuf};

/// Decodes and encodes again.
pub(super) struct Transcoder {
    pub(super) decoding: Decoding,
    encoder: Encoder,
    /// The part of the next frame that is there.
    frame: Vec<f32>,
    any_audio: bool,
    /// Samples of silence that follow the audio, once that has ended.
    tail: Option<usize>,
}

impl Transcoder {
    pub(super) fn new(track: &TrackInfo, options: &OpenOptions) -> Result<Self, OpenError> {
        let encoder = Encoder::new(EncoderConfig { bitrate: options.bitrate, ..EncoderConfig::default() })
            .map_err(|error| OpenError::Codec(error.into()))?;
        let decoding = Decoding::new(track, options.volume)?;
        Ok(Self { decoding, encoder, frame: Vec::with_capacity(FRAME_LEN), any_audio: false, tail: None })
    }

    /// Ends the audio: nothing is fed any more.
    pub(super) fn finish(&mut self) -> Result<(), ReadError> {
        self.decoding.finish()?;
        self.any_audio |= !self.decoding.ready().is_empty();
        // The last samples come out of a decoder only when the encoder is pushed by as many more.
        self.tail = Some(if self.any_audio { self.encoder.lookahead() * CHANNELS } else { 0 });
        Ok(())
    }

    /// Encodes the next frame; `false` when there is not enough audio for it.
    pub(super) fn take_frame(&mut self, out: &mut FrameBuf) -> Result<bool, ReadError> {
        let ready = self.decoding.ready();
        let taken = ready.len().min(FRAME_LEN - self.frame.len());
        self.frame.extend(ready.iter().take(taken));
        self.decoding.consume(taken);
        self.any_audio |= taken > 0;
        if self.frame.len() < FRAME_LEN {
            let Some(tail) = &mut self.tail else {
                return Ok(false);
            };
            let silence = (FRAME_LEN - self.frame.len()).min(*tail);
            *tail -= silence;
            if self.frame.is_empty() && silence == 0 {
                return Ok(false);
            }
            // What is left of the last frame is silence too.
            self.frame.resize(FRAME_LEN, 0.0);
        }
        let result = self.encoder.encode_frame(&self.frame, out);
        self.frame.clear();
        result.map(|()| true).map_err(|error| ReadError::Codec(error.into()))
    }
}

/// Samples of a frame, all channels together.
const FRAME_LEN: usize = FRAME_SAMPLES * CHANNELS;
