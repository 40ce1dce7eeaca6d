//! What follows the media part of an encrypted frame (DAVE protocol, "Payload Format").
//!
//! ```text
//! media part | tag 8 | nonce | (offset, size)* | size of all this 1 | fa fa
//! ```
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use super::{
    cipher::TAG_LEN,
    ranges::{ClearRanges, Span},
    uleb128,
};

/// What the trailer of a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) media_len: usize,
    pub(super) tag: [u8; TAG_LEN],
    /// The low 32 bits of what was written.
    pub(super) nonce: u32,
    /// Where the offsets and sizes are in the frame.
    ranges: Range<usize>,
}

impl Trailer {
    /// Reads the trailer; `None` when the frame is not one of the protocol.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let (rest, marker) = frame.split_last_chunk()?;
        if *marker != MARKER {
            return None;
        }
        let (size, rest) = rest.split_last()?;
        let size = usize::from(*size);
        if size < FIXED_LEN {
            return None;
        }
        let media_len = frame.len().checked_sub(size)?;
        let (tag, area) = rest.get(media_len..)?.split_first_chunk()?;
        let (nonce, used) = uleb128::read(area)?;
        let trailer =
            Self { media_len, tag: *tag, nonce: nonce as u32, ranges: media_len + TAG_LEN + used..rest.len() };
        trailer.ranges_are_sound(frame).then_some(trailer)
    }

    pub(super) fn has_ranges(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// The clear ranges; `None` when one of them is not in the media part, which no sender makes.
    pub(super) fn clear_ranges(&self, frame: &[u8]) -> Option<ClearRanges> {
        let mut ranges = ClearRanges::default();
        let spans = Spans(frame.get(self.ranges.clone())?);
        for span in spans {
            let span = span?;
            if span.end() > self.media_len {
                return None;
            }
            ranges.push(span)?;
        }
        Some(ranges)
    }

    /// Whether the ranges are whole, ascending and inside the frame.
    fn ranges_are_sound(&self, frame: &[u8]) -> bool {
        let Some(bytes) = frame.get(self.ranges.clone()) else { return false };
        let mut end = 0;
        for span in Spans(bytes) {
            match span {
                Some(span) if span.offset >= end => end = span.end(),
                _ => return false,
            }
        }
        end <= frame.len()
    }
}

/// How long the trailer is; `None` when it could not say so in its one byte.
pub(super) fn len(nonce: u32, ranges: &ClearRanges) -> Option<usize> {
    let len = FIXED_LEN + uleb128::len(nonce.into()) + ranges.written_len();
    (len <= u8::MAX.into()).then_some(len)
}

/// Writes a trailer that fills `out`, whose length is that of [`len`].
pub(super) fn write(nonce: u32, tag: &[u8; TAG_LEN], ranges: &ClearRanges, out: &mut [u8]) -> Option<()> {
    let size = u8::try_from(out.len()).ok()?;
    let (head, area) = out.split_first_chunk_mut()?;
    *head = *tag;
    let used = uleb128::write(nonce.into(), area)?;
    let (spans, end) = area.get_mut(used..)?.split_last_chunk_mut()?;
    ranges.write(spans)?;
    let [first, second] = MARKER;
    *end = [size, first, second];
    Some(())
}

/// Whether a frame has the form of an encrypted one. It says nothing of its being authentic.
///
/// DAVE protocol, "Protocol Frame Check".
#[must_use]
pub fn is_protocol_frame(frame: &[u8]) -> bool {
    Trailer::parse(frame).is_some()
}

/// Reads offsets and sizes; `None` where they are broken.
struct Spans<'a>(&'a [u8]);

impl Spans<'_> {
    fn number(&mut self) -> Option<usize> {
        let (number, used) = uleb128::read(self.0)?;
        self.0 = self.0.get(used..)?;
        usize::try_from(number).ok()
    }

    fn span(&mut self) -> Option<Span> {
        let span = Span { offset: self.number()?, len: self.number()? };
        span.offset.checked_add(span.len).map(|_| span)
    }
}

impl Iterator for Spans<'_> {
    type Item = Option<Span>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let span = self.span();
        if span.is_none() {
            self.0 = &[];
        }
        Some(span)
    }
}

/// Ends every frame of the protocol (DAVE protocol, "Payload Format").
const MARKER: [u8; 2] = [0xFA, 0xFA];
/// The tag, the size and the marker: what every trailer has besides the nonce and the ranges.
pub(super) const FIXED_LEN: usize = TAG_LEN + 1 + MARKER.len();

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests may")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::load;

    #[test]
    fn frames_are_recognised_and_read_as_by_libdave() {
        for case in load("frame_check").list("cases") {
            let frame = case.bytes("frame");
            let trailer = Trailer::parse(&frame);
            assert_eq!(trailer.is_some(), case.flag("protocol_frame"), "{case:?}");
            let Some(trailer) = trailer else { continue };
            assert_eq!(u64::from(trailer.nonce), case.number("nonce"), "{case:?}");
            assert_eq!(trailer.tag[..], case.bytes("tag"), "{case:?}");
            let (mut clear, mut secret, mut at) = (Vec::<u8>::new(), Vec::<u8>::new(), 0);
            for span in Spans(&frame[trailer.ranges.clone()]) {
                let span = span.expect("sound ranges");
                secret.extend(&frame[at..span.offset]);
                clear.extend(&frame[span.offset..span.end()]);
                at = span.end();
            }
            secret.extend(frame[..trailer.media_len].iter().skip(at));
            assert_eq!((clear, secret), (case.bytes("aad"), case.bytes("cipher")), "{case:?}");
        }
    }

    #[test]
    fn a_range_that_reaches_into_the_trailer_is_none_that_can_be_opened() {
        for case in load("frame_check").list("cases").into_iter().filter(|case| case.flag("protocol_frame")) {
            let frame = case.bytes("frame");
            let trailer = Trailer::parse(&frame).expect("a protocol frame");
            let beyond = case.bytes("aad").len() + case.bytes("cipher").len() > trailer.media_len;
            assert_eq!(trailer.clear_ranges(&frame).is_none(), beyond, "{case:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            media in proptest::collection::vec(any::<u8>(), 0..200), nonce: u32, tag: [u8; 8],
            cuts in proptest::collection::btree_set(0usize..200, 0..40),
        ) {
            let mut ranges = ClearRanges::default();
            let cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= media.len()).collect();
            for pair in cuts.chunks_exact(2) {
                ranges.push(Span { offset: pair[0], len: pair[1] - pair[0] }).expect("few ranges");
            }
            let len = len(nonce, &ranges).expect("a short trailer");
            let mut frame = media.clone();
            frame.resize(media.len() + len, 0);
            write(nonce, &tag, &ranges, &mut frame[media.len()..]).expect("room");
            let trailer = Trailer::parse(&frame).expect("a protocol frame");
            prop_assert_eq!((trailer.media_len, trailer.nonce, trailer.tag), (media.len(), nonce, tag));
            let read = trailer.clear_ranges(&frame).expect("sound");
            prop_assert_eq!(read.spans(), ranges.spans());
        }

        #[test]
        fn any_bytes_before_the_marker_are_survived(mut frame in proptest::collection::vec(any::<u8>(), 0..300)) {
            frame.extend(MARKER);
            if let Some(trailer) = Trailer::parse(&frame) {
                prop_assert!(trailer.media_len + FIXED_LEN < frame.len());
                if let Some(ranges) = trailer.clear_ranges(&frame) {
                    prop_assert!(ranges.spans().iter().all(|span| span.end() <= trailer.media_len));
                }
            }
        }
    }
}
