//! H.264 and H.265 as byte streams of units behind start codes (their annexes B).
#![deny(clippy::indexing_slicing)]

use super::{Codec, Layout};
use crate::frame::Span;

/// Lays out every unit behind a long start code, the front of it clear; `None` when the frame does not begin with
/// a unit.
///
/// Receivers see all start codes as long ones, because depacketizers write them so.
pub(super) fn lay_out(frame: &[u8], layout: &mut Layout<'_>, clear_len: fn(&[u8]) -> Option<usize>) -> Option<()> {
    let mut found = find_start_code(frame, 0);
    if frame.get(..found?.offset)?.iter().any(|byte| *byte != 0) {
        return None;
    }
    while let Some(start) = found {
        found = find_start_code(frame, start.end());
        let unit = frame.get(start.end()..found.map_or(frame.len(), |next| next.offset))?;
        let clear = clear_len(unit).map_or(unit.len(), |len| len.min(unit.len()));
        let (head, body) = unit.split_at_checked(clear)?;
        layout.clear(&LONG_START_CODE);
        layout.clear(head);
        layout.encrypted(body);
    }
    Some(())
}

/// How much of a unit of H.264 stays in the clear; `None` for all of it.
pub(super) fn h264_clear_len(unit: &[u8]) -> Option<usize> {
    let (header, payload) = unit.split_first()?;
    matches!(header & 0x1F, H264_SLICE | H264_IDR).then(|| 1 + len_up_to_pps_id(payload))
}

/// How much of a unit of H.265 stays in the clear; `None` for all of it.
pub(super) fn h265_clear_len(unit: &[u8]) -> Option<usize> {
    let (header, _) = unit.split_first_chunk::<H265_HEADER_LEN>()?;
    let unit_type = (header.first()? & 0x7E) >> 1;
    (unit_type < H265_FIRST_NOT_SLICE).then_some(H265_HEADER_LEN)
}

/// Whether the encrypted parts of a frame, or its trailer, would be taken for a start code.
pub(crate) fn has_start_code(codec: Codec, frame: &[u8], clear: &[Span]) -> bool {
    if !matches!(codec, Codec::H264 | Codec::H265) {
        return false;
    }
    let starts = std::iter::once(0).chain(clear.iter().map(|span| span.end()));
    let ends = clear.iter().map(|span| span.offset).chain(std::iter::once(frame.len()));
    starts.zip(ends).filter(|(start, end)| start < end).any(|(start, end)| {
        // A start code may lie across the edge of a clear part.
        let part = frame.get(start.saturating_sub(2)..end.saturating_add(2).min(frame.len()));
        part.is_some_and(|part| find_start_code(part, 0).is_some())
    })
}

/// How many bytes three exp-Golomb values take: the first macroblock, the slice's type, the picture parameter set
/// (H.264, section 7.3.3). Bytes that only prevent start codes are counted, but not read.
fn len_up_to_pps_id(payload: &[u8]) -> usize {
    let (mut values, mut zeros, mut bit) = (0, 0, 0);
    while values < 3
        && let Some(byte) = payload.get(bit / 8)
    {
        let before = (bit / 8).checked_sub(2).and_then(|from| payload.get(from..bit / 8));
        if bit % 8 == 0 && *byte == EMULATION_PREVENTION && before == Some(&[0, 0]) {
            bit += 8;
        } else if byte & (0x80 >> (bit % 8)) == 0 {
            (zeros, bit) = (zeros + 1, bit + 1);
            if zeros >= MAX_ZEROS {
                return 0;
            }
        } else {
            values += 1;
            bit += 1 + zeros;
            zeros = 0;
        }
    }
    let len = bit / 8 + 1;
    // No packetizer has use for so long a head.
    if len > u16::MAX.into() { 0 } else { len }
}

/// The first start code at or after `from`, with the zero before it if there is one, and a byte behind it.
fn find_start_code(bytes: &[u8], from: usize) -> Option<Span> {
    let mut at = from;
    // The last three bytes are not looked at: a unit follows a start code.
    while let Some(&[first, second, third, _]) = bytes.get(at..at + 4) {
        match (first, second, third) {
            (0, 0, 1) => {
                let is_long = at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&0) && at > from;
                return Some(if is_long { Span { offset: at - 1, len: 4 } } else { Span { offset: at, len: 3 } });
            }
            (.., 2..) => at += 3,
            (_, 1.., _) => at += 2,
            _ => at += 1,
        }
    }
    None
}

const LONG_START_CODE: [u8; 4] = [0, 0, 0, 1];
/// H.264, table 7-1.
const H264_SLICE: u8 = 1;
/// H.264, table 7-1.
const H264_IDR: u8 = 5;
const H265_HEADER_LEN: usize = 2;
/// Units below it hold coded slices (H.265, table 7-1).
const H265_FIRST_NOT_SLICE: u8 = 32;
/// H.264, section 7.4.1.
const EMULATION_PREVENTION: u8 = 3;
/// No value that is used has as many leading zero bits.
const MAX_ZEROS: usize = 32;
