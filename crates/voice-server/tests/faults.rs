//! Every fault does what it says, and ends when it should.

mod common;

use std::time::Duration;

use common::world::{ALICE, BOB, Client, World, identify, resume, select};
use serde_json::json;
use voice_model::{CloseCode, Opcode};
use voice_rtp::{Packet, Ssrc, discovery};
use voice_server::{Command, Direction, Fault, FaultKind, Impairment, REORDER_HOLD};

fn two() -> (World, Client, Client) {
    let mut world = World::new();
    let alice = world.join(ALICE);
    let bob = world.join(BOB);
    world.messages(alice.connection);
    (world, alice, bob)
}

fn impair(direction: Direction, impairment: Impairment) -> FaultKind {
    FaultKind::Impair { direction, impairment }
}

/// The payloads a client hears.
fn payloads(world: &mut World, client: &Client) -> Vec<Vec<u8>> {
    let plain = client.open(&world.datagrams(client.address));
    plain.iter().map(|bytes| Packet::parse(bytes).unwrap().payload().to_vec()).collect()
}

#[test]
fn a_dropped_message_is_not_sent_but_keeps_its_number() {
    let (mut world, alice, bob) = two();
    world.fault(ALICE, FaultKind::DropOutgoing { opcode: Opcode::Speaking, count: 1 });
    world.send(bob.connection, bob.speaking(1));
    world.send(bob.connection, bob.speaking(5));
    let told = world.messages(alice.connection);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["d"]["speaking"], 5);
    let lost = told[0]["seq"].as_i64().unwrap() - 1;
    world.lose(alice.connection, None);
    let again = world.open("/?v=8");
    world.send(again, resume(&alice.ticket, lost - 1));
    let numbers: Vec<_> = world.numbered(again).into_iter().filter(|(op, _)| *op == 5).map(|(_, n)| n).collect();
    assert_eq!(numbers, [u64::try_from(lost).ok(), u64::try_from(lost + 1).ok()]);
}

#[test]
fn every_message_of_the_handshake_can_be_lost() {
    for (opcode, missing) in [(Opcode::Ready, 2), (Opcode::SessionDescription, 4), (Opcode::HeartbeatAck, 6)] {
        let mut world = World::new();
        world.fault(ALICE, FaultKind::DropOutgoing { opcode, count: 1 });
        let ticket = world.ticket(ALICE);
        let connection = world.open("/?v=8");
        world.send(connection, identify(&ticket));
        world.send(connection, select("127.0.0.1:5".parse().unwrap(), "aead_aes256_gcm_rtpsize"));
        world.send(connection, json!({ "op": 3, "d": { "t": 1 } }));
        let ops = world.ops(connection);
        for op in [2, 4, 6] {
            assert_eq!(ops.contains(&op), op != missing, "{opcode:?} {op}");
        }
    }
}

#[test]
fn an_incoming_message_is_ignored_or_closed_on_as_often_as_asked() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let opcode = Opcode::Identify;
    world.fault(ALICE, FaultKind::IgnoreIncoming { opcode, count: 1 });
    world.fault(ALICE, FaultKind::CloseOn { opcode, code: CloseCode::new(4006), count: 2 });
    let connection = world.open("/?v=8");
    world.send(connection, identify(&ticket));
    assert_eq!(world.ops(connection), [8]);
    for expected in [Some(4006), Some(4006), None] {
        let connection = world.open("/?v=8");
        world.send(connection, identify(&ticket));
        assert_eq!(world.closed(connection), expected);
    }
}

#[test]
fn a_reset_breaks_the_connection_and_leaves_the_session() {
    let (mut world, alice, _) = two();
    world.fault(ALICE, FaultKind::Reset);
    assert!(world.was_reset(alice.connection));
    let again = world.open("/?v=8");
    world.send(again, resume(&alice.ticket, -1));
    assert_eq!(world.closed(again), None);
}

#[test]
fn a_forgotten_session_cannot_be_resumed() {
    let (mut world, alice, bob) = two();
    world.messages(bob.connection);
    world.fault(ALICE, FaultKind::Forget);
    assert!(world.was_reset(alice.connection));
    assert_eq!(world.ops(bob.connection), [13]);
    let again = world.open("/?v=8");
    world.send(again, resume(&alice.ticket, -1));
    assert_eq!(world.closed(again), Some(4006));
}

#[test]
fn a_stalled_connection_is_open_and_dead_until_the_client_resumes() {
    let (mut world, alice, bob) = two();
    world.fault(ALICE, FaultKind::Stall);
    world.send(alice.connection, json!({ "op": 3, "d": { "t": 1 } }));
    world.raw(alice.connection, "nonsense");
    world.send(bob.connection, bob.speaking(1));
    world.advance(Duration::from_secs(20));
    assert!(world.messages(alice.connection).is_empty());
    assert_eq!(world.closed(alice.connection), None);
    let again = world.open("/?v=8");
    world.send(again, resume(&alice.ticket, 4));
    assert_eq!(world.ops(again), [8, 9, 5]);
}

