//! Makes the files, with other people's encoders, and decodes them with an independent decoder.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use voice_audio::CHANNELS;

use crate::cases::{Case, Change, Downmix, Encode};

/// Writes what the files are made of.
pub(crate) fn prepare(cases: &[Case], dir: &Path) -> Result<(), String> {
    let mut written = HashSet::new();
    for case in cases {
        if written.insert(case.signal) {
            case.signal.write(dir).map_err(|error| error.to_string())?;
        }
    }
    // Noise cannot be compressed: 1 300 lines of as many pixels are 3 MB.
    shell(
        "ffmpeg -v error -y -f lavfi -i color=black:s=1300x1300,format=rgb24,noise=alls=100:allf=t -frames:v 1 {out}",
        &[("{out}", &dir.join("cover.png"))],
    )?;
    let size = fs::metadata(dir.join("cover.png")).map_err(|error| error.to_string())?.len();
    if size < 2_500_000 { Err(format!("the picture has only {size} bytes")) } else { Ok(()) }
}

/// Makes the file of a case.
pub(crate) fn make(case: &Case, dir: &Path) -> Result<PathBuf, String> {
    // Chains make their parts in a folder of their own.
    let file = dir.join(&case.name);
    let input = signals(dir).join(case.signal.file_name());
    let cover = signals(dir).join("cover.png");
    let places: [(&str, &Path); 3] = [("{in}", &input), ("{out}", &file), ("{cover}", &cover)];
    match &case.encode {
        Encode::Program(line) => {
            shell(line, &places)?;
        }
        Encode::Stream(line) => write(&file, &shell(line, &places)?.stdout)?,
        Encode::Chain(parts) => {
            let mut all = Vec::new();
            for part in parts_of(case, parts, dir)? {
                all.extend(read(&part)?);
            }
            write(&file, &all)?;
        }
    }
    for change in &case.changes {
        write(&file, &changed(read(&file)?, *change))?;
    }
    Ok(file)
}

/// What an independent decoder makes of it, or of each of its parts: interleaved stereo at 48 kHz.
pub(crate) fn references(case: &Case, file: &Path) -> Result<Vec<Vec<f32>>, String> {
    let Encode::Chain(parts) = &case.encode else { return Ok(vec![reference(case, file)?]) };
    let dir = file.with_extension("parts");
    parts.iter().map(|part| reference(part, &dir.join(&part.name))).collect()
}

fn reference(case: &Case, file: &Path) -> Result<Vec<f32>, String> {
    let line = "ffmpeg -v error -i {in} -map 0:a:0 -af aresample=48000:resampler=soxr:precision=28 -f f32le -";
    let output = shell(line, &[("{in}", file)])?;
    let samples: Vec<f32> =
        output.stdout.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let mut stereo = downmix(&samples, usize::from(case.signal.channels), case.downmix);
    if case.is_longer_there {
        stereo.truncate((crate::signal::SECONDS * 48_000.0) as usize * CHANNELS);
    }
    Ok(stereo)
}

fn parts_of(case: &Case, parts: &[Case], dir: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = dir.join(&case.name).with_extension("parts");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    parts.iter().map(|part| make(part, &folder)).collect()
}

/// Where the signals are: beside the files, or one floor up for the parts of a chain.
fn signals(dir: &Path) -> &Path {
    if dir.join("cover.png").exists() { dir } else { dir.parent().unwrap_or(dir) }
}

fn downmix(samples: &[f32], channels: usize, how: Downmix) -> Vec<f32> {
    // Order of WAV: left, right, centre, low frequencies, back left, back right.
    let itu = [1.0, 0.0, 0.5_f32.sqrt(), 0.0, 0.5_f32.sqrt(), 0.0].map(|gain| gain / (1.0 + 2.0_f32.sqrt()));
    let opus = [0.529_067, 0.0, 0.374_107, 0.374_107, 0.458_186, 0.264_534];
    let left = match (channels, how) {
        (1, _) => return samples.iter().flat_map(|sample| [*sample; CHANNELS]).collect(),
        (2, _) => return samples.to_vec(),
        (6, Downmix::Itu) => itu,
        (6, Downmix::Opus) => opus,
        _ => panic!("no downmix of {channels} channels"),
    };
    let right = [left[1], left[0], left[2], left[3], left[5], left[4]];
    let mix = |six: &[f32], gains: &[f32; 6]| six.iter().zip(gains).map(|(sample, gain)| sample * gain).sum();
    samples.chunks_exact(6).flat_map(|six| [mix(six, &left), mix(six, &right)]).collect()
}

