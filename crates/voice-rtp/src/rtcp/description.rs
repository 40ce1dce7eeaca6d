//! Who the sources are: RFC 3550, section 6.5.

use core::iter;

use super::{ParseError, split_ssrc};
use crate::number::Ssrc;

/// Who the sources are: RFC 3550, section 6.5.
///
/// ```
/// use voice_rtp::rtcp::{Item, Packet, packets};
///
/// let datagram = [0x81, 0xCA, 0, 3, 0, 0, 0, 7, 1, 4, b'a', b'b', b'c', b'd', 0, 0];
/// let Some(Ok(Packet::SourceDescription(description))) = packets(&datagram).next() else { panic!() };
/// let chunk = description.chunks().next().unwrap();
/// assert_eq!(chunk.items().next(), Some(Item::Cname(b"abcd")));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceDescription<'a> {
    count: u8,
    body: &'a [u8],
}

impl<'a> SourceDescription<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        let mut rest = body;
        for _ in 0..count {
            (_, rest) = Chunk::split_first(rest).ok_or(ParseError::DescriptionOverrun)?;
        }
        Ok(Self { count, body })
    }

    /// Returns the descriptions in wire order, one per source.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + Clone + use<'a> {
        let (mut left, mut rest) = (self.count, self.body);
        iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let (chunk, after) = Chunk::split_first(rest)?;
            rest = after;
            Some(chunk)
        })
    }

    pub(super) const fn parts(&self) -> (u8, &'a [u8]) {
        (self.count, self.body)
    }
}

/// What is said about one source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunk<'a> {
    ssrc: Ssrc,
    items: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Splits off the first chunk, with the null bytes that end it and fill its last word.
    fn split_first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (ssrc, list) = split_ssrc(bytes)?;
        let mut rest = list;
        while *rest.first()? != END {
            (_, _, rest) = split_item(rest)?;
        }
        let len = list.len() - rest.len();
        let (_, rest) = list.split_at_checked(len + fill_len(len))?;
        Some((Self { ssrc, items: list.get(..len)? }, rest))
    }

    /// Returns the source.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Returns what is said about it, in wire order.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> + Clone + use<'a> {
        let mut rest = self.items;
        iter::from_fn(move || {
            let (kind, text, after) = split_item(rest)?;
            rest = after;
            Some(Item::read(kind, text))
        })
    }

    /// Returns the canonical name: what stays the same when the source number changes.
    #[must_use]
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items().find_map(|item| match item {
            Item::Cname(text) => Some(text),
            _ => None,
        })
    }
}

