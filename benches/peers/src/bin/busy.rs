//! A neighbour that always has something to do.
#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use voice_peers::{args, clock::Time, say, system};

/// Keeps a processor busy.
#[derive(Debug, Parser)]
#[command(name = "busy")]
struct Args {
    /// The processor.
    #[arg(long, value_name = "CPU", default_value_t = 0)]
    pin: usize,
    /// For how long.
    #[arg(long, value_name = "S", default_value = "10", value_parser = args::seconds)]
    seconds: Duration,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = system::pin(Some(args.pin)) {
        say(&format!("error: {error}"));
        return ExitCode::FAILURE;
    }
    let beginning = Time::now();
    while beginning.elapsed() < args.seconds {}
    ExitCode::SUCCESS
}
