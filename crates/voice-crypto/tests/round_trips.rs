//! What was sealed opens to the same packet, and nothing else opens.
#![cfg(any(feature = "aws-lc", feature = "rust-crypto"))]

mod packets;

use std::error::Error;

use proptest::prelude::*;
use voice_crypto::{Backend, Mode, OpenError, Opener, ReplayError, ReplayWindow, SealError, Sealer, SecretKey};
use voice_rtp::ParseError;

use crate::packets::{BUFFER, header_is_nonce, key, silence};

#[test]
fn an_authentic_packet_of_another_version_is_refused() {
    for &mode in Mode::ALL {
        let mut buffer = [0; BUFFER];
        buffer[8..12].fill(1); // an SSRC
        let len = Sealer::new(mode, key(), 0).seal_rtp(&mut buffer, 12).expect("sealed");
        let opened = Opener::new(mode, &key()).open_rtp(&mut buffer[..len]);
        assert_eq!(opened, Err(OpenError::BadVersion), "{mode}");
    }
}

#[test]
#[cfg(feature = "legacy")]
fn parts_that_were_encrypted_and_run_past_the_end_are_refused() {
    for mode in [Mode::Aes256Gcm, Mode::XSalsa20Poly1305, Mode::XSalsa20Poly1305Lite, Mode::XSalsa20Poly1305Suffix] {
        for (flags, expected) in [(0x82, OpenError::CsrcOverrun), (0x90, OpenError::ExtensionOverrun)] {
            let (mut buffer, len) = silence(0);
            buffer[0] = flags;
            let len = Sealer::new(mode, key(), 0).seal_rtp(&mut buffer, len).expect("sealed");
            let opened = Opener::new(mode, &key()).open_rtp(&mut buffer[..len]);
            assert_eq!(opened, Err(expected), "{mode}");
        }
    }
}

#[test]
fn no_length_handed_to_the_opener_panics() {
    for &mode in Mode::ALL {
        let opener = Opener::new(mode, &key());
        for clear_len in [0, 8, 12, 40, usize::MAX - 3, usize::MAX] {
            for len in 0..BUFFER {
                let opened = opener.open(&mut vec![0x80; len], clear_len);
                assert!(opened.is_err(), "{mode}: {clear_len} of {len}");
            }
        }
    }
}

#[test]
fn nothing_printed_holds_key_bytes() {
    let sealer = Sealer::new(Mode::CURRENT[1], key(), 0);
    let opener = Opener::new(Mode::CURRENT[0], &key());
    assert_eq!(
        format!("{:?} {sealer:?} {opener:?}", key()),
        "SecretKey([..]) \
         Sealer { mode: XChaCha20Poly1305Rtpsize, remaining: 4294901760, .. } \
         Opener { mode: Aes256GcmRtpsize, .. }"
    );
    // Neither as decimal numbers nor as hexadecimal ones, in any mode on any backend.
    for &backend in Backend::ALL {
        for &mode in Mode::ALL {
            let sealer = Sealer::with_backend(backend, mode, key(), [0xBB; 24]);
            let opener = Opener::with_backend(backend, mode, &key());
            assert_eq!((sealer.mode(), opener.mode()), (mode, mode));
            let printed = format!("{sealer:?} {sealer:#?} {opener:?} {opener:#x?}").to_lowercase();
            assert!(!printed.contains("165") && !printed.contains("a5"), "{printed}");
        }
    }
}

#[test]
fn sealers_and_openers_can_move_between_threads() {
    fn movable<T: Send + Sync + 'static>() {}
    movable::<Sealer>();
    movable::<Opener>();
    movable::<SecretKey>();
    movable::<ReplayWindow>();
}

#[test]
fn errors_say_what_is_wrong_and_why() {
    let seal = [
        SealError::Bounds,
        SealError::Header(ParseError::TooShort),
        SealError::NoRoom,
        SealError::NonceExhausted,
        SealError::NonceReused,
        SealError::Cipher,
    ];
    let open = [
        OpenError::TooShort,
        OpenError::Auth,
        OpenError::Replayed(ReplayError::Old),
        OpenError::BadVersion,
        OpenError::CsrcOverrun,
        OpenError::ExtensionOverrun,
        OpenError::PaddingZero,
        OpenError::PaddingOverrun,
    ];
    let texts: Vec<_> = seal.iter().map(ToString::to_string).chain(open.iter().map(ToString::to_string)).collect();
    for (place, text) in texts.iter().enumerate() {
        assert!(!text.is_empty() && !texts[..place].contains(text), "{text}");
    }
    let sources = seal.iter().filter(|error| error.source().is_some()).count()
        + open.iter().filter(|error| error.source().is_some()).count();
    assert_eq!(sources, 2);
}

