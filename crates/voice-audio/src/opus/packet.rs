//! The framing of an Opus packet: what can be known without decoding it.
//!
//! RFC 6716, section 3.

#![deny(clippy::indexing_slicing)]

use core::fmt;
use core::time::Duration;

/// The longest one Opus frame may be, in bytes.
///
/// RFC 6716, section 3.4, requirement R2.
pub const MAX_OPUS_FRAME_LEN: usize = 1275;

/// The longest a packet may play, in samples per channel at 48 kHz: 120 ms.
///
/// RFC 6716, section 3.4, requirement R5.
pub const MAX_PACKET_SAMPLES: usize = 5760;

/// The most frames a packet can hold: 48 of 2.5 ms.
///
/// RFC 6716, section 3.2.5.
pub const MAX_PACKET_FRAMES: usize = 48;

/// A packet whose framing was checked, borrowed from the bytes it was parsed from.
///
/// ```
/// use voice_audio::opus::{Bandwidth, Mode, Packet};
///
/// let packet = Packet::parse(&[0xF8, 0xFF, 0xFE])?;
/// assert_eq!(packet.toc().mode(), Mode::Celt);
/// assert_eq!(packet.toc().bandwidth(), Bandwidth::Full);
/// assert_eq!(packet.samples(), 960);
/// assert_eq!(packet.frames().collect::<Vec<_>>(), [&[0xFF, 0xFE]]);
/// # Ok::<(), voice_audio::opus::PacketError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    toc: Toc,
    /// The frames, one behind the other, without framing and padding.
    body: &'a [u8],
    lens: [u16; MAX_PACKET_FRAMES],
    count: u8,
    padding_len: usize,
}

impl<'a> Packet<'a> {
    /// Checks the framing of `bytes`, which are one whole packet.
    ///
    /// # Errors
    ///
    /// [`PacketError`] when the bytes break one of the requirements R1 to R7 of RFC 6716, section 3.4.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let (&toc, rest) = bytes.split_first().ok_or(PacketError::Empty)?;
        let mut packet =
            Self { toc: Toc::new(toc), body: rest, lens: [0; MAX_PACKET_FRAMES], count: 1, padding_len: 0 };
        match packet.toc.code() {
            0 => packet.set_equal_lens(1)?,
            1 => packet.set_equal_lens(2)?,
            2 => {
                packet.count = 2;
                packet.read_lens()?;
            }
            _ => packet.parse_counted()?,
        }
        Ok(packet)
    }

    /// The first byte: mode, bandwidth, frame duration, channels.
    #[must_use]
    pub const fn toc(&self) -> Toc {
        self.toc
    }

    /// How many frames the packet holds, 1 to 48.
    #[must_use]
    pub const fn frame_count(&self) -> usize {
        self.count as usize
    }

    /// The frames in the order they play. A frame may be empty: nothing was transmitted for it.
    pub fn frames(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let mut rest = self.body;
        self.lens.iter().take(self.frame_count()).map(move |&len| {
            // `parse` checked that the lengths add up to the body.
            let (frame, tail) = rest.split_at_checked(usize::from(len)).unwrap_or((rest, &[]));
            rest = tail;
            frame
        })
    }

    /// How long the packet plays, in samples per channel at 48 kHz; at most [`MAX_PACKET_SAMPLES`].
    ///
    /// Also how far the RTP timestamp moves from this packet to the next.
    #[must_use]
    pub const fn samples(&self) -> usize {
        self.toc.frame_samples() * self.frame_count()
    }

    /// How long the packet plays.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        samples_to_duration(self.samples())
    }

    /// Bytes of padding after the frames, without the bytes that tell its length.
    #[must_use]
    pub const fn padding_len(&self) -> usize {
        self.padding_len
    }

    /// Whether the packet is one frame of 20 ms, the only kind a voice call sends.
    #[must_use]
    pub const fn is_single_20_ms_frame(&self) -> bool {
        self.count == 1 && self.toc.frame_samples() == crate::FRAME_SAMPLES
    }

    /// Code 3: a count byte, padding, then frames of equal or of stated length.
    fn parse_counted(&mut self) -> Result<(), PacketError> {
        let count_byte = self.take_byte()?;
        let count = count_byte & 0x3F;
        if count == 0 {
            return Err(PacketError::NoFrames);
        }
        if self.toc.frame_samples() * usize::from(count) > MAX_PACKET_SAMPLES {
            return Err(PacketError::TooLong);
        }
        if count_byte & 0x40 != 0 {
            self.take_padding()?;
        }
        if count_byte & 0x80 == 0 {
            return self.set_equal_lens(count);
        }
        self.count = count;
        self.read_lens()
    }

    /// Splits the body into `count` frames of one length.
    fn set_equal_lens(&mut self, count: u8) -> Result<(), PacketError> {
        let frames = usize::from(count);
        if !self.body.len().is_multiple_of(frames) {
            return Err(PacketError::Uneven);
        }
        let len = frame_len(self.body.len() / frames)?;
        self.lens.iter_mut().take(frames).for_each(|slot| *slot = len);
        self.count = count;
        Ok(())
    }

    /// Reads the lengths of all frames but the last, which gets the bytes that remain.
    fn read_lens(&mut self) -> Result<(), PacketError> {
        let stated = self.frame_count() - 1;
        let mut lens = self.lens;
        let mut total = 0;
        for slot in lens.iter_mut().take(stated) {
            let first = self.take_byte()?;
            let len = if first < 252 { u16::from(first) } else { u16::from(first) + 4 * u16::from(self.take_byte()?) };
            *slot = len;
            total += usize::from(len);
        }
        let last = self.body.len().checked_sub(total).ok_or(PacketError::TooShort)?;
        if let Some(slot) = lens.get_mut(stated) {
            *slot = frame_len(last)?;
        }
        self.lens = lens;
        Ok(())
    }

    /// Removes the padding from the end of the body and its length from the front.
    fn take_padding(&mut self) -> Result<(), PacketError> {
        let mut padding_len = 0usize;
        loop {
            let byte = self.take_byte()?;
            // 255 stands for 254 bytes of padding and one more length byte.
            padding_len += usize::from(byte.min(254));
            if byte != 255 {
                break;
            }
        }
        let end = self.body.len().checked_sub(padding_len).ok_or(PacketError::TooShort)?;
        self.body = self.body.get(..end).ok_or(PacketError::TooShort)?;
        self.padding_len = padding_len;
        Ok(())
    }

    fn take_byte(&mut self) -> Result<u8, PacketError> {
        let (&byte, rest) = self.body.split_first().ok_or(PacketError::TooShort)?;
        self.body = rest;
        Ok(byte)
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("toc", &self.toc)
            .field("frame_count", &self.count)
            .field("len", &self.body.len())
            .field("padding_len", &self.padding_len)
            .finish()
    }
}

