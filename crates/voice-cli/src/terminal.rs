//! What people read, on the standard error; the standard output is for programs.

use std::{
    fmt,
    io::{self, Write as _},
    time::Duration,
};

use discord_voice::JoinTimes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Writes a line to the standard error. That nobody reads it is no error.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a line to the standard output, at once. That nobody reads it is no error.
pub(crate) fn print(line: impl fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Tells how long each step of a join took, from its start.
pub(crate) fn say_joined(who: &str, times: &JoinTimes, mode: &str) {
    let steps = [
        ("connected", times.connected),
        ("identified", times.identified),
        ("discovered", times.discovered),
        ("established", times.established),
        ("confirmed", times.confirmed),
        ("encrypted", times.encrypted),
    ];
    let steps: Vec<String> =
        steps.iter().filter_map(|(name, at)| at.map(|at| format!("{name} {}", Millis(at)))).collect();
    say(format_args!("{who:<9} {}", steps.join(", ")));
    say(format_args!("{:<9} {mode}", ""));
}

/// The bar that shows the position; nothing where the standard error is no terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// `whole`: how long everything takes, if that is known.
    pub(crate) fn new(whole: Option<Duration>) -> Self {
        let bar = ProgressBar::with_draw_target(whole.map(millis), ProgressDrawTarget::stderr());
        let template = if whole.is_some() { "{bar:40} {msg}" } else { "{spinner} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        let progress = Self(bar);
        progress.set(Duration::ZERO, whole);
        progress
    }

    pub(crate) fn set(&self, position: Duration, whole: Option<Duration>) {
        self.0.set_position(millis(position));
        self.0.set_message(match whole {
            Some(whole) => format!("{} / {}", Clock(position), Clock(whole)),
            None => Clock(position).to_string(),
        });
    }

    /// Writes a line above the bar.
    pub(crate) fn say(&self, line: impl fmt::Display) {
        self.0.suspend(|| say(line));
    }

    /// Leaves the bar as it is.
    pub(crate) fn finish(&self) {
        self.0.abandon();
    }
}

/// Minutes and seconds, to the nearest second.
pub(crate) struct Clock(pub(crate) Duration);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.0 + Duration::from_millis(500)).as_secs();
        match seconds / 3600 {
            0 => write!(f, "{}:{:02}", seconds / 60, seconds % 60),
            hours => write!(f, "{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
        }
    }
}

/// Milliseconds, with a decimal below a hundred.
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_secs_f64() * 1e3;
        write!(f, "{millis:.*} ms", usize::from(millis < 100.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_to_read() {
        assert_eq!(Clock(Duration::from_millis(60_500)).to_string(), "1:01");
        assert_eq!(Clock(Duration::from_secs(3600 + 62)).to_string(), "1:01:02");
        assert_eq!(Millis(Duration::from_micros(1_234)).to_string(), "1.2 ms");
        assert_eq!(Millis(Duration::from_millis(1_234)).to_string(), "1234 ms");
    }
}
