use proptest::prelude::*;

use super::*;
use crate::{Codec, FrameSealer, SendMode, vectors::load};

/// The longest ago that a ratchet may be that still has one generation only.
const ONE_GENERATION: Duration = Duration::from_secs(98_690);

struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn new() -> Self {
        Self(Instant::now())
    }

    fn pass(&mut self, time: Duration) {
        self.0 += time;
    }
}

fn secret(byte: u8) -> BaseSecret {
    BaseSecret::new([byte; 16])
}

fn decrypt(byte: u8) -> ReceiveMode {
    ReceiveMode::Decrypt(secret(byte))
}

/// A sender's frames, each with the nonce that is asked for.
fn sealed(key: u8, big_nonce: u64, frame: &[u8]) -> Vec<u8> {
    let mut ratchet = Ratchet::new(&secret(key));
    let generation = (big_nonce >> GENERATION_SHIFT) as u32;
    ratchet.advance_to(generation);
    let cipher = Cipher::new(&ratchet.key(generation).expect("its own"));
    let nonce = big_nonce as u32;
    let mut media = frame.to_vec();
    let tag = cipher.seal(nonce, &[], &mut media);
    let ranges = crate::frame::ClearRanges::default();
    let mut trailer = vec![0; super::super::trailer::len(nonce, &ranges).expect("short")];
    super::super::trailer::write(nonce, &tag, &ranges, &mut trailer).expect("room");
    media.extend(trailer);
    media
}

fn open(opener: &mut FrameOpener, clock: &Clock, frame: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut buffer = frame.to_vec();
    match opener.open(clock.0, Media::Audio, &mut buffer) {
        Ok(opened) => Ok(buffer[..opened.len].to_vec()),
        Err(error) => {
            assert_eq!(buffer, frame, "a refused frame is left as it was");
            Err(error)
        }
    }
}

fn opener(clock: &Clock, key: u8) -> FrameOpener {
    let mut opener = FrameOpener::new();
    opener.set_mode(clock.0, decrypt(key));
    opener
}

const FRAME: &[u8] = b"an Opus frame";
const GENERATION: u64 = 1 << GENERATION_SHIFT;

#[test]
fn only_what_was_encrypted_after_all_that_was_opened_is_newest_and_asking_changes_nothing() {
    let clock = Clock::new();
    let mut opener = opener(&clock, 1);
    open(&mut opener, &clock, &sealed(1, 5, FRAME)).expect("the key is there");
    opener.set_mode(clock.0, decrypt(2));
    let mut is_newest = |frame: &[u8]| opener.is_newest(clock.0, &mut frame.to_vec());
    assert!(is_newest(&sealed(2, 0, FRAME)) && is_newest(&sealed(2, 9, FRAME)));
    assert!(!is_newest(&sealed(1, 6, FRAME)), "of an older key");
    assert!(!is_newest(&sealed(3, 6, FRAME)) && !is_newest(FRAME) && !is_newest(&SILENCE_FRAME));
    open(&mut opener, &clock, &sealed(2, 7, FRAME)).expect("nothing was remembered");
    let mut is_newest = |frame: &[u8]| opener.is_newest(clock.0, &mut frame.to_vec());
    assert!(!is_newest(&sealed(2, 7, FRAME)), "again");
    assert!(!is_newest(&sealed(2, 6, FRAME)), "late");
    assert!(is_newest(&sealed(2, 8, FRAME)));
    open(&mut opener, &clock, &sealed(2, 6, FRAME)).expect("it is only late");
}

#[test]
fn every_known_frame_opens_once() {
    let clock = Clock::new();
    for case in load("encryptor_sequence").list("cases") {
        let mut opener = FrameOpener::new();
        opener.set_mode(clock.0, ReceiveMode::Decrypt(BaseSecret::new(case.array("base_secret"))));
        for frame in case.list("frames") {
            assert_eq!(open(&mut opener, &clock, &frame.bytes("frame")), Ok(frame.bytes("plain")));
            assert_eq!(open(&mut opener, &clock, &frame.bytes("frame")), Err(OpenError::Replay));
        }
    }
}

