//! The identification header of an Opus stream.
//!
//! RFC 7845, section 5.1.

#![deny(clippy::indexing_slicing)]

/// What a reader has to know before it decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpusHead {
    pub(super) channels: u8,
    /// Samples per channel at 48 kHz to drop at the start.
    pub(super) pre_skip: u16,
    /// Gain to apply, in 1/256 dB.
    pub(super) gain: i16,
    /// How many Opus streams each packet interleaves: 1 for mono and stereo.
    pub(super) streams: u8,
}

impl OpusHead {
    /// Reads the header; `None` when it is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"OpusHead")?;
        let (&[version, channels, skip_low, skip_high, _, _, _, _, gain_low, gain_high, family], tables) =
            rest.split_first_chunk()?;
        // Versions up to 15 keep this layout.
        if version > 15 || channels == 0 {
            return None;
        }
        // Version 0 is the form inside MP4 files, which is big-endian ("Encapsulation of Opus in ISO Base Media File
        // Format", section 4.3.2).
        let read = if version == 0 { u16::from_be_bytes } else { u16::from_le_bytes };
        let streams = if family == 0 { 1 } else { *tables.first()? };
        Some(Self {
            channels,
            pre_skip: read([skip_low, skip_high]),
            gain: read([gain_low, gain_high]).cast_signed(),
            streams,
        })
    }

    /// Whether the packets are plain Opus packets, as a call sends them.
    pub(super) const fn is_single_stream(&self) -> bool {
        self.streams == 1 && self.channels <= 2
    }

    /// The gain as a factor.
    pub(super) fn gain_factor(&self) -> f32 {
        10f32.powf(f32::from(self.gain) / (20.0 * 256.0))
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    const HEAD: &[u8; 19] = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x01\x00";

    #[test]
    fn a_stereo_header_is_read() {
        let head = OpusHead::parse(HEAD).unwrap();
        assert_eq!(head, OpusHead { channels: 2, pre_skip: 312, gain: 256, streams: 1 });
        assert!(head.is_single_stream());
        assert!((head.gain_factor() - 1.122).abs() < 0.001);
    }

    #[test]
    fn the_form_of_mp4_is_big_endian() {
        let head = OpusHead::parse(b"OpusHead\x00\x02\x01\x38\x00\x00\xbb\x80\xff\x00\x00").unwrap();
        assert_eq!((head.pre_skip, head.gain), (312, -256));
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..HEAD.len() {
            assert_eq!(OpusHead::parse(&HEAD[..len]), None, "{len}");
        }
    }

    #[test]
    fn surround_is_no_single_stream() {
        let mut surround = HEAD.to_vec();
        surround[9] = 6;
        surround[18] = 1;
        assert_eq!(OpusHead::parse(&surround), None, "the tables are missing");
        surround.extend([4, 2, 0, 4, 1, 2, 3, 5]);
        assert!(!OpusHead::parse(&surround).unwrap().is_single_stream());
    }
}
