//! What sending costs at least: one thread, an absolute clock, connected sockets, one call of `send` a packet.
#![forbid(unsafe_code)]

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use voice_peers::{
    Error,
    args::{LoadArgs, PinArgs, ServerArgs},
    clock::{self, Time},
    report::{Report, per_call},
    server::{Options, Server},
    system::{self, Status},
};

/// Sends datagrams of the size of voice packets every 20 ms, one per call, and prints what that costs.
#[derive(Debug, Parser)]
#[command(name = "floor-send")]
struct Args {
    #[command(flatten)]
    load: LoadArgs,
    /// Into how many parts of 20 ms the calls are spread: with 10, as the library has it, a part of them is sent every 2 ms, with 1 all
    /// of them at once.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=20))]
    slots: u32,
    /// Bytes of a datagram [default: a frame of 160 bytes with end-to-end and transport encryption].
    #[arg(long, value_name = "N", default_value_t = DATAGRAM, value_parser = clap::value_parser!(u16).range(12..=1_472))]
    bytes: u16,
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    server: ServerArgs,
}

fn main() -> ExitCode {
    voice_peers::finish(run(&Args::parse()))
}

fn run(args: &Args) -> Result<Report, Error> {
    let LoadArgs { calls, seconds, warm_up } = args.load;
    system::allow_files(u64::from(calls) + SPARE_FILES)?;
    let mut server = Server::start(&Options::new(&args.server, &args.pins))?;
    let before = Status::now()?;
    let mut floor = Floor::new(args, server.media()?)?;

    clock::wake_exactly();
    let mut tick = floor.run(Time::now().plus(LEAD), warm_up)?;
    server.begin()?;
    // The server may have taken its time; what was due meanwhile was not asked for.
    tick = if tick.elapsed().is_zero() { tick } else { Time::now().plus(LEAD) };
    let (cpu, sent) = (system::cpu_time(), floor.sent);
    let beginning = Time::now();
    floor.run(tick, seconds)?;
    let (measured, cpu) = (beginning.elapsed(), system::cpu_time() - cpu);
    let after = Status::now()?;
    let arrived = server.end()?;

    let mut report = Report {
        program: "floor-send",
        mode: "passthrough",
        calls,
        rss_start_kib: Some(before.rss_kib),
        rss_playing_kib: Some(after.rss_kib),
        kib_per_playing_call: Some(per_call(before.rss_kib, after.rss_kib, calls)),
        threads: after.threads,
        packets_expected: Some(floor.sent - sent),
        server: arrived,
        ..Report::default()
    };
    report.set_cpu(cpu, calls, measured);
    report.own.insert("slots".to_owned(), args.slots.into());
    report.own.insert("bytes".to_owned(), args.bytes.into());
    report.own.insert("refused".to_owned(), floor.refused.into());
    report.own.insert("late_ticks".to_owned(), floor.late.into());
    Ok(report)
}

/// All calls.
struct Floor {
    /// The calls of each part of 20 ms.
    slots: Vec<Vec<Call>>,
    bytes: usize,
    sent: u64,
    /// Packets that the system did not take.
    refused: u64,
    /// Times that not all was sent when the next 20 ms began.
    late: u64,
}

/// A socket, and the header of the next packet.
struct Call {
    socket: UdpSocket,
    header: [u8; 12],
    sequence: u16,
    timestamp: u32,
}

impl Floor {
    fn new(args: &Args, to: SocketAddr) -> Result<Self, Error> {
        let mut slots: Vec<Vec<Call>> = (0..args.slots).map(|_| Vec::new()).collect();
        for (call, slot) in (0..args.load.calls).zip((0..slots.len()).cycle()) {
            slots[slot].push(Call::new(call, to).map_err(|source| Error::Socket { source })?);
        }
        Ok(Self { slots, bytes: usize::from(args.bytes), sent: 0, refused: 0, late: 0 })
    }

    /// Sends from `tick` on for as long as given, and returns when the next packets are due.
    fn run(&mut self, tick: Time, seconds: Duration) -> Result<Time, Error> {
        let part = TICK / self.slots.len() as u32;
        let mut tick = tick;
        let mut datagram = [0xA5; 1_472];
        for _ in 0..seconds.as_millis() / TICK.as_millis() {
            let mut due = tick;
            for calls in &mut self.slots {
                if !calls.is_empty() {
                    due.wait();
                    for call in &mut *calls {
                        if !call.send(&mut datagram[..self.bytes]).map_err(|source| Error::Socket { source })? {
                            self.refused += 1;
                        }
                    }
                    self.sent += calls.len() as u64;
                }
                due = due.plus(part);
            }
            // Looked at once a tick, so that it costs nothing.
            self.late += u64::from(!due.elapsed().is_zero());
            tick = due;
        }
        Ok(tick)
    }
}

impl Call {
    fn new(call: u32, to: SocketAddr) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        let mut header = [0; 12];
        header[..2].copy_from_slice(&RTP_OPUS);
        header[8..].copy_from_slice(&call.to_be_bytes());
        Ok(Self { socket, header, sequence: 0, timestamp: 0 })
    }

    /// Sends the next packet; `false` when the system has no room for it.
    fn send(&mut self, datagram: &mut [u8]) -> std::io::Result<bool> {
        self.header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(SAMPLES);
        datagram[..12].copy_from_slice(&self.header);
        match self.socket.send(datagram) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The time between two packets of a call.
const TICK: Duration = Duration::from_millis(20);

/// Samples in it, at 48 kHz.
const SAMPLES: u32 = 960;

/// From building up everything to the first packet.
const LEAD: Duration = Duration::from_millis(20);

/// RFC 3550, section 5.1: version 2, nothing else; payload type 120.
const RTP_OPUS: [u8; 2] = [0x80, 0x78];

/// RTP header, 160 bytes of Opus, trailer of DAVE (tag 8, nonce 1 to 2, length 1, marker 2), tag and counter of the
/// transport.
const DATAGRAM: u16 = 12 + 160 + 13 + 16 + 4;

/// Files beside the sockets.
const SPARE_FILES: u64 = 64;
