//! What the tests share.

#![allow(dead_code, reason = "every test file uses a part of it")]

use voice_testkit::World;

/// The bytes that a world's calls, their media and its server hold.
pub(crate) fn memory(world: World) -> u64 {
    let product = world.into_product();
    let dropped = allocation_counter::measure(|| drop(product));
    u64::try_from(-dropped.bytes_current).expect("what was held is given back")
}

/// Checks that a world, at whatever time, holds no more than all its limits together allow.
pub(crate) fn is_small(seed: u64, world: World) {
    let held = memory(world);
    assert!(held < MAX_MEMORY, "seed {seed}: the calls and the server hold {held} bytes");
}

/// What the calls of up to four, their media and the server may hold together.
const MAX_MEMORY: u64 = 1024 * 1024;
