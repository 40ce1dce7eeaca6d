//! The table of files.

use crate::signal::Signal;

/// A file to make, and what it has to sound like.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Also the file's name.
    pub(crate) name: String,
    pub(crate) signal: Signal,
    pub(crate) encode: Encode,
    /// What happens to the file once it is made.
    pub(crate) changes: Vec<Change>,
    /// Read from a FIFO, which cannot be sought.
    pub(crate) is_piped: bool,
    /// The samples themselves are kept: compared before they are encoded for the call, too.
    pub(crate) is_lossless: bool,
    pub(crate) downmix: Downmix,
    /// The file states where its audio ends, and the independent decoder does not heed it.
    pub(crate) is_longer_there: bool,
}

/// Who writes the file.
#[derive(Clone, Debug)]
pub(crate) enum Encode {
    /// A program and its arguments; `{in}`, `{out}` and `{cover}` stand for files.
    Program(String),
    /// A program whose standard output is the file: what one that streams writes.
    Stream(String),
    /// Files of other cases, one behind the other.
    Chain(Vec<Case>),
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Cut after this part of it.
    Cut(f64),
    /// A VBRI header, as Fraunhofer's encoder writes it, in front.
    Vbri,
    /// An APE tag of 100 KB and an ID3v1 tag behind.
    TagsBehind,
    /// Two ID3v2 tags in a row in front, the first with MPEG sync words in it.
    TagsInFront,
    /// The output gain of an Opus header, in 1/256 dB.
    OpusGain(i16),
}

/// How more than two channels become two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Downmix {
    /// ITU-R BS.775, scaled so that it cannot clip.
    Itu,
    /// RFC 7845, section 5.1.1.5.
    Opus,
}

impl Case {
    fn new(name: &str, rate: u32, channels: u16, encode: Encode) -> Self {
        Self {
            name: name.to_owned(),
            signal: Signal { rate, channels },
            encode,
            changes: Vec::new(),
            is_piped: false,
            is_lossless: false,
            downmix: Downmix::Itu,
            is_longer_there: false,
        }
    }

    fn lossless(mut self) -> Self {
        self.is_lossless = true;
        self
    }

    fn piped(mut self) -> Self {
        self.is_piped = true;
        self
    }

