use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::{
    frame::{ratchet::Key, trailer::Trailer},
    vectors::load,
};

fn sealer(secret: [u8; 16]) -> FrameSealer {
    let mut sealer = FrameSealer::new();
    sealer.set_mode(SendMode::Encrypt(BaseSecret::new(secret)));
    sealer
}

fn sealed(sealer: &mut FrameSealer, frame: &[u8]) -> Vec<u8> {
    let mut buffer = frame.to_vec();
    buffer.resize(frame.len() + FrameSealer::MAX_OVERHEAD, 0);
    let len = sealer.seal(&mut buffer, frame.len()).expect("sealed");
    buffer.truncate(len);
    buffer
}

fn nonce(frame: &[u8]) -> u32 {
    Trailer::parse(frame).expect("a protocol frame").nonce
}

/// A sealer that goes on after this many frames.
fn worn(secret: [u8; 16], counter: u64) -> FrameSealer {
    let mut sealer = FrameSealer::new();
    sealer.keys = Some(Box::new(Keys::new(&BaseSecret::new(secret), counter)));
    sealer.state = State::Encrypt;
    sealer
}

#[test]
fn frames_are_sealed_as_by_libdave_with_nonces_of_every_length() {
    for case in load("opus_frames").list("cases") {
        let mut keys = Keys::new(&BaseSecret::new([0; 16]), 0);
        let nonce = case.number("nonce");
        // The case gives the key of the nonce's generation rather than the base secret.
        keys.counter = nonce.wrapping_sub(1);
        if nonce == 0 {
            keys.counter = (1 << 32) - 1;
        }
        keys.ratchet.advance_to(generation(keys.counter + 1).expect("not exhausted"));
        keys.cipher = Cipher::new(&Key::new(case.array("key")));
        let plain = case.bytes("plain");
        let mut buffer = plain.clone();
        buffer.resize(plain.len() + FrameSealer::MAX_OVERHEAD, 0xEE);
        let len = keys.seal(&mut buffer, plain.len(), &ClearRanges::default()).expect("sealed");
        assert_eq!(buffer[..len], case.bytes("frame"), "{case:?}");
        assert!(buffer[len..].iter().all(|byte| *byte == 0xEE), "nothing behind the frame is touched");
    }
}

#[test]
fn frames_come_in_libdaves_sequence_from_nonce_one() {
    for case in load("encryptor_sequence").list("cases") {
        let mut sealer = sealer(case.array("base_secret"));
        for frame in case.list("frames") {
            let sealed = sealed(&mut sealer, &frame.bytes("plain"));
            assert_eq!(u64::from(nonce(&sealed)), frame.number("nonce"));
            assert_eq!(sealed, frame.bytes("frame"));
        }
    }
}

#[test]
fn the_same_secret_goes_on_and_another_starts_anew() {
    let secret = |byte| SendMode::Encrypt(BaseSecret::new([byte; 16]));
    let mut sealer = sealer([1; 16]);
    assert_eq!(nonce(&sealed(&mut sealer, b"a")), 1);
    sealer.set_mode(secret(1));
    assert_eq!(nonce(&sealed(&mut sealer, b"a")), 2);
    sealer.set_mode(SendMode::Hold);
    sealer.set_mode(SendMode::Passthrough);
    sealer.set_mode(secret(1));
    assert_eq!(nonce(&sealed(&mut sealer, b"a")), 3);
    sealer.set_mode(secret(2));
    assert_eq!(nonce(&sealed(&mut sealer, b"a")), 1);
}

#[test]
fn a_secret_that_comes_back_after_another_goes_on_too() {
    let mut sealer = sealer([1; 16]);
    sealed(&mut sealer, b"a");
    for round in 0..4 {
        for other in 2..9 {
            sealer.set_mode(SendMode::Encrypt(BaseSecret::new([other; 16])));
            assert_eq!(nonce(&sealed(&mut sealer, b"a")), round + 1);
        }
        sealer.set_mode(SendMode::Encrypt(BaseSecret::new([1; 16])));
        assert_eq!(nonce(&sealed(&mut sealer, b"a")), round + 2);
    }
}

