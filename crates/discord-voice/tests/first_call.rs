//! What a process does once is done when a driver is made. A program of its own, because it counts what is first.
#![cfg(target_os = "linux")]

use std::time::Duration;

use discord_voice::{Config, Driver, dave::wire::SigningKey};

fn cpu_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).try_into().unwrap()
}

#[test]
fn the_first_call_does_not_wait_for_the_first_random_bytes() {
    let start = cpu_time();
    let _driver = Driver::new(Config::default()).unwrap();
    let made = cpu_time();
    // What each call needs first.
    let _ = SigningKey::generate();
    let generated = cpu_time() - made;
    println!("driver {:?}, first key {generated:?}", made - start);
    assert!(generated < Duration::from_millis(5), "{generated:?}");
}
