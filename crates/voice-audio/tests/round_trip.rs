//! A file played into a call, recorded there, and played again.
#![cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]

use std::fs;
use std::io::Cursor;
use std::path::Path;

use voice_audio::record::{OggOpusWriter, RecordOptions, WavWriter};
use voice_audio::source::{FileReader, Format, OpenOptions, open};
use voice_audio::{FRAME_SAMPLES, FrameBuf, FrameSource, Lead, NextFrame, SILENCE_FRAME};

fn asset(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets").join(name)
}

fn frames(mut reader: FileReader) -> Vec<Vec<u8>> {
    let (mut frame, mut frames) = (FrameBuf::new(), Vec::new());
    while reader.read_frame(&mut frame).unwrap() {
        frames.push(frame.as_slice().to_vec());
    }
    frames
}

/// What a call sends for these frames: timestamps, and five silence frames at the end.
fn sent(frames: &[Vec<u8>], first: u32) -> impl Iterator<Item = (u32, &[u8])> {
    let silence = [&SILENCE_FRAME[..]; 5];
    let all = frames.iter().map(Vec::as_slice).chain(silence);
    (0u32..).map(move |n| first.wrapping_add(n * FRAME_SAMPLES as u32)).zip(all)
}

fn record(frames: &[Vec<u8>], first: u32) -> Vec<u8> {
    let mut writer = OggOpusWriter::new(Vec::new(), RecordOptions::default()).unwrap();
    for (timestamp, frame) in sent(frames, first) {
        writer.write(timestamp, frame).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_recording_plays_the_frames_that_were_sent() {
    let played = frames(open(&asset("sweep-20ms.opus"), OpenOptions::default()).unwrap());
    // The timestamps wrap half way.
    let file = record(&played, 0u32.wrapping_sub(25 * FRAME_SAMPLES as u32));
    let reader = FileReader::new(Cursor::new(file), OpenOptions::default()).unwrap();
    assert_eq!(reader.format(), Format::Ogg);
    assert!(reader.is_passthrough());
    let duration = reader.duration().unwrap().as_secs_f64();
    assert!((duration - (1.02 - 0.0065)).abs() < 0.001, "{duration}");
    assert_eq!(frames(reader), played);
}

#[test]
fn encoded_frames_survive_a_recording_too() {
    let played = frames(open(&asset("sweep-44100-stereo.mp3"), OpenOptions::default()).unwrap());
    let file = record(&played, 77);
    assert_eq!(frames(FileReader::new(Cursor::new(file), OpenOptions::default()).unwrap()), played);
}

#[test]
fn a_wav_recording_lasts_as_long_as_what_was_sent() {
    let played = frames(open(&asset("sweep-20ms.opus"), OpenOptions::default()).unwrap());
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, RecordOptions::default()).unwrap();
    for (timestamp, frame) in sent(&played, 1) {
        writer.write(timestamp, frame).unwrap();
    }
    writer.finish().unwrap();
    let reader = FileReader::new(file, OpenOptions::default()).unwrap();
    assert_eq!(reader.format(), Format::Wav);
    assert_eq!(reader.duration().unwrap().as_millis(), 1020);
}

#[test]
fn a_file_as_a_source_yields_the_same_frames() {
    let path = asset("sweep-44100-stereo.flac");
    let expected = frames(open(&path, OpenOptions::default()).unwrap());
    let mut source: Box<dyn FrameSource> = Box::new(open(&path, OpenOptions::default()).unwrap());
    assert!(matches!(source.lead(), Lead::Frames(2..)), "it is read ahead");
    let (mut frame, mut got) = (FrameBuf::new(), Vec::new());
    loop {
        match source.next_frame(&mut frame) {
            NextFrame::Ready => got.push(frame.as_slice().to_vec()),
            NextFrame::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, expected);
}

#[test]
fn a_damaged_recording_plays_what_is_whole() {
    let played = frames(open(&asset("sweep-20ms.opus"), OpenOptions::default()).unwrap());
    let file = record(&played, 0);
    let cut = file[..file.len() - 10].to_vec();
    let left = frames(FileReader::new(Cursor::new(cut), OpenOptions::default()).unwrap());
    assert_eq!(left, played[..50], "the page with the last frame is damaged");
    // The assets are whole, so that this is no accident.
    assert!(fs::metadata(asset("sweep-20ms.opus")).unwrap().len() > 10_000);
}
