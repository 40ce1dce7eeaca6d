//! Files of any usual kind as 20 ms Opus frames.

mod bytes;
mod chunks;
mod decode;
mod ebml;
mod edit_list;
mod error;
mod flac;
mod input;
mod mix;
mod mp4;
mod mpeg;
mod ogg;
mod opus_decoder;
mod opus_head;
mod packet;
mod pcm;
mod resample;
mod tags;
mod transcode;
mod trim;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use input::{Input, Next};
use transcode::Transcoder;
use trim::Trim;

use super::{FrameSource, Lead, NextFrame, SourceError};
use crate::opus::Packet;
use crate::{FRAME_SAMPLES, FrameBuf, MAX_FRAME_LEN, SAMPLE_RATE};

pub use error::{OpenError, ReadError};
pub use pcm::PcmFile;

/// Opens an audio file, whatever its name; its contents decide.
///
/// Opening reads the start of the file, and so blocks on the disk; the rest is read as it plays. See [`FileReader`].
///
/// # Errors
///
/// [`OpenError`] says what to tell the user.
///
/// ```
/// use std::path::Path;
/// use voice_audio::FrameBuf;
/// use voice_audio::source::{OpenOptions, open};
///
/// # let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets");
/// let mut song = open(&dir.join("sweep-20ms.opus"), OpenOptions::default())?;
/// assert!(song.is_passthrough());
/// let (mut frame, mut frames) = (FrameBuf::new(), 0);
/// while song.read_frame(&mut frame)? {
///     frames += 1;
/// }
/// assert_eq!(frames, 51);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(path: &Path, options: OpenOptions) -> Result<FileReader, OpenError> {
    FileReader::guarded_open(|| open_bytes(path), options)
}

fn open_bytes(path: &Path) -> Result<Bytes, OpenError> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::NotFound,
        _ => OpenError::Io(error),
    })?;
    // A FIFO, a terminal, the end of a pipe.
    if file.stream_position().is_err() { Ok(Bytes::forward(file)) } else { Ok(Bytes::seekable(file)?) }
}

/// How to play a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenOptions {
    /// Bits per second to encode with, if anything has to be encoded. The default is 64 000.
    pub bitrate: u32,
    /// A factor on every sample; anything but 1.0 means decoding and encoding again. Negative counts as 0.
    pub volume: f32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { bitrate: 64_000, volume: 1.0 }
    }
}

/// A file, or anything like one, as Opus frames of 20 ms.
///
/// Opus made of single 20 ms frames (Ogg, WebM, Matroska, MP4), without gain and at volume 1.0, passes unchanged.
/// Everything else is decoded, mixed to stereo, resampled to 48 kHz and encoded. The end of the audio is filled up to
/// a whole frame, and followed by the encoder's delay of 6.5 ms.
pub struct FileReader {
    input: Input,
    stage: Stage,
    format: Format,
    options: OpenOptions,
}

/// What becomes of packets.
enum Stage {
    /// They pass, but for those that are not heard. The last few are kept in case that this has to change: a decoder
    /// needs to know what came before.
    Passthrough {
        history: VecDeque<Box<[u8]>>,
        trim: Trim,
    },
    Transcode(Box<Transcoder>),
    Drain(Box<Transcoder>),
    Done,
}

impl Stage {
    fn passthrough(input: &Input) -> Self {
        Self::Passthrough { history: VecDeque::with_capacity(HISTORY), trim: input.track.trim.clone() }
    }
}

impl FileReader {
    /// Reads from anything that has a beginning and an end.
    ///
    /// # Errors
    ///
    /// [`OpenError`], except that nothing can be [`NotFound`](OpenError::NotFound).
    pub fn new(media: impl Read + Seek + Send + Sync + 'static, options: OpenOptions) -> Result<Self, OpenError> {
        Self::guarded_open(|| Ok(Bytes::seekable(media)?), options)
    }

