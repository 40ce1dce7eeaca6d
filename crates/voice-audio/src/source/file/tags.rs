//! Tags around audio: passed over by their own length, never kept.
//!
//! ID3v2 (<https://id3.org/id3v2.4.0-structure>), APEv2, ID3v1.

#![deny(clippy::indexing_slicing)]

use std::io;

use super::bytes::Bytes;

/// Passes over all tags that stand here, one behind the other.
pub(super) fn skip(bytes: &mut Bytes) -> io::Result<()> {
    while let Some(len) = tag_len(bytes.peek(32)?) {
        bytes.skip(len)?;
        if bytes.peek(1)?.is_empty() {
            break;
        }
    }
    Ok(())
}

/// How long the tag is that `start` begins with, header and footer included.
pub(super) fn tag_len(start: &[u8]) -> Option<u64> {
    match start {
        [b'I', b'D', b'3', 2..=0xFE, 0..=0xFE, flags, a, b, c, d, ..] if (a | b | c | d) & 0x80 == 0 => {
            let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | u64::from(**byte));
            Some(10 + size + if flags & 0x10 != 0 { 10 } else { 0 })
        }
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, a, b, c, d, _, _, _, _, _, _, _, flags, ..] => {
            // The size counts the footer, but not the header. A footer that stands alone is its own length.
            let size = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
            Some(32 + if flags & 0x20 != 0 { size } else { 0 })
        }
        [b'T', b'A', b'G', ..] => Some(128),
        _ => None,
    }
}

/// How many of the last bytes of a file are tags.
pub(super) fn trailing(bytes: &mut Bytes) -> io::Result<u64> {
    let tail = bytes.tail(160)?;
    let mut rest = tail.as_slice();
    let mut len = 0;
    if let Some((before, [b'T', b'A', b'G', ..])) = rest.len().checked_sub(128).and_then(|at| rest.split_at_checked(at))
    {
        rest = before;
        len += 128;
    }
    if let Some([b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, a, b, c, d, ..]) =
        rest.len().checked_sub(32).and_then(|at| rest.get(at..))
    {
        // With its header, which the size leaves out.
        len += u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 32;
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn id3(version: u8, flags: u8, body: usize) -> Vec<u8> {
        let mut tag = vec![b'I', b'D', b'3', version, 0, flags];
        tag.extend([21, 14, 7, 0].map(|shift| (body >> shift & 0x7F) as u8));
        // Full of what looks like the start of MPEG audio.
        tag.extend([0xFF, 0xFB, 0x90, 0x64].iter().cycle().take(body + if flags & 0x10 != 0 { 10 } else { 0 }));
        tag
    }

    #[test]
    fn tags_of_every_kind_and_any_number_are_passed_over() {
        let mut ape = b"APETAGEX".to_vec();
        ape.extend([0xD0, 7, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xA0, 0, 0, 0, 0, 0, 0, 0, 0]);
        ape.extend([1; 64]);
        let id3v1 = [b"TAG".as_slice(), &[b' '; 125]].concat();
        let all = [id3(3, 0, 2_000_000), id3(4, 0x90, 70_000), id3(2, 0x80, 5), ape, id3v1, b"audio".to_vec()].concat();
        for mut bytes in [Bytes::seekable(Cursor::new(all.clone())).unwrap(), Bytes::forward(Cursor::new(all))] {
            skip(&mut bytes).unwrap();
            assert_eq!(bytes.peek(9).unwrap(), b"audio");
        }
    }

    #[test]
    fn a_tag_that_is_longer_than_the_file_ends_with_it() {
        let mut bytes = Bytes::forward(Cursor::new(b"ID3\x04\0\0\x7f\x7f\x7f\x7fshort".to_vec()));
        skip(&mut bytes).unwrap();
        assert!(bytes.peek(1).unwrap().is_empty());
    }
}
