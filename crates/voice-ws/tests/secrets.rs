//! No log and no `Debug` text of a whole session, errors included, contains a secret.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tracing_subscriber::filter::LevelFilter;
use voice_model::{ChannelId, ClientMessage, CloseCode, GuildId, SelectProtocol, SessionId, Token, UserId};
use voice_ws::{Identity, Input, Output, Session, SessionConfig};

const TOKEN: &str = "token-a6d2c81e07b94f35";
const SESSION_ID: &str = "session-4f1d0c9be27a8e63";
const HELLO: &str = r#"{"op":8,"d":{"v":8,"heartbeat_interval":1000}}"#;
const READY: &str = r#"{"op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":2,"modes":["m"]}}"#;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Feeds an input and writes everything that can be printed into the log.
fn feed(session: &mut Session, now: Instant, input: Input<'_>) {
    tracing::trace!(?input);
    session.handle_input(now, input);
    tracing::trace!(?session);
    loop {
        let output = session.poll_output();
        tracing::trace!(?output);
        if matches!(output, Output::Timeout(_)) {
            return;
        }
    }
}

#[test]
fn w16_full_trace_of_a_session_contains_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run_sessions);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("dropped a malformed message") && log.contains("SessionDescription"), "{log}");
    for secret in [TOKEN, SESSION_ID, "201, 202", "201,202", "c9ca", "C9CA"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

fn run_sessions() {
    let key: Vec<String> = (201..233).map(|byte| byte.to_string()).collect();
    let good = format!(r#"{{"op":4,"d":{{"mode":"m","secret_key":[{}]}}}}"#, key.join(","));
    let short = format!(r#"{{"op":4,"d":{{"mode":"m","secret_key":[{}]}}}}"#, key[1..].join(","));
    let text = format!(r#"{{"op":4,"d":{{"mode":"m","secret_key":"{}"}}}}"#, key.join(","));
    let echo = format!(r#"{{"op":5,"d":{{"speaking":"{TOKEN}","{SESSION_ID}":1}}}}"#);
    for description in [&good, &short, &text] {
        #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
        let now = Instant::now();
        let identity = Identity {
            channel_id: ChannelId::new(3),
            endpoint: "voice.example.net".parse().unwrap(),
            server_id: GuildId::new(1),
            session_id: SessionId::new(SESSION_ID),
            token: Token::new(TOKEN),
            user_id: UserId::new(2),
        };
        let mut session = Session::new(now, Arc::new(SessionConfig::default()), identity, 7);
        feed(&mut session, now, Input::Timeout);
        feed(&mut session, now, Input::Connected);
        for text in [HELLO, &echo, READY] {
            feed(&mut session, now, Input::Text(text));
        }
        session.send(now, ClientMessage::SelectProtocol(SelectProtocol::udp("127.0.0.1", 9, "m"))).unwrap();
        feed(&mut session, now, Input::Text(description));
        // Once more, where nobody asked for it.
        feed(&mut session, now, Input::Text(description));
        feed(&mut session, now, Input::Disconnected(Some(CloseCode::VOICE_SERVER_CRASHED)));
        feed(&mut session, now, Input::Connected);
        feed(&mut session, now + Duration::from_secs(60), Input::Timeout);
        session.close(CloseCode::NORMAL);
        feed(&mut session, now, Input::Timeout);
    }
}
