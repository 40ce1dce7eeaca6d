//! The session against whatever a server and a network can do.

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};
use voice_model::{ClientSpeaking, SelectProtocol, SpeakingFlags};

use super::{
    tests::{identity, start},
    *,
};
use crate::SessionEvent;

#[derive(Clone, Debug)]
enum Step {
    Connected,
    Text(String),
    Binary(Vec<u8>),
    Oversized,
    Disconnected(Option<u16>),
    /// Time passes, and the session is woken at each instant it asks for, or only at the end.
    Pass(u64, bool),
    Select,
    Speak(u8),
    SendBinary(u8),
    /// Acknowledges the last heartbeat.
    Acknowledge,
    Close,
}

fn texts() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(None), any::<u16>().prop_map(Some)];
    let known = prop_oneof![
        Just(r#""op":8,"d":{"heartbeat_interval":1000}"#),
        Just(r#""op":8,"d":{"heartbeat_interval":13750.5}"#),
        Just(r#""op":8,"d":{}"#),
        Just(r#""op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":2,"modes":["m"]}"#),
        Just(r#""op":2,"d":{"ssrc":1,"ip":"x","port":2,"modes":["m"]}"#),
        Just(
            r#""op":4,"d":{"mode":"m","secret_key":[1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8]}"#
        ),
        Just(r#""op":4,"d":{"mode":"other"}"#),
        Just(r#""op":9,"d":null"#),
        Just(r#""op":3,"d":null"#),
        Just(r#""op":6,"d":{"t":1}"#),
    ];
    prop_oneof![
        6 => (known, number.clone()).prop_map(|(body, number)| match number {
            Some(number) => format!(r#"{{{body},"seq":{number}}}"#),
            None => format!("{{{body}}}"),
        }),
        2 => (0u64..40, number).prop_map(|(opcode, number)| {
            format!(r#"{{"op":{opcode},"d":{{"user_id":"1"}},"seq":{}}}"#, number.unwrap_or(0))
        }),
        1 => "\\PC{0,40}",
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let code = prop_oneof![4000u16..4023, 1000u16..1015, any::<u16>()];
    prop_oneof![
        8 => Just(Step::Connected),
        20 => texts().prop_map(Step::Text),
        3 => vec(any::<u8>(), 0..8).prop_map(Step::Binary),
        1 => Just(Step::Oversized),
        3 => proptest::option::of(code).prop_map(Step::Disconnected),
        8 => (0u64..15_000, any::<bool>()).prop_map(|(ms, punctual)| Step::Pass(ms, punctual)),
        6 => Just(Step::Select),
        2 => (0u8..8).prop_map(Step::Speak),
        2 => any::<u8>().prop_map(Step::SendBinary),
        6 => Just(Step::Acknowledge),
        1 => Just(Step::Close),
    ]
}

/// Drives a session and checks what must hold after every input.
struct Checked {
    session: Session,
    now: Instant,
    ended: bool,
    last_nonce: Option<u64>,
    /// The driver has a socket, open or opening.
    has_socket: bool,
}

impl Checked {
    fn input(&mut self, input: Input<'_>) {
        self.session.handle_input(self.now, input);
        self.drain(16);
    }

    /// At most `limit` outputs, more only where messages were kept for Resumed.
    fn drain(&mut self, limit: usize) {
        let limit = limit + MAX_HELD;
        for count in 0.. {
            assert!(count <= limit, "outputs without end");
            match self.session.poll_output() {
                Output::Timeout(at) => {
                    assert_eq!(self.ended, at.is_none(), "exactly an ended session waits for nothing");
                    return;
                }
                output => {
                    assert!(!self.ended, "{output:?} after the end");
                    self.check(&output);
                }
            }
        }
    }

    fn check(&mut self, output: &Output) {
        match output {
            Output::Connect(_) => {
                self.has_socket = true;
            }
            Output::Close(_) => self.has_socket = false,
            Output::Text(text) => {
                assert!(self.has_socket, "{text} without a socket");
                if let ClientMessage::Heartbeat(beat) = ClientMessage::decode(text).expect("what is sent is valid") {
                    assert!(self.last_nonce.is_none_or(|last| last < beat.nonce), "nonces grow");
                    self.last_nonce = Some(beat.nonce);
                }
            }
            Output::Binary(_) => assert!(self.has_socket),
            Output::Event(SessionEvent::Ended(_)) => self.ended = true,
            Output::Event(_) | Output::Timeout(_) => {}
        }
    }

    fn pass(&mut self, duration: Duration, punctual: bool) {
        let end = self.now + duration;
        if punctual {
            let mut wakes = 0;
            while let Some(at) = self.session.deadline().filter(|at| *at <= end) {
                self.now = self.now.max(at);
                self.input(Input::Timeout);
                assert!(self.session.deadline().is_none_or(|next| next > self.now), "an instant is asked for twice");
                wakes += 1;
                // The shortest interval is a second, and speaking is limited to ten a second.
                assert!(wakes <= 200, "woken too often");
            }
        }
        self.now = end;
        self.input(Input::Timeout);
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Connected => self.input(Input::Connected),
            Step::Text(text) => self.input(Input::Text(&text)),
            Step::Binary(bytes) => self.input(Input::Binary(&bytes)),
            Step::Oversized => self.input(Input::Oversized),
            Step::Disconnected(code) => self.input(Input::Disconnected(code.map(CloseCode::new))),
            Step::Pass(ms, punctual) => self.pass(Duration::from_millis(ms), punctual),
            Step::Select => {
                let select = ClientMessage::SelectProtocol(SelectProtocol::udp("127.0.0.1", 9, "m"));
                let _ = self.session.send(self.now, select);
            }
            Step::Speak(bits) => {
                let speaking = SpeakingFlags::from_bits(bits);
                let message = ClientMessage::Speaking(ClientSpeaking { speaking, delay: 0, ssrc: 1 });
                assert_eq!(self.session.send(self.now, message).is_err(), self.ended);
            }
            Step::SendBinary(byte) => {
                let _ = self.session.send_binary(Opcode::MlsKeyPackage, &[byte]);
            }
            Step::Acknowledge => {
                let text = format!(r#"{{"op":6,"d":{{"t":{}}}}}"#, self.last_nonce.unwrap_or(0));
                self.input(Input::Text(&text));
            }
            Step::Close => self.session.close(CloseCode::NORMAL),
        }
        self.drain(16);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_session_stays_sane_and_ends_once(
        seed in any::<u64>(),
        steps in vec(steps(), 1..120),
        left_alone in any::<bool>(),
    ) {
        let now = start();
        let session = Session::new(now, Arc::new(SessionConfig::default()), identity(), seed);
        let mut checked = Checked {
            session, now, ended: false, last_nonce: None, has_socket: false,
        };
        for step in steps {
            checked.run(step);
        }
        if left_alone {
            // A network that went away: the session notices, tries, and ends.
            for _ in 0..40 {
                checked.pass(Duration::from_secs(3), true);
            }
        } else {
            checked.run(Step::Close);
        }
        prop_assert!(checked.ended);
    }

    #[test]
    fn a_server_that_accepts_resumes_and_brings_nothing_is_given_up(
        seed in any::<u64>(),
        interval_ms in 1_000u64..60_000,
        // For how long each lasts, and whether heartbeats are acknowledged in that time.
        rounds in vec(prop_oneof![(0u64..10_000, any::<bool>()), (0u64..200_000, Just(false))], 40),
    ) {
        let now = start();
        let session = Session::resume(now, Arc::new(SessionConfig::default()), identity(), None, seed);
        let mut checked = Checked { session, now, ended: false, last_nonce: None, has_socket: false };
        checked.drain(16);
        let hello = format!(r#"{{"op":8,"d":{{"heartbeat_interval":{interval_ms}}}}}"#);
        let mut resumes = 0;
        for (ms, is_answered) in rounds {
            if checked.ended {
                break;
            }
            while !matches!(checked.session.state, State::Opening { .. }) {
                checked.now = checked.session.deadline().expect("it tries again");
                checked.input(Input::Timeout);
            }
            checked.input(Input::Connected);
            checked.input(Input::Text(&hello));
            checked.input(Input::Text(r#"{"op":9,"d":null}"#));
            resumes += 1;
            let end = checked.now + Duration::from_millis(ms);
            while let Some(at) = checked.session.deadline().filter(|at| *at < end)
                && checked.session.state == State::Established
            {
                checked.now = checked.now.max(at);
                checked.input(Input::Timeout);
                if is_answered {
                    checked.run(Step::Acknowledge);
                }
            }
            if checked.session.state == State::Established {
                checked.input(Input::Disconnected(None));
            }
        }
        prop_assert!(checked.ended && resumes == 5, "{} resumes", resumes);
    }

    #[test]
    fn beats_of_an_answered_session_are_never_further_apart_than_the_interval(
        seed in any::<u64>(),
        interval_ms in 1_000u64..60_000,
        hellos in vec(0u64..5_000, 0..20),
    ) {
        let now = start();
        let mut session = Session::new(now, Arc::new(SessionConfig::default()), identity(), seed);
        let hello = format!(r#"{{"op":8,"d":{{"heartbeat_interval":{interval_ms}}}}}"#);
        while !matches!(session.poll_output(), Output::Timeout(_)) {}
        session.handle_input(now, Input::Connected);
        for text in [hello.as_str(), r#"{"op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":2,"modes":["m"]}}"#] {
            session.handle_input(now, Input::Text(text));
        }
        session.send(now, ClientMessage::SelectProtocol(SelectProtocol::udp("127.0.0.1", 9, "m"))).unwrap();
        let key = vec!["0"; 32].join(",");
        let description = format!(r#"{{"op":4,"d":{{"mode":"m","secret_key":[{key}]}}}}"#);
        session.handle_input(now, Input::Text(&description));
        let mut hello_at: Vec<Instant> = hellos
            .iter()
            .scan(now, |at, ms| { *at += Duration::from_millis(*ms); Some(*at) })
            .collect();
        hello_at.reverse();
        let (mut clock, mut last_beat, mut beats) = (now, now, 0);
        while beats < 10 {
            while let output = session.poll_output()
                && !matches!(output, Output::Timeout(_))
            {
                if let Output::Text(text) = output
                    && let Ok(ClientMessage::Heartbeat(beat)) = ClientMessage::decode(&text)
                {
                    prop_assert!(clock - last_beat <= Duration::from_millis(interval_ms));
                    (last_beat, beats) = (clock, beats + 1);
                    let ack = format!(r#"{{"op":6,"d":{{"t":{}}}}}"#, beat.nonce);
                    session.handle_input(clock, Input::Text(&ack));
                }
            }
            let next = session.deadline().expect("a running session beats");
            match hello_at.pop_if(|at| *at < next) {
                Some(at) => {
                    clock = clock.max(at);
                    session.handle_input(clock, Input::Text(&hello));
                }
                None => {
                    clock = next;
                    session.handle_input(clock, Input::Timeout);
                }
            }
        }
        prop_assert_eq!(session.state, State::Established);
    }
}