fn changed(file: Vec<u8>, change: Change) -> Vec<u8> {
    match change {
        Change::Cut(part) => {
            let len = (file.len() as f64 * part) as usize;
            file[..len].to_vec()
        }
        Change::Vbri => [vbri_frame(&file), file].concat(),
        Change::TagsBehind => {
            let mut id3v1 = b"TAGSweep".to_vec();
            id3v1.resize(128, 0);
            [file, ape_tag(100_000), id3v1].concat()
        }
        Change::TagsInFront => {
            // A picture that looks like MPEG audio, and a second tag of padding.
            let sync = [0xff, 0xfb, 0x90, 0x64].repeat(25_000);
            [id3v2_tag(b"APIC", &sync), id3v2_tag(b"TIT2", b"\0Sweep"), file].concat()
        }
        Change::OpusGain(gain) => with_opus_gain(file, gain),
    }
}

/// A frame of silence that holds a VBRI header, with the format of the first frame behind it.
fn vbri_frame(file: &[u8]) -> Vec<u8> {
    // 128 kbit/s at 44.1 kHz, without padding: 417 bytes.
    let mut frame = vec![0xff, 0xfb, 0x90, file[3]];
    frame.resize(36, 0);
    let frames = (crate::signal::SECONDS * 44_100.0 / 1_152.0).ceil() as u32;
    frame.extend_from_slice(b"VBRI\0\x01\x04\x90\0\x4b");
    frame.extend_from_slice(&(file.len() as u32).to_be_bytes());
    frame.extend_from_slice(&frames.to_be_bytes());
    // One entry of the table of contents, of two bytes, for all frames.
    frame.extend_from_slice(&[0, 1, 0, 1, 0, 2]);
    frame.extend_from_slice(&(frames as u16).to_be_bytes());
    frame.resize(417, 0);
    frame
}

fn id3v2_tag(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let synchsafe = |len: usize| [21, 14, 7, 0].map(|shift| (len >> shift) as u8 & 0x7f);
    let mut tag = b"ID3\x04\0\0".to_vec();
    tag.extend(synchsafe(body.len() + 10));
    tag.extend_from_slice(id);
    tag.extend(synchsafe(body.len()));
    tag.extend_from_slice(&[0, 0]);
    tag.extend_from_slice(body);
    tag
}

fn ape_tag(len: u32) -> Vec<u8> {
    let item_len = len - 32 - 8 - 6;
    let (size, version) = (len.to_le_bytes(), 2_000_u32.to_le_bytes());
    let mut tag = Vec::new();
    // A header, one binary item, and a footer.
    for flags in [0xa000_0000_u32, 0x8000_0000] {
        if flags == 0x8000_0000 {
            tag.extend_from_slice(&item_len.to_le_bytes());
            tag.extend_from_slice(&2_u32.to_le_bytes());
            tag.extend_from_slice(b"Cover\0");
            tag.resize(tag.len() + item_len as usize, 0xff);
        }
        tag.extend_from_slice(b"APETAGEX");
        tag.extend_from_slice(&version);
        tag.extend_from_slice(&size);
        tag.extend_from_slice(&1_u32.to_le_bytes());
        tag.extend_from_slice(&flags.to_le_bytes());
        tag.extend_from_slice(&[0; 8]);
    }
    tag
}

/// Writes the gain into the header, and the page's checksum anew.
fn with_opus_gain(mut file: Vec<u8>, gain: i16) -> Vec<u8> {
    let head = file.windows(8).position(|eight| eight == b"OpusHead").expect("an Opus header");
    file[head + 16..head + 18].copy_from_slice(&gain.to_le_bytes());
    let end = head + 19;
    file[22..26].fill(0);
    // RFC 3533, section 6: polynomial 0x04c11db7, nothing reflected.
    let checksum = file[..end].iter().fold(0_u32, |mut sum, byte| {
        sum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            sum = (sum << 1) ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
        sum
    });
    file[22..26].copy_from_slice(&checksum.to_le_bytes());
    file
}

/// Runs a program whose arguments hold no blanks, but for places.
fn shell(line: &str, places: &[(&str, &Path)]) -> Result<Output, String> {
    let words: Vec<PathBuf> = line
        .split_whitespace()
        .map(|word| {
            places.iter().find(|(name, _)| *name == word).map_or_else(|| word.into(), |(_, path)| path.to_path_buf())
        })
        .collect();
    let output = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", words[0].display()))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}
