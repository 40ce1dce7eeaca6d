//! A client whose media socket is another one than it was: it is followed when the client itself proves it.

mod common;

use std::net::SocketAddr;

use common::world::{ALICE, BOB, Client, World, resume, select};
use serde_json::json;
use voice_crypto::{Mode, Opener, Sealer, SecretKey};

const THIEF: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 9);
const NEW: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2)), 7);

/// Alice, who resumes after a close with 4015, and Bob, who speaks to her.
fn resumed() -> (World, Client, Client) {
    let mut world = World::new();
    let mut alice = world.join(ALICE);
    let bob = world.join(BOB);
    world.frame(&mut alice, b"before");
    world.lose(alice.connection, Some(4015));
    alice.connection = world.open("/?v=8");
    world.send(alice.connection, resume(&alice.ticket, None));
    world.datagrams(bob.address);
    (world, alice, bob)
}

/// How much arrives at each address when Bob says something.
fn arrives<const N: usize>(world: &mut World, bob: &mut Client, at: [SocketAddr; N]) -> [usize; N] {
    for address in at {
        world.datagrams(address);
    }
    world.frame(bob, b"is anybody there?");
    at.map(|address| world.datagrams(address).len())
}

#[test]
fn media_from_another_socket_after_a_resume_moves_what_is_forwarded() {
    let (mut world, mut alice, mut bob) = resumed();
    let old = alice.address;
    alice.address = NEW;
    world.frame(&mut alice, b"from the new socket");
    assert_eq!(world.datagrams(bob.address).len(), 1, "she is heard");
    assert_eq!(arrives(&mut world, &mut bob, [NEW, old]), [1, 0]);
}

#[test]
fn recorded_media_sent_again_from_elsewhere_moves_nothing() {
    let (mut world, mut alice, mut bob) = resumed();
    let recorded: Vec<Vec<u8>> = (0..5_u8).map(|n| alice.seal(&[n])).collect();
    for datagram in &recorded {
        world.datagram(alice.address, datagram);
    }
    for datagram in &recorded {
        world.datagram(THIEF, datagram);
        assert_eq!(arrives(&mut world, &mut bob, [THIEF, alice.address]), [0, 1]);
    }
    // Nor when the numbers have come round so far that the recorded ones look newer.
    for _ in 0..40_000 {
        world.frame(&mut alice, b"");
    }
    for datagram in &recorded {
        world.datagram(THIEF, datagram);
    }
    assert_eq!(arrives(&mut world, &mut bob, [THIEF, alice.address]), [0, 1]);
}

#[test]
fn a_late_packet_of_the_old_socket_does_not_move_back() {
    let (mut world, mut alice, mut bob) = resumed();
    let old = alice.address;
    let late = alice.seal(b"late");
    alice.address = NEW;
    world.frame(&mut alice, b"from the new socket");
    world.datagram(old, &late);
    assert_eq!(world.datagrams(bob.address).len(), 2, "it is heard all the same");
    assert_eq!(arrives(&mut world, &mut bob, [NEW]), [1]);
}

#[test]
fn nothing_that_is_not_authentic_moves_what_is_forwarded() {
    let (mut world, mut alice, mut bob) = resumed();
    let mut forged = alice.seal(b"forged");
    let last = forged.len() - 6;
    forged[last] ^= 1;
    world.datagram(THIEF, &forged);
    world.discover(THIEF, alice.ssrc);
    world.datagram(THIEF, b"\x13\x37\xCA\xFE\x01\x02\x03\x04");
    world.datagram(THIEF, &alice.ssrc.to_be_bytes());
    world.datagrams(THIEF);
    assert_eq!(arrives(&mut world, &mut bob, [THIEF, alice.address]), [0, 1]);
}

#[test]
fn a_new_discovery_counts_when_the_client_says_what_it_found() {
    let (mut world, mut alice, mut bob) = resumed();
    let mode = Mode::Aes256GcmRtpsize;
    // What somebody else found is not what she says.
    world.discover(THIEF, alice.ssrc);
    world.messages(alice.connection);
    world.send(alice.connection, select(alice.address, mode.wire_name()));
    world.ping(&alice);
    world.datagrams(THIEF);
    assert_eq!(arrives(&mut world, &mut bob, [THIEF, alice.address]), [0, 1]);

    world.discover(NEW, alice.ssrc);
    assert_eq!(world.datagrams(NEW).len(), 1);
    world.send(alice.connection, select(NEW, mode.wire_name()));
    let messages = world.messages(alice.connection);
    let description = messages.iter().rfind(|message| message["op"] == 4).unwrap();
    let secret: Vec<u8> = serde_json::from_value(description["d"]["secret_key"].clone()).unwrap();
    let key = SecretKey::new(secret.try_into().unwrap());
    let old = alice.address;
    (alice.address, alice.opener, alice.sealer) = (NEW, Opener::new(mode, &key), Sealer::new(mode, key, 0));
    world.send(alice.connection, json!({ "op": 5, "d": { "speaking": 0, "delay": 0, "ssrc": alice.ssrc } }));
    world.ping(&alice);
    assert_eq!(arrives(&mut world, &mut bob, [old]), [0]);
    world.frame(&mut bob, b"found");
    let heard = alice.open(&world.datagrams(NEW));
    assert_eq!(heard.last().map(|plain| &plain[12..]), Some(&b"found"[..]));
}
