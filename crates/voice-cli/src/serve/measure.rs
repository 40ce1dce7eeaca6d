//! `serve --measure`: words on the standard input, measurements on the standard output.

use std::{
    io::{self, BufRead as _},
    thread,
    time::Duration,
};

use serde::Serialize;
use tokio::sync::mpsc;
use voice_server::{MeasureError, MeasureLimits, Measurement, Server, Spread};

use crate::{process, terminal};

/// Measures as the standard input says, for ever.
pub(super) async fn run(server: &Server) {
    let mut words = words();
    let mut cpu = None;
    while let Some(word) = words.recv().await {
        let answer = match word {
            Word::Begin => {
                server.measure_begin(MeasureLimits::default()).await.map(|()| Answer::Begun { measuring: true })
            }
            Word::End => {
                let used = process::cpu_time().zip(cpu).map(|(now, then)| now.saturating_sub(then));
                server.measure_end().await.map(|measurement| Answer::Ended(Box::new(Line::new(&measurement, used))))
            }
            Word::Unknown => Ok(Answer::error("the words are begin and end")),
        };
        if word == Word::Begin {
            cpu = process::cpu_time();
        }
        let answer = answer.unwrap_or_else(|error: MeasureError| Answer::error(error));
        terminal::print(serde_json::to_string(&answer).expect("numbers are JSON"));
    }
    // Whoever gives no more words wants the server all the same.
    std::future::pending().await
}

/// What a line of the standard input says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Begin,
    End,
    Unknown,
}

/// Reads the standard input in a thread that nobody waits for: nothing else can be done about a read that blocks.
fn words() -> mpsc::Receiver<Word> {
    let (sender, words) = mpsc::channel(WAITING_WORDS);
    let read = move || {
        for line in io::stdin().lock().lines() {
            let word = match line.as_deref().map(str::trim) {
                Ok("") => continue,
                Ok("begin") => Word::Begin,
                Ok("end") => Word::End,
                Ok(_) => Word::Unknown,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Word::Unknown,
                Err(_) => return,
            };
            if sender.blocking_send(word).is_err() {
                return;
            }
        }
    };
    // Without a thread no word ever comes.
    drop(thread::Builder::new().name("stdin".to_owned()).spawn(read));
    words
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Begun { measuring: bool },
    Ended(Box<Line>),
    Error { error: String },
}

impl Answer {
    fn error(error: impl ToString) -> Self {
        Self::Error { error: error.to_string() }
    }
}

/// A measurement as programs read it.
#[derive(Serialize)]
struct Line {
    measured_s: f64,
    streams: u64,
    packets: u64,
    lost: u64,
    gaps: u64,
    skipped: u64,
    out_of_order: u64,
    duplicates: u64,
    unauthentic: u64,
    malformed: u64,
    unknown: u64,
    refused: u64,
    not_sent: u64,
    deviation_us: Micros,
    jitter_us: Micros,
    kernel_timestamps: bool,
    receive_overflow: u64,
    unsampled: u64,
    untracked: u64,
    closes: u64,
    sessions: u64,
    /// Processor time, user and system, of the whole process.
    cpu_s: Option<f64>,
}

impl Line {
    fn new(measurement: &Measurement, cpu: Option<Duration>) -> Self {
        Self {
            measured_s: measurement.measured.as_secs_f64(),
            streams: measurement.streams,
            packets: measurement.packets,
            lost: measurement.lost,
            gaps: measurement.gaps,
            skipped: measurement.skipped,
            out_of_order: measurement.out_of_order,
            duplicates: measurement.duplicates,
            unauthentic: measurement.unauthentic,
            malformed: measurement.malformed,
            unknown: measurement.unknown,
            refused: measurement.refused,
            not_sent: measurement.not_sent,
            deviation_us: Micros::new(measurement.deviation),
            jitter_us: Micros::new(measurement.jitter),
            kernel_timestamps: measurement.kernel_timestamps,
            receive_overflow: measurement.receive_overflow,
            unsampled: measurement.unsampled,
            untracked: measurement.untracked,
            closes: measurement.closes,
            sessions: measurement.sessions,
            cpu_s: cpu.map(|cpu| cpu.as_secs_f64()),
        }
    }
}

/// A spread in microseconds.
#[derive(Serialize)]
struct Micros {
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Micros {
    fn new(spread: Spread) -> Self {
        // Whole nanoseconds: a division of these is exact to the last digit that is written.
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        Self {
            p50: micros(spread.p50),
            p90: micros(spread.p90),
            p99: micros(spread.p99),
            p99_9: micros(spread.p99_9),
            max: micros(spread.max),
        }
    }
}

/// Words that wait for their turn; more are not read yet.
const WAITING_WORDS: usize = 16;
