//! Discovery, pings, forwarding and reports, with real encryption.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::world::{ALICE, BOB, CAROL, Client, World, select};
use serde_json::json;
use voice_crypto::{Mode, Opener, SecretKey, SuffixOrder};
use voice_rtp::{Packet, Ssrc, discovery};
use voice_server::CoreConfig;

fn two() -> (World, Client, Client) {
    let mut world = World::new();
    let alice = world.join(ALICE);
    let bob = world.join(BOB);
    (world, alice, bob)
}

/// What a client hears: sequence, timestamp and payload of each packet.
fn heard(world: &mut World, client: &Client) -> Vec<(u16, u32, Vec<u8>)> {
    let plain = client.open(&world.datagrams(client.address));
    let parse = |bytes: &Vec<u8>| {
        let packet = Packet::parse(bytes).unwrap();
        let header = packet.header();
        (header.sequence.get(), header.timestamp.get(), packet.payload().to_vec())
    };
    plain.iter().map(parse).collect()
}

#[test]
fn discovery_answers_74_bytes_for_a_known_ssrc_and_nothing_else() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (_, ssrc) = world.identified(&ticket);
    let from: SocketAddr = "203.0.113.7:50004".parse().unwrap();
    world.discover(from, ssrc);
    let answer = world.datagrams(from);
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0][..4], [0, 2, 0, 70]);
    assert_eq!(answer[0][4..8], ssrc.to_be_bytes());
    assert_eq!(answer[0][8..21], *b"203.0.113.7\0\0");
    assert_eq!(answer[0][72..], 50_004_u16.to_be_bytes());

    world.discover(from, ssrc + 1);
    let mut request = [0; discovery::DISCOVERY_LEN];
    discovery::Request { ssrc: Ssrc::new(ssrc) }.write(&mut request);
    for len in [0, 1, 8, 70, 73] {
        world.datagram(from, &request[..len]);
    }
    request[1] = 2;
    world.datagram(from, &request);
    assert!(world.datagrams(from).is_empty());
    assert_eq!((world.core.stats().discoveries, world.core.stats().packets_unknown), (1, 1));
}

#[test]
fn only_the_ping_of_a_known_address_is_answered() {
    let (mut world, alice, _) = two();
    world.datagram(alice.address, b"\x13\x37\xCA\xFE\x01\x02\x03\x04");
    assert_eq!(world.datagrams(alice.address), [b"\x13\x37\xF0\x0D\x01\x02\x03\x04"]);
    let stranger = SocketAddr::from(([192, 0, 2, 1], 9));
    world.datagram(stranger, b"\x13\x37\xCA\xFE\x01\x02\x03\x04");
    assert!(world.datagrams(stranger).is_empty());
    // The keepalives of other clients.
    let keepalives: [&[u8]; 4] = [&[0, 0, 0, 100], &[5, 0, 0, 0, 0, 0, 0, 0], &[0xC9, 0, 0, 0, 0, 0, 0, 0, 0], &[]];
    for keepalive in keepalives {
        world.datagram(alice.address, keepalive);
    }
    assert!(world.datagrams(alice.address).is_empty());
}

#[test]
fn a_packet_keeps_everything_but_its_sequence() {
    let (mut world, mut alice, bob) = two();
    world.send(alice.connection, alice.speaking(1));
    // A CSRC, an extension of an odd profile, padding, the marker.
    let mut plain = vec![0x80 | 0x20 | 0x10 | 1, 0x80 | 120, 0, 9, 0, 0, 3, 0xC0];
    plain.extend(alice.ssrc.to_be_bytes());
    plain.extend([1, 2, 3, 4]);
    plain.extend([0xAB, 0xCD, 0, 1, 9, 9, 9, 9]);
    plain.extend(b"opus");
    plain.extend([0, 0, 3]);
    let sealed = alice.seal_plain(&plain);
    world.datagram(alice.address, &sealed);
    let datagrams = world.datagrams(bob.address);
    let opened = bob.open(&datagrams);
    let mut expected = plain.clone();
    expected[2..4].copy_from_slice(&opened[0][2..4]);
    assert_eq!(opened, [expected]);
    assert_eq!(datagrams[0][16..20], plain[16..20], "the preamble of the extension is clear");
}

