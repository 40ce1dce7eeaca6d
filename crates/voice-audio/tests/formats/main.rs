//! What people play: files made by other people's encoders, played through the source at full speed, and compared with
//! an independent decoder.
//!
//! Needs `ffmpeg`, `lame`, `opusenc`, `oggenc`, `flac` and `sox`: `.ci/run formats` installs them and runs this.
#![cfg(all(unix, feature = "containers", any(feature = "audiopus", feature = "opus-pure")))]

mod cases;
mod compare;
mod make;
mod play;
mod signal;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cases::Case;
use compare::Verdict;

/// One row of the table.
struct Row {
    name: String,
    outcome: Result<Verdict, String>,
}

fn run(case: &Case, dir: &std::path::Path) -> Result<Verdict, String> {
    let file = make::make(case, dir)?;
    let references = make::references(case, &file)?;
    let heard = play::play(&file, case.is_piped)?;
    let pcm = case.is_lossless.then(|| play::decode(&file, case.is_piped)).transpose()?;
    compare::compare(&references, &heard, pcm.as_ref())
}

#[test]
#[ignore = "needs encoders of other people: `.ci/run formats` installs them"]
fn what_people_play_sounds_as_an_independent_decoder_says() {
    let dir = tempfile::tempdir().unwrap();
    let cases = cases::all();
    make::prepare(&cases, dir.path()).unwrap();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = catch_unwind(AssertUnwindSafe(|| run(case, dir.path())))
                        .unwrap_or_else(|_| Err("a panic".into()));
                    rows.lock().unwrap().push(Row { name: case.name.clone(), outcome });
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    println!("{}", Verdict::HEADER);
    for row in &rows {
        match &row.outcome {
            Ok(verdict) => println!("{:34} {verdict}", row.name),
            Err(error) => println!("{:34} WRONG: {error}", row.name),
        }
    }
    let wrong = rows.iter().filter(|row| !row.outcome.as_ref().is_ok_and(Verdict::is_right)).count();
    println!("{} files, {wrong} wrong", rows.len());
    assert!(rows.len() >= 80, "the corpus has shrunk");
    assert_eq!(wrong, 0);
}
