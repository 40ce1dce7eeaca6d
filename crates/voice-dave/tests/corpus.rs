//! The seeds of the fuzz target `dave_frame` are the vectors.

#[path = "../src/vectors.rs"]
mod vectors;

use std::{collections::BTreeMap, fs, path::PathBuf};

use vectors::load;

#[test]
fn seeds_are_the_vectors() {
    // A packaged crate has no fuzz targets beside it.
    if !folder().exists() {
        return;
    }
    for (name, seed) in seeds() {
        let hint = "cargo test -p voice-dave --test corpus -- --ignored";
        assert!(fs::read(folder().join(&name)).ok() == Some(seed), "{name}: {hint}");
    }
}

#[test]
#[ignore = "writes the seeds of the fuzz target"]
fn write_seeds() {
    fs::create_dir_all(folder()).expect("a folder");
    for (name, seed) in seeds() {
        fs::write(folder().join(name), seed).expect("a file");
    }
}

/// Authentic frames, frames of odd form, and frames of each codec; each behind a codec and a bit to flip.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    let mut add = |name: String, codec: u8, bit: u16, frame: &[u8]| {
        let [high, low] = bit.to_be_bytes();
        seeds.insert(name, [&[codec, high, low], frame].concat());
    };
    for (frame, number) in load("encryptor_sequence").list("cases")[0].list("frames").iter().zip(1..) {
        add(format!("sealed-{number}"), 0, number * 37, &frame.bytes("frame"));
    }
    for (case, number) in load("frame_check").list("cases").iter().zip(1..) {
        add(format!("check-{number:02}"), 0, number, &case.bytes("frame"));
    }
    for (case, number) in load("video_frames").list("cases").iter().zip(1..) {
        let codec = case.text("codec");
        let index = ["opus", "vp8", "vp9", "h264", "h265", "av1", "unknown"].iter().position(|name| *name == codec);
        let index = index.expect("a codec that is known") as u8;
        add(format!("{codec}-{number:02}"), index, number * 11, &case.bytes("plain"));
    }
    seeds
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dave_frame")
}
