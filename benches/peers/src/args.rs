//! What all programs of this workspace are told.

use std::{path::PathBuf, time::Duration};

use clap::Args;

/// How much load, and for how long.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// Calls at a time.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub calls: u32,
    /// For how long to measure.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
    /// How long everything runs before it is measured.
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    pub warm_up: Duration,
}

/// Which processors are used.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Processors")]
pub struct PinArgs {
    /// The processor of what is measured.
    #[arg(long, value_name = "CPU", default_value_t = 0)]
    pin_client: usize,
    /// The processor of the server.
    #[arg(long, value_name = "CPU", default_value_t = 1)]
    pin_server: usize,
    /// Leave it to the system.
    #[arg(long, conflicts_with_all = ["pin_client", "pin_server"])]
    no_pin: bool,
}

impl PinArgs {
    /// The processor of what is measured, unless the system is to choose.
    #[must_use]
    pub fn client(&self) -> Option<usize> {
        (!self.no_pin).then_some(self.pin_client)
    }

    /// The processor of the server, unless the system is to choose.
    #[must_use]
    pub fn server(&self) -> Option<usize> {
        (!self.no_pin).then_some(self.pin_server)
    }
}

/// The server that is started.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// The program to start as `PATH serve ..`.
    #[arg(long, value_name = "PATH", default_value = SERVER)]
    pub server_binary: PathBuf,
    /// Do not ask the server what arrived.
    #[arg(long)]
    pub unmeasured: bool,
}

/// A number of seconds, a day at most.
///
/// # Errors
///
/// A text for who typed something else.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give a number of seconds, a day at most".to_owned())
}

/// Where the main workspace puts the server.
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/discord-voice");

/// A day.
const MAX_SECONDS: f64 = 86_400.0;
