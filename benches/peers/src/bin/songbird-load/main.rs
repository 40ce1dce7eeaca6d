//! The load of `load`, with songbird.
#![forbid(unsafe_code)]

mod calls;
mod media;
mod probe;

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{self, Command, ExitCode},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use tokio::runtime::Runtime;
use voice_peers::{
    Error, args,
    args::{LoadArgs, PinArgs, ServerArgs},
    clock::Time,
    report::{Percentiles, Report, per_call},
    server::{Options, Server},
    system::{self, Status},
};

use crate::{calls::Calls, media::Media};

/// Opens calls on a voice server with songbird's driver and prints what they cost.
#[derive(Debug, Parser)]
#[command(name = "songbird-load")]
struct Args {
    #[command(flatten)]
    load: LoadArgs,
    /// What the calls do.
    #[arg(long, value_enum, default_value_t = Mode::Passthrough)]
    mode: Mode,
    /// Bits per second, with `--mode encode`. (songbird does not let its users choose the complexity.)
    #[arg(long, value_name = "B", default_value_t = 64_000, value_parser = clap::value_parser!(i32).range(6_000..=510_000))]
    bitrate: i32,
    /// How many join at a time.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    joining: u32,
    /// How long all joins together may take.
    #[arg(long, value_name = "S", default_value = "120", value_parser = args::seconds)]
    timeout: Duration,
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// Where the server is to write its certificate, which SSL_CERT_FILE names as well.
    #[arg(long, value_name = "PATH", hide = true)]
    certificate: Option<PathBuf>,
}

/// What the calls do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// They send Opus frames as they are.
    Passthrough,
    /// They encode what they send.
    Encode,
    /// They are connected.
    Idle,
    /// They join one by one and play to a listener, which times the first packet and checks that frames arrive as
    /// they were.
    Probe,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Encode => "encode",
            Self::Idle => "idle",
            Self::Probe => "probe",
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let Some(certificate) = &args.certificate else { return voice_peers::finish(Err(restart())) };
    let ran = run(&args, Options::new(&args.server, &args.pins).with_tls(certificate));
    // A file that the server did not write is none that is left behind.
    let _ = std::fs::remove_file(certificate);
    voice_peers::finish(ran)
}

/// Starts this program again, as the same process, with a certificate file in its environment: to change the
/// environment of a running one is not safe. Returns only if that fails.
fn restart() -> Error {
    let certificate = env::temp_dir().join(format!("voice-peers-{}.pem", process::id()));
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(source) => return Error::Restart { source },
    };
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).arg("--certificate").arg(&certificate);
    Error::Restart { source: command.env("SSL_CERT_FILE", &certificate).exec() }
}

fn run(args: &Args, options: Options) -> Result<Report, Error> {
    let LoadArgs { calls, seconds, warm_up } = args.load;
    // For each a WebSocket, a media socket and its copy.
    system::allow_files(3 * u64::from(calls) + SPARE_FILES)?;
    let mut server = Server::start(&options)?;
    // A worker for each processor that may be used, as tokio has it for everybody.
    let runtime = Runtime::new().map_err(|source| Error::Socket { source })?;
    if args.mode == Mode::Probe {
        return runtime.block_on(probe::run(args, &server));
    }
    let media = Media::new(args.mode)?;
    let before = Status::now()?;
    runtime.block_on(async {
        let joining = Time::now();
        let (mut playing, connect) = Calls::join(args, &server).await?;
        let join_all = joining.elapsed();
        tokio::time::sleep(SETTLED).await;
        let connected = Status::now()?;
        playing.play(&media).await;
        tokio::time::sleep(warm_up).await;

        server.begin()?;
        let (cpu, beginning) = (system::cpu_time(), Time::now());
        tokio::time::sleep(seconds).await;
        let (measured, cpu) = (beginning.elapsed(), system::cpu_time() - cpu);
        let after = Status::now()?;
        let arrived = server.end()?;

        let sends = args.mode != Mode::Idle;
        let mut report = Report {
            program: "songbird-load",
            mode: args.mode.name(),
            calls,
            connect_ms: Percentiles::of_ms(connect),
            join_all_s: Some(join_all.as_secs_f64()),
            rss_start_kib: Some(before.rss_kib),
            rss_connected_kib: Some(connected.rss_kib),
            rss_playing_kib: sends.then_some(after.rss_kib),
            kib_per_idle_call: Some(per_call(before.rss_kib, connected.rss_kib, calls)),
            kib_per_playing_call: sends.then(|| per_call(before.rss_kib, after.rss_kib, calls)),
            threads: after.threads,
            packets_expected: sends.then(|| (measured.as_secs_f64() * 50.0 * f64::from(calls)).round() as u64),
            server: arrived,
            ..Report::default()
        };
        report.set_cpu(cpu, calls, measured);
        playing.leave();
        Ok(report)
    })
}

/// Files beside the calls'.
const SPARE_FILES: u64 = 128;

/// After the last join, until memory is looked at.
const SETTLED: Duration = Duration::from_secs(1);
