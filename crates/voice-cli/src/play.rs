//! `play`: a file in a call.

use std::{
    io::{self, Cursor},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use discord_voice::{CallStats, Playback, PlaybackEnd};
use tokio::time::{MissedTickBehavior, interval};
use voice_audio::{FRAME_DURATION, FileReader, OpenOptions, open};

use crate::{
    args::PlayArgs,
    comparison::{Comparison, Noted},
    ear::{Ear, Heard, Lingering},
    embedded::Embedded,
    error::Error,
    process,
    record::LISTENING_TAIL,
    recorder::{RecordingPath, Reservation},
    summary::{E2eeSummary, Played, Summary, millis},
    target::{Call, Target},
    terminal::{self, Clock, Progress},
};

pub(crate) async fn run(args: PlayArgs) -> Result<(), Error> {
    let PlayArgs { file, record, bitrate, volume, json, target } = args;
    let song = Song::open(file, OpenOptions { bitrate, volume })?;
    let recording = record.map(|out| song.recording(out)).transpose()?;
    song.say();
    match Target::from(target) {
        Target::Embedded { timeout } => play_embedded(song, recording, timeout, json).await,
        Target::Others(others) => play_to_others(song, others.join().await?, recording, json).await,
    }
}

async fn play_embedded(
    mut song: Song,
    recording: Option<Reservation>,
    timeout: Duration,
    json: bool,
) -> Result<(), Error> {
    let mut embedded = Embedded::start(timeout).await?;
    let comparison = Arc::new(Comparison::default());
    let recorder = recording.map(Reservation::begin).transpose()?;
    let mut ear = Ear::open(&embedded.listener.client, recorder, Some(Arc::clone(&comparison)));
    let outcome = song.play(&mut embedded.player, &mut ear, Some(comparison)).await;
    let heard = ear.stop(Lingering { quiet: LISTENING_TAIL, longest: LISTENING_TAIL * 4 }).await;
    let stats = embedded.player.client.fresh_stats().await;
    let listener = embedded.listener.client.fresh_stats().await.media.received.e2ee;
    let e2ee = E2eeSummary::new(&embedded.player.client, &stats, &listener);
    embedded.stop().await;
    let (heard, outcome) = (heard?, outcome?);
    let lost = stats.media.sent.packets.saturating_sub(heard.packets);
    let played = song.played(&outcome, &stats, Some(&heard));
    summarize(&stats, e2ee, heard, lost, played, json)
}

async fn play_to_others(
    mut song: Song,
    mut call: Call,
    recording: Option<Reservation>,
    json: bool,
) -> Result<(), Error> {
    let recorder = recording.map(Reservation::begin).transpose()?;
    let mut ear = Ear::open(&call.client, recorder, None);
    let outcome = song.play(&mut call, &mut ear, None).await;
    let heard = ear.stop(Lingering { quiet: SILENCE_TAIL, longest: SILENCE_TAIL }).await;
    let stats = call.client.fresh_stats().await;
    let e2ee = E2eeSummary::new(&call.client, &stats, &stats.media.received.e2ee);
    call.leave().await;
    let (heard, outcome) = (heard?, outcome?);
    let lost = heard.lost;
    let played = song.played(&outcome, &stats, None);
    summarize(&stats, e2ee, heard, lost, played, json)
}

fn summarize(
    stats: &CallStats,
    e2ee: E2eeSummary,
    mut heard: Heard,
    lost: u64,
    played: Played,
    json: bool,
) -> Result<(), Error> {
    let (ended, broken) = (heard.ended.take(), heard.broken.take());
    let summary = Summary { played: Some(played), ..Summary::new("play", stats, e2ee, heard, lost) };
    summary.print(json);
    if let Some(error) = broken {
        return Err(error);
    }
    ended.map_or(Ok(()), |reason| Err(Error::Ended { reason }))
}

/// What is played.
struct Song {
    name: String,
    path: Option<PathBuf>,
    /// Until it plays.
    reader: Option<FileReader>,
    format: String,
    duration: Option<Duration>,
}

/// How playing went.
struct Outcome {
    end: &'static str,
    playback: Playback,
}

impl Song {
    /// Opens a file, or the bundled recording.
    fn open(path: Option<PathBuf>, options: OpenOptions) -> Result<Self, Error> {
        let reader = match &path {
            Some(path) if path.as_os_str() == STDIN => FileReader::from_stream(io::stdin(), options),
            Some(path) => open(path, options),
            None => FileReader::new(Cursor::new(DEMO), options),
        };
        let name = path.as_deref().unwrap_or_else(|| Path::new(DEMO_NAME)).display().to_string();
        match reader {
            Ok(reader) => {
                let (format, duration) = (reader.description(), reader.duration());
                Ok(Self { name, path, reader: Some(reader), format, duration })
            }
            Err(source) => Err(Error::Open { path: name.into(), source }),
        }
    }

    /// Makes ready for a recording, unless it would overwrite this.
    fn recording(&self, out: RecordingPath) -> Result<Reservation, Error> {
        let song = self.path.as_ref().and_then(|path| path.canonicalize().ok());
        let same = song.is_some() && out.path().canonicalize().ok() == song;
        if same { Err(Error::SameFile { path: out.path().to_owned() }) } else { out.reserve() }
    }

    fn say(&self) {
        let duration = self.duration.map_or_else(String::new, |duration| format!(", {}", Clock(duration)));
        terminal::say(format_args!("{:<9} {} ({}{duration})", "file", self.name, self.format));
    }

    /// Plays to the end, or until Ctrl-C, or until the ear fails, which then knows why.
    async fn play(
        &mut self,
        call: &mut Call,
        ear: &mut Ear,
        comparison: Option<Arc<Comparison>>,
    ) -> Result<Outcome, Error> {
        let reader = self.reader.take().expect("it is played once");
        let mut asked_to_stop = pin!(process::asked_to_stop());
        let playback = call.client.play(Noted { source: reader, comparison });
        let progress = Progress::new(self.duration);
        let mut stopping = false;
        let mut redraw = interval(REDRAW_INTERVAL);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let end = loop {
            tokio::select! {
                end = playback.finished() => break end,
                () = &mut asked_to_stop, if !stopping => {
                    stopping = true;
                    playback.stop();
                }
                () = ear.broken() => break PlaybackEnd::Stopped,
                Some(news) = call.news() => progress.say(news),
                _ = redraw.tick() => progress.set(playback.position(), self.duration),
            }
        };
        progress.set(playback.position(), self.duration);
        progress.finish();
        let end = match end {
            PlaybackEnd::Finished => "finished",
            PlaybackEnd::Stopped => "stopped",
            PlaybackEnd::CallEnded => return Err(Error::Ended { reason: call.client.ended().await }),
            end => return Err(Error::Playback { end }),
        };
        Ok(Outcome { end, playback })
    }

    fn played(&self, outcome: &Outcome, stats: &CallStats, heard: Option<&Heard>) -> Played {
        let position = outcome.playback.position();
        let frames = u64::try_from(position.as_millis() / FRAME_DURATION.as_millis()).unwrap_or(u64::MAX);
        Played {
            file: self.name.clone(),
            format: self.format.clone(),
            end: outcome.end,
            played_ms: millis(position),
            duration_ms: self.duration.map(millis),
            frames_sent: frames.saturating_sub(stats.media.sent.frames_held),
            frames_unchanged: heard.map(|heard| heard.unchanged),
            frames_changed: heard.map(|heard| heard.changed),
            underruns: outcome.playback.underruns(),
        }
    }
}

/// The bundled recording as a source.
pub(crate) fn demo() -> Result<FileReader, Error> {
    FileReader::new(Cursor::new(DEMO), OpenOptions::default())
        .map_err(|source| Error::Open { path: DEMO_NAME.into(), source })
}

/// The name of standard input.
const STDIN: &str = "-";

/// The bundled recording, so that the command runs from anywhere.
const DEMO: &[u8] = include_bytes!("../../../assets/demo.opus");
/// What it is called.
pub(crate) const DEMO_NAME: &str = "demo.opus";
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How long the five frames of silence take that end what was played, with some room.
const SILENCE_TAIL: Duration = Duration::from_millis(150);
