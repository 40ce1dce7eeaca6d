//! The table of what `compare.sh` measured.
#![forbid(unsafe_code)]

mod runs;
mod table;

use std::{
    io::{self, Read as _},
    process::ExitCode,
};

use crate::runs::Runs;

/// Reads lines of a label, a tab and what a program printed, and writes a table of medians and ratios in Markdown.
fn main() -> ExitCode {
    let mut text = String::new();
    if let Err(error) = io::stdin().read_to_string(&mut text) {
        voice_peers::say(&format!("error: the figures cannot be read: {error}"));
        return ExitCode::FAILURE;
    }
    match Runs::parse(&text) {
        Ok(runs) => {
            println!("{}", table::render(&runs));
            ExitCode::SUCCESS
        }
        Err(error) => {
            voice_peers::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
