//! What runs on a media thread does not allocate.
#![cfg(feature = "containers")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::mpsc;

use voice_audio::source::{FrameReader, Prefetch, ReadError};
use voice_audio::{FrameBuf, FrameSource, NextFrame};

struct Counting;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Yields a frame for every permit.
struct Permitted(mpsc::Receiver<()>);

impl FrameReader for Permitted {
    fn read_frame(&mut self, out: &mut FrameBuf) -> Result<bool, ReadError> {
        if self.0.recv().is_err() {
            return Ok(false);
        }
        out.set(&[7; 200]).unwrap();
        Ok(true)
    }
}

#[test]
fn taking_prefetched_frames_allocates_nothing() {
    let (permit, permits) = mpsc::channel();
    let mut source = Prefetch::spawn(Permitted(permits), 8);
    for _ in 0..100 {
        permit.send(()).unwrap();
    }
    let mut frame = FrameBuf::new();
    let (mut ready, mut not_yet) = (0, 0);
    let before = CALLS.get();
    // After the hundredth frame the reader waits: the last answer is a certain `NotYet`.
    while ready < 100 {
        match source.next_frame(&mut frame) {
            NextFrame::Ready => ready += 1,
            NextFrame::NotYet => {
                not_yet += 1;
                std::thread::yield_now();
            }
            NextFrame::End | NextFrame::Failed(_) => break,
        }
    }
    let last = source.next_frame(&mut frame);
    let calls = CALLS.get() - before;
    assert!(matches!(last, NextFrame::NotYet), "after {ready} frames and {not_yet} underruns");
    assert_eq!(ready, 100);
    assert_eq!(calls, 0);
}
