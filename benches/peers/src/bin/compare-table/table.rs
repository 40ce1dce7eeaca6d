//! The tables.

use std::fmt::Write as _;

use voice_peers::audio::FRAMES_PER_SECOND;

use crate::runs::{Group, Runs, median};

/// A table for each kind of load.
pub(crate) fn render(runs: &Runs) -> String {
    let mut out = String::new();
    for (mode, calls) in runs.loads() {
        let rounds = runs.of(mode, calls).map(Group::rounds).max().unwrap_or(0);
        let seconds = runs.of(mode, calls).map(Group::seconds).fold(0.0, f64::max);
        let _ = writeln!(out, "### {mode}, {calls} calls ({rounds} rounds of {seconds:.0} s)\n");
        for row in [HEAD, &[RULE; HEAD.len()]] {
            line(&mut out, row.iter().map(|&cell| cell.to_owned()));
        }
        let floor = floor(runs, mode, calls);
        let peer = runs.get(PEER, mode, calls).map(Group::cpu).unwrap_or_default();
        for group in runs.of(mode, calls) {
            line(&mut out, cells(group, &floor, &peer));
        }
        if mode == ENCODE && !floor.is_empty() {
            let mut row = vec![format!("{FLOOR_ENCODE} + {FLOOR}"), figure(median(floor.clone()), 3)];
            row.resize(HEAD.len(), String::new());
            line(&mut out, row);
        }
        out.push('\n');
    }
    out
}

/// Processor time of the floor under a load, in each round.
fn floor(runs: &Runs, mode: &str, calls: u64) -> Vec<f64> {
    let sending = runs.get(FLOOR, PASSTHROUGH, calls).map(Group::cpu).unwrap_or_default();
    match mode {
        PASSTHROUGH => sending,
        ENCODE => {
            // Where nobody sent as many, sending costs what it costs others.
            let any = runs.loads().iter().filter_map(|&(mode, calls)| runs.get(FLOOR, mode, calls)).next();
            let sending = if sending.is_empty() { any.map(Group::cpu).unwrap_or_default() } else { sending };
            let Some(sending) = median(sending) else { return Vec::new() };
            let encoding = runs.get(FLOOR_ENCODE, mode, calls).map(Group::cpu).unwrap_or_default();
            encoding.into_iter().map(|encoding| encoding + sending).collect()
        }
        _ => Vec::new(),
    }
}

fn cells(group: &Group, floor: &[f64], peer: &[f64]) -> Vec<String> {
    let of = |pointer: &str| median(group.values(pointer));
    let sum = |pointer: &str| {
        let values = group.values(pointer);
        (!values.is_empty()).then(|| values.iter().sum())
    };
    let worst = |pointer: &str| group.values(pointer).into_iter().reduce(f64::max);
    vec![
        group.label.clone(),
        figure(median(group.cpu()), 3),
        figure(ratio(&group.cpu(), floor), 2),
        figure(ratio(&group.cpu(), peer), 2),
        figure(of("/server/deviation_us/p50"), 0),
        figure(of("/server/deviation_us/p99"), 0),
        figure(of("/server/deviation_us/p99_9"), 0),
        figure(worst("/server/deviation_us/max"), 0),
        figure(arrived(group), 2),
        figure(sum("/server/lost"), 0),
        figure(sum("/server/skipped"), 0),
        figure(sum("/server/out_of_order"), 0),
        figure(sum("/server/unauthentic"), 0),
        figure(of("/kib_per_idle_call"), 0),
        figure(of("/kib_per_playing_call"), 0),
        figure(of("/connect_ms/p50"), 1),
        figure(of("/join_all_s"), 2),
    ]
}

/// How much arrived of 50 packets a second from each call, in percent; less when calls ended or skipped.
fn arrived(group: &Group) -> Option<f64> {
    let (packets, seconds) = (group.values("/server/packets"), group.values("/server/measured_s"));
    let expected = seconds.iter().sum::<f64>() * group.calls as f64 * f64::from(FRAMES_PER_SECOND);
    let packets: f64 = packets.iter().sum();
    (packets > 0.0 && expected > 0.0).then(|| packets / expected * 100.0)
}

/// The median of the ratios of the rounds: what disturbed a round disturbed both.
fn ratio(values: &[f64], to: &[f64]) -> Option<f64> {
    median(values.iter().zip(to).filter(|(_, to)| **to > 0.0).map(|(value, to)| value / to).collect())
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

fn line(out: &mut String, cells: impl IntoIterator<Item = String>) {
    for cell in cells {
        let _ = write!(out, "| {cell} ");
    }
    out.push_str("|\n");
}

const HEAD: &[&str] = &[
    "",
    "CPU, ms per call and s",
    "× floor",
    "× songbird",
    "deviation p50, µs",
    "p99",
    "p99.9",
    "worst",
    "arrived, %",
    "lost",
    "skipped",
    "out of order",
    "unauthentic",
    "KiB per idle call",
    "playing",
    "connect p50, ms",
    "join all, s",
];
const RULE: &str = "---";

/// What the script calls the programs.
const PEER: &str = "songbird";
const FLOOR: &str = "floor-send";
const FLOOR_ENCODE: &str = "floor-encode";

/// Modes, as the programs call them.
const PASSTHROUGH: &str = "passthrough";
const ENCODE: &str = "encode";

#[cfg(test)]
mod tests {
    use super::*;

    fn run(label: &str, mode: &str, cpu: f64) -> String {
        format!(
            "{label}\t{{\"mode\":\"{mode}\",\"calls\":500,\"seconds\":20,\"client_cpu_ms_per_call_s\":{cpu},\
             \"server\":{{\"packets\":487500,\"measured_s\":20,\"lost\":1,\"deviation_us\":{{\"max\":{cpu}}}}}}}\n"
        )
    }

    #[test]
    fn ratios_are_those_of_rounds() {
        let mut text = String::new();
        for (floor, ours, peer) in [(0.2, 0.3, 0.9), (0.4, 0.4, 0.8), (0.1, 0.2, 0.6)] {
            text += &run(FLOOR, PASSTHROUGH, floor);
            text += &run("ours", PASSTHROUGH, ours);
            text += &run(PEER, PASSTHROUGH, peer);
        }
        let table = render(&Runs::parse(&text).expect("runs"));
        let row = table.lines().find(|line| line.starts_with("| ours")).expect("a row");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[1..5], ["ours", "0.300", "1.50", "0.33"]);
        assert_eq!(
            (cells[8], cells[9], cells[10], cells[11]),
            ("0", "97.50", "3", ""),
            "the worst, a sum, and what nobody told"
        );
        assert_eq!(cells.len(), HEAD.len() + 2);
    }

    #[test]
    fn encoding_stands_on_two_floors() {
        let text = [run(FLOOR, PASSTHROUGH, 0.25), run(FLOOR_ENCODE, ENCODE, 4.75), run("ours", ENCODE, 5.5)].concat();
        let table = render(&Runs::parse(&text).expect("runs"));
        assert!(table.contains("| ours | 5.500 | 1.10 |"), "{table}");
        assert!(table.contains("| floor-encode + floor-send | 5.000 |"), "{table}");
    }
}