#[test]
fn a_packet_opens_once_and_the_next_one_opens() {
    for &mode in Mode::ALL {
        let mut sealer = Sealer::new(mode, key(), 0);
        let opener = Opener::new(mode, &key());
        let mut window = ReplayWindow::new();
        for number in 65_530..65_600 {
            let (mut buffer, len) = silence(number);
            let len = sealer.seal_rtp(&mut buffer, len).expect("sealed");
            let sealed = buffer;
            opener.open_rtp_once(&mut window, &mut buffer[..len]).expect("the first time");
            let mut again = sealed;
            let refused = opener.open_rtp_once(&mut window, &mut again[..len]);
            assert_eq!(refused, Err(OpenError::Replayed(ReplayError::Duplicate)), "{mode}");
            assert_eq!(again, sealed, "a replayed packet is left alone");
        }
        let mut short = [0x80; 11];
        assert_eq!(opener.open_rtp_once(&mut window, &mut short), Err(OpenError::TooShort));
    }
}

#[test]
fn a_forged_packet_does_not_move_the_window() {
    let mode = Mode::CURRENT[0];
    let mut sealer = Sealer::new(mode, key(), 0);
    let opener = Opener::new(mode, &key());
    let mut window = ReplayWindow::new();
    let (mut first, len) = silence(100);
    let sealed_len = sealer.seal_rtp(&mut first, len).expect("sealed");
    let mut forged = first;
    forged[2..4].copy_from_slice(&20_000_u16.to_be_bytes());
    let refused = opener.open_rtp_once(&mut window, &mut forged[..sealed_len]);
    assert_eq!(refused, Err(OpenError::Auth));
    opener.open_rtp_once(&mut window, &mut first[..sealed_len]).expect("the true packet");

    // One that is authentic but has no valid shape was received all the same.
    let (mut odd, len) = silence(101);
    odd[0] |= 0x20;
    odd[len - 1] = 0;
    let sealed_len = sealer.seal_rtp(&mut odd, len).expect("sealed");
    let mut again = odd;
    let refused = opener.open_rtp_once(&mut window, &mut odd[..sealed_len]);
    assert_eq!(refused, Err(OpenError::PaddingZero));
    let refused = opener.open_rtp_once(&mut window, &mut again[..sealed_len]);
    assert_eq!(refused, Err(OpenError::Replayed(ReplayError::Duplicate)));
}

/// A plain packet, and where its payload begins.
fn plain(csrcs: usize, extension: Option<usize>, padding: usize, payload: &[u8]) -> (Vec<u8>, usize) {
    let mut plain = vec![0x80 | csrcs as u8, 0x78];
    plain.resize(12 + 4 * csrcs, 0x5A);
    if let Some(words) = extension {
        plain[0] |= 0x10;
        plain.extend([0xBE, 0xDE, 0, words as u8]);
        plain.resize(plain.len() + 4 * words, 0xE5);
    }
    let start = plain.len();
    plain.extend(payload);
    if padding > 0 {
        plain[0] |= 0x20;
        plain.resize(plain.len() + padding - 1, 0);
        plain.push(padding as u8);
    }
    (plain, start)
}

