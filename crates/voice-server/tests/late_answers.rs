//! The main gateway in virtual time: joins that are answered late, and messages.

mod common;

use std::time::Duration;

use common::world::World;
use serde_json::{Value, json};
use voice_model::{Token, UserId};
use voice_server::{Bots, Command, CoreConfig, DEFAULT_CHANNEL, DEFAULT_GUILD, JoinAnswer};

const BOT: UserId = UserId::new(77);
const WATCHER: UserId = UserId::new(78);
const PERSON: UserId = UserId::new(79);
const LATE: Duration = Duration::from_millis(300);

/// A world in which joins are answered late, the bot's connection and another bot's.
fn world() -> (World, u64, u64) {
    let bots = Bots::Listed(vec![(Token::new("good"), BOT), (Token::new("other"), WATCHER)]);
    let join = JoinAnswer { delay: LATE, ..JoinAnswer::default() };
    let mut world =
        World::with(CoreConfig { bots, join, endpoint: "voice.example".to_owned(), ..CoreConfig::default() });
    let bot = log_in(&mut world, "good", 1 | 1 << 7);
    let watcher = log_in(&mut world, "other", 1 | 1 << 7);
    (world, bot, watcher)
}

fn log_in(world: &mut World, token: &str, intents: u64) -> u64 {
    let connection = world.open("/gateway");
    world.send(connection, json!({ "op": 2, "d": { "token": token, "intents": intents } }));
    world.messages(connection);
    connection
}

/// Op 4 with a channel, the first one or the one after it, or with none.
fn update(channel: Option<u64>, self_mute: bool) -> Value {
    let channel = channel.map(|offset| (DEFAULT_CHANNEL.get() + offset).to_string());
    json!({ "op": 4, "d": {
        "guild_id": DEFAULT_GUILD.to_string(), "channel_id": channel, "self_mute": self_mute, "self_deaf": false,
    }})
}

/// What came since the last look: of a state its channel and whether it is muted, of a server that it was one.
fn told(world: &mut World, connection: u64) -> Vec<(Option<u64>, bool)> {
    let number = |value: &Value| value.as_str().map(|id| id.parse::<u64>().unwrap() - DEFAULT_CHANNEL.get());
    let all = world.messages(connection);
    all.iter()
        .map(|message| match message["t"].as_str() {
            Some("VOICE_STATE_UPDATE") => {
                (number(&message["d"]["channel_id"]), message["d"]["self_mute"].as_bool().unwrap())
            }
            Some("VOICE_SERVER_UPDATE") => SERVER,
            other => panic!("{other:?}"),
        })
        .collect()
}

const SERVER: (Option<u64>, bool) = (Some(99), true);
const LEFT: (Option<u64>, bool) = (None, false);

#[test]
fn a_leave_takes_back_the_answer_that_is_still_to_come() {
    let (mut world, bot, watcher) = world();
    world.send(bot, update(Some(0), false));
    world.advance(LATE / 2);
    world.send(bot, update(None, false));
    world.advance(LATE * 3);
    assert_eq!(told(&mut world, bot), [LEFT], "no join after the leave, no token that is revoked already");
    assert_eq!(told(&mut world, watcher), [LEFT]);
}

#[test]
fn a_move_takes_back_the_answer_that_is_still_to_come() {
    let (mut world, bot, watcher) = world();
    world.send(bot, update(Some(0), false));
    world.advance(LATE / 2);
    world.command(Command::SetJoinAnswer(JoinAnswer::default()));
    world.send(bot, update(Some(1), false));
    world.advance(LATE * 3);
    assert_eq!(told(&mut world, bot), [(Some(1), false), SERVER]);
    assert_eq!(told(&mut world, watcher), [(Some(1), false)]);
}

#[test]
fn a_change_of_server_comes_after_the_state_that_is_still_to_come() {
    let (mut world, bot, watcher) = world();
    world.send(bot, update(Some(0), false));
    world.advance(LATE / 2);
    world.command(Command::SetJoinAnswer(JoinAnswer::default()));
    world.command(Command::Rehome { guild: DEFAULT_GUILD, user: BOT });
    world.advance(LATE * 3);
    assert_eq!(told(&mut world, bot), [(Some(0), false), SERVER]);
    assert_eq!(told(&mut world, watcher), [(Some(0), false)]);
}

#[test]
fn who_mutes_before_the_answer_is_seen_to_join_first() {
    let (mut world, bot, watcher) = world();
    world.send(bot, update(Some(0), false));
    world.advance(LATE / 2);
    world.send(bot, update(Some(0), true));
    assert_eq!(told(&mut world, watcher), []);
    world.advance(LATE);
    assert_eq!(told(&mut world, watcher), [(Some(0), false), (Some(0), true)]);
}

#[test]
fn messages_come_to_who_asks_for_them_and_their_text_to_who_may_read_it() {
    let (mut world, ..) = world();
    let [blind, curious, reader] =
        [1 << 7, 1 << 9, 1 << 9 | 1 << 15].map(|intents| log_in(&mut world, "good", intents));
    let text = "!join".to_owned();
    world.command(Command::Say { guild: DEFAULT_GUILD, channel: DEFAULT_CHANNEL, author: PERSON, text });
    assert!(world.messages(blind).is_empty());
    for (connection, text) in [(curious, ""), (reader, "!join")] {
        let [message] = <[Value; 1]>::try_from(world.messages(connection)).unwrap();
        assert_eq!((&message["t"], &message["d"]["content"]), (&json!("MESSAGE_CREATE"), &json!(text)));
        let author = &message["d"]["author"];
        assert_eq!((&author["id"], &author["bot"]), (&json!(PERSON.to_string()), &json!(false)));
    }
}