    fn changed(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    fn renamed(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// The independent decoder plays the encoder's padding at the end.
    fn longer_there(mut self) -> Self {
        self.is_longer_there = true;
        self
    }

    fn opus_downmix(mut self) -> Self {
        self.downmix = Downmix::Opus;
        self
    }
}

fn ffmpeg(name: &str, rate: u32, channels: u16, arguments: &str) -> Case {
    Case::new(name, rate, channels, Encode::Program(format!("ffmpeg -v error -y -i {{in}} {arguments} {{out}}")))
}

/// The same with a picture of 3 MB.
fn with_cover(name: &str, rate: u32, channels: u16, arguments: &str) -> Case {
    let program = format!(
        "ffmpeg -v error -y -i {{in}} -i {{cover}} -map 0:a -map 1:v {arguments} -c:v copy -disposition:v attached_pic \
         -metadata title=Sweep -metadata artist=Nobody {{out}}"
    );
    Case::new(name, rate, channels, Encode::Program(program))
}

/// What ffmpeg writes to a pipe.
fn streamed(name: &str, rate: u32, channels: u16, arguments: &str) -> Case {
    Case::new(name, rate, channels, Encode::Stream(format!("ffmpeg -v error -i {{in}} {arguments} -")))
}

fn program(name: &str, rate: u32, channels: u16, program: &str) -> Case {
    Case::new(name, rate, channels, Encode::Program(program.to_owned()))
}

fn chain(name: &str, parts: Vec<Case>) -> Case {
    let Signal { rate, channels } = parts[0].signal;
    Case::new(name, rate, channels, Encode::Chain(parts))
}

/// Every file.
pub(crate) fn all() -> Vec<Case> {
    [wav(), aiff(), flac(), mpeg(), vorbis(), opus(), matroska(), mp4(), adts()].into_iter().flatten().collect()
}

fn wav() -> Vec<Case> {
    let plain = ffmpeg("wav-s16-44100-2.wav", 44_100, 2, "-c:a pcm_s16le").lossless();
    vec![
        plain.clone(),
        ffmpeg("wav-s16-8000-1.wav", 8_000, 1, "-c:a pcm_s16le").lossless(),
        ffmpeg("wav-s16-11025-1.wav", 11_025, 1, "-c:a pcm_s16le").lossless(),
        ffmpeg("wav-s16-16000-2.wav", 16_000, 2, "-c:a pcm_s16le").lossless(),
        ffmpeg("wav-s24-48000-2.wav", 48_000, 2, "-c:a pcm_s24le").lossless(),
        ffmpeg("wav-s32-96000-2.wav", 96_000, 2, "-c:a pcm_s32le").lossless(),
        ffmpeg("wav-f32-88200-2.wav", 88_200, 2, "-c:a pcm_f32le").lossless(),
        ffmpeg("wav-f64-32000-1.wav", 32_000, 1, "-c:a pcm_f64le").lossless(),
        ffmpeg("wav-u8-22050-1.wav", 22_050, 1, "-c:a pcm_u8"),
        ffmpeg("wav-alaw-8000-1.wav", 8_000, 1, "-c:a pcm_alaw"),
        ffmpeg("wav-mulaw-8000-2.wav", 8_000, 2, "-c:a pcm_mulaw"),
        ffmpeg("wav-adpcm-ms-44100-2.wav", 44_100, 2, "-c:a adpcm_ms"),
        ffmpeg("wav-adpcm-ima-22050-1.wav", 22_050, 1, "-c:a adpcm_ima_wav"),
        ffmpeg("wav-s16-48000-6.wav", 48_000, 6, "-c:a pcm_s16le").lossless(),
        ffmpeg("wav-rf64-48000-2.wav", 48_000, 2, "-c:a pcm_s16le -rf64 always").lossless(),
        streamed("wav-streamed-48000-2.wav", 48_000, 2, "-c:a pcm_s16le -f wav").lossless(),
        streamed("wav-streamed-pipe-48000-2.wav", 48_000, 2, "-c:a pcm_s16le -f wav").lossless().piped(),
        plain.clone().renamed("wav-cut-by-a-third.wav").changed(Change::Cut(0.67)),
        plain.renamed("wav-pipe.wav").piped(),
    ]
}

fn aiff() -> Vec<Case> {
    vec![
        ffmpeg("aiff-s16-44100-2.aiff", 44_100, 2, "-c:a pcm_s16be").lossless(),
        ffmpeg("aiff-s24-48000-1.aiff", 48_000, 1, "-c:a pcm_s24be").lossless(),
        ffmpeg("aifc-sowt-22050-2.aifc", 22_050, 2, "-c:a pcm_s16le -f aiff").lossless(),
        ffmpeg("aiff-cut.aiff", 44_100, 2, "-c:a pcm_s16be").changed(Change::Cut(0.5)),
    ]
}

fn flac() -> Vec<Case> {
    let plain = ffmpeg("flac-s16-44100-2.flac", 44_100, 2, "-c:a flac -sample_fmt s16").lossless();
    vec![
        plain.clone(),
        ffmpeg("flac-s16-8000-1.flac", 8_000, 1, "-c:a flac -sample_fmt s16").lossless(),
        ffmpeg("flac-s24-96000-2.flac", 96_000, 2, "-c:a flac -sample_fmt s32").lossless(),
        ffmpeg("flac-s16-48000-6.flac", 48_000, 6, "-c:a flac -sample_fmt s16").lossless(),
        ffmpeg("flac-in-ogg-44100-2.oga", 44_100, 2, "-c:a flac -sample_fmt s16 -f ogg").lossless(),
        with_cover("flac-cover-44100-2.flac", 44_100, 2, "-c:a flac -sample_fmt s16").lossless(),
        streamed("flac-streamed-48000-2.flac", 48_000, 2, "-c:a flac -sample_fmt s16 -f flac").lossless(),
        program("flac-no-seek-table.flac", 44_100, 2, "sox {in} -b 16 -C 8 {out}").lossless(),
        plain.clone().renamed("flac-pipe.flac").piped(),
        plain.renamed("flac-cut.flac").changed(Change::Cut(0.8)),
    ]
}

fn mpeg() -> Vec<Case> {
    let lame = |name: &str, rate, channels, arguments: &str| {
        let mode = if channels == 1 { "-m m" } else { "" };
        program(name, rate, channels, &format!("lame --quiet {mode} {arguments} {{in}} {{out}}"))
    };
    let vbr = lame("mp3-vbr-44100-2.mp3", 44_100, 2, "-V 2");
    let no_xing = lame("mp3-vbr-no-xing-44100-2.mp3", 44_100, 2, "-V 2 -t");
    vec![
        lame("mp3-cbr128-44100-2.mp3", 44_100, 2, "-b 128"),
        lame("mp3-cbr320-48000-2.mp3", 48_000, 2, "-b 320"),
        lame("mp3-abr-32000-2.mp3", 32_000, 2, "--abr 110"),
        lame("mp3-mpeg2-22050-1.mp3", 22_050, 1, "-b 56 --resample 22.05"),
        lame("mp3-mpeg2.5-8000-1.mp3", 8_000, 1, "-b 32 --resample 8"),
        lame("mp3-mpeg2.5-11025-2.mp3", 11_025, 2, "-b 48 --resample 11.025"),
        lame("mp3-cbr-no-xing-44100-1.mp3", 44_100, 1, "-b 96 -t"),
        vbr.clone(),
        no_xing.clone(),
        no_xing.clone().renamed("mp3-vbri-44100-2.mp3").changed(Change::Vbri),
        with_cover("mp3-cover-id3v2.3.mp3", 44_100, 2, "-c:a libmp3lame -b:a 128k -id3v2_version 3"),
        with_cover("mp3-cover-id3v2.4.mp3", 44_100, 2, "-c:a libmp3lame -q:a 3 -id3v2_version 4 -write_id3v1 1"),
        vbr.clone().renamed("mp3-tags-behind.mp3").changed(Change::TagsBehind),
        vbr.clone().renamed("mp3-tags-in-front.mp3").changed(Change::TagsInFront),
        chain("mp3-chained.mp3", vec![vbr.clone(), lame("b.mp3", 44_100, 2, "-b 128"), no_xing.clone()]),
        vbr.clone().renamed("mp3-cut.mp3").changed(Change::Cut(0.37)),
        no_xing.renamed("mp3-no-xing-pipe.mp3").piped(),
        vbr.renamed("mp3-pipe.mp3").piped(),
        ffmpeg("mp2-48000-2.mp2", 48_000, 2, "-c:a mp2 -b:a 256k"),
        ffmpeg("mp2-44100-1.mp2", 44_100, 1, "-c:a mp2 -b:a 128k"),
    ]
}

fn vorbis() -> Vec<Case> {
    let oggenc = |name: &str, rate, channels, arguments: &str| {
        program(name, rate, channels, &format!("oggenc -Q {arguments} -o {{out}} {{in}}"))
    };
    let plain = oggenc("vorbis-q5-44100-2.ogg", 44_100, 2, "-q 5");
    vec![
        plain.clone(),
        oggenc("vorbis-8000-1.ogg", 8_000, 1, "-q 6"),
        oggenc("vorbis-q9-96000-2.ogg", 96_000, 2, "-q 9"),
        oggenc("vorbis-48000-6.ogg", 48_000, 6, "-q 6"),
        plain.clone().renamed("vorbis-pipe.ogg").piped(),
        plain.clone().renamed("vorbis-cut.ogg").changed(Change::Cut(0.5)),
        chain("vorbis-chained.ogg", vec![plain, oggenc("b.ogg", 44_100, 2, "-q 3 --serial 77")]),
    ]
}

fn opus() -> Vec<Case> {
    let opusenc = |name: &str, rate, channels, arguments: &str| {
        program(name, rate, channels, &format!("opusenc --quiet {arguments} {{in}} {{out}}"))
    };
    let plain = opusenc("opus-20ms-48000-2.opus", 48_000, 2, "--bitrate 128");
    vec![
        plain.clone(),
        opusenc("opus-5ms-48000-2.opus", 48_000, 2, "--bitrate 192 --framesize 5"),
        opusenc("opus-2.5ms-48000-1.opus", 48_000, 1, "--bitrate 128 --framesize 2.5"),
        opusenc("opus-60ms-44100-2.opus", 44_100, 2, "--bitrate 96 --framesize 60"),
        opusenc("opus-20ms-8000-1.opus", 8_000, 1, "--bitrate 32"),
        opusenc("opus-20ms-24000-1.opus", 24_000, 1, "--bitrate 64"),
        opusenc("opus-48000-6.opus", 48_000, 6, "--bitrate 320").opus_downmix(),
        opusenc("opus-cover.opus", 48_000, 2, "--bitrate 128 --picture {cover}"),
        plain.clone().renamed("opus-gain-minus-3-db.opus").changed(Change::OpusGain(-768)),
        plain.clone().renamed("opus-pipe.opus").piped(),
        plain.clone().renamed("opus-cut.opus").changed(Change::Cut(0.6)),
        chain("opus-chained.opus", vec![plain, opusenc("b.opus", 48_000, 2, "--bitrate 96 --serial 77")]),
    ]
}

fn matroska() -> Vec<Case> {
    let opus = ffmpeg("webm-opus-48000-2.webm", 48_000, 2, "-c:a libopus -b:a 128k");
    vec![
        opus.clone(),
        ffmpeg("webm-vorbis-44100-2.webm", 44_100, 2, "-c:a libvorbis -q:a 5"),
        ffmpeg("mkv-opus-60ms-24000-1.mkv", 24_000, 1, "-c:a libopus -b:a 64k -frame_duration 60"),
        ffmpeg("mkv-opus-48000-6.mkv", 48_000, 6, "-c:a libopus -b:a 320k -mapping_family 1").opus_downmix(),
        ffmpeg("mkv-flac-44100-2.mkv", 44_100, 2, "-c:a flac -sample_fmt s16").lossless(),
        ffmpeg("mkv-pcm-48000-2.mkv", 48_000, 2, "-c:a pcm_s16le").lossless(),
        ffmpeg("mkv-aac-44100-2.mkv", 44_100, 2, "-c:a aac -b:a 192k"),
        ffmpeg("mkv-mp3-44100-2.mkv", 44_100, 2, "-c:a libmp3lame -b:a 160k"),
        streamed("webm-live-opus-48000-2.webm", 48_000, 2, "-c:a libopus -b:a 128k -live 1 -f webm"),
        opus.clone().renamed("webm-opus-pipe.webm").piped(),
        opus.renamed("webm-opus-cut.webm").changed(Change::Cut(0.7)),
    ]
}

fn mp4() -> Vec<Case> {
    let aac = "-c:a aac -b:a 192k";
    vec![
        ffmpeg("m4a-aac-44100-2.m4a", 44_100, 2, aac),
        ffmpeg("m4a-aac-faststart-48000-2.m4a", 48_000, 2, "-c:a aac -b:a 192k -movflags +faststart"),
        ffmpeg("m4a-aac-22050-1.m4a", 22_050, 1, "-c:a aac -b:a 64k").longer_there(),
        ffmpeg("m4a-aac-fragmented.m4a", 44_100, 2, "-c:a aac -b:a 192k -movflags +frag_keyframe+empty_moov -f mp4"),
        with_cover("m4a-aac-cover.m4a", 44_100, 2, aac),
        ffmpeg("m4a-alac-44100-2.m4a", 44_100, 2, "-c:a alac -sample_fmt s16p").lossless(),
        ffmpeg("m4a-alac-96000-1.m4a", 96_000, 1, "-c:a alac -sample_fmt s32p").lossless(),
        ffmpeg("mp4-opus-48000-2.mp4", 48_000, 2, "-c:a libopus -b:a 128k -strict -2"),
        ffmpeg("mp4-opus-48000-6.mp4", 48_000, 6, "-c:a libopus -b:a 320k -mapping_family 1 -strict -2").opus_downmix(),
        ffmpeg("mp4-flac-44100-2.mp4", 44_100, 2, "-c:a flac -sample_fmt s16 -strict -2").lossless(),
        ffmpeg("mp4-mp3-44100-2.mp4", 44_100, 2, "-c:a libmp3lame -b:a 160k"),
        ffmpeg("mov-pcm-48000-2.mov", 48_000, 2, "-c:a pcm_s16le").lossless(),
        ffmpeg("m4a-faststart-pipe.m4a", 44_100, 2, "-c:a aac -b:a 192k -movflags +faststart").piped(),
        ffmpeg("m4a-faststart-cut.m4a", 44_100, 2, "-c:a aac -b:a 192k -movflags +faststart")
            .changed(Change::Cut(0.75)),
    ]
}

fn adts() -> Vec<Case> {
    let plain = ffmpeg("adts-44100-2.aac", 44_100, 2, "-c:a aac -b:a 160k -f adts");
    vec![
        plain.clone(),
        ffmpeg("adts-16000-1.aac", 16_000, 1, "-c:a aac -b:a 48k -f adts"),
        plain.clone().renamed("adts-pipe.aac").piped(),
        plain.renamed("adts-cut.aac").changed(Change::Cut(0.43)),
    ]
}
