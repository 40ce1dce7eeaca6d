//! Files as people have them play to their end, whatever their headers claim.
#![cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use voice_audio::opus::{Channels, Decoder};
use voice_audio::source::{FileReader, Format, OpenError, OpenOptions, PcmFile, ReadError};
use voice_audio::{CHANNELS, FRAME_SAMPLES, FrameBuf};

const FULL: OpenOptions = OpenOptions { bitrate: 128_000, volume: 1.0 };
const DECODED: OpenOptions = OpenOptions { bitrate: 128_000, volume: 0.99 };

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn seekable(file: &[u8]) -> Result<FileReader, OpenError> {
    FileReader::new(Cursor::new(file.to_vec()), FULL)
}

fn piped(file: &[u8]) -> Result<FileReader, OpenError> {
    FileReader::from_stream(Cursor::new(file.to_vec()), FULL)
}

/// How long a file plays, in seconds.
fn plays(mut reader: FileReader) -> f64 {
    let (mut frame, mut frames) = (FrameBuf::new(), 0);
    while reader.read_frame(&mut frame).unwrap() {
        frames += 1;
    }
    f64::from(frames) * 0.02
}

fn heard(mut reader: FileReader) -> Vec<f32> {
    let mut decoder = Decoder::new(Channels::Stereo).unwrap();
    let (mut frame, mut pcm, mut all) = (FrameBuf::new(), vec![0.0; FRAME_SAMPLES * CHANNELS], Vec::new());
    while reader.read_frame(&mut frame).unwrap() {
        decoder.decode(frame.as_slice(), &mut pcm).unwrap();
        all.extend_from_slice(&pcm);
    }
    all
}

/// Plays from a file and through a pipe, for `seconds` and up to two frames more: filled up, and the encoder's delay.
#[track_caller]
fn check(name: &str, file: &[u8], seconds: f64) {
    for (how, reader) in [("sought", seekable(file)), ("piped", piped(file))] {
        let reader = reader.unwrap_or_else(|error| panic!("{name}, {how}: {error:?}"));
        let duration = reader.duration();
        let played = plays(reader);
        assert!((-0.001..0.0401).contains(&(played - seconds)), "{name}, {how}: plays {played} of {seconds} s");
        // Through a pipe, what the first header states is all there is.
        if let Some(duration) = duration.filter(|_| how == "sought") {
            let told = duration.as_secs_f64();
            assert!((told - seconds).abs() < 0.03, "{name}, {how}: tells {told} of {seconds} s");
        }
    }
}

#[test]
fn an_mp3_without_a_stated_length_plays_to_its_end() {
    check("vbr-loud-first", &read("field/vbr-loud-first.mp3"), 193.0 * 1_152.0 / 44_100.0);
    check("vbr-no-xing", &read("field/vbr-no-xing.mp3"), 4.05);
    assert_eq!(seekable(&read("field/vbr-loud-first.mp3")).unwrap().duration(), None);
}

#[test]
fn a_stated_length_ends_no_mp3_and_each_part_has_its_own_padding() {
    check("concatenated", &read("field/concatenated.mp3"), 4.05);
    assert_eq!(seekable(&read("field/concatenated.mp3")).unwrap().duration(), None);
    check("xing-zero-frames", &read("field/xing-zero-frames.mp3"), 1.32);
    let one = read("assets/sweep-44100-stereo.mp3");
    check("three times the same", &one.repeat(3), 3.0);
}

fn id3(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut tag = vec![b'I', b'D', b'3', version, 0, flags];
    tag.extend([21, 14, 7, 0].map(|shift| (body.len() >> shift & 0x7F) as u8));
    tag.extend(body);
    if flags & 0x10 != 0 {
        let footer = [b"3DI", &tag[3..10]].concat();
        tag.extend(footer);
    }
    tag
}

