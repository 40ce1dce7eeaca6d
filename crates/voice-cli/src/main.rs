#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod args;
mod bot;
mod comparison;
mod ear;
mod embedded;
mod error;
mod play;
mod process;
mod record;
mod recorder;
mod serve;
mod summary;
mod target;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Play(args) => play::run(args).await,
        Command::Record(args) => record::run(args).await,
        Command::Serve(args) => serve::run(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
