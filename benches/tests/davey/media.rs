//! Frames of either kind are understood by the other one, through changes of keys too.

use std::time::Duration;

use voice_dave::{Codec, Media, SILENCE_FRAME};
use voice_model::UserId;

use crate::call::{Call, Kind};

const BOTH: [Kind; 2] = [Kind::Ours, Kind::Davey];

/// From and to, in both directions.
const DIRECTIONS: [(u64, u64); 2] = [(1, 2), (2, 1)];

#[test]
fn frames_of_every_length_pass_both_ways() {
    let mut call = Call::of(BOTH);
    for (from, to) in DIRECTIONS {
        for len in (1..300).chain([1275]) {
            let frame: Vec<_> = (0..len).map(|byte| (byte * 7) as u8).collect();
            let sealed = call.member(from).member.seal(&frame).unwrap();
            assert!(call.hears(from, to, &sealed, &frame), "{len} bytes from {from}");
        }
    }
}

#[test]
fn silence_passes_both_ways() {
    let mut call = Call::of(BOTH);
    for (from, to) in DIRECTIONS {
        // Ours encrypts it, davey does not.
        let sealed = call.member(from).member.seal(&SILENCE_FRAME).unwrap();
        assert_eq!(sealed == SILENCE_FRAME, from == 2);
        assert!(call.hears(from, to, &sealed, &SILENCE_FRAME));
        assert!(call.hears(from, to, &SILENCE_FRAME, &SILENCE_FRAME));
    }
}

#[test]
fn frames_with_nonces_of_one_to_three_bytes_pass_late_and_out_of_order() {
    let mut call = Call::of(BOTH);
    for (from, to) in DIRECTIONS {
        let sealed: Vec<_> = (0..17_000_u32)
            .map(|number| (call.member(from).member.seal(&number.to_be_bytes()).unwrap(), number.to_be_bytes()))
            .collect();
        let lens: Vec<_> = [0, 16_383].iter().map(|index| sealed[*index].0.len()).collect();
        assert_eq!(lens, [4 + 12, 4 + 14]);
        // One of ten is lost, and each hundred comes last one first.
        for hundred in sealed.chunks(100) {
            for (sealed, frame) in hundred.iter().rev().step_by(10) {
                assert!(call.hears(from, to, sealed, frame));
                assert!(!call.hears(from, to, sealed, frame), "a replay of {from}");
            }
        }
    }
}

#[test]
fn altered_frames_are_refused_both_ways_and_the_true_one_is_not() {
    let mut call = Call::of(BOTH);
    for (from, to) in DIRECTIONS {
        let sealed = call.member(from).member.seal(b"true").unwrap();
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 0x10;
            assert!(!call.hears(from, to, &altered, b"true"), "byte {index} from {from}");
        }
        assert!(call.hears(from, to, &sealed, b"true"));
    }
}

#[test]
fn video_of_every_codec_passes_both_ways() {
    let body: Vec<_> = (0..200_u8).map(|byte| byte | 0x10).collect();
    let vp8_key = [&[0x50, 1, 0, 0x9D, 1, 0x2A, 64, 0, 64, 0], &body[..]].concat();
    let vp8 = [&[0x51, 1, 0], &body[..]].concat();
    // SPS, PPS, and a slice of an IDR picture.
    let h264 = [
        &[0, 0, 0, 1, 0x67, 0x42, 0xC0, 0x1E, 0, 0, 0, 1, 0x68, 0xCE, 0x3C, 0x80, 0, 0, 0, 1, 0x65, 0xB8, 0x40][..],
        &body,
    ]
    .concat();
    // VPS and a slice.
    let h265 = [&[0, 0, 0, 1, 0x40, 1, 0xC, 1, 0, 0, 0, 1, 0x26, 1, 0xAF][..], &body].concat();
    // A frame OBU without a size.
    let av1 = [&[0x30, 0x10][..], &body].concat();
    let frames = [
        (Codec::Vp8, vp8_key),
        (Codec::Vp8, vp8),
        (Codec::Vp9, body.clone()),
        (Codec::H264, h264),
        (Codec::H265, h265),
        (Codec::Av1, av1),
    ];
    let mut call = Call::of(BOTH);
    for (from, to) in DIRECTIONS {
        for (codec, frame) in &frames {
            let sealed = call.member(from).member.seal_video(*codec, frame).unwrap();
            let now = call.now;
            let opened = call.member(to).member.open(now, UserId::new(from), Media::Video, &sealed);
            assert_eq!(opened.as_ref(), Some(frame), "{codec:?} from {from}");
        }
    }
}

#[test]
fn nobody_is_silenced_by_a_transition() {
    for slow in [1, 2, 3] {
        let mut call = Call::of([Kind::Ours, Kind::Davey]);
        let late: Vec<_> =
            [1, 2].map(|user| (user, call.member(user).member.seal(b"late").unwrap())).into_iter().collect();
        call.enter(3, Kind::Davey);
        call.member(slow).loses_ready = true;
        call.settle();
        // All have the new keys; nobody sends with them before op 22, and the third has none to send with.
        assert_eq!(call.member(1).member.epoch(), Some(2));
        assert!(call.member(3).member.seal(b"early").is_none());
        for (from, to) in DIRECTIONS {
            let sealed = call.member(from).member.seal(b"before").unwrap();
            assert!(call.hears(from, to, &sealed, b"before"));
            assert!(!call.hears(from, 3, &sealed, b"before"), "the third has no key of the epoch before");
        }
        call.run(Duration::from_secs(2));
        call.assert_together();
        assert_eq!(call.stats().dave.transitions_timed_out, 1);
        for (from, sealed) in late {
            assert!(call.hears(from, 3 - from, &sealed, b"late"), "a frame of the epoch before is in time");
        }
    }
}

#[test]
fn a_client_without_encryption_makes_the_call_plain_and_its_leaving_encrypted() {
    let mut call = Call::of(BOTH);
    call.assert_together();
    call.enter(3, Kind::Plain);
    call.settle();
    for (from, to) in DIRECTIONS {
        let plain = call.member(from).member.seal(b"plain").unwrap();
        assert_eq!(plain, b"plain");
        assert!(call.hears(from, to, &plain, b"plain"));
    }
    call.leave(3);
    call.settle();
    call.assert_together();
}

/// What a generation of keys is: this many frames.
const GENERATION: u32 = 1 << 24;

#[test]
#[ignore = "three times 2^24 frames of either kind: a minute or two with --release"]
fn keys_of_later_generations_are_the_same() {
    let mut call = Call::of(BOTH);
    for generation in 0..3_u64 {
        for (from, to) in DIRECTIONS {
            let member = &mut call.member(from).member;
            let frames = GENERATION - if generation == 0 { 1 } else { 0 } - 1;
            (0..frames).for_each(|_| drop(member.seal(b"unheard").unwrap()));
            let last = member.seal(b"last").unwrap();
            // A receiver takes a generation only after the time that its frames take; davey's clock is real.
            if to == 1 {
                call.now += Duration::from_secs(28 * 3600);
                assert!(call.hears(from, to, &last, b"last"), "generation {generation}");
            } else {
                assert_eq!(call.hears(from, to, &last, b"last"), generation == 0);
            }
        }
    }
}
