//! Ogg: RFC 3533, with Opus (RFC 7845), Vorbis and FLAC in it.
//!
//! A position is what pages state where they can, and only the last page of a stream ends it: pages without a position
//! (granule −1) take nothing away. Comments, and the pictures in them, are passed over without being kept.

#![deny(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::Duration;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_FLAC, CODEC_ID_OPUS, CODEC_ID_VORBIS};

use super::OpenError;
use super::bytes::Bytes;
use super::flac;
use super::opus_head::OpusHead;
use super::packet::{Packet, Page};
use crate::SAMPLE_RATE;
use crate::opus::Packet as OpusPacket;

/// The first stream of audio in a file, and those that follow it.
pub(super) struct Ogg {
    bytes: Bytes,
    stream: Option<Stream>,
    /// The serial of the stream that is read.
    serial: u32,
    /// The number of its page that was read last.
    sequence: u32,
    /// Packets in front of the audio that were seen.
    headers: u32,
    /// Whether a page was seen that begins no stream: then streams that begin follow the one that is read.
    under_way: bool,
    /// A packet that goes on with the next page.
    partial: Vec<u8>,
    /// Whether that packet is passed over.
    passing: bool,
    /// Whether it began at all.
    begun: bool,
    queue: VecDeque<Packet>,
    /// Whether a new stream was found behind the packets in `queue`.
    changed: bool,
    ended: bool,
}

/// What is known of a stream from its headers.
#[derive(Clone)]
pub(super) struct Stream {
    kind: Kind,
    rate: u32,
    /// What a decoder needs.
    setup: Vec<u8>,
    opus: Option<OpusHead>,
    stated: Option<Duration>,
    ready: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Opus,
    Vorbis,
    Flac,
}

impl Ogg {
    pub(super) fn open(bytes: Bytes) -> Result<Self, OpenError> {
        let mut ogg = Self {
            bytes,
            stream: None,
            serial: 0,
            sequence: 0,
            headers: 0,
            under_way: false,
            partial: Vec::new(),
            passing: false,
            begun: false,
            queue: VecDeque::new(),
            changed: false,
            ended: false,
        };
        while !ogg.ended && ogg.queue.is_empty() {
            ogg.read_page()?;
        }
        ogg.changed = false;
        match &ogg.stream {
            Some(stream) if stream.ready && !ogg.queue.is_empty() => Ok(ogg),
            Some(_) => Err(OpenError::NoAudio),
            None => Err(OpenError::NoAudioTrack),
        }
    }

    pub(super) const fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// The next packet; `None` at the end of a stream.
    pub(super) fn next(&mut self) -> io::Result<Option<Packet>> {
        while self.queue.is_empty() && !self.ended && !self.changed {
            self.read_page()?;
        }
        Ok(if self.changed { None } else { self.queue.pop_front() })
    }

    /// Goes on with the stream behind the one that ended, if there is one.
    pub(super) fn next_stream(&mut self) -> io::Result<bool> {
        if !mem::replace(&mut self.changed, false) {
            return Ok(false);
        }
        while self.queue.is_empty() && !self.ended {
            self.read_page()?;
        }
        self.changed = false;
        Ok(!self.queue.is_empty())
    }

    /// How long the file is, from the position on its last page, when one stream is all that is in it.
    pub(super) fn duration(&mut self) -> io::Result<Option<Duration>> {
        let Some(stream) = &self.stream else {
            return Ok(None);
        };
        let (rate, opus) = (stream.rate, stream.opus);
        let stated = stream.stated;
        // Where the recording of a live stream began.
        let first = self.queue.back().and_then(|packet| packet.page).filter(|page| !page.last);
        let first = first.and_then(|page| page.granule).unwrap_or(0);
        let begin = if opus.is_some() {
            let samples =
                |packet: &Packet| OpusPacket::parse(packet.data()).map_or(0, |packet| packet.samples() as u64);
            first.saturating_sub(self.queue.iter().map(samples).sum())
        } else if first > u64::from(rate) * 60 {
            first
        } else {
            0
        };
        let tail = self.bytes.tail(TAIL_LEN)?;
        let mut last = None;
        for at in 0..tail.len().saturating_sub(PAGE_HEADER_LEN) {
            let Some(page) = tail.get(at..).and_then(Header::parse) else {
                continue;
            };
            if page.serial != self.serial {
                return Ok(None);
            }
            last = page.granule.or(last);
        }
        let skip = opus.map_or(0, |head| u64::from(head.pre_skip));
        let samples = last.map(|last| last.saturating_sub(begin + skip));
        Ok(samples.map(|samples| Duration::from_secs_f64(samples as f64 / f64::from(rate))).or(stated))
    }