#[test]
fn sequences_start_anywhere_and_keep_gaps_order_and_the_wrap() {
    let (mut world, mut alice, bob) = two();
    let carol = world.join(CAROL);
    alice.sequence = 65_534;
    let packets: Vec<_> = (0..5_u8).map(|n| alice.seal(&[n])).collect();
    // The third is lost, the last two come the wrong way round.
    for index in [0, 1, 4, 3] {
        world.datagram(alice.address, &packets[index]);
    }
    let at_bob = heard(&mut world, &bob);
    let start = at_bob[0].0;
    let offsets: Vec<_> = at_bob.iter().map(|(sequence, ..)| sequence.wrapping_sub(start)).collect();
    assert_eq!(offsets, [0, 1, 4, 3]);
    assert_eq!(at_bob.iter().map(|(.., p)| p[0]).collect::<Vec<_>>(), [0, 1, 4, 3]);
    assert_ne!(start, 65_534);
    assert_ne!(heard(&mut world, &carol)[0].0, start, "each receiver has numbers of its own");
}

#[test]
fn each_receiver_has_its_own_key_and_little_endian_counter() {
    for (order, step) in [(SuffixOrder::LittleEndian, [1, 0, 0, 0]), (SuffixOrder::BigEndian, [0, 0, 0, 1])] {
        let mut world = World::with(CoreConfig { suffix_order: order, ..CoreConfig::default() });
        let mut alice = world.join(ALICE);
        let bob = world.join(BOB);
        let carol = world.join(CAROL);
        world.frame(&mut alice, b"one");
        world.frame(&mut alice, b"two");
        let at_bob = world.datagrams(bob.address);
        let at_carol = world.datagrams(carol.address);
        let suffix = |bytes: &Vec<u8>| <[u8; 4]>::try_from(&bytes[bytes.len() - 4..]).unwrap();
        let number = |bytes: &Vec<u8>| match order {
            SuffixOrder::LittleEndian => u32::from_le_bytes(suffix(bytes)),
            SuffixOrder::BigEndian => u32::from_be_bytes(suffix(bytes)),
        };
        assert_eq!(number(&at_bob[1]).wrapping_sub(number(&at_bob[0])), 1, "{step:?}");
        assert_eq!(number(&at_carol[1]).wrapping_sub(number(&at_carol[0])), 1);
        assert!(bob.opener.open_rtp(&mut at_carol[0].clone()).is_err());
        assert_eq!(heard_payloads(&bob, &at_bob), [b"one", b"two"]);
        assert_eq!(heard_payloads(&carol, &at_carol), [b"one", b"two"]);
        assert!(world.datagrams(alice.address).is_empty(), "nobody hears himself");
    }
}

fn heard_payloads(client: &Client, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let plain = client.open(datagrams);
    plain.iter().map(|bytes| Packet::parse(bytes).unwrap().payload().to_vec()).collect()
}

#[test]
fn nothing_is_forwarded_to_one_who_sent_no_op_5_or_no_datagram() {
    let mut world = World::new();
    let mut alice = world.join(ALICE);
    let bob = world.connected(BOB);
    world.frame(&mut alice, b"1");
    assert!(world.datagrams(bob.address).is_empty(), "neither");
    world.ping(&bob);
    world.frame(&mut alice, b"2");
    assert!(world.datagrams(bob.address).is_empty(), "no op 5");

    let carol = world.connected(CAROL);
    world.send(carol.connection, carol.speaking(0));
    world.frame(&mut alice, b"3");
    assert!(world.datagrams(carol.address).is_empty(), "no datagram since the key");
    world.datagram(carol.address, &carol.ssrc.to_be_bytes());
    world.frame(&mut alice, b"4");
    assert_eq!(heard_payloads(&carol, &world.datagrams(carol.address).clone()), [b"4"], "any keepalive will do");
}

#[test]
fn discovery_opens_reception_when_so_configured() {
    let mut world = World::with(CoreConfig { discovery_opens_reception: true, ..CoreConfig::default() });
    let mut alice = world.join(ALICE);
    let bob = world.connected(BOB);
    world.send(bob.connection, bob.speaking(0));
    world.frame(&mut alice, b"1");
    assert_eq!(world.datagrams(bob.address).len(), 1);
}

#[test]
fn media_with_a_foreign_ssrc_is_4020_at_once() {
    let (mut world, mut alice, bob) = two();
    alice.ssrc = bob.ssrc;
    let sealed = alice.seal(b"as bob");
    world.datagram(alice.address, &sealed);
    assert_eq!((world.closed(alice.connection), world.closed(bob.connection)), (Some(4020), None));
    assert!(world.datagrams(bob.address).is_empty());

    let (mut world, mut alice, _) = two();
    alice.ssrc = 7;
    let sealed = alice.seal(b"as nobody");
    world.datagram(alice.address, &sealed);
    assert_eq!(world.closed(alice.connection), Some(4020));
    assert_eq!(world.core.stats().packets_refused, 1);
}

