//! What both example bots do, whichever library they log in with: they join, play, record and leave.

use std::{
    collections::{HashMap, hash_map::Entry},
    error::Error,
    io::BufRead as _,
    num::NonZeroUsize,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use discord_voice::{
    Playback, Received, VoiceClient, VoiceManager,
    audio::{
        OpenOptions, open,
        record::{OggOpusWriter, RecordOptions},
    },
    model::GuildId,
};
use tokio::{sync::mpsc, time};

pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// How a bot runs.
pub(crate) struct Options {
    /// The bot's token.
    pub(crate) token: String,
    /// Where to log in, if not at Discord: the URL that the library in use wants.
    pub(crate) url: Option<String>,
    /// The directory whose files can be played, and in which is recorded.
    pub(crate) files: PathBuf,
    /// Commands for the first guild that the bot is in; the bot logs out when they end.
    pub(crate) typed: mpsc::UnboundedReceiver<String>,
}

impl Options {
    /// As the environment says: `DISCORD_TOKEN`, and `url` from the variable with that name. Commands come from the
    /// terminal.
    pub(crate) fn from_env(url: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let (lines, typed) = mpsc::unbounded_channel();
        // A thread, because nothing interrupts the reading of a terminal: it ends with the process.
        std::thread::spawn(move || {
            let read = std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| lines.send(line));
            // Without a terminal the bot goes on.
            if read.is_ok() {
                std::thread::park();
            }
        });
        let token = std::env::var("DISCORD_TOKEN").map_err(|_| "DISCORD_TOKEN is not set")?;
        Ok(Self { token, url: std::env::var(url).ok(), files: PathBuf::new(), typed })
    }
}

/// Where a guild's call is kept.
type Place = Arc<tokio::sync::Mutex<Option<VoiceClient>>>;

/// A bot that is logged in.
pub(crate) struct Bot {
    pub(crate) voice: VoiceManager,
    /// A call lasts as long as its client is held. What is asked for while it is being joined waits for it.
    calls: Mutex<HashMap<GuildId, Place>>,
    files: PathBuf,
}

impl Bot {
    pub(crate) fn new(voice: VoiceManager, files: PathBuf) -> Arc<Self> {
        Arc::new(Self { voice, calls: Mutex::default(), files })
    }

    /// Obeys in a task of its own: a join waits for events, which only come while the bot's event loop goes on.
    pub(crate) fn obey_later(self: &Arc<Self>, guild: GuildId, line: String) {
        let bot = Arc::clone(self);
        tokio::spawn(async move {
            match bot.obey(guild, &line).await {
                Ok(true) => println!("{line}: done"),
                Ok(false) => {}
                Err(error) => eprintln!("{line}: {error}"),
            }
        });
    }

    /// Carries out a command. `false` if it is none.
    async fn obey(&self, guild: GuildId, line: &str) -> Result<bool, Box<dyn Error + Send + Sync>> {
        let (command, argument) = line.trim().split_once(' ').unwrap_or_else(|| (line.trim(), ""));
        match command {
            "!join" => {
                let channel = argument.parse()?;
                let place = self.place(guild);
                let mut call = place.lock().await;
                let (client, _events) = self.voice.join(guild, channel).await?;
                *call = Some(client);
            }
            "!play" => self.play(guild, argument).await?,
            "!stop" => self.call(guild).await?.playback().iter().for_each(Playback::stop),
            "!record" => self.record(guild, argument).await?,
            "!leave" => self.voice.leave(guild).await,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn place(&self, guild: GuildId) -> Place {
        Arc::clone(self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(guild).or_default())
    }

    async fn call(&self, guild: GuildId) -> Result<VoiceClient, &'static str> {
        let call = self.place(guild).lock().await.clone();
        call.filter(|call| !call.is_ended()).ok_or("in no channel; !join one first")
    }

    async fn play(&self, guild: GuildId, file: &str) -> Outcome {
        let call = self.call(guild).await?;
        // Whoever can write in a channel names the file.
        if !Path::new(file).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err("a file below the bot's directory, please".into());
        }
        let path = self.files.join(file);
        let song = tokio::task::spawn_blocking(move || open(&path, OpenOptions::default())).await??;
        call.play(song);
        Ok(())
    }

    /// Writes each stream that is heard to a file of its own.
    async fn record(&self, guild: GuildId, seconds: &str) -> Outcome {
        let mut received = self.call(guild).await?.receive(NonZeroUsize::new(500).expect("not zero"));
        let end = time::Instant::now() + Duration::from_secs(seconds.parse::<u64>()?.min(600));
        let mut streams = HashMap::new();
        while let Ok(Some(heard)) = time::timeout_at(end, received.next()).await {
            if let Received::Frame { user, ssrc, timestamp, frame } = heard {
                let writer = match streams.entry((user, ssrc)) {
                    Entry::Occupied(stream) => stream.into_mut(),
                    Entry::Vacant(stream) => stream.insert(OggOpusWriter::new(Vec::new(), RecordOptions::default())?),
                };
                writer.write(timestamp.get(), frame.as_slice())?;
            }
        }
        for ((user, ssrc), writer) in streams {
            let file = self.files.join(format!("{user}-{}.ogg", ssrc.get()));
            tokio::fs::write(file, writer.finish()?).await?;
        }
        Ok(())
    }
}
