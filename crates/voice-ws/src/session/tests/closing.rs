//! The end, and what is printed of it.

use super::*;

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
