//! What a peer or an owner can make a session do at most.

use super::*;

#[test]
fn w17_more_than_twenty_malformed_messages_in_ten_seconds_end_the_session() {
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
fn w17_oversized_messages_close_the_socket_and_resume_but_not_for_ever() {
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