#[test]
fn sequences_are_accepted_and_refused_as_in_libdave() {
    for case in load("replay_window").list("cases") {
        let mut clock = Clock::new();
        let mut opener = opener(&clock, 1);
        clock.pass(ONE_GENERATION);
        let step = |step: &str| {
            let (generation, truncated) = step.split_once(':').expect("a generation and a nonce");
            let number = |text: &str| text.parse::<u64>().expect("a number");
            let nonce = number(generation) << GENERATION_SHIFT | number(truncated) & LOW_BITS;
            if open(&mut opener, &clock, &sealed(1, nonce, FRAME)).is_ok() { '1' } else { '0' }
        };
        let answer: String = case.text("steps").split(',').map(step).collect();
        assert_eq!(answer, case.text("answer"), "{case:?}");
    }
}

#[test]
fn without_a_word_nothing_but_silence_is_accepted() {
    let clock = Clock::new();
    let mut opener = FrameOpener::new();
    assert_eq!(open(&mut opener, &clock, FRAME), Err(OpenError::Unencrypted));
    assert_eq!(open(&mut opener, &clock, &sealed(1, 1, FRAME)), Err(OpenError::MissingKey));
    assert_eq!(open(&mut opener, &clock, &SILENCE_FRAME), Ok(SILENCE_FRAME.to_vec()));
    assert_eq!(opener.open(clock.0, Media::Video, &mut SILENCE_FRAME.clone()), Err(OpenError::Unencrypted));
}

#[test]
fn silence_is_accepted_also_when_there_is_a_key_and_is_not_counted_as_plaintext() {
    let clock = Clock::new();
    let mut opener = opener(&clock, 1);
    let opened = opener.open(clock.0, Media::Audio, &mut SILENCE_FRAME.clone());
    assert_eq!(opened, Ok(Opened { len: 3, kind: OpenedKind::Silence }));
    assert_eq!(open(&mut opener, &clock, &[0xF8, 0xFF, 0xFE, 0]), Err(OpenError::Unencrypted));
}

#[test]
fn a_frame_of_the_protocol_is_never_passed_through() {
    let clock = Clock::new();
    let mut opener = FrameOpener::new();
    opener.set_mode(clock.0, ReceiveMode::Passthrough);
    let frame = sealed(1, 1, FRAME);
    assert_eq!(open(&mut opener, &clock, &frame), Err(OpenError::MissingKey));
    opener.set_mode(clock.0, decrypt(2));
    assert_eq!(open(&mut opener, &clock, &frame), Err(OpenError::Auth));
    let opened = opener.open(clock.0, Media::Audio, &mut FRAME.to_vec());
    assert_eq!(opened, Ok(Opened { len: FRAME.len(), kind: OpenedKind::Passthrough }));
}

#[test]
fn plaintext_ends_ten_seconds_after_a_key_and_closing_again_changes_nothing() {
    let mut clock = Clock::new();
    let mut opener = FrameOpener::new();
    opener.set_mode(clock.0, ReceiveMode::Passthrough);
    clock.pass(Duration::from_secs(1_000));
    assert!(opener.accepts_plaintext(clock.0));
    opener.set_mode(clock.0, decrypt(1));
    clock.pass(Duration::from_secs(6));
    opener.set_mode(clock.0, decrypt(2));
    clock.pass(Duration::from_secs(4) - Duration::from_nanos(1));
    assert_eq!(open(&mut opener, &clock, FRAME), Ok(FRAME.to_vec()));
    clock.pass(Duration::from_nanos(1));
    assert_eq!(open(&mut opener, &clock, FRAME), Err(OpenError::Unencrypted));
    opener.set_mode(clock.0, decrypt(3));
    assert!(!opener.accepts_plaintext(clock.0), "a closed window is not opened by closing it");
    opener.set_mode(clock.0, ReceiveMode::Passthrough);
    opener.set_mode(clock.0, ReceiveMode::Hold);
    assert!(!opener.accepts_plaintext(clock.0));
}

#[test]
fn an_older_key_is_good_for_ten_seconds_to_the_nanosecond() {
    let mut clock = Clock::new();
    let mut opener = opener(&clock, 1);
    opener.set_mode(clock.0, decrypt(2));
    clock.pass(KEY_GRACE);
    assert!(open(&mut opener, &clock, &sealed(1, 1, FRAME)).is_ok());
    assert_eq!(opener.poll_timeout(), Some(clock.0 + Duration::from_nanos(1)));
    clock.pass(Duration::from_nanos(1));
    assert_eq!(open(&mut opener, &clock, &sealed(1, 2, FRAME)), Err(OpenError::Auth));
    assert_eq!((opener.poll_timeout(), opener.keys.len()), (None, 1));
}

