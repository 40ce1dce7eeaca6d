//! One run: who is started when, and what is asked at which moment.

use std::{sync::Arc, time::Duration};

use discord_voice::Driver;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

use crate::{
    args::{Args, Mode, Play},
    calls::{self, Opened, Opening, driver},
    error::Error,
    listening::{Ears, Heard},
    measuring::{Spread, Usage, resident_kib, rounded, threads},
    media::{EncodeThreads, Lateness, MediaThreads},
    peers::{Peers, Plan},
    report::{Cost, Joined, Listened, Memory, Report, Sent},
    say,
    server::OwnServer,
    sources::Sources,
    system::{Pins, pin, raise_descriptor_limit},
    target::Target,
};

/// Runs what was asked for.
pub(crate) fn run(args: Args) -> Result<Report, Error> {
    raise_descriptor_limit();
    let pins = Pins::new(args.pins);
    // Processes inherit the processor from the thread that starts them.
    pin(pins.server)?;
    let (server, target) = match Target::named(&args.target) {
        Some(target) => (None, target),
        None => {
            let (server, target) = OwnServer::start(&args.server, args.dave())?;
            (Some(server), target)
        }
    };
    let peers = join_peers(&args, &target)?;
    pin(pins.client)?;
    let runtime = runtime(args.workers)?;
    let _context = runtime.enter();
    let driver = driver(&target, args.dave(), (args.media_threads, args.send_backend, args.nice, args.real_time))?;
    let sources = match args.mode {
        Mode::Passthrough => Some(Sources::passthrough()?),
        Mode::Encode => Some(Sources::encode(args.bitrate)?),
        Mode::Receive | Mode::Idle => None,
    };
    Run { args, pins, server, target, peers, runtime: &runtime, driver, sources, ears: Arc::default() }.measured()
}

fn join_peers(args: &Args, target: &Target) -> Result<Option<Peers>, Error> {
    let (rooms, members) = (args.calls, args.peers());
    if members == 0 {
        return Ok(None);
    }
    say(&format!("{} others join", rooms * members));
    let plan = Plan { target: target.clone(), rooms, members, dave: args.dave(), timeout: args.timeout };
    Peers::join(&plan).map(Some)
}

struct Run<'a> {
    args: Args,
    pins: Pins,
    server: Option<OwnServer>,
    target: Target,
    peers: Option<Peers>,
    runtime: &'a Runtime,
    driver: Driver,
    sources: Option<Sources>,
    ears: Arc<Ears>,
}

/// What was measured while calls did what they are there for.
struct Window {
    cost: Cost,
    sent: Sent,
    heard: Option<Listened>,
    server: Option<Box<serde_json::value::RawValue>>,
    elapsed: Duration,
    keyless: usize,
    lateness: Option<Lateness>,
    threads: MediaThreads,
    encode: Option<EncodeThreads>,
}

