//! Counts allocations while packets are sealed and opened.
//!
//! Two counters, because the ciphers are C: one behind Rust's allocator, and on Linux with glibc
//! one behind the C library's `malloc`, which sees both languages.
#![cfg(any(feature = "aws-lc", feature = "rust-crypto"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use voice_crypto::{Backend, Mode, OpenError, Opener, ReplayWindow, Sealer, SecretKey};
use voice_rtp::{RtpHeader, Sequence, Ssrc, Timestamp};

const PACKETS: usize = 100;

#[test]
fn sealing_and_opening_allocate_nothing_in_rust() {
    for &backend in Backend::ALL {
        for &mode in Mode::ALL {
            let count = allocations_of(backend, mode);
            assert_eq!(count.rust, 0, "{mode} on {backend:?}");
        }
    }
}

#[test]
#[cfg(all(feature = "aws-lc", target_os = "linux", target_env = "gnu"))]
fn aws_lc_allocates_nothing_in_c_for_aes_and_one_key_per_packet_for_xchacha() {
    assert_eq!(allocations_of(Backend::AwsLc, Mode::Aes256GcmRtpsize).c, 0);

    // AWS-LC has no way to rekey a context: each packet's subkey gets a new one, which is freed
    // before the call returns. Sealing, opening and refusing a packet are three.
    let xchacha = allocations_of(Backend::AwsLc, Mode::XChaCha20Poly1305Rtpsize);
    assert!(xchacha.c <= 3 * PACKETS, "{xchacha:?}");
    assert_eq!(xchacha.c, xchacha.freed, "what a packet takes it gives back");
}

#[test]
#[cfg(all(feature = "rust-crypto", target_os = "linux", target_env = "gnu"))]
fn the_rust_backend_allocates_nothing_at_all() {
    for &mode in Mode::ALL {
        let count = allocations_of(Backend::RustCrypto, mode);
        assert_eq!((count.rust, count.c), (0, 0), "{mode}");
    }
}

#[test]
fn the_counters_count() {
    let count = count(|| drop(black_box(Box::new([0_u8; 100]))));
    assert_eq!(count.rust, 1);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    assert_eq!((count.c, count.freed), (1, 1));
}

/// Seals, opens and refuses packets, after a first round that warms up the cipher library.
fn allocations_of(backend: Backend, mode: Mode) -> Count {
    let key = SecretKey::new([7; 32]);
    let opener = Opener::with_backend(backend, mode, &key);
    let mut sealer = Sealer::with_backend(backend, mode, key, 0);
    let mut window = ReplayWindow::<16>::default();
    let mut header = RtpHeader { ssrc: Ssrc::new(1), ..RtpHeader::default() };
    let mut buffer = [0x55; 512];
    let mut round = || {
        header.write(buffer.first_chunk_mut().expect("room"));
        let len = sealer.seal_rtp(&mut buffer, 172).expect("sealed");
        assert_eq!(len, 172 + mode.overhead());
        let opened = opener.open_rtp_once(&mut window, &mut buffer[..len]).expect("opened");
        assert_eq!(opened.payload, 12..172);
        let refused = opener.open_rtp(&mut buffer[..len]);
        assert_eq!(refused, Err(OpenError::Auth));
        header.sequence = Sequence::new(header.sequence.get().wrapping_add(1));
        header.timestamp = Timestamp::new(header.timestamp.get().wrapping_add(960));
    };
    round();
    count(|| (0..PACKETS).for_each(|_| round()))
}

/// How often memory was asked for, and in C given back.
#[derive(Clone, Copy, Debug)]
struct Count {
    rust: usize,
    c: usize,
    freed: usize,
}

fn count(operation: impl FnOnce()) -> Count {
    let now = || Count { rust: RUST.get(), c: C.get(), freed: FREED.get() };
    let before = now();
    operation();
    let after = now();
    Count { rust: after.rust - before.rust, c: after.c - before.c, freed: after.freed - before.freed }
}

// Per thread, so that tests which run side by side do not count each other.
thread_local! {
    static RUST: Cell<usize> = const { Cell::new(0) };
    static C: Cell<usize> = const { Cell::new(0) };
    static FREED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on unchanged; counting touches a thread-local without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        RUST.set(RUST.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        RUST.set(RUST.get() + 1);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Stands in for the C library's allocator in this program and passes every call on to it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod c {
    use std::ffi::c_void;

    use super::{C, FREED};

    unsafe extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
        fn __libc_free(memory: *mut c_void);
    }

    // SAFETY: the name replaces the C library's function by one of the same contract.
    #[unsafe(no_mangle)]
    extern "C" fn malloc(size: usize) -> *mut c_void {
        C.set(C.get() + 1);
        // SAFETY: `malloc` has no requirements.
        unsafe { __libc_malloc(size) }
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
        C.set(C.get() + 1);
        // SAFETY: `calloc` has no requirements.
        unsafe { __libc_calloc(count, size) }
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
        C.set(C.get() + 1);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { __libc_realloc(memory, size) }
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn free(memory: *mut c_void) {
        if !memory.is_null() {
            FREED.set(FREED.get() + 1);
        }
        // SAFETY: the caller keeps the contract of `free`.
        unsafe { __libc_free(memory) }
    }
}