#[test]
fn the_generation_follows_the_nonce_and_goes_on_after_its_wrap() {
    let generation = |byte: u64| byte << 24;
    for (before, expected_nonce, expected_generation) in [
        (generation(1) - 1, 1 << 24, 1),
        (generation(255), (255 << 24) + 1, 255),
        (generation(256) - 1, 0, 256),
        (generation(256), 1, 256),
        (generation(257) - 1, 1 << 24, 257),
    ] {
        let mut sealer = worn([3; 16], before);
        let frame = sealed(&mut sealer, b"opus");
        assert_eq!(nonce(&frame), expected_nonce);
        let cipher = Cipher::new(&Ratchet::new(&BaseSecret::new([3; 16])).key(expected_generation).expect("a key"));
        let trailer = Trailer::parse(&frame).expect("a protocol frame");
        let mut media = frame[..4].to_vec();
        assert!(cipher.open(trailer.nonce, &[], &mut media, &trailer.tag));
        assert_eq!(media, b"opus");
    }
}

#[test]
fn keys_that_are_spent_seal_nothing_more() {
    let mut sealer = worn([3; 16], 0);
    sealer.keys.as_mut().expect("keys").counter = (1 << 56) - 1;
    let mut buffer = *b"opus................";
    assert_eq!(sealer.seal(&mut buffer, 4), Err(SealError::Exhausted));
    assert_eq!(&buffer, b"opus................");
    sealer.set_mode(SendMode::Encrypt(BaseSecret::new([3; 16])));
    assert_eq!(sealer.seal(&mut buffer, 4), Err(SealError::Exhausted));
}

#[test]
fn nothing_leaves_while_held_and_nothing_changes_in_passthrough() {
    let mut sealer = FrameSealer::new();
    let mut frame = *b"opus";
    assert_eq!(sealer.seal(&mut frame, 4), Err(SealError::Held));
    assert_eq!(sealer.seal_video(Codec::Vp8, b"opus", &mut frame), Err(SealError::Held));
    sealer.set_mode(SendMode::Passthrough);
    assert_eq!((sealer.seal(&mut frame, 4), frame), (Ok(4), *b"opus"));
    assert_eq!((sealer.seal_video(Codec::H264, b"unit", &mut frame), frame), (Ok(4), *b"unit"));
    assert_eq!(sealer.seal_video(Codec::H264, b"units", &mut frame), Err(SealError::NoRoom));
    sealer.set_mode(SendMode::Encrypt(BaseSecret::new([1; 16])));
    sealer.set_mode(SendMode::Hold);
    assert_eq!(sealer.seal(&mut frame, 4), Err(SealError::Held));
    assert!(!sealer.is_encrypting());
}

#[test]
fn a_buffer_too_small_for_the_trailer_is_refused_and_left_as_it_was() {
    let mut sealer = sealer([1; 16]);
    for room in 4..16 {
        let mut buffer = vec![7; room];
        assert_eq!(sealer.seal(&mut buffer, 4), Err(SealError::NoRoom));
        assert_eq!(buffer, vec![7; room]);
    }
    assert_eq!(sealer.seal(&mut [7; 3], 4), Err(SealError::NoRoom));
    assert_eq!(nonce(&sealed(&mut sealer, b"opus")), 1, "no nonce was spent");
}

#[test]
fn silence_is_encrypted_like_any_frame() {
    assert_eq!(sealed(&mut sealer([1; 16]), &super::super::SILENCE_FRAME).len(), 15);
}

