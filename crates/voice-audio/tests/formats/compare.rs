//! How alike what was heard and what an independent decoder makes are.

use std::fmt;

use voice_audio::{CHANNELS, FRAME_SAMPLES};

use crate::play::Heard;

/// What the comparison found.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Milliseconds of the reference, and of what was heard.
    lengths: [f64; 2],
    /// What the source said before it played.
    said: Option<f64>,
    is_passthrough: bool,
    heard: Likeness,
    /// The same before the encoder, for lossless files.
    decoded: Option<Likeness>,
    wrong: Vec<&'static str>,
}

/// Of two pieces of stereo audio.
#[derive(Clone, Copy, Debug)]
struct Likeness {
    /// Samples at 48 kHz by which the first is late.
    lag: i64,
    /// Of the less alike channel.
    correlation: f64,
    /// Decibels by which each channel is too loud.
    level: [f64; CHANNELS],
}

impl Verdict {
    pub(crate) const HEADER: &str = "file                                   reference, heard (ms)    said  late   corr.    L dB   R dB  before the encoder";

    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lengths: [reference, heard], said, is_passthrough, heard: likeness, decoded, wrong } = self;
        let said = said.map_or_else(|| "-".to_owned(), |said| format!("{said:.0}"));
        let how = if *is_passthrough { "unchanged" } else { "encoded" };
        write!(f, "{how:9} {reference:8.1} {heard:8.1} {said:>9} {likeness}")?;
        if let Some(decoded) = decoded {
            write!(f, " | {decoded}")?;
        }
        if !wrong.is_empty() {
            write!(f, "  WRONG: {}", wrong.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Likeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lag, correlation, level: [left, right] } = self;
        write!(f, "{lag:5} {correlation:.5} {left:+6.2} {right:+6.2}")
    }
}

/// Holds what was heard, and the samples before the encoder where they are kept, against the reference, part by part.
pub(crate) fn compare(references: &[Vec<f32>], heard: &Heard, decoded: Option<&Vec<f32>>) -> Result<Verdict, String> {
    let reference = &references.concat();
    if references.iter().any(Vec::is_empty) {
        return Err("the independent decoder heard nothing".into());
    }
    let mut wrong = Vec::new();
    let mut require = |holds: bool, what| {
        if !holds {
            wrong.push(what);
        }
    };
    let samples = |pcm: &[f32]| pcm.len() / CHANNELS;
    let likeness = of_parts(&heard.pcm, references).ok_or("too little was heard to compare")?;
    // What is heard comes in whole frames, and the last is filled up.
    let surplus = samples(&heard.pcm) as i64 - samples(reference) as i64;
    let parts = references.len() as i64;
    require((-MAX_SHORT..=parts * FRAME_SAMPLES as i64).contains(&surplus), "length");
    require(likeness.lag.abs() <= MAX_LAG, "late");
    require(likeness.correlation >= 0.98, "correlation");
    require(likeness.level.iter().all(|level| level.abs() <= 0.2), "level");
    let decoded = match decoded {
        Some(pcm) => {
            let likeness = of_parts(pcm, references).ok_or("too little was decoded to compare")?;
            require(samples(pcm).abs_diff(samples(reference)) <= FRAME_SAMPLES, "length before the encoder");
            require(likeness.correlation >= 0.999, "correlation before the encoder");
            require(likeness.level.iter().all(|level| level.abs() <= 0.2), "level before the encoder");
            require(peak(pcm) <= peak(reference).max(1.0), "beyond full scale");
            Some(likeness)
        }
        None => None,
    };
    let milliseconds = |pcm: &[f32]| samples(pcm) as f64 / 48.0;
    Ok(Verdict {
        lengths: [milliseconds(reference), milliseconds(&heard.pcm)],
        said: heard.duration.map(|said| said.as_secs_f64() * 1_000.0),
        is_passthrough: heard.is_passthrough,
        heard: likeness,
        decoded,
        wrong,
    })
}

