//! Files of what is heard: one per speaker, frames as they came (Ogg) or decoded (WAV).

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io::BufWriter,
    path::{Path, PathBuf},
};

use discord_voice::model::UserId;
use serde::Serialize;
use voice_audio::{
    FrameBuf,
    record::{OggOpusWriter, RecordError, RecordOptions, WavWriter},
};

use crate::error::Error;

/// Where to record to, and as what.
#[derive(Clone, Debug)]
pub(crate) struct RecordingPath {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ogg,
    Wav,
}

/// The name of a recording says nothing of its format.
#[derive(Debug)]
pub(crate) struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("name a file that ends in .ogg, .opus or .wav")
    }
}

impl std::error::Error for UnknownFormat {}

impl RecordingPath {
    pub(crate) fn new(path: PathBuf) -> Result<Self, UnknownFormat> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let kind = match extension.to_ascii_lowercase().as_str() {
            "ogg" | "opus" => Kind::Ogg,
            "wav" => Kind::Wav,
            _ => return Err(UnknownFormat),
        };
        Ok(Self { path, kind })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that the file can be written, before there is a call. What it holds is kept until recording begins.
    pub(crate) fn reserve(self) -> Result<Reservation, Error> {
        let new = !self.path.exists();
        match OpenOptions::new().write(true).create(true).truncate(false).open(&self.path) {
            Ok(_) => Ok(Reservation { out: self, new }),
            Err(error) => Err(Error::Recording { path: self.path, source: RecordError::Io(error) }),
        }
    }

    /// The file of a further speaker: `OUT-<user>.ogg`.
    fn of(&self, user: UserId) -> PathBuf {
        let mut name = self.path.file_stem().map_or_else(OsString::new, ToOwned::to_owned);
        name.push(format!("-{user}."));
        name.push(self.path.extension().unwrap_or_default());
        self.path.with_file_name(name)
    }
}

/// A file that can be written. One that was made for this goes again if recording never begins.
pub(crate) struct Reservation {
    out: RecordingPath,
    new: bool,
}

impl Reservation {
    /// Begins to record, over what the file held.
    pub(crate) fn begin(mut self) -> Result<Recorder, Error> {
        self.new = false;
        Recorder::create(self.out.clone())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.new {
            // That an empty file stays is no reason to say anything.
            let _ = fs::remove_file(&self.out.path);
        }
    }
}

/// Writes what is heard.
pub(crate) struct Recorder {
    out: RecordingPath,
    tracks: Vec<Track>,
}

/// One speaker's file.
struct Track {
    path: PathBuf,
    /// Not known before somebody speaks.
    user: Option<UserId>,
    packets: u64,
    damaged: u64,
    writer: Writer,
}

enum Writer {
    Ogg(Box<OggOpusWriter<BufWriter<File>>>),
    Wav(Box<WavWriter<BufWriter<File>>>),
}

/// A finished file.
#[derive(Debug, Serialize)]
pub(crate) struct Recorded {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whom one hears in it.
    #[serde(rename = "user_id")]
    pub(crate) user: Option<UserId>,
    /// The packets that were written to it.
    pub(crate) packets: u64,
    /// The packets that were no Opus, and left out.
    pub(crate) damaged: u64,
}

impl Recorder {
    /// Makes the first speaker's file, whoever that will be.
    fn create(out: RecordingPath) -> Result<Self, Error> {
        let first = Track::create(out.path.clone(), out.kind, None)?;
        Ok(Self { out, tracks: vec![first] })
    }

    /// Writes a frame; what was lost before it shows in its timestamp.
    pub(crate) fn write(&mut self, user: UserId, timestamp: u32, frame: &FrameBuf) -> Result<(), Error> {
        let track = match self.tracks.iter().position(|track| track.user.is_none_or(|whose| whose == user)) {
            Some(at) => at,
            None if self.tracks.len() == MAX_TRACKS => return Ok(()),
            None => {
                self.tracks.push(Track::create(self.out.of(user), self.out.kind, Some(user))?);
                self.tracks.len() - 1
            }
        };
        self.tracks.get_mut(track).map_or(Ok(()), |track| track.write(user, timestamp, frame))
    }

    /// Ends all files, and says which there are.
    pub(crate) fn finish(self) -> Result<Vec<Recorded>, Error> {
        let mut recorded = Ok(Vec::new());
        for track in self.tracks {
            // The others are ended even if one cannot be.
            match (track.finish(), &mut recorded) {
                (Ok(file), Ok(files)) => files.push(file),
                (Err(error), Ok(_)) => recorded = Err(error),
                (_, Err(_)) => {}
            }
        }
        recorded
    }
}

