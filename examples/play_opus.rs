//! Plays a file in a voice call and tells how it went.
//!
//! In a call on a server in this process, which needs no account and no network:
//!
//! ```sh
//! cargo run -p discord-voice-examples --example play_opus
//! cargo run -p discord-voice-examples --example play_opus -- song.opus
//! ```
//!
//! In any other call, with the values that the main gateway's two events give:
//!
//! ```sh
//! cargo run -p discord-voice-examples --example play_opus -- song.opus ENDPOINT GUILD CHANNEL USER SESSION TOKEN
//! ```
//!
//! `cargo run -- serve` starts a server that takes any ids and session with the token it prints. Let the example
//! `receive` listen there, and it hears this one.
#![forbid(unsafe_code)]

use std::{env, error::Error};

use discord_voice::{
    ConnectInfo, PlaybackEnd, VoiceClient,
    audio::{OpenOptions, open},
    model::{SessionId, Token, UserId},
};
use voice_server::{DEFAULT_CHANNEL, DEFAULT_GUILD, Server, ServerConfig, Ticket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let file = args.first().map_or(DEMO, String::as_str);

    // Opening reads the start of the file, which blocks; a program with other tasks does it in `spawn_blocking`.
    let song = open(file.as_ref(), OpenOptions::default())?;
    println!("{file}: {}, {:?}", song.description(), song.duration().unwrap_or_default());

    // The server stops when it is dropped, so it is kept to the end.
    let server = Server::bind(ServerConfig::default()).await?;
    // Calls are end-to-end encrypted: with nobody else in it there is no key, and nothing leaves.
    let (info, _listener) = match credentials(args.get(1..).unwrap_or_default())? {
        Some(info) => (info, None),
        None => (ticket(&server, PLAYER)?, Some(VoiceClient::connect(ticket(&server, LISTENER)?).await?)),
    };

    let (client, mut events) = VoiceClient::connect(info).await?;
    let stats = client.stats();
    println!("joined in {:?}, {:?}", stats.join.joined.unwrap_or_default(), stats.mode);
    if let Some(code) = client.e2ee().privacy_code {
        println!("end-to-end encrypted; everybody in the call sees this code: {code}");
    }

    // The file is read ahead of time: nothing waits for a disk.
    let playback = client.play(song);
    let end = loop {
        tokio::select! {
            end = playback.finished() => break end,
            Some(event) = events.next() => println!("{event:?}"),
            _ = tokio::signal::ctrl_c() => playback.stop(),
        }
    };
    let sent = client.fresh_stats().await.media.sent;
    println!("{end} after {:?}: {} packets, {} underruns", playback.position(), sent.packets, playback.underruns());
    if sent.frames_held > 0 {
        println!("{} frames were not sent: nobody was there to hear them", sent.frames_held);
    }

    client.leave().await?;
    match end {
        PlaybackEnd::Finished | PlaybackEnd::Stopped => Ok(()),
        end => Err(end.into()),
    }
}

/// What the arguments say about the call; nothing when there are none.
fn credentials(args: &[String]) -> Result<Option<ConnectInfo>, Box<dyn Error>> {
    match args {
        [] => Ok(None),
        [endpoint, guild, channel, user, session, token] => Ok(Some(ConnectInfo {
            channel_id: channel.parse()?,
            endpoint: endpoint.parse()?,
            server_id: guild.parse()?,
            session_id: SessionId::new(session.as_str()),
            token: Token::new(token.as_str()),
            user_id: user.parse()?,
        })),
        _ => Err("expected ENDPOINT GUILD CHANNEL USER SESSION TOKEN".into()),
    }
}

/// Credentials for a channel of the server in this process.
fn ticket(server: &Server, user: UserId) -> Result<ConnectInfo, Box<dyn Error>> {
    let ticket = server.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, user);
    let Ticket { channel_id, endpoint, server_id, session_id, token, user_id } = ticket;
    Ok(ConnectInfo { channel_id, endpoint: endpoint.parse()?, server_id, session_id, token, user_id })
}

const PLAYER: UserId = UserId::new(1);
const LISTENER: UserId = UserId::new(2);

/// Speech over music, made for this project.
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.opus");