fn peak(pcm: &[f32]) -> f32 {
    pcm.iter().fold(0.0, |peak, value| peak.max(value.abs()))
}

/// The worst of all parts, each at its place: where frames pass unchanged, each part of a chain ends with a whole one.
fn of_parts(pcm: &[f32], references: &[Vec<f32>]) -> Option<Likeness> {
    let (mut at, mut worst) = (0, None::<Likeness>);
    for reference in references {
        let rest = pcm.get(at..)?;
        let part = likeness(rest.get(..reference.len() + SEARCH as usize).unwrap_or(rest), reference)?;
        at += reference.len();
        worst = Some(worst.map_or(part, |worst| worst.worse(part)));
    }
    worst
}

impl Likeness {
    fn worse(self, other: Self) -> Self {
        let further = |a: f64, b: f64| if a.abs() > b.abs() { a } else { b };
        let [left, right] = self.level;
        Self {
            lag: if self.lag.abs() > other.lag.abs() { self.lag } else { other.lag },
            correlation: self.correlation.min(other.correlation),
            level: [further(left, other.level[0]), further(right, other.level[1])],
        }
    }
}

/// Finds the lag at which both fit best, and how well.
fn likeness(pcm: &[f32], reference: &[f32]) -> Option<Likeness> {
    // A rough look at every 37th sample, and then a close one around it.
    let rough =
        (-SEARCH..=SEARCH).max_by(|a, b| at_lag(pcm, reference, *a, 37).total_cmp(&at_lag(pcm, reference, *b, 37)))?;
    let lag = (rough - 3..=rough + 3)
        .max_by(|a, b| at_lag(pcm, reference, *a, 1).total_cmp(&at_lag(pcm, reference, *b, 1)))?;
    let sides = [0, 1].map(|side| sums(pcm, reference, side, lag, 1));
    if sides.iter().any(|sums| sums.ours == 0.0 || sums.theirs == 0.0) {
        return None;
    }
    Some(Likeness {
        lag,
        correlation: sides.iter().map(Sums::correlation).fold(1.0, f64::min),
        level: sides.map(|sums| 10.0 * (sums.ours / sums.theirs).log10()),
    })
}

fn at_lag(pcm: &[f32], reference: &[f32], lag: i64, step: usize) -> f64 {
    sums(pcm, reference, 0, lag, step).correlation()
}

#[derive(Clone, Copy, Default)]
struct Sums {
    product: f64,
    ours: f64,
    theirs: f64,
}

impl Sums {
    fn correlation(&self) -> f64 {
        if self.ours == 0.0 || self.theirs == 0.0 { 0.0 } else { self.product / (self.ours * self.theirs).sqrt() }
    }
}

/// Over what both have, when `pcm` comes `lag` samples late.
fn sums(pcm: &[f32], reference: &[f32], side: usize, lag: i64, step: usize) -> Sums {
    let (skip_ours, skip_theirs) = (lag.max(0) as usize, (-lag).max(0) as usize);
    let ours = pcm.chunks_exact(CHANNELS).skip(skip_ours).step_by(step);
    let theirs = reference.chunks_exact(CHANNELS).skip(skip_theirs).step_by(step);
    ours.zip(theirs).fold(Sums::default(), |sums, (ours, theirs)| {
        let (a, b) = (f64::from(ours[side]), f64::from(theirs[side]));
        Sums { product: sums.product + a * b, ours: sums.ours + a * a, theirs: sums.theirs + b * b }
    })
}

/// 100 ms, in samples: further apart nothing is looked for.
const SEARCH: i64 = 4_800;
/// 30 ms, in samples: an MPEG decoder's own delay, which files without a header do not tell of.
const MAX_LAG: i64 = 1_440;
/// Samples that may be missing at the end: a frame of 20 ms.
const MAX_SHORT: i64 = FRAME_SAMPLES as i64;
