//! What the calls play.

use std::{io::Cursor, sync::Arc};

use voice_audio::{
    CHANNELS, FRAME_SAMPLES, FileReader, FrameBuf, OpenOptions,
    opus::{Channels, Decoder},
};

use crate::Error;

/// Samples of a frame, both channels together.
pub const FRAME_LEN: usize = FRAME_SAMPLES * CHANNELS;

/// The frames of the bundled recording, as many of its first as have 160 bytes on average: 64 kbit/s.
///
/// The project's own `load` plays the same ones.
///
/// # Errors
///
/// [`Error::Recording`] when it cannot be read, which is a fault of the project.
pub fn frames() -> Result<Vec<Vec<u8>>, Error> {
    let mut reader = reader()?;
    let (mut frame, mut frames) = (FrameBuf::new(), Vec::new());
    while reader.read_frame(&mut frame).map_err(|error| Error::Recording { source: error.into() })? {
        frames.push(frame.as_slice().to_vec());
    }
    let mut bytes = 0;
    let means = frames.iter().zip(1_u16..).map(|(frame, count)| {
        bytes += frame.len();
        bytes as f64 / f64::from(count)
    });
    let near = means.map(|mean| (mean - FRAME_BYTES).abs() <= FRAME_BYTES / 100.0);
    let count = near.enumerate().filter_map(|(index, near)| near.then_some(index + 1)).last();
    frames.truncate(count.unwrap_or(frames.len()));
    Ok(frames)
}

/// Where a call begins to play, so that at any time the calls are all over what there is to play.
///
/// # Panics
///
/// When there is nothing to play.
#[must_use]
pub const fn offset(call: u32, frames: usize) -> usize {
    call as usize * PRIME % frames
}

/// The bundled recording, decoded: 48 kHz, stereo, interleaved, whole frames.
///
/// # Errors
///
/// [`Error::Recording`] or [`Error::Codec`] when it cannot be read, which is a fault of the project.
pub fn recording() -> Result<Arc<[f32]>, Error> {
    let mut reader = reader()?;
    let mut decoder = Decoder::new(Channels::Stereo).map_err(|error| Error::Codec { source: error.into() })?;
    let (mut frame, mut samples) = (FrameBuf::new(), [0.0; FRAME_LEN]);
    let mut pcm = Vec::new();
    while reader.read_frame(&mut frame).map_err(|error| Error::Recording { source: error.into() })? {
        decoder.decode(frame.as_slice(), &mut samples).map_err(|error| Error::Codec { source: error.into() })?;
        pcm.extend_from_slice(&samples);
    }
    Ok(pcm.into())
}

fn reader() -> Result<FileReader, Error> {
    let reader = FileReader::new(Cursor::new(RECORDING), OpenOptions::default());
    reader.map_err(|error| Error::Recording { source: error.into() })
}

/// Frames that are sent in a second.
pub const FRAMES_PER_SECOND: u32 = 50;

/// The length of a frame of 64 kbit/s, in bytes.
const FRAME_BYTES: f64 = 160.0;

/// Shares no factor with how much there is to play.
const PRIME: usize = 7_919;

/// What the project's examples play.
const RECORDING: &[u8] = include_bytes!("../../../assets/demo.opus");

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn frames_have_the_size_of_64_kbit_per_second() {
        let frames = frames().expect("it comes with the project");
        let mean = frames.iter().map(Vec::len).sum::<usize>() as f64 / frames.len() as f64;
        assert!(frames.len() > 500 && (158.0..=162.0).contains(&mean), "{} of {mean}", frames.len());
    }

    #[test]
    fn calls_begin_all_over_the_recording() {
        let beginnings: HashSet<usize> = (0..1_000).map(|call| offset(call, 1_000)).collect();
        assert_eq!(beginnings.len(), 1_000);
    }

    #[test]
    fn the_recording_is_twenty_seconds_of_sound() {
        let pcm = recording().expect("it comes with the project");
        assert_eq!(pcm.len(), 1_000 * FRAME_LEN);
        assert!(pcm.iter().any(|sample| sample.abs() > 0.1));
        assert!(pcm.iter().all(|sample| sample.abs() <= 2.0));
    }
}
