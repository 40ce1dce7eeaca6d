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
mod media;
mod peers;
mod report;
mod server;
mod sources;
mod system;
mod target;

use std::{
    env,
    error::Error as _,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use crate::{args::Args, error::Error};

fn main() -> ExitCode {
    match run() {
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

fn run() -> Result<(), Error> {
    let mut line = env::args_os().skip(1);
    if line.next().is_some_and(|first| first == system::AS_SERVER) {
        return system::become_server(line);
    }
    let args = Args::parse();
    if args.as_peers {
        return peers::run();
    }
    let report = load::run(args)?;
    print(&serde_json::to_string(&report).map_err(|source| Error::Report { source })?);
    Ok(())
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
