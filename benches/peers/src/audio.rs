//! What the calls play.

use std::{io::Cursor, sync::Arc};

use voice_audio::{
    CHANNELS, FRAME_SAMPLES, FrameBuf, FrameReader as _, OpenOptions,
    opus::{Channels, Decoder},
};

use crate::Error;

/// Samples of a frame, both channels together.
pub const FRAME_LEN: usize = FRAME_SAMPLES * CHANNELS;

/// Frames that look like 64 kbit/s: a second of them, each of 160 bytes and each different.
///
/// The first byte says one 20 ms frame of stereo CELT; the rest is noise, which nobody decodes.
#[must_use]
pub fn frames() -> Vec<[u8; FRAME_BYTES]> {
    let mut noise = 0x9E37_79B9_u32;
    let mut next = || {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        noise.to_be_bytes()[0]
    };
    let mut frame = || {
        let mut frame = [0; FRAME_BYTES];
        frame.fill_with(&mut next);
        frame[0] = CELT_STEREO_20_MS;
        frame
    };
    (0..FRAMES_PER_SECOND).map(|_| frame()).collect()
}

/// The bundled recording, decoded: 48 kHz, stereo, interleaved, whole frames.
///
/// # Errors
///
/// [`Error::Recording`] or [`Error::Codec`] when it cannot be read, which is a fault of the project.
pub fn recording() -> Result<Arc<[f32]>, Error> {
    let media = Cursor::new(RECORDING);
    let mut reader = voice_audio::FileReader::new(media, OpenOptions::default())
        .map_err(|error| Error::Recording { source: error.into() })?;
    let mut decoder = Decoder::new(Channels::Stereo).map_err(|error| Error::Codec { source: error.into() })?;
    let (mut frame, mut samples) = (FrameBuf::new(), [0.0; FRAME_LEN]);
    let mut pcm = Vec::new();
    while reader.read_frame(&mut frame).map_err(|error| Error::Recording { source: error.into() })? {
        decoder.decode(frame.as_slice(), &mut samples).map_err(|error| Error::Codec { source: error.into() })?;
        pcm.extend_from_slice(&samples);
    }
    Ok(pcm.into())
}

/// Frames that are sent in a second.
pub const FRAMES_PER_SECOND: usize = 50;

/// The length of a frame of 64 kbit/s.
pub const FRAME_BYTES: usize = 160;

/// RFC 6716, section 3.1: configuration 31, stereo, one frame.
const CELT_STEREO_20_MS: u8 = 31 << 3 | 1 << 2;

/// What the project's examples play.
const RECORDING: &[u8] = include_bytes!("../../../assets/demo.opus");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_distinct_and_of_20_ms() {
        let mut frames = frames();
        assert!(frames.iter().all(|frame| frame[0] == 0xFC));
        frames.sort_unstable();
        frames.dedup();
        assert_eq!(frames.len(), FRAMES_PER_SECOND);
    }

    #[test]
    fn the_recording_is_twenty_seconds_of_sound() {
        let pcm = recording().expect("it comes with the project");
        assert_eq!(pcm.len(), 1_000 * FRAME_LEN);
        assert!(pcm.iter().any(|sample| sample.abs() > 0.1));
        assert!(pcm.iter().all(|sample| sample.abs() <= 2.0));
    }
}
