//! From the first message to an established session.

use super::*;

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
fn w5_other_messages_during_the_handshake_are_passed_on_in_order() {
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
fn w10_first_attempt_is_made_at_once() {
    let now = start();
    let mut session = Session::new(now, Arc::new(SessionConfig::default()), identity(), 7);
    assert!(matches!(session.poll_output(), Output::Connect(endpoint) if endpoint == identity().endpoint));
    let Output::Timeout(Some(at)) = session.poll_output() else { panic!("a connection may not take for ever") };
    assert_eq!(at - now, secs(10));
}

#[test]
fn w1_each_step_of_the_handshake_has_its_deadline() {
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
fn w1_server_that_always_hangs_up_gets_three_attempts_with_growing_pauses() {
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
    pub(super) fn establish_again(&mut self, ssrc: u32) {
        self.input(Input::Connected);
        self.text(HELLO);
        self.text(&READY.replace("\"ssrc\":7", &format!("\"ssrc\":{ssrc}")));
        self.select().unwrap();
        self.text(&description(MODE));
        assert_eq!(self.session.state, State::Established);
    }
}

#[test]
fn w6_unusable_answers_end_the_handshake_at_once_and_say_why() {
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