    fn read_page(&mut self) -> io::Result<()> {
        let Some((header, body)) = self.find_page()? else {
            self.ended = true;
            return Ok(());
        };
        if header.begins {
            if self.under_way {
                self.stream = None;
                self.under_way = false;
                self.changed = true;
            }
            if self.stream.is_none() {
                let first: usize = header.segments.iter().map(|len| usize::from(*len)).sum();
                self.stream = body.get(..first).and_then(Stream::begin);
                self.serial = header.serial;
                self.sequence = header.sequence;
                self.headers = 1;
                self.partial.clear();
                self.begun = false;
            }
            return Ok(());
        }
        self.under_way = true;
        if header.serial != self.serial || self.stream.is_none() {
            return Ok(());
        }
        let follows = header.sequence == self.sequence.wrapping_add(1);
        self.sequence = header.sequence;
        if !header.continues || !follows {
            self.partial.clear();
            self.begun = false;
        }
        let already = self.queue.len();
        let mut at = 0;
        // The rest of a packet whose beginning is missing.
        let mut orphan = header.continues && !self.begun;
        for len in &header.segments {
            let part = body.get(at..at + usize::from(*len)).unwrap_or_default();
            at += usize::from(*len);
            if !orphan {
                self.append(part);
            }
            if *len < 255 && !mem::replace(&mut orphan, false) {
                self.end_packet();
            }
        }
        let page = Page { granule: header.granule, last: header.ends, closes: false };
        let ended = self.queue.len() - already;
        for (n, packet) in self.queue.iter_mut().skip(already).enumerate() {
            packet.page = Some(Page { closes: n + 1 == ended, ..page });
        }
        Ok(())
    }

    fn append(&mut self, part: &[u8]) {
        if !mem::replace(&mut self.begun, true) {
            let kind = self.stream.as_ref().map(|stream| stream.kind);
            self.passing = match kind {
                Some(Kind::Opus | Kind::Vorbis) => self.headers == 1,
                Some(Kind::Flac) => part.first() != Some(&0xFF),
                None => true,
            };
        }
        if !self.passing && self.partial.len() + part.len() <= MAX_PACKET_LEN {
            self.partial.extend_from_slice(part);
        }
    }

    fn end_packet(&mut self) {
        self.begun = false;
        let packet = mem::take(&mut self.partial);
        let Some(stream) = &mut self.stream else {
            return;
        };
        if self.passing {
            self.headers += 1;
            stream.ready |= stream.kind == Kind::Opus;
        } else if stream.kind == Kind::Vorbis && self.headers == 2 {
            self.headers += 1;
            stream.setup.extend(packet);
            stream.ready = true;
        } else if stream.ready && !packet.is_empty() {
            self.queue.push_back(Packet::new(packet));
        }
    }

    /// The next page that is whole and right.
    fn find_page(&mut self) -> io::Result<Option<(Header, Vec<u8>)>> {
        let mut passed = 0u64;
        loop {
            // No more is asked for than the page has: what comes through a pipe may come slowly.
            let Some(segments) = self.bytes.peek(PAGE_HEADER_LEN)?.get(PAGE_HEADER_LEN - 1).copied() else {
                return Ok(None);
            };
            if passed > MAX_GAP {
                return Ok(None);
            }
            let header = Header::parse(self.bytes.peek(PAGE_HEADER_LEN + usize::from(segments))?);
            if let Some(header) = header
                && let page = self.bytes.peek(header.len())?
                && page.len() == header.len()
                && crc(page) == header.crc
            {
                let body = page.get(PAGE_HEADER_LEN + header.segments.len()..).unwrap_or_default().to_vec();
                let len = header.len();
                self.bytes.consume(len);
                return Ok(Some((header, body)));
            }
            let ahead = self.bytes.peek(MAX_PAGE_LEN)?;
            let next = ahead.get(1..).and_then(|rest| rest.windows(4).position(|window| window == b"OggS"));
            let step = next.map_or(ahead.len() - 3, |next| next + 1);
            self.bytes.consume(step);
            passed += step as u64;
        }
    }
}

