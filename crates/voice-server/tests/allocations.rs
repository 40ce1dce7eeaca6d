//! Forwarding a packet allocates nothing once its stream is known.

mod common;

use std::net::SocketAddr;

use common::world::{ALICE, BOB, CAROL, World};

#[test]
fn forwarding_allocates_nothing() {
    let mut world = World::new();
    let mut alice = world.join(ALICE);
    world.join(BOB);
    world.join(CAROL);
    world.frame(&mut alice, b"the first one introduces the stream");
    let mut packets: Vec<_> = (0..100_u8).map(|n| alice.seal(&[n; 160])).collect();
    let (now, from) = (world.now, alice.address);
    let mut sent = 0;
    let counted = allocation_counter::measure(|| {
        for packet in &mut packets {
            let mut sink = |_: SocketAddr, bytes: &[u8]| sent += bytes.len();
            world.core.handle_datagram(now, from, packet, &mut sink);
        }
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(sent, 2 * 100 * (12 + 160 + 20));
}
