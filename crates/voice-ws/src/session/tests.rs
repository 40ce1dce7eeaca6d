//! The session in virtual time, against messages written by hand.

mod closing;
mod handshake;
mod heartbeats;
mod limits;
mod policy;
mod resume;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use voice_model::{
    ChannelId, ClientSpeaking, CloseAction, GuildId, SelectProtocol, ServerMessage, SessionId, SpeakingFlags, Token,
    UnknownMessage, UserId,
};

use super::*;
use crate::{Ended, ProtocolViolation, SessionEvent};

const HELLO: &str = r#"{"op":8,"d":{"v":8,"heartbeat_interval":10000}}"#;
const READY: &str = r#"{"op":2,"d":{"ssrc":7,"ip":"127.0.0.1","port":50007,"modes":["aead_aes256_gcm_rtpsize"]}}"#;
const RESUMED: &str = r#"{"op":9,"d":null}"#;
const MODE: &str = "aead_aes256_gcm_rtpsize";
const TOKEN: &str = "token-a6d2c81e07b94f35";
const SESSION_ID: &str = "session-4f1d0c9be27a8e63";
/// Two neighbouring bytes of the key as both ways of printing it would show them.
const KEY_PARTS: [&str; 2] = ["201, 202", "201,202"];

/// A session, its clock, and what it said.
struct Rig {
    session: Session,
    now: Instant,
    outputs: Vec<String>,
}

impl Rig {
    fn new() -> Self {
        Self::with(SessionConfig::default(), 7)
    }

    fn with(config: SessionConfig, seed: u64) -> Self {
        let now = start();
        let session = Session::new(now, Arc::new(config), identity(), seed);
        let mut rig = Self { session, now, outputs: Vec::new() };
        rig.drain();
        rig
    }

    /// A session whose handshake is over.
    fn established() -> Self {
        let mut rig = Self::new();
        rig.establish();
        rig
    }

    /// A session that opens its second socket after it lost the first.
    fn reopening() -> Self {
        let mut rig = Self::established();
        rig.input(Input::Disconnected(None));
        assert_eq!(rig.take(), ["interrupted ConnectionLost", "connect"]);
        rig
    }

    /// A session that has asked to be resumed.
    fn resuming() -> Self {
        let mut rig = Self::reopening();
        rig.input(Input::Connected);
        assert!(rig.take()[0].starts_with(r#"{"op":7,"#));
        rig
    }

    fn establish(&mut self) {
        assert_eq!(self.take(), ["connect"]);
        self.input(Input::Connected);
        self.text(HELLO);
        self.text(READY);
        self.select().unwrap();
        self.text(&description(MODE));
        assert!(self.take().last().unwrap().starts_with("established"), "{:?}", self.outputs);
    }

    fn input(&mut self, input: Input<'_>) {
        self.session.handle_input(self.now, input);
        self.drain();
    }

    fn text(&mut self, text: &str) {
        self.input(Input::Text(text));
    }

    fn select(&mut self) -> Result<(), SendError> {
        let select = ClientMessage::SelectProtocol(SelectProtocol::udp("127.0.0.1", 9, MODE));
        let result = self.session.send(self.now, select);
        self.drain();
        result
    }

    fn speak(&mut self, flags: SpeakingFlags) -> Result<(), SendError> {
        let speaking = ClientSpeaking { speaking: flags, delay: 0, ssrc: 7 };
        let result = self.session.send(self.now, ClientMessage::Speaking(speaking));
        self.drain();
        result
    }

    /// Moves the clock, answering every heartbeat, and stops at each instant the session asks for.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.session.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
            self.acknowledge();
        }
        self.now = end;
        self.input(Input::Timeout);
        self.acknowledge();
    }

    /// Moves the clock to the next instant the session asks for, and returns how far that was.
    fn step(&mut self) -> Duration {
        let at = self.session.deadline().expect("the session waits for something");
        let passed = at.saturating_duration_since(self.now);
        self.now += passed;
        self.input(Input::Timeout);
        passed
    }