#[test]
fn forged_media_changes_nothing() {
    let (mut world, mut alice, bob) = two();
    let mut sealed = alice.seal(b"hello");
    let last = sealed.len() - 6;
    sealed[last] ^= 1;
    world.datagram(alice.address, &sealed);
    // Her SSRC from elsewhere, and her address with another SSRC, without her key.
    let stranger = SocketAddr::from(([192, 0, 2, 1], 9));
    world.datagram(stranger, &sealed);
    sealed[8..12].copy_from_slice(&[0, 0, 0, 9]);
    world.datagram(alice.address, &sealed);
    sealed[8..12].copy_from_slice(&bob.ssrc.to_be_bytes());
    world.datagram(alice.address, &sealed);
    let stats = world.core.stats();
    assert_eq!((stats.packets_unauthentic, stats.packets_opened, stats.packets_forwarded), (4, 0, 0));
    assert_eq!(world.closed(alice.connection), None);
    world.ping(&alice);
}

#[test]
fn a_client_that_moves_is_followed_once_its_media_proves_it() {
    let (mut world, mut alice, mut bob) = two();
    alice.address = SocketAddr::from(([127, 0, 0, 2], 7));
    world.frame(&mut alice, b"from elsewhere");
    assert_eq!(world.datagrams(bob.address).len(), 1);
    world.frame(&mut bob, b"answer");
    assert_eq!(heard(&mut world, &alice)[0].2, b"answer");
    // Discovery proves nothing, so it moves nobody who has a key.
    let thief = SocketAddr::from(([192, 0, 2, 1], 9));
    world.discover(thief, alice.ssrc);
    world.datagrams(thief);
    world.frame(&mut bob, b"again");
    assert!(world.datagrams(thief).is_empty());
    assert_eq!(heard(&mut world, &alice)[0].2, b"again");
}

#[test]
fn an_address_that_is_only_said_is_not_taken_from_its_client() {
    let (mut world, mut alice, bob) = two();
    let ticket = world.ticket(CAROL);
    let (connection, ssrc) = world.identified(&ticket);
    world.send(connection, select(bob.address, Mode::Aes256GcmRtpsize.wire_name()));
    world.send(connection, json!({ "op": 5, "d": { "speaking": 0, "ssrc": ssrc } }));
    world.ping(&bob);
    world.frame(&mut alice, b"for bob");
    assert_eq!(heard_payloads(&bob, &world.datagrams(bob.address)), [b"for bob"]);
}

#[test]
fn several_clients_may_share_one_address() {
    let mut world = World::new();
    let mut alice = world.join(ALICE);
    let mut bob = world.join(BOB);
    let carol = world.join(CAROL);
    bob.address = alice.address;
    for _ in 0..3 {
        world.frame(&mut bob, b"bob");
        world.frame(&mut alice, b"alice");
    }
    assert_eq!(world.datagrams(carol.address).len(), 6);
    assert_eq!((world.closed(alice.connection), world.closed(bob.connection)), (None, None));
}

#[test]
fn media_of_a_lost_connection_goes_on() {
    let (mut world, mut alice, bob) = two();
    world.frame(&mut alice, b"1");
    world.lose(alice.connection, None);
    world.frame(&mut alice, b"2");
    let packets = heard(&mut world, &bob);
    assert_eq!(packets.len(), 2);
    assert_eq!(packets[1].0, packets[0].0.wrapping_add(1));
}

#[test]
fn a_client_that_wants_no_media_gets_none() {
    let (mut world, mut alice, bob) = two();
    world.send(bob.connection, json!({ "op": 15, "d": { "any": 0 } }));
    world.frame(&mut alice, b"1");
    assert!(world.datagrams(bob.address).is_empty());
    world.send(bob.connection, json!({ "op": 15, "d": { "any": 100 } }));
    world.frame(&mut alice, b"2");
    assert_eq!(world.datagrams(bob.address).len(), 1);
}

#[test]
fn other_payload_types_are_forwarded_and_counted() {
    let (mut world, mut alice, bob) = two();
    let mut plain = [0; 12].to_vec();
    alice.header().write(plain.first_chunk_mut().unwrap());
    plain[1] = 105;
    let sealed = alice.seal_plain(&plain);
    world.datagram(alice.address, &sealed);
    assert_eq!(world.datagrams(bob.address).len(), 1);
    assert_eq!(world.core.stats().packets_not_opus, 1);
}

