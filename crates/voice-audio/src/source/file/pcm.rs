//! Files of any usual kind as stereo audio.

use std::fmt;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::Duration;

use super::bytes::Bytes;
use super::decode::Decoding;
use super::input::{Input, Next};
use super::{Format, OpenError, ReadError, guarded, open_bytes};

/// A file, or anything like one, as stereo audio of 48 kHz: what [`FileReader`](super::FileReader) encodes.
///
/// ```
/// use std::path::Path;
/// use voice_audio::source::PcmFile;
///
/// # let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets");
/// let mut song = PcmFile::open(&dir.join("sweep-44100-stereo.flac"))?;
/// let (mut pcm, mut samples) = ([0.0; 4096], 0);
/// loop {
///     match song.read(&mut pcm)? {
///         0 => break,
///         read => samples += read / 2,
///     }
/// }
/// assert_eq!(samples, 48_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PcmFile {
    input: Input,
    decoding: Decoding,
    ended: bool,
}

impl PcmFile {
    /// Opens an audio file, whatever its name, as [`open`](super::open) does.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what to tell the user.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::guarded_open(|| open_bytes(path))
    }

    /// Reads from anything that has a beginning and an end.
    ///
    /// # Errors
    ///
    /// [`OpenError`], except that nothing can be [`NotFound`](OpenError::NotFound).
    pub fn new(media: impl Read + Seek + Send + Sync + 'static) -> Result<Self, OpenError> {
        Self::guarded_open(|| Ok(Bytes::seekable(media)?))
    }

    /// Reads from what comes from front to back, as [`FileReader::from_stream`](super::FileReader::from_stream) does.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`NeedsSeeking`](OpenError::NeedsSeeking) for what cannot be played this way.
    pub fn from_stream(media: impl Read + Send + Sync + 'static) -> Result<Self, OpenError> {
        Self::guarded_open(|| Ok(Bytes::forward(media)))
    }

    fn guarded_open(bytes: impl FnOnce() -> Result<Bytes, OpenError>) -> Result<Self, OpenError> {
        guarded(|| {
            let input = Input::open(bytes()?)?;
            let decoding = Decoding::new(&input.track, 1.0)?;
            Ok(Self { input, decoding, ended: false })
        })
        .unwrap_or_else(|panicked| Err(OpenError::Malformed(panicked.into())))
    }

    /// The container.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.input.format()
    }

    /// How long everything plays, when the file states it.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.input.track.duration
    }

    /// Writes interleaved samples, left and right, of -1.0 to 1.0 to `out`, and returns how many, both sides together;
    /// 0 is the end. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; the file is then at its end.
    pub fn read(&mut self, out: &mut [f32]) -> Result<usize, ReadError> {
        while self.decoding.ready().is_empty() && !self.ended {
            // After a panic nothing of the reader is looked at again.
            let step = guarded(|| self.step()).unwrap_or_else(|panicked| Err(ReadError::Malformed(panicked.into())));
            if let Err(error) = step {
                self.ended = true;
                self.decoding.consume(usize::MAX);
                return Err(error);
            }
        }
        let mut read = 0;
        for (out, sample) in out.iter_mut().zip(self.decoding.ready()) {
            *out = *sample;
            read += 1;
        }
        self.decoding.consume(read);
        Ok(read)
    }

    fn step(&mut self) -> Result<(), ReadError> {
        match self.input.next()? {
            Next::Packet(packet) => self.decoding.feed(&packet),
            Next::Changed => self.decoding.change_track(&self.input.track),
            Next::End => {
                self.ended = true;
                self.decoding.finish()
            }
        }
    }
}

impl fmt::Debug for PcmFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PcmFile").field("format", &self.format()).finish_non_exhaustive()
    }
}
