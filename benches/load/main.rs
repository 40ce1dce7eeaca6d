//! Opens many calls on a voice server, lets them play or listen, and prints what that costs as one line of JSON.
//!
//! The README of the benches has a command for each kind of load.
#![forbid(unsafe_code)]

mod args;
mod calls;
mod child;
mod error;
mod listening;
mod load;
mod measuring;
mod peers;
mod report;
mod server;
mod sources;
mod system;
mod target;

use std::{
    error::Error as _,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use crate::{args::Args, error::Error};

fn main() -> ExitCode {
    let args = Args::parse();
    let done = if args.as_peers {
        peers::run()
    } else {
        load::run(args).and_then(|report| {
            print(&serde_json::to_string(&report).map_err(|source| Error::Report { source })?);
            Ok(())
        })
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = format!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                line.push_str(&format!(": {error}"));
                cause = error.source();
            }
            say(&line);
            ExitCode::FAILURE
        }
    }
}

/// A line for who watches.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A line for who reads the figures. That nobody does is no error.
fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
