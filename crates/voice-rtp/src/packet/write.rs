//! Writing a whole packet.

use core::fmt;
use core::ops::Range;

use super::{MAX_CSRCS, PREAMBLE_LEN};
use crate::extension::{Extension, MAX_BODY_LEN};
use crate::header::{EXTENSION, PADDING, RtpHeader};
use crate::number::Ssrc;

/// A packet to be written: everything but its payload.
///
/// What [`Packet`](crate::Packet) reads, this writes. A voice sender needs no more than
/// [`RtpHeader::write`]; this is for those who also send sources, an extension or padding.
///
/// ```
/// use voice_rtp::extension::{AUDIO_LEVEL_ID, ElementWriter, Form};
/// use voice_rtp::{Layout, Packet, RtpHeader, Ssrc};
///
/// let mut body = [0; 4];
/// let mut elements = ElementWriter::new(Form::OneByte, &mut body);
/// elements.push(AUDIO_LEVEL_ID, &[0x85])?;
/// let layout = Layout {
///     header: RtpHeader { payload_type: 120, ..RtpHeader::default() },
///     csrcs: &[Ssrc::new(7)],
///     extension: Some(elements.finish()),
///     padding_len: 4,
/// };
/// let mut datagram = [0; 1_200];
/// let len = layout.write(b"opus", &mut datagram)?;
/// assert_eq!(len, 12 + 4 + 8 + 4 + 4);
///
/// let packet = Packet::parse(&datagram[..len])?;
/// assert_eq!(packet.payload(), b"opus");
/// assert_eq!(packet.csrcs().next(), Some(Ssrc::new(7)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Layout<'a> {
    /// The fixed header.
    pub header: RtpHeader,
    /// The contributing sources, at most [`MAX_CSRCS`].
    pub csrcs: &'a [Ssrc],
    /// The header extension, whose body must be whole words of four bytes.
    ///
    /// [`ElementWriter`](crate::extension::ElementWriter) makes one.
    pub extension: Option<Extension<'a>>,
    /// How many bytes of padding follow the payload, their count included; 0 for none.
    pub padding_len: u8,
}

impl<'a> Layout<'a> {
    /// Makes the layout of a packet that has only `header` and payload.
    #[must_use]
    pub const fn new(header: RtpHeader) -> Self {
        Self { header, csrcs: &[], extension: None, padding_len: 0 }
    }

    /// Returns where the payload begins: the length of header, sources and extension, in bytes.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooManySources`], [`ExtensionLength`](WriteError::ExtensionLength).
    pub const fn header_len(&self) -> Result<usize, WriteError> {
        if self.csrcs.len() > MAX_CSRCS {
            return Err(WriteError::TooManySources);
        }
        let mut len = RtpHeader::LEN + self.csrcs.len() * 4;
        if let Some(extension) = &self.extension {
            let body = extension.body().len();
            if body > MAX_BODY_LEN || body % 4 != 0 {
                return Err(WriteError::ExtensionLength);
            }
            len += PREAMBLE_LEN + body;
        }
        Ok(len)
    }

    /// Writes the packet with `payload` to the start of `out` and returns its length, in bytes.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; then `out` stays as it was.
    pub fn write(&self, payload: &[u8], out: &mut [u8]) -> Result<usize, WriteError> {
        let (head, room, padding) = self.split(payload.len(), out)?;
        let len = head.len() + room.len() + padding.len();
        self.fill(head, padding);
        copy(payload, room);
        Ok(len)
    }

    /// Writes everything around a payload that is, or will be, in `out` itself, and returns where
    /// that is.
    ///
    /// An encoder can so write to `out[layout.header_len()?..]` and its payload is never copied. The
    /// packet ends [`padding_len`](Self::padding_len) bytes behind the returned range.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; then `out` stays as it was.
    pub fn write_around(&self, payload_len: usize, out: &mut [u8]) -> Result<Range<usize>, WriteError> {
        let (head, room, padding) = self.split(payload_len, out)?;
        let range = head.len()..head.len() + room.len();
        self.fill(head, padding);
        Ok(range)
    }