/// The first byte of a packet, "table of contents".
///
/// RFC 6716, section 3.1.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Toc(u8);

impl Toc {
    /// Reads the byte; every value means something.
    #[must_use]
    pub const fn new(byte: u8) -> Self {
        Self(byte)
    }

    /// The byte.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The configuration number, 0 to 31: mode, bandwidth and frame duration in one.
    #[must_use]
    pub const fn config(self) -> u8 {
        self.0 >> 3
    }

    /// Whether the frames are stereo; a decoder makes either out of either.
    #[must_use]
    pub const fn is_stereo(self) -> bool {
        self.0 & 4 != 0
    }

    /// The frame count code, 0 to 3: one, two equal, two, or a stated number of frames.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0 & 3
    }

    /// What the frames were coded with.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self.config() {
            0..=11 => Mode::Silk,
            12..=15 => Mode::Hybrid,
            _ => Mode::Celt,
        }
    }

    /// The audio bandwidth of the frames.
    #[must_use]
    pub const fn bandwidth(self) -> Bandwidth {
        match self.config() {
            0..=3 | 16..=19 => Bandwidth::Narrow,
            4..=7 => Bandwidth::Medium,
            8..=11 | 20..=23 => Bandwidth::Wide,
            12 | 13 | 24..=27 => Bandwidth::SuperWide,
            _ => Bandwidth::Full,
        }
    }

    /// How long one frame plays, in samples per channel at 48 kHz: 120 to 2 880.
    #[must_use]
    pub const fn frame_samples(self) -> usize {
        let config = self.config();
        match self.mode() {
            Mode::Silk => match config & 3 {
                0 => 480,
                1 => 960,
                2 => 1920,
                _ => 2880,
            },
            Mode::Hybrid => 480 << (config & 1),
            Mode::Celt => 120 << (config & 3),
        }
    }

    /// How long one frame plays: 2.5 to 60 ms.
    #[must_use]
    pub const fn frame_duration(self) -> Duration {
        samples_to_duration(self.frame_samples())
    }
}

impl fmt::Debug for Toc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toc")
            .field("mode", &self.mode())
            .field("bandwidth", &self.bandwidth())
            .field("frame_duration", &self.frame_duration())
            .field("stereo", &self.is_stereo())
            .field("code", &self.code())
            .finish()
    }
}

