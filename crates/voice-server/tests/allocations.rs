//! Forwarding a packet allocates nothing once its stream is known.

#![allow(unsafe_code, reason = "counting allocations takes an allocator")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use common::world::{ALICE, BOB, CAROL, World};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more, and nobody who reads it.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = ALLOCATIONS.get();
    for packet in &mut packets {
        let mut sink = |_: SocketAddr, bytes: &[u8]| sent += bytes.len();
        world.core.handle_datagram(now, from, packet, &mut sink);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(sent, 2 * 100 * (12 + 160 + 20));
}
