//! The session in virtual time, against messages written by hand.

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

#[test]
fn handshake_sends_what_the_protocol_says() {
    let mut rig = Rig::new();
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.text(READY);
    rig.select().unwrap();
    rig.text(&description(MODE));
    let identify = format!(
        r#"{{"op":0,"d":{{"server_id":"1","user_id":"2","session_id":"{SESSION_ID}","token":"{TOKEN}","max_dave_protocol_version":0,"channel_id":"3"}}}}"#
    );
    let select =
        format!(r#"{{"op":1,"d":{{"protocol":"udp","data":{{"address":"127.0.0.1","port":9,"mode":"{MODE}"}}}}}}"#);
    let established = format!("established {MODE}");
    assert_eq!(rig.take(), ["connect", &identify, "ready 7", &select, &established]);
}

#[test]
fn hello_may_come_at_any_point_before_its_deadline() {
    for position in 0..=3 {
        let mut rig = Rig::new();
        rig.input(Input::Connected);
        for step in 0..=3 {
            if step == position {
                rig.text(HELLO);
                assert!(rig.session.heartbeat.is_some());
            }
            match step {
                0 => rig.text(READY),
                1 => rig.select().unwrap(),
                2 => rig.text(&description(MODE)),
                _ => {}
            }
        }
        assert_eq!(rig.session.state, State::Established, "Hello at {position}");
        rig.pass(secs(40));
        assert_eq!(rig.session.state, State::Established);
        assert!(rig.session.stats().heartbeats_acknowledged >= 3);
    }
}

#[test]
fn other_messages_during_the_handshake_are_passed_on_in_order() {
    let mut rig = Rig::new();
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.text(r#"{"op":11,"d":{"user_ids":["5"]},"seq":0}"#);
    rig.text(READY);
    rig.text(r#"{"op":5,"d":{"speaking":1,"ssrc":9,"user_id":"5"},"seq":1}"#);
    rig.input(Input::Binary(&[0, 2, 25, 1, 2]));
    rig.select().unwrap();
    rig.text(r#"{"op":20,"d":{"user_id":"5","platform":0},"seq":3}"#);
    rig.text(r#"{"op":4242,"d":[],"seq":4}"#);
    rig.text(&description(MODE));
    let events: Vec<String> = rig.take().into_iter().filter(|text| !text.starts_with('{')).collect();
    let expected = ["connect", "message 11", "ready 7", "message 5", "binary 25 [1, 2]", "message 20", "unknown 4242"];
    assert_eq!(events[..7], expected);
    assert_eq!(events[7], format!("established {MODE}"));
    assert_eq!((rig.session.sequence, rig.session.stats().sequence_gaps), (Some(4), 0));
    assert_eq!((rig.session.stats().messages_unknown, rig.session.stats().messages_malformed), (1, 0));
}

#[test]
fn server_messages_out_of_place_change_nothing() {
    let mut rig = Rig::new();
    rig.input(Input::Connected);
    rig.text(&description(MODE));
    rig.text(RESUMED);
    rig.text(HELLO);
    rig.text(READY);
    rig.text(READY);
    rig.text(&description(MODE));
    assert_eq!(rig.take_without_beats()[2..], ["ready 7"]);
    rig.select().unwrap();
    rig.text(READY);
    rig.text(&description(MODE));
    rig.text(&description("another"));
    rig.input(Input::Connected);
    assert_eq!(rig.session.state, State::Established);
    assert_eq!(rig.take().len(), 2, "Select Protocol and Established");
}

#[test]
fn first_attempt_is_made_at_once() {
    let now = start();
    let mut session = Session::new(now, Arc::new(SessionConfig::default()), identity(), 7);
    assert!(matches!(session.poll_output(), Output::Connect(endpoint) if endpoint == identity().endpoint));
    let Output::Timeout(Some(at)) = session.poll_output() else { panic!("a connection may not take for ever") };
    assert_eq!(at - now, secs(10));
}

#[test]
fn each_step_of_the_handshake_has_its_deadline() {
    type Case = (u64, Waiting, fn(&mut Rig));
    let steps: [Case; 5] = [
        (10, Waiting::Connection, |_| {}),
        (5, Waiting::Hello, |rig| rig.input(Input::Connected)),
        (5, Waiting::Ready, |rig| {
            rig.input(Input::Connected);
            rig.text(HELLO);
        }),
        // Ready came, Hello did not: nobody would ever find out that such a connection is dead.
        (5, Waiting::Hello, |rig| {
            rig.input(Input::Connected);
            rig.text(READY);
        }),
        (5, Waiting::SessionDescription, |rig| {
            rig.input(Input::Connected);
            rig.text(HELLO);
            rig.text(READY);
            rig.select().unwrap();
        }),
    ];
    for (limit, waiting, prepare) in steps {
        // One attempt, so that the cause shows.
        let mut rig = Rig::with(SessionConfig { max_handshakes: 1, ..SessionConfig::default() }, 7);
        prepare(&mut rig);
        rig.take();
        rig.pass(secs(limit) - Duration::from_millis(1));
        assert_eq!(rig.take(), [""; 0], "{waiting}");
        rig.pass(Duration::from_millis(1));
        assert_eq!(rig.take(), ["close 1000".to_owned(), end_of(Advice::Rejoin, Cause::TimedOut(waiting))]);
        assert!(matches!(rig.session.poll_output(), Output::Timeout(None)));
    }
}

#[test]
fn owner_that_never_selects_a_protocol_does_not_hold_the_handshake_open() {
    let mut rig = Rig::new();
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.text(READY);
    rig.take();
    rig.pass(secs(20) - Duration::from_millis(1));
    assert_eq!(rig.take(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    let ended = end_of(Advice::Rejoin, Cause::TimedOut(Waiting::SelectProtocol));
    assert_eq!(rig.take(), ["close 1000".to_owned(), ended]);
}

#[test]
fn whole_handshake_takes_no_longer_than_its_limit() {
    let mut rig = Rig::new();
    let begin = rig.now;
    while rig.session.state != State::Ended {
        rig.step();
    }
    // 10 s, a pause, and what is left for the second attempt.
    assert_eq!(rig.now - begin, secs(20));
    assert_eq!(
        rig.take(),
        [
            "connect",
            "close 4900",
            "connect",
            "close 1000",
            &end_of(Advice::Rejoin, Cause::TimedOut(Waiting::Connection))
        ]
    );
}

#[test]
fn server_that_always_hangs_up_gets_three_attempts_with_growing_pauses() {
    for seed in 0..50 {
        let mut rig = Rig::with(SessionConfig::default(), seed);
        let mut pauses = Vec::new();
        for _ in 0..2 {
            rig.input(Input::Connected);
            rig.input(Input::Disconnected(None));
            assert!(matches!(rig.session.state, State::BackingOff { .. }));
            pauses.push(rig.step().as_millis());
        }
        assert!((250..=500).contains(&pauses[0]) && (500..=1_000).contains(&pauses[1]), "{pauses:?}");
        rig.input(Input::Connected);
        rig.input(Input::Disconnected(None));
        let outputs = rig.take();
        assert_eq!(outputs.iter().filter(|text| *text == "connect").count(), 3);
        assert_eq!(outputs.last().unwrap(), &end_of(Advice::Rejoin, Cause::ConnectionLost));
    }
}

#[test]
fn second_attempt_may_select_again_and_counts_from_its_own_first_number() {
    let mut rig = Rig::new();
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.text(&numbered(0));
    rig.text(READY);
    rig.input(Input::Disconnected(Some(CloseCode::GOING_AWAY)));
    assert_eq!(rig.select(), Err(SendError::NotReady));
    rig.step();
    rig.take();
    rig.establish_again(9);
    assert_eq!(rig.session.sequence, None);
    rig.input(Input::Disconnected(None));
    rig.input(Input::Connected);
    assert_eq!(rig.take().last().map(|text| seq_ack(text)), Some(-1));
}

impl Rig {
    /// The handshake on a socket that is opening, with another SSRC.
    fn establish_again(&mut self, ssrc: u32) {
        self.input(Input::Connected);
        self.text(HELLO);
        self.text(&READY.replace("\"ssrc\":7", &format!("\"ssrc\":{ssrc}")));
        self.select().unwrap();
        self.text(&description(MODE));
        assert_eq!(self.session.state, State::Established);
    }
}

#[test]
fn unusable_answers_end_the_handshake_at_once_and_say_why() {
    let bad_key = description(MODE).replace("201,", "");
    let cases: &[(&str, usize, ProtocolViolation)] = &[
        (r#"{"op":8,"d":{}}"#, 0, ProtocolViolation::Undecodable(Opcode::Hello)),
        (r#"{"op":2,"d":{"ssrc":-1}}"#, 1, ProtocolViolation::Undecodable(Opcode::Ready)),
        (r#"{"op":2,"d":null}"#, 1, ProtocolViolation::Undecodable(Opcode::Ready)),
        (r#"{"op":2,"d":{"ssrc":1,"ip":"nowhere","port":1,"modes":[]}}"#, 1, ProtocolViolation::MediaAddress),
        (r#"{"op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":0,"modes":[]}}"#, 1, ProtocolViolation::MediaAddress),
        (&bad_key, 2, ProtocolViolation::Undecodable(Opcode::SessionDescription)),
        (r#"{"op":4,"d":{"mode":"x"}}"#, 2, ProtocolViolation::Undecodable(Opcode::SessionDescription)),
        (&description("another"), 2, ProtocolViolation::WrongMode),
        (r#"{"op":4,"d":{"sdp":"m=audio"}}"#, 2, ProtocolViolation::WrongMode),
    ];
    for (text, step, violation) in cases {
        let mut rig = Rig::new();
        rig.input(Input::Connected);
        if *step > 0 {
            rig.text(HELLO);
        }
        if *step > 1 {
            rig.text(READY);
            rig.select().unwrap();
        }
        rig.take();
        rig.text(text);
        let ended = end_of(Advice::Rejoin, Cause::Protocol(*violation));
        assert_eq!(rig.take(), ["close 1000".to_owned(), ended], "{text}");
    }
}

// Heartbeats.

#[test]
fn beats_keep_to_the_interval_and_start_within_it() {
    let mut firsts = BTreeSet::new();
    for seed in 0..30 {
        let mut rig = Rig::with(SessionConfig::default(), seed);
        rig.establish();
        let hello_at = rig.now;
        let mut beats = Vec::new();
        while beats.len() < 6 {
            rig.step();
            if rig.outputs.iter().any(|text| text.starts_with(r#"{"op":3,"#)) {
                beats.push(rig.now);
                rig.acknowledge();
            }
        }
        assert!(beats[0] - hello_at <= secs(10));
        firsts.insert(beats[0] - hello_at);
        assert!(beats.windows(2).all(|pair| pair[1] - pair[0] == secs(10)), "seed {seed}");
    }
    assert!(firsts.len() > 20, "the first beat is jittered");
}

#[test]
fn beats_and_latency() {
    let mut rig = Rig::established();
    rig.step();
    let beat = rig.take().pop().unwrap();
    assert_eq!(seq_ack(&beat), -1);
    assert_eq!(rig.session.latency(), None);
    rig.now += Duration::from_millis(40);
    rig.text(r#"{"op":6,"d":{"t":1}}"#);
    assert_eq!(rig.session.latency(), None, "an unknown nonce is ignored");
    rig.text(&format!(r#"{{"op":6,"d":{{"t":"{}"}}}}"#, nonce(&beat)));
    assert_eq!(rig.session.latency(), Some(Duration::from_millis(40)));
    rig.input(Input::Disconnected(None));
    assert_eq!(rig.session.mean_latency(), Some(Duration::from_millis(40)), "readable while interrupted");
}

#[test]
fn server_that_asks_for_a_heartbeat_gets_it_at_once() {
    let mut rig = Rig::new();
    rig.input(Input::Connected);
    rig.take();
    let mut nonces = Vec::new();
    for text in [r#"{"op":3,"d":null}"#, HELLO, r#"{"op":3,"d":{"t":5}}"#, READY, r#"{"op":3}"#] {
        rig.text(text);
        nonces.extend(rig.take().iter().filter(|text| text.starts_with(r#"{"op":3,"#)).map(|text| nonce(text)));
    }
    assert_eq!(nonces.len(), 3);
    assert!(nonces.windows(2).all(|pair| pair[0] < pair[1]), "nonces never repeat");
}

#[test]
fn repeated_hello_brings_a_new_interval() {
    let mut rig = Rig::established();
    rig.text(r#"{"op":8,"d":{"heartbeat_interval":2000.0}}"#);
    rig.pass(secs(2));
    let before = rig.session.stats().heartbeats_sent;
    rig.pass(secs(20));
    assert_eq!(rig.session.stats().heartbeats_sent - before, 10);
    // Hello after Hello cannot put the beat off.
    for _ in 0..40 {
        rig.text(r#"{"op":8,"d":{"heartbeat_interval":2000.0}}"#);
        rig.pass(secs(1));
    }
    assert!(rig.session.stats().heartbeats_sent - before >= 29);
}

#[test]
fn nonsense_intervals_become_sensible_ones() {
    for (interval, seconds) in [("0", 5), ("-1", 5), ("1", 1), ("1e300", 60), ("13750", 13), ("0.0", 5)] {
        let mut rig = Rig::new();
        rig.input(Input::Connected);
        rig.text(&HELLO.replace("10000", interval));
        rig.text(READY);
        rig.select().unwrap();
        rig.text(&description(MODE));
        rig.pass(secs(61));
        let sent = rig.session.stats().heartbeats_sent;
        rig.pass(secs(600));
        let count = rig.session.stats().heartbeats_sent - sent;
        assert!((600 / (seconds + 1)..=600 / seconds + 1).contains(&count), "{interval}: {count}");
    }
}

#[test]
fn two_unanswered_beats_are_a_dead_socket_though_messages_arrive() {
    let mut rig = Rig::established();
    let mut beats = 0;
    while rig.session.state == State::Established {
        rig.step();
        beats += rig.take().iter().filter(|text| text.starts_with(r#"{"op":3,"#)).count();
        if rig.session.state == State::Established {
            rig.text(&numbered(beats as u16));
            rig.take();
        }
    }
    assert_eq!(beats, 2);
    assert_eq!(rig.session.stats().interruptions, 1);
    rig.input(Input::Connected);
    assert_eq!(rig.take().last().map(|text| seq_ack(text)), Some(2), "resumed, on a new socket");
}

#[test]
fn silence_is_a_dead_socket_and_is_closed_without_ending_the_session() {
    let mut rig = Rig::established();
    let last_heard = rig.now;
    while rig.session.state == State::Established {
        rig.step();
    }
    assert!(rig.now - last_heard <= secs(20), "an interval and 10 s");
    assert_eq!(rig.take_without_beats(), ["close 4900", "interrupted Zombie", "connect"]);
}

// Resuming.

#[test]
fn resume_acknowledges_the_last_number_text_or_binary() {
    let binary = |sequence: u16| {
        let [high, low] = sequence.to_be_bytes();
        [high, low, 25, 1]
    };
    let cases: [(&[u16], &[u16], i64); 6] = [
        (&[], &[], -1),
        (&[0], &[], 0),
        (&[], &[0], 0),
        (&[0, 1], &[2], 2),
        (&[65_534], &[65_535], 65_535),
        (&[65_535], &[0], 0),
    ];
    for (texts, binaries, expected) in cases {
        let mut rig = Rig::established();
        for sequence in texts {
            rig.text(&numbered(*sequence));
        }
        for sequence in binaries {
            rig.input(Input::Binary(&binary(*sequence)));
        }
        rig.input(Input::Disconnected(None));
        rig.input(Input::Connected);
        let resume = rig.take().pop().unwrap();
        let text = format!(
            r#"{{"op":7,"d":{{"server_id":"1","session_id":"{SESSION_ID}","token":"{TOKEN}","seq_ack":{expected},"channel_id":"3"}}}}"#
        );
        assert_eq!(resume, text);
    }
}

#[test]
fn counter_wraps_across_text_and_binary_without_a_gap() {
    let mut rig = Rig::established();
    for sequence in 0..=u16::MAX {
        if sequence % 2 == 0 {
            rig.session.handle_input(rig.now, Input::Text(&numbered(sequence)));
        } else {
            let [high, low] = sequence.to_be_bytes();
            rig.session.handle_input(rig.now, Input::Binary(&[high, low, 27]));
        }
        while !matches!(rig.session.poll_output(), Output::Timeout(_)) {}
    }
    rig.text(r#"{"op":4242,"seq":65536}"#);
    assert_eq!((rig.session.sequence, rig.session.stats().sequence_gaps), (Some(0), 0));
    rig.text(&numbered(5));
    assert_eq!((rig.session.sequence, rig.session.stats().sequence_gaps), (Some(5), 1));
}

#[test]
fn numbers_of_unusable_messages_count_as_received() {
    let mut rig = Rig::established();
    rig.text(r#"{"op":5,"d":{"speaking":"no"},"seq":0}"#);
    rig.text(r#"{"op":9999,"d":7,"seq":1}"#);
    assert_eq!((rig.session.sequence, rig.session.stats().messages_malformed), (Some(1), 1));
}

#[test]
fn replay_is_passed_on_in_order_before_and_after_resumed() {
    let mut rig = Rig::established();
    rig.text(&numbered(0));
    rig.input(Input::Disconnected(None));
    rig.input(Input::Connected);
    rig.take();
    rig.text(HELLO);
    rig.text(&numbered(1));
    rig.input(Input::Binary(&[0, 2, 27, 9]));
    rig.text(RESUMED);
    rig.text(&numbered(3));
    assert_eq!(rig.take(), ["unknown 18", "binary 27 [9]", "resumed", "unknown 18"]);
    assert_eq!((rig.session.sequence, rig.session.stats().sequence_gaps), (Some(3), 0));
    assert_eq!((rig.session.stats().interruptions, rig.session.stats().resumes), (1, 1));
}

#[test]
fn resumed_may_come_before_hello_but_not_without_it() {
    let mut rig = Rig::resuming();
    rig.text(RESUMED);
    assert_eq!(rig.take(), ["resumed"]);
    rig.text(HELLO);
    rig.pass(secs(30));
    assert_eq!(rig.session.state, State::Established);

    let mut rig = Rig::resuming();
    rig.text(RESUMED);
    rig.pass(secs(5));
    let interrupted = format!("interrupted {:?}", Cause::TimedOut(Waiting::Hello));
    assert_eq!(rig.take(), ["resumed".to_owned(), "close 4900".to_owned(), interrupted]);
}

#[test]
fn missing_resumed_is_noticed_in_time() {
    let mut rig = Rig::resuming();
    rig.text(HELLO);
    rig.pass(secs(5) - Duration::from_millis(1));
    assert_eq!(rig.take_without_beats(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.take_without_beats(), ["close 4900"]);
    assert!(matches!(rig.session.state, State::BackingOff { .. }));
}

#[test]
fn answers_to_a_replay_wait_for_resumed() {
    let mut rig = Rig::resuming();
    rig.text(HELLO);
    let answer = UnknownMessage { opcode: Opcode::DaveTransitionReady, data: r#"{"transition_id":1}"#.to_owned() };
    rig.session.send(rig.now, ClientMessage::Unknown(answer)).unwrap();
    rig.session.send_binary(Opcode::MlsKeyPackage, &[1, 2]).unwrap();
    rig.drain();
    assert_eq!(rig.take(), [""; 0]);
    rig.text(RESUMED);
    assert_eq!(rig.take(), ["resumed", r#"{"op":23,"d":{"transition_id":1}}"#, "binary [26, 1, 2]"]);
    rig.session.send_binary(Opcode::MlsCommitWelcome, &[3]).unwrap();
    rig.drain();
    assert_eq!(rig.take(), ["binary [28, 3]"]);
}

#[test]
fn messages_kept_while_resuming_are_limited() {
    let mut rig = Rig::reopening();
    for _ in 0..64 {
        rig.session.send_binary(Opcode::MlsKeyPackage, &[0; 100]).unwrap();
    }
    assert_eq!(rig.session.send_binary(Opcode::MlsKeyPackage, &[0]), Err(SendError::NotReady));

    let mut rig = Rig::reopening();
    rig.session.send_binary(Opcode::MlsKeyPackage, &vec![0; MAX_SENT_LEN - 1]).unwrap();
    assert_eq!(rig.session.send_binary(Opcode::MlsKeyPackage, &[]), Err(SendError::NotReady));
    rig.input(Input::Connected);
    rig.text(RESUMED);
    assert_eq!(rig.session.held_len, 0);
}

#[test]
fn speaking_is_repeated_after_resumed_and_limited_in_rate() {
    let speaking = |flags: u8| format!(r#"{{"op":5,"d":{{"speaking":{flags},"delay":0,"ssrc":7}}}}"#);
    let mut rig = Rig::established();
    rig.speak(SpeakingFlags::NONE).unwrap();
    rig.speak(SpeakingFlags::MICROPHONE).unwrap();
    assert_eq!(rig.take(), [speaking(0), speaking(1)]);
    rig.input(Input::Disconnected(None));
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.take();
    // Wishes during the outage: only the newest counts.
    rig.speak(SpeakingFlags::NONE).unwrap();
    rig.speak(SpeakingFlags::MICROPHONE | SpeakingFlags::PRIORITY).unwrap();
    assert_eq!(rig.take(), [""; 0]);
    rig.text(RESUMED);
    assert_eq!(rig.take(), ["resumed".to_owned(), speaking(5)]);
    // The allowance is used up: the next one waits, and is sent without being asked for again.
    rig.speak(SpeakingFlags::NONE).unwrap();
    assert_eq!(rig.take(), [""; 0]);
    rig.pass(Duration::from_millis(99));
    assert_eq!(rig.take_without_beats(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.take_without_beats(), [speaking(0)]);
    // Silence as well: the message may have been lost with the socket, and the server forwards nothing to a client
    // of which it never got one.
    rig.pass(Duration::from_secs(1));
    rig.input(Input::Disconnected(None));
    rig.step();
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.take();
    rig.text(RESUMED);
    assert_eq!(rig.take(), ["resumed".to_owned(), speaking(0)]);
}

#[test]
fn what_was_sent_is_confirmed_once_even_over_a_lost_socket() {
    let mut rig = Rig::established();
    rig.speak(SpeakingFlags::NONE).unwrap();
    rig.session.confirm(rig.now);
    rig.drain();
    let sent = rig.take();
    assert!(sent[0].starts_with(r#"{"op":5,"#) && sent[1].starts_with(r#"{"op":3,"#), "in this order: {sent:?}");
    // The acknowledgement is lost with the socket.
    rig.input(Input::Disconnected(None));
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.take();
    rig.text(RESUMED);
    let sent = rig.take();
    assert_eq!(sent[0], "resumed");
    assert!(sent[1].starts_with(r#"{"op":5,"#) && sent[2].starts_with(r#"{"op":3,"#), "in this order: {sent:?}");
    rig.text(&format!(r#"{{"op":6,"d":{{"t":{}}}}}"#, nonce(&sent[2])));
    assert_eq!(rig.take(), ["confirmed"]);
    rig.text(&format!(r#"{{"op":6,"d":{{"t":{}}}}}"#, nonce(&sent[2])));
    assert_eq!(rig.take(), [""; 0]);
}

#[test]
fn a_server_that_confirms_nothing_in_time_is_left_and_asked_again() {
    let mut rig = Rig::established();
    rig.session.confirm(rig.now);
    rig.drain();
    rig.take();
    rig.now += Duration::from_secs(5);
    rig.input(Input::Timeout);
    let interrupted = format!("interrupted {:?}", Cause::TimedOut(Waiting::Confirmation));
    assert!(rig.take().contains(&interrupted));
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.take();
    rig.text(RESUMED);
    let sent = rig.take();
    assert!(sent.iter().any(|text| text.starts_with(r#"{"op":3,"#)), "{sent:?}");
}

#[test]
fn speaking_follows_a_new_ssrc() {
    let mut rig = Rig::established();
    rig.speak(SpeakingFlags::MICROPHONE).unwrap();
    rig.input(Input::Disconnected(Some(CloseCode::NOT_AUTHENTICATED)));
    rig.take();
    rig.establish_again(99);
    assert_eq!(rig.take().last().unwrap(), r#"{"op":5,"d":{"speaking":1,"delay":0,"ssrc":99}}"#);
}

#[test]
fn five_failures_to_resume_advise_a_new_join() {
    for seed in 0..50 {
        let mut rig = Rig::with(SessionConfig::default(), seed);
        rig.establish();
        rig.input(Input::Disconnected(None));
        assert_eq!(rig.take(), ["interrupted ConnectionLost", "connect"], "the first attempt is made at once");
        for attempt in 0..4u32 {
            rig.input(Input::Disconnected(None));
            let step = 500 << attempt;
            let pause = rig.step().as_millis();
            assert!((step / 2..=step).contains(&pause), "attempt {attempt}: {pause} ms");
            assert_eq!(rig.take(), ["connect"]);
        }
        rig.input(Input::Disconnected(None));
        assert_eq!(rig.take(), [end_of(Advice::Rejoin, Cause::ConnectionLost)]);
    }
}

#[test]
fn resuming_ends_after_thirty_seconds() {
    let mut rig = Rig::reopening();
    let begin = rig.now;
    while rig.session.state != State::Ended {
        rig.step();
    }
    assert_eq!(rig.now - begin, secs(30));
    let outputs = rig.take();
    assert_eq!(outputs.last().unwrap(), &end_of(Advice::Rejoin, Cause::TimedOut(Waiting::Connection)));
    assert_eq!(outputs.iter().filter(|text| *text == "connect").count(), 2, "{outputs:?}");
}

#[test]
fn a_resume_ends_the_outage_but_only_a_minute_of_calm_resets_the_backoff() {
    let mut rig = Rig::established();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        rig.input(Input::Disconnected(None));
        if let State::BackingOff { until } = rig.session.state {
            pauses.push((until - rig.now).as_millis());
            rig.step();
        }
        rig.input(Input::Connected);
        rig.text(HELLO);
        rig.text(RESUMED);
        assert_eq!(rig.session.state, State::Established);
    }
    assert_eq!(pauses.len(), 11, "only the first is made at once");
    assert!(pauses[10] >= 7_500 && pauses.iter().all(|pause| *pause <= 15_000), "{pauses:?}");
    rig.pass(secs(60));
    rig.take();
    rig.input(Input::Disconnected(None));
    assert_eq!(rig.take(), ["interrupted ConnectionLost", "connect"]);
}

// Close codes.

#[test]
fn close_codes_of_a_running_session_follow_the_policy() {
    for code in CloseCode::NAMED.iter().copied().chain([4000, 4008, 4999, 3000, 1011].map(CloseCode::new)) {
        let mut rig = Rig::established();
        rig.input(Input::Disconnected(Some(code)));
        let cause = Cause::Closed(code);
        let interrupted = format!("interrupted {cause:?}");
        match code.policy().action {
            CloseAction::Resume => {
                assert_eq!(rig.take(), [interrupted.as_str(), "connect"]);
                rig.input(Input::Connected);
                assert!(rig.take()[0].starts_with(r#"{"op":7,"#), "{code}");
            }
            CloseAction::Identify => {
                assert_eq!(rig.take(), [interrupted.as_str(), "connect"]);
                rig.input(Input::Connected);
                assert!(rig.take()[0].starts_with(r#"{"op":0,"#), "{code}");
            }
            CloseAction::Rejoin => assert_eq!(rig.take(), [end_of(Advice::Rejoin, cause)]),
            CloseAction::Wait => assert_eq!(rig.take(), [end_of(Advice::Wait, cause)]),
            CloseAction::Stop => assert_eq!(rig.take(), [end_of(Advice::Stop, cause)]),
        }
    }
}

#[test]
fn close_codes_during_the_handshake_follow_the_policy() {
    for code in CloseCode::NAMED.iter().copied().chain([4000, 4008, 4999, 1011].map(CloseCode::new)) {
        let mut rig = Rig::new();
        rig.input(Input::Connected);
        rig.text(HELLO);
        rig.take();
        rig.input(Input::Disconnected(Some(code)));
        let cause = Cause::Closed(code);
        match code.handshake_policy().action {
            CloseAction::Resume => panic!("there is nothing to resume"),
            CloseAction::Identify => {
                assert_eq!(rig.take(), [""; 0]);
                rig.step();
                rig.input(Input::Connected);
                let outputs = rig.take();
                assert_eq!(outputs[0], "connect");
                assert!(outputs[1].starts_with(r#"{"op":0,"#), "{code}");
            }
            CloseAction::Rejoin => assert_eq!(rig.take(), [end_of(Advice::Rejoin, cause)]),
            CloseAction::Wait => assert_eq!(rig.take(), [end_of(Advice::Wait, cause)]),
            CloseAction::Stop => assert_eq!(rig.take(), [end_of(Advice::Stop, cause)]),
        }
    }
}

#[test]
fn refused_resume_advises_a_new_join() {
    let mut rig = Rig::resuming();
    rig.text(HELLO);
    rig.take();
    rig.input(Input::Disconnected(Some(CloseCode::SESSION_NO_LONGER_VALID)));
    assert_eq!(rig.take(), [end_of(Advice::Rejoin, Cause::Closed(CloseCode::SESSION_NO_LONGER_VALID))]);
}

#[test]
fn limits_of_codes_count_until_the_session_ran_well() {
    let lose = |rig: &mut Rig, code| {
        rig.input(Input::Disconnected(Some(code)));
        while let State::BackingOff { .. } = rig.session.state {
            rig.step();
        }
        rig.input(Input::Connected);
        rig.text(HELLO);
        rig.text(RESUMED);
    };
    let mut rig = Rig::established();
    lose(&mut rig, CloseCode::SESSION_TIMEOUT);
    rig.pass(secs(60));
    lose(&mut rig, CloseCode::SESSION_TIMEOUT);
    assert_eq!(rig.session.state, State::Established, "the first is forgotten");
    lose(&mut rig, CloseCode::SESSION_TIMEOUT);
    assert_eq!(rig.take().last().unwrap(), &end_of(Advice::Rejoin, Cause::Closed(CloseCode::SESSION_TIMEOUT)));

    let mut rig = Rig::established();
    rig.input(Input::Disconnected(Some(CloseCode::NOT_AUTHENTICATED)));
    rig.establish_again(7);
    rig.input(Input::Disconnected(Some(CloseCode::NOT_AUTHENTICATED)));
    assert_eq!(rig.take().last().unwrap(), &end_of(Advice::Rejoin, Cause::Closed(CloseCode::NOT_AUTHENTICATED)));
}

#[test]
fn identifying_again_has_attempts_and_time_of_its_own() {
    let mut rig = Rig::established();
    rig.pass(secs(3_600));
    rig.take();
    rig.input(Input::Disconnected(Some(CloseCode::NOT_AUTHENTICATED)));
    let begin = rig.now;
    while rig.session.state != State::Ended {
        rig.step();
    }
    assert_eq!(rig.now - begin, secs(20));
}

// Bad input.

#[test]
fn more_than_twenty_malformed_messages_in_ten_seconds_end_the_session() {
    let mut rig = Rig::established();
    for index in 0..20 {
        rig.text(["", "[]", "{", "{}", r#"{"op":5,"d":{}}"#][index % 5]);
    }
    assert_eq!(rig.take(), [""; 0]);
    rig.pass(Duration::from_millis(10_001));
    for _ in 0..20 {
        rig.input(Input::Binary(&[0, 1]));
    }
    assert_eq!(rig.take_without_beats(), [""; 0], "the first twenty are forgotten");
    rig.input(Input::Binary(&[]));
    let ended = end_of(Advice::Rejoin, Cause::Protocol(ProtocolViolation::TooManyMalformed));
    assert_eq!(rig.take_without_beats(), ["close 1002".to_owned(), ended]);
    assert_eq!(rig.session.stats().messages_malformed, 41);
}

#[test]
fn unknown_opcodes_are_not_malformed() {
    let mut rig = Rig::established();
    for opcode in 40..140 {
        rig.text(&format!(r#"{{"op":{opcode},"d":{{"x":[1]}}}}"#));
    }
    assert_eq!((rig.session.stats().messages_unknown, rig.session.stats().messages_malformed), (100, 0));
}

#[test]
fn oversized_messages_close_the_socket_and_resume_but_not_for_ever() {
    let long = format!(r#"{{"op":18,"d":"{}"}}"#, "x".repeat(1 << 20));
    let mut rig = Rig::established();
    let interrupted = format!("interrupted {:?}", Cause::Protocol(ProtocolViolation::MessageTooBig));
    for attempt in 0..2 {
        if attempt == 0 {
            rig.text(&long)
        } else {
            rig.input(Input::Oversized)
        }
        assert_eq!(rig.take()[..2], ["close 1009", &interrupted]);
        while let State::BackingOff { .. } = rig.session.state {
            rig.step();
        }
        rig.input(Input::Connected);
        rig.text(HELLO);
        rig.text(RESUMED);
        rig.take();
    }
    rig.input(Input::Oversized);
    let ended = end_of(Advice::Rejoin, Cause::Protocol(ProtocolViolation::MessageTooBig));
    assert_eq!(rig.take(), ["close 1009".to_owned(), ended]);
    assert_eq!((rig.session.stats().messages_oversized, rig.session.stats().messages_malformed), (3, 0));
}

#[test]
fn inputs_of_a_socket_that_was_given_up_are_ignored() {
    let mut rig = Rig::established();
    // Fed before the driver heard of the new socket: they are the old one's.
    let session = &mut rig.session;
    session.handle_input(rig.now, Input::Oversized);
    session.handle_input(rig.now, Input::Text(&numbered(9)));
    session.handle_input(rig.now, Input::Binary(&[0, 9, 25]));
    session.handle_input(rig.now, Input::Oversized);
    session.handle_input(rig.now, Input::Disconnected(Some(CloseCode::DISCONNECTED)));
    rig.drain();
    let interrupted = format!("interrupted {:?}", Cause::Protocol(ProtocolViolation::MessageTooBig));
    assert_eq!(rig.take(), ["close 1009", &interrupted, "connect"]);
    assert_eq!(rig.session.sequence, None);
    rig.input(Input::Disconnected(None));
    assert!(matches!(rig.session.state, State::BackingOff { .. }), "this one is the new socket's");
    rig.input(Input::Text("x"));
    rig.input(Input::Connected);
    rig.input(Input::Disconnected(Some(CloseCode::DISCONNECTED)));
    assert!(matches!(rig.session.state, State::BackingOff { .. }));
}

// Sending.

#[test]
fn messages_are_refused_when_the_server_would_not_take_them() {
    let other = || ClientMessage::Unknown(UnknownMessage { opcode: Opcode::Video, data: "{}".to_owned() });
    let mut rig = Rig::new();
    assert_eq!(rig.session.send(rig.now, other()), Err(SendError::NotReady));
    assert_eq!(rig.select(), Err(SendError::NotReady));
    rig.input(Input::Connected);
    rig.text(HELLO);
    assert_eq!(rig.session.send(rig.now, other()), Err(SendError::NotReady));
    rig.text(READY);
    assert_eq!(rig.session.send(rig.now, other()), Ok(()));
    rig.select().unwrap();
    assert_eq!(rig.select(), Err(SendError::NotReady), "once per Ready");
    rig.text(&description(MODE));
    for opcode in [Opcode::Identify, Opcode::Resume, Opcode::Heartbeat, Opcode::SelectProtocol] {
        let message = ClientMessage::Unknown(UnknownMessage { opcode, data: "{}".to_owned() });
        assert_eq!(rig.session.send(rig.now, message), Err(SendError::Reserved));
    }
    assert_eq!(rig.session.send_binary(Opcode::Unknown(256), &[]), Err(SendError::Reserved));
    rig.session.close(CloseCode::NORMAL);
    assert_eq!(rig.session.send(rig.now, other()), Err(SendError::NotReady));
    assert_eq!(rig.session.send_binary(Opcode::MlsKeyPackage, &[]), Err(SendError::NotReady));
    assert_eq!(rig.speak(SpeakingFlags::MICROPHONE), Err(SendError::NotReady));
}

#[test]
fn longest_message_is_sent_and_a_longer_one_refused() {
    let mut rig = Rig::established();
    assert_eq!(rig.session.send_binary(Opcode::MlsKeyPackage, &vec![0; MAX_SENT_LEN - 1]), Ok(()));
    let len = MAX_SENT_LEN + 1;
    assert_eq!(rig.session.send_binary(Opcode::MlsKeyPackage, &vec![0; len - 1]), Err(SendError::TooLong { len }));
    let data = format!("\"{}\"", "x".repeat(MAX_SENT_LEN));
    let message = ClientMessage::Unknown(UnknownMessage { opcode: Opcode::Video, data });
    assert!(matches!(rig.session.send(rig.now, message), Err(SendError::TooLong { .. })));
}

// The end.

#[test]
fn closing_emits_what_it_must_in_every_state_and_nothing_afterwards() {
    type Case = (&'static str, bool, fn() -> Rig);
    let states: [Case; 8] = [
        ("opening", true, Rig::new),
        ("identifying", true, || {
            let mut rig = Rig::new();
            rig.input(Input::Connected);
            rig
        }),
        ("discovering", true, || {
            let mut rig = Rig::new();
            rig.input(Input::Connected);
            rig.text(READY);
            rig
        }),
        ("selecting", true, || {
            let mut rig = Rig::new();
            rig.input(Input::Connected);
            rig.text(READY);
            rig.select().unwrap();
            rig
        }),
        ("established", true, Rig::established),
        ("backing off", false, || {
            let mut rig = Rig::new();
            rig.drain();
            rig.input(Input::Disconnected(None));
            rig
        }),
        ("opening again", true, Rig::reopening),
        ("resuming", true, Rig::resuming),
    ];
    for (name, has_socket, make) in states {
        let mut rig = make();
        rig.drain();
        rig.take();
        rig.session.close(CloseCode::NORMAL);
        rig.session.close(CloseCode::NORMAL);
        rig.drain();
        let ended = end_of(Advice::Stop, Cause::Left);
        let expected = if has_socket { vec!["close 1000".to_owned(), ended] } else { vec![ended] };
        assert_eq!(rig.take(), expected, "{name}");
        for input in [
            Input::Connected,
            Input::Text(HELLO),
            Input::Binary(&[0, 0, 25]),
            Input::Oversized,
            Input::Disconnected(None),
            Input::Timeout,
        ] {
            rig.now += secs(60);
            rig.input(input);
        }
        assert_eq!(rig.take(), [""; 0], "{name}");
        assert!(matches!(rig.session.poll_output(), Output::Timeout(None)), "{name}");
    }
}

#[test]
fn inputs_do_not_print_what_they_contain() {
    check_debug(&format!("{:?}", Input::Text(&description(MODE))));
    check_debug(&format!("{:?}", SessionEvent::Binary { opcode: Opcode::MlsWelcome, payload: vec![201, 202] }));
    assert_eq!(format!("{:?}", Input::Binary(&[201, 202])), "Binary([2 bytes])");
}

#[test]
fn configured_durations_may_mean_never() {
    let mut config = SessionConfig::default();
    for duration in [
        &mut config.connect_timeout,
        &mut config.message_timeout,
        &mut config.handshake_timeout,
        &mut config.resume_window,
        &mut config.stable_after,
        &mut config.backoff_step,
        &mut config.backoff_cap,
    ] {
        *duration = Duration::MAX;
    }
    let mut rig = Rig::with(config, 7);
    rig.establish();
    rig.pass(secs(100_000));
    rig.take();
    rig.input(Input::Disconnected(None));
    assert_eq!(rig.take(), ["interrupted ConnectionLost", "connect"]);
    // The second attempt would never be made.
    rig.input(Input::Disconnected(None));
    assert_eq!(rig.take(), [end_of(Advice::Rejoin, Cause::ConnectionLost)]);
}
