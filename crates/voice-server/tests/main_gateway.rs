//! The main gateway in virtual time: log in, join, move, leave, resume.

mod common;

use std::time::Duration;

use common::world::{World, identify, resume};
use serde_json::{Value, json};
use voice_model::{CloseCode, GuildId, SessionId, Token, UserId};
use voice_server::{
    Bots, Command, CoreConfig, DEFAULT_CHANNEL, DEFAULT_GUILD, EventOrder, Fault, FaultKind, JoinAnswer, Request,
    Ticket,
};

const BOT: UserId = UserId::new(77);
const OTHER: UserId = UserId::new(78);

fn world(join: JoinAnswer) -> World {
    let bots = Bots::Listed(vec![(Token::new("good"), BOT), (Token::new("other"), OTHER)]);
    World::with(CoreConfig { bots, join, endpoint: "voice.example:443".to_owned(), ..CoreConfig::default() })
}

fn login(token: &str) -> Value {
    json!({ "op": 2, "d": {
        "token": token, "intents": 129, "properties": { "os": "a", "browser": "b", "device": "c" }, "shard": [0, 1],
    }})
}

/// A logged-in connection and its session id.
fn logged_in(world: &mut World, token: &str) -> (u64, String) {
    let connection = world.open("/gateway/?v=10&encoding=json");
    world.send(connection, login(token));
    let messages = world.messages(connection);
    (connection, messages[1]["d"]["session_id"].as_str().unwrap().to_owned())
}

fn join(channel: Value) -> Value {
    json!({ "op": 4, "d": {
        "guild_id": DEFAULT_GUILD.to_string(), "channel_id": channel, "self_mute": false, "self_deaf": false,
    }})
}

fn first_channel() -> Value {
    json!(DEFAULT_CHANNEL.to_string())
}

fn second_channel() -> Value {
    json!((DEFAULT_CHANNEL.get() + 1).to_string())
}

/// The names of the events since the last look.
fn names(world: &mut World, connection: u64) -> Vec<String> {
    let all = world.messages(connection);
    all.iter().filter_map(|m| m["t"].as_str()).map(str::to_owned).collect()
}

/// The ticket that the two events of a join make.
fn ticket(user: UserId, events: &[Value]) -> Ticket {
    let of = |name: &str| &events.iter().rev().find(|e| e["t"] == name).unwrap()["d"];
    let (state, server) = (of("VOICE_STATE_UPDATE"), of("VOICE_SERVER_UPDATE"));
    assert_eq!(state["user_id"], user.to_string());
    Ticket {
        server_id: server["guild_id"].as_str().unwrap().parse().unwrap(),
        channel_id: state["channel_id"].as_str().unwrap().parse().unwrap(),
        user_id: user,
        session_id: SessionId::new(state["session_id"].as_str().unwrap()),
        token: Token::new(server["token"].as_str().unwrap()),
        endpoint: server["endpoint"].as_str().unwrap().to_owned(),
    }
}

#[test]
fn a_bot_logs_in() {
    let mut world = world(JoinAnswer::default());
    let connection = world.open("/gateway?v=10");
    let hello = world.messages(connection);
    assert_eq!(hello, [json!({ "op": 10, "d": { "heartbeat_interval": 41250 }, "s": null, "t": null })]);
    world.send(connection, json!({ "op": 1, "d": null }));
    assert_eq!(world.messages(connection)[0]["op"], 11);

    world.send(connection, login("Bot good"));
    let [ready, guild] = <[Value; 2]>::try_from(world.messages(connection)).unwrap();
    assert_eq!((&ready["t"], &ready["s"], &ready["op"]), (&json!("READY"), &json!(1), &json!(0)));
    assert_eq!(ready["d"]["user"]["id"], BOT.to_string());
    assert_eq!(ready["d"]["guilds"], json!([{ "id": DEFAULT_GUILD.to_string(), "unavailable": true }]));
    assert!(ready["d"]["resume_gateway_url"].as_str().unwrap().ends_with("/gateway"));
    assert_eq!((&guild["t"], &guild["s"]), (&json!("GUILD_CREATE"), &json!(2)));
    assert_eq!(guild["d"]["channels"][0]["id"], DEFAULT_CHANNEL.to_string());
    assert_eq!(guild["d"]["channels"][0]["type"], 2);
    assert_eq!(guild["d"]["voice_states"], json!([]));
}

