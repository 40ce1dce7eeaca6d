//! The files of a recording, one after the other for each speaker.

use std::{fs::File, io::BufWriter, path::PathBuf};

use discord_voice::model::UserId;
use serde::Serialize;
use voice_audio::record::{OggOpusWriter, RecordError, RecordOptions, Stamp, WavWriter};

use super::{Kind, Recording, RecordingPath, with_suffix};
use crate::{error::Error, terminal};

/// The files of all speakers.
pub(super) struct Tracks {
    out: RecordingPath,
    tracks: Vec<Track>,
    /// Files that are full; others go on for them.
    full: Vec<Recorded>,
    dropped: u64,
    error: Option<Error>,
}

/// One speaker's file.
struct Track {
    path: PathBuf,
    /// How many files the speaker has.
    part: u32,
    /// Not known before somebody speaks.
    user: Option<UserId>,
    packets: u64,
    damaged: u64,
    /// What became of the file.
    writer: Result<Writer, String>,
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
    /// Why it ends where it ends, if it was not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Tracks {
    /// Makes the first speaker's file.
    pub(super) fn create(out: RecordingPath) -> Result<Self, Error> {
        let writer = Writer::create(&out.path, out.kind);
        let writer = writer.map_err(|source| Error::Recording { path: out.path.clone(), source })?;
        let first = Track { path: out.path.clone(), part: 1, user: None, packets: 0, damaged: 0, writer: Ok(writer) };
        Ok(Self { out, tracks: vec![first], full: Vec::new(), dropped: 0, error: None })
    }

    /// Whether there is a file that can be written.
    pub(super) fn is_any_written(&self) -> bool {
        self.tracks.iter().any(|track| track.writer.is_ok())
    }

    /// Writes a frame.
    pub(super) fn write(&mut self, user: UserId, stamp: Stamp, frame: &[u8]) {
        let index = match self.tracks.iter().position(|track| track.user.is_none_or(|whose| whose == user)) {
            Some(index) => index,
            None if self.tracks.len() == MAX_TRACKS => {
                self.dropped += 1;
                return;
            }
            None => {
                self.add(user);
                self.tracks.len() - 1
            }
        };
        let Self { out, tracks, full, dropped, error } = self;
        let Some(track) = tracks.get_mut(index) else { return };
        track.user = Some(user);
        for _ in 0..2 {
            let Ok(writer) = &mut track.writer else {
                *dropped += 1;
                return;
            };
            match writer.write(stamp, frame) {
                Ok(()) => track.packets += 1,
                Err(RecordError::Packet(_)) => track.damaged += 1,
                Err(RecordError::Full) => {
                    let kind = out.kind;
                    match track.go_on(kind) {
                        Ok(done) => {
                            terminal::say(format_args!("{:<9} goes on in {}", "recording", track.path.display()));
                            full.push(done);
                            continue;
                        }
                        Err(source) => track.break_off(source, error),
                    }
                }
                Err(source) => track.break_off(source, error),
            }
            return;
        }
    }

    /// Makes a further speaker's file.
    fn add(&mut self, user: UserId) {
        let path = self.out.of(user);
        let track = |writer| Track { path: path.clone(), part: 1, user: Some(user), packets: 0, damaged: 0, writer };
        match Writer::create(&path, self.out.kind) {
            Ok(writer) => self.tracks.push(track(Ok(writer))),
            Err(source) => {
                let mut broken = track(Err(String::new()));
                broken.break_off(source, &mut self.error);
                self.tracks.push(broken);
            }
        }
    }

    /// Puts all that was written on the disk.
    pub(super) fn flush(&mut self) {
        for track in &mut self.tracks {
            if let Ok(writer) = &mut track.writer
                && let Err(source) = writer.flush()
            {
                track.break_off(source, &mut self.error);
            }
        }
    }

    /// Ends all files.
    pub(super) fn finish(self) -> Recording {
        let Self { tracks, full: mut files, dropped, mut error, .. } = self;
        for mut track in tracks {
            // The others are ended even if one cannot be.
            if let Err(source) = track.finish() {
                track.break_off(source, &mut error);
            }
            files.push(track.recorded());
        }
        Recording { files, dropped, error }
    }
}

impl Track {
    /// Begins the next file, because this one is full.
    fn go_on(&mut self, kind: Kind) -> Result<Recorded, RecordError> {
        self.finish()?;
        let first = self.path.clone();
        let done = self.recorded();
        self.part += 1;
        // `talk.wav`, `talk-2.wav`, `talk-3.wav`
        self.path = match self.part {
            2 => with_suffix(&first, 2),
            part => {
                let stem = first.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let stem = stem.strip_suffix(&format!("-{}", part - 1)).unwrap_or(stem);
                let extension = first.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
                first.with_file_name(format!("{stem}-{part}.{extension}"))
            }
        };
        (self.packets, self.damaged) = (0, 0);
        self.writer = Ok(Writer::create(&self.path, kind)?);
        Ok(done)
    }

    /// Nothing more can be written to this file.
    fn break_off(&mut self, source: RecordError, error: &mut Option<Error>) {
        let path = self.path.clone();
        let source = Error::Recording { path, source };
        terminal::say(format_args!("{:<9} {source}", "recording"));
        self.writer = Err(source.to_string());
        error.get_or_insert(source);
    }

    fn finish(&mut self) -> Result<(), RecordError> {
        match std::mem::replace(&mut self.writer, Err(String::new())) {
            Ok(writer) => writer.finish(),
            Err(before) => {
                self.writer = Err(before);
                Ok(())
            }
        }
    }

    fn recorded(&self) -> Recorded {
        let error = self.writer.as_ref().err().filter(|error| !error.is_empty()).cloned();
        Recorded { path: self.path.clone(), user: self.user, packets: self.packets, damaged: self.damaged, error }
    }
}

impl Writer {
    fn create(path: &std::path::Path, kind: Kind) -> Result<Self, RecordError> {
        let (file, options) = (BufWriter::new(File::create(path)?), RecordOptions::default());
        Ok(match kind {
            Kind::Ogg => Self::Ogg(Box::new(OggOpusWriter::new(file, options)?)),
            Kind::Wav => Self::Wav(Box::new(WavWriter::new(file, options)?)),
        })
    }

    fn write(&mut self, stamp: Stamp, frame: &[u8]) -> Result<(), RecordError> {
        match self {
            Self::Ogg(writer) => writer.write_heard(stamp, frame),
            Self::Wav(writer) => writer.write_heard(stamp, frame),
        }
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        match self {
            Self::Ogg(writer) => writer.flush(),
            Self::Wav(writer) => writer.flush(),
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
