//! The seeds of the fuzz target `rtcp` are the vectors.

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
    for (name, datagram) in seeds() {
        let hint = "cargo test -p voice-rtp --test rtcp_corpus -- --ignored";
        assert!(fs::read(folder().join(&name)).ok() == Some(datagram), "{name}: {hint}");
    }
}

#[test]
#[ignore = "writes the seeds of the fuzz target"]
fn write_seeds() {
    fs::create_dir_all(folder()).expect("a folder");
    for (name, datagram) in seeds() {
        fs::write(folder().join(name), datagram).expect("a file");
    }
}

fn seeds() -> BTreeMap<String, Vec<u8>> {
    let rtp = vectors::rtp();
    let samples: Value = serde_json::from_str(include_str!("vectors/rtcp.json")).expect("the vectors are JSON");
    let lists = [
        ("vector", list(&rtp, "rtcp")),
        ("invalid", list(&rtp, "rtcp_invalid")),
        ("sample", list(&samples, "packets")),
    ];
    let named = |(prefix, list): (&'static str, &[Value])| {
        let seed = move |vector: &Value| {
            (format!("{prefix}-{}", text(vector, "name").replace('_', "-")), bytes(vector, "packet"))
        };
        list.iter().map(seed).collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(named).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/rtcp")
}