#[test]
fn the_end_of_a_key_only_comes_nearer() {
    let mut clock = Clock::new();
    let mut opener = opener(&clock, 1);
    opener.set_mode(clock.0, decrypt(2));
    clock.pass(Duration::from_secs(6));
    opener.set_mode(clock.0, decrypt(3));
    opener.set_mode(clock.0, ReceiveMode::Passthrough);
    clock.pass(Duration::from_secs(4));
    assert!(open(&mut opener, &clock, &sealed(1, 1, FRAME)).is_ok());
    clock.pass(Duration::from_nanos(1));
    assert!(open(&mut opener, &clock, &sealed(1, 2, FRAME)).is_err(), "the first key ended with the second");
    assert!(open(&mut opener, &clock, &sealed(2, 1, FRAME)).is_ok());
    clock.pass(Duration::from_secs(6));
    opener.expire(clock.0);
    assert!(!opener.has_key(), "passthrough ends all keys");
}

#[test]
fn keys_end_one_by_one() {
    let mut clock = Clock::new();
    let mut opener = FrameOpener::new();
    for key in 0..4 {
        opener.set_mode(clock.0, decrypt(key));
        clock.pass(Duration::from_secs(1));
    }
    let mut left = Vec::new();
    while let Some(at) = opener.poll_timeout() {
        opener.expire(at);
        left.push(opener.keys.len());
    }
    assert_eq!(left, [3, 2, 1]);
    assert!(open(&mut opener, &clock, &sealed(3, 1, FRAME)).is_ok());
}

#[test]
fn the_same_secret_again_opens_nothing_twice_and_lengthens_nothing() {
    let mut clock = Clock::new();
    let mut opener = opener(&clock, 1);
    let frame = sealed(1, 5, FRAME);
    assert!(open(&mut opener, &clock, &frame).is_ok());
    for _ in 0..50 {
        opener.set_mode(clock.0, decrypt(1));
        assert_eq!(open(&mut opener, &clock, &frame), Err(OpenError::Replay));
    }
    opener.set_mode(clock.0, decrypt(2));
    assert_eq!(open(&mut opener, &clock, &frame), Err(OpenError::Replay), "a real transition does not forget it");
    clock.pass(Duration::from_secs(9));
    for key in [1, 2, 1] {
        opener.set_mode(clock.0, decrypt(key));
    }
    assert!(open(&mut opener, &clock, &sealed(1, 6, FRAME)).is_ok());
    clock.pass(Duration::from_secs(2));
    assert_eq!(open(&mut opener, &clock, &sealed(1, 7, FRAME)), Err(OpenError::Auth));
    assert!(open(&mut opener, &clock, &sealed(2, 1, FRAME)).is_ok(), "the newer one was not limited");
}

#[test]
fn an_altered_frame_is_refused_and_the_true_one_then_accepted() {
    let clock = Clock::new();
    let mut opener = opener(&clock, 1);
    let frame = sealed(1, 1, FRAME);
    for bit in 0..(FRAME.len() + 8) * 8 {
        let mut altered = frame.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&mut opener, &clock, &altered), Err(OpenError::Auth));
    }
    assert_eq!(open(&mut opener, &clock, &frame), Ok(FRAME.to_vec()));
}

#[test]
fn the_result_is_that_of_the_last_key_tried() {
    let clock = Clock::new();
    let mut opener = opener(&clock, 1);
    assert!(open(&mut opener, &clock, &sealed(1, 5, FRAME)).is_ok());
    opener.set_mode(clock.0, decrypt(2));
    assert!(open(&mut opener, &clock, &sealed(2, 1, FRAME)).is_ok());
    // The newest refuses the tag, the oldest the nonce.
    assert_eq!(open(&mut opener, &clock, &sealed(3, 5, FRAME)), Err(OpenError::Replay));
    // The newest refuses the nonce, the oldest the tag.
    assert_eq!(open(&mut opener, &clock, &sealed(2, 1, FRAME)), Err(OpenError::Auth));
    // To both it is too far ahead for their age.
    assert_eq!(open(&mut opener, &clock, &sealed(2, GENERATION, FRAME)), Err(OpenError::Generation));
}

