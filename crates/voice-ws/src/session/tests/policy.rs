//! What each close code leads to.

use super::*;

#[test]
fn w9_close_codes_of_a_running_session_follow_the_policy() {
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
