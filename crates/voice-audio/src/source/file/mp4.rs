//! What is looked at of an MP4 before its reader sees it: whether the index is there, and whether its numbers can be true.
//!
//! ISO/IEC 14496-12, sections 4.2, 8.7.3, 8.8.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

use super::OpenError;
use super::bytes::Bytes;

/// Whether a file of this kind begins with such a box.
pub(super) fn begins_with(kind: &[u8]) -> bool {
    kind.starts_with(b"ftyp")
}

/// Looks at a whole file.
///
/// # Errors
///
/// [`OpenError::IndexMissing`], and [`OpenError::Malformed`] for an index that claims samples longer than the file.
pub(super) fn check(file: &mut (impl Read + Seek)) -> Result<(), OpenError> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut walk = Walk { boxes: 0, longest: end, index: false };
    match walk.level(file, 0, end, 0) {
        Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        result => result?,
    }
    if walk.index { Ok(()) } else { Err(OpenError::IndexMissing) }
}

/// Reads everything up to the end of the index, of a file that cannot be sought.
///
/// # Errors
///
/// As [`check`], and [`OpenError::NeedsSeeking`] when the audio comes first.
pub(super) fn read_head(bytes: &mut Bytes) -> Result<Vec<u8>, OpenError> {
    let mut head = Vec::new();
    loop {
        let start = bytes.peek(16)?;
        let Some((size, kind)) = start
            .first_chunk::<8>()
            .map(|[a, b, c, d, kind @ ..]| (u64::from(u32::from_be_bytes([*a, *b, *c, *d])), *kind))
        else {
            return Err(OpenError::IndexMissing);
        };
        if kind == *b"mdat" || kind == *b"moof" {
            return Err(OpenError::NeedsSeeking);
        }
        let size = match size {
            1 => start.get(8..).and_then(|size| size.first_chunk()).map_or(0, |size| u64::from_be_bytes(*size)),
            size => size,
        };
        let room = (MAX_HEAD_LEN - head.len()) as u64;
        if size < 8 || size > room {
            return Err(OpenError::Malformed("what comes before the audio is too long".into()));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let taken = bytes.take(size)?;
        let whole = taken.len() == size;
        head.extend(taken);
        if kind == *b"moov" || !whole {
            break;
        }
    }
    let mut walk = Walk { boxes: 0, longest: MAX_HEAD_LEN as u64, index: false };
    let end = head.len() as u64;
    walk.level(&mut io::Cursor::new(&head), 0, end, 0)?;
    if walk.index { Ok(head) } else { Err(OpenError::IndexMissing) }
}

struct Walk {
    boxes: u32,
    /// No sample is longer.
    longest: u64,
    index: bool,
}

impl Walk {
    fn level(&mut self, file: &mut (impl Read + Seek), mut at: u64, end: u64, depth: u8) -> Result<(), OpenError> {
        while end.saturating_sub(at) >= 8 && self.boxes < MAX_BOXES {
            self.boxes += 1;
            file.seek(SeekFrom::Start(at))?;
            let size = u64::from(read_u32(file)?);
            let mut kind = [0; 4];
            file.read_exact(&mut kind)?;
            let (header_len, size) = match size {
                0 => (8, end - at),
                1 => (16, u64::from(read_u32(file)?) << 32 | u64::from(read_u32(file)?)),
                size => (8, size),
            };
            let body_end = at.checked_add(size).filter(|to| size >= header_len && *to <= end);
            let Some(body_end) = body_end else {
                // Cut short, or nonsense. Audio is played up to there; within the index nothing is right then.
                return if depth == 0 { Ok(()) } else { Err(lies()) };
            };
            let body = at + header_len;
            match &kind {
                b"moov" | b"moof" if depth == 0 => {
                    self.index |= kind == *b"moov";
                    self.level(file, body, body_end, 1)?;
                    if kind == *b"moof" {
                        // Those behind the first are read when they are played.
                        return Ok(());
                    }
                }
                b"trak" | b"mdia" | b"minf" | b"stbl" | b"mvex" | b"traf" if depth < 6 => {
                    self.level(file, body, body_end, depth + 1)?;
                }
                b"stsz" => {
                    read_u32(file)?;
                    let (size, count) = (read_u32(file)?, read_u32(file)?);
                    self.check_size(size)?;
                    if size == 0 {
                        self.check_table(file, count, 4, 0, body_end - body)?;
                    }
                }
                b"stts" | b"stsc" | b"stco" | b"co64" | b"stss" | b"ctts" => {
                    read_u32(file)?;
                    let entry = match &kind {
                        b"stco" | b"stss" => 4,
                        b"stsc" => 12,
                        _ => 8,
                    };
                    let count = read_u32(file)?;
                    if u64::from(count) * entry > body_end - body {
                        return Err(lies());
                    }
                    if kind == *b"stts" {
                        // The reader adds them up in as many bits.
                        let mut samples = 0u32;
                        for _ in 0..count {
                            samples = samples.checked_add(read_u32(file)?).ok_or_else(lies)?;
                            read_u32(file)?;
                        }
                    }
                }
                b"trex" => {
                    // Version, track, description, duration.
                    file.seek(SeekFrom::Current(16))?;
                    self.check_size(read_u32(file)?)?;
                }
                b"tfhd" => {
                    let flags = read_u32(file)?;
                    if flags & 0x10 != 0 {
                        let before = 4 + [(1, 8), (2, 4), (8, 4)]
                            .map(|(flag, len)| if flags & flag != 0 { len } else { 0 })
                            .iter()
                            .sum::<i64>();
                        file.seek(SeekFrom::Current(before))?;
                        self.check_size(read_u32(file)?)?;
                    }
                }
                b"trun" => {
                    let flags = read_u32(file)?;
                    let count = read_u32(file)?;
                    let before =
                        [(1, 4), (4, 4)].map(|(flag, len)| if flags & flag != 0 { len } else { 0 }).iter().sum();
                    file.seek(SeekFrom::Current(before))?;
                    let entry = u64::from((flags >> 8 & 0xF).count_ones()) * 4;
                    if flags & 0x200 != 0 {
                        self.check_table(file, count, entry, if flags & 0x100 != 0 { 4 } else { 0 }, body_end - body)?;
                    } else if u64::from(count) * entry > body_end - body {
                        return Err(lies());
                    }
                }
                _ => {}
            }
            at = body_end;
        }
        Ok(())
    }

    /// Checks sizes of samples that stand `offset` into entries of `entry` bytes.
    fn check_table(
        &self,
        file: &mut impl Read,
        count: u32,
        entry: u64,
        offset: usize,
        room: u64,
    ) -> Result<(), OpenError> {
        if u64::from(count) * entry > room {
            return Err(lies());
        }
        let mut block = vec![0; 4096 / entry.max(4) as usize * entry as usize];
        let mut left = usize::try_from(u64::from(count) * entry).unwrap_or(usize::MAX);
        while left > 0 {
            let len = left.min(block.len());
            let part = block.get_mut(..len).unwrap_or_default();
            file.read_exact(part)?;
            for entry in part.chunks_exact(entry as usize) {
                if let Some(size) = entry.get(offset..).and_then(|size| size.first_chunk()) {
                    self.check_size(u32::from_be_bytes(*size))?;
                }
            }
            left -= len;
        }
        Ok(())
    }

    fn check_size(&self, size: u32) -> Result<(), OpenError> {
        if u64::from(size) > self.longest { Err(lies()) } else { Ok(()) }
    }
}

fn lies() -> OpenError {
    OpenError::Malformed("the index claims more than there is".into())
}

fn read_u32(file: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

/// Boxes looked at.
const MAX_BOXES: u32 = 65_536;
/// The longest index, with what comes before it, of a file that cannot be sought.
const MAX_HEAD_LEN: usize = 16 * 1024 * 1024;