#[test]
fn an_authentic_packet_with_impossible_lengths_is_dropped() {
    let (mut world, mut alice, bob) = two();
    let mut plain = [0; 16].to_vec();
    alice.header().write(plain.first_chunk_mut().unwrap());
    for (first, tail) in [(0xA0, [0, 0, 0, 0]), (0xA0, [0, 0, 0, 200]), (0x90, [0xBE, 0xDE, 0, 9])] {
        plain[0] = first;
        plain[12..].copy_from_slice(&tail);
        let sealed = alice.seal_plain(&plain);
        world.datagram(alice.address, &sealed);
    }
    assert!(world.datagrams(bob.address).is_empty());
    assert_eq!((world.core.stats().packets_malformed, world.closed(alice.connection)), (3, None));
}

#[test]
fn every_truncation_of_a_packet_is_dropped() {
    let (mut world, mut alice, bob) = two();
    let sealed = alice.seal(b"hello");
    for len in 0..sealed.len() {
        world.datagram(alice.address, &sealed[..len]);
    }
    assert!(world.datagrams(bob.address).is_empty());
    world.datagram(alice.address, &vec![0x80; 2048]);
    world.datagram(alice.address, &sealed);
    assert_eq!(world.datagrams(bob.address).len(), 1);
}

#[test]
fn a_sender_gets_a_report_about_its_own_stream_every_five_seconds() {
    let (mut world, mut alice, bob) = two();
    alice.sequence = 65_533;
    for index in 0..8_u8 {
        world.advance(Duration::from_millis(20));
        let sealed = alice.seal(&[index]);
        if index != 2 && index != 3 {
            world.datagram(alice.address, &sealed);
        }
    }
    world.datagrams(bob.address);
    world.advance(Duration::from_secs(5));
    assert!(world.datagrams(bob.address).is_empty(), "who sends nothing gets no report");
    let reports = world.datagrams(alice.address);
    assert_eq!(reports.len(), 1);
    let mut report = reports[0].clone();
    assert_eq!(report.len(), 52);
    let len = alice.opener.open_rtcp(&mut report).unwrap();
    assert_eq!(len, 32);
    assert_eq!(report[..4], [0x81, 201, 0, 7]);
    assert_eq!(report[4..8], alice.ssrc.to_be_bytes());
    assert_eq!(report[8..12], alice.ssrc.to_be_bytes());
    assert_eq!(report[12..16], [64, 0, 0, 2], "two of eight are a quarter");
    assert_eq!(report[16..20], [0, 1, 0, 4], "one wrap, and sequence 4");
    assert_eq!(report[24..32], [0; 8], "no sender report was seen");
    world.advance(Duration::from_secs(5));
    assert_eq!(world.datagrams(alice.address).len(), 1);
    world.lose(alice.connection, Some(1000));
    world.advance(Duration::from_secs(10));
    assert!(world.datagrams(alice.address).is_empty());
}

#[test]
fn rtcp_of_a_client_is_authenticated() {
    let (mut world, mut alice, _) = two();
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(alice.ssrc.to_be_bytes());
    report.resize(28 + 20, 0);
    let len = alice.sealer.seal_rtcp(&mut report, 28).unwrap();
    world.datagram(alice.address, &report[..len]);
    report[12] ^= 1;
    world.datagram(alice.address, &report[..len]);
    let stats = world.core.stats();
    assert_eq!((stats.rtcp_received, stats.packets_unauthentic), (1, 1));
}

#[test]
fn both_modes_are_spoken_in_one_room() {
    let (mut world, mut alice, _) = two();
    let ticket = world.ticket(CAROL);
    let (connection, ssrc) = world.identified(&ticket);
    let address = SocketAddr::from(([127, 0, 0, 1], 4444));
    let mode = Mode::XChaCha20Poly1305Rtpsize;
    // Without discovery, the address she names is where her media goes.
    world.send(connection, select(address, mode.wire_name()));
    world.send(connection, json!({ "op": 5, "d": { "speaking": 0, "ssrc": ssrc } }));
    let messages = world.messages(connection);
    let description = messages.iter().find(|m| m["op"] == 4).unwrap();
    let secret: Vec<u8> = serde_json::from_value(description["d"]["secret_key"].clone()).unwrap();
    let opener = Opener::new(mode, &SecretKey::new(secret.try_into().unwrap()));
    world.datagram(address, &[0; 4]);
    world.frame(&mut alice, b"hello");
    let mut datagram = world.datagrams(address).pop().unwrap();
    let opened = opener.open_rtp(&mut datagram).unwrap();
    assert_eq!(datagram[opened.payload], *b"hello");
}
