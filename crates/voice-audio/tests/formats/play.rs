//! Plays a file through the source at full speed, as a call would.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use voice_audio::opus::{Channels, Decoder, Encoder, EncoderConfig};
use voice_audio::source::{OpenOptions, PcmFile, open};
use voice_audio::{CHANNELS, FRAME_SAMPLES, FrameBuf};

/// What a listener hears of a file.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Interleaved stereo at 48 kHz.
    pub(crate) pcm: Vec<f32>,
    /// What the source says of its length.
    pub(crate) duration: Option<Duration>,
    pub(crate) is_passthrough: bool,
}

/// High enough that what is compared is the source, and not the encoder.
const BITRATE: u32 = 256_000;

/// The frames of a file, decoded.
pub(crate) fn play(file: &Path, is_piped: bool) -> Result<Heard, String> {
    let path = if is_piped { fifo(file)? } else { file.to_owned() };
    let mut source =
        open(&path, OpenOptions { bitrate: BITRATE, ..OpenOptions::default() }).map_err(|error| chain(&error))?;
    let mut decoder = Decoder::new(Channels::Stereo).map_err(|error| chain(&error))?;
    let (duration, is_passthrough) = (source.duration(), source.is_passthrough());
    let (mut frame, mut twenty) = (FrameBuf::new(), vec![0.0; FRAME_SAMPLES * CHANNELS]);
    let mut pcm = Vec::new();
    while source.read_frame(&mut frame).map_err(|error| chain(&error))? {
        let samples = decoder.decode(frame.as_slice(), &mut twenty).map_err(|error| chain(&error))?;
        if samples != FRAME_SAMPLES {
            return Err(format!("a frame of {samples} samples"));
        }
        pcm.extend_from_slice(&twenty);
    }
    let delay = Encoder::new(EncoderConfig::default()).map_err(|error| chain(&error))?.lookahead();
    pcm.drain(..(delay * CHANNELS).min(pcm.len()));
    Ok(Heard { pcm, duration, is_passthrough })
}

/// The samples of a file, before they are encoded for the call.
pub(crate) fn decode(file: &Path, is_piped: bool) -> Result<Vec<f32>, String> {
    let path = if is_piped { fifo(file)? } else { file.to_owned() };
    let mut file = PcmFile::open(&path).map_err(|error| chain(&error))?;
    let (mut pcm, mut part) = (Vec::new(), vec![0.0; FRAME_SAMPLES * CHANNELS]);
    loop {
        let len = file.read(&mut part).map_err(|error| chain(&error))?;
        if len == 0 {
            return Ok(pcm);
        }
        pcm.extend_from_slice(&part[..len]);
    }
}

/// A FIFO out of which the file comes once.
fn fifo(file: &Path) -> Result<PathBuf, String> {
    let path = file.with_extension("fifo");
    let _ = std::fs::remove_file(&path);
    let status = Command::new("mkfifo").arg(&path).status().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err("mkfifo failed".into());
    }
    let (file, end) = (file.to_owned(), path.clone());
    // A reader that stops early ends it with a broken pipe.
    thread::spawn(move || -> io::Result<u64> { io::copy(&mut File::open(file)?, &mut File::create(end)?) });
    Ok(path)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
