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

pub(crate) mod bot;

use std::sync::Arc;

use discord_voice::{
    VoiceManager,
    model::{GuildId, UserId},
};
use discord_voice_twilight::{EVENTS, TwilightGateway, gateway_event};
use twilight_gateway::{CloseFrame, ConfigBuilder, Event, EventTypeFlags, Intents, Shard, ShardId, StreamExt as _};

use self::bot::{Bot, Options, Outcome};

#[tokio::main]
async fn main() -> Outcome {
    run(Options::from_env("DISCORD_GATEWAY")?).await
}

pub(crate) async fn run(mut options: Options) -> Outcome {
    // Twilight encrypts with the provider of the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let intents = Intents::GUILDS | Intents::GUILD_VOICE_STATES | Intents::GUILD_MESSAGES | Intents::MESSAGE_CONTENT;
    let mut config = ConfigBuilder::new(options.token, intents);
    if let Some(url) = options.url {
        config = config.proxy_url(url);
    }
    let mut shard = Shard::with_config(ShardId::ONE, config.build());
    // The bot, and the guild that typed commands are for.
    let mut bot: Option<(Arc<Bot>, GuildId)> = None;
    let mut is_leaving = false;
    loop {
        let event = tokio::select! {
            event = shard.next_event(EVENTS | EventTypeFlags::MESSAGE_CREATE) => event.ok_or("the login was refused")?,
            line = options.typed.recv(), if bot.is_some() && !is_leaving => {
                match (line, &bot) {
                    (Some(line), Some((bot, home))) => bot.obey_later(*home, line),
                    // Logging out takes the bot out of its channels as well.
                    _ => {
                        is_leaving = true;
                        shard.close(CloseFrame::NORMAL);
                    }
                }
                continue;
            }
            _ = tokio::signal::ctrl_c(), if !is_leaving => {
                is_leaving = true;
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
                bot = Some((Bot::new(voice, options.files.clone()), home));
            }
            Ok(Event::MessageCreate(message)) if !message.author.bot => {
                if let (Some((bot, _)), Some(guild)) = (&bot, message.guild_id) {
                    bot.obey_later(GuildId::new(guild.get()), message.content.clone());
                }
            }
            Ok(Event::GatewayClose(_)) if is_leaving => return Ok(()),
            // The events that calls live on.
            Ok(event) => {
                if let (Some((bot, _)), Some(event)) = (&bot, gateway_event(shard.id(), &event)) {
                    bot.voice.handle_event(event);
                }
            }
            // The shard connects again by itself.
            Err(error) => eprintln!("{error}"),
        }
    }
}
