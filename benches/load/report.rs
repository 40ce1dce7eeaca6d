//! What is printed.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    args::{Join, Mode, Play},
    calls::Figures,
    listening::Heard,
    measuring::{Spread, Usage, rounded},
    media::{EncodeThreads, Lateness, MediaThreads},
};

/// The figures of one run: one line of JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) mode: Mode,
    /// Calls that were asked for.
    pub(crate) calls: u32,
    /// For how long was measured.
    pub(crate) seconds: f64,
    pub(crate) dave: bool,
    pub(crate) tls: bool,
    pub(crate) speakers: u32,
    /// The mean length of a frame that is sent.
    pub(crate) frame_bytes: Option<f64>,
    pub(crate) join: Join,
    pub(crate) play: Play,
    pub(crate) workers: u16,
    pub(crate) media_threads: u16,
    /// The processors of the calls and of the server.
    pub(crate) pins: [Option<usize>; 2],
    #[serde(flatten)]
    pub(crate) joined: Joined,
    #[serde(flatten)]
    pub(crate) memory: Memory,
    #[serde(flatten)]
    pub(crate) cost: Cost,
    #[serde(flatten)]
    pub(crate) sent: Sent,
    /// How late packets were sent.
    pub(crate) lateness_us: Option<Lateness>,
    pub(crate) media: MediaThreads,
    /// With `--mode encode`.
    pub(crate) encode: Option<EncodeThreads>,
    /// Times silence was sent because a frame was not there yet, since the calls play.
    pub(crate) underruns: u64,
    /// Calls that are over before they were left.
    pub(crate) calls_ended: usize,
    /// With `--mode receive`.
    pub(crate) heard: Option<Listened>,
    /// What the server says, if it is our own.
    pub(crate) server: Option<Box<RawValue>>,
}

/// How joining went.
#[derive(Debug, Serialize)]
pub(crate) struct Joined {
    /// From the request, or with `--join at-once` from the first one, to a connected call.
    pub(crate) connect_ms: Option<Spread>,
    /// From the same moment to the first packet.
    pub(crate) first_rtp_ms: Option<Spread>,
    pub(crate) join_all_s: f64,
    /// Processor time meanwhile.
    pub(crate) join_cpu_s: f64,
    pub(crate) connect_failures: u64,
    /// Calls that have no key although somebody is there to hear them.
    pub(crate) keyless: usize,
}

/// Memory in use, in KiB.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss_start_kib: Option<u64>,
    pub(crate) rss_connected_kib: Option<u64>,
    pub(crate) rss_playing_kib: Option<u64>,
    kib_per_idle_call: Option<f64>,
    kib_per_playing_call: Option<f64>,
}

impl Memory {
    /// Before there were calls, when they were connected, and at the end.
    pub(crate) fn new(start: Option<u64>, connected: Option<u64>, playing: Option<u64>, calls: usize) -> Self {
        let per_call = |now: Option<u64>| Some(rounded((now? as f64 - start? as f64) / calls as f64, 1));
        Self {
            rss_start_kib: start,
            rss_connected_kib: connected,
            rss_playing_kib: playing,
            kib_per_idle_call: per_call(connected),
            kib_per_playing_call: per_call(playing),
        }
    }
}

/// What the calls cost this process.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    client_cpu_s: f64,
    client_cpu_ms_per_call_s: f64,
    threads: Option<usize>,
    voluntary_switches: Option<u64>,
    involuntary_switches: Option<u64>,
}

impl Cost {
    /// What was used between two moments.
    pub(crate) fn between(before: &Usage, after: &Usage, calls: usize, threads: Option<usize>) -> Self {
        let cpu = after.cpu.saturating_sub(before.cpu);
        let elapsed = (after.at - before.at).as_secs_f64();
        let more = |after: Option<u64>, before: Option<u64>| Some(after?.saturating_sub(before?));
        Self {
            client_cpu_s: rounded(cpu.as_secs_f64(), 6),
            client_cpu_ms_per_call_s: rounded(cpu.as_secs_f64() * 1e3 / (calls as f64 * elapsed), 5),
            threads,
            voluntary_switches: more(after.voluntary, before.voluntary),
            involuntary_switches: more(after.involuntary, before.involuntary),
        }
    }
}