    /// Reads from what comes from front to back and cannot go back: a pipe, standard input, a download.
    ///
    /// Its [`duration`](Self::duration) is told where the beginning of it states one. Blocks until there is as much as
    /// tells what it is.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`NeedsSeeking`](OpenError::NeedsSeeking) for what cannot be played this way.
    ///
    /// ```
    /// use voice_audio::source::{FileReader, OpenOptions};
    ///
    /// # let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets/sweep-20ms.opus");
    /// # let pipe = std::fs::File::open(path)?;
    /// let song = FileReader::from_stream(pipe, OpenOptions::default())?;
    /// assert!(song.is_passthrough());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_stream(media: impl Read + Send + Sync + 'static, options: OpenOptions) -> Result<Self, OpenError> {
        Self::guarded_open(|| Ok(Bytes::forward(media)), options)
    }

    fn guarded_open(bytes: impl FnOnce() -> Result<Bytes, OpenError>, options: OpenOptions) -> Result<Self, OpenError> {
        guarded(|| Self::try_open(bytes()?, options))
            .unwrap_or_else(|panicked| Err(OpenError::Malformed(panicked.into())))
    }

    fn try_open(bytes: Bytes, options: OpenOptions) -> Result<Self, OpenError> {
        let mut input = Input::open(bytes)?;
        let first_passes = input.peek().is_none_or(|packet| is_call_frame(packet.data()));
        let stage = if first_passes && passes(&input, &options) {
            Stage::passthrough(&input)
        } else {
            Stage::Transcode(Box::new(Transcoder::new(&input.track, &options)?))
        };
        Ok(Self { format: input.format(), input, stage, options })
    }

    /// The container.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether the frames so far are the file's own, unchanged.
    ///
    /// A file that begins with single 20 ms frames and goes on otherwise is encoded from there on.
    #[must_use]
    pub const fn is_passthrough(&self) -> bool {
        matches!(self.stage, Stage::Passthrough { .. })
    }

    /// How long everything plays, when the file tells.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.input.track.duration
    }

    /// What this reads, in a few words for a log.
    #[must_use]
    pub fn description(&self) -> String {
        let how = if self.is_passthrough() { "Opus, unchanged" } else { "encoded to Opus" };
        format!("{}, {how}", self.format)
    }

    /// Writes the next frame to `out`; `false` when there is none left. Blocks on the disk.
    ///
    /// A call does this by itself, on a thread that may wait; see [`FrameSource`].
    ///
    /// # Errors
    ///
    /// [`ReadError`]; the file is then at its end.
    pub fn read_frame(&mut self, out: &mut FrameBuf) -> Result<bool, ReadError> {
        loop {
            // After a panic nothing of the reader is looked at again: the stage becomes `Done`.
            let step = guarded(|| self.step(out)).unwrap_or_else(|panicked| Err(ReadError::Malformed(panicked.into())));
            match step {
                Ok(Step::Frame) => return Ok(true),
                Ok(Step::Again) => {}
                Ok(Step::End) => {
                    self.stage = Stage::Done;
                    return Ok(false);
                }
                Err(error) => {
                    self.stage = Stage::Done;
                    return Err(error);
                }
            }
        }
    }

    /// One step: a frame, the end, or neither yet.
    fn step(&mut self, out: &mut FrameBuf) -> Result<Step, ReadError> {
        match &mut self.stage {
            Stage::Passthrough { history, trim } => match self.input.next()? {
                Next::Packet(packet) if is_call_frame(packet.data()) => {
                    let heard = trim.next(FRAME_SAMPLES as u64, SAMPLE_RATE, &packet);
                    let passes = !heard.range.is_empty() || heard.leading && heard.before_start < CONVERGENCE_SAMPLES;
                    if passes && out.set(packet.data()).is_err() {
                        return Err(ReadError::Malformed("a frame is too long".into()));
                    }
                    if history.len() == HISTORY {
                        history.pop_front();
                    }
                    history.push_back(packet.coded.data);
                    Ok(if passes { Step::Frame } else { Step::Again })
                }
                Next::Packet(packet) => {
                    let mut transcoder = Transcoder::new(&self.input.track, &self.options)
                        .map_err(|error| ReadError::Codec(error.into()))?;
                    transcoder.decoding.warm_up(history.iter().map(|played| &**played), trim.clone());
                    transcoder.decoding.feed(&packet)?;
                    self.stage = Stage::Transcode(Box::new(transcoder));
                    Ok(Step::Again)
                }
                Next::Changed => {
                    self.stage = if passes(&self.input, &self.options) {
                        Stage::passthrough(&self.input)
                    } else {
                        let transcoder = Transcoder::new(&self.input.track, &self.options)
                            .map_err(|error| ReadError::Unsupported(error.into()))?;
                        Stage::Transcode(Box::new(transcoder))
                    };
                    Ok(Step::Again)
                }
                Next::End => Ok(Step::End),
            },
            Stage::Transcode(transcoder) => {
                if transcoder.take_frame(out)? {
                    return Ok(Step::Frame);
                }
                match self.input.next()? {
                    Next::Packet(packet) => transcoder.decoding.feed(&packet)?,
                    Next::Changed => transcoder.decoding.change_track(&self.input.track)?,
                    Next::End => {
                        transcoder.finish()?;
                        if let Stage::Transcode(transcoder) = std::mem::replace(&mut self.stage, Stage::Done) {
                            self.stage = Stage::Drain(transcoder);
                        }
                    }
                }
                Ok(Step::Again)
            }
            Stage::Drain(transcoder) => Ok(if transcoder.take_frame(out)? { Step::Frame } else { Step::End }),
            Stage::Done => Ok(Step::End),
        }
    }
}

