//! The promises of the sealer: no nonce twice, room checked first, round trips.

use std::collections::HashSet;

use proptest::prelude::*;
use voice_crypto::{MAX_PACKETS, Mode, OVERHEAD, OpenError, Opener, SealError, Sealer, SecretKey, SuffixOrder};
use voice_rtp::{ParseError, RtpHeader};

#[test]
fn no_suffix_is_used_twice_across_the_wrap() {
    for order in [SuffixOrder::BigEndian, SuffixOrder::LittleEndian] {
        let mut sealer = Sealer::new(Mode::ALL[0], &key(), u32::MAX - 500).with_suffix_order(order);
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            let (mut buffer, len) = silence();
            let len = sealer.seal_rtp(&mut buffer, len).expect("sealed");
            assert!(seen.insert(buffer[len - 4..len].to_vec()));
        }
    }
}

#[test]
fn a_spent_sealer_refuses_and_leaves_the_packet_alone() {
    for mode in Mode::ALL {
        let mut sealer = Sealer::with_limit(mode, &key(), 7, 3);
        assert_eq!(sealer.remaining(), 3);
        for left in [2, 1, 0] {
            let (mut buffer, len) = silence();
            sealer.seal_rtp(&mut buffer, len).expect("sealed");
            assert_eq!(sealer.remaining(), left);
        }
        let (mut buffer, len) = silence();
        for _ in 0..2 {
            let refused = sealer.seal_rtp(&mut buffer, len);
            assert_eq!(refused, Err(SealError::NonceExhausted));
        }
        assert_eq!((buffer, len), silence());
    }
}

#[test]
fn the_limit_cannot_be_raised_above_the_safe_one() {
    let safe = (1_u64 << 32) - (1 << 16);
    assert_eq!(u64::from(MAX_PACKETS), safe);
    let sealer = Sealer::with_limit(Mode::ALL[0], &key(), 0, u32::MAX);
    assert_eq!(sealer.remaining(), safe);
    assert_eq!(Sealer::new(Mode::ALL[0], &key(), u32::MAX).remaining(), safe);
}

#[test]
fn a_packet_that_does_not_fit_spends_no_nonce_and_is_left_alone() {
    for mode in Mode::ALL {
        let mut sealer = Sealer::new(mode, &key(), 0);
        let before = sealer.remaining();
        let (mut buffer, len) = silence();
        let cases = [
            (sealer.seal_rtp(&mut buffer[..len + OVERHEAD - 1], len), SealError::NoRoom),
            (sealer.seal_rtp(&mut buffer[..len + 15], len), SealError::NoRoom),
            (sealer.seal_rtp(&mut buffer[..len], len), SealError::NoRoom),
            (sealer.seal_rtp(&mut buffer[..len], len + 1), SealError::Bounds),
            (sealer.seal_rtp(&mut buffer, usize::MAX), SealError::Bounds),
            (sealer.seal_rtp(&mut buffer, 11), SealError::Header(ParseError::TooShort)),
            (sealer.seal(&mut buffer, 16, 15), SealError::Bounds),
            (sealer.seal_rtcp(&mut buffer, 7), SealError::Bounds),
        ];
        for (found, expected) in cases {
            assert_eq!(found, Err(expected), "{mode}");
        }
        assert_eq!(sealer.remaining(), before, "{mode}");
        assert_eq!((buffer, len), silence(), "{mode}");
    }
}

#[test]
#[should_panic(expected = "before the first packet")]
fn the_suffix_order_is_fixed_by_the_first_packet() {
    let mut sealer = Sealer::new(Mode::ALL[0], &key(), 0);
    let (mut buffer, len) = silence();
    sealer.seal_rtp(&mut buffer, len).expect("sealed");
    let _changed = sealer.with_suffix_order(SuffixOrder::LittleEndian);
}

