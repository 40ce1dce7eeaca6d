//! Reading and writing the presentation language of MLS.

use super::{ErrorKind, WireError};

/// Reads from the front of a byte slice and remembers where it is.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    whole: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(whole: &'a [u8]) -> Self {
        Self { whole, position: 0 }
    }

    pub(super) const fn position(&self) -> usize {
        self.position
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.position >= self.whole.len()
    }

    pub(super) const fn error(&self, kind: ErrorKind) -> WireError {
        WireError { kind, offset: self.position }
    }

    /// What was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.whole.get(start..self.position).unwrap_or_default()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.whole.get(self.position..).unwrap_or_default()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let end = self.position.checked_add(len).ok_or_else(|| self.error(ErrorKind::Truncated))?;
        let bytes = self.whole.get(self.position..end).ok_or_else(|| self.error(ErrorKind::Truncated))?;
        self.position = end;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let truncated = self.error(ErrorKind::Truncated);
        self.bytes(N)?.try_into().map_err(|_| truncated)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length in the shortest of the three forms (RFC 9420, section 2.1.2).
    fn varint(&mut self) -> Result<usize, WireError> {
        let start = *self;
        let first = self.u8()?;
        let more = match first >> 6 {
            0 => 0,
            1 => 1,
            2 => 3,
            _ => return Err(start.error(ErrorKind::Length)),
        };
        let mut value = usize::from(first & 0x3F);
        for byte in self.bytes(more)? {
            value = value << 8 | usize::from(*byte);
        }
        if varint_len(value) == more + 1 { Ok(value) } else { Err(start.error(ErrorKind::Length)) }
    }

    /// A vector of variable size; its length is checked against the bytes that are there.
    pub(super) fn vector(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.varint()?;
        self.bytes(len)
    }

    /// A vector whose content is read by the returned reader; its errors count from the same start.
    pub(super) fn sub(&mut self) -> Result<Self, WireError> {
        let content = self.vector()?;
        let position = self.position - content.len();
        Ok(Self { whole: self.whole.get(..self.position).unwrap_or_default(), position })
    }

    pub(super) const fn finish(self) -> Result<(), WireError> {
        if self.is_empty() { Ok(()) } else { Err(self.error(ErrorKind::Trailing)) }
    }
}

const fn varint_len(value: usize) -> usize {
    match value {
        0..=0x3F => 1,
        0x40..=0x3FFF => 2,
        _ => 4,
    }
}

/// Writes a vector of variable size.
///
/// # Panics
///
/// The bytes are more than the 2^30 - 1 that a vector can hold, which no message of a gateway has.
pub(super) fn write_vector(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn write_length(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).ok().filter(|len| *len < 1 << 30).expect("a vector holds less than 2^30 bytes");
    match len {
        0..=0x3F => out.push(len as u8),
        0x40..=0x3FFF => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
        _ => out.extend_from_slice(&(len | 0x8000_0000).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_read_in_their_shortest_form_only() {
        for (bytes, expected) in [
            (&[0x00][..], Ok(0)),
            (&[0x3F], Ok(63)),
            (&[0x40, 0x40], Ok(64)),
            (&[0x7F, 0xFF], Ok(16383)),
            (&[0x80, 0x00, 0x40, 0x00], Ok(16384)),
            (&[0xBF, 0xFF, 0xFF, 0xFF], Ok((1 << 30) - 1)),
            (&[0x40, 0x3F], Err(ErrorKind::Length)),
            (&[0x80, 0x00, 0x3F, 0xFF], Err(ErrorKind::Length)),
            (&[0xC0, 0, 0, 0, 0, 0, 0, 0], Err(ErrorKind::Length)),
            (&[0x40], Err(ErrorKind::Truncated)),
            (&[0x80, 0, 0x40], Err(ErrorKind::Truncated)),
            (&[], Err(ErrorKind::Truncated)),
        ] {
            assert_eq!(Reader::new(bytes).varint().map_err(|error| error.kind), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused_without_reading() {
        let mut reader = Reader::new(&[0xBF, 0xFF, 0xFF, 0xFF, 1, 2]);
        assert_eq!(reader.vector().unwrap_err().kind, ErrorKind::Truncated);
    }

    proptest! {
        #[test]
        fn vectors_survive_a_round_trip(len in 0usize..70_000) {
            let mut out = Vec::new();
            write_vector(&mut out, &vec![7; len]);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.vector().unwrap().len(), len);
            prop_assert!(reader.finish().is_ok());
            out.pop();
            prop_assert!(len == 0 || Reader::new(&out).vector().is_err());
        }
    }
}
