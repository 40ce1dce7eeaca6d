//! No file makes the decoder take more than 16 MiB and twice its own size before the first frame.
#![cfg(all(feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]
#![allow(unreachable_pub, reason = "shared with the fuzz target")]

mod counting;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use voice_audio::FrameBuf;
use voice_audio::source::{FileReader, OpenOptions};

const OPTIONS: OpenOptions = OpenOptions { bitrate: 64_000, volume: 0.9 };

/// Where panics of parsers are told without a backtrace: that takes memory of its own.
fn tell_panics_briefly() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
}

#[track_caller]
fn check(name: &str, file: &[u8]) {
    tell_panics_briefly();
    let shared = Cursor::new(file.to_vec());
    let limit = (16 << 20) + 2 * file.len();
    for piped in [false, true] {
        let media = shared.clone();
        let peak = counting::peak_of(|| {
            let reader = if piped { FileReader::from_stream(media, OPTIONS) } else { FileReader::new(media, OPTIONS) };
            if let Ok(mut reader) = reader {
                let _ = reader.read_frame(&mut FrameBuf::new());
            }
        });
        assert!(peak <= limit, "{name} ({}): {peak} bytes at the peak", if piped { "piped" } else { "sought" });
    }
}

fn assets() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = Vec::new();
    for dir in [dir.join("assets"), dir.join("field")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            files.push((path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

fn asset(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets").join(name)).unwrap()
}

fn at(file: &[u8], what: &[u8]) -> usize {
    file.windows(what.len()).position(|window| window == what).unwrap()
}

#[test]
fn whole_files_take_little() {
    for (name, file) in assets() {
        check(&name, &file);
    }
}

#[test]
fn an_aiff_that_claims_a_huge_count_takes_little() {
    for (channels, frames) in [(u16::MAX, 1u32), (2, u32::MAX), (u16::MAX, u32::MAX), (255, 1 << 24)] {
        let mut file = b"FORM\0\0\x10\0AIFFCOMM\0\0\0\x12".to_vec();
        file.extend(channels.to_be_bytes());
        file.extend(frames.to_be_bytes());
        file.extend([0, 16, 0x40, 0x0E, 0xBB, 0x80, 0, 0, 0, 0, 0, 0]);
        file.extend(b"SSND\x7f\xff\xff\xff\0\0\0\0\0\0\0\0");
        file.resize(4_096, 1);
        check(&format!("{channels} channels, {frames} frames"), &file);
    }
}

#[test]
fn an_mp4_whose_tables_lie_takes_little() {
    let file = asset("sweep-44100-stereo.m4a");
    for table in [b"stsz", b"stts", b"stsc", b"stco"] {
        let start = at(&file, table) + 8;
        for field in 0..4 {
            for lie in [u32::MAX, 0x0800_0000, 0x00FF_FFFF] {
                let mut lying = file.clone();
                lying[start + field * 4..start + field * 4 + 4].copy_from_slice(&lie.to_be_bytes());
                check(&format!("{table:?}, field {field}, {lie}"), &lying);
            }
        }
    }
}

#[test]
fn a_matroska_whose_sizes_lie_takes_little() {
    let file = asset("sweep-48000-stereo.mkv");
    // The codec's setup, and the first block.
    for id in [&[0x63, 0xA2][..], &[0xA3]] {
        let start = at(&file, id) + id.len();
        let mut lying = file.clone();
        lying.splice(start..start, [0x01, 0, 0, 0, 0x20, 0, 0, 0]);
        check(&format!("{id:x?}"), &lying);
    }
}

#[test]
fn damaged_headers_take_little() {
    let mut seed = 7u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    for (name, whole) in assets() {
        for round in 0..40 {
            let mut file = whole.clone();
            let reach = file.len().min(if round % 2 == 0 { 700 } else { 6_000 });
            for _ in 0..1 + round % 4 {
                let (at, byte) = (random(reach), [0, 0x7F, 0xFF, 0x80][random(4)]);
                file[at] = byte;
            }
            check(&format!("{name}, round {round}"), &file);
        }
    }
}