#[test]
fn covers_of_any_size_and_tags_of_any_kind_are_passed_over() {
    let audio = read("assets/sweep-44100-stereo.mp3");
    let plain = &audio[audio.windows(2).position(|pair| pair == [0xFF, 0xFB]).unwrap()..];
    // A picture full of what looks like frames.
    let picture: Vec<u8> = plain.iter().copied().cycle().take(6 << 20).collect();
    let ape = {
        let mut header = b"APETAGEX".to_vec();
        header.extend([0xD0, 7, 0, 0]);
        header.extend(4_032u32.to_le_bytes());
        header.extend([1, 0, 0, 0, 0, 0, 0, 0xA0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut footer = header.clone();
        footer[23] = 0x80;
        [header, plain[..4_000].to_vec(), footer].concat()
    };
    let id3v1 = [b"TAG".as_slice(), &[b' '; 125]].concat();
    for (name, file) in [
        ("cover", [id3(3, 0, &picture), plain.to_vec()].concat()),
        ("unsynchronised v2.4 with a footer", [id3(4, 0x90, &picture[..2 << 20]), plain.to_vec()].concat()),
        (
            "two and APE",
            [id3(3, 0, &picture[..100]), id3(4, 0, &picture[..3_000]), ape.clone(), plain.to_vec()].concat(),
        ),
        ("at the end", [plain.to_vec(), ape, id3v1.clone()].concat()),
        ("between", [plain.to_vec(), id3v1, id3(4, 0, &picture[..5 << 20]), plain.to_vec()].concat()),
    ] {
        check(name, &file, if name == "between" { 2.0 } else { 1.0 });
    }
    let flac = read("assets/sweep-44100-stereo.flac");
    check("before FLAC", &[id3(3, 0, &picture), flac].concat(), 1.0);
}

/// Puts pages of one stream together.
fn ogg_with_comment(file: &[u8], comment_len: usize) -> Vec<u8> {
    use ogg::writing::{PacketWriteEndInfo, PacketWriter};
    let mut packets = ogg::PacketReader::new(Cursor::new(file));
    let mut out = PacketWriter::new(Vec::new());
    let mut n = 0;
    while let Some(packet) = packets.read_packet().unwrap() {
        let mut data = packet.data.clone();
        if n == 1 {
            data.truncate(8);
            data.extend([0, 0, 0, 0, 1, 0, 0, 0]);
            data.extend(u32::try_from(comment_len).unwrap().to_le_bytes());
            data.extend(std::iter::repeat_n(b'x', comment_len));
        }
        let end = if packet.last_in_stream() {
            PacketWriteEndInfo::EndStream
        } else if n < 2 || packet.last_in_page() {
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        out.write_packet(data, 7, end, packet.absgp_page()).unwrap();
        n += 1;
    }
    out.into_inner()
}

#[test]
fn an_ogg_comment_with_a_large_picture_is_passed_over() {
    let file = ogg_with_comment(&read("assets/sweep-20ms.opus"), 14 << 20);
    check("14 MB of comment", &file, 1.0);
    assert!(seekable(&file).unwrap().is_passthrough());
}

#[test]
fn ogg_pages_without_a_position_take_nothing_away() {
    check("vorbis", &read("field/vorbis-granule-minus-1.ogg"), 4.0);
}

#[test]
fn surround_opus_is_mixed_down() {
    check("5.1", &read("field/opus-5.1.opus"), 2.0);
    let pcm = heard(seekable(&read("field/opus-5.1.opus")).unwrap());
    let loudest = pcm.iter().fold(0.0f32, |loudest, value| loudest.max(value.abs()));
    assert!((0.02..1.0).contains(&loudest), "{loudest}");
}

#[test]
fn layer_two_plays() {
    let file = read("field/sweep-layer-2.mp2");
    assert_eq!(seekable(&file).unwrap().format(), Format::Mpeg);
    check("layer II", &file, 39.0 * 1_152.0 / 44_100.0);
}

/// A WAV of one second, 48 kHz, stereo; sizes and chunks as given.
fn wav(riff: u32, chunks: &[&[u8]], data: u32) -> Vec<u8> {
    let mut file = [b"RIFF".as_slice(), &riff.to_le_bytes(), b"WAVEfmt \x10\0\0\0\x01\0\x02\0"].concat();
    file.extend([0x80, 0xBB, 0, 0, 0, 0xEE, 2, 0, 4, 0, 16, 0]);
    file.extend(chunks.concat());
    file.extend(b"data");
    file.extend(data.to_le_bytes());
    file.extend((0..192_000u32).map(|n| (n % 251) as u8));
    file
}

#[test]
fn a_wav_whose_sizes_are_wrong_plays_to_its_end() {
    for size in [0, u32::MAX, 0x7FFF_F000, 192_000 + 4_096] {
        check(&format!("data size {size}"), &wav(size, &[], size), 1.0);
    }
    for riff in [36, 192_036 - 8, 0, u32::MAX] {
        check(&format!("RIFF size {riff}"), &wav(riff, &[], 192_000), 1.0);
    }
    check("odd chunk with padding", &wav(0, &[b"LIST\x05\0\0\0INFO\x01\0"], 192_000), 1.0);
    check("odd chunk without padding", &wav(0, &[b"LIST\x05\0\0\0INFO\x01"], 192_000), 1.0);
    let behind = [wav(192_050, &[], 192_000), b"LIST\x04\0\0\0INFO".to_vec()].concat();
    check("a chunk behind the audio", &behind, 1.0);
}

#[test]
fn rf64_and_rifx_play() {
    let mut rf64 = wav(u32::MAX, &[], u32::MAX);
    rf64[..4].copy_from_slice(b"RF64");
    let mut ds64 = b"ds64\x1c\0\0\0".to_vec();
    ds64.extend([0; 8]);
    ds64.extend(96_000u64.to_le_bytes());
    ds64.extend([0; 12]);
    rf64.splice(12..12, ds64);
    check("RF64 that tells half", &rf64, 0.5);

    let mut rifx =
        b"RIFX\0\0\0\0WAVEfmt \0\0\0\x10\0\x01\0\x02\0\0\xBB\x80\0\x02\xEE\0\0\x04\0\x10data\0\0\0\0".to_vec();
    rifx.extend([0; 96_000]);
    check("RIFX", &rifx, 0.5);
}

fn aiff(form: u32, frames: u32, sound: u32) -> Vec<u8> {
    let mut file = [b"FORM".as_slice(), &form.to_be_bytes(), b"AIFFCOMM\0\0\0\x12\0\x02"].concat();
    file.extend(frames.to_be_bytes());
    // 48 000 as an 80-bit number.
    file.extend([0, 16, 0x40, 0x0E, 0xBB, 0x80, 0, 0, 0, 0, 0, 0]);
    file.extend(b"SSND");
    file.extend(sound.to_be_bytes());
    file.extend([0; 8]);
    file.extend((0..192_000u32).map(|n| (n % 251) as u8));
    file
}

#[test]
fn an_aiff_whose_sizes_are_wrong_plays_to_its_end() {
    let right = aiff(192_046, 48_000, 192_008);
    assert_eq!(seekable(&right).unwrap().format(), Format::Aiff);
    for (form, frames, sound) in [(192_046, 48_000, 192_008), (1 << 30, 0, 0), (36, u32::MAX, u32::MAX)] {
        check(&format!("FORM {form}, {frames} frames, {sound} bytes"), &aiff(form, frames, sound), 1.0);
    }
}

#[test]
fn a_flac_with_a_smallest_block_of_zero_plays() {
    let mut flac = read("assets/sweep-44100-stereo.flac");
    flac[8..10].fill(0);
    check("FLAC", &flac, 1.0);
    // Nor does a count of samples that is too small end it.
    flac[22..26].copy_from_slice(&[0, 0, 1, 0]);
    let short = seekable(&flac).unwrap();
    assert!(plays(short) >= 1.0);
}

#[test]
fn what_cannot_be_played_says_what_it_is() {
    let m4a = read("assets/sweep-44100-stereo.m4a");
    let index = m4a.windows(4).position(|window| window == b"moov").unwrap() - 4;
    let without_index = &m4a[..index];
    type Check = fn(&OpenError) -> bool;
    let cases: [(&str, &[u8], Check); 6] = [
        ("empty", b"", |error| matches!(error, OpenError::Empty)),
        ("MP4 cut short", without_index, |error| matches!(error, OpenError::IndexMissing)),
        ("MP4 cut in its index", &m4a[..index + 40], |error| matches!(error, OpenError::IndexMissing)),
        ("WAV of a header", &wav(36, &[], 0)[..44], |error| matches!(error, OpenError::NoAudio)),
        ("AIFF of a header", &aiff(46, 0, 8)[..54], |error| matches!(error, OpenError::NoAudio)),
        ("text", b"just a text", |error| matches!(error, OpenError::NotAudio)),
    ];
    for (name, file, is_right) in cases {
        let result = seekable(file);
        assert!(result.as_ref().is_err_and(is_right), "{name}: {result:?}");
    }
    if without_index.windows(4).any(|window| window == b"mdat") {
        let result = piped(&m4a);
        assert!(matches!(result, Err(OpenError::NeedsSeeking)), "{result:?}");
    }
}

#[test]
fn every_sample_that_does_not_need_seeking_plays_through_a_pipe() {
    for entry in fs::read_dir(path("assets")).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::read(&path).unwrap();
        let Ok(sought) = seekable(&file) else {
            continue;
        };
        match piped(&file) {
            Ok(piped) => {
                let (sought, piped) = (plays(sought), plays(piped));
                assert!((sought - piped).abs() < 0.001, "{}: {sought} and {piped} s", path.display());
            }
            Err(error) => assert!(matches!(error, OpenError::NeedsSeeking), "{}: {error:?}", path.display()),
        }
    }
}

/// An Ogg Opus file with this pre-skip, of the frames of the sample file, that ends after `samples` more.
fn with_pre_skip(pre_skip: u16, samples: u64) -> Vec<u8> {
    use ogg::writing::{PacketWriteEndInfo, PacketWriter};
    let file = read("assets/sweep-20ms.opus");
    let mut packets = ogg::PacketReader::new(Cursor::new(&file));
    let mut out = PacketWriter::new(Vec::new());
    let mut all = Vec::new();
    while let Some(packet) = packets.read_packet().unwrap() {
        all.push(packet.data);
    }
    all[0][10..12].copy_from_slice(&pre_skip.to_le_bytes());
    let (headers, audio) = all.split_at(2);
    for header in headers {
        out.write_packet(header.clone(), 1, PacketWriteEndInfo::EndPage, 0).unwrap();
    }
    let repeated: Vec<_> = audio.iter().chain(audio).collect();
    let last = repeated.len() - 1;
    for (n, packet) in repeated.into_iter().enumerate() {
        let (end, granule) = if n == last {
            (PacketWriteEndInfo::EndStream, u64::from(pre_skip) + samples)
        } else if n == 20 {
            (PacketWriteEndInfo::EndPage, 21 * 960)
        } else {
            (PacketWriteEndInfo::NormalPacket, 0)
        };
        out.write_packet(packet.clone(), 1, end, granule).unwrap();
    }
    out.into_inner()
}

#[test]
fn a_long_pre_skip_and_a_long_end_trim_hold_for_frames_that_pass() {
    // 102 frames, of which 50 are skipped, and 20 after it are heard.
    let file = with_pre_skip(48_000, 20 * 960);
    let reader = seekable(&file).unwrap();
    assert!(reader.is_passthrough());
    assert!((reader.duration().unwrap().as_secs_f64() - 0.4).abs() < 0.001);
    let passed = plays(reader);
    // The 80 ms in front let a decoder converge.
    assert!((passed - 0.48).abs() < 0.001, "{passed}");
    let decoded = plays(FileReader::new(Cursor::new(file), DECODED).unwrap());
    assert!((decoded - 0.42).abs() < 0.021, "{decoded}");
}

#[test]
fn a_lossless_file_is_heard_as_it_is_before_it_is_encoded() {
    let file = wav(36, &[], 192_000);
    let mut pcm = PcmFile::new(Cursor::new(file.clone())).unwrap();
    let (mut part, mut all) = ([0.0; 1_000], Vec::new());
    loop {
        match pcm.read(&mut part).unwrap() {
            0 => break,
            read => all.extend_from_slice(&part[..read]),
        }
    }
    let (samples, _) = file[44..].as_chunks::<2>();
    assert_eq!(all, samples.iter().map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32_768.0).collect::<Vec<_>>());
}

#[test]
fn adpcm_is_heard() {
    for name in ["field/tone-adpcm-ms.wav", "field/tone-adpcm-ima.wav"] {
        let mut pcm = PcmFile::open(&path(name)).unwrap();
        let (mut all, told) = (vec![0.0; 100_000], pcm.duration().unwrap().as_secs_f64());
        let mut len = 0;
        loop {
            match pcm.read(&mut all[len..]).unwrap() {
                0 => break,
                read => len += read,
            }
        }
        assert!((len as f64 / 96_000.0 - told).abs() < 0.001 && told >= 0.5, "{name}: {len} of {told} s");
        let power = all[..len].iter().map(|value| value * value).sum::<f32>() / len as f32;
        // A tone of an eighth of full scale.
        assert!((power.sqrt() - 0.0884).abs() < 0.005, "{name}: {}", power.sqrt());
    }
}

#[test]
fn a_file_of_which_nothing_can_be_decoded_is_no_success() {
    let mut file = Vec::new();
    for _ in 0..20 {
        // A mono frame of layer II at a bitrate that only stereo may have.
        file.extend([0xFF, 0xFD, 0xE4, 0xC4]);
        file.resize(file.len() + 1_152 - 4, 0);
    }
    let mut reader = seekable(&file).unwrap();
    assert!(matches!(reader.read_frame(&mut FrameBuf::new()), Err(ReadError::Malformed(_))));
}
