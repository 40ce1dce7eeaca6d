//! The example bots as a user of Discord meets them, on a loopback server.

#![expect(clippy::duplicate_mod, reason = "both examples have it as their own")]

mod common;
#[expect(dead_code, reason = "it is a program")]
#[path = "../serenity_bot.rs"]
mod serenity_bot;
#[expect(dead_code, reason = "it is a program")]
#[path = "../twilight_bot.rs"]
mod twilight_bot;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use common::{BOT, CHANNEL, Counted, GUILD, LISTENER, OTHER_CHANNEL, TOKEN, server, within};
use discord_voice::{
    Config, ConnectInfo, Driver, Receive, Received, VoiceClient,
    audio::{OpenOptions, open},
    model::{ChannelId, UserId},
};
use tokio::sync::mpsc;
use voice_server::{Event, EventResult, Events, Server};

/// The user who writes commands, and is in the voice channel as well.
const USER: UserId = LISTENER;

#[tokio::test(flavor = "multi_thread")]
async fn the_twilight_bot_does_as_it_is_told() {
    let server = server().await;
    let (files, typed, options) = options(server.gateway_url(), |url, files, typed| twilight_bot::bot::Options {
        token: TOKEN.to_owned(),
        url: Some(url),
        files,
        typed,
    });
    drive(server, &files, typed, twilight_bot::run(options)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_serenity_bot_does_as_it_is_told() {
    let server = server().await;
    let (files, typed, options) = options(server.api_url(), |url, files, typed| serenity_bot::bot::Options {
        token: TOKEN.to_owned(),
        url: Some(url),
        files,
        typed,
    });
    drive(server, &files, typed, serenity_bot::run(options)).await;
}

/// A bot's directory with something to play, the way to its terminal, and its options.
fn options<T>(
    url: String,
    make: impl FnOnce(String, PathBuf, mpsc::UnboundedReceiver<String>) -> T,
) -> (tempfile::TempDir, mpsc::UnboundedSender<String>, T) {
    let files = tempfile::tempdir().expect("a directory");
    let song = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.opus");
    std::fs::copy(song, files.path().join("song.opus")).expect("the bundled recording");
    let (typed, lines) = mpsc::unbounded_channel();
    let path = files.path().to_owned();
    (files, typed, make(url, path, lines))
}

/// Lets a bot join, play, record, be moved, be kicked, join again and leave.
async fn drive<E>(
    server: Server,
    files: &tempfile::TempDir,
    typed: mpsc::UnboundedSender<String>,
    bot: impl Future<Output = Result<(), E>> + Send + 'static,
) where
    E: std::fmt::Display + Send + 'static,
{
    let mut events = server.events();
    let bot = tokio::spawn(bot);
    happened(&mut events, |event| matches!(event, Event::LoggedIn { user: BOT })).await;
    let mut user = User::join(&server, CHANNEL).await;

    server.say(GUILD, CHANNEL, USER, format!("!join {CHANNEL}"));
    happened(&mut events, |event| matches!(event, Event::Connected { user: BOT, .. })).await;
    server.say(GUILD, CHANNEL, USER, "!play ../song.opus");
    server.say(GUILD, CHANNEL, USER, "!play song.opus");
    user.hear().await;

    user.client.play(Counted::default());
    server.say(GUILD, CHANNEL, USER, "!record 1");
    let recorded = recording(files).await;
    let mut recorded = open(&recorded, OpenOptions::default()).expect("Ogg Opus");
    let mut frame = discord_voice::FrameBuf::new();
    assert!(matches!(recorded.read_frame(&mut frame), Ok(true)));

    // A moderator moves it; it plays on there.
    server.move_user(GUILD, BOT, OTHER_CHANNEL);
    happened(&mut events, |event| matches!(event, Event::Connected { user: BOT, .. })).await;
    within(user.client.leave()).await.expect("left");
    let mut user = User::join(&server, OTHER_CHANNEL).await;
    user.hear().await;

    server.disconnect_user(GUILD, BOT);
    happened(&mut events, |event| matches!(event, Event::Left { user: BOT, channel: OTHER_CHANNEL, .. })).await;

    // From its terminal as well.
    typed.send(format!("!join {OTHER_CHANNEL}")).expect("the bot runs");
    happened(&mut events, |event| matches!(event, Event::Connected { user: BOT, .. })).await;
    typed.send("!leave".to_owned()).expect("the bot runs");
    happened(&mut events, |event| matches!(event, Event::Left { user: BOT, .. })).await;
    drop(typed);
    if let Err(error) = within(bot).await.expect("no panic") {
        panic!("{error}");
    }
}

async fn happened(events: &mut Events, wanted: impl Fn(&Event) -> bool) {
    let found = async {
        loop {
            match events.next().await.expect("the server runs") {
                EventResult::Event(event) if wanted(&event) => return,
                _ => {}
            }
        }
    };
    within(found).await;
}

/// The file that the bot records the user to, once it is whole.
async fn recording(files: &tempfile::TempDir) -> PathBuf {
    let name = format!("{USER}-");
    let written = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let mut entries = std::fs::read_dir(files.path()).expect("the directory").map_while(Result::ok);
            let found = entries.find(|entry| {
                entry.file_name().to_string_lossy().starts_with(&name)
                    && open(&entry.path(), OpenOptions::default()).is_ok()
            });
            if let Some(file) = found {
                return file.path();
            }
        }
    };
    within(written).await
}

/// Who listens and speaks in a channel.
struct User {
    client: VoiceClient,
    heard: Receive,
}

impl User {
    async fn join(server: &Server, channel: ChannelId) -> Self {
        let ticket = server.issue(GUILD, channel, USER);
        let info = ConnectInfo {
            channel_id: ticket.channel_id,
            endpoint: ticket.endpoint.parse().expect("an endpoint"),
            server_id: ticket.server_id,
            session_id: ticket.session_id,
            token: ticket.token,
            user_id: ticket.user_id,
        };
        let driver = Driver::new(Config::default()).expect("media threads");
        let (client, _events) = within(async { driver.connect(info).await }).await.expect("a call");
        let heard = client.receive(NonZeroUsize::new(500).expect("not zero"));
        Self { client, heard }
    }

    /// Waits for a few frames of the bot.
    async fn hear(&mut self) {
        let mut count = 0;
        while count < 10 {
            if let Received::Frame { user: BOT, frame, .. } = within(self.heard.next()).await.expect("the call goes on")
                && frame.as_slice().len() > 3
            {
                count += 1;
            }
        }
    }
}
