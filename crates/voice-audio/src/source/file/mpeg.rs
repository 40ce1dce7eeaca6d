//! Streams of MPEG audio frames, layers I to III: ISO/IEC 11172-3 section 2.4.1, ISO/IEC 13818-3.
//!
//! Frames are found one by one. A Xing, Info or VBRI header states the length of the stream it begins, which is for
//! display: nothing ends but with the last frame. Its encoder delay and padding are cut off that stream alone.

#![deny(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

use super::bytes::Bytes;
use super::packet::Packet;
use super::tags;

/// Reads frames, and tells where one stream ends and the next begins.
pub(super) struct Mpeg {
    bytes: Bytes,
    stream: Stream,
    /// Frames read ahead: the last of a stream are known as such only when it has ended.
    held: VecDeque<Packet>,
    next: Option<Stream>,
    ended: bool,
    synced: bool,
}

/// What is known of a stream before its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    kind: Kind,
    /// Samples per channel to drop at the start and at the end.
    pub(super) delay: u64,
    padding: u64,
    /// Samples per channel that are heard, and bytes that hold them, as the stream states them.
    length: Option<(u64, u64)>,
}

/// What all frames of a stream have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    layer: u8,
    rate: u32,
    mono: bool,
    /// Samples per channel of each frame.
    samples: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: Kind,
    len: usize,
    protected: bool,
}

impl Mpeg {
    /// `None` when no frames begin here or soon.
    pub(super) fn open(mut bytes: Bytes) -> io::Result<Result<Self, Bytes>> {
        let Some(header) = find(&mut bytes, None, MAX_LEADING)? else {
            return Ok(Err(bytes));
        };
        let mut mpeg = Self {
            bytes,
            stream: Stream::plain(header.kind),
            held: VecDeque::new(),
            next: None,
            ended: false,
            synced: true,
        };
        let frame = mpeg.bytes.peek(header.len)?;
        if let Some(stream) = Stream::stated(header, frame) {
            mpeg.bytes.consume(header.len);
            mpeg.stream = stream;
        }
        // Several streams behind each other: the first one's length is not the file's.
        if let Some((_, stated)) = mpeg.stream.length
            && let Some(left) = mpeg.bytes.left()
        {
            let audio = left.saturating_sub(tags::trailing(&mut mpeg.bytes)?);
            if audio > stated.saturating_add(LENGTH_TOLERANCE) {
                mpeg.stream.length = None;
            }
        }
        Ok(Ok(mpeg))
    }

    pub(super) const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The next frame; `None` at the end of this stream.
    pub(super) fn next(&mut self) -> io::Result<Option<Packet>> {
        let samples = u64::from(self.stream.kind.samples);
        while !self.ended && (self.held.len() as u64).saturating_sub(1) * samples < self.stream.padding.max(1) {
            self.read_frame()?;
            if self.ended {
                let mut padding = self.stream.padding;
                for packet in self.held.iter_mut().rev() {
                    packet.trim_end = padding.min(samples);
                    padding -= packet.trim_end;
                }
            }
        }
        Ok(self.held.pop_front())
    }

    /// Goes on with the stream behind the one that ended, if there is one.
    pub(super) fn next_stream(&mut self) -> bool {
        let Some(stream) = self.next.take() else {
            return false;
        };
        // How much is left of the file is not looked at here: a length is told before the file plays.
        self.stream = Stream { length: None, ..stream };
        self.ended = false;
        true
    }

    fn read_frame(&mut self) -> io::Result<()> {
        let expected = self.stream.kind;
        let here = Header::parse(self.bytes.peek(4)?).filter(|header| self.synced && header.kind == expected);
        let header = match here {
            Some(header) => header,
            None => match find(&mut self.bytes, Some(expected), MAX_GAP)? {
                Some(header) => header,
                None => {
                    self.ended = true;
                    return Ok(());
                }
            },
        };
        self.synced = true;
        let frame = self.bytes.peek(header.len)?;
        if frame.len() < header.len {
            // Cut short.
            self.ended = true;
            return Ok(());
        }
        if let Some(stream) = Stream::stated(header, frame) {
            self.bytes.consume(header.len);
            self.next = Some(stream);
            self.ended = true;
        } else if header.kind == expected {
            let packet = Packet::new(frame);
            self.bytes.consume(header.len);
            self.held.push_back(packet);
        } else {
            self.next = Some(Stream::plain(header.kind));
            self.ended = true;
        }
        Ok(())
    }
}

impl Stream {
    const fn plain(kind: Kind) -> Self {
        Self { kind, delay: 0, padding: 0, length: None }
    }

    pub(super) fn codec(&self) -> AudioCodecParameters {
        let mut codec = AudioCodecParameters::new();
        let left = Position::FRONT_LEFT;
        codec
            .for_codec(match self.kind.layer {
                1 => CODEC_ID_MP1,
                2 => CODEC_ID_MP2,
                _ => CODEC_ID_MP3,
            })
            .with_sample_rate(self.kind.rate)
            .with_channels(Channels::Positioned(if self.kind.mono { left } else { left | Position::FRONT_RIGHT }));
        codec
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        self.length.map(|(samples, _)| Duration::from_secs_f64(samples as f64 / f64::from(self.kind.rate)))
    }

