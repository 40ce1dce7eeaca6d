//! Frames, exactly as received, into an Ogg Opus file.

use std::fmt;
use std::io::Write;

use ogg::{PacketWriteEndInfo, PacketWriter};

use super::{Fill, Placement, RecordError, RecordOptions, Stamp, Timeline};
use crate::opus::Packet;
use crate::{FRAME_SAMPLES, SAMPLE_RATE, SILENCE_FRAME};

/// Writes Opus frames to an Ogg Opus file without decoding them (RFC 7845).
///
/// Frames come with their RTP timestamp, in order; a [`Timeline`] decides on gaps, which become silence. Call
/// [`finish`](Self::finish), and [`flush`](Self::flush) now and then: a file that merely ends lacks what came since.
///
/// ```
/// use voice_audio::record::{OggOpusWriter, RecordOptions};
///
/// let mut writer = OggOpusWriter::new(Vec::new(), RecordOptions::default())?;
/// let mut timestamp = 0xFFFF_FF00;
/// for frame in [[0xFC, 1, 2], [0xFC, 3, 4]] {
///     writer.write(timestamp, &frame)?;
///     timestamp = u32::wrapping_add(timestamp, 960);
/// }
/// let file = writer.finish()?;
/// assert!(file.starts_with(b"OggS"));
/// # Ok::<(), voice_audio::record::RecordError>(())
/// ```
pub struct OggOpusWriter<W: Write> {
    ogg: PacketWriter<'static, W>,
    serial: u32,
    timeline: Timeline,
    /// The last packet: whether it ends the stream is known only with the next. None once it was flushed.
    pending: Option<Pending>,
    /// Samples from the start to the end of the last packet.
    granule: u64,
    /// Packets of the current page that are written.
    in_page: u8,
}

struct Pending {
    packet: Vec<u8>,
    /// Samples from the start to the end of the packet, those to be skipped included.
    granule: u64,
    ends_page: bool,
}

impl<W: Write> OggOpusWriter<W> {
    /// Writes the head of the file.
    ///
    /// # Errors
    ///
    /// [`RecordError::Io`].
    pub fn new(writer: W, options: RecordOptions) -> Result<Self, RecordError> {
        let mut ogg = PacketWriter::new(writer);
        ogg.write_packet(head(options.pre_skip), options.serial, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self {
            ogg,
            serial: options.serial,
            timeline: Timeline::new(options.max_gap),
            pending: Some(Pending { packet: tags(&options.comments), granule: 0, ends_page: true }),
            granule: 0,
            in_page: 0,
        })
    }

    /// Writes one Opus packet that was sent at `timestamp` (RTP, 48 kHz).
    ///
    /// # Errors
    ///
    /// [`RecordError::Packet`], after which writing can go on, and [`RecordError::Io`].
    pub fn write(&mut self, timestamp: u32, frame: &[u8]) -> Result<(), RecordError> {
        let samples = Packet::parse(frame).map_err(RecordError::Packet)?.samples();
        let placement = self.timeline.place(timestamp, samples, frame == SILENCE_FRAME);
        self.write_placed(placement, frame, samples)
    }

    /// The same for a frame of a call: see [`Timeline::place_heard`].
    ///
    /// # Errors
    ///
    /// As of [`write`](Self::write).
    pub fn write_heard(&mut self, stamp: Stamp, frame: &[u8]) -> Result<(), RecordError> {
        let samples = Packet::parse(frame).map_err(RecordError::Packet)?.samples();
        let placement = self.timeline.place_heard(stamp, samples, frame == SILENCE_FRAME);
        self.write_placed(placement, frame, samples)
    }

    fn write_placed(&mut self, placement: Placement, frame: &[u8], samples: usize) -> Result<(), RecordError> {
        match placement {
            Placement::Write(fill) => {
                self.write_silence(fill)?;
                self.write_packet(frame, samples)
            }
            Placement::Hold(fill) => self.write_silence(fill),
            Placement::Late => Ok(()),
        }
    }

