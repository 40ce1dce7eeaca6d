use proptest::prelude::*;

use super::*;

const CODECS: [Codec; 7] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1, Codec::Unknown];

fn sent(codec: Codec, frame: &[u8]) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut out = vec![0; crate::FrameSealer::max_sealed_len(codec, frame.len())];
    let (len, ranges) = lay_out(codec, frame, &mut out).expect("room and few units");
    (out[..len].to_vec(), ranges.spans().iter().map(|span| (span.offset, span.len)).collect())
}

#[test]
fn frames_that_are_not_well_formed_are_encrypted_whole() {
    let cases: [(Codec, &[u8]); 12] = [
        (Codec::Vp8, &[]),
        (Codec::Vp8, &[0x10, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Codec::H264, &[]),
        (Codec::H264, &[0, 0, 1]),
        (Codec::H264, &[1, 2, 3, 4, 5, 6]),
        (Codec::H264, &[9, 0, 0, 1, 0x61, 1]),
        (Codec::H265, &[0, 0, 0, 0]),
        (Codec::H265, &[2, 0, 0, 1, 2, 1, 5]),
        (Codec::Av1, &[0x0A]),
        (Codec::Av1, &[0x36, 0]),
        (Codec::Av1, &[0x32, 0x80]),
        (Codec::Av1, &[0x32, 5, 1, 2]),
    ];
    for (codec, frame) in cases {
        assert_eq!(sent(codec, frame), (frame.to_vec(), vec![]), "{codec:?} {frame:?}");
    }
}

#[test]
fn a_last_unit_of_one_byte_is_kept() {
    let end_of_sequence = [0, 0, 1, 0x61, 0xE0, 7, 7, 0, 0, 1, 0x0A];
    let (form, clear) = sent(Codec::H264, &end_of_sequence);
    assert_eq!(form, [0, 0, 0, 1, 0x61, 0xE0, 7, 7, 0, 0, 0, 1, 0x0A]);
    assert_eq!(clear, [(0, 6), (8, 5)]);
}

#[test]
fn a_slice_that_ends_inside_its_header_is_clear() {
    assert_eq!(sent(Codec::H264, &[0, 0, 1, 0x61, 0x00]).1, [(0, 6)]);
    assert_eq!(sent(Codec::H264, &[0, 0, 1, 0x61, 0, 0, 0, 0, 0, 0, 7]).1, [(0, 5)], "32 zero bits are no value");
}

#[test]
fn the_last_unit_that_is_sent_has_no_size_also_when_padding_follows() {
    let frame = [0x32, 3, 1, 2, 3, 0x7A, 2, 0, 0];
    assert_eq!(sent(Codec::Av1, &frame), (vec![0x30, 1, 2, 3], vec![(0, 1)]));
}

#[test]
fn more_units_than_a_trailer_can_name_are_refused() {
    let units = |count: usize| [0, 0, 1, 0x61, 0xE0, 7, 7].repeat(count);
    let mut out = vec![0; 4_000];
    assert_eq!(lay_out(Codec::H264, &units(121), &mut out).expect("room").1.spans().len(), 121);
    assert_eq!(lay_out(Codec::H264, &units(122), &mut out).unwrap_err(), SealError::TooManyRanges);
    assert_eq!(lay_out(Codec::H264, &units(10), &mut out[..60]).unwrap_err(), SealError::NoRoom);
}

#[test]
fn start_codes_are_seen_across_the_edges_of_clear_parts() {
    let clear = [Span { offset: 0, len: 4 }, Span { offset: 8, len: 2 }];
    let frame = |bytes: [u8; 14]| has_start_code(Codec::H264, &bytes, &clear);
    assert!(!frame([0, 0, 0, 1, 9, 9, 9, 9, 5, 5, 9, 9, 9, 9]));
    assert!(frame([0, 0, 0, 0, 1, 9, 9, 9, 5, 5, 9, 9, 9, 9]), "two bytes before");
    assert!(frame([9, 9, 9, 9, 9, 9, 0, 0, 1, 5, 9, 9, 9, 9]), "one byte behind");
    assert!(frame([9, 9, 9, 9, 9, 9, 9, 9, 5, 5, 0, 0, 1, 9]), "in the trailer");
    assert!(!has_start_code(Codec::Av1, &[9, 9, 0, 0, 1, 9], &[]));
}

proptest! {
    #[test]
    fn any_frame_can_be_laid_out(frame in proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..400)) {
        for codec in CODECS {
            let mut out = vec![0; crate::FrameSealer::max_sealed_len(codec, frame.len())];
            let Ok((len, ranges)) = lay_out(codec, &frame, &mut out) else {
                prop_assert!(matches!(codec, Codec::H264 | Codec::H265 | Codec::Av1));
                continue;
            };
            prop_assert!(ranges.spans().iter().all(|span| span.end() <= len));
            prop_assert!(ranges.spans().windows(2).all(|pair| pair[0].end() <= pair[1].offset));
        }
    }

    #[test]
    fn nothing_of_a_slice_behind_its_header_is_clear(body in proptest::collection::vec(4u8.., 20..200)) {
        let frame = [&[0, 0, 0, 1, 0x65, 0xB8], &body[..]].concat();
        let (form, clear) = sent(Codec::H264, &frame);
        prop_assert_eq!((form, clear), (frame, vec![(0, 6)]));
    }
}
