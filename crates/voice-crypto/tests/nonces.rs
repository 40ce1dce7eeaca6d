//! The promises of the sealer: no nonce twice, and an error well before that.
#![cfg(any(feature = "aws-lc", feature = "rust-crypto"))]

mod packets;

use std::collections::HashSet;

use voice_crypto::{MAX_PACKETS, Mode, NonceStart, SealError, Sealer, SuffixOrder};
use voice_rtp::ParseError;

use crate::packets::{BUFFER, header_is_nonce, key, silence};

#[test]
fn no_nonce_is_sent_twice_across_the_wrap_by_rtp_and_rtcp_together() {
    for &mode in Mode::ALL {
        for order in [SuffixOrder::BigEndian, SuffixOrder::LittleEndian] {
            let mut start = [0xEE; 24];
            start[..4].copy_from_slice(&(u32::MAX - 500).to_be_bytes());
            let mut sealer = Sealer::new(mode, key(), start).with_suffix_order(order);
            let mut seen = HashSet::new();
            for number in 0..1_000 {
                let (mut buffer, len) = silence(number);
                let rtcp = number % 3 == 0 && !header_is_nonce(mode);
                let len = if rtcp { sealer.seal_rtcp(&mut buffer, len) } else { sealer.seal_rtp(&mut buffer, len) };
                let len = len.expect("sealed");
                let nonce = match mode.suffix_len() {
                    0 => &buffer[..12],
                    suffix_len => &buffer[len - suffix_len..len],
                };
                assert!(seen.insert(nonce.to_vec()), "{mode}: packet {number}");
            }
        }
    }
}

#[test]
fn a_spent_sealer_refuses_and_leaves_the_packet_alone() {
    for &mode in Mode::ALL {
        let mut sealer = Sealer::with_limit(mode, key(), 7, 3);
        assert_eq!(sealer.remaining(), 3);
        for left in [2, 1, 0] {
            let (mut buffer, len) = silence(10 - left as u32);
            sealer.seal_rtp(&mut buffer, len).expect("sealed");
            assert_eq!(sealer.remaining(), left);
        }
        let (mut buffer, len) = silence(20);
        for _ in 0..2 {
            let refused = sealer.seal_rtp(&mut buffer, len);
            assert_eq!(refused, Err(SealError::NonceExhausted), "{mode}");
            let refused = sealer.seal_rtcp(&mut buffer, len);
            assert_eq!(refused, Err(SealError::NonceExhausted), "{mode}");
        }
        assert_eq!((buffer, len), silence(20));
    }
}

#[test]
fn the_limit_cannot_be_raised_above_the_safe_one() {
    let safe = (1_u64 << 32) - (1 << 16);
    assert_eq!(u64::from(MAX_PACKETS), safe);
    for &mode in Mode::ALL {
        let sealer = Sealer::with_limit(mode, key(), 0, u32::MAX);
        assert_eq!(sealer.remaining(), safe);
        assert_eq!(Sealer::new(mode, key(), u32::MAX).remaining(), safe);
    }
}

#[test]
fn a_packet_that_does_not_fit_spends_no_nonce_and_is_left_alone() {
    for &mode in Mode::ALL {
        let mut sealer = Sealer::new(mode, key(), 0);
        let before = sealer.remaining();
        let (mut buffer, len) = silence(0);
        let overhead = mode.overhead();
        let cases = [
            (sealer.seal_rtp(&mut buffer[..len + overhead - 1], len), SealError::NoRoom),
            (sealer.seal_rtp(&mut buffer[..len + 15], len), SealError::NoRoom),
            (sealer.seal_rtp(&mut buffer[..len], len), SealError::NoRoom),
            (sealer.seal_rtp(&mut buffer[..len], len + 1), SealError::Bounds),
            (sealer.seal_rtp(&mut buffer, BUFFER + 1), SealError::Bounds),
            (sealer.seal_rtp(&mut buffer, usize::MAX), SealError::Bounds),
            (sealer.seal_rtp(&mut buffer, 11), SealError::Header(ParseError::TooShort)),
            (sealer.seal(&mut buffer, 16, 15), SealError::Bounds),
            (sealer.seal_rtcp(&mut buffer, 7), SealError::Bounds),
        ];
        for (found, expected) in cases {
            assert_eq!(found, Err(expected), "{mode}");
        }
        assert_eq!(sealer.remaining(), before, "{mode}");
        assert_eq!((buffer, len), silence(0), "{mode}");
    }
}

#[test]
#[should_panic(expected = "before the first packet")]
fn the_suffix_order_is_fixed_by_the_first_packet() {
    let mut sealer = Sealer::new(Mode::CURRENT[0], key(), 0);
    let (mut buffer, len) = silence(0);
    sealer.seal_rtp(&mut buffer, len).expect("sealed");
    let _changed = sealer.with_suffix_order(SuffixOrder::LittleEndian);
}

#[test]
fn a_start_of_bytes_begins_where_its_counter_says() {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&[1, 2, 3, 4]);
    let start = NonceStart::from(bytes);
    assert_eq!(start, NonceStart::from(0x0102_0304));
    let (mut buffer, len) = silence(0);
    let len = Sealer::new(Mode::CURRENT[1], key(), start).seal_rtp(&mut buffer, len).expect("sealed");
    assert_eq!(buffer[len - 4..len], [1, 2, 3, 4]);
}

#[cfg(feature = "legacy")]
mod headers_as_nonces {
    use super::*;

    #[test]
    fn a_packet_whose_header_was_sealed_is_refused_and_left_alone() {
        let mut sealer = Sealer::new(Mode::XSalsa20Poly1305, key(), 0);
        let (mut buffer, len) = silence(5);
        sealer.seal_rtp(&mut buffer, len).expect("sealed");
        let before = sealer.remaining();
        for number in [5, 4] {
            let (mut buffer, len) = silence(number);
            assert_eq!(sealer.seal_rtp(&mut buffer, len), Err(SealError::NonceReused));
            assert_eq!((buffer, len), silence(number));
        }
        assert_eq!(sealer.remaining(), before);
        let (mut buffer, len) = silence(6);
        sealer.seal_rtp(&mut buffer, len).expect("the next packet");
    }

    #[test]
    fn a_report_is_sealed_once() {
        let mut sealer = Sealer::new(Mode::XSalsa20Poly1305, key(), 0);
        let report = [0x80, 0xC8, 0, 6, 0, 0, 0, 1];
        let mut buffer = [0; BUFFER];
        buffer[..8].copy_from_slice(&report);
        assert_eq!(sealer.seal_rtcp(&mut buffer, 28), Ok(28 + 16));
        buffer[..8].copy_from_slice(&report);
        assert_eq!(sealer.seal_rtcp(&mut buffer, 28), Err(SealError::NonceReused));
    }

    #[test]
    fn a_clear_part_that_is_no_header_is_out_of_bounds() {
        let mut sealer = Sealer::new(Mode::XSalsa20Poly1305, key(), 0);
        for clear_len in [0, 7, 9, 11, 13, 16] {
            let (mut buffer, _) = silence(0);
            assert_eq!(sealer.seal(&mut buffer, clear_len, 20), Err(SealError::Bounds), "{clear_len}");
        }
    }
}
