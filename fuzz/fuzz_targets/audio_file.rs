//! Files of any kind: opened and played for a second, from a file and through a pipe. None makes the decoder take more
//! than 16 MiB and twice its own size before its first frame.
#![no_main]

#[path = "../../crates/voice-audio/tests/counting/mod.rs"]
mod counting;

use std::io::Cursor;
use std::panic;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use voice_audio::FrameBuf;
use voice_audio::source::{FileReader, OpenOptions, PcmFile};

/// The libraries that parse files are known to panic on some, which is caught and becomes an error: only what comes out
/// of the target counts.
static QUIET: Once = Once::new();

fuzz_target!(|file: &[u8]| {
    QUIET.call_once(|| panic::set_hook(Box::new(|_| ())));
    let limit = (16 << 20) + 2 * file.len();
    for piped in [false, true] {
        let media = Cursor::new(file.to_vec());
        let (mut frame, mut reader) = (FrameBuf::new(), None);
        let peak = counting::peak_of(|| {
            let options = OpenOptions::default();
            let opened = if piped { FileReader::from_stream(media, options) } else { FileReader::new(media, options) };
            reader = opened.ok().and_then(|mut reader| reader.read_frame(&mut frame).ok().map(|_| reader));
        });
        // The hook is silent.
        if peak > limit {
            eprintln!("{peak} bytes for a file of {}", file.len());
            std::process::abort();
        }
        if let Some(mut reader) = reader {
            let _ = (0..50).all(|_| matches!(reader.read_frame(&mut frame), Ok(true)));
        }
    }
    if let Ok(mut pcm) = PcmFile::new(Cursor::new(file.to_vec())) {
        let mut part = [0.0; 4096];
        let heard =
            (0..24).map_while(|_| pcm.read(&mut part).ok().filter(|read| *read > 0).map(|read| part[..read].to_vec()));
        for part in heard {
            if !part.iter().all(|sample| (-1.0..=1.0).contains(sample)) {
                eprintln!("beyond full scale, or no number");
                std::process::abort();
            }
        }
    }
});