/// What the calls sent.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sent {
    /// In the time that was measured, which is a little longer here.
    packets_sent: u64,
    /// 50 in each second between the moments at which a call was asked.
    packets_expected: u64,
    /// Since the calls are there, as all that follow.
    frames_held: u64,
    frames_refused: u64,
    /// Turns that came too late.
    skipped: u64,
    blocked: u64,
    socket_errors: u64,
}

impl Sent {
    /// What all calls sent between two moments.
    pub(crate) fn between(before: &[Figures], after: &[Figures], mode: Mode) -> Self {
        let mut sent = Self::default();
        let mut elapsed = Duration::ZERO;
        for (before, after) in before.iter().zip(after) {
            let (media, earlier) = (&after.stats.media, &before.stats.media);
            sent.packets_sent += media.sent.packets.saturating_sub(earlier.sent.packets);
            sent.frames_held += media.sent.frames_held;
            sent.frames_refused += media.sent.frames_refused;
            sent.skipped += media.skipped;
            sent.blocked += media.blocked;
            sent.socket_errors += media.socket_errors;
            elapsed += after.at - before.at;
        }
        if matches!(mode, Mode::Passthrough | Mode::Encode) {
            sent.packets_expected = (elapsed.as_secs_f64() * 50.0).round() as u64;
        }
        sent
    }
}

/// What the calls heard.
#[derive(Debug, Serialize)]
pub(crate) struct Listened {
    #[serde(flatten)]
    pub(crate) heard: Heard,
    /// 50 in each second from each speaker.
    expected: u64,
    /// Packets that were not authentic, since the calls are there, as all that follow.
    not_authentic: u64,
    /// Frames that could not be decrypted.
    undecrypted: u64,
    late: u64,
    duplicate: u64,
}

impl Listened {
    pub(crate) fn new(heard: Heard, streams: u64, elapsed: Duration, after: &[Figures]) -> Self {
        let mut listened = Self {
            heard,
            expected: (streams as f64 * elapsed.as_secs_f64() * 50.0).round() as u64,
            not_authentic: 0,
            undecrypted: 0,
            late: 0,
            duplicate: 0,
        };
        for received in after.iter().map(|figures| &figures.stats.media.received) {
            let e2ee = &received.e2ee;
            listened.not_authentic += received.not_authentic;
            listened.undecrypted += e2ee.not_authentic
                + e2ee.missing_key
                + e2ee.plaintext_refused
                + e2ee.replayed
                + e2ee.generation_refused;
            listened.late += received.late;
            listened.duplicate += received.duplicate;
        }
        listened
    }
}

#[cfg(test)]
mod tests {
    use crate::measuring::now;

    use super::*;

    fn usage(at: Duration, cpu: Duration, voluntary: u64) -> Usage {
        Usage { at: now() + at, cpu, voluntary: Some(voluntary), involuntary: None }
    }

    #[test]
    fn costs_are_those_of_a_call_in_a_second() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let start = now();
        let before = Usage { at: start, ..usage(s(0), ms(500), 10) };
        let after = Usage { at: start + s(10), ..usage(s(0), ms(1_500), 25) };
        let cost = Cost::between(&before, &after, 100, Some(4));
        assert_eq!((cost.client_cpu_s, cost.client_cpu_ms_per_call_s), (1.0, 1.0));
        assert_eq!((cost.voluntary_switches, cost.involuntary_switches), (Some(15), None));
    }

    #[test]
    fn memory_of_a_call_is_what_came_on_top() {
        let memory = Memory::new(Some(10_000), None, Some(16_400), 100);
        assert_eq!((memory.kib_per_idle_call, memory.kib_per_playing_call), (None, Some(64.0)));
    }

    #[test]
    fn a_packet_is_expected_every_20_ms_of_each_call() {
        let start = now();
        let at = |seconds| {
            let figures = |at| Figures { at, stats: discord_voice::CallStats::default() };
            [figures(start + Duration::from_secs(seconds)), figures(start + Duration::from_secs(seconds))]
        };
        assert_eq!(Sent::between(&at(0), &at(3), Mode::Passthrough).packets_expected, 300);
        assert_eq!(Sent::between(&at(0), &at(3), Mode::Idle), Sent::default());
    }
}
