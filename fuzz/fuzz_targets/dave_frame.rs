//! Frames of the end-to-end encryption: what the network sends is opened, and what is sealed opens again.
//!
//! The input is a codec, the bit to flip and a frame, which is taken once for a sealed one and once for a plain
//! one. The secret is that of the vectors, so that their frames are authentic.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use voice_dave::{
    BaseSecret, Codec, FrameOpener, FrameSealer, Media, OpenError, OpenedKind, ReceiveMode, SealError, SendMode,
    is_protocol_frame,
};

fuzz_target!(|input: &[u8]| {
    let Some((&[selector, b0, b1], frame)) = input.split_first_chunk() else { return };
    let codec = CODECS[usize::from(selector) % CODECS.len()];
    open_anything(frame);
    if codec == Codec::Opus {
        seal_audio(frame);
    }
    seal_and_open(codec, frame, usize::from(u16::from_be_bytes([b0, b1])));
});

/// Takes bytes from nowhere for a sealed frame, with a key and without, with plaintext accepted and without.
fn open_anything(frame: &[u8]) {
    let now = Instant::now();
    for media in [Media::Audio, Media::Video] {
        let silence = media == Media::Audio && frame == [0xF8, 0xFF, 0xFE];
        let mut clear = FrameOpener::new();
        clear.set_mode(now, ReceiveMode::Passthrough);
        let mut buffer = frame.to_vec();
        let opened = clear.open(now, media, &mut buffer);
        assert_eq!(buffer, frame, "nothing is decrypted without a key");
        match opened {
            Ok(opened) => {
                assert!(silence || !is_protocol_frame(frame), "a protocol frame was passed through");
                assert_eq!(opened.len, frame.len());
                assert_eq!(opened.kind == OpenedKind::Silence, silence);
            }
            Err(error) => assert_eq!((error, is_protocol_frame(frame)), (OpenError::MissingKey, true)),
        }

        let mut opener = opener(now);
        let opened = opener.open(now, media, &mut buffer);
        match opened {
            Ok(opened) if opened.kind == OpenedKind::Decrypted => {
                assert!(is_protocol_frame(frame) && opened.len + 12 <= frame.len());
                let again = opener.open(now, media, &mut frame.to_vec());
                assert_eq!(again, Err(OpenError::Replay), "a frame opened twice");
            }
            Ok(opened) => assert!(silence && opened.len == 3),
            Err(error) => {
                assert_eq!(buffer, frame, "a refused frame was changed");
                assert_eq!(error == OpenError::Unencrypted, !is_protocol_frame(frame));
            }
        }
    }
}

fn seal_audio(frame: &[u8]) {
    let mut buffer = frame.to_vec();
    buffer.resize(frame.len() + FrameSealer::MAX_OVERHEAD, 0xEE);
    let len = sealer().seal(&mut buffer, frame.len()).expect("there is room");
    assert_eq!(len, frame.len() + 12);
    let now = Instant::now();
    let opened = opener(now).open(now, Media::Audio, &mut buffer[..len]).expect("it is authentic");
    assert_eq!(&buffer[..opened.len], frame);
}

fn seal_and_open(codec: Codec, frame: &[u8], bit: usize) {
    let mut out = vec![0; FrameSealer::max_sealed_len(codec, frame.len())];
    let len = match sealer().seal_video(codec, frame, &mut out) {
        Ok(len) => len,
        Err(error) => {
            let units = matches!(codec, Codec::H264 | Codec::H265 | Codec::Av1);
            assert!(units && matches!(error, SealError::TooManyRanges | SealError::StartCode), "{error:?}");
            return;
        }
    };
    out.truncate(len);
    assert!(is_protocol_frame(&out));
    let now = Instant::now();
    let mut opener = opener(now);

    let mut altered = out.clone();
    let bit = bit % (len * 8);
    altered[bit / 8] ^= 1 << (bit % 8);
    let mut buffer = altered.clone();
    let refused = opener.open(now, Media::Video, &mut buffer).is_err();
    // Where clear ranges lie is not authenticated, only what they separate.
    let trailer_at = len - usize::from(out[len - 3]);
    assert!(refused || bit / 8 > trailer_at + 8, "an altered frame was opened");
    if refused {
        assert_eq!(buffer, altered, "a refused frame was changed");
        let opened = opener.open(now, Media::Video, &mut out).expect("the true one is accepted after it");
        assert_eq!(opened.len, trailer_at);
        if matches!(codec, Codec::Opus | Codec::Vp8 | Codec::Vp9 | Codec::Unknown) {
            assert_eq!(&out[..opened.len], frame);
        }
    }
}

fn sealer() -> FrameSealer {
    let mut sealer = FrameSealer::new();
    sealer.set_mode(SendMode::Encrypt(BaseSecret::new(SECRET)));
    sealer
}

fn opener(now: Instant) -> FrameOpener {
    let mut opener = FrameOpener::new();
    opener.set_mode(now, ReceiveMode::Decrypt(BaseSecret::new(SECRET)));
    opener
}

/// That of the vectors.
const SECRET: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

const CODECS: [Codec; 7] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1, Codec::Unknown];