impl Stream {
    /// Reads the first packet of a stream; `None` when it is no audio we know.
    fn begin(packet: &[u8]) -> Option<Self> {
        if packet.starts_with(b"OpusHead") {
            return Some(Self {
                kind: Kind::Opus,
                rate: SAMPLE_RATE,
                setup: packet.to_vec(),
                opus: OpusHead::parse(packet),
                stated: None,
                ready: false,
            });
        }
        if packet.starts_with(b"\x01vorbis") {
            let rate = packet.get(12..16)?.first_chunk().copied().map(u32::from_le_bytes)?;
            let setup = packet.to_vec();
            return Some(Self { kind: Kind::Vorbis, rate, setup, opus: None, stated: None, ready: false });
        }
        let info = packet.strip_prefix(b"\x7fFLAC")?.get(12..46)?.first_chunk::<34>()?;
        let rate = u32::from_be_bytes([0, *info.get(10)?, *info.get(11)?, *info.get(12)?]) >> 4;
        let setup = flac::mended(*info).to_vec();
        Some(Self { kind: Kind::Flac, rate, setup, opus: None, stated: flac::duration(info), ready: true })
    }

    pub(super) fn codec(&self) -> AudioCodecParameters {
        let mut codec = AudioCodecParameters::new();
        codec
            .for_codec(match self.kind {
                Kind::Opus => CODEC_ID_OPUS,
                Kind::Vorbis => CODEC_ID_VORBIS,
                Kind::Flac => CODEC_ID_FLAC,
            })
            .with_sample_rate(self.rate)
            .with_extra_data(self.setup.clone().into_boxed_slice());
        codec
    }
}

struct Header {
    continues: bool,
    begins: bool,
    ends: bool,
    granule: Option<u64>,
    serial: u32,
    sequence: u32,
    crc: u32,
    segments: Vec<u8>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.strip_prefix(b"OggS\0")?.split_first_chunk::<22>()?;
        let [flags, g0, g1, g2, g3, g4, g5, g6, g7, s0, s1, s2, s3, n0, n1, n2, n3, c0, c1, c2, c3, count] = *header;
        let granule = i64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]);
        Some(Self {
            continues: flags & 1 != 0,
            begins: flags & 2 != 0,
            ends: flags & 4 != 0,
            granule: u64::try_from(granule).ok(),
            serial: u32::from_le_bytes([s0, s1, s2, s3]),
            sequence: u32::from_le_bytes([n0, n1, n2, n3]),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
            segments: rest.get(..usize::from(count))?.to_vec(),
        })
    }

    fn len(&self) -> usize {
        PAGE_HEADER_LEN + self.segments.len() + self.segments.iter().map(|len| usize::from(*len)).sum::<usize>()
    }
}

/// The check sum of a page, with its own field counted as zero.
fn crc(page: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut value = (n as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                value = value << 1 ^ if value >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
                bit += 1;
            }
            #[expect(clippy::indexing_slicing, reason = "the index is below the length")]
            {
                table[n] = value;
            }
            n += 1;
        }
        table
    };
    page.iter().enumerate().fold(0, |crc, (at, byte)| {
        let byte = if (22..26).contains(&at) { 0 } else { *byte };
        let index = usize::from((crc >> 24) as u8 ^ byte);
        crc << 8 ^ TABLE.get(index).copied().unwrap_or(0)
    })
}

const PAGE_HEADER_LEN: usize = 27;
/// 255 parts of 255 bytes and the header.
const MAX_PAGE_LEN: usize = PAGE_HEADER_LEN + 255 + 255 * 255;
/// The longest packet that is kept.
const MAX_PACKET_LEN: usize = 4 * 1024 * 1024;
/// Bytes of anything else between pages.
const MAX_GAP: u64 = 16 * 1024 * 1024;
/// Bytes at the end of a file that its last position is looked for in: two pages of the longest.
const TAIL_LEN: u64 = 2 * 65_536;