/// Which of its two codecs Opus used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Linear prediction, for speech.
    Silk,
    /// SILK up to 8 kHz, CELT above.
    Hybrid,
    /// Transform coding, for music and for low delay.
    Celt,
}

/// The range of audible frequencies that was coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bandwidth {
    /// Up to 4 kHz (NB).
    Narrow,
    /// Up to 6 kHz (MB).
    Medium,
    /// Up to 8 kHz (WB).
    Wide,
    /// Up to 12 kHz (SWB).
    SuperWide,
    /// Up to 20 kHz (FB).
    Full,
}

/// What is wrong with the framing of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketError {
    /// There is no byte at all (R1).
    Empty,
    /// The packet ends before what its framing promises (R4, R6, R7).
    TooShort,
    /// Frames of equal length do not fill the packet (R3, R6).
    Uneven,
    /// The stated number of frames is zero (R5).
    NoFrames,
    /// The packet would play for more than 120 ms (R5).
    TooLong,
    /// A frame is longer than [`MAX_OPUS_FRAME_LEN`] (R2).
    FrameTooLong,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the packet is empty",
            Self::TooShort => "the packet is cut short",
            Self::Uneven => "the packet does not divide into equal frames",
            Self::NoFrames => "the packet holds no frame",
            Self::TooLong => "the packet plays for more than 120 ms",
            Self::FrameTooLong => "a frame exceeds 1275 bytes",
        })
    }
}

impl core::error::Error for PacketError {}

fn frame_len(len: usize) -> Result<u16, PacketError> {
    if len > MAX_OPUS_FRAME_LEN {
        return Err(PacketError::FrameTooLong);
    }
    u16::try_from(len).map_err(|_| PacketError::FrameTooLong)
}