enum Step {
    Frame,
    Again,
    End,
}

impl FrameSource for FileReader {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        match self.read_frame(out) {
            Ok(true) => NextFrame::Ready,
            Ok(false) => NextFrame::End,
            Err(error) => NextFrame::Failed(SourceError::new(error)),
        }
    }

    fn lead(&self) -> Lead {
        Lead::Frames(LEAD)
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader")
            .field("format", &self.format)
            .field("passthrough", &self.is_passthrough())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What kind of container a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A bare stream of AAC frames.
    Adts,
    /// AIFF.
    Aiff,
    /// FLAC.
    Flac,
    /// Matroska or WebM.
    Matroska,
    /// A bare stream of MPEG audio, as MP3 files are.
    Mpeg,
    /// MP4, M4A, MOV.
    Mp4,
    /// Ogg.
    Ogg,
    /// WAV.
    Wav,
    /// Something else that can be read.
    Other,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adts => "AAC",
            Self::Aiff => "AIFF",
            Self::Flac => "FLAC",
            Self::Matroska => "Matroska",
            Self::Mpeg => "MPEG audio",
            Self::Mp4 => "MP4",
            Self::Ogg => "Ogg",
            Self::Wav => "WAV",
            Self::Other => "audio",
        })
    }
}

/// Runs what parses files that anyone may have made, in libraries that are known to panic on some of them (arithmetic
/// overflow in debug builds, for one). A file is no reason for a program to end.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, ParserPanicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| ParserPanicked)
}

/// A parser or decoder had a bug that the file brought out.
#[derive(Debug)]
struct ParserPanicked;

impl fmt::Display for ParserPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a parser panicked")
    }
}

impl Error for ParserPanicked {}

/// Whether the track allows passthrough; each packet is still looked at.
fn passes(input: &Input, options: &OpenOptions) -> bool {
    input.track.opus.is_some_and(|head| head.gain == 0 && head.is_single_stream()) && options.volume == 1.0
}

fn is_call_frame(packet: &[u8]) -> bool {
    packet.len() <= MAX_FRAME_LEN && Packet::parse(packet).is_ok_and(|packet| packet.is_single_20_ms_frame())
}

/// Packets to keep while they pass: 80 ms, what a decoder needs to converge (RFC 7845, section 4.6).
const HISTORY: usize = 4;
/// The same as samples per channel: packets in front of the audio that are sent though they are not meant to be heard.
const CONVERGENCE_SAMPLES: u64 = (HISTORY * FRAME_SAMPLES) as u64;
/// Frames read ahead: half a second, for a disk that is slow at times.
const LEAD: u8 = 25;