#[test]
fn an_authentic_packet_of_another_version_is_refused() {
    let mut buffer = [0; 12 + OVERHEAD];
    let mode = Mode::ALL[0];
    Sealer::new(mode, &key(), 0).seal_rtp(&mut buffer, 12).expect("sealed");
    let opened = Opener::new(mode, &key()).open_rtp(&mut buffer);
    assert_eq!(opened, Err(OpenError::BadVersion));
}

#[test]
fn no_length_handed_to_the_opener_panics() {
    let opener = Opener::new(Mode::ALL[0], &key());
    for clear_len in [0, 8, 12, 40, usize::MAX - 3, usize::MAX] {
        for len in 0..64 {
            let opened = opener.open(&mut vec![0x80; len], clear_len);
            assert!(opened.is_err(), "{clear_len} of {len}");
        }
    }
}

#[test]
fn nothing_printed_holds_key_bytes() {
    let sealer = Sealer::new(Mode::ALL[1], &key(), 0);
    let opener = Opener::new(Mode::ALL[0], &key());
    assert_eq!(
        format!("{:?} {sealer:?} {opener:?}", key()),
        "SecretKey([..]) \
         Sealer { mode: XChaCha20Poly1305Rtpsize, remaining: 4294901760, .. } \
         Opener { mode: Aes256GcmRtpsize, .. }"
    );
}

#[test]
fn sealers_and_openers_can_move_between_threads() {
    fn movable<T: Send + Sync + 'static>() {}
    movable::<Sealer>();
    movable::<Opener>();
    movable::<SecretKey>();
}

proptest! {
    #[test]
    fn what_was_sealed_opens_to_the_same_packet(
        mode in prop::sample::select(Mode::ALL.to_vec()),
        key: [u8; 32],
        nonce: u32,
        csrcs in 0_usize..16,
        extension in prop::option::of(0_usize..8),
        padding in 0_usize..256,
        payload in prop::collection::vec(any::<u8>(), 0..1_300),
    ) {
        let mut plain = vec![0x80 | csrcs as u8, 0x78];
        plain.resize(12 + 4 * csrcs, 0x5A);
        if let Some(words) = extension {
            plain[0] |= 0x10;
            plain.extend([0xBE, 0xDE, 0, words as u8]);
            plain.resize(plain.len() + 4 * words, 0xE5);
        }
        let start = plain.len();
        plain.extend(&payload);
        if padding > 0 {
            plain[0] |= 0x20;
            plain.resize(plain.len() + padding - 1, 0);
            plain.push(padding as u8);
        }

        let key = SecretKey::new(key);
        let mut buffer = plain.clone();
        buffer.resize(plain.len() + OVERHEAD, 0);
        let len = Sealer::new(mode, &key, nonce).seal_rtp(&mut buffer, plain.len()).unwrap();
        prop_assert_eq!(len, plain.len() + OVERHEAD);
        let opened = Opener::new(mode, &key).open_rtp(&mut buffer).unwrap();
        prop_assert_eq!(opened.plain_len, plain.len());
        prop_assert_eq!(&buffer[..opened.plain_len], &plain);
        prop_assert_eq!(opened.payload.start, start);
        prop_assert_eq!(&buffer[opened.payload], &payload);
        prop_assert_eq!(opened.extension.map(|range| range.len()), extension.map(|w| w * 4));
    }

    #[test]
    fn random_bytes_are_never_authentic(
        mode in prop::sample::select(Mode::ALL.to_vec()),
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let opener = Opener::new(mode, &key());
        let mut again = bytes.clone();
        prop_assert!(opener.open_rtp(&mut bytes).is_err());
        prop_assert!(opener.open_rtcp(&mut again).is_err());
    }
}

fn key() -> SecretKey {
    SecretKey::new([0xA5; 32])
}

/// A silence packet and its length, in a buffer with room to spare.
fn silence() -> ([u8; 64], usize) {
    let mut buffer = [0; 64];
    RtpHeader::default().write(buffer.first_chunk_mut().expect("room"));
    buffer[12..15].copy_from_slice(&[0xF8, 0xFF, 0xFE]);
    (buffer, 15)
}