#[test]
fn no_generation_is_accepted_before_its_time() {
    let mut clock = Clock::new();
    let mut opener = opener(&clock, 1);
    clock.pass(ONE_GENERATION - Duration::from_nanos(1));
    assert_eq!(open(&mut opener, &clock, &sealed(1, GENERATION, FRAME)), Err(OpenError::Generation));
    clock.pass(Duration::from_nanos(1));
    assert!(open(&mut opener, &clock, &sealed(1, GENERATION, FRAME)).is_ok());
    assert_eq!(open(&mut opener, &clock, &sealed(1, 2 * GENERATION, FRAME)), Err(OpenError::Generation));
}

#[test]
fn no_more_than_250_generations_ahead_of_an_authentic_one() {
    let mut clock = Clock::new();
    let mut opener = opener(&clock, 1);
    clock.pass(ONE_GENERATION * 600);
    let at = |generation: u64| sealed(1, generation << GENERATION_SHIFT, FRAME);
    assert_eq!(open(&mut opener, &clock, &at(251)), Err(OpenError::Generation));
    let mut altered = at(250);
    altered[0] ^= 1;
    assert_eq!(open(&mut opener, &clock, &altered), Err(OpenError::Auth));
    assert_eq!(open(&mut opener, &clock, &at(251)), Err(OpenError::Generation), "an altered frame moves nothing");
    assert!(open(&mut opener, &clock, &at(250)).is_ok());
    assert!(open(&mut opener, &clock, &at(251)).is_ok());
}

#[test]
fn generations_go_on_after_the_wrap_of_their_byte() {
    let mut clock = Clock::new();
    let mut opener = opener(&clock, 1);
    clock.pass(ONE_GENERATION * 1_000);
    for generation in (0..700).step_by(50) {
        assert!(open(&mut opener, &clock, &sealed(1, generation << GENERATION_SHIFT, FRAME)).is_ok(), "{generation}");
        clock.pass(KEY_GRACE + Duration::from_nanos(1));
    }
    opener.expire(clock.0);
    assert_eq!(opener.keys[0].ratchet.generation(), 650, "older ones are erased");
}

#[test]
fn frames_of_an_older_generation_open_for_ten_seconds_also_when_none_was_seen_before() {
    let mut clock = Clock::new();
    let mut opener = opener(&clock, 1);
    clock.pass(ONE_GENERATION * 3);
    assert!(open(&mut opener, &clock, &sealed(1, 2 * GENERATION, FRAME)).is_ok());
    clock.pass(KEY_GRACE);
    for nonce in [2 * GENERATION - 1, GENERATION - 1] {
        let result = open(&mut opener, &clock, &sealed(1, nonce, FRAME));
        assert_eq!(result.is_ok(), nonce >= 2 * GENERATION - 1_000, "only nonces that are remembered as missing");
    }
    assert!(open(&mut opener, &clock, &sealed(1, 2 * GENERATION + 1, FRAME)).is_ok());
    clock.pass(Duration::from_nanos(1));
    assert_eq!(open(&mut opener, &clock, &sealed(1, 2 * GENERATION - 2, FRAME)), Err(OpenError::Generation));
    assert_eq!(opener.keys[0].ratchet.generation(), 2);
}

#[test]
fn ends_of_generations_are_bounded_and_their_keys_erased() {
    let mut clock = Clock::new();
    let mut opener = opener(&clock, 1);
    clock.pass(ONE_GENERATION * 50);
    for generation in 1..=20 {
        assert!(open(&mut opener, &clock, &sealed(1, generation << GENERATION_SHIFT, FRAME)).is_ok());
    }
    assert_eq!(opener.keys[0].ratchet.generation(), 16);
    clock.pass(KEY_GRACE + Duration::from_nanos(1));
    opener.expire(clock.0);
    assert_eq!(opener.keys[0].ratchet.generation(), 20);
}

#[test]
fn keys_of_one_sender_are_bounded() {
    let clock = Clock::new();
    let mut opener = FrameOpener::new();
    for key in 0..40 {
        opener.set_mode(clock.0, decrypt(key));
    }
    assert_eq!(opener.keys.len(), 16);
    assert_eq!(open(&mut opener, &clock, &sealed(23, 1, FRAME)), Err(OpenError::Auth));
    assert!(open(&mut opener, &clock, &sealed(24, 1, FRAME)).is_ok());
}

