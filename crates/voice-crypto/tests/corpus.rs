//! The seeds of the fuzz target `open` are the vectors.

mod vectors;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::vectors::{bytes, list, text};

#[test]
fn seeds_are_the_vectors() {
    // A packaged crate has no fuzz targets beside it.
    if !folder().exists() {
        return;
    }
    for (name, seed) in seeds() {
        let hint = "cargo test -p voice-crypto --test corpus -- --ignored";
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

/// One packet of each shape in each mode, and each kind of authentic packet to refuse.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let all = vectors::transport();
    let mut seeds = BTreeMap::new();
    for vector in list(&all, "vectors") {
        let name = text(vector, "name");
        if SHAPES.iter().any(|shape| name.ends_with(shape)) {
            seeds.insert(format!("sealed-{}", name.replace('/', "-")), seed(vector, bytes(vector, "packet")));
        }
    }
    // Plain ones are the same in every mode but for what the mode makes of them: one mode each.
    for (vector, mode) in list(&all, "vectors").iter().filter(|vector| text(vector, "mode") == MODES[0]).zip(0..) {
        let mut plain = bytes(vector, "clear_header");
        plain.extend(bytes(vector, "plaintext"));
        let mut seed = seed(vector, plain);
        seed[0] = (seed[0] & 0x80) | (mode % MODES.len() as u8);
        let (_, shape) = text(vector, "name").split_once('/').expect("a mode and a shape");
        seeds.insert(format!("plain-{}", shape.replace('/', "-")), seed);
    }
    for vector in list(&all, "reject").iter().filter(|vector| text(vector, "error") != "auth") {
        seeds.insert(
            format!("reject-{}", text(vector, "name").replace('/', "-")),
            seed(vector, bytes(vector, "packet")),
        );
    }
    seeds
}

/// What the target reads: the mode and kind, a nonce, a bit to flip, the packet.
fn seed(vector: &Value, packet: Vec<u8>) -> Vec<u8> {
    let mode = MODES.iter().position(|mode| *mode == text(vector, "mode")).expect("a known mode");
    let kind = if text(vector, "kind") == "rtcp" { 0x80 } else { 0 };
    let mut seed = vec![kind | mode as u8, 0, 0, 0, 1, 0, packet.len() as u8];
    seed.extend(packet);
    seed
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/open")
}

const SHAPES: [&str; 4] = ["silence_be1", "csrc_two_ext", "ext_padding_5", "sr_one_report"];

/// The modes in the order of `Mode::ALL` with the feature `legacy`.
const MODES: [&str; 7] = [
    "aead_aes256_gcm_rtpsize",
    "aead_xchacha20_poly1305_rtpsize",
    "xsalsa20_poly1305_lite_rtpsize",
    "aead_aes256_gcm",
    "xsalsa20_poly1305",
    "xsalsa20_poly1305_suffix",
    "xsalsa20_poly1305_lite",
];
