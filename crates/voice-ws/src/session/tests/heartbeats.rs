//! Heartbeats, latency and dead sockets.

use super::*;

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
fn w3_two_unanswered_beats_are_a_dead_socket_though_messages_arrive() {
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
fn w3_silence_is_a_dead_socket_and_is_closed_without_ending_the_session() {
    let mut rig = Rig::established();
    let last_heard = rig.now;
    while rig.session.state == State::Established {
        rig.step();
    }
    assert!(rig.now - last_heard <= secs(20), "an interval and 10 s");
    assert_eq!(rig.take_without_beats(), ["close 4900", "interrupted Zombie", "connect"]);
}

// Resuming.
