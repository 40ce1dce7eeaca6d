//! One audio track of a file, as packets.

use std::io::{self, Cursor};
use std::time::Duration;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ALAC, CODEC_ID_OPUS};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MkvReader};

use super::bytes::{Behind, Bytes};
use super::chunks::{Chunks, Opened};
use super::ebml;
use super::edit_list::{self, Edit};
use super::mp4;
use super::mpeg::Mpeg;
use super::ogg::Ogg;
use super::opus_head::OpusHead;
use super::packet::Packet;
use super::trim::Trim;
use super::{Format, OpenError, ReadError, flac, tags};
use crate::SAMPLE_RATE;

/// An opened file, reduced to one audio track.
pub(super) struct Input {
    reader: Reader,
    format: Format,
    peeked: Option<Result<Next, ReadError>>,
    pub(super) track: TrackInfo,
}

/// What reads the container.
enum Reader {
    Chunks(Chunks),
    Mpeg(Mpeg),
    Ogg(Ogg),
    Other { reader: Box<dyn FormatReader>, track: u32, edits: Vec<Edit>, stated: Option<Duration> },
}

/// What there is to know about the track before its packets.
#[derive(Clone)]
pub(super) struct TrackInfo {
    pub(super) codec: AudioCodecParameters,
    /// The header, when the codec is Opus.
    pub(super) opus: Option<OpusHead>,
    /// What is cut off its ends.
    pub(super) trim: Trim,
    /// How long it is heard, if the file states that.
    pub(super) duration: Option<Duration>,
}

/// What [`Input::next`] found.
pub(super) enum Next {
    Packet(Packet),
    /// Another stream follows the first in the same file; [`Input::track`] describes it.
    Changed,
    End,
}