    /// What became of timestamps so far.
    #[must_use]
    pub const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Ends the page and writes out what there is: whatever becomes of the program, the file plays up to here.
    ///
    /// # Errors
    ///
    /// [`RecordError::Io`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.write_pending(PacketWriteEndInfo::EndPage)?;
        self.ogg.inner_mut().flush()?;
        Ok(())
    }

    /// Ends the file, without the up to five silence frames that ended the last talk spurt.
    ///
    /// # Errors
    ///
    /// [`RecordError::Io`].
    pub fn finish(mut self) -> Result<W, RecordError> {
        if self.pending.is_none() {
            // The last page is out and did not end the stream. One packet more does, of which nothing is heard: the page
            // ends before it (RFC 7845, section 4.4).
            let packet = SHORTEST_SILENCE.to_vec();
            self.pending = Some(Pending { packet, granule: self.granule, ends_page: true });
        }
        self.write_pending(PacketWriteEndInfo::EndStream)?;
        let mut writer = self.ogg.into_inner();
        writer.flush()?;
        Ok(writer)
    }

    fn write_silence(&mut self, fill: Fill) -> Result<(), RecordError> {
        // Configurations 31 down to 28 are the same silence, 20, 10, 5 and 2.5 ms long.
        let mut rest = fill.samples;
        for (toc, samples) in [(0xF8, FRAME_SAMPLES), (0xF0, 480), (0xE8, 240), (0xE0, 120)] {
            let [_, tail @ ..] = SILENCE_FRAME;
            while rest >= samples as u64 {
                self.write_packet(&[toc, tail[0], tail[1]], samples)?;
                rest -= samples as u64;
            }
        }
        Ok(())
    }

    fn write_packet(&mut self, packet: &[u8], samples: usize) -> Result<(), RecordError> {
        let ends_page = self.pending.as_ref().is_some_and(|pending| pending.ends_page);
        self.write_pending(if ends_page { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket })?;
        self.granule += samples as u64;
        self.pending = Some(Pending {
            packet: packet.to_vec(),
            granule: self.granule,
            ends_page: self.in_page + 1 == PACKETS_PER_PAGE,
        });
        Ok(())
    }

    fn write_pending(&mut self, end: PacketWriteEndInfo) -> Result<(), RecordError> {
        let Some(Pending { packet, granule, .. }) = self.pending.take() else { return Ok(()) };
        let ends_page = !matches!(end, PacketWriteEndInfo::NormalPacket);
        self.in_page = if ends_page { 0 } else { self.in_page + 1 };
        self.ogg.write_packet(packet, self.serial, end, granule)?;
        Ok(())
    }
}

impl<W: Write> fmt::Debug for OggOpusWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OggOpusWriter")
            .field("serial", &self.serial)
            .field("timeline", &self.timeline)
            .finish_non_exhaustive()
    }
}

/// The identification header: RFC 7845, section 5.1.
fn head(pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x02".to_vec();
    head.extend(pre_skip.to_le_bytes());
    head.extend(SAMPLE_RATE.to_le_bytes());
    // No gain, and the channel mapping of mono and stereo.
    head.extend([0, 0, 0]);
    head
}

