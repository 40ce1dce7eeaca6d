//! One audio track of a file, as packets.

use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known as formats;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use super::edit_list::{self, Edit};
use super::opus_head::OpusHead;
use super::{Format, OpenError, ReadError};
use crate::SAMPLE_RATE;

/// An opened file, reduced to one audio track.
pub(super) struct Input {
    format: Box<dyn FormatReader>,
    edits: Vec<Edit>,
    peeked: Option<Result<Next, ReadError>>,
    pub(super) track: TrackInfo,
}

/// What there is to know about the track before its packets.
#[derive(Clone)]
pub(super) struct TrackInfo {
    id: u32,
    pub(super) codec: AudioCodecParameters,
    /// The header, when the codec is Opus.
    pub(super) opus: Option<OpusHead>,
    pub(super) edit: Option<Edit>,
    /// Whether times of packets count samples; otherwise their trims mean nothing to a decoder.
    pub(super) time_in_samples: bool,
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
    pub(super) fn open(
        mut media: impl Read + Seek + Send + Sync + 'static,
        hint: Option<&str>,
    ) -> Result<Self, OpenError> {
        let edits = edit_list::read(&mut media).or_else(|error| match error.kind() {
            // Cut short: what can be heard of it will be.
            io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
            _ => Err(OpenError::Io(error)),
        })?;
        let len = media.seek(SeekFrom::End(0)).map_err(OpenError::Io)?;
        media.rewind().map_err(OpenError::Io)?;
        let stream = MediaSourceStream::new(Box::new(Media { inner: media, len }), Default::default());
        let mut extension = Hint::new();
        if let Some(hint) = hint {
            extension.with_extension(hint);
        }
        let format = symphonia::default::get_probe()
            .probe(&extension, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(open_error)?;
        let track = TrackInfo::find(&*format, &edits)?;
        Ok(Self { format, edits, peeked: None, track })
    }

    pub(super) fn format(&self) -> Format {
        match self.format.format_info().format {
            formats::FORMAT_ID_ADTS => Format::Adts,
            formats::FORMAT_ID_AIFF => Format::Aiff,
            formats::FORMAT_ID_FLAC => Format::Flac,
            formats::FORMAT_ID_ISOMP4 => Format::Mp4,
            formats::FORMAT_ID_MKV => Format::Matroska,
            formats::FORMAT_ID_MP1 | formats::FORMAT_ID_MP2 | formats::FORMAT_ID_MP3 => Format::Mpeg,
            formats::FORMAT_ID_OGG => Format::Ogg,
            formats::FORMAT_ID_WAVE => Format::Wav,
            _ => Format::Other,
        }
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
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track.id => return Ok(Next::Packet(packet)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Next::End),
                // A file cut short plays up to the cut.
                Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Next::End),
                Err(Error::ResetRequired) => {
                    self.track = TrackInfo::find(&*self.format, &self.edits)
                        .map_err(|error| ReadError::Unsupported(error.into()))?;
                    return Ok(Next::Changed);
                }
                Err(error) => return Err(read_error(error)),
            }
        }
    }
}

impl TrackInfo {
    fn find(format: &dyn FormatReader, edits: &[Edit]) -> Result<Self, OpenError> {
        let track = format.default_track(TrackType::Audio).ok_or(OpenError::NoAudioTrack)?;
        let codec = track.codec_params.as_ref().and_then(|codec| codec.audio()).ok_or(OpenError::NoAudioTrack)?.clone();
        let opus = if codec.codec == CODEC_ID_OPUS {
            let head = codec.extra_data.as_deref().and_then(OpusHead::parse);
            let head = head.ok_or(OpenError::UnsupportedCodec)?;
            if !head.is_single_stream() {
                return Err(OpenError::UnsupportedCodec);
            }
            Some(head)
        } else {
            None
        };
        let rate = if opus.is_some() { Some(SAMPLE_RATE) } else { codec.sample_rate };
        let edit = edits.iter().find(|edit| edit.track == track.id).copied();
        Ok(Self {
            id: track.id,
            duration: duration(format, track, rate, opus.as_ref(), edit.as_ref()),
            time_in_samples: rate.and_then(TimeBase::try_from_recip) == track.time_base,
            opus,
            edit,
            codec,
        })
    }
}

/// How long the track is heard, as far as its headers tell.
fn duration(
    format: &dyn FormatReader,
    track: &Track,
    rate: Option<u32>,
    opus: Option<&OpusHead>,
    edit: Option<&Edit>,
) -> Option<Duration> {
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
    let whole = Duration::from_nanos(nanos);
    // Ogg counts the samples that are dropped at the start.
    let skipped = opus.map_or(Duration::ZERO, |head| Duration::from_secs(u64::from(head.pre_skip)) / SAMPLE_RATE);
    Some(whole.saturating_sub(skipped))
}

/// Gives a source of bytes the length the demultiplexers ask for.
struct Media<M> {
    inner: M,
    len: u64,
}

impl<M: Read> Read for Media<M> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

impl<M: Seek> Seek for Media<M> {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.inner.seek(pos)
    }
}

impl<M: Read + Seek + Send + Sync> MediaSource for Media<M> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}

fn open_error(error: Error) -> OpenError {
    match error {
        // The probe runs into the end of a file too short to be anything.
        Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => OpenError::NotAudio,
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
