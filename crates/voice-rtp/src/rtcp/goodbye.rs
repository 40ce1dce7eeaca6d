//! The end of streams: RFC 3550, section 6.6.

use super::ParseError;
use crate::number::Ssrc;

/// The end of streams: RFC 3550, section 6.6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Goodbye<'a> {
    sources: &'a [[u8; 4]],
    reason: &'a [u8],
}

impl<'a> Goodbye<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        let (sources, reason) = body.split_at_checked(usize::from(count) * 4).ok_or(ParseError::SourceOverrun)?;
        let (sources, _) = sources.as_chunks();
        Ok(Self { sources, reason })
    }

    /// Returns the streams that end.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = Ssrc> + Clone + use<'a> {
        self.sources.iter().map(|bytes| Ssrc::new(u32::from_be_bytes(*bytes)))
    }

    /// Returns the text that says why, if there is one that fits.
    #[must_use]
    pub fn reason(&self) -> Option<&'a [u8]> {
        let (&len, text) = self.reason.split_first()?;
        text.get(..usize::from(len))
    }

    pub(super) const fn count(&self) -> usize {
        self.sources.len()
    }

    /// The sources and what is behind them, as on the wire.
    pub(super) const fn parts(&self) -> (&'a [u8], &'a [u8]) {
        (self.sources.as_flattened(), self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, packets};
    use super::*;

    #[test]
    fn a_goodbye_that_names_more_sources_than_it_has_is_refused() {
        let goodbye = [0x82, 0xCB, 0, 1, 0, 0, 0, 7];
        let mut walk = packets(&goodbye);
        assert_eq!(walk.next(), Some(Err(ParseError::SourceOverrun)));
        assert_eq!(walk.next(), None);
    }

    #[test]
    fn the_reason_of_a_goodbye_stays_inside_it() {
        let mut goodbye = [0x81, 0xCB, 0, 2, 0, 0, 0, 7, 3, b'b', b'y', b'e'];
        let read = |bytes: &[u8]| match packets(bytes).next() {
            Some(Ok(Packet::Goodbye(goodbye))) => goodbye.reason().map(std::vec::Vec::from),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&goodbye).as_deref(), Some(&b"bye"[..]));
        goodbye[8] = 4;
        assert_eq!(read(&goodbye), None);
    }
}