impl Track {
    fn create(path: PathBuf, kind: Kind, user: Option<UserId>) -> Result<Self, Error> {
        let writer = File::create(&path).map_err(RecordError::Io).and_then(|file| Writer::new(kind, file));
        match writer {
            Ok(writer) => Ok(Self { path, user, packets: 0, damaged: 0, writer }),
            Err(source) => Err(Error::Recording { path, source }),
        }
    }

    fn write(&mut self, user: UserId, timestamp: u32, frame: &FrameBuf) -> Result<(), Error> {
        self.user = Some(user);
        match self.writer.write(timestamp, frame.as_slice()) {
            Ok(()) => self.packets += 1,
            Err(RecordError::Packet(_)) => self.damaged += 1,
            Err(source) => return Err(Error::Recording { path: self.path.clone(), source }),
        }
        Ok(())
    }

    fn finish(self) -> Result<Recorded, Error> {
        let Self { path, user, packets, damaged, writer } = self;
        match writer.finish() {
            Ok(()) => Ok(Recorded { path, user, packets, damaged }),
            Err(source) => Err(Error::Recording { path, source }),
        }
    }
}

impl Writer {
    fn new(kind: Kind, file: File) -> Result<Self, RecordError> {
        let (file, options) = (BufWriter::new(file), RecordOptions::default());
        Ok(match kind {
            Kind::Ogg => Self::Ogg(Box::new(OggOpusWriter::new(file, options)?)),
            Kind::Wav => Self::Wav(Box::new(WavWriter::new(file, options)?)),
        })
    }

    fn write(&mut self, timestamp: u32, frame: &[u8]) -> Result<(), RecordError> {
        match self {
            Self::Ogg(writer) => writer.write(timestamp, frame),
            Self::Wav(writer) => writer.write(timestamp, frame),
        }
    }

    fn finish(self) -> Result<(), RecordError> {
        match self {
            Self::Ogg(writer) => writer.finish().map(drop),
            Self::Wav(writer) => writer.finish(),
        }
    }
}

/// Speakers that are recorded; a stage has room for thousands, a disk has not.
const MAX_TRACKS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_on_the_format() {
        for name in ["a.ogg", "a.opus", "b/a.WAV"] {
            assert!(RecordingPath::new(name.into()).is_ok(), "{name}");
        }
        for name in ["a", "a.mp3", "", ".ogg"] {
            assert!(RecordingPath::new(name.into()).is_err(), "{name}");
        }
    }

    #[test]
    fn each_further_speaker_has_a_file_named_after_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("talk.ogg");
        let path = RecordingPath::new(out.clone()).expect("a known format");
        let mut recorder = path.reserve().and_then(Reservation::begin).expect("a new file");
        let mut frame = FrameBuf::new();
        frame.set(&[0xFC, 1, 2]).expect("short");
        for (user, timestamp) in [(7, 0), (8, 5_000), (7, 960), (8, 5_960), (7, 1920)] {
            recorder.write(UserId::new(user), timestamp, &frame).expect("written");
        }
        let files = recorder.finish().expect("finished");
        let found: Vec<_> = files.iter().map(|file| (file.path.clone(), file.user, file.packets)).collect();
        let second = dir.path().join("talk-8.ogg");
        assert_eq!(found, [(out, Some(UserId::new(7)), 3), (second, Some(UserId::new(8)), 2)]);
        assert!(files.iter().all(|file| file.path.is_file()));
    }

    #[test]
    fn nothing_is_lost_or_left_when_recording_never_begins() {
        let dir = tempfile::tempdir().expect("a directory");
        let (old, new) = (dir.path().join("old.wav"), dir.path().join("new.wav"));
        fs::write(&old, "an earlier recording").expect("writable");
        for path in [&old, &new] {
            drop(RecordingPath::new(path.clone()).expect("a known format").reserve().expect("writable"));
        }
        assert_eq!(fs::read_to_string(&old).expect("still there"), "an earlier recording");
        assert!(!new.exists());
    }

    #[test]
    fn a_packet_that_is_no_opus_does_not_end_the_recording() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = RecordingPath::new(dir.path().join("talk.wav")).expect("a known format");
        let mut recorder = path.reserve().and_then(Reservation::begin).expect("a new file");
        let mut frame = FrameBuf::new();
        // Code 3 without the byte that counts its frames.
        frame.set(&[0xFF]).expect("short");
        recorder.write(UserId::new(7), 0, &frame).expect("left out");
        frame.set(&voice_audio::SILENCE_FRAME).expect("short");
        recorder.write(UserId::new(7), 960, &frame).expect("written");
        let files = recorder.finish().expect("finished");
        assert!(matches!(files[..], [Recorded { packets: 1, damaged: 1, .. }]));
    }
}
