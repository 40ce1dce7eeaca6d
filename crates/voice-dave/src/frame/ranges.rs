//! The parts of a frame that stay in the clear.

use super::uleb128;

/// Bytes of the media part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

impl Span {
    pub(crate) const fn end(self) -> usize {
        self.offset + self.len
    }
}

/// Clear ranges of one frame: ascending, apart or touching, and as many as a trailer can hold.
#[derive(Clone, Debug)]
pub(crate) struct ClearRanges {
    spans: [Span; MAX_RANGES],
    count: usize,
}

impl ClearRanges {
    /// Those of a frame that is encrypted whole; shared, because making them for each frame would cost as much as
    /// a tenth of its encryption.
    pub(super) const NONE: &'static Self = &Self { spans: [Span { offset: 0, len: 0 }; MAX_RANGES], count: 0 };

    /// Adds a range behind the others; `None` when there are too many.
    pub(crate) fn push(&mut self, span: Span) -> Option<()> {
        *self.spans.get_mut(self.count)? = span;
        self.count += 1;
        Some(())
    }

    /// Adds a range behind the others, or makes the last one longer when they touch.
    pub(crate) fn push_joined(&mut self, span: Span) -> Option<()> {
        match self.spans[..self.count].last_mut() {
            Some(last) if last.end() == span.offset => last.len += span.len,
            _ => self.push(span)?,
        }
        Some(())
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans[..self.count]
    }

    /// How many bytes are clear.
    pub(super) fn clear_len(&self) -> usize {
        clear_len(self.spans())
    }

    /// Moves the clear bytes to the front, in order, and the others behind them.
    pub(super) fn gather(&self, media: &mut [u8]) {
        gather(media, 0, self.spans());
    }

    /// Undoes [`gather`](Self::gather).
    pub(super) fn scatter(&self, media: &mut [u8]) {
        scatter(media, 0, self.spans());
    }

    pub(super) fn written_len(&self) -> usize {
        self.spans().iter().map(|span| uleb128::len(span.offset as u64) + uleb128::len(span.len as u64)).sum()
    }

    pub(super) fn write(&self, mut out: &mut [u8]) -> Option<()> {
        for number in self.spans().iter().flat_map(|span| [span.offset, span.len]) {
            let used = uleb128::write(number as u64, out)?;
            out = out.get_mut(used..)?;
        }
        Some(())
    }
}

impl Default for ClearRanges {
    fn default() -> Self {
        Self { spans: [Span::default(); MAX_RANGES], count: 0 }
    }
}

fn clear_len(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.len).sum()
}

/// Halves the ranges until one is left, so that every byte moves a few times only and none is copied elsewhere.
///
/// `base` is the offset of `media` in the frame.
fn gather(media: &mut [u8], base: usize, spans: &[Span]) -> usize {
    match spans {
        [] => 0,
        [span] => {
            media[..span.end() - base].rotate_right(span.len);
            span.len
        }
        _ => {
            let (left, right) = spans.split_at(spans.len() / 2);
            let cut = right[0].offset - base;
            let left_clear = gather(&mut media[..cut], base, left);
            let right_clear = gather(&mut media[cut..], base + cut, right);
            media[left_clear..cut + right_clear].rotate_right(right_clear);
            left_clear + right_clear
        }
    }
}

fn scatter(media: &mut [u8], base: usize, spans: &[Span]) {
    match spans {
        [] => {}
        [span] => media[..span.end() - base].rotate_left(span.len),
        _ => {
            let (left, right) = spans.split_at(spans.len() / 2);
            let cut = right[0].offset - base;
            let (left_clear, right_clear) = (clear_len(left), clear_len(right));
            media[left_clear..cut + right_clear].rotate_left(right_clear);
            scatter(&mut media[..cut], base, left);
            scatter(&mut media[cut..], base + cut, right);
        }
    }
}

/// More never fit: the size of a trailer is one byte, and each range takes two at least.
const MAX_RANGES: usize = (u8::MAX as usize - super::trailer::FIXED_LEN - 1) / 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn clear_bytes_come_to_the_front_in_order_and_back(
            media in proptest::collection::vec(any::<u8>(), 0..600),
            mut cuts in proptest::collection::vec(0usize..=600, 0..160),
        ) {
            cuts.retain(|cut| *cut <= media.len());
            cuts.sort_unstable();
            let mut ranges = ClearRanges::default();
            let (mut clear, mut secret, mut at) = (Vec::<u8>::new(), Vec::<u8>::new(), 0);
            for pair in cuts.chunks_exact(2) {
                ranges.push(Span { offset: pair[0], len: pair[1] - pair[0] }).expect("few ranges");
                secret.extend(&media[at..pair[0]]);
                clear.extend(&media[pair[0]..pair[1]]);
                at = pair[1];
            }
            secret.extend(&media[at..]);
            let mut moved = media.clone();
            ranges.gather(&mut moved);
            prop_assert_eq!(&moved[..ranges.clear_len()], &clear);
            prop_assert_eq!(&moved[ranges.clear_len()..], &secret);
            ranges.scatter(&mut moved);
            prop_assert_eq!(moved, media);
        }
    }

    #[test]
    fn as_many_ranges_fit_as_a_trailer_can_hold() {
        let mut ranges = ClearRanges::default();
        for offset in 0..MAX_RANGES {
            assert!(ranges.push(Span { offset, len: 0 }).is_some());
        }
        assert!(ranges.push(Span { offset: 200, len: 0 }).is_none());
        assert_eq!(super::super::trailer::len(1, &ranges), Some(254));
    }
}