    /// Reads the header in a frame that holds one instead of audio.
    fn stated(header: Header, frame: &[u8]) -> Option<Self> {
        let kind = header.kind;
        if kind.layer != 3 {
            return None;
        }
        let side_info = match (kind.samples, kind.mono) {
            (1152, false) => 32,
            (1152, true) | (_, false) => 17,
            (_, true) => 9,
        };
        // Encoders disagree on whether the check sum moves it.
        for at in [4 + side_info, 6 + side_info] {
            if let Some(rest) = frame.get(at..)
                && let Some(rest) = rest.strip_prefix(b"Xing").or_else(|| rest.strip_prefix(b"Info"))
            {
                return Some(Self::xing(kind, rest, header.len as u64));
            }
            if !header.protected {
                break;
            }
        }
        let vbri = frame.get(36..)?.strip_prefix(b"VBRI")?;
        let frames = u64::from(read_u32(vbri, 10)?);
        let bytes = u64::from(read_u32(vbri, 6)?);
        let length = (frames > 0).then(|| (frames * u64::from(kind.samples), bytes));
        Some(Self { length, ..Self::plain(kind) })
    }

    /// The Xing header, and what LAME and others put behind it.
    fn xing(kind: Kind, rest: &[u8], own_len: u64) -> Self {
        let flags = read_u32(rest, 0).unwrap_or(0);
        let mut at = 4;
        let mut field = |flag: u32, len: usize| {
            let value = (flags & flag != 0).then(|| read_u32(rest, at).unwrap_or(0));
            at += if flags & flag != 0 { len } else { 0 };
            value
        };
        let frames = field(1, 4).filter(|frames| *frames > 0);
        let bytes = field(2, 4).filter(|bytes| *bytes > 0);
        field(4, 100);
        field(8, 4);
        let mut stream = Self::plain(kind);
        let known = |name: &[u8]| [b"LAME", b"Lavf", b"Lavc"].iter().any(|known| name.starts_with(*known));
        if rest.get(at..).is_some_and(known)
            && let Some(&[a, b, c]) = rest.get(at + 21..at + 24)
        {
            let delay = u64::from(a) << 4 | u64::from(b >> 4);
            let padding = u64::from(b & 0x0F) << 8 | u64::from(c);
            if delay > 0 || padding > 0 {
                stream.delay = delay + DECODER_DELAY;
                stream.padding = padding.saturating_sub(DECODER_DELAY);
            }
        }
        stream.length = frames.map(|frames| {
            let whole = u64::from(frames) * u64::from(kind.samples);
            // Without a count of bytes, whatever follows belongs to it.
            let bytes = bytes.map_or(u64::MAX, |bytes| u64::from(bytes).saturating_sub(own_len));
            (whole.saturating_sub(stream.delay + stream.padding), bytes)
        });
        stream
    }
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[0xFF, b, c, d, ..] = bytes else {
            return None;
        };
        let (version, layer) = (b >> 3 & 3, 4 - (b >> 1 & 3));
        let rate_index = c >> 2 & 3;
        if b < 0xE0 || version == 1 || layer == 4 || rate_index == 3 {
            return None;
        }
        let first = version == 3;
        let kbits = match (first, layer) {
            (true, 1) => &[32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
            (true, 2) => &[32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
            (true, _) => &[32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
            (false, 1) => &[32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
            (false, _) => &[8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        };
        let bits: u32 = kbits.get(usize::from((c >> 4).checked_sub(1)?)).copied().map(|kbits: u32| kbits * 1_000)?;
        let base = [44_100u32, 48_000, 32_000].get(usize::from(rate_index)).copied()?;
        let rate = match version {
            3 => base,
            2 => base / 2,
            _ => base / 4,
        };
        let padding = u32::from(c >> 1 & 1);
        let (samples, len) = match (layer, first) {
            (1, _) => (384, (12 * bits / rate + padding) * 4),
            (3, false) => (576, 72 * bits / rate + padding),
            _ => (1152, 144 * bits / rate + padding),
        };
        let kind = Kind { layer, rate, mono: d >> 6 == 3, samples };
        Some(Self { kind, len: len as usize, protected: b & 1 == 0 })
    }
}

/// Goes to the next frame that another follows, past tags and up to `most` bytes of anything else. Frames of the
/// `expected` kind may be the last in the file.
fn find(bytes: &mut Bytes, expected: Option<Kind>, most: u64) -> io::Result<Option<Header>> {
    let mut passed = 0;
    loop {
        tags::skip(bytes)?;
        let ahead = bytes.peek(SEARCH_LEN)?;
        if ahead.len() < 4 || passed > most {
            return Ok(None);
        }
        let mut found = None;
        let mut stop = ahead.len() - 3;
        for at in 0..ahead.len() - 3 {
            let rest = ahead.get(at..).unwrap_or_default();
            if at > 0 && rest.starts_with(b"ID3") && tags::tag_len(rest).is_some() {
                stop = at;
                break;
            }
            if rest.first() != Some(&0xFF) {
                continue;
            }
            let Some(header) = Header::parse(rest) else {
                continue;
            };
            let follows = match rest.get(header.len..) {
                Some(after @ [_, _, _, _, ..]) => {
                    Header::parse(after).is_some_and(|next| next.kind == header.kind) || tags::tag_len(after).is_some()
                }
                // The end of the file, unless more has to be looked at.
                _ => {
                    ahead.len() < SEARCH_LEN && rest.len() >= header.len && expected.is_none_or(|it| it == header.kind)
                }
            };
            if follows {
                found = Some((at, header));
                break;
            }
            if rest.len() < header.len + 4 && ahead.len() == SEARCH_LEN && at > 0 {
                // Looked at again with what comes behind it.
                stop = at;
                break;
            }
        }
        if let Some((at, header)) = found {
            bytes.consume(at);
            return Ok(Some(header));
        }
        bytes.consume(stop);
        passed += stop as u64;
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// What a decoder of layer III adds to the delay of the encoder.
const DECODER_DELAY: u64 = 529;
/// Bytes of anything else in front of the first frame.
const MAX_LEADING: u64 = 256 * 1024;
/// Bytes of anything else between frames; behind more, the audio is over.
const MAX_GAP: u64 = 16 * 1024 * 1024;
/// Bytes looked at at once: more than three of the longest frames.
const SEARCH_LEN: usize = 16 * 1024;
/// Bytes behind the stated ones that may be no audio.
const LENGTH_TOLERANCE: u64 = 4096;

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use std::io::Cursor;

    use super::*;

    const HEADER: [u8; 4] = [0xFF, 0xFB, 0x90, 0x64];

    fn frame() -> Vec<u8> {
        let mut frame = HEADER.to_vec();
        frame.resize(417, 0);
        frame
    }

    fn info(frames: u32, delay: u16, padding: u16) -> Vec<u8> {
        let mut info = frame();
        info[36..40].copy_from_slice(b"Info");
        info[43] = 1;
        info[44..48].copy_from_slice(&frames.to_be_bytes());
        info[48..52].copy_from_slice(b"LAME");
        let packed = u32::from(delay) << 12 | u32::from(padding);
        info[69..72].copy_from_slice(&packed.to_be_bytes()[1..]);
        info
    }

    fn open(file: Vec<u8>) -> Mpeg {
        Mpeg::open(Bytes::seekable(Cursor::new(file)).unwrap()).unwrap().ok().unwrap()
    }

    fn trims(mpeg: &mut Mpeg) -> Vec<u64> {
        std::iter::from_fn(|| mpeg.next().unwrap()).map(|packet| packet.trim_end).collect()
    }

    #[test]
    fn headers_of_all_layers_are_read() {
        let header = Header::parse(&HEADER).unwrap();
        assert_eq!((header.kind.layer, header.kind.rate, header.len), (3, 44_100, 417));
        let second = Header::parse(&[0xFF, 0xFD, 0xA4, 0x04]).unwrap();
        assert_eq!((second.kind.layer, second.kind.rate, second.len), (2, 48_000, 576));
        assert_eq!(Header::parse(&[0xFF, 0xFF, 0x90, 0x04]).unwrap().kind.samples, 384);
        for bad in [[0xFF, 0xFB, 0x00, 0], [0xFF, 0xFB, 0xF0, 0], [0xFF, 0xFB, 0x9C, 0], [0xFF, 0xF9, 0x90, 0]] {
            assert_eq!(Header::parse(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_stated_length_ends_nothing_and_each_stream_has_its_own_delay_and_padding() {
        let mut mpeg = open([info(2, 576, 1_800), frame().repeat(5), info(0, 1_000, 529), frame().repeat(2)].concat());
        assert_eq!(mpeg.stream().delay, 576 + 529);
        assert_eq!(trims(&mut mpeg), [0, 0, 0, 119, 1_152]);
        assert!(mpeg.next_stream());
        assert_eq!(mpeg.stream().delay, 1_529);
        assert_eq!(trims(&mut mpeg), [0, 0]);
        assert!(!mpeg.next_stream());
    }

    #[test]
    fn tags_and_rubbish_between_frames_are_passed_over() {
        let tag = [b"ID3\x04\0\0\0\0\x10\0".to_vec(), frame().repeat(4), vec![0; 380]].concat();
        assert_eq!(tag.len(), 2_058);
        let mut mpeg = open([tag.clone(), frame().repeat(3), vec![7; 700], frame().repeat(2), tag, frame()].concat());
        assert_eq!(trims(&mut mpeg).len(), 6);
    }

    #[test]
    fn what_is_no_audio_is_given_back() {
        for file in [vec![0; 5_000], b"just a text. ".repeat(40_000), HEADER.to_vec()] {
            assert!(Mpeg::open(Bytes::forward(Cursor::new(file))).unwrap().is_err());
        }
    }
}