impl Input {
    pub(super) fn open(mut bytes: Bytes) -> Result<Self, OpenError> {
        if bytes.peek(1)?.is_empty() {
            return Err(OpenError::Empty);
        }
        tags::skip(&mut bytes)?;
        let (format, reader) = Reader::open(bytes)?;
        let mut input = Self { reader, format, peeked: None, track: TrackInfo::plain(AudioCodecParameters::new(), 0) };
        input.track = input.reader.track()?;
        Ok(input)
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// The packet [`next`](Self::next) will return, if it returns one.
    pub(super) fn peek(&mut self) -> Option<&Packet> {
        if self.peeked.is_none() {
            self.peeked = Some(self.next());
        }
        match &self.peeked {
            Some(Ok(Next::Packet(packet))) => Some(packet),
            _ => None,
        }
    }

    /// The next packet of the track.
    pub(super) fn next(&mut self) -> Result<Next, ReadError> {
        if let Some(peeked) = self.peeked.take() {
            return peeked;
        }
        let (packet, more) = match &mut self.reader {
            Reader::Chunks(chunks) => (chunks.next()?, false),
            Reader::Mpeg(mpeg) => match mpeg.next()? {
                None => (None, mpeg.next_stream()),
                packet => (packet, false),
            },
            Reader::Ogg(ogg) => match ogg.next()? {
                None => (None, ogg.next_stream()?),
                packet => (packet, false),
            },
            Reader::Other { reader, track, .. } => loop {
                match reader.next_packet() {
                    Ok(Some(packet)) if packet.track_id == *track => break (Some(Packet::from_coded(packet)), false),
                    Ok(Some(_)) => {}
                    Ok(None) => break (None, false),
                    // A file cut short plays up to the cut.
                    Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break (None, false),
                    Err(Error::ResetRequired) => break (None, true),
                    Err(error) => return Err(read_error(error)),
                }
            },
        };
        match packet {
            Some(packet) => Ok(Next::Packet(packet)),
            None if more => {
                self.track = self.reader.track().map_err(|error| ReadError::Unsupported(error.into()))?;
                Ok(Next::Changed)
            }
            None => Ok(Next::End),
        }
    }
}

impl Reader {
    fn open(mut bytes: Bytes) -> Result<(Format, Self), OpenError> {
        let start: Vec<u8> = bytes.peek(12)?.to_vec();
        match start.as_slice() {
            [b'R', b'I', b'F', b'F' | b'X', _, _, _, _, b'W', b'A', b'V', b'E']
            | [b'R' | b'B', b'F' | b'W', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E'] => {
                Self::chunks(Format::Wav, bytes)
            }
            [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C'] => Self::chunks(Format::Aiff, bytes),
            [b'O', b'g', b'g', b'S', ..] => Ok((Format::Ogg, Self::Ogg(Ogg::open(bytes)?))),
            [b'f', b'L', b'a', b'C', ..] => {
                let (head, stated) = flac::read_head(&mut bytes)?;
                if bytes.peek(1)?.is_empty() {
                    return Err(OpenError::NoAudio);
                }
                let stream = stream(Behind::new(head, bytes));
                let reader = FlacReader::try_new(stream, FormatOptions::default()).map_err(open_error)?;
                Ok((Format::Flac, Self::Other { reader: Box::new(reader), track: 0, edits: Vec::new(), stated }))
            }
            [0x1A, 0x45, 0xDF, 0xA3, ..] => {
                if bytes.len().is_some() {
                    ebml::check(&mut bytes)?;
                }
                let reader = MkvReader::try_new(stream(bytes), FormatOptions::default()).map_err(open_error)?;
                Ok((
                    Format::Matroska,
                    Self::Other { reader: Box::new(reader), track: 0, edits: Vec::new(), stated: None },
                ))
            }
            [_, _, _, _, kind @ ..] if mp4::begins_with(kind) => {
                let opened = if bytes.len().is_some() {
                    mp4::check(&mut bytes)?;
                    let edits = read_edits(&mut bytes)?;
                    bytes.seek_to(0)?;
                    (edits, open_mp4(bytes))
                } else {
                    let mut head = Cursor::new(mp4::read_head(&mut bytes)?);
                    let edits = read_edits(&mut head)?;
                    let behind = Behind::new(head.into_inner(), bytes);
                    (edits, open_mp4(behind))
                };
                let (edits, reader) = (opened.0, opened.1.map_err(open_error)?);
                Ok((Format::Mp4, Self::Other { reader: Box::new(reader), track: 0, edits, stated: None }))
            }
            [0xFF, 0xF0 | 0xF1 | 0xF8 | 0xF9, ..] => {
                let reader = AdtsReader::try_new(stream(Behind::new(Vec::new(), bytes)), FormatOptions::default());
                let reader = Box::new(reader.map_err(open_error)?);
                Ok((Format::Adts, Self::Other { reader, track: 0, edits: Vec::new(), stated: None }))
            }
            _ => match Mpeg::open(bytes)? {
                Ok(mpeg) => Ok((Format::Mpeg, Self::Mpeg(mpeg))),
                Err(_) => Err(OpenError::NotAudio),
            },
        }
    }

    fn chunks(format: Format, bytes: Bytes) -> Result<(Format, Self), OpenError> {
        Ok(match Chunks::open(bytes)? {
            Opened::Samples(chunks) => (format, Self::Chunks(chunks)),
            Opened::Mpeg(bytes) => {
                let mpeg = Mpeg::open(bytes)?.map_err(|_| OpenError::Malformed("no frame of MPEG audio".into()))?;
                (format, Self::Mpeg(mpeg))
            }
        })
    }

    /// The track that is read from here on.
    fn track(&mut self) -> Result<TrackInfo, OpenError> {
        match self {
            Self::Chunks(chunks) => {
                Ok(TrackInfo { duration: chunks.duration(), ..TrackInfo::plain(chunks.codec(), 0) })
            }
            Self::Mpeg(mpeg) => {
                let stream = mpeg.stream();
                Ok(TrackInfo { duration: stream.duration(), ..TrackInfo::plain(stream.codec(), stream.delay) })
            }
            Self::Ogg(ogg) => {
                let codec = ogg.stream().ok_or(OpenError::NoAudioTrack)?.codec();
                let mut track = TrackInfo::of(codec, None)?;
                track.duration = ogg.duration()?;
                Ok(track)
            }
            Self::Other { reader, track: id, edits, stated } => {
                let track = reader.default_track(TrackType::Audio).ok_or(OpenError::NoAudioTrack)?;
                let codec = track.codec_params.as_ref().and_then(|codec| codec.audio());
                let codec = codec.ok_or(OpenError::NoAudioTrack)?.clone();
                let edit = edits.iter().find(|edit| edit.track == track.id).copied();
                *id = track.id;
                let rate = if codec.codec == CODEC_ID_OPUS { Some(SAMPLE_RATE) } else { codec.sample_rate };
                // What bare AAC is told to last is an estimate of the reader's.
                let told = if codec.sample_rate.is_some() && stated.is_some() {
                    *stated
                } else {
                    duration(&**reader, track, rate, edit.as_ref())
                };
                let mut info = TrackInfo::of(codec, edit)?;
                info.duration = told;
                Ok(info)
            }
        }
    }
}

impl TrackInfo {
    const fn plain_codec(codec: AudioCodecParameters, trim: Trim) -> Self {
        Self { codec, opus: None, trim, duration: None }
    }