#[test]
fn wrong_input_has_its_close_code() {
    let cases = [
        ("nonsense", 4002),
        (r#"{"op":2,"d":{}}"#, 4002),
        (r#"{"op":2,"d":{"token":"bad","intents":129}}"#, 4004),
        (r#"{"op":2,"d":{"token":"good","intents":129,"shard":[1,1]}}"#, 4010),
        (r#"{"op":4,"d":{}}"#, 4003),
        (r#"{"op":99,"d":{}}"#, 4001),
        (r#"{"op":6,"d":{"token":"good"}}"#, 4002),
    ];
    for (text, code) in cases {
        let mut world = world(JoinAnswer::default());
        let connection = world.open("/gateway");
        world.raw(connection, text);
        assert_eq!(world.closed(connection), Some(code), "{text}");
    }
    let long = json!({ "op": 1, "d": "x".repeat(5_000) });
    for (message, code) in [(login("good"), 4005), (json!({ "op": 4, "d": {} }), 4002), (long, 4002)] {
        let mut world = world(JoinAnswer::default());
        let (connection, _) = logged_in(&mut world, "good");
        world.send(connection, message);
        assert_eq!(world.closed(connection), Some(code));
    }
}

#[test]
fn a_join_brings_both_events_and_credentials_that_work() {
    for (order, expected) in [
        (EventOrder::StateFirst, ["VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE"]),
        (EventOrder::ServerFirst, ["VOICE_SERVER_UPDATE", "VOICE_STATE_UPDATE"]),
    ] {
        let mut world = world(JoinAnswer { order, ..JoinAnswer::default() });
        let (connection, session_id) = logged_in(&mut world, "good");
        world.send(connection, join(first_channel()));
        let events = world.messages(connection);
        assert_eq!(events.iter().map(|e| e["t"].as_str().unwrap()).collect::<Vec<_>>(), expected);
        let ticket = ticket(BOT, &events);
        assert_eq!(ticket.session_id.expose(), session_id, "the main-gateway session's own");
        assert_eq!((ticket.channel_id, ticket.endpoint.as_str()), (DEFAULT_CHANNEL, "voice.example:443"));
        world.identified(&ticket);
    }
}

#[test]
fn only_the_asking_session_gets_a_token_and_only_with_the_intent_a_state() {
    let mut world = world(JoinAnswer::default());
    let (asking, _) = logged_in(&mut world, "good");
    let (watching, _) = logged_in(&mut world, "other");
    let blind = world.open("/gateway");
    world.send(blind, json!({ "op": 2, "d": { "token": "other", "intents": 1 } }));
    assert_eq!(names(&mut world, blind), ["READY", "GUILD_CREATE"]);
    world.send(asking, join(first_channel()));
    assert_eq!(names(&mut world, asking), ["VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE"]);
    assert_eq!(names(&mut world, watching), ["VOICE_STATE_UPDATE"]);
    assert!(names(&mut world, blind).is_empty());

    let late = world.open("/gateway");
    world.send(late, login("other"));
    let guild = world.messages(late).pop().unwrap();
    assert_eq!(guild["d"]["voice_states"][0]["user_id"], BOT.to_string());
    assert_eq!(guild["d"]["voice_states"][0].get("guild_id"), None);
}

#[test]
fn a_shard_sees_its_own_guilds_only() {
    let mut world = world(JoinAnswer::default());
    let shard = (DEFAULT_GUILD.get() >> 22) % 3;
    for number in 0..3 {
        let connection = world.open("/gateway");
        let identify = json!({ "op": 2, "d": { "token": "good", "intents": 129, "shard": [number, 3] } });
        world.send(connection, identify);
        let guilds = world.messages(connection)[1]["d"]["guilds"].as_array().unwrap().len();
        assert_eq!(guilds, usize::from(number == shard), "{number}");
    }
}

#[test]
fn muting_brings_a_state_and_no_new_server() {
    let mut world = world(JoinAnswer::default());
    let (connection, _) = logged_in(&mut world, "good");
    world.send(connection, join(first_channel()));
    let events = world.messages(connection);
    let (voice, _) = world.identified(&ticket(BOT, &events));
    let mut muted = join(first_channel());
    muted["d"]["self_mute"] = json!(true);
    world.send(connection, muted);
    let events = world.messages(connection);
    assert_eq!((events.len(), &events[0]["t"]), (1, &json!("VOICE_STATE_UPDATE")));
    assert_eq!(events[0]["d"]["self_mute"], true);
    assert_eq!(world.closed(voice), None);
}

#[test]
fn a_move_brings_a_new_token_and_closes_the_old_connection() {
    for by_moderator in [false, true] {
        let mut world = world(JoinAnswer::default());
        let (connection, _) = logged_in(&mut world, "good");
        world.send(connection, join(first_channel()));
        let before = ticket(BOT, &world.messages(connection));
        let (voice, _) = world.identified(&before);
        if by_moderator {
            let channel = voice_model::ChannelId::new(DEFAULT_CHANNEL.get() + 1);
            world.command(Command::Move { guild: DEFAULT_GUILD, user: BOT, channel });
        } else {
            world.send(connection, join(second_channel()));
        }
        assert_eq!(world.closed(voice), Some(4014));
        let after = ticket(BOT, &world.messages(connection));
        assert_ne!(after.token, before.token);
        assert_eq!(after.session_id, before.session_id);
        assert_eq!(after.channel_id.get(), DEFAULT_CHANNEL.get() + 1);
        world.identified(&after);
        let stale = world.open("/?v=8");
        world.send(stale, identify(&before));
        assert_eq!(world.closed(stale), Some(4004));
        let stale = world.open("/?v=8");
        world.send(stale, resume(&before, -1));
        assert_eq!(world.closed(stale), Some(4004), "the session id is the same, the token is not");
    }
}

#[test]
fn a_move_may_leave_the_old_connection_open() {
    let bots = Bots::Listed(vec![(Token::new("good"), BOT)]);
    let mut world = World::with(CoreConfig { bots, on_move: None, ..CoreConfig::default() });
    let (connection, _) = logged_in(&mut world, "good");
    world.send(connection, join(first_channel()));
    let before = ticket(BOT, &world.messages(connection));
    let (voice, _) = world.identified(&before);
    world.send(connection, join(second_channel()));
    assert_eq!(world.closed(voice), None);
    let after = ticket(BOT, &world.messages(connection));
    world.identified(&after);
    assert_eq!((world.closed(voice), world.core.stats().sessions), (Some(4014), 1));
}

#[test]
fn a_change_of_server_brings_a_token_and_no_state() {
    let mut world = world(JoinAnswer::default());
    let (connection, _) = logged_in(&mut world, "good");
    world.send(connection, join(first_channel()));
    let before = ticket(BOT, &world.messages(connection));
    let (voice, _) = world.identified(&before);
    world.command(Command::Rehome { guild: DEFAULT_GUILD, user: BOT });
    let events = world.messages(connection);
    assert_eq!((events.len(), &events[0]["t"]), (1, &json!("VOICE_SERVER_UPDATE")));
    assert_eq!(world.closed(voice), Some(4014));
    let token = Token::new(events[0]["d"]["token"].as_str().unwrap());
    world.identified(&Ticket { token, ..before });
}

#[test]
fn the_endpoint_may_be_null_first_and_both_events_late() {
    let answer = JoinAnswer {
        delay: Duration::from_millis(300),
        null_endpoint_first: Some(Duration::from_millis(500)),
        ..JoinAnswer::default()
    };
    let mut world = world(answer);
    let (connection, _) = logged_in(&mut world, "good");
    world.send(connection, join(first_channel()));
    world.advance(Duration::from_millis(299));
    assert!(world.messages(connection).is_empty());
    world.advance(Duration::from_millis(1));
    let mut events = world.messages(connection);
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["d"]["endpoint"], json!(null));
    world.advance(Duration::from_millis(500));
    events.extend(world.messages(connection));
    assert_eq!(events.len(), 3);
    let mut useless = ticket(BOT, &events);
    world.identified(&useless);
    useless.token = Token::new(events[1]["d"]["token"].as_str().unwrap());
    let voice = world.open("/?v=8");
    world.send(voice, identify(&useless));
    assert_eq!(world.closed(voice), Some(4004), "the token that came with null is good for nothing");
}

#[test]
fn a_full_or_unknown_channel_is_silence() {
    let mut world = world(JoinAnswer { silent: true, ..JoinAnswer::default() });
    let (connection, _) = logged_in(&mut world, "good");
    world.send(connection, join(first_channel()));
    world.command(Command::SetJoinAnswer(JoinAnswer::default()));
    world.send(connection, join(json!("5")));
    let mut elsewhere = join(first_channel());
    elsewhere["d"]["guild_id"] = json!(GuildId::new(5).to_string());
    world.send(connection, elsewhere);
    assert!(world.messages(connection).is_empty());
    world.send(connection, join(first_channel()));
    assert_eq!(world.messages(connection).len(), 2);
}

#[test]
fn leaving_ends_the_state_the_session_and_the_ticket() {
    for how in ["op 4", "moderator", "session lost"] {
        let mut world = world(JoinAnswer::default());
        let (connection, _) = logged_in(&mut world, "good");
        let (watching, _) = logged_in(&mut world, "other");
        world.send(connection, join(first_channel()));
        let ticket = ticket(BOT, &world.messages(connection));
        let (voice, _) = world.identified(&ticket);
        world.messages(watching);
        match how {
            "op 4" => world.send(connection, join(json!(null))),
            "moderator" => world.command(Command::Disconnect { guild: DEFAULT_GUILD, user: BOT }),
            _ => world.command(Command::Inject(Fault::user(BOT, FaultKind::GatewayInvalidate))),
        }
        assert_eq!(world.closed(voice), Some(4014), "{how}");
        let told = world.messages(watching);
        assert_eq!(told.len(), 1, "{how}");
        assert_eq!((&told[0]["t"], &told[0]["d"]["channel_id"]), (&json!("VOICE_STATE_UPDATE"), &json!(null)));
        let again = world.open("/?v=8");
        world.send(again, identify(&ticket));
        assert_eq!(world.closed(again), Some(4004), "{how}");
        assert_eq!(world.core.stats().sessions, 0);
    }
}

#[test]
fn a_lost_session_identifies_anew_on_the_same_connection() {
    let mut world = world(JoinAnswer::default());
    let (connection, before) = logged_in(&mut world, "good");
    world.command(Command::Inject(Fault::all(FaultKind::GatewayInvalidate)));
    assert_eq!(world.messages(connection)[0], json!({ "op": 9, "d": false, "s": null, "t": null }));
    world.send(connection, login("good"));
    let ready = world.messages(connection);
    assert_eq!(ready[0]["t"], "READY");
    assert_ne!(ready[0]["d"]["session_id"], before);
}

#[test]
fn a_resume_brings_what_was_missed_and_voice_is_untouched() {
    let mut world = world(JoinAnswer::default());
    let (connection, session_id) = logged_in(&mut world, "good");
    world.send(connection, join(first_channel()));
    let ticket = ticket(BOT, &world.messages(connection));
    let (voice, _) = world.identified(&ticket);
    world.command(Command::Inject(Fault::user(BOT, FaultKind::GatewayReconnect)));
    assert_eq!(world.messages(connection)[0]["op"], 7);
    world.lose(connection, Some(4000));
    world.command(Command::Rehome { guild: DEFAULT_GUILD, user: BOT });
    assert_eq!(world.closed(voice), Some(4014));

    let again = world.open("/gateway");
    world.send(again, json!({ "op": 6, "d": { "token": "good", "session_id": session_id, "seq": 4 } }));
    let events = world.messages(again);
    let told: Vec<_> = events[1..].iter().map(|e| (e["t"].as_str().unwrap(), e["s"].as_u64().unwrap())).collect();
    assert_eq!(told, [("VOICE_SERVER_UPDATE", 5), ("RESUMED", 6)]);
}

#[test]
fn a_resume_that_cannot_be_is_an_invalid_session() {
    let mut world = world(JoinAnswer::default());
    let (connection, session_id) = logged_in(&mut world, "good");
    world.lose(connection, None);
    for (token, session_id, seq) in [("good", "other", 2), ("other", session_id.as_str(), 2), ("good", &session_id, 99)]
    {
        let again = world.open("/gateway");
        world.send(again, json!({ "op": 6, "d": { "token": token, "session_id": session_id, "seq": seq } }));
        assert_eq!(world.messages(again)[1]["op"], 9);
        assert_eq!(world.closed(again), None);
    }
    world.advance(Duration::from_secs(61));
    assert_eq!(world.core.stats().gateway_sessions, 0);
}

#[test]
fn a_deliberate_close_ends_the_voice_states_and_a_lost_socket_does_not() {
    for (code, survives) in [(Some(1000), false), (Some(4900), true), (None, true)] {
        let mut world = world(JoinAnswer::default());
        let (connection, _) = logged_in(&mut world, "good");
        world.send(connection, join(first_channel()));
        let ticket = ticket(BOT, &world.messages(connection));
        let (voice, _) = world.identified(&ticket);
        world.lose(connection, code);
        assert_eq!(world.closed(voice).is_none(), survives, "{code:?}");
    }
}

#[test]
fn the_main_gateway_is_closed_on_command_and_without_heartbeats() {
    let mut world = world(JoinAnswer::default());
    let (first, _) = logged_in(&mut world, "good");
    let code = CloseCode::new(4009);
    world.command(Command::Inject(Fault::user(BOT, FaultKind::GatewayClose(code))));
    assert_eq!(world.closed(first), Some(4009));
    let (second, _) = logged_in(&mut world, "good");
    world.advance(Duration::from_millis(82_501));
    assert_eq!(world.closed(second), Some(4009));
}

#[test]
fn the_http_api_answers_what_a_library_asks_first() {
    let world = world(JoinAnswer::default());
    let ask = |path, token| {
        let request = Request { method: "GET", path, authorization: token };
        let response = world.core.handle_request(request);
        (response.status, serde_json::from_str::<Value>(&response.body).unwrap())
    };
    let (status, gateway) = ask("/api/v10/gateway/bot", Some("Bot good"));
    assert_eq!((status, &gateway["shards"]), (200, &json!(1)));
    assert_eq!(gateway["session_start_limit"]["max_concurrency"], 1);
    assert_eq!(ask("/api/v10/gateway", None).1["url"], gateway["url"]);
    assert_eq!(ask("/api/gateway", None).0, 200);
    assert_eq!(ask("/api/v10/users/@me", Some("Bot good")).1["id"], BOT.to_string());
    assert_eq!(ask("/api/v10/applications/@me", Some("Bot good")).1["id"], BOT.to_string());
    assert_eq!(ask("/api/v10/oauth2/applications/@me", Some("Bot good")).0, 200);
    assert_eq!(ask("/api/v10/gateway/bot", None).0, 401);
    assert_eq!(ask("/api/v10/gateway/bot", Some("Bot bad")).0, 401);
    assert_eq!(ask("/api/v10/nothing", Some("Bot good")).0, 404);
    let post = Request { method: "POST", path: "/api/v10/gateway", authorization: None };
    assert_eq!(world.core.handle_request(post).status, 405);
}
