//! A whole bot on serenity that plays and records.
//!
//! ```sh
//! DISCORD_TOKEN=... cargo run -p discord-voice-examples --example serenity_bot
//! ```
//!
//! It takes these commands from a guild's text channels, and from its own terminal for the first guild it is in:
//! `!join CHANNEL-ID`, `!play FILE` (a file below the current directory), `!stop`, `!record SECONDS`, `!leave`. Reading
//! text needs the message content intent, which is switched on in Discord's developer portal.
//!
//! Without an account: `cargo run -- serve` prints the URL of an HTTP API; with it in `DISCORD_API` the bot logs in
//! there, with any token, and is used from the terminal.
#![forbid(unsafe_code)]

pub(crate) mod bot;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use discord_voice::{Config, Connector, model::GuildId};
use discord_voice_serenity::SerenityVoice;
use serenity::{
    all::{Client, Context, EventHandler, GatewayIntents, HttpBuilder, Message, Ready},
    async_trait,
};
use tokio::sync::Notify;

use self::bot::{Bot, Options, Outcome};

#[tokio::main]
async fn main() -> Outcome {
    run(Options::from_env("DISCORD_API")?).await
}

pub(crate) async fn run(mut options: Options) -> Outcome {
    let intents = GatewayIntents::GUILDS
        | GatewayIntents::GUILD_VOICE_STATES
        | GatewayIntents::GUILD_MESSAGES
        | GatewayIntents::MESSAGE_CONTENT;
    let mut http = HttpBuilder::new(options.token);
    if let Some(url) = options.url {
        http = http.proxy(url).ratelimiter_disabled(true);
    }
    let voice = SerenityVoice::new(Config::default(), Connector::new());
    let handler = Arc::new(Handler {
        voice: Arc::clone(&voice),
        files: options.files,
        bot: OnceLock::new(),
        logged_in: Notify::new(),
    });
    let mut client = serenity::client::ClientBuilder::new_with_http(http.build(), intents)
        .event_handler_arc(Arc::clone(&handler))
        .voice_manager_arc(voice.clone())
        // Calls hear when a shard is lost, resumed or ready.
        .event_handler_arc(voice)
        .await?;
    let shards = Arc::clone(&client.shard_manager);
    let commands = async {
        handler.logged_in.notified().await;
        while let Some(line) = options.typed.recv().await {
            if let Some((bot, home)) = handler.bot.get() {
                bot.obey_later(*home, line);
            }
        }
    };
    let stopped = async {
        tokio::select! {
            () = commands => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        // Logging out takes the bot out of its channels as well.
        shards.shutdown_all().await;
    };
    let run = Client::start(&mut client);
    tokio::pin!(run);
    tokio::select! {
        ended = &mut run => return Ok(ended?),
        () = stopped => {}
    }
    Ok(run.await?)
}

struct Handler {
    voice: Arc<SerenityVoice>,
    files: PathBuf,
    /// The bot, and the guild that typed commands are for.
    bot: OnceLock<(Arc<Bot>, GuildId)>,
    logged_in: Notify,
}

#[async_trait]
impl EventHandler for Handler {
    async fn ready(&self, _: Context, ready: Ready) {
        let (Some(voice), Some(home)) = (self.voice.manager(), ready.guilds.first()) else {
            eprintln!("the bot is in no guild, or there are no threads for voice");
            return;
        };
        println!("logged in as {}", ready.user.name);
        let home = GuildId::new(home.id.get());
        self.bot.get_or_init(|| (Bot::new(voice.clone(), self.files.clone()), home));
        self.logged_in.notify_one();
    }

    async fn message(&self, _: Context, message: Message) {
        if let (Some((bot, _)), Some(guild), false) = (self.bot.get(), message.guild_id, message.author.bot) {
            bot.obey_later(GuildId::new(guild.get()), message.content);
        }
    }
}
