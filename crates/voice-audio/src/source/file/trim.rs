//! Which part of the decoded audio is heard.

use std::ops::Range;

use super::edit_list::Edit;
use super::packet::Packet;

/// What to cut off the decoded audio.
#[derive(Clone, Default)]
pub(super) struct Trim {
    source: Source,
    started: Option<Cut>,
    /// Samples per channel that came so far.
    decoded: u64,
    /// A position that Ogg stated, and what had come by then.
    anchor: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Default)]
enum Source {
    #[default]
    Nothing,
    /// Samples at the start.
    Start(u64),
    /// What an MP4 edit list keeps.
    Edit(Edit),
}

/// Samples per channel still to drop, and then to keep.
#[derive(Clone, Copy)]
struct Cut {
    skip: u64,
    take: u64,
}

/// The part of a packet that is heard.
pub(super) struct Heard {
    /// Samples per channel.
    pub(super) range: Range<u64>,
    /// How many samples after this packet are not heard yet, when the audio has not begun; 0 in its midst and after it.
    pub(super) before_start: u64,
    /// Whether the audio begins in or after this packet.
    pub(super) leading: bool,
}

impl Trim {
    /// An edit list goes before `skip` samples at the start.
    pub(super) fn new(edit: Option<Edit>, skip: u64) -> Self {
        let source = match (edit, skip) {
            (Some(edit), _) => Source::Edit(edit),
            (None, 0) => Source::Nothing,
            (None, skip) => Source::Start(skip),
        };
        Self { source, ..Self::default() }
    }

    /// The part that is heard of a packet that decoded to `samples` at `rate`.
    pub(super) fn next(&mut self, samples: u64, rate: u32, packet: &Packet) -> Heard {
        // The rate is known for certain only with the first packet.
        let cut = self.started.get_or_insert_with(|| match self.source {
            Source::Nothing => Cut { skip: 0, take: u64::MAX },
            Source::Start(skip) => Cut { skip, take: u64::MAX },
            Source::Edit(edit) => {
                Cut { skip: edit.skip_samples(rate), take: edit.take_samples(rate).unwrap_or(u64::MAX) }
            }
        });
        let before = self.decoded;
        self.decoded += samples;
        let mut end = samples.saturating_sub(packet.trim_end);
        if let Some(page) = packet.page {
            if let (true, Some(granule)) = (page.last, page.granule) {
                // The last page states where the audio ends: RFC 7845 section 4.4, and the same in Vorbis.
                let (stated, came) = self.anchor.unwrap_or_default();
                let whole = came.saturating_add(granule.saturating_sub(stated));
                end = end.min(whole.saturating_sub(before));
            } else if let (true, Some(granule)) = (page.closes, page.granule) {
                self.anchor = Some((granule, self.decoded));
            }
        }
        let leading = cut.skip > 0;
        let start = cut.skip.min(end);
        cut.skip -= cut.skip.min(samples);
        let len = (end - start).min(cut.take);
        cut.take -= len;
        Heard { range: start..start + len, before_start: cut.skip, leading }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::Page;
    use super::*;

    fn on_page(granule: Option<u64>, last: bool, closes: bool) -> Packet {
        Packet { page: Some(Page { granule, last, closes }), ..Packet::new([]) }
    }

    #[test]
    fn the_start_is_dropped_across_packets() {
        let mut trim = Trim::new(None, 1_500);
        let ranges: Vec<_> = (0..3).map(|_| trim.next(1_000, 48_000, &Packet::new([])).range).collect();
        assert!(ranges[0].is_empty());
        assert_eq!(ranges[1..], [500..1_000, 0..1_000]);
    }

    #[test]
    fn only_the_last_page_ends_a_stream_and_counts_from_the_last_known_position() {
        let mut trim = Trim::new(None, 0);
        assert_eq!(trim.next(960, 48_000, &on_page(Some(10_960), false, true)).range, 0..960);
        // A page that tells no position takes nothing away.
        assert_eq!(trim.next(960, 48_000, &on_page(None, false, true)).range, 0..960);
        assert_eq!(trim.next(960, 48_000, &on_page(Some(12_000), true, false)).range, 0..80);
        assert!(trim.next(960, 48_000, &on_page(Some(12_000), true, true)).range.is_empty());
    }
}
