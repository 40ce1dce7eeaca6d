//! The main gateway and the HTTP API over real sockets.

#![cfg(feature = "tokio")]

mod common;

use common::raw::{Member, Ws, dial, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use voice_crypto::Mode;
use voice_model::{CloseCode, SessionId, Token, UserId};
use voice_server::{
    Bots, DEFAULT_CHANNEL, DEFAULT_GUILD, Event, EventResult, Fault, FaultKind, Server, ServerConfig, Ticket,
};

const BOT: UserId = UserId::new(77);

async fn start(tls: bool) -> Server {
    let mut config = ServerConfig { tls, ..ServerConfig::default() };
    config.core.bots = Bots::Listed(vec![(Token::new("good"), BOT)]);
    Server::bind(config).await.unwrap()
}

/// The head and body of the answer to a request written by hand.
async fn get(server: &Server, path: &str, headers: &str) -> (String, String) {
    let mut stream = dial(server, "127.0.0.1").await;
    let host = server.tcp_addr();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    // A TLS peer that closes without saying so is an error here, after everything was read.
    let _ = within(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

async fn log_in(ws: &mut Ws) -> String {
    assert_eq!(ws.next().await["op"], 10);
    ws.send(json!({ "op": 2, "d": { "token": "good", "intents": 129, "properties": {} } })).await;
    let ready = ws.next().await;
    assert_eq!(ready["t"], "READY");
    assert_eq!(ws.next().await["t"], "GUILD_CREATE");
    ready["d"]["session_id"].as_str().unwrap().to_owned()
}

async fn join(ws: &mut Ws, server: &Server) -> Ticket {
    ws.send(json!({ "op": 4, "d": {
        "guild_id": DEFAULT_GUILD.to_string(), "channel_id": DEFAULT_CHANNEL.to_string(),
        "self_mute": false, "self_deaf": false,
    }}))
    .await;
    let (state, update) = (ws.next().await, ws.next().await);
    assert_eq!((&state["t"], &update["t"]), (&json!("VOICE_STATE_UPDATE"), &json!("VOICE_SERVER_UPDATE")));
    assert_eq!(update["d"]["endpoint"], server.endpoint());
    Ticket {
        server_id: DEFAULT_GUILD,
        channel_id: DEFAULT_CHANNEL,
        user_id: BOT,
        session_id: SessionId::new(state["d"]["session_id"].as_str().unwrap()),
        token: Token::new(update["d"]["token"].as_str().unwrap()),
        endpoint: server.endpoint(),
    }
}

#[tokio::test]
async fn a_bot_logs_in_joins_and_is_removed() {
    for tls in [false, true] {
        let server = start(tls).await;
        let scheme = if tls { "wss" } else { "ws" };
        assert_eq!(server.gateway_url(), format!("{scheme}://{}/gateway", server.tcp_addr()));
        let mut events = server.events();
        let mut main = Ws::open(&server, "/gateway/?v=10&encoding=json").await;
        let session_id = log_in(&mut main).await;
        let ticket = join(&mut main, &server).await;
        assert_eq!(ticket.session_id.expose(), session_id);
        let mut voice = Member::join(&server, &ticket, Mode::Aes256GcmRtpsize).await;

        server.disconnect_user(DEFAULT_GUILD, BOT);
        let left = main.next().await;
        assert_eq!((&left["t"], &left["d"]["channel_id"]), (&json!("VOICE_STATE_UPDATE"), &Value::Null));
        assert_eq!(voice.ws.closed().await, Some(CloseCode::DISCONNECTED.get()));

        let left = Event::Left { guild: DEFAULT_GUILD, channel: DEFAULT_CHANNEL, user: BOT };
        assert_eq!(within(events.next()).await, Some(EventResult::Event(Event::LoggedIn { user: BOT })));
        while within(events.next()).await != Some(EventResult::Event(left)) {}
        within(server.shutdown()).await;
        assert_eq!(main.closed().await, None);
        while within(events.next()).await.is_some() {}
    }
}

#[tokio::test]
async fn the_http_api_answers_over_tcp() {
    for tls in [false, true] {
        let server = start(tls).await;
        let (head, body) = get(&server, "/api/v10/gateway/bot", "Authorization: Bot good\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["url"], server.gateway_url());
        let (head, _) = get(&server, "/api/v10/gateway/bot", "").await;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
        let (head, _) = get(&server, "/api/v10/users/@me?x=1", "authorization: Bot good\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let (head, _) = get(&server, "/?v=8", "").await;
        assert!(head.starts_with("HTTP/1.1 426"), "{head}");
    }
}

#[tokio::test]
async fn control_of_the_running_server_reaches_its_clients() {
    let server = start(false).await;
    let mut main = Ws::open(&server, "/gateway").await;
    log_in(&mut main).await;
    let ticket = join(&mut main, &server).await;
    let mut voice = Member::join(&server, &ticket, Mode::Aes256GcmRtpsize).await;
    server.close_voice(BOT, CloseCode::VOICE_SERVER_CRASHED);
    assert_eq!(voice.ws.closed().await, Some(4015));

    // The session is resumed, with everything it had.
    let mut ws = Ws::open(&server, "/?v=8").await;
    ws.send(json!({ "op": 7, "d": {
        "server_id": DEFAULT_GUILD.to_string(), "session_id": ticket.session_id.expose(),
        "token": ticket.token.expose(), "seq_ack": 0,
    }}))
    .await;
    ws.until(9).await;
    voice.ping().await;

    server.rehome(DEFAULT_GUILD, BOT);
    assert_eq!(main.next().await["t"], "VOICE_SERVER_UPDATE");
    assert_eq!(ws.closed().await, Some(4014));
    let channel = voice_model::ChannelId::new(DEFAULT_CHANNEL.get() + 1);
    server.move_user(DEFAULT_GUILD, BOT, channel);
    assert_eq!(main.next().await["d"]["channel_id"], channel.to_string());
    main.next().await;
    server.inject(Fault::all(FaultKind::GatewayInvalidate));
    main.next().await;
    assert_eq!(within(server.wait_for(|stats| stats.gateway_sessions == 0)).await.unwrap().sessions, 0);
    assert_eq!(server.stats().commands_dropped, 0);
}