const fn samples_to_duration(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 125 / 6)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/vectors/opus.json")).unwrap()
    }

    fn bytes(hex: &Value) -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn check_toc(toc: Toc, expect: &Value) {
        let mode = match toc.mode() {
            Mode::Silk => "silk",
            Mode::Hybrid => "hybrid",
            Mode::Celt => "celt",
        };
        let bandwidth = match toc.bandwidth() {
            Bandwidth::Narrow => "NB",
            Bandwidth::Medium => "MB",
            Bandwidth::Wide => "WB",
            Bandwidth::SuperWide => "SWB",
            Bandwidth::Full => "FB",
        };
        assert_eq!(expect["config"], toc.config(), "{expect}");
        assert_eq!(expect["mode"], mode, "{expect}");
        assert_eq!(expect["bandwidth"], bandwidth, "{expect}");
        assert_eq!(expect["frame_us"], u64::try_from(toc.frame_duration().as_micros()).unwrap(), "{expect}");
    }

    #[test]
    fn the_configuration_table_matches() {
        let vectors = vectors();
        let table = vectors["opus_config_table"].as_array().unwrap();
        assert_eq!(table.len(), 32);
        for row in table {
            let config = u8::try_from(row["config"].as_u64().unwrap()).unwrap();
            check_toc(Toc::new(config << 3), row);
        }
    }

    #[test]
    fn known_packets_parse() {
        let vectors = vectors();
        let known = vectors["opus_toc"].as_array().unwrap();
        assert!(!known.is_empty());
        for case in known {
            let (bytes, expect) = (bytes(&case["packet"]), &case["expect"]);
            let packet = Packet::parse(&bytes).unwrap();
            check_toc(packet.toc(), expect);
            assert_eq!(expect["stereo"], packet.toc().is_stereo(), "{case}");
            assert_eq!(expect["code"], packet.toc().code(), "{case}");
            assert_eq!(expect["frames"], packet.frame_count(), "{case}");
            assert_eq!(expect["samples_48k"], packet.samples(), "{case}");
            assert_eq!(expect["duration_us"], u64::try_from(packet.duration().as_micros()).unwrap(), "{case}");
        }
    }

    #[test]
    fn known_bad_packets_are_refused() {
        let vectors = vectors();
        let known = vectors["opus_toc_invalid"].as_array().unwrap();
        assert!(!known.is_empty());
        for case in known {
            let name = match Packet::parse(&bytes(&case["packet"])).unwrap_err() {
                PacketError::Empty => "empty",
                PacketError::TooShort => "too_short",
                PacketError::Uneven => "odd_length",
                PacketError::NoFrames => "zero_frames",
                PacketError::TooLong => "too_long",
                PacketError::FrameTooLong => "frame_too_long",
            };
            assert_eq!(case["error"], name, "{case}");
        }
    }

    /// Four frames of 2.5 ms and stated length: 3, 0, 252 and 2 bytes, then 3 bytes of padding.
    fn counted() -> Vec<u8> {
        let mut bytes = vec![0xE0 | 3, 0xC0 | 4, 3, 3, 0, 252, 0];
        bytes.extend([1, 1, 1]);
        bytes.extend([2; 252]);
        bytes.extend([3, 3]);
        bytes.extend([0; 3]);
        bytes
    }

    #[test]
    fn frames_of_stated_length_come_out_without_framing() {
        let bytes = counted();
        let packet = Packet::parse(&bytes).unwrap();
        let frames: Vec<_> = packet.frames().collect();
        assert_eq!(frames, [&[1; 3][..], &[], &[2; 252], &[3; 2]]);
        assert_eq!(packet.padding_len(), 3);
        assert_eq!(packet.samples(), 480);
    }

    #[test]
    fn every_truncation_that_cuts_framing_is_refused() {
        let bytes = counted();
        for len in 0..bytes.len() {
            // The last frame has no stated length: losing its two bytes cannot be noticed.
            if len < bytes.len() - 2 {
                assert!(Packet::parse(&bytes[..len]).is_err(), "{len}");
            } else {
                let packet = Packet::parse(&bytes[..len]).unwrap();
                assert_eq!(packet.frames().last().map(<[u8]>::len), Some(len + 2 - bytes.len()));
            }
        }
    }

    #[test]
    fn long_padding_counts_254_for_each_255() {
        let mut bytes = vec![0xFB, 0x41, 255, 255, 7];
        bytes.push(9);
        bytes.extend([0; 254 + 254 + 7]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.padding_len(), 515);
        assert_eq!(packet.frames().collect::<Vec<_>>(), [&[9]]);
        assert!(matches!(Packet::parse(&bytes[..bytes.len() - 2]), Err(PacketError::TooShort)));
    }

    #[test]
    fn frames_end_at_1275_bytes() {
        for (prefix, frames) in [(&[0xF8][..], 1), (&[0xF9], 2), (&[0xFB, 3], 3)] {
            let mut bytes = prefix.to_vec();
            bytes.extend(vec![0; MAX_OPUS_FRAME_LEN * frames]);
            assert_eq!(Packet::parse(&bytes).unwrap().frame_count(), frames);
            bytes.extend(vec![0; frames]);
            assert!(matches!(Packet::parse(&bytes), Err(PacketError::FrameTooLong)));
        }
        let mut bytes = vec![0xFA, 0];
        bytes.extend(vec![0; MAX_OPUS_FRAME_LEN]);
        assert_eq!(Packet::parse(&bytes).unwrap().frames().map(<[u8]>::len).max(), Some(1275));
        bytes.push(0);
        assert!(matches!(Packet::parse(&bytes), Err(PacketError::FrameTooLong)));
    }

    #[test]
    fn only_one_frame_of_20_ms_counts_as_a_call_frame() {
        for (bytes, single) in
            [(&[0xF8, 0xFF, 0xFE][..], true), (&[0xFB, 0x01, 0xFF], true), (&[0xF1, 0, 0], false), (&[0x18, 0], false)]
        {
            assert_eq!(Packet::parse(bytes).unwrap().is_single_20_ms_frame(), single);
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_keeps_the_limits(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.samples() <= MAX_PACKET_SAMPLES);
                prop_assert_eq!(packet.frames().count(), packet.frame_count());
                prop_assert!(packet.frames().all(|frame| frame.len() <= MAX_OPUS_FRAME_LEN));
                let total: usize = packet.frames().map(<[u8]>::len).sum();
                prop_assert!(total + packet.padding_len() < bytes.len());
            }
        }

        #[test]
        fn stated_lengths_round_trip(lens in prop::collection::vec(0usize..=1275, 1..=6), padding in 0u8..=254) {
            let count = u8::try_from(lens.len()).unwrap();
            let mut bytes = vec![0xFB, 0xC0 | count, padding];
            for &len in &lens[..lens.len() - 1] {
                if len < 252 {
                    bytes.push(u8::try_from(len).unwrap());
                } else {
                    let low = 252 + (len & 3);
                    bytes.extend([u8::try_from(low).unwrap(), u8::try_from((len - low) / 4).unwrap()]);
                }
            }
            for (fill, &len) in (0u8..).zip(&lens) {
                bytes.extend(vec![fill; len]);
            }
            bytes.extend(vec![0; usize::from(padding)]);
            let packet = Packet::parse(&bytes).unwrap();
            let parsed: Vec<_> = packet.frames().collect();
            prop_assert_eq!(parsed.len(), lens.len());
            for ((fill, frame), len) in (0u8..).zip(parsed).zip(lens) {
                prop_assert_eq!(frame, &vec![fill; len][..]);
            }
        }
    }
}
