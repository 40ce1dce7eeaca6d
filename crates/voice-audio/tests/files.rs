//! Every kind of file plays for as long as it lasts, and plays what is in it.
#![cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]

use std::f64::consts::TAU;
use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use voice_audio::opus::{Channels, Decoder, Encoder, EncoderConfig, Packet};
use voice_audio::source::{FileReader, Format, OpenError, OpenOptions, ReadError, open};
use voice_audio::{CHANNELS, FRAME_SAMPLES, FrameBuf};

const FULL: OpenOptions = OpenOptions { bitrate: 128_000, volume: 1.0 };

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets").join(name)
}

fn frames(reader: &mut FileReader) -> Vec<Vec<u8>> {
    let (mut frame, mut frames) = (FrameBuf::new(), Vec::new());
    while reader.read_frame(&mut frame).unwrap() {
        frames.push(frame.as_slice().to_vec());
    }
    frames
}

/// Decodes frames and drops the encoder's delay, so that sample 0 is sample 0 of the source.
fn heard(frames: &[Vec<u8>]) -> Vec<f32> {
    let mut decoder = Decoder::new(Channels::Stereo).unwrap();
    let mut pcm = vec![0.0; FRAME_SAMPLES * CHANNELS];
    let mut all = Vec::new();
    for frame in frames {
        assert!(Packet::parse(frame).unwrap().is_single_20_ms_frame());
        assert_eq!(decoder.decode(frame, &mut pcm).unwrap(), FRAME_SAMPLES);
        all.extend_from_slice(&pcm);
    }
    let delay = Encoder::new(EncoderConfig::default()).unwrap().lookahead();
    all.drain(..delay * CHANNELS);
    all
}

/// What the sample files were made of: left a sweep from 200 to 4 000 Hz, right a tone of 440 Hz.
fn source(sample: usize, side: usize) -> f32 {
    let t = sample as f64 / 48_000.0;
    let phase = if side == 0 { 200.0 * t + 1900.0 * t * t } else { 440.0 * t };
    (0.5 * (TAU * phase).sin()) as f32
}

fn energy(pcm: &[f32]) -> f64 {
    pcm.iter().map(|value| f64::from(*value).powi(2)).sum()
}

/// How alike `pcm` and the source are on one side, when `pcm` comes `lag` samples late; 1.0 is the same shape.
fn correlation(pcm: &[f32], side: usize, source_side: usize, lag: isize) -> f64 {
    let (mut product, mut ours, mut theirs) = (0.0, 0.0, 0.0);
    for sample in (200..47_800usize).step_by(5) {
        let at = sample.checked_add_signed(lag).unwrap() * CHANNELS + side;
        let (a, b) = (f64::from(pcm[at]), f64::from(source(sample, source_side)));
        product += a * b;
        ours += a * a;
        theirs += b * b;
    }
    product / (ours * theirs).sqrt()
}

/// The lag at which the sweep fits best, in samples at 48 kHz.
fn best_lag(pcm: &[f32]) -> isize {
    (-100..=100).max_by(|a, b| correlation(pcm, 0, 0, *a).total_cmp(&correlation(pcm, 0, 0, *b))).unwrap()
}

fn check(name: &str, format: Format, passthrough: bool, max_lag: isize) {
    let mut reader = open(&asset(name), FULL).unwrap();
    assert_eq!(reader.format(), format);
    assert_eq!(reader.is_passthrough(), passthrough, "{name}");
    let duration = reader.duration().expect("every sample file tells its length").as_secs_f64();
    assert!((duration - 1.0).abs() < 0.01, "{name} claims {duration} s");

    let frames = frames(&mut reader);
    assert!((50..=51).contains(&frames.len()), "{name} plays {} frames", frames.len());

    let pcm = heard(&frames);
    let lag = best_lag(&pcm);
    assert!(lag.abs() <= max_lag, "{name} is {lag} samples late");
    let left = correlation(&pcm, 0, 0, lag);
    assert!(left > 0.98, "{name}: left correlates by {left}");
    let right = correlation(&pcm, 1, if name.contains("mono") { 0 } else { 1 }, lag);
    assert!(right > 0.98, "{name}: right correlates by {right}");
}

#[test]
fn wav_plays() {
    check("sweep-44100-mono.wav", Format::Wav, false, 1);
}

#[test]
fn flac_plays() {
    check("sweep-44100-stereo.flac", Format::Flac, false, 1);
}