#[test]
fn a_delayed_connection_keeps_the_order_of_its_messages() {
    let (mut world, alice, bob) = two();
    world.fault(ALICE, FaultKind::Delay(Duration::from_millis(100)));
    world.send(bob.connection, bob.speaking(1));
    world.send(alice.connection, json!({ "op": 3, "d": { "t": 1 } }));
    world.fault(ALICE, FaultKind::Delay(Duration::ZERO));
    world.send(alice.connection, json!({ "op": 16, "d": {} }));
    world.advance(Duration::from_millis(99));
    assert!(world.messages(alice.connection).is_empty());
    world.advance(Duration::from_millis(1));
    assert_eq!(world.ops(alice.connection), [5, 6, 16]);
    world.send(alice.connection, json!({ "op": 16, "d": {} }));
    assert_eq!(world.ops(alice.connection), [16]);
}

#[test]
fn a_connection_with_too_many_delayed_messages_is_dropped() {
    let mut config = voice_server::CoreConfig::default();
    config.limits.waiting_messages = 3;
    let mut world = World::with(config);
    let alice = world.join(ALICE);
    world.fault(ALICE, FaultKind::Delay(Duration::from_secs(1)));
    for _ in 0..3 {
        world.send(alice.connection, json!({ "op": 16, "d": {} }));
    }
    assert!(!world.was_reset(alice.connection));
    world.send(alice.connection, json!({ "op": 16, "d": {} }));
    assert!(world.was_reset(alice.connection));
    assert_eq!(world.core.stats().held_overflow, 1);
}

#[test]
fn anything_can_be_sent_as_it_is() {
    let (mut world, alice, _) = two();
    world.fault(ALICE, FaultKind::SendText("{".to_owned()));
    world.fault(ALICE, FaultKind::SendBinary(vec![1]));
    world.fault(ALICE, FaultKind::SendDatagram(vec![0x80; 12]));
    assert_eq!(world.texts(alice.connection), ["{"]);
    assert_eq!(world.binaries(alice.connection), [[1]]);
    assert_eq!(world.datagrams(alice.address), [[0x80; 12]]);
}

#[test]
fn a_packet_of_any_kind_can_be_sealed_for_a_client() {
    let (mut world, alice, _) = two();
    let mut plain = vec![0xA0, 105, 0, 1, 0, 0, 0, 2, 0, 0, 0, 99];
    plain.extend([1, 2, 0]);
    world.fault(ALICE, FaultKind::SendRtp(plain.clone()));
    let mut datagram = world.datagrams(alice.address).pop().unwrap();
    assert_eq!(alice.opener.open(&mut datagram, 12), Ok(15), "authentic, though its padding is impossible");
    assert_eq!(datagram[..15], plain);

    let report = [0x80, 200, 0, 6].into_iter().chain([7; 24]).collect::<Vec<_>>();
    world.fault(ALICE, FaultKind::SendRtcp(report.clone()));
    let mut datagram = world.datagrams(alice.address).pop().unwrap();
    assert_eq!(alice.opener.open_rtcp(&mut datagram), Ok(28));
    assert_eq!(datagram[..28], report);

    world.fault(ALICE, FaultKind::SendRtp(vec![0x80; 3]));
    world.fault(ALICE, FaultKind::SendRtcp(vec![0x80; 3]));
    assert!(world.datagrams(alice.address).is_empty());
}

#[test]
fn discovery_is_ignored_or_forged_as_often_as_asked() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (_, ssrc) = world.identified(&ticket);
    world.fault(ALICE, FaultKind::IgnoreDiscovery { count: 2 });
    world.fault(ALICE, FaultKind::ForgeDiscovery { count: 1 });
    let from = "127.0.0.1:5".parse().unwrap();
    let mut answers = Vec::new();
    for _ in 0..4 {
        world.discover(from, ssrc);
        answers.push(world.datagrams(from));
    }
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 2, 1]);
    let parse = |bytes: &[u8]| discovery::Response::parse(bytes, Ssrc::new(ssrc));
    assert!(parse(&answers[2][0]).is_err());
    assert_eq!(parse(&answers[2][1]).unwrap().port, 5);
}

#[test]
fn datagrams_are_lost_doubled_and_damaged_in_both_directions() {
    for direction in [Direction::FromClient, Direction::ToClient] {
        let (mut world, mut alice, bob) = two();
        let user = if direction == Direction::FromClient { ALICE } else { BOB };
        world.fault(user, impair(direction, Impairment { drop: 1.0, ..Impairment::default() }));
        world.frame(&mut alice, b"lost");
        assert!(world.datagrams(bob.address).is_empty());
        assert_eq!(world.core.stats().faults_dropped, 1);

        world.fault(user, impair(direction, Impairment { duplicate: 1.0, ..Impairment::default() }));
        world.frame(&mut alice, b"twice");
        world.advance(Duration::ZERO);
        assert_eq!(payloads(&mut world, &bob), [b"twice", b"twice"]);

        world.fault(user, impair(direction, Impairment { corrupt: 1.0, ..Impairment::default() }));
        world.frame(&mut alice, b"broken");
        for datagram in world.datagrams(bob.address) {
            assert!(bob.opener.open_rtp(&mut datagram.clone()).is_err());
        }

        world.fault(user, impair(direction, Impairment::default()));
        world.frame(&mut alice, b"whole");
        assert_eq!(payloads(&mut world, &bob), [b"whole"]);
    }
}

