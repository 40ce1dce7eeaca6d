//! Which part of an MP4 track is meant to be heard.
//!
//! AAC encoders put a priming delay in front of the audio; the edit list tells how much. The demultiplexer does not
//! hand it on, so it is read here. ISO/IEC 14496-12, sections 4.2, 8.2.2, 8.3.2, 8.4.2, 8.6.6.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

/// The part of one track that is heard, in seconds as fractions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) track: u32,
    /// What comes before the audio, in units of `media_scale`.
    skip: u64,
    media_scale: u32,
    /// How long the audio is, in units of `movie_scale`; 0 when unknown.
    take: u64,
    movie_scale: u32,
}

impl Edit {
    /// Samples to drop at the start, at `rate` hertz.
    pub(super) fn skip_samples(&self, rate: u32) -> u64 {
        rescale(self.skip, self.media_scale, rate)
    }

    /// Samples to keep after that, at `rate` hertz.
    pub(super) fn take_samples(&self, rate: u32) -> Option<u64> {
        (self.take > 0 && self.movie_scale > 0).then(|| rescale(self.take, self.movie_scale, rate))
    }
}

/// Reads the first edit of every track; nothing when this is no MP4 file, or one without edit lists.
///
/// The position of `file` is anywhere afterwards.
pub(super) fn read(file: &mut (impl Read + Seek)) -> io::Result<Vec<Edit>> {
    let mut start = [0; 8];
    let end = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    if end < 8 {
        return Ok(Vec::new());
    }
    file.read_exact(&mut start)?;
    if !start.ends_with(b"ftyp") {
        return Ok(Vec::new());
    }
    let mut found = Found::default();
    walk(file, 0, end, 0, &mut found)?;
    let movie_scale = found.movie_scale;
    Ok(found
        .edits
        .into_iter()
        .filter(|edit| edit.skip > 0 || edit.take > 0)
        .map(|edit| Edit { movie_scale, ..edit })
        .collect())
}

#[derive(Default)]
struct Found {
    boxes: u32,
    movie_scale: u32,
    edits: Vec<Edit>,
}

/// Visits the boxes between `at` and `end`.
fn walk(file: &mut (impl Read + Seek), mut at: u64, end: u64, depth: u8, found: &mut Found) -> io::Result<()> {
    while end.saturating_sub(at) >= 8 && found.boxes < MAX_BOXES {
        found.boxes += 1;
        file.seek(SeekFrom::Start(at))?;
        let mut header_len = 8;
        let size = u64::from(read_u32(file)?);
        let mut kind = [0; 4];
        file.read_exact(&mut kind)?;
        let size = match size {
            0 => end - at,
            1 => {
                header_len = 16;
                read_u64(file)?
            }
            size => size,
        };
        let Some(body_end) = at.checked_add(size).filter(|&to| size >= header_len && to <= end) else {
            // Cut short or nonsense: the demultiplexer will say so.
            break;
        };
        match &kind {
            b"moov" | b"edts" | b"mdia" if depth < 4 => {
                walk(file, at + header_len, body_end, depth + 1, found)?;
            }
            b"trak" if depth < 4 && found.edits.len() < MAX_TRACKS => {
                found.edits.push(Edit::default());
                walk(file, at + header_len, body_end, depth + 1, found)?;
            }
            b"mvhd" => found.movie_scale = read_full_box(file, 8, 16)?,
            b"tkhd" => {
                let track = read_full_box(file, 8, 16)?;
                if let Some(edit) = found.edits.last_mut() {
                    edit.track = track;
                }
            }
            b"mdhd" => {
                let scale = read_full_box(file, 8, 16)?;
                if let Some(edit) = found.edits.last_mut() {
                    edit.media_scale = scale;
                }
            }
            b"elst" => {
                if let Some(edit) = found.edits.last_mut() {
                    read_edits(file, edit)?;
                }
            }
            _ => {}
        }
        at = body_end;
    }
    Ok(())
}

/// Reads the number that follows two dates, which take `short` bytes in version 0 and `long` in version 1.
fn read_full_box(file: &mut (impl Read + Seek), short: i64, long: i64) -> io::Result<u32> {
    let version = read_u32(file)? >> 24;
    file.seek(SeekFrom::Current(if version == 1 { long } else { short }))?;
    read_u32(file)
}

