//! WAV (RIFF, RIFX, RF64, BW64) and AIFF, AIFF-C: chunks, of which the one that holds the audio is found.
//!
//! Sizes are taken for what they are worth. Programs that stream leave them at zero or at the largest number, others
//! forget the padding behind an odd chunk or to count something: the audio plays to its stated end or the file's,
//! whichever comes first.

#![deny(clippy::indexing_slicing)]

use std::io;
use std::num::NonZero;
use std::time::Duration;

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known as codecs;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::OpenError;
use super::bytes::Bytes;
use super::packet::Packet;

/// The audio of one file.
pub(super) struct Chunks {
    bytes: Bytes,
    layout: Layout,
    /// Bytes of audio left; more than there are when the file does not tell.
    left: u64,
    duration: Option<Duration>,
}

/// What a file turned out to hold.
pub(super) enum Opened {
    Samples(Chunks),
    /// MPEG audio in a WAV.
    Mpeg(Bytes),
}

/// How samples are stored.
#[derive(Clone)]
struct Layout {
    codec: AudioCodecId,
    channels: Channels,
    rate: u32,
    /// Bytes of the smallest part that can be decoded, and samples per channel in it.
    block: u32,
    block_samples: u32,
}

enum Sort {
    Layout(Layout),
    Mpeg,
}

impl Chunks {
    /// Opens what begins with the header of one of the kinds.
    pub(super) fn open(mut bytes: Bytes) -> Result<Opened, OpenError> {
        let aiff = bytes.peek(4)? == b"FORM";
        let big = aiff || bytes.peek(4)? == b"RIFX";
        let compressed = bytes.peek(12)?.ends_with(b"AIFC");
        bytes.consume(12);
        let mut sort = None;
        // Where audio was passed over, because what describes it comes behind it, and the size stated there.
        let mut passed = None;
        let mut long_size = None;
        for _ in 0..MAX_CHUNKS {
            let Some((id, size)) = header(bytes.peek(8)?, big) else {
                break;
            };
            let audio = if aiff { id == *b"SSND" } else { id == *b"data" };
            if audio && (sort.is_some() || passed.is_some()) {
                bytes.consume(8);
                return Self::found(bytes, sort, size, long_size, aiff);
            }
            if audio {
                if bytes.len().is_none() {
                    return Err(OpenError::NeedsSeeking);
                }
                passed = Some((bytes.pos(), size));
            }
            bytes.consume(8);
            let body = bytes.peek(usize::try_from(size).unwrap_or(usize::MAX).min(MAX_DESCRIPTION))?;
            match &id {
                b"fmt " if !aiff => sort = Some(wave_layout(body, big)?),
                b"COMM" if aiff => sort = Some(aiff_layout(body, compressed)?),
                b"ds64" => long_size = body.get(8..16).and_then(|size| size.first_chunk()).copied(),
                _ => {}
            }
            bytes.skip(u64::from(size))?;
            if size % 2 == 1 && !is_known(bytes.peek(4)?) {
                bytes.consume(1);
            }
            if let (Some((at, size)), Some(_)) = (passed, &sort) {
                bytes.seek_to(at)?;
                bytes.skip(8)?;
                return Self::found(bytes, sort, size, long_size, aiff);
            }
        }
        Err(OpenError::NoAudio)
    }

    fn found(
        mut bytes: Bytes,
        sort: Option<Sort>,
        size: u32,
        long_size: Option<[u8; 8]>,
        aiff: bool,
    ) -> Result<Opened, OpenError> {
        let mut size = match (size, long_size) {
            (u32::MAX, Some(long)) => Some(u64::from_le_bytes(long)),
            // What programs write that do not know it yet; others leave 2 GiB less their own header.
            (0 | 0x7FFF_F000.., _) => None,
            (size, _) => Some(u64::from(size)),
        };
        if aiff {
            let offset = u64::from(bytes.peek(4)?.first_chunk().copied().map_or(0, u32::from_be_bytes));
            bytes.skip(8 + offset)?;
            size = size.map(|size| size.saturating_sub(8 + offset));
        }
        if bytes.peek(1)?.is_empty() {
            return Err(OpenError::NoAudio);
        }
        let layout = match sort {
            Some(Sort::Layout(layout)) => layout,
            Some(Sort::Mpeg) => return Ok(Opened::Mpeg(bytes)),
            None => return Err(OpenError::Malformed("the format of the audio is not stated".into())),
        };
        let left = match (size, bytes.left()) {
            (Some(size), Some(left)) => Some(size.min(left)),
            (size, left) => left.or(size),
        };
        let duration = left.map(|left| {
            let samples = left / u64::from(layout.block) * u64::from(layout.block_samples);
            Duration::from_secs_f64(samples as f64 / f64::from(layout.rate))
        });
        Ok(Opened::Samples(Self { bytes, layout, left: left.unwrap_or(u64::MAX), duration }))
    }