#[test]
fn frames_that_would_hold_a_start_code_take_the_next_nonce() {
    let vector = load("h264_reroll");
    let mut frame = vector.bytes("plain_prefix");
    frame.resize(frame.len() + vector.number("fill_count") as usize, vector.bytes("fill")[0]);
    let mut out = vec![0; FrameSealer::max_sealed_len(Codec::H264, frame.len())];
    for skip in vector.list("skips") {
        let mut sealer = worn(vector.array("base_secret"), skip.number("skipped_nonce") - 1);
        let len = sealer.seal_video(Codec::H264, &frame, &mut out).expect("sealed");
        assert_eq!(u64::from(nonce(&out[..len])), skip.number("used_nonce"));
        assert_eq!(sha256(&out[..len])[..], skip.bytes("frame_sha256"));
    }
}

#[test]
fn no_other_nonce_is_skipped() {
    let vector = load("h264_reroll");
    let mut frame = vector.bytes("plain_prefix");
    frame.resize(frame.len() + vector.number("fill_count") as usize, vector.bytes("fill")[0]);
    let mut out = vec![0; FrameSealer::max_sealed_len(Codec::H264, frame.len())];
    let mut sealer = worn(vector.array("base_secret"), 0);
    let expected = (1..=300).filter(|nonce| *nonce != 76);
    for expected in expected {
        let len = sealer.seal_video(Codec::H264, &frame, &mut out).expect("sealed");
        assert_eq!(nonce(&out[..len]), expected);
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

#[test]
fn video_frames_are_sealed_as_by_libdave() {
    for case in load("video_frames").list("cases") {
        let codec = match case.text("codec").as_str() {
            "vp8" => Codec::Vp8,
            "vp9" => Codec::Vp9,
            "h264" => Codec::H264,
            "h265" => Codec::H265,
            "av1" => Codec::Av1,
            "unknown" => Codec::Unknown,
            other => panic!("a codec that the tests do not know: {other}"),
        };
        let mut keys = Keys::new(&BaseSecret::new([0; 16]), case.number("nonce") - 1);
        keys.cipher = Cipher::new(&Key::new(case.array("key")));
        let plain = case.bytes("plain");
        let mut out = vec![0; FrameSealer::max_sealed_len(codec, plain.len())];
        let (media_len, ranges) = lay_out(codec, &plain, &mut out).expect("room");
        assert_eq!(out[..media_len], case.bytes("sent_form"), "{case:?}");
        let spans: Vec<_> = ranges.spans().iter().map(|span| (span.offset, span.len)).collect();
        assert_eq!(spans, case.pairs("clear_ranges"), "{case:?}");
        let len = keys.seal_video(codec, &plain, &mut out).expect("sealed");
        assert_eq!(out[..len], case.bytes("frame"), "{case:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Seal,
    Video(Codec),
    Hold,
    Passthrough,
    Install(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Seal),
        2 => Just(Step::Video(Codec::H264)),
        1 => Just(Step::Hold),
        1 => Just(Step::Passthrough),
        3 => (0u8..4).prop_map(Step::Install),
    ]
}

proptest! {
    #[test]
    fn no_key_and_nonce_are_used_twice(steps in proptest::collection::vec(step(), 1..200)) {
        let (mut sealer, mut used, mut current) = (FrameSealer::new(), HashSet::new(), None);
        for step in steps {
            let mut out = [0u8; 64];
            let result = match step {
                Step::Seal => sealer.seal(&mut out, 8),
                Step::Video(codec) => sealer.seal_video(codec, &[0, 0, 1, 0x61, 0xE0, 7, 7, 7], &mut out),
                Step::Hold => { sealer.set_mode(SendMode::Hold); continue }
                Step::Passthrough => { sealer.set_mode(SendMode::Passthrough); continue }
                Step::Install(secret) => {
                    sealer.set_mode(SendMode::Encrypt(BaseSecret::new([secret; 16])));
                    current = Some(secret);
                    continue;
                }
            };
            if let (Ok(len), true) = (result, sealer.is_encrypting()) {
                prop_assert!(used.insert((current, nonce(&out[..len]))));
            }
        }
    }
}
