//! Listens to a voice call: prints who is heard, and counts their frames.
//!
//! In a call on a server in this process, where somebody plays a recording:
//!
//! ```sh
//! cargo run -p discord-voice-examples --example receive
//! cargo run -p discord-voice-examples --example receive -- SECONDS
//! ```
//!
//! In any other call, with the values that the main gateway's two events give:
//!
//! ```sh
//! cargo run -p discord-voice-examples --example receive -- SECONDS ENDPOINT GUILD CHANNEL USER SESSION TOKEN
//! ```
//!
//! Ctrl-C ends it early. `cargo run -- serve` starts a server that takes any ids and session with the token it prints;
//! the example `play_opus` can be heard there.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, env, error::Error, num::NonZeroUsize, time::Duration};

use discord_voice::{
    ConnectInfo, Event, Received, VoiceClient,
    audio::{OpenOptions, open},
    model::{SessionId, Token, UserId},
};
use voice_server::{DEFAULT_CHANNEL, DEFAULT_GUILD, Server, ServerConfig, Ticket};

/// What was heard of one user.
#[derive(Default)]
struct Tally {
    frames: u64,
    bytes: usize,
    lost: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let seconds = args.first().map_or(Ok(5), |seconds| seconds.parse())?;
    let server = Server::bind(ServerConfig::default()).await?;

    // In a call of our own somebody has to make a sound. A call lasts as long as its client is held.
    let (info, _player) = match credentials(args.get(1..).unwrap_or_default())? {
        Some(info) => (info, None),
        None => {
            let (player, _events) = VoiceClient::connect(ticket(&server, PLAYER)?).await?;
            player.play(open(DEMO.as_ref(), OpenOptions::default())?);
            (ticket(&server, LISTENER)?, Some(player))
        }
    };

    let (client, mut events) = VoiceClient::connect(info).await?;
    // Frames wait here for this task. With 250 of them it may be busy for five seconds of one speaker's audio, or for
    // one of five; what comes after that is dropped and counted.
    let mut received = client.receive(NonZeroUsize::new(250).expect("not zero"));
    let mut tallies: BTreeMap<UserId, Tally> = BTreeMap::new();
    let time_is_up = tokio::time::sleep(Duration::from_secs(seconds));
    tokio::pin!(time_is_up);
    loop {
        tokio::select! {
            heard = received.next() => match heard {
                // The frame is one Opus packet, as its sender made it: `audio::opus::Decoder` turns it into samples.
                Some(Received::Frame { user, frame, .. }) => {
                    let tally = tallies.entry(user).or_insert_with(|| {
                        println!("user {user} is heard");
                        Tally::default()
                    });
                    tally.frames += 1;
                    tally.bytes += frame.len();
                }
                Some(Received::Lost { user, packets, .. }) => tallies.entry(user).or_default().lost += packets,
                Some(Received::Lagged { missed }) => println!("too slow: {missed} frames dropped"),
                // The call is over.
                None => break,
            },
            Some(event) = events.next() => match event {
                Event::UsersConnected(users) => println!("in the call: {users:?}"),
                Event::UserLeft(user) => println!("user {user} left"),
                Event::Ended(reason) => println!("the call ended: {reason}"),
                _ => {}
            },
            () = &mut time_is_up => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    for (user, Tally { frames, bytes, lost }) in &tallies {
        println!("user {user}: {frames} frames of 20 ms, {bytes} bytes, {lost} lost");
    }
    client.leave().await?;
    Ok(())
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
