//! What `discord-voice` is measured against: bare floors, and songbird.
//!
//! The programs of this workspace put the same load on the same server as the project's own `load`, and print a line
//! of JSON with the same keys.
#![forbid(unsafe_code)]

pub mod args;
pub mod audio;
pub mod clock;
mod error;
pub mod report;
pub mod server;
pub mod system;

use std::{
    error::Error as _,
    io::{self, Write as _},
    process::ExitCode,
};

pub use error::Error;

/// Runs a program to its end: its figures go to the standard output, what went wrong to the other one.
pub fn finish(ran: Result<report::Report, Error>) -> ExitCode {
    let printed = ran.and_then(|report| report.print());
    let Err(error) = printed else { return ExitCode::SUCCESS };
    let mut line = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    say(&line);
    ExitCode::FAILURE
}

/// A line for who watches.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