    fn acknowledge(&mut self) {
        let beats: Vec<String> = self.outputs.iter().filter(|text| text.starts_with(r#"{"op":3,"#)).cloned().collect();
        self.outputs.retain(|text| !text.starts_with(r#"{"op":3,"#));
        for beat in beats {
            self.text(&format!(r#"{{"op":6,"d":{{"t":{}}}}}"#, nonce(&beat)));
        }
    }

    fn drain(&mut self) {
        loop {
            let output = self.session.poll_output();
            check_debug(&format!("{output:?}"));
            self.outputs.push(match output {
                Output::Connect(_) => "connect".to_owned(),
                Output::Text(text) => text,
                Output::Binary(bytes) => format!("binary {bytes:?}"),
                Output::Close(code) => format!("close {}", code.get()),
                Output::Event(event) => describe(&event),
                Output::Timeout(_) => return check_debug(&format!("{:?}", self.session)),
            });
        }
    }

    /// What came out since the last call.
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.outputs)
    }

    /// What came out apart from heartbeats.
    fn take_without_beats(&mut self) -> Vec<String> {
        self.take().into_iter().filter(|text| !text.starts_with(r#"{"op":3,"#)).collect()
    }
}

fn describe(event: &SessionEvent) -> String {
    match event {
        SessionEvent::Ready(ready) => format!("ready {}", ready.ssrc),
        SessionEvent::Established(description) => format!("established {}", description.mode),
        SessionEvent::Interrupted(cause) => format!("interrupted {cause:?}"),
        SessionEvent::Resumed => "resumed".to_owned(),
        SessionEvent::Recovered => "recovered".to_owned(),
        SessionEvent::Confirmed => "confirmed".to_owned(),
        SessionEvent::Message(ServerMessage::Unknown(message)) => format!("unknown {}", message.opcode.code()),
        SessionEvent::Message(message) => format!("message {}", message.opcode().code()),
        SessionEvent::Binary { opcode, payload } => format!("binary {} {payload:?}", opcode.code()),
        SessionEvent::Ended(ended) => end_of(ended.advice, ended.cause),
    }
}

fn end_of(advice: Advice, cause: Cause) -> String {
    format!("{:?}", Ended { advice, cause })
}

fn check_debug(text: &str) {
    for secret in [TOKEN, SESSION_ID].into_iter().chain(KEY_PARTS) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

fn nonce(beat: &str) -> u64 {
    match ClientMessage::decode(beat) {
        Ok(ClientMessage::Heartbeat(beat)) => beat.nonce,
        other => panic!("no heartbeat: {other:?}"),
    }
}

fn seq_ack(text: &str) -> i64 {
    match ClientMessage::decode(text).unwrap() {
        ClientMessage::Heartbeat(beat) => beat.seq_ack.unwrap(),
        ClientMessage::Resume(resume) => resume.seq_ack.unwrap(),
        other => panic!("no sequence in {other:?}"),
    }
}

fn description(mode: &str) -> String {
    let key: Vec<String> = (201..233).map(|byte| byte.to_string()).collect();
    format!(r#"{{"op":4,"d":{{"mode":"{mode}","secret_key":[{}],"dave_protocol_version":0}}}}"#, key.join(","))
}

fn numbered(sequence: u16) -> String {
    format!(r#"{{"op":18,"d":{{"flags":2}},"seq":{sequence}}}"#)
}

pub(super) fn identity() -> Identity {
    Identity {
        channel_id: ChannelId::new(3),
        endpoint: "voice.example.net".parse().unwrap(),
        server_id: GuildId::new(1),
        session_id: SessionId::new(SESSION_ID),
        token: Token::new(TOKEN),
        user_id: UserId::new(2),
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
pub(super) fn start() -> Instant {
    Instant::now()
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

// The handshake.
