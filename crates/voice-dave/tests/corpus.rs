//! The seeds of the fuzz target `dave_frame` are the vectors.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

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
    let mut add = |name: String, codec: u8, bit: u16, frame: &Value| {
        let [high, low] = bit.to_be_bytes();
        seeds.insert(name, [&[codec, high, low], &hex(frame)[..]].concat());
    };
    for (frame, number) in list(&load("encryptor_sequence")["cases"][0]["frames"]).iter().zip(1..) {
        add(format!("sealed-{number}"), 0, number * 37, &frame["frame"]);
    }
    for (case, number) in list(&load("frame_check")["cases"]).iter().zip(1..) {
        add(format!("check-{number:02}"), 0, number, &case["frame"]);
    }
    for (case, number) in list(&load("video_frames")["cases"]).iter().zip(1..) {
        let codec = case["codec"].as_str().expect("a codec");
        let index = ["opus", "vp8", "vp9", "h264", "h265", "av1", "unknown"].iter().position(|name| *name == codec);
        let index = index.expect("a codec that is known") as u8;
        add(format!("{codec}-{number:02}"), index, number * 11, &case["plain"]);
    }
    seeds
}

fn load(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).expect("a file of vectors")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("a byte")).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dave_frame")
}
