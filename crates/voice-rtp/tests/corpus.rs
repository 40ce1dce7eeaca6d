//! The seeds of the fuzz targets `rtp_packet` and `discovery` are the vectors and some more.

mod vectors;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use voice_rtp::extension::{ElementWriter, Form};
use voice_rtp::{Extension, Layout, Packet, Ping, RtpHeader, Ssrc};

use crate::vectors::{bytes, list, text};

#[test]
fn seeds_are_what_is_checked_in() {
    // A packaged crate has no fuzz targets beside it.
    if !folder().exists() {
        return;
    }
    for (path, datagram) in seeds() {
        let hint = "cargo test -p voice-rtp --test corpus -- --ignored";
        assert!(fs::read(folder().join(&path)).ok() == Some(datagram), "{path}: {hint}");
    }
}

#[test]
#[ignore = "writes the seeds of the fuzz targets"]
fn write_seeds() {
    for (path, datagram) in seeds() {
        let path = folder().join(path);
        fs::create_dir_all(path.parent().expect("the folder of a target")).expect("a folder");
        fs::write(path, datagram).expect("a file");
    }
}

/// The seeds, by the target and their name.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    seeds_of_rtp_packet(&mut |name, datagram| {
        seeds.insert(format!("rtp_packet/{}", name.replace('_', "-")), datagram.to_vec());
    });
    seeds_of_discovery(&mut |name, datagram| {
        seeds.insert(format!("discovery/{}", name.replace('_', "-")), datagram.to_vec());
    });
    assert!(seeds.len() > 90, "only {} seeds", seeds.len());
    seeds
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn seeds_of_rtp_packet(write: &mut impl FnMut(String, &[u8])) {
    let all = vectors::rtp();
    for (of, prefix) in [("parse", "packet"), ("invalid", "invalid")] {
        for vector in list(&all, of) {
            write(format!("{prefix}-{}", text(vector, "name")), &bytes(vector, "packet"));
        }
    }
    for vector in list(&all, "one_byte_extensions") {
        let body = bytes(vector, "body");
        if body.len().is_multiple_of(4) {
            write(format!("one-byte-{}", text(vector, "name")), &extended(0xBEDE, &body));
        }
    }
    type Case<'a> = (&'a str, &'a [(u8, &'a [u8])]);
    let two_byte: [Case<'_>; 4] = [
        ("elements", &[(1, &[0x85]), (9, &[2]), (3, &[1, 2, 3])]),
        ("id-15", &[(15, &[1, 2]), (255, &[3])]),
        ("empty", &[(5, &[]), (6, &[]), (7, &[0; 4])]),
        ("long", &[(10, &[b'm'; 40]), (1, &[0x85])]),
    ];
    for (name, elements) in two_byte {
        let mut body = [0; 64];
        let mut writer = ElementWriter::new(Form::TwoByte { app_bits: 3 }, &mut body);
        for (id, data) in elements {
            writer.push(*id, data).expect("room");
        }
        write(format!("two-byte-{name}"), &extended(0x1003, writer.finish().body()));
    }
    for (name, body) in [("overrun", [1, 1, 0xFF, 9, 9, 1, 2, 3]), ("cut", [1, 1, 0xFF, 0, 0, 0, 0, 9])] {
        write(format!("two-byte-{name}"), &extended(0x1000, &body));
    }
    // A payload that is taken as a stream: it wraps, jumps, repeats and goes back.
    let numbers = [1_u16, 2, 3, 3, 65_534, 65_535, 0, 1, 1, 7_000, 7_001, 7_002, 6_999];
    let stream: Vec<u8> = (0_u16..).zip(numbers).flat_map(|(t, n)| [[0, t as u8], n.to_be_bytes()].concat()).collect();
    let mut datagram = [0; 100];
    let len = Layout::new(RtpHeader::default()).write(&stream, &mut datagram).expect("room");
    write("packet-with-a-stream".into(), &datagram[..len]);
}

fn seeds_of_discovery(write: &mut impl FnMut(String, &[u8])) {
    let all = vectors::discovery();
    for (of, prefix) in [("requests", "request"), ("valid", "response"), ("invalid", "invalid")] {
        for (place, vector) in list(&all, of).iter().enumerate() {
            let name = vector["name"].as_str().map_or_else(|| place.to_string(), str::to_owned);
            let field = if vector["packet"].is_string() { "packet" } else { "datagram" };
            write(format!("{prefix}-{name}"), &bytes(vector, field));
        }
    }
    let ping = Ping([0, 0, 0, 7]);
    write("ping-request".into(), &ping.request());
    write("ping-response".into(), &ping.response());
    write("ping-short".into(), &ping.request()[..7]);
}

fn extended(profile: u16, body: &[u8]) -> Vec<u8> {
    let layout = Layout {
        csrcs: &[Ssrc::new(1)],
        extension: Some(Extension::new(profile, body)),
        padding_len: 2,
        ..Layout::default()
    };
    let mut datagram = vec![0; 200];
    let len = layout.write(&[0xF8, 0xFF, 0xFE], &mut datagram).expect("room");
    datagram.truncate(len);
    assert!(Packet::parse(&datagram).is_ok());
    datagram
}