/// The comment header: RFC 7845, section 5.2.
fn tags(comments: &[(String, String)]) -> Vec<u8> {
    let mut tags = b"OpusTags".to_vec();
    put_text(&mut tags, concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
    tags.extend(u32::try_from(comments.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, value) in comments {
        put_text(&mut tags, &format!("{name}={value}"));
    }
    tags
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Silence of 2.5 ms.
const SHORTEST_SILENCE: [u8; 3] = [0xE0, SILENCE_FRAME[1], SILENCE_FRAME[2]];

/// Packets in one page: a second of audio.
const PACKETS_PER_PAGE: u8 = 50;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ogg::PacketReader;

    use super::*;

    struct Written {
        packets: Vec<Vec<u8>>,
        granules: Vec<u64>,
        pages: Vec<usize>,
        ended: bool,
    }

    /// Reads a file back, without its two headers.
    fn read(file: Vec<u8>) -> Written {
        let mut reader = PacketReader::new(Cursor::new(file));
        let head = reader.read_packet_expected().unwrap();
        assert!(head.first_in_stream() && head.last_in_page());
        assert_eq!(head.data, b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00");
        let tags = reader.read_packet_expected().unwrap();
        assert!(tags.data.starts_with(b"OpusTags") && tags.last_in_page());
        let mut written =
            Written { packets: Vec::new(), granules: Vec::new(), pages: Vec::new(), ended: tags.last_in_stream() };
        let mut in_page = 0;
        while let Some(packet) = reader.read_packet().unwrap() {
            in_page += 1;
            if packet.last_in_page() {
                written.granules.push(packet.absgp_page());
                written.pages.push(std::mem::take(&mut in_page));
            }
            written.ended = packet.last_in_stream();
            written.packets.push(packet.data);
        }
        written
    }

    fn record(frames: &[(u32, Vec<u8>)]) -> Written {
        let mut writer = OggOpusWriter::new(Vec::new(), RecordOptions::default()).unwrap();
        for (timestamp, frame) in frames {
            writer.write(*timestamp, frame).unwrap();
        }
        read(writer.finish().unwrap())
    }

    fn audio(n: u8) -> Vec<u8> {
        vec![0xFC, n, 0x55]
    }

    #[test]
    fn frames_are_written_as_they_came_in_pages_of_fifty() {
        let frames: Vec<_> = (0..120).map(|n| (u32::from(n) * 960, audio(n))).collect();
        let written = record(&frames);
        assert_eq!(written.packets, frames.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>());
        assert_eq!(written.pages, [50, 50, 20]);
        assert_eq!(written.granules, [48_000, 96_000, 115_200]);
        assert!(written.ended);
    }

    #[test]
    fn a_full_last_page_ends_the_stream() {
        let frames: Vec<_> = (0..50).map(|n| (u32::from(n) * 960, audio(n))).collect();
        let written = record(&frames);
        assert_eq!(written.pages, [50]);
        assert!(written.ended);
    }

    #[test]
    fn nothing_recorded_is_a_file_that_ends() {
        let written = record(&[]);
        assert!(written.packets.is_empty() && written.ended);
    }

    #[test]
    fn gaps_become_silence_of_their_length() {
        // 1 000 samples: a frame, and less than the shortest.
        let written = record(&[(0, audio(1)), (960 + 1000, audio(2)), (2 * 960 + 1000 + 840, audio(3))]);
        let silence = |toc| vec![toc, 0xFF, 0xFE];
        assert_eq!(
            written.packets,
            [audio(1), silence(0xF8), audio(2), silence(0xF0), silence(0xE8), silence(0xE0), audio(3)]
        );
        assert_eq!(written.granules, [3 * 960 + 960 + 840]);
    }

    #[test]
    fn the_five_frames_that_end_a_spurt_are_left_out_at_the_end_only() {
        let silence = SILENCE_FRAME.to_vec();
        let spurt = |from: u32, silent: u32| {
            let silence = silence.clone();
            (0..=silent).map(move |n| {
                let frame = if n == 0 { audio(9) } else { silence.clone() };
                ((from + n) * 960, frame)
            })
        };
        let frames: Vec<_> = spurt(0, 5).chain(spurt(10, 7)).collect();
        let written = record(&frames);
        let mut expected = vec![audio(9)];
        expected.extend(vec![silence.clone(); 9]);
        expected.push(audio(9));
        expected.extend(vec![silence; 2]);
        assert_eq!(written.packets, expected);
    }

    #[test]
    fn a_malformed_frame_is_refused_and_counts_as_lost() {
        let mut writer = OggOpusWriter::new(Vec::new(), RecordOptions::default()).unwrap();
        writer.write(0, &audio(1)).unwrap();
        assert!(matches!(writer.write(960, &[]), Err(RecordError::Packet(_))));
        writer.write(1920, &audio(2)).unwrap();
        let written = read(writer.finish().unwrap());
        assert_eq!(written.packets, [audio(1), SILENCE_FRAME.to_vec(), audio(2)]);
    }

    #[test]
    fn what_was_flushed_is_in_the_file_and_the_end_is_as_ever() {
        let mut file = Vec::new();
        let mut writer = OggOpusWriter::new(&mut file, RecordOptions::default()).unwrap();
        writer.flush().unwrap();
        for n in 0..7 {
            writer.write(u32::from(n) * 960, &audio(n)).unwrap();
            if n % 3 == 2 {
                writer.flush().unwrap();
            }
        }
        drop(writer);
        let killed = read(file.clone());
        assert_eq!((killed.packets.len(), killed.granules, killed.ended), (6, vec![3 * 960, 6 * 960], false));

        let mut writer = OggOpusWriter::new(Vec::new(), RecordOptions::default()).unwrap();
        writer.write(0, &audio(1)).unwrap();
        writer.flush().unwrap();
        writer.flush().unwrap();
        let written = read(writer.finish().unwrap());
        assert_eq!(written.packets, [audio(1), SHORTEST_SILENCE.to_vec()]);
        assert_eq!((written.granules, written.ended), (vec![960, 960], true), "nothing is heard of the last");
        let nothing = {
            let mut writer = OggOpusWriter::new(Vec::new(), RecordOptions::default()).unwrap();
            writer.flush().unwrap();
            read(writer.finish().unwrap())
        };
        assert!(nothing.ended);
    }

    #[test]
    fn the_largest_packets_keep_their_pages_in_order() {
        let frames: Vec<_> = (0..60u8).map(|n| (u32::from(n) * 960, vec![0xFC; 1270 + usize::from(n % 6)])).collect();
        let written = record(&frames);
        assert_eq!(written.packets, frames.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>());
        assert_eq!(written.granules.last(), Some(&(60 * 960)));
        assert!(written.pages.iter().all(|&packets| packets <= 50));
    }

    #[test]
    fn comments_are_written() {
        let options =
            RecordOptions { comments: vec![("TITLE".to_owned(), "a call".to_owned())], ..RecordOptions::default() };
        let file = OggOpusWriter::new(Vec::new(), options).unwrap().finish().unwrap();
        assert!(file.windows(12).any(|window| window == b"TITLE=a call"));
    }
}