    /// Splits `out` into the room for what precedes the payload, for the payload and for the padding.
    #[expect(clippy::type_complexity, reason = "three parts of one buffer")]
    fn split<'b>(
        &self,
        payload_len: usize,
        out: &'b mut [u8],
    ) -> Result<(&'b mut [u8], &'b mut [u8], &'b mut [u8]), WriteError> {
        let (head, rest) = out.split_at_mut_checked(self.header_len()?).ok_or(WriteError::NoRoom)?;
        let (payload, rest) = rest.split_at_mut_checked(payload_len).ok_or(WriteError::NoRoom)?;
        let (padding, _) = rest.split_at_mut_checked(self.padding_len.into()).ok_or(WriteError::NoRoom)?;
        Ok((head, payload, padding))
    }

    /// Writes the parts that [`split`](Self::split) made room for.
    fn fill(&self, head: &mut [u8], padding: &mut [u8]) {
        let Some((fixed, rest)) = head.split_first_chunk_mut::<{ RtpHeader::LEN }>() else { return };
        self.header.write(fixed);
        // No more than `MAX_CSRCS`, or there would be no room.
        fixed[0] |= self.csrcs.len() as u8;
        let (words, _) = rest.as_chunks_mut::<4>();
        let (csrcs, after) = words.split_at_mut_checked(self.csrcs.len()).unwrap_or_default();
        for (word, ssrc) in csrcs.iter_mut().zip(self.csrcs) {
            *word = ssrc.get().to_be_bytes();
        }

        if let (Some(extension), Some((preamble, body))) = (&self.extension, after.split_first_mut()) {
            fixed[0] |= EXTENSION;
            let [p0, p1] = extension.profile().to_be_bytes();
            // At most `MAX_BODY_LEN`, or there would be no room.
            let [w0, w1] = (body.len() as u16).to_be_bytes();
            *preamble = [p0, p1, w0, w1];
            copy(extension.body(), body.as_flattened_mut());
        }

        if let Some((last, zeros)) = padding.split_last_mut() {
            fixed[0] |= PADDING;
            zeros.fill(0);
            *last = self.padding_len;
        }
    }
}

/// Why a packet was not written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is too small.
    NoRoom,
    /// There are more than [`MAX_CSRCS`] contributing sources.
    TooManySources,
    /// The body of the extension is not whole words of four bytes, or more than 65 535 of them.
    ExtensionLength,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "no room for the packet",
            Self::TooManySources => "more than 15 contributing sources",
            Self::ExtensionLength => "extension body is not a number of words that fits",
        })
    }
}

impl core::error::Error for WriteError {}

/// Copies as much as both have, without a length that could differ.
fn copy(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;
    use crate::packet::Packet;

    #[test]
    fn what_does_not_fit_the_wire_is_refused_and_nothing_is_written() {
        let sources = [Ssrc::new(1); 16];
        let body = vec![0; MAX_BODY_LEN + 4];
        let header = RtpHeader::default();
        let extended = |len: usize| Some(Extension::new(0xABCD, &body[..len]));
        let cases = [
            (Layout { csrcs: &sources, ..Layout::new(header) }, WriteError::TooManySources),
            (Layout { extension: extended(MAX_BODY_LEN + 4), ..Layout::new(header) }, WriteError::ExtensionLength),
            (Layout { extension: extended(3), ..Layout::new(header) }, WriteError::ExtensionLength),
        ];
        let mut out = vec![0xAA; MAX_BODY_LEN + 1_000];
        for (layout, error) in cases {
            assert_eq!(layout.write(b"x", &mut out), Err(error));
            assert_eq!(layout.write_around(1, &mut out), Err(error));
            assert!(!error.to_string().is_empty());
        }
        assert!(out.iter().all(|&byte| byte == 0xAA));

        let largest = Layout { csrcs: &sources[..15], extension: extended(MAX_BODY_LEN), ..Layout::new(header) };
        let len = largest.write(b"x", &mut out).unwrap();
        assert_eq!(Packet::parse(&out[..len]).unwrap().extension(), largest.extension);
    }

    #[test]
    fn a_packet_is_written_whole_or_not_at_all() {
        let layout = Layout {
            header: RtpHeader { marker: true, payload_type: 101, ..RtpHeader::default() },
            csrcs: &[Ssrc::new(1), Ssrc::new(2)],
            extension: Some(Extension::new(0xBEDE, &[0x10, 0xFF, 0x90, 0])),
            padding_len: 3,
        };
        let mut whole = [0xAA; 64];
        let len = layout.write(b"four", &mut whole).unwrap();
        assert_eq!(len, 12 + 8 + 8 + 4 + 3);
        assert_eq!(whole[len..], [0xAA; 64 - 35]);
        for room in 0..len {
            let mut out = vec![0xAA; room];
            assert_eq!(layout.write(b"four", &mut out), Err(WriteError::NoRoom));
            assert_eq!(layout.write_around(4, &mut out), Err(WriteError::NoRoom));
            assert!(out.iter().all(|&byte| byte == 0xAA), "{room}");
        }

        let mut around = [0xAA; 35];
        let start = layout.header_len().unwrap();
        around[start..start + 4].copy_from_slice(b"four");
        assert_eq!(layout.write_around(4, &mut around), Ok(start..start + 4));
        assert_eq!(around, whole[..len]);
        assert_eq!(layout.write_around(usize::MAX, &mut around), Err(WriteError::NoRoom));
    }
}
