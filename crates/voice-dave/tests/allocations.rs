//! Counts allocations while frames are sealed and opened.

use std::{hint::black_box, time::Instant};

use voice_dave::{BaseSecret, Codec, FrameOpener, FrameSealer, Media, OpenError, ReceiveMode, SendMode};

#[test]
fn sealing_and_opening_audio_allocates_nothing() {
    let (mut sealer, mut opener, now) = halves();
    assert_eq!(allocations(|| exchange(&mut sealer, &mut opener, now, 1)), 0);
}

#[test]
fn loss_and_reordering_and_refused_frames_allocate_nothing() {
    let (mut sealer, mut opener, now) = halves();
    let count = allocations(|| {
        // Every gap is a hundred missing nonces, far more in all than are remembered.
        for gap in 1..100 {
            let mut late = [0; 64];
            let late_len = sealer.seal(&mut late, 40).expect("room");
            exchange(&mut sealer, &mut opener, now, gap);
            let mut altered = late;
            altered[0] ^= 1;
            assert_eq!(opener.open(now, Media::Audio, &mut altered[..late_len]), Err(OpenError::Auth));
            assert!(opener.open(now, Media::Audio, &mut late[..late_len]).is_ok());
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn video_with_clear_ranges_allocates_nothing() {
    let (mut sealer, mut opener, now) = halves();
    let frame = [0, 0, 0, 1, 0x61, 0xE0, 9, 9, 9, 9].repeat(50);
    let mut out = [0; 1_000];
    let count = allocations(|| {
        let len = sealer.seal_video(Codec::H264, &frame, &mut out).expect("room");
        let opened = opener.open(now, Media::Video, &mut out[..len]).expect("authentic");
        assert_eq!(out[..opened.len], frame);
    });
    assert_eq!(count, 0);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(7)))), 1);
}

fn halves() -> (FrameSealer, FrameOpener, Instant) {
    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    let now = Instant::now();
    let (mut sealer, mut opener) = (FrameSealer::new(), FrameOpener::new());
    // Two keys, so that the newer one refuses each frame before the older one opens it.
    for key in [1, 2] {
        opener.set_mode(now, ReceiveMode::Decrypt(BaseSecret::new([key; 16])));
    }
    sealer.set_mode(SendMode::Encrypt(BaseSecret::new([1; 16])));
    // With the first nonce that is missing, room is made for all that are remembered.
    assert_eq!(allocations(|| exchange(&mut sealer, &mut opener, now, 1)), 1);
    (sealer, opener, now)
}

/// Seals so many frames and opens the last.
fn exchange(sealer: &mut FrameSealer, opener: &mut FrameOpener, now: Instant, frames: usize) {
    for number in 1..=frames {
        let mut buffer = [3; 176];
        let len = sealer.seal(&mut buffer, 160).expect("room");
        if number == frames {
            let opened = opener.open(now, Media::Audio, &mut buffer[..len]).expect("authentic");
            assert_eq!(buffer[..opened.len], [3; 160]);
        }
    }
}

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}