#[test]
fn datagrams_are_late_and_overtaken() {
    for direction in [Direction::FromClient, Direction::ToClient] {
        let (mut world, mut alice, bob) = two();
        let user = if direction == Direction::FromClient { ALICE } else { BOB };
        let late = Impairment { delay: Duration::from_millis(50), ..Impairment::default() };
        world.fault(user, impair(direction, late));
        world.frame(&mut alice, b"late");
        world.advance(Duration::from_millis(49));
        assert!(world.datagrams(bob.address).is_empty());
        world.advance(Duration::from_millis(1));
        assert_eq!(payloads(&mut world, &bob), [b"late"]);

        world.fault(user, impair(direction, Impairment { reorder: 1.0, ..Impairment::default() }));
        world.frame(&mut alice, b"first");
        world.fault(user, impair(direction, Impairment::default()));
        world.advance(Duration::from_millis(20));
        world.frame(&mut alice, b"second");
        world.advance(REORDER_HOLD);
        assert_eq!(payloads(&mut world, &bob), [&b"second"[..], b"first"]);
    }
}

#[test]
fn jitter_stays_between_its_bounds() {
    let (mut world, mut alice, bob) = two();
    let impairment =
        Impairment { delay: Duration::from_millis(10), jitter: Duration::from_millis(40), ..Impairment::default() };
    world.fault(BOB, impair(Direction::ToClient, impairment));
    let mut early = 0;
    for _ in 0..50 {
        world.frame(&mut alice, b"x");
        world.advance(Duration::from_millis(9));
        assert!(world.datagrams(bob.address).is_empty());
        world.advance(Duration::from_millis(21));
        early += world.datagrams(bob.address).len();
        world.advance(Duration::from_millis(20));
        world.datagrams(bob.address);
    }
    assert!((10..40).contains(&early), "{early}");
}

#[test]
fn packets_are_padded_extended_and_preceded_by_padding() {
    let (mut world, mut alice, bob) = two();
    let impairment = Impairment { pad: 1.0, padding_only: 1.0, extension: true, ..Impairment::default() };
    world.fault(BOB, impair(Direction::ToClient, impairment));
    for _ in 0..3 {
        world.frame(&mut alice, b"opus");
    }
    let plain = bob.open(&world.datagrams(bob.address));
    let packets: Vec<_> = plain.iter().map(|bytes| Packet::parse(bytes).unwrap()).collect();
    assert_eq!(packets.len(), 6);
    let first = packets[0].header().sequence;
    for (index, packet) in (0..).zip(&packets) {
        assert_eq!(packet.header().sequence, first.wrapping_add(index), "one numbering for all of them");
        assert!(packet.padding_len() > 0);
        let is_media = index % 2 == 1;
        assert_eq!(packet.payload(), if is_media { &b"opus"[..] } else { b"" });
        assert_eq!(packet.extension().is_some(), is_media);
    }
}

#[test]
fn held_datagrams_are_limited() {
    let mut config = voice_server::CoreConfig::default();
    config.limits.waiting_datagrams = 2;
    let mut world = World::with(config);
    let mut alice = world.join(ALICE);
    let bob = world.join(BOB);
    let late = Impairment { delay: Duration::from_secs(1), ..Impairment::default() };
    world.fault(BOB, impair(Direction::ToClient, late));
    for _ in 0..5 {
        world.frame(&mut alice, b"x");
    }
    world.advance(Duration::from_secs(1));
    assert_eq!(world.datagrams(bob.address).len(), 2);
    assert_eq!(world.core.stats().held_overflow, 3);
}

#[test]
fn clearing_ends_everything_that_lasts() {
    let (mut world, mut alice, bob) = two();
    world.fault(BOB, impair(Direction::ToClient, Impairment { drop: 1.0, ..Impairment::default() }));
    world.fault(BOB, FaultKind::DropOutgoing { opcode: Opcode::HeartbeatAck, count: 9 });
    world.fault(BOB, FaultKind::Delay(Duration::from_secs(9)));
    world.command(Command::Inject(Fault::all(FaultKind::Clear)));
    world.messages(bob.connection);
    world.frame(&mut alice, b"x");
    world.send(bob.connection, json!({ "op": 3, "d": { "t": 1 } }));
    assert_eq!((world.datagrams(bob.address).len(), world.ops(bob.connection)), (1, vec![6]));
}

#[test]
fn a_fault_of_one_user_leaves_the_others_alone() {
    let (mut world, alice, bob) = two();
    world.fault(ALICE, FaultKind::Close(CloseCode::VOICE_SERVER_CRASHED));
    assert_eq!((world.closed(alice.connection), world.closed(bob.connection)), (Some(4015), None));
    world.command(Command::Inject(Fault::all(FaultKind::Close(CloseCode::CALL_TERMINATED))));
    assert_eq!(world.closed(bob.connection), Some(4022));
}