    fn plain(codec: AudioCodecParameters, skip: u64) -> Self {
        Self::plain_codec(codec, Trim::new(None, skip))
    }

    /// A track whose container has nothing to cut off beyond an edit list and what Opus states.
    fn of(codec: AudioCodecParameters, edit: Option<Edit>) -> Result<Self, OpenError> {
        // Decoders take memory for what is claimed.
        let channels = codec.channels.as_ref().map_or(0, |channels| channels.count());
        let alac = codec.extra_data.as_deref().filter(|_| codec.codec == CODEC_ID_ALAC);
        let alac_frame = alac.and_then(|setup| setup.first_chunk().copied()).map_or(0, u32::from_be_bytes);
        let alac_channels = alac.and_then(|setup| setup.get(9).copied()).map_or(0, usize::from);
        if codec.max_frames_per_packet.unwrap_or(0).max(alac_frame.into()) > MAX_PACKET_SAMPLES
            || channels.max(alac_channels) > MAX_CHANNELS
        {
            return Err(OpenError::Malformed("a packet claims more samples than there can be".into()));
        }
        if codec.codec != CODEC_ID_OPUS {
            return Ok(Self::plain_codec(codec, Trim::new(edit, 0)));
        }
        let head = codec.extra_data.as_deref().and_then(OpusHead::parse).ok_or(OpenError::UnsupportedCodec)?;
        let trim = Trim::new(edit, head.pre_skip.into());
        Ok(Self { opus: Some(head), ..Self::plain_codec(codec, trim) })
    }
}

/// Samples per channel in a packet, at most; FLAC has up to 65 535.
const MAX_PACKET_SAMPLES: u64 = 65_536;
/// Channels at most.
const MAX_CHANNELS: usize = 32;

fn stream(media: impl MediaSource + 'static) -> MediaSourceStream<'static> {
    MediaSourceStream::new(Box::new(media), Default::default())
}

fn open_mp4(media: impl MediaSource + 'static) -> Result<IsoMp4Reader<'static>, Error> {
    let mut stream = stream(media);
    // The reader expects to stand behind the first size.
    stream.ignore_bytes(4)?;
    IsoMp4Reader::try_new(stream, FormatOptions::default())
}

fn read_edits(file: &mut (impl io::Read + io::Seek)) -> Result<Vec<Edit>, OpenError> {
    edit_list::read(file).or_else(|error| match error.kind() {
        // Cut short: what can be heard of it will be.
        io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
        _ => Err(OpenError::Io(error)),
    })
}

/// How long the track is heard, as far as its headers tell.
fn duration(format: &dyn FormatReader, track: &Track, rate: Option<u32>, edit: Option<&Edit>) -> Option<Duration> {
    if let (Some(edit), Some(rate)) = (edit, rate)
        && let Some(samples) = edit.take_samples(rate)
    {
        return Some(Duration::from_secs_f64(samples as f64 / f64::from(rate)));
    }
    let media = format.media_info();
    let (base, ticks) = match (track.time_base, track.duration) {
        (Some(base), Some(ticks)) => (base, ticks),
        _ => (media.time_base?, media.duration?),
    };
    let nanos = u64::try_from(base.calc_duration(ticks)?.as_nanos()).ok()?;
    // A fragmented MP4 states nothing as 0.
    Some(Duration::from_nanos(nanos)).filter(|duration| !duration.is_zero())
}

fn open_error(error: Error) -> OpenError {
    match error {
        Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => OpenError::NoAudio,
        Error::IoError(error) => OpenError::Io(error),
        Error::Unsupported(_) => OpenError::NotAudio,
        other => OpenError::Malformed(other.into()),
    }
}

pub(super) fn read_error(error: Error) -> ReadError {
    match error {
        Error::IoError(error) => ReadError::Io(error),
        Error::Unsupported(_) => ReadError::Unsupported(error.into()),
        other => ReadError::Malformed(other.into()),
    }
}
