//! The seeds of the fuzz targets are the samples.
#![cfg(feature = "serde")]

mod samples;

use std::{collections::BTreeMap, fs, path::Path};

/// What the folder of a fuzz target's seeds has to hold.
type Seeds = BTreeMap<String, Vec<u8>>;

fn text_seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let sides: [(&str, Vec<&str>); 3] = [
        ("client", samples::client().collect()),
        ("server", samples::server().collect()),
        ("main", samples::MAIN_GATEWAY.lines().collect()),
    ];
    for (side, texts) in sides {
        let mut seen: Vec<&str> = Vec::new();
        for text in texts {
            if seen.contains(&text) {
                continue;
            }
            seen.push(text);
            let code: String = text.split_once("\"op\":").unwrap().1.chars().take_while(char::is_ascii_digit).collect();
            let number = seeds.keys().filter(|name| name.starts_with(&format!("op{code:0>2}-{side}-"))).count();
            seeds.insert(format!("op{code:0>2}-{side}-{number}.json"), text.as_bytes().to_vec());
        }
    }
    seeds.insert("nested.json".to_owned(), format!(r#"{{"op":99,"d":{}{}}}"#, "[".repeat(32), "]".repeat(32)).into());
    seeds
}

fn binary_seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (number, (server, bytes)) in samples::binary().enumerate() {
        let (side, opcode) = if server { ("server", bytes[2]) } else { ("client", bytes[0]) };
        seeds.insert(format!("op{opcode}-{side}-{number}.bin"), bytes.clone());
        if server {
            seeds.insert(format!("op{opcode}-old-server-{number}.bin"), bytes[2..].to_vec());
        }
    }
    seeds
}

fn folder(target: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn seeds_are_the_samples() {
    for (target, seeds) in [("gateway_text", text_seeds()), ("gateway_binary", binary_seeds())] {
        let folder = folder(target);
        // A packaged crate has no fuzz targets beside it.
        if !folder.exists() {
            continue;
        }
        for (name, bytes) in seeds {
            let hint = "cargo test -p voice-model --test corpus -- --ignored";
            assert!(fs::read(folder.join(&name)).ok() == Some(bytes), "{target}/{name}: {hint}");
        }
    }
}

#[test]
#[ignore = "writes the seeds of the fuzz targets"]
fn write_seeds() {
    for (target, seeds) in [("gateway_text", text_seeds()), ("gateway_binary", binary_seeds())] {
        let folder = folder(target);
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}
