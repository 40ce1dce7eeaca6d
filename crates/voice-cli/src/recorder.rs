//! Files of what is heard: one per speaker, frames as they came (Ogg) or decoded (WAV), written on a thread of their own.

mod tracks;

use std::{
    ffi::OsString,
    fmt,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use discord_voice::model::UserId;
use voice_audio::{
    FrameBuf,
    record::{RecordError, Stamp},
};

use self::tracks::Tracks;
use crate::error::Error;

pub(crate) use self::tracks::Recorded;

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
        with_suffix(&self.path, user)
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
        Recorder::start(self.out.clone())
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

/// `NAME-SUFFIX.EXTENSION` for `NAME.EXTENSION`.
fn with_suffix(path: &Path, suffix: impl fmt::Display) -> PathBuf {
    let mut name = path.file_stem().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(format!("-{suffix}."));
    name.push(path.extension().unwrap_or_default());
    path.with_file_name(name)
}

/// Hands what is heard to the thread that writes it.
pub(crate) struct Recorder {
    frames: SyncSender<Frame>,
    thread: JoinHandle<Recording>,
    dropped: u64,
}

/// A frame on its way to the disk.
struct Frame {
    user: UserId,
    stamp: Stamp,
    frame: FrameBuf,
}

/// What was recorded.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    /// The files, those that could not be finished included.
    pub(crate) files: Vec<Recorded>,
    /// Frames that were heard and not written: the disk was too slow for them, or there were too many speakers.
    pub(crate) dropped: u64,
    /// Why a file could not be written or finished, the first one if several could not.
    pub(crate) error: Option<Error>,
}

impl Recorder {
    /// Makes the first speaker's file, whoever that will be, and begins to write.
    fn start(out: RecordingPath) -> Result<Self, Error> {
        let path = out.path.clone();
        let tracks = Tracks::create(out)?;
        let (frames, heard) = sync_channel(CAPACITY);
        let thread = thread::Builder::new().name("voice-recorder".to_owned()).spawn(move || write(tracks, &heard));
        match thread {
            Ok(thread) => Ok(Self { frames, thread, dropped: 0 }),
            Err(error) => Err(Error::Recording { path, source: RecordError::Io(error) }),
        }
    }

    /// Writes a frame, or counts it where the disk is behind; what was lost before it shows in its timestamp. `false`: nothing
    /// can be written any more.
    pub(crate) fn write(&mut self, user: UserId, stamp: Stamp, frame: FrameBuf) -> bool {
        match self.frames.try_send(Frame { user, stamp, frame }) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped += 1;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Ends all files, and says which there are. Blocks on the disk.
    pub(crate) fn finish(self) -> Recording {
        let Self { frames, thread, dropped } = self;
        drop(frames);
        let mut recording = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        recording.dropped += dropped;
        recording
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread that writes to a disk, beside all that is without I/O")]
fn now() -> Instant {
    Instant::now()
}

/// Writes until nothing comes any more, or nothing can be written. What came is on the disk after a second at the latest.
fn write(mut tracks: Tracks, heard: &Receiver<Frame>) -> Recording {
    let mut flush_at = now();
    while tracks.is_any_written() {
        let now = now();
        if now >= flush_at {
            tracks.flush();
            flush_at = now + FLUSH_INTERVAL;
        }
        match heard.recv_timeout(flush_at.saturating_duration_since(now)) {
            Ok(Frame { user, stamp, frame }) => tracks.write(user, stamp, frame.as_slice()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    tracks.finish()
}

/// Frames that may wait for the disk: 80 seconds of one speaker.
const CAPACITY: usize = 4_096;
/// Between two moments at which all that was heard is on the disk.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> FrameBuf {
        let mut frame = FrameBuf::new();
        frame.set(bytes).expect("short");
        frame
    }

    fn stamp(user: u64, timestamp: u32) -> Stamp {
        let arrived = Duration::from_millis(u64::from(timestamp) / 48);
        Stamp { stream: user as u32, timestamp, arrived }
    }

    #[test]
    fn one_file_that_breaks_ends_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = RecordingPath::new(dir.path().join("talk.ogg")).expect("a known format");
        let mut recorder = path.reserve().and_then(Reservation::begin).expect("a new file");
        // Where the second speaker's file would be is a directory.
        fs::create_dir(dir.path().join("talk-8.ogg")).expect("a directory");
        for at in 0..10 {
            for user in [7, 8] {
                assert!(recorder.write(UserId::new(user), stamp(user, at * 960), frame(&[0xFC, 1, 2])));
            }
        }
        let recording = recorder.finish();
        assert!(matches!(recording.error, Some(Error::Recording { .. })), "it is told: {:?}", recording.error);
        let packets: Vec<_> =
            recording.files.iter().map(|file| (file.user, file.packets, file.error.is_some())).collect();
        assert_eq!(packets, [(Some(UserId::new(7)), 10, false), (Some(UserId::new(8)), 0, true)]);
    }

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
        for (user, timestamp) in [(7, 0), (8, 5_000), (7, 960), (8, 5_960), (7, 1920)] {
            assert!(recorder.write(UserId::new(user), stamp(user, timestamp), frame(&[0xFC, 1, 2])));
        }
        let files = recorder.finish().files;
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
        // Code 3 without the byte that counts its frames.
        recorder.write(UserId::new(7), stamp(7, 0), frame(&[0xFF]));
        recorder.write(UserId::new(7), stamp(7, 960), frame(&voice_audio::SILENCE_FRAME));
        let files = recorder.finish().files;
        assert!(matches!(files[..], [Recorded { packets: 1, damaged: 1, .. }]));
    }
}
