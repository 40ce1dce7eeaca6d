//! What runs on a media thread does not allocate.
#![cfg(feature = "containers")]

use std::sync::mpsc;

use voice_audio::source::{FrameReader, Prefetch, ReadError};
use voice_audio::{FrameBuf, FrameSource, NextFrame};

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
    let mut last = NextFrame::End;
    let counted = allocation_counter::measure(|| {
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
        last = source.next_frame(&mut frame);
    });
    assert!(matches!(last, NextFrame::NotYet), "after {ready} frames and {not_yet} underruns");
    assert_eq!(ready, 100);
    assert_eq!((counted.count_total, counted.count_current), (0, 0), "neither taken nor given back");
}
