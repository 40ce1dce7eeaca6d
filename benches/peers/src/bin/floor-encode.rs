//! What encoding costs at least: the bare encoder, on what the calls of `load` encode, with their settings.
#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use opus_pure::{Application, OpusEncoder, RateControl};
use serde_json::Value;
use voice_peers::{
    Error,
    args::{LoadArgs, PinArgs},
    audio::{self, FRAME_LEN, FRAMES_PER_SECOND},
    clock::{self, Time},
    report::{Report, per_call, round},
    system::{self, Status},
};

/// Encodes so many seconds of audio for each call, one frame of each in turn, and prints what that costs.
#[derive(Debug, Parser)]
#[command(name = "floor-encode")]
struct Args {
    #[command(flatten)]
    load: LoadArgs,
    /// Encode a frame of each call every 20 ms, instead of as fast as it goes.
    #[arg(long)]
    paced: bool,
    /// Bits per second.
    #[arg(long, value_name = "B", default_value_t = 64_000, value_parser = clap::value_parser!(i32).range(6_000..=510_000))]
    bitrate: i32,
    /// How much work to spend, 0 to 10.
    #[arg(long, value_name = "C", default_value_t = 10, value_parser = clap::value_parser!(i32).range(0..=10))]
    complexity: i32,
    #[command(flatten)]
    pins: PinArgs,
}

fn main() -> ExitCode {
    voice_peers::finish(run(&Args::parse()))
}

fn run(args: &Args) -> Result<Report, Error> {
    let LoadArgs { calls, seconds, warm_up } = args.load;
    system::pin(args.pins.client())?;
    let pcm = audio::recording()?;
    let before = Status::now()?;
    let mut encoders =
        (0..calls).map(|call| Call::new(call, pcm.len() / FRAME_LEN, args)).collect::<Result<Vec<_>, _>>()?;

    clock::wake_exactly();
    encode(&mut encoders, &pcm, warm_up, args.paced)?;
    let (cpu, beginning) = (system::cpu_time(), Time::now());
    let bytes = encode(&mut encoders, &pcm, seconds, args.paced)?;
    let (took, cpu) = (beginning.elapsed(), system::cpu_time() - cpu);
    let after = Status::now()?;

    let mut report = Report {
        program: "floor-encode",
        mode: "encode",
        calls,
        rss_start_kib: Some(before.rss_kib),
        rss_playing_kib: Some(after.rss_kib),
        kib_per_playing_call: Some(per_call(before.rss_kib, after.rss_kib, calls)),
        threads: after.threads,
        packets_expected: Some(u64::from(calls) * ticks(seconds)),
        ..Report::default()
    };
    // Of the audio, however long it took.
    report.set_cpu(cpu, calls, seconds);
    let frames = (u64::from(calls) * ticks(seconds)).max(1) as f64;
    let own: [(&str, Value); 6] = [
        ("paced", args.paced.into()),
        ("took_s", round(took.as_secs_f64(), 3).into()),
        ("bitrate", args.bitrate.into()),
        ("complexity", args.complexity.into()),
        ("us_per_frame", round(cpu.as_secs_f64() * 1e6 / frames, 2).into()),
        ("bytes_per_frame", round(bytes as f64 / frames, 1).into()),
    ];
    report.own.extend(own.map(|(key, value)| (key.to_owned(), value)));
    Ok(report)
}

/// Encodes so much audio of each call, and returns the bytes that were made.
fn encode(calls: &mut [Call], pcm: &[f32], seconds: Duration, paced: bool) -> Result<u64, Error> {
    let mut bytes = 0;
    let mut tick = Time::now();
    for _ in 0..ticks(seconds) {
        if paced {
            tick.wait();
            tick = tick.plus(TICK);
        }
        for call in &mut *calls {
            bytes += call.encode(pcm)? as u64;
        }
    }
    Ok(bytes)
}

/// An encoder, and where in the recording it is.
struct Call {
    encoder: Box<OpusEncoder>,
    frame: usize,
}

impl Call {
    fn new(call: u32, frames: usize, args: &Args) -> Result<Self, Error> {
        let encoder = OpusEncoder::new(48_000, 2, Application::Audio);
        let mut encoder = encoder.map_err(|error| Error::Codec { source: error.to_string().into() })?;
        encoder.bitrate_bps = args.bitrate;
        encoder.complexity = args.complexity;
        encoder.rate_control = RateControl::ConstrainedVbr;
        Ok(Self { encoder: Box::new(encoder), frame: audio::offset(call, frames) })
    }

    fn encode(&mut self, pcm: &[f32]) -> Result<usize, Error> {
        let frames = pcm.len() / FRAME_LEN;
        let samples = pcm.chunks_exact(FRAME_LEN).nth(self.frame % frames).unwrap_or_default();
        self.frame = (self.frame + 1) % frames;
        let mut out = [0; MAX_FRAME];
        let encoded = self.encoder.encode(samples, FRAME_LEN / 2, &mut out);
        encoded.map_err(|error| Error::Codec { source: error.to_string().into() })
    }
}

fn ticks(seconds: Duration) -> u64 {
    (seconds.as_secs_f64() * f64::from(FRAMES_PER_SECOND)) as u64
}

/// The time that a frame lasts.
const TICK: Duration = Duration::from_millis(20);

/// RFC 6716, section 3.2.1, and the first byte.
const MAX_FRAME: usize = 1_276;