    pub(super) const fn duration(&self) -> Option<Duration> {
        self.duration
    }

    pub(super) fn codec(&self) -> AudioCodecParameters {
        let mut codec = AudioCodecParameters::new();
        codec
            .for_codec(self.layout.codec)
            .with_sample_rate(self.layout.rate)
            .with_channels(self.layout.channels.clone());
        let samples = u64::from(self.blocks()) * u64::from(self.layout.block_samples);
        if let Some(samples) = NonZero::new(samples) {
            codec.with_max_frames_per_packet(samples.get());
        }
        if let Some(samples) = NonZero::new(u64::from(self.layout.block_samples)) {
            codec.with_frames_per_block(samples.get());
        }
        codec
    }

    /// The next 20 to 30 ms or so.
    pub(super) fn next(&mut self) -> io::Result<Option<Packet>> {
        let block = self.layout.block as usize;
        let most = (self.blocks() as usize).saturating_mul(block);
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(most);
        let mut data = self.bytes.take(wanted)?;
        data.truncate(data.len() / block * block);
        if data.is_empty() {
            return Ok(None);
        }
        self.left -= data.len() as u64;
        let samples = (data.len() / block) as u64 * u64::from(self.layout.block_samples);
        Ok(Some(Packet::lasting(data, samples)))
    }

    /// Blocks in a packet.
    fn blocks(&self) -> u32 {
        (PACKET_SAMPLES / self.layout.block_samples).max(1)
    }
}

fn header(bytes: &[u8], big: bool) -> Option<([u8; 4], u32)> {
    let (id, rest) = bytes.split_first_chunk()?;
    let size = *rest.first_chunk()?;
    Some((*id, if big { u32::from_be_bytes(size) } else { u32::from_le_bytes(size) }))
}

/// Whether a chunk begins here that files of these kinds have: then no padding stands in front of it.
fn is_known(id: &[u8]) -> bool {
    const KNOWN: [&[u8]; 22] = [
        b"fmt ", b"data", b"LIST", b"fact", b"bext", b"JUNK", b"junk", b"id3 ", b"ID3 ", b"cue ", b"smpl", b"iXML",
        b"PEAK", b"COMM", b"SSND", b"MARK", b"INST", b"NAME", b"AUTH", b"ANNO", b"FVER", b"CHAN",
    ];
    KNOWN.contains(&id)
}

