//! What is looked at of a Matroska file before its reader sees it: whether the sizes in front of the audio can be true.
//!
//! RFC 8794, sections 4 to 6; RFC 9559.

#![deny(clippy::indexing_slicing)]

use std::io;

use super::OpenError;
use super::bytes::Bytes;

/// Looks at a file that can be sought, up to its first audio, and goes back to its start.
///
/// # Errors
///
/// [`OpenError::Malformed`] for an element that claims to be far longer than the file.
pub(super) fn check(bytes: &mut Bytes) -> Result<(), OpenError> {
    let start = bytes.pos();
    let end = bytes.len().unwrap_or(u64::MAX);
    level(bytes, end, 0, &mut 0)?;
    bytes.seek_to(start)?;
    Ok(())
}

/// Looks at the elements up to `end`; `false` when the rest need not be looked at.
fn level(bytes: &mut Bytes, end: u64, depth: u8, elements: &mut u32) -> Result<bool, OpenError> {
    while bytes.pos() < end && *elements < MAX_ELEMENTS {
        *elements += 1;
        let Some((id, size)) = read_header(bytes)? else {
            return Ok(false);
        };
        let left = end.saturating_sub(bytes.pos());
        let cluster = id == CLUSTER;
        let size = match size {
            Some(size) if size <= left => size,
            // Cut short, or written as a stream: what is there plays.
            Some(size) if size <= TOLERANCE || id == SEGMENT || cluster => left,
            Some(_) => return Err(OpenError::Malformed("an element claims more than there is".into())),
            None => left,
        };
        let body_end = bytes.pos() + size;
        let is_master = depth < MAX_DEPTH && MASTERS.contains(&id);
        if is_master && (!level(bytes, body_end, depth + 1, elements)? || cluster) {
            return Ok(false);
        }
        bytes.seek_to(body_end)?;
    }
    Ok(*elements < MAX_ELEMENTS)
}

/// An element's id and its size, if that is known.
fn read_header(bytes: &mut Bytes) -> io::Result<Option<(u32, Option<u64>)>> {
    let header = bytes.peek(12)?;
    let parsed = (|| {
        let id_len = header.first()?.leading_zeros() as usize + 1;
        let id = header.get(..id_len).filter(|id| id.len() <= 4)?.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let rest = header.get(id_len..)?;
        let size_len = rest.first()?.leading_zeros() as usize + 1;
        let size = rest.get(..size_len).filter(|size| size.len() <= 8)?;
        let all = size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
        let mask = (1u64 << (7 * size_len)) - 1;
        Some((id_len + size_len, id, Some(all & mask).filter(|size| *size != mask)))
    })();
    Ok(parsed.map(|(len, id, size)| {
        bytes.consume(len);
        (id, size)
    }))
}

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1F43_B675;
/// Elements that hold others: Segment, Cluster, BlockGroup, Tracks, TrackEntry, Audio, ContentEncodings,
/// ContentEncoding, ContentCompression, Tags, Attachments, AttachedFile, Info, SeekHead.
const MASTERS: [u32; 14] = [
    SEGMENT,
    CLUSTER,
    0xA0,
    0x1654_AE6B,
    0xAE,
    0xE1,
    0x6D80,
    0x6240,
    0x5034,
    0x1254_C367,
    0x1941_A469,
    0x61A7,
    0x1549_A966,
    0x114D_9B74,
];
const MAX_DEPTH: u8 = 8;
/// Elements looked at.
const MAX_ELEMENTS: u32 = 16_384;
/// Bytes an element may claim beyond the end of the file, as one that was cut short does.
const TOLERANCE: u64 = 4 * 1024 * 1024;
