//! A lost WebSocket, and what a Resume brings back.

mod common;

use std::time::Duration;

use common::world::{ALICE, BOB, CAROL, World, resume};
use serde_json::{Value, json};
use voice_model::Opcode;
use voice_server::{Command, CoreConfig, Event, FaultKind};

fn speaking(ssrc: u32, flags: u8) -> Value {
    json!({ "op": 5, "d": { "speaking": flags, "delay": 0, "ssrc": ssrc } })
}

#[test]
fn numbers_start_at_zero_and_only_some_opcodes_have_them() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (alice, _) = world.identified(&ticket);
    assert_eq!(world.numbered(alice), [(15, Some(0))]);
    let ticket = world.ticket(BOB);
    let (bob, bob_ssrc) = world.identified(&ticket);
    assert_eq!(world.numbered(bob), [(11, Some(0)), (18, Some(1)), (20, Some(2)), (15, Some(3))]);
    assert_eq!(world.numbered(alice), [(11, Some(1)), (18, Some(2)), (20, Some(3))]);
    world.send(bob, speaking(bob_ssrc, 1));
    world.send(alice, json!({ "op": 3, "d": { "t": 1 } }));
    world.lose(bob, Some(1000));
    assert_eq!(world.numbered(alice), [(5, Some(4)), (6, None), (13, Some(5))]);
}

#[test]
fn a_resume_brings_exactly_what_was_missed() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (first, ssrc) = world.identified(&ticket);
    let bob_ticket = world.ticket(BOB);
    let (bob, bob_ssrc) = world.identified(&bob_ticket);
    let seen = world.texts(first);
    assert_eq!(seen.len(), 4, "numbers 0 to 3");
    world.lose(first, None);
    assert!(world.events.iter().any(|e| matches!(e, Event::Interrupted { user, .. } if *user == ALICE)));
    world.send(bob, speaking(bob_ssrc, 1));

    // The client got number 2 and not number 3.
    let second = world.open("/?v=8");
    world.send(second, resume(&ticket, 2));
    let texts = world.texts(second);
    assert_eq!(texts[1], r#"{"op":9,"d":null}"#);
    assert_eq!(texts[2], seen[3], "word for word");
    let told: Value = serde_json::from_str(&texts[3]).unwrap();
    assert_eq!(told["seq"], 4);
    assert_eq!(told["d"], json!({ "speaking": 1, "ssrc": bob_ssrc, "user_id": BOB.to_string() }));
    assert_eq!(texts.len(), 4);
    assert!(world.ops(bob).iter().all(|op| *op != 13), "nobody was told that she left");

    // The SSRC is still hers, and the session goes on counting.
    world.send(second, speaking(ssrc, 1));
    assert_eq!(world.closed(second), None);
    world.lose(bob, Some(1000));
    assert_eq!(world.numbered(second), [(13, Some(5))]);
    assert_eq!((world.core.stats().resumes, world.core.stats().sessions), (1, 1));
}

#[test]
fn the_number_wraps_from_65535_to_zero_across_a_resume() {
    let config = CoreConfig { first_ssrc: Some(100), forward_every_speaking: true, ..CoreConfig::default() };
    let mut world = World::with(config);
    world.core.handle_command(world.now, Command::SetJoinAnswer(Default::default()));
    let ticket = world.ticket(ALICE);
    let (alice, _) = world.identified(&ticket);
    let message = FaultKind::SendNumberedText { opcode: Opcode::ClientFlags, data: "null".to_owned() };
    let mut sent = 1_u32; // op 15
    while sent < 65_535 {
        world.fault(ALICE, message.clone());
        sent += 1;
    }
    assert_eq!(world.numbered(alice).last(), Some(&(18, Some(65_534))));
    world.lose(alice, None);
    world.fault(ALICE, message);
    world.fault(ALICE, FaultKind::SendNumberedBinary { opcode: Opcode::MlsProposals, payload: vec![7, 8] });
    let bob = world.ticket(BOB);
    world.identified(&bob);

    let again = world.open("/?v=8");
    world.send(again, resume(&ticket, 65_534));
    assert_eq!(
        world.numbered(again),
        [(8, None), (9, None), (18, Some(65_535)), (11, Some(1)), (18, Some(2)), (20, Some(3))]
    );
    assert_eq!(world.binaries(again), [[0, 0, 27, 7, 8]], "text and binary share one counter");

    world.lose(again, None);
    let last = world.open("/?v=8");
    world.send(last, resume(&ticket, 0));
    assert_eq!(world.numbered(last), [(8, None), (9, None), (11, Some(1)), (18, Some(2)), (20, Some(3))]);
}

#[test]
fn a_resume_without_a_number_brings_everything() {
    for seq_ack in [None, Some(-1)] {
        let mut world = World::new();
        let ticket = world.ticket(ALICE);
        let (first, _) = world.identified(&ticket);
        world.lose(first, None);
        let second = world.open("/?v=8");
        world.send(second, resume(&ticket, seq_ack));
        assert_eq!(world.numbered(second), [(8, None), (9, None), (15, Some(0))]);
    }
}

