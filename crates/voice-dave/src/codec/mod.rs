//! Which bytes of a video frame stay in the clear, because packetizers read them.

mod av1;
mod h26x;
mod vp8;

use crate::{
    SealError,
    frame::{ClearRanges, Span},
};

pub(crate) use h26x::has_start_code;

/// What made a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Opus: encrypted whole.
    Opus,
    /// VP8: the header that depacketizers read is clear.
    Vp8,
    /// VP9: encrypted whole.
    Vp9,
    /// H.264: start codes, parameter sets and the front of slices are clear.
    H264,
    /// H.265: start codes, parameter sets and unit headers are clear.
    H265,
    /// AV1: headers and sizes of OBUs are clear.
    Av1,
    /// Anything else: encrypted whole.
    Unknown,
}

/// Writes the form in which a frame is sent to the front of `out`; returns its length and what of it is clear.
pub(crate) fn lay_out(codec: Codec, frame: &[u8], out: &mut [u8]) -> Result<(usize, ClearRanges), SealError> {
    let mut layout = Layout::new(out);
    let well_formed = match codec {
        Codec::Vp8 => vp8::lay_out(frame, &mut layout),
        Codec::H264 => h26x::lay_out(frame, &mut layout, h26x::h264_clear_len),
        Codec::H265 => h26x::lay_out(frame, &mut layout, h26x::h265_clear_len),
        Codec::Av1 => av1::lay_out(frame, &mut layout),
        Codec::Opus | Codec::Vp9 | Codec::Unknown => None,
    };
    if well_formed.is_none() {
        layout = Layout::new(out);
        layout.encrypted(frame);
    }
    layout.finish()
}

/// A frame in the making.
struct Layout<'a> {
    out: &'a mut [u8],
    len: usize,
    ranges: ClearRanges,
    error: Option<SealError>,
}

impl<'a> Layout<'a> {
    fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, ranges: ClearRanges::default(), error: None }
    }

    /// Adds bytes that stay in the clear.
    fn clear(&mut self, bytes: &[u8]) {
        let (offset, len) = (self.len, bytes.len());
        self.encrypted(bytes);
        if self.ranges.push_joined(Span { offset, len }).is_none() {
            self.error.get_or_insert(SealError::TooManyRanges);
        }
    }

    /// Adds bytes that will be encrypted.
    fn encrypted(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.out.get_mut(self.len..end) {
            Some(room) => room.copy_from_slice(bytes),
            None => self.error = Some(SealError::NoRoom),
        }
        self.len = end;
    }

    fn finish(self) -> Result<(usize, ClearRanges), SealError> {
        self.error.map_or(Ok((self.len, self.ranges)), Err)
    }
}

#[cfg(test)]
mod tests;