/// Reads the first edit that plays something. One is all that encoders write; more would be a montage.
fn read_edits(file: &mut impl Read, edit: &mut Edit) -> io::Result<()> {
    let version = read_u32(file)? >> 24;
    let count = read_u32(file)?;
    for _ in 0..count.min(MAX_EDITS) {
        let (take, skip) = if version == 1 {
            let take = read_u64(file)?;
            (take, i64::from_be_bytes(read_u64(file)?.to_be_bytes()))
        } else {
            let take = u64::from(read_u32(file)?);
            (take, i64::from(i32::from_be_bytes(read_u32(file)?.to_be_bytes())))
        };
        let _rate = read_u32(file)?;
        // -1 stands for a pause before the audio.
        if let Ok(skip) = u64::try_from(skip) {
            edit.skip = skip;
            edit.take = if count == 1 { take } else { 0 };
            return Ok(());
        }
    }
    Ok(())
}

fn read_u32(file: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_u64(file: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

fn rescale(value: u64, from: u32, to: u32) -> u64 {
    if from == 0 {
        return 0;
    }
    let scaled = (u128::from(value) * u128::from(to) + u128::from(from) / 2) / u128::from(from);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Boxes looked at; real files have some dozens before the end of their `moov`.
const MAX_BOXES: u32 = 4096;

/// Tracks looked at.
const MAX_TRACKS: usize = 64;

/// Edits looked at in one list.
const MAX_EDITS: u32 = 8;

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn atom(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
        bytes.extend(kind);
        bytes.extend(body);
        bytes
    }

    /// A version 0 box whose number after the dates is `value`.
    fn dated(kind: &[u8; 4], value: u32) -> Vec<u8> {
        let mut body = vec![0; 12];
        body.extend(value.to_be_bytes());
        atom(kind, &body)
    }

    fn edit_list(entries: &[(u32, i32)]) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
        for (take, skip) in entries {
            body.extend(take.to_be_bytes());
            body.extend(skip.to_be_bytes());
            body.extend(0x10000u32.to_be_bytes());
        }
        atom(b"edts", &atom(b"elst", &body))
    }

    fn movie(entries: &[(u32, i32)]) -> Vec<u8> {
        let track = [dated(b"tkhd", 7), edit_list(entries), atom(b"mdia", &dated(b"mdhd", 44_100))].concat();
        let movie = [dated(b"mvhd", 1000), atom(b"trak", &track)].concat();
        [atom(b"ftyp", b"M4A "), atom(b"moov", &movie)].concat()
    }

    #[test]
    fn the_priming_delay_is_read() {
        let edits = read(&mut Cursor::new(movie(&[(2000, 1024)]))).unwrap();
        assert_eq!(edits.len(), 1);
        assert_eq!(edits[0].track, 7);
        assert_eq!(edits[0].skip_samples(44_100), 1024);
        assert_eq!(edits[0].skip_samples(22_050), 512);
        assert_eq!(edits[0].take_samples(44_100), Some(88_200));
    }

    #[test]
    fn a_pause_before_the_audio_is_passed_over() {
        let edits = read(&mut Cursor::new(movie(&[(50, -1), (2000, 2112)]))).unwrap();
        assert_eq!(edits[0].skip_samples(44_100), 2112);
        assert_eq!(edits[0].take_samples(44_100), None);
    }

    #[test]
    fn the_sample_file_has_one() {
        let mut file = Cursor::new(include_bytes!("../../../tests/assets/sweep-44100-stereo.m4a"));
        let edits = read(&mut file).unwrap();
        assert_eq!(edits[0].skip_samples(44_100), 1024);
        assert_eq!(edits[0].take_samples(44_100), Some(44_100));
    }

    #[test]
    fn a_file_of_nothing_but_boxes_is_given_up_on() {
        let mut bytes = movie(&[(2000, 1024)]);
        // Behind too many boxes, even the right ones are not looked for.
        let start = atom(b"ftyp", b"M4A ").len();
        let many = atom(b"free", b"").repeat(MAX_BOXES as usize);
        bytes.splice(start..start, many);
        assert_eq!(read(&mut Cursor::new(bytes)).unwrap(), []);
    }

    #[test]
    fn other_files_have_none() {
        for bytes in [&b"RIFF\0\0\0\0WAVEfmt "[..], b"", b"ftyp"] {
            assert_eq!(read(&mut Cursor::new(bytes)).unwrap(), []);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer(at in 0usize..150, bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            let mut movie = movie(&[(2000, 1024)]);
            for (slot, byte) in movie.iter_mut().skip(at).zip(bytes) {
                *slot = byte;
            }
            let _ = read(&mut Cursor::new(movie));
        }

        #[test]
        fn any_truncation_ends_in_an_answer(len in 0usize..150) {
            let movie = movie(&[(2000, 1024)]);
            let _ = read(&mut Cursor::new(&movie[..len.min(movie.len())]));
        }
    }
}