#[test]
fn mp3_plays_without_its_delay_and_padding() {
    check("sweep-44100-stereo.mp3", Format::Mpeg, false, 2);
}

#[test]
fn ogg_vorbis_plays() {
    check("sweep-48000-stereo.ogg", Format::Ogg, false, 1);
}

#[test]
fn matroska_vorbis_plays() {
    check("sweep-48000-stereo.mkv", Format::Matroska, false, 1);
}

#[test]
fn m4a_plays_without_its_delay_and_padding() {
    check("sweep-44100-stereo.m4a", Format::Mp4, false, 2);
}

#[test]
fn webm_opus_passes_through() {
    check("sweep-48000-stereo.webm", Format::Matroska, true, 1);
}

#[test]
fn ogg_opus_of_20_ms_passes_through() {
    check("sweep-20ms.opus", Format::Ogg, true, 1);
}

#[test]
fn ogg_opus_of_60_ms_is_encoded_again() {
    check("sweep-60ms.opus", Format::Ogg, false, 1);
}

#[test]
fn passthrough_changes_no_byte() {
    let file = fs::read(asset("sweep-20ms.opus")).unwrap();
    let ogg = frames(&mut open(&asset("sweep-20ms.opus"), FULL).unwrap());
    let mut at = 0;
    for frame in &ogg {
        let found = file[at..].windows(frame.len()).position(|window| window == frame);
        at += found.expect("the frame is in the file, after the one before") + frame.len();
    }
    // The same encoder made both files.
    assert_eq!(ogg, frames(&mut open(&asset("sweep-48000-stereo.webm"), FULL).unwrap()));
}

#[test]
fn volume_means_encoding_again_and_is_heard() {
    let mut reader = open(&asset("sweep-20ms.opus"), OpenOptions { volume: 0.5, ..FULL }).unwrap();
    assert!(!reader.is_passthrough());
    let quiet = heard(&frames(&mut reader));
    let loud = heard(&frames(&mut open(&asset("sweep-20ms.opus"), FULL).unwrap()));
    let ratio = (energy(&quiet) / energy(&loud)).sqrt();
    assert!((ratio - 0.5).abs() < 0.02, "{ratio}");
    assert!(best_lag(&quiet).abs() <= 1);
}

#[test]
fn bitrate_decides_the_size() {
    let size = |bitrate| {
        let options = OpenOptions { bitrate, volume: 1.0 };
        let mut reader = open(&asset("sweep-44100-stereo.flac"), options).unwrap();
        frames(&mut reader).iter().map(Vec::len).sum::<usize>()
    };
    let (small, large) = (size(24_000), size(128_000));
    assert!(small * 2 < large, "{small} and {large} bytes");
}

#[test]
fn the_contents_decide_and_not_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("song.mp3");
    fs::copy(asset("sweep-44100-stereo.flac"), &path).unwrap();
    assert_eq!(open(&path, FULL).unwrap().format(), Format::Flac);
}

#[test]
fn what_cannot_be_played_says_why() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(&dir.path().join("none"), FULL), Err(OpenError::NotFound)));
    let empty = dir.path().join("empty.mp3");
    fs::write(&empty, b"").unwrap();
    assert!(matches!(open(&empty, FULL), Err(OpenError::Empty)));
    for contents in [&b"#!/bin/sh\n"[..], &[0; 5000], "just a text. ".repeat(2000).as_bytes()] {
        let path = dir.path().join("text.mp3");
        fs::write(&path, contents).unwrap();
        let result = open(&path, FULL);
        assert!(matches!(result, Err(OpenError::NotAudio)), "{result:?}");
    }
    assert!(matches!(open(&asset("video-only.webm"), FULL), Err(OpenError::NoAudioTrack)));
    assert!(matches!(open(dir.path(), FULL), Err(OpenError::Io(_))));
}

#[test]
fn surround_opus_is_an_unsupported_codec() {
    let mut file = fs::read(asset("sweep-48000-stereo.webm")).unwrap();
    let head = file.windows(8).position(|window| window == b"OpusHead").unwrap();
    file[head + 9] = 6;
    let result = FileReader::new(Cursor::new(file), FULL);
    assert!(matches!(result, Err(OpenError::UnsupportedCodec)), "{result:?}");
}

