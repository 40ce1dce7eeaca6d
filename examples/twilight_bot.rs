//! A whole bot on twilight that plays and records.
//!
//! ```sh
//! DISCORD_TOKEN=... cargo run -p discord-voice-examples --example twilight_bot
//! ```
//!
//! It takes these commands from a guild's text channels, and from its own terminal for the first guild it is in:
//! `!join CHANNEL-ID`, `!play FILE` (a file below the current directory), `!stop`, `!record SECONDS`, `!leave`. Reading
//! text needs the message content intent, which is switched on in Discord's developer portal.
//!
//! Without an account: `cargo run -- serve` prints the URL of a main gateway; with it in `DISCORD_GATEWAY` the bot logs
//! in there, with any token, and is used from the terminal.
#![forbid(unsafe_code)]

use std::{collections::HashMap, collections::hash_map::Entry, env, error::Error, num::NonZeroUsize};
use std::{path::Component, path::PathBuf, sync::Arc, sync::Mutex, time::Duration};

use discord_voice::audio::{OpenOptions, Prefetch, open, record::OggOpusWriter, record::RecordOptions};
use discord_voice::model::{GuildId, UserId};
use discord_voice::{Playback, Received, VoiceClient, VoiceManager};
use discord_voice_twilight::{TwilightGateway, gateway_event};
use tokio::{sync::mpsc, time};
use twilight_gateway::{CloseFrame, ConfigBuilder, Event, EventTypeFlags, Intents, Shard, ShardId, StreamExt as _};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

struct Bot {
    voice: VoiceManager,
    /// A call lasts as long as its client is held.
    calls: Mutex<HashMap<GuildId, VoiceClient>>,
    /// The guild that typed commands are for.
    home: GuildId,
}

#[tokio::main]
async fn main() -> Outcome {
    // Twilight encrypts with the provider of the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let intents = Intents::GUILDS | Intents::GUILD_VOICE_STATES | Intents::GUILD_MESSAGES | Intents::MESSAGE_CONTENT;
    let mut config = ConfigBuilder::new(env::var("DISCORD_TOKEN")?, intents);
    if let Ok(url) = env::var("DISCORD_GATEWAY") {
        config = config.proxy_url(url);
    }
    let mut shard = Shard::with_config(ShardId::ONE, config.build());
    let (lines, mut typed) = mpsc::unbounded_channel();
    // A thread, because nothing interrupts the reading of a terminal: it ends with the process.
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let mut bot: Option<Arc<Bot>> = None;
    loop {
        let event = tokio::select! {
            event = shard.next_event(EventTypeFlags::all()) => event.ok_or("the login was refused")?,
            Some(line) = typed.recv(), if bot.is_some() => {
                obey(&bot, None, line);
                continue;
            }
            // Logging out takes the bot out of its channels as well.
            _ = tokio::signal::ctrl_c() => {
                shard.close(CloseFrame::NORMAL);
                continue;
            }
        };
        match event {
            Ok(Event::Ready(ready)) if bot.is_none() => {
                println!("logged in as {}", ready.user.name);
                let (user, gateway) = (UserId::new(ready.user.id.get()), TwilightGateway::new(shard.sender()));
                let voice = VoiceManager::builder(user, gateway).build()?;
                let home = GuildId::new(ready.guilds.first().ok_or("the bot is in no guild")?.id.get());
                bot = Some(Arc::new(Bot { voice, calls: Mutex::default(), home }));
            }
            Ok(Event::MessageCreate(message)) if !message.author.bot => {
                obey(&bot, message.guild_id.map(|guild| GuildId::new(guild.get())), message.content.clone());
            }
            Ok(Event::GatewayClose(Some(frame))) if frame.code == CloseFrame::NORMAL.code => return Ok(()),
            // The events that calls live on.
            Ok(event) => {
                if let (Some(bot), Some(event)) = (&bot, gateway_event(shard.id(), &event)) {
                    bot.voice.handle_event(event);
                }
            }
            // The shard connects again by itself.
            Err(error) => eprintln!("{error}"),
        }
    }
}

/// Obeys in a task of its own: a join waits for events, which only come while the loop above goes on.
fn obey(bot: &Option<Arc<Bot>>, guild: Option<GuildId>, line: String) {
    let Some(bot) = bot.clone() else { return };
    tokio::spawn(async move {
        if let Err(error) = bot.obey(guild.unwrap_or(bot.home), &line).await {
            eprintln!("{line}: {error}");
        }
    });
}

impl Bot {
    async fn obey(&self, guild: GuildId, line: &str) -> Outcome {
        let (command, argument) = line.trim().split_once(' ').unwrap_or_else(|| (line.trim(), ""));
        match command {
            "!join" => {
                let (client, _events) = self.voice.join(guild, argument.parse()?).await?;
                self.calls.lock().expect("no task panics with it").insert(guild, client);
            }
            "!play" => self.play(guild, argument).await?,
            "!stop" => self.call(guild)?.playback().iter().for_each(Playback::stop),
            "!record" => self.record(guild, argument).await?,
            "!leave" => self.voice.leave(guild).await,
            _ => return Ok(()),
        }
        println!("{line}: done");
        Ok(())
    }

    fn call(&self, guild: GuildId) -> Result<VoiceClient, &'static str> {
        let calls = self.calls.lock().expect("no task panics with it");
        calls.get(&guild).filter(|call| !call.is_ended()).cloned().ok_or("in no channel; !join one first")
    }

    async fn play(&self, guild: GuildId, file: &str) -> Outcome {
        let (call, path) = (self.call(guild)?, PathBuf::from(file));
        // Whoever can write in a channel names the file.
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err("a file below the current directory, please".into());
        }
        let song = tokio::task::spawn_blocking(move || open(&path, OpenOptions::default())).await??;
        call.play(Prefetch::spawn(song, 50));
        Ok(())
    }

    /// Writes each stream that is heard to a file of its own.
    async fn record(&self, guild: GuildId, seconds: &str) -> Outcome {
        let mut received = self.call(guild)?.receive(NonZeroUsize::new(500).expect("not zero"));
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
            tokio::fs::write(format!("{user}-{}.ogg", ssrc.get()), writer.finish()?).await?;
        }
        Ok(())
    }
}