/// One thing that is said about a source; texts should be UTF-8 and are up to 255 bytes long.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// What stays the same when the source number changes: RFC 3550, section 6.5.1.
    Cname(&'a [u8]),
    /// The name of a user: RFC 3550, section 6.5.2.
    Name(&'a [u8]),
    /// An electronic mail address: RFC 3550, section 6.5.3.
    Email(&'a [u8]),
    /// A phone number: RFC 3550, section 6.5.4.
    Phone(&'a [u8]),
    /// A place on earth: RFC 3550, section 6.5.5.
    Location(&'a [u8]),
    /// The program and its version: RFC 3550, section 6.5.6.
    Tool(&'a [u8]),
    /// What is to be known at the moment: RFC 3550, section 6.5.7.
    Note(&'a [u8]),
    /// What others agreed on: RFC 3550, section 6.5.8. Both together are up to 254 bytes long.
    Private {
        /// Whose agreement it is.
        prefix: &'a [u8],
        /// What is said.
        value: &'a [u8],
    },
    /// Any other type, and a private item whose prefix is longer than it.
    Other {
        /// The type, which is not 0: that is the end of the items.
        kind: u8,
        /// What is said.
        text: &'a [u8],
    },
}

impl<'a> Item<'a> {
    fn read(kind: u8, text: &'a [u8]) -> Self {
        match kind {
            CNAME => Self::Cname(text),
            NAME => Self::Name(text),
            EMAIL => Self::Email(text),
            PHONE => Self::Phone(text),
            LOCATION => Self::Location(text),
            TOOL => Self::Tool(text),
            NOTE => Self::Note(text),
            PRIVATE => text
                .split_first()
                .and_then(|(&len, text)| text.split_at_checked(usize::from(len)))
                .map_or(Self::Other { kind, text }, |(prefix, value)| Self::Private { prefix, value }),
            _ => Self::Other { kind, text },
        }
    }

    /// The type, and the text but for the prefix of a private item.
    pub(super) const fn parts(self) -> (u8, Option<&'a [u8]>, &'a [u8]) {
        match self {
            Self::Cname(text) => (CNAME, None, text),
            Self::Name(text) => (NAME, None, text),
            Self::Email(text) => (EMAIL, None, text),
            Self::Phone(text) => (PHONE, None, text),
            Self::Location(text) => (LOCATION, None, text),
            Self::Tool(text) => (TOOL, None, text),
            Self::Note(text) => (NOTE, None, text),
            Self::Private { prefix, value } => (PRIVATE, Some(prefix), value),
            Self::Other { kind, text } => (kind, None, text),
        }
    }
}

/// Splits off an item, which `bytes` must start with: its type and text.
fn split_item(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, len], rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(len))?;
    Some((kind, text, rest))
}

/// How many null bytes end a list of items of this length: at least one, up to a whole word.
pub(super) const fn fill_len(items_len: usize) -> usize {
    4 - items_len % 4
}

/// RFC 3550, section 6.5: the null octet that ends a list.
pub(super) const END: u8 = 0;

/// RFC 3550, section 6.5.1.
const CNAME: u8 = 1;

/// RFC 3550, section 6.5.2.
const NAME: u8 = 2;

/// RFC 3550, section 6.5.3.
const EMAIL: u8 = 3;

/// RFC 3550, section 6.5.4.
const PHONE: u8 = 4;

/// RFC 3550, section 6.5.5.
const LOCATION: u8 = 5;

/// RFC 3550, section 6.5.6.
const TOOL: u8 = 6;

/// RFC 3550, section 6.5.7.
const NOTE: u8 = 7;

/// RFC 3550, section 6.5.8.
const PRIVATE: u8 = 8;

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn items_end_at_the_next_word() {
        for len in 0..9_usize {
            let mut body = Vec::from([0, 0, 0, 7, 1, len as u8]);
            body.resize(body.len() + len, b'x');
            while body.len() % 4 != 0 {
                body.push(0);
            }
            if (2 + len) % 4 == 0 {
                assert_eq!(SourceDescription::read(1, &body), Err(ParseError::DescriptionOverrun), "no end");
                body.extend([0; 4]);
            }
            let second = [0, 0, 0, 8, 0, 0, 0, 0];
            body.extend(second);
            let description = SourceDescription::read(2, &body).expect("two chunks");
            let chunks: Vec<_> = description.chunks().collect();
            assert_eq!(chunks.iter().map(Chunk::ssrc).collect::<Vec<_>>(), [Ssrc::new(7), Ssrc::new(8)]);
            assert_eq!(chunks[0].cname().map(<[u8]>::len), Some(len));
            assert_eq!((chunks[1].items().count(), chunks[1].cname()), (0, None));
        }
    }

    #[test]
    fn every_type_has_its_variant() {
        let text = b"\x01ab";
        let read: Vec<_> = (0..=9).map(|kind| Item::read(kind, text)).collect();
        assert_eq!(
            read,
            [
                Item::Other { kind: 0, text },
                Item::Cname(text),
                Item::Name(text),
                Item::Email(text),
                Item::Phone(text),
                Item::Location(text),
                Item::Tool(text),
                Item::Note(text),
                Item::Private { prefix: b"a", value: b"b" },
                Item::Other { kind: 9, text },
            ]
        );
        for (kind, item) in (0..).zip(read) {
            assert_eq!(item.parts().0, kind);
        }
    }

    #[test]
    fn a_prefix_longer_than_its_item_is_no_prefix() {
        for text in [&b""[..], b"\x03ab"] {
            assert_eq!(Item::read(8, text), Item::Other { kind: 8, text });
        }
        assert_eq!(Item::read(8, b"\x02ab"), Item::Private { prefix: b"ab", value: b"" });
    }

    #[test]
    fn descriptions_longer_than_their_packet_are_refused() {
        for (count, body) in [
            (1, &[][..]),
            (1, &[0, 0, 0, 7]),
            (1, &[0, 0, 0, 7, 1, 3, b'a', b'b']),
            (1, &[0, 0, 0, 7, 1, 2, b'a', b'b']),
            (1, &[0, 0, 0, 7, 1, 0, 1]),
            (1, &[0, 0, 0, 7, 1, 0, 0]),
            (2, &[0, 0, 0, 7, 0, 0, 0, 0]),
        ] {
            assert_eq!(SourceDescription::read(count, body), Err(ParseError::DescriptionOverrun), "{body:?}");
        }
        assert!(SourceDescription::read(0, &[]).is_ok_and(|none| none.chunks().next().is_none()));
    }
}