#[test]
fn a_header_gain_means_encoding_again() {
    let mut file = fs::read(asset("sweep-48000-stereo.webm")).unwrap();
    let head = file.windows(8).position(|window| window == b"OpusHead").unwrap();
    // -6 dB in 1/256 dB.
    file[head + 16..head + 18].copy_from_slice(&(-6i16 * 256).to_le_bytes());
    let mut reader = FileReader::new(Cursor::new(file), FULL).unwrap();
    assert!(!reader.is_passthrough());
    let quiet = heard(&frames(&mut reader));
    assert!(best_lag(&quiet).abs() <= 1);
    let loud = heard(&frames(&mut open(&asset("sweep-48000-stereo.webm"), FULL).unwrap()));
    let ratio = (energy(&quiet) / energy(&loud)).sqrt();
    assert!((ratio - 0.501).abs() < 0.02, "{ratio}");
}

#[test]
fn every_file_cut_anywhere_ends_and_does_not_panic() {
    for entry in fs::read_dir(asset("")).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::read(&path).unwrap();
        for part in 0..24 {
            let len = file.len() * part / 24;
            let Ok(mut reader) = FileReader::new(Cursor::new(file[..len].to_vec()), FULL) else {
                continue;
            };
            let (mut frame, mut count) = (FrameBuf::new(), 0);
            while matches!(reader.read_frame(&mut frame), Ok(true)) {
                count += 1;
            }
            assert!(count <= 51, "{} cut to {len} bytes plays {count} frames", path.display());
        }
    }
}

#[test]
fn a_file_that_stops_being_single_frames_is_encoded_from_there_on() {
    // 20 ms frames, then 60 ms ones: two Ogg streams one after the other in one file.
    let mut file = fs::read(asset("sweep-20ms.opus")).unwrap();
    file.extend(fs::read(asset("sweep-60ms.opus")).unwrap());
    let mut reader = FileReader::new(Cursor::new(file), FULL).unwrap();
    assert!(reader.is_passthrough());
    let all = frames(&mut reader);
    assert!((101..=103).contains(&all.len()), "{} frames", all.len());
    let single = frames(&mut open(&asset("sweep-20ms.opus"), FULL).unwrap());
    assert_eq!(all[..51], single[..]);
    let second = heard(&all[51..]);
    assert!(correlation(&second, 0, 0, best_lag(&second)) > 0.98);
}

/// A file whose reading panics from some byte on, as a parser with a bug would.
struct Bomb {
    file: Cursor<Vec<u8>>,
    from: u64,
}

impl Read for Bomb {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        assert!(self.file.position() < self.from, "part of the test");
        let len = buf.len().min(512);
        self.file.read(&mut buf[..len])
    }
}

impl Seek for Bomb {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.file.seek(pos)
    }
}

#[test]
fn a_parser_that_panics_is_an_error() {
    let bomb = |from| Bomb { file: Cursor::new(fs::read(asset("sweep-44100-mono.wav")).unwrap()), from };
    let result = FileReader::new(bomb(0), FULL);
    assert!(matches!(result, Err(OpenError::Malformed(_))), "{result:?}");

    let mut reader = FileReader::new(bomb(70_000), FULL).unwrap();
    let mut frame = FrameBuf::new();
    let mut frames = 0;
    let error = loop {
        match reader.read_frame(&mut frame) {
            Ok(more) => assert!(more),
            Err(error) => break error,
        }
        frames += 1;
    };
    assert!(matches!(error, ReadError::Malformed(_)), "{error:?}");
    assert!(frames > 10, "{frames}");
    assert!(!reader.read_frame(&mut frame).unwrap(), "after an error comes the end");
}

#[test]
fn damaged_files_end_and_do_not_panic() {
    let mut seed = 99u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    for entry in fs::read_dir(asset("")).unwrap() {
        let path = entry.unwrap().path();
        let whole = fs::read(&path).unwrap();
        for round in 0..16 {
            let mut file = whole.clone();
            // Half of the rounds aim at the headers.
            let reach = if round % 2 == 0 { file.len() } else { file.len().min(400) };
            for _ in 0..=round / 2 {
                file[random(reach)] = u8::try_from(random(256)).unwrap();
            }
            let Ok(mut reader) = FileReader::new(Cursor::new(file), FULL) else {
                continue;
            };
            let (mut frame, mut count) = (FrameBuf::new(), 0);
            while matches!(reader.read_frame(&mut frame), Ok(true)) {
                count += 1;
                assert!(count < 5_000, "{} does not end", path.display());
            }
        }
    }
}