#[test]
fn the_replay_may_come_before_resumed() {
    let mut world = World::with(CoreConfig { replay_before_resumed: true, ..CoreConfig::default() });
    let ticket = world.ticket(ALICE);
    let (first, _) = world.identified(&ticket);
    world.lose(first, None);
    let second = world.open("/?v=8");
    world.send(second, resume(&ticket, -1));
    assert_eq!(world.ops(second), [8, 15, 9]);
}

#[test]
fn a_number_older_than_the_buffer_is_4006_and_the_session_lives_on() {
    let mut world = World::with(CoreConfig { replay_len: 2, ..CoreConfig::default() });
    let ticket = world.ticket(ALICE);
    let (first, _) = world.identified(&ticket);
    let bob = world.ticket(BOB);
    world.identified(&bob);
    world.lose(first, None);
    for (seq_ack, code) in [(0, Some(4006)), (99, Some(4006)), (1, None)] {
        let connection = world.open("/?v=8");
        world.send(connection, resume(&ticket, seq_ack));
        assert_eq!(world.closed(connection), code, "{seq_ack}");
    }
}

#[test]
fn a_session_is_kept_for_sixty_seconds() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (first, _) = world.identified(&ticket);
    let bob = world.join(BOB);
    world.messages(bob.connection);
    world.lose(first, Some(4900));
    // Bob has to live through it too.
    for _ in 0..5 {
        world.advance(Duration::from_secs(11));
        world.send(bob.connection, json!({ "op": 3, "d": { "t": 1 } }));
    }
    let second = world.open("/?v=8");
    world.send(second, resume(&ticket, 0));
    assert_eq!(world.closed(second), None);
    world.lose(second, None);
    for _ in 0..6 {
        assert!(!world.ops(bob.connection).contains(&13));
        world.advance(Duration::from_secs(10));
        world.send(bob.connection, json!({ "op": 3, "d": { "t": 1 } }));
    }
    assert!(world.ops(bob.connection).contains(&13));
    let third = world.open("/?v=8");
    world.send(third, resume(&ticket, 0));
    assert_eq!(world.closed(third), Some(4006));
}

#[test]
fn a_deliberate_close_ends_the_session_at_once() {
    for code in [1000, 1001] {
        let mut world = World::new();
        let ticket = world.ticket(ALICE);
        let (first, _) = world.identified(&ticket);
        world.lose(first, Some(code));
        let stats = world.core.stats();
        assert_eq!((stats.sessions, stats.rooms, stats.connections), (0, 0, 0));
        let second = world.open("/?v=8");
        world.send(second, resume(&ticket, 0));
        assert_eq!(world.closed(second), Some(4006));
    }
}

#[test]
fn a_resume_takes_the_session_from_a_socket_the_server_still_thinks_open() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (first, _) = world.identified(&ticket);
    let second = world.open("/?v=8");
    world.send(second, resume(&ticket, 0));
    assert_eq!((world.closed(first), world.closed(second)), (Some(4009), None));
    world.lose(first, None);
    assert_eq!(world.core.stats().sessions, 1);
    world.send(second, resume(&ticket, 0));
    assert_eq!(world.closed(second), Some(4005));
}

#[test]
fn codes_after_which_clients_resume_leave_a_session_and_others_do_not() {
    for (code, resumable) in [(1000, true), (4009, true), (4015, true), (4006, false), (4014, false), (4022, false)] {
        let mut world = World::new();
        let ticket = world.ticket(CAROL);
        let (first, _) = world.identified(&ticket);
        world.command(Command::CloseVoice { user: CAROL, code: voice_model::CloseCode::new(code) });
        assert_eq!(world.closed(first), Some(code));
        let second = world.open("/?v=8");
        world.send(second, resume(&ticket, 0));
        assert_eq!(world.closed(second).is_none(), resumable, "{code}");
    }
}

#[test]
fn before_version_eight_nothing_is_numbered_or_replayed() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let first = world.open("/?v=4");
    world.send(first, common::world::identify(&ticket));
    assert_eq!(world.numbered(first), [(8, None), (2, None)]);
    let bob = world.ticket(BOB);
    world.identified(&bob);
    assert_eq!(world.numbered(first), [(11, None), (18, None), (20, None)]);
    world.fault(ALICE, FaultKind::SendNumberedBinary { opcode: Opcode::MlsProposals, payload: vec![7] });
    assert_eq!(world.binaries(first), [[27, 7]]);
    world.lose(first, None);
    let second = world.open("/?v=4");
    world.send(second, resume(&ticket, None));
    assert_eq!(world.numbered(second), [(8, None), (9, None)]);
}

#[test]
fn an_acknowledged_message_is_not_kept() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (first, _) = world.identified(&ticket);
    let bob = world.ticket(BOB);
    world.identified(&bob);
    world.send(first, json!({ "op": 3, "d": { "t": 1, "seq_ack": 1 } }));
    world.lose(first, None);
    let second = world.open("/?v=8");
    world.send(second, resume(&ticket, 0));
    assert_eq!(world.closed(second), Some(4006));
    let third = world.open("/?v=8");
    world.send(third, resume(&ticket, 1));
    assert_eq!(world.numbered(third), [(8, None), (9, None), (18, Some(2)), (20, Some(3))]);
}