fn wave_layout(body: &[u8], big: bool) -> Result<Sort, OpenError> {
    let u16_at = |at: usize| {
        let bytes = *body.get(at..)?.first_chunk()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = *body.get(at..)?.first_chunk()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let (Some(tag), Some(count), Some(rate), Some(align), Some(bits)) =
        (u16_at(0), u16_at(2), u32_at(4), u16_at(12), u16_at(14))
    else {
        return Err(OpenError::Malformed("the format of the audio is cut short".into()));
    };
    let extensible = tag == 0xFFFE;
    let tag = if extensible { u16_at(24).unwrap_or(0) } else { tag };
    if matches!(tag, 0x50 | 0x55) {
        return Ok(Sort::Mpeg);
    }
    let mask = if extensible { u32_at(20) } else { None };
    let channels = mask
        .and_then(Position::from_wave_channel_mask)
        .filter(|positions| positions.iter().count() == usize::from(count))
        .map_or(Channels::Discrete(count), Channels::Positioned);
    // Samples of 20 bits are stored in 24: the size of a block counts, if it is one.
    let width = align.checked_div(count).filter(|width| align % count == 0 && (1..=8).contains(width));
    let width = width.filter(|width| width * 8 >= bits).unwrap_or_else(|| bits.div_ceil(8));
    match tag {
        1 | 3 | 6 | 7 => samples(tag, width, big, false, count, channels, rate),
        2 | 0x11 => {
            let (codec, own, extra) =
                if tag == 2 { (codecs::CODEC_ID_ADPCM_MS, 7, 2) } else { (codecs::CODEC_ID_ADPCM_IMA_WAV, 4, 1) };
            let own = own * u32::from(count);
            if bits != 4 || !(1..=2).contains(&count) || u32::from(align) <= own {
                return Err(OpenError::UnsupportedCodec);
            }
            let block_samples = (u32::from(align) - own) * 2 / u32::from(count) + extra;
            Ok(Sort::Layout(Layout { codec, channels, rate, block: align.into(), block_samples }))
        }
        _ => Err(OpenError::UnsupportedCodec),
    }
}

/// Samples of a `width` in bytes; `tag` as WAV names what they are.
fn samples(
    tag: u16,
    width: u16,
    big: bool,
    signed: bool,
    count: u16,
    channels: Channels,
    rate: u32,
) -> Result<Sort, OpenError> {
    let codec = match (tag, width, big) {
        (1, 1, _) if signed => codecs::CODEC_ID_PCM_S8,
        (1, 1, _) => codecs::CODEC_ID_PCM_U8,
        (1, 2, false) => codecs::CODEC_ID_PCM_S16LE,
        (1, 2, true) => codecs::CODEC_ID_PCM_S16BE,
        (1, 3, false) => codecs::CODEC_ID_PCM_S24LE,
        (1, 3, true) => codecs::CODEC_ID_PCM_S24BE,
        (1, 4, false) => codecs::CODEC_ID_PCM_S32LE,
        (1, 4, true) => codecs::CODEC_ID_PCM_S32BE,
        (3, 4, false) => codecs::CODEC_ID_PCM_F32LE,
        (3, 4, true) => codecs::CODEC_ID_PCM_F32BE,
        (3, 8, false) => codecs::CODEC_ID_PCM_F64LE,
        (3, 8, true) => codecs::CODEC_ID_PCM_F64BE,
        (6, 1, _) => codecs::CODEC_ID_PCM_ALAW,
        (7, 1, _) => codecs::CODEC_ID_PCM_MULAW,
        _ => return Err(OpenError::UnsupportedCodec),
    };
    if count == 0 || count > MAX_CHANNELS || rate == 0 {
        return Err(OpenError::UnsupportedCodec);
    }
    Ok(Sort::Layout(Layout { codec, channels, rate, block: u32::from(width) * u32::from(count), block_samples: 1 }))
}

fn aiff_layout(body: &[u8], compressed: bool) -> Result<Sort, OpenError> {
    let Some((&[count_high, count_low, _, _, _, _, bits_high, bits_low], rest)) = body.split_first_chunk() else {
        return Err(OpenError::Malformed("the format of the audio is cut short".into()));
    };
    let count = u16::from_be_bytes([count_high, count_low]);
    let width = u16::from_be_bytes([bits_high, bits_low]).div_ceil(8);
    let Some((rate, rest)) = rest.split_first_chunk::<10>() else {
        return Err(OpenError::Malformed("the format of the audio is cut short".into()));
    };
    let rate = extended(*rate).ok_or(OpenError::UnsupportedCodec)?;
    let kind = if compressed { rest.first_chunk().copied().unwrap_or(*b"NONE") } else { *b"NONE" };
    let (tag, width, big) = match &kind.to_ascii_lowercase()[..] {
        b"none" | b"twos" => (1, width, true),
        b"sowt" => (1, width, false),
        b"raw " => return samples(1, 1, true, false, count, Channels::Discrete(count), rate),
        b"in24" => (1, 3, true),
        b"in32" => (1, 4, true),
        b"23ni" => (1, 4, false),
        b"fl32" => (3, 4, true),
        b"fl64" => (3, 8, true),
        b"alaw" => (6, 1, true),
        b"ulaw" => (7, 1, true),
        _ => return Err(OpenError::UnsupportedCodec),
    };
    samples(tag, width, big, true, count, Channels::Discrete(count), rate)
}

/// An 80-bit number as AIFF states rates, rounded down.
fn extended(bytes: [u8; 10]) -> Option<u32> {
    let [high, low, mantissa @ ..] = bytes;
    let exponent = u32::from(u16::from_be_bytes([high, low]));
    let shift = (16_383 + 63u32).checked_sub(exponent)?;
    u32::try_from(u64::from_be_bytes(mantissa).checked_shr(shift)?).ok()
}

/// Samples per channel in a packet, where the format does not say.
const PACKET_SAMPLES: u32 = 1024;
/// Chunks looked at.
const MAX_CHUNKS: u32 = 4096;
/// Bytes looked at of a chunk that describes the audio.
const MAX_DESCRIPTION: usize = 64;
/// What a file may claim; memory grows with it.
const MAX_CHANNELS: u16 = 32;