impl Run<'_> {
    fn measured(mut self) -> Result<Report, Error> {
        let play = self.args.play();
        let start_kib = resident_kib();
        let before = Usage::now();
        let mut opened = self.open(play);
        let join_cpu = Usage::now().cpu.saturating_sub(before.cpu);
        let count = opened.calls.len();
        if count == 0 {
            opened.all()?;
            unreachable!("there is at least one call, or a failure");
        }
        say(&format!("{count} calls in {:.3} s", opened.took.as_secs_f64()));
        let is_silent = play == Play::Together || self.sources.is_none();
        let connected_kib = if is_silent { resident_kib() } else { None };
        self.begin(&mut opened, play)?;
        self.wait(self.args.warm_up);
        let window = self.window(&opened)?;
        let memory = Memory::new(start_kib, connected_kib, resident_kib(), count);
        let report = Report {
            mode: self.args.mode,
            calls: self.args.calls,
            seconds: rounded(window.elapsed.as_secs_f64(), 6),
            dave: self.args.dave(),
            tls: self.target.is_tls(),
            speakers: if self.args.mode == Mode::Receive { self.args.speakers } else { 0 },
            frame_bytes: self.sources.as_ref().and_then(Sources::frame_bytes).map(|bytes| rounded(bytes, 1)),
            join: self.args.join,
            play,
            workers: self.args.workers,
            media_threads: self.args.media_threads,
            pins: [self.pins.client, self.pins.server],
            joined: joined(&opened, play, join_cpu, window.keyless),
            memory,
            cost: window.cost,
            sent: window.sent,
            lateness_us: window.lateness,
            media: window.threads,
            encode: window.encode,
            underruns: opened.calls.iter().filter_map(calls::Call::underruns).sum(),
            calls_ended: opened.calls.iter().filter(|call| call.client.is_ended()).count(),
            heard: window.heard,
            server: window.server,
        };
        self.stop(opened);
        Ok(report)
    }

    fn open(&self, play: Play) -> Opened {
        let Args { calls, join, timeout, .. } = self.args;
        let sources = self.sources.clone().filter(|_| play == Play::AtConnect);
        let infos = (0..calls).map(|room| self.target.identity(room, 0));
        self.runtime.block_on(Opening { join, timeout, sources }.open(&self.driver, infos))
    }

    /// Lets the calls do what they are there for, as far as they do not yet.
    fn begin(&mut self, opened: &mut Opened, play: Play) -> Result<(), Error> {
        if let (Some(sources), Play::Together) = (&self.sources, play) {
            opened.calls.iter_mut().for_each(|call| call.play(sources));
        }
        if self.args.mode == Mode::Receive {
            opened.calls.iter().for_each(|call| self.ears.listen(&call.client, self.args.speakers));
            self.peers.as_mut().map_or(Ok(()), Peers::play)?;
        }
        Ok(())
    }

    fn window(&mut self, opened: &Opened) -> Result<Window, Error> {
        let calls = &opened.calls;
        say(&format!("measuring for {:?}", self.args.seconds));
        let keyless = calls.iter().filter(|call| call.client.e2ee().awaits_key()).count();
        let figures_before = self.runtime.block_on(calls::figures(calls));
        // Asking took time on the processor that is measured.
        self.wait(SETTLE);
        if let Some(server) = &mut self.server {
            server.begin()?;
        }
        let (heard, metrics, before) = (self.ears.heard(), self.driver.metrics(), Usage::now());
        self.wait(self.args.seconds);
        let (after, later, heard) = (Usage::now(), self.driver.metrics(), self.ears.heard().since(heard));
        let server = self.server.as_mut().map(OwnServer::end).transpose()?;
        let figures = self.runtime.block_on(calls::figures(calls));
        let elapsed = after.at - before.at;
        Ok(Window {
            cost: Cost::between(&before, &after, calls.len(), threads()),
            sent: Sent::between(&figures_before, &figures, self.args.mode),
            heard: self.listened(heard, calls.len(), elapsed, &figures),
            server,
            elapsed,
            keyless,
            lateness: Lateness::between(&metrics.lateness(), &later.lateness()),
            threads: MediaThreads::between(&metrics, &later),
            encode: (self.args.mode == Mode::Encode).then(|| EncodeThreads::between(&metrics, &later)),
        })
    }

    fn listened(&self, heard: Heard, calls: usize, elapsed: Duration, figures: &[calls::Figures]) -> Option<Listened> {
        let streams = calls as u64 * u64::from(self.args.speakers);
        (self.args.mode == Mode::Receive).then(|| Listened::new(heard, streams, elapsed, figures))
    }

    fn wait(&self, time: Duration) {
        self.runtime.block_on(sleep(time));
    }

    fn stop(self, opened: Opened) {
        say("leaving");
        let left = async { tokio::time::timeout(LEAVE_LIMIT, calls::leave(opened.calls)).await };
        // Who has not left by now is gone with this process.
        let _ = self.runtime.block_on(left);
        if let Some(peers) = self.peers {
            peers.stop();
        }
        if let Some(server) = self.server {
            server.stop();
        }
    }
}

fn joined(opened: &Opened, play: Play, cpu: Duration, keyless: usize) -> Joined {
    let calls = &opened.calls;
    let first_packets = calls.iter().filter_map(calls::Call::first_packet_time);
    Joined {
        connect_ms: Spread::of(calls.iter().map(calls::Call::connect_time)),
        first_rtp_ms: if play == Play::AtConnect { Spread::of(first_packets) } else { None },
        join_all_s: rounded(opened.took.as_secs_f64(), 6),
        join_cpu_s: rounded(cpu.as_secs_f64(), 6),
        connect_failures: opened.failures,
        keyless,
    }
}

/// The runtime in which calls join.
pub(crate) fn runtime(workers: u16) -> Result<Runtime, Error> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers.into()).enable_all().build().map_err(|source| Error::Threads { source })
}

/// How long the calls run undisturbed before they are measured.
const SETTLE: Duration = Duration::from_millis(200);

/// How long leaving all calls may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);