proptest! {
    #[test]
    fn what_was_sealed_opens_to_the_same_packet_on_every_backend(
        mode in prop::sample::select(Mode::ALL),
        key: [u8; 32],
        start: [u8; 24],
        csrcs in 0_usize..16,
        extension in prop::option::of(0_usize..8),
        padding in 0_usize..256,
        payload in prop::collection::vec(any::<u8>(), 0..1_300),
    ) {
        let (plain, payload_start) = plain(csrcs, extension, padding, &payload);
        let mut first: Option<Vec<u8>> = None;
        for &backend in Backend::ALL {
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + mode.overhead(), 0);
            let mut sealer = Sealer::with_backend(backend, mode, SecretKey::new(key), start);
            let len = sealer.seal_rtp(&mut buffer, plain.len()).unwrap();
            prop_assert_eq!(len, buffer.len());
            let sealed = first.get_or_insert_with(|| buffer.clone());
            prop_assert_eq!(&buffer, sealed, "{:?}", backend);

            let opened = Opener::with_backend(backend, mode, &SecretKey::new(key)).open_rtp(&mut buffer).unwrap();
            prop_assert_eq!(opened.plain_len, plain.len());
            prop_assert_eq!(&buffer[..opened.plain_len], &plain);
            prop_assert_eq!(opened.payload.start, payload_start);
            prop_assert_eq!(&buffer[opened.payload], &payload);
            prop_assert_eq!(opened.extension.map(|range| range.len()), extension.map(|w| w * 4));
        }
    }

    #[test]
    fn reports_open_to_the_same_bytes_on_every_backend(
        mode in prop::sample::select(Mode::ALL),
        key: [u8; 32],
        start: u32,
        plain in prop::collection::vec(any::<u8>(), 8..200),
    ) {
        let mut first: Option<Vec<u8>> = None;
        for &backend in Backend::ALL {
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + mode.overhead(), 0);
            let mut sealer = Sealer::with_backend(backend, mode, SecretKey::new(key), start);
            prop_assert_eq!(sealer.seal_rtcp(&mut buffer, plain.len()), Ok(buffer.len()));
            let sealed = first.get_or_insert_with(|| buffer.clone());
            prop_assert_eq!(&buffer, sealed, "{:?}", backend);
            let opened = Opener::with_backend(backend, mode, &SecretKey::new(key)).open_rtcp(&mut buffer);
            prop_assert_eq!(opened, Ok(plain.len()));
            prop_assert_eq!(&buffer[..plain.len()], &plain);
        }
    }

    #[test]
    fn every_truncation_of_a_sealed_packet_is_refused(
        mode in prop::sample::select(Mode::ALL),
        backend in prop::sample::select(Backend::ALL),
        csrcs in 0_usize..16,
        extension in prop::option::of(0_usize..8),
        payload in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let (plain, _) = plain(csrcs, extension, 0, &payload);
        let mut sealed = plain.clone();
        sealed.resize(plain.len() + mode.overhead(), 0);
        Sealer::with_backend(backend, mode, key(), 7).seal_rtp(&mut sealed, plain.len()).unwrap();
        let opener = Opener::with_backend(backend, mode, &key());
        for len in 0..sealed.len() {
            let opened = opener.open_rtp(&mut sealed[..len].to_vec());
            prop_assert!(matches!(opened, Err(OpenError::TooShort | OpenError::Auth)), "{} gave {:?}", len, opened);
        }
    }

    #[test]
    fn backends_agree_about_any_bytes(
        mode in prop::sample::select(Mode::ALL),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        rtcp: bool,
    ) {
        let mut found = None;
        for &backend in Backend::ALL {
            let opener = Opener::with_backend(backend, mode, &key());
            let mut bytes = bytes.clone();
            let opened = if rtcp { opener.open_rtcp(&mut bytes).map(|_| ()) } else { opener.open_rtp(&mut bytes).map(|_| ()) };
            prop_assert!(opened.is_err());
            prop_assert_eq!(*found.get_or_insert(opened), opened);
        }
    }

    #[test]
    fn a_packet_of_one_mode_or_key_opens_with_no_other(
        sealed in prop::sample::select(Mode::ALL),
        opened in prop::sample::select(Mode::ALL),
        same_key: bool,
        nonce: u32,
    ) {
        // The two over one cipher whose layouts are equal for a packet without extension.
        let equal = sealed == opened || {
            let names = [sealed.wire_name(), opened.wire_name()];
            names.contains(&"xsalsa20_poly1305_lite") && names.contains(&"xsalsa20_poly1305_lite_rtpsize")
                || names.contains(&"aead_aes256_gcm") && names.contains(&"aead_aes256_gcm_rtpsize")
        };
        let opening = if same_key { key() } else { SecretKey::new([0x5A; 32]) };
        let (mut buffer, len) = silence(1);
        let len = Sealer::new(sealed, key(), nonce).seal_rtp(&mut buffer, len).unwrap();
        let opener = Opener::new(opened, &opening);
        let found = opener.open_rtp(&mut buffer[..len]);
        if equal && same_key {
            prop_assert!(found.is_ok());
        } else {
            prop_assert!(matches!(found, Err(OpenError::Auth | OpenError::TooShort)), "{:?}", found);
        }
    }

    #[test]
    fn sealers_accept_whatever_the_caller_hands_them(
        mode in prop::sample::select(Mode::ALL),
        mut bytes in prop::collection::vec(any::<u8>(), 0..100),
        clear_len in 0_usize..120,
        len in 0_usize..120,
    ) {
        let mut sealer = Sealer::new(mode, key(), 0);
        let before = bytes.clone();
        match sealer.seal(&mut bytes, clear_len, len) {
            Ok(sealed) => {
                prop_assert_eq!(sealed, len + mode.overhead());
                prop_assert_eq!(&bytes[..clear_len], &before[..clear_len]);
                prop_assert_eq!(&bytes[sealed..], &before[sealed..]);
                prop_assert_eq!(Opener::new(mode, &key()).open(&mut bytes[..sealed], clear_len), Ok(len));
                prop_assert_eq!(&bytes[..len], &before[..len]);
            }
            Err(error) => {
                prop_assert!(matches!(error, SealError::Bounds | SealError::NoRoom)
                    || error == SealError::NonceReused && header_is_nonce(mode));
                prop_assert_eq!(bytes, before);
            }
        }
    }
}