#[test]
fn one_for_another_sender_has_the_window_but_no_key() {
    let clock = Clock::new();
    let mut opener = opener(&clock, 1);
    opener.set_mode(clock.0, ReceiveMode::Passthrough);
    let mut other = opener.for_another_sender();
    assert_eq!(open(&mut other, &clock, FRAME), Ok(FRAME.to_vec()));
    assert_eq!(open(&mut other, &clock, &sealed(1, 1, FRAME)), Err(OpenError::MissingKey));
}

#[test]
fn frames_of_odd_form_are_refused() {
    let clock = Clock::new();
    for case in load("frame_check").list("cases").into_iter().filter(|case| case.flag("protocol_frame")) {
        let result = open(&mut opener(&clock, 1), &clock, &case.bytes("frame"));
        let expected = if case.number("nonce") < GENERATION { OpenError::Auth } else { OpenError::Generation };
        assert_eq!(result, Err(expected), "{case:?}");
    }
}

fn codec() -> impl Strategy<Value = Codec> {
    use Codec::{Av1, H264, H265, Opus, Unknown, Vp8, Vp9};
    proptest::sample::select(vec![Opus, Vp8, Vp9, H264, H265, Av1, Unknown])
}

/// Bytes in which codecs find something.
fn frame_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(vec![0, 0, 1, 0x65]),
        Just(vec![0, 0, 0, 1, 0x67]),
        Just(vec![0x0A, 3, 1, 2, 3]),
        Just(vec![0x32, 0]),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn sealed_video(codec: Codec, frame: &[u8]) -> Vec<u8> {
    let mut sealer = FrameSealer::new();
    sealer.set_mode(SendMode::Encrypt(secret(1)));
    let mut out = vec![0; FrameSealer::max_sealed_len(codec, frame.len())];
    let len = sealer.seal_video(codec, frame, &mut out).expect("few units");
    out.truncate(len);
    out
}

proptest! {
    #[test]
    fn frames_of_every_codec_come_back_in_the_form_they_were_sent(codec in codec(), frame in frame_bytes()) {
        let clock = Clock::new();
        let mut laid_out = vec![0; FrameSealer::max_sealed_len(codec, frame.len())];
        let (len, _) = crate::codec::lay_out(codec, &frame, &mut laid_out).expect("few units");
        let mut sealed = sealed_video(codec, &frame);
        let opened = opener(&clock, 1).open(clock.0, Media::Video, &mut sealed).expect("authentic");
        prop_assert_eq!(&sealed[..opened.len], &laid_out[..len]);
    }

    #[test]
    fn no_part_of_a_frame_opens_as_another(codec in codec(), frame in frame_bytes()) {
        let clock = Clock::new();
        let sealed = sealed_video(codec, &frame);
        let mut opener = opener(&clock, 1);
        for cut in 0..sealed.len() {
            prop_assert!(open(&mut opener, &clock, &sealed[..cut]).is_err());
            prop_assert!(open(&mut opener, &clock, &sealed[cut + 1..]).is_err());
        }
    }

    #[test]
    fn no_frame_with_a_bit_flipped_opens_as_another(codec in codec(), frame in frame_bytes(), flip: usize) {
        let clock = Clock::new();
        let sealed = sealed_video(codec, &frame);
        let bit = flip % (sealed.len() * 8);
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let mut opener = opener(&clock, 1);
        let mut buffer = altered.clone();
        if let Ok(opened) = opener.open(clock.0, Media::Video, &mut buffer) {
            // Where ranges lie is not authenticated, only what they separate: between equal bytes one may move.
            let trailer = Trailer::parse(&sealed).expect("a protocol frame");
            prop_assert!(trailer.has_ranges() && opened.len == trailer.media_len);
            prop_assert!(bit / 8 > trailer.media_len + 8);
        } else {
            prop_assert_eq!(buffer, altered);
            prop_assert!(opener.open(clock.0, Media::Video, &mut sealed.clone()).is_ok());
        }
    }

    #[test]
    fn no_nonce_opens_twice_in_any_order(nonces in proptest::collection::vec(0u64..60, 1..200)) {
        let clock = Clock::new();
        let mut opener = opener(&clock, 1);
        let mut seen = std::collections::HashSet::new();
        for nonce in nonces {
            prop_assert_eq!(open(&mut opener, &clock, &sealed(1, nonce, FRAME)).is_ok(), seen.insert(nonce));
        }
    }
}
