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
    /// What the channels mean: 0 for mono and stereo, 1 for the layouts of Vorbis, 255 when nothing is said.
    pub(super) family: u8,
    /// How many Opus streams each packet interleaves: 1 for mono and stereo.
    pub(super) streams: u8,
    /// How many of them, the first, are stereo.
    pub(super) coupled: u8,
    /// The decoded channel each channel is; 255 is silence.
    pub(super) mapping: [u8; MAX_CHANNELS],
}

/// A channel that is silent.
const SILENT: u8 = 255;
/// Channels at most.
pub(super) const MAX_CHANNELS: usize = 8;

impl OpusHead {
    /// Reads the header; `None` when it is none, or one of more channels than can be decoded.
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
        let mut mapping = [SILENT; MAX_CHANNELS];
        let (streams, coupled) = match family {
            0 if channels <= 2 => {
                mapping = [0, 1, SILENT, SILENT, SILENT, SILENT, SILENT, SILENT];
                (1, channels - 1)
            }
            1 | 255 => {
                let (&[streams, coupled], table) = tables.split_first_chunk()?;
                mapping.get_mut(..usize::from(channels))?.copy_from_slice(table.get(..usize::from(channels))?);
                (streams, coupled)
            }
            _ => return None,
        };
        let decoded = streams.checked_add(coupled)?;
        let in_range = mapping.iter().all(|at| *at == SILENT || *at < decoded || family == 0);
        if streams == 0 || coupled > streams || usize::from(streams) > MAX_CHANNELS || !in_range {
            return None;
        }
        Some(Self {
            channels,
            pre_skip: read([skip_low, skip_high]),
            gain: read([gain_low, gain_high]).cast_signed(),
            family,
            streams,
            coupled,
            mapping,
        })
    }

    /// Whether the packets are plain Opus packets, as a call sends them.
    pub(super) const fn is_single_stream(&self) -> bool {
        self.family == 0
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
        assert_eq!((head.channels, head.pre_skip, head.gain, head.streams, head.coupled), (2, 312, 256, 1, 1));
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
    fn surround_is_several_streams() {
        let mut surround = HEAD.to_vec();
        surround[9] = 6;
        assert_eq!(OpusHead::parse(&surround), None, "family 0 has two channels at most");
        surround[18] = 1;
        assert_eq!(OpusHead::parse(&surround), None, "the tables are missing");
        surround.extend([4, 2, 0, 4, 1, 2, 3, 5]);
        let head = OpusHead::parse(&surround).unwrap();
        assert!(!head.is_single_stream());
        assert_eq!((head.streams, head.coupled, head.mapping), (4, 2, [0, 4, 1, 2, 3, 5, 255, 255]));
        surround[21] = 6;
        assert_eq!(OpusHead::parse(&surround), None, "a channel that is not there");
    }
}
