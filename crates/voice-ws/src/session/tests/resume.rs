//! What a resume replays, repeats and gives up.

use super::*;

#[test]
fn w4_resume_acknowledges_the_last_number_text_or_binary() {
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
fn w4_counter_wraps_across_text_and_binary_without_a_gap() {
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
fn w5_replay_is_passed_on_in_order_before_and_after_resumed() {
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
fn w17_messages_kept_while_resuming_are_limited() {
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
fn w13_speaking_is_repeated_after_resumed_and_limited_in_rate() {
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
        rig.pass(secs(11));
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

/// Lets the session open its next socket, which the server takes as one that goes on. False when the session is over.
fn accept_resume(rig: &mut Rig) -> bool {
    while !rig.take().iter().any(|text| text == "connect") {
        if rig.session.state == State::Ended {
            return false;
        }
        rig.step();
    }
    rig.input(Input::Connected);
    rig.text(HELLO);
    rig.text(RESUMED);
    assert_eq!(rig.session.state, State::Established);
    true
}

#[test]
fn resumes_that_bring_nothing_are_given_up_after_a_few() {
    let mut rig = Rig::established();
    rig.input(Input::Disconnected(None));
    let mut accepted = 0;
    while accept_resume(&mut rig) {
        accepted += 1;
        rig.now += secs(1);
        rig.input(Input::Timeout);
        rig.input(Input::Disconnected(None));
        if rig.session.state == State::Ended {
            break;
        }
    }
    assert_eq!(accepted, 5);
    assert_eq!(rig.take().pop(), Some(end_of(Advice::Rejoin, Cause::FruitlessResumes)));
}

#[test]
fn a_server_that_acknowledges_nothing_is_not_resumed_for_ever() {
    let mut rig = Rig::established();
    rig.input(Input::Disconnected(None));
    let (start, mut accepted) = (rig.now, 0);
    while accept_resume(&mut rig) {
        accepted += 1;
        while rig.session.state == State::Established {
            rig.step();
            // It speaks, but not of heartbeats.
            rig.text(r#"{"op":9999,"d":7}"#);
        }
        if rig.session.state == State::Ended {
            break;
        }
    }
    assert_eq!(accepted, 5);
    assert_eq!(rig.take().pop(), Some(end_of(Advice::Rejoin, Cause::FruitlessResumes)));
    assert!(rig.now - start < secs(200), "two beats without an answer each time");
}

#[test]
fn a_resumed_session_that_ran_for_a_while_has_all_its_attempts_again() {
    let mut rig = Rig::established();
    rig.input(Input::Disconnected(None));
    for round in 0..20 {
        assert!(accept_resume(&mut rig), "round {round}");
        // Every other one brings nothing.
        if round % 2 == 0 {
            rig.take();
            rig.pass(secs(20));
            assert_eq!(rig.take_without_beats(), ["recovered"], "once");
        }
        rig.input(Input::Disconnected(None));
    }
    assert_ne!(rig.session.state, State::Ended);
}

#[test]
fn an_answer_alone_is_no_recovery_and_time_alone_is_none() {
    let mut rig = Rig::resuming();
    rig.text(HELLO);
    rig.text(RESUMED);
    rig.session.confirm(rig.now);
    rig.drain();
    rig.acknowledge();
    rig.pass(secs(10) - Duration::from_millis(1));
    assert_eq!(rig.take_without_beats(), ["resumed", "confirmed"]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.take_without_beats(), ["recovered"]);

    let mut rig = Rig::resuming();
    rig.text(HELLO);
    rig.text(RESUMED);
    while rig.session.state == State::Established {
        rig.step();
        rig.text(r#"{"op":9999,"d":7}"#);
    }
    assert!(!rig.take().contains(&"recovered".to_owned()));
}
