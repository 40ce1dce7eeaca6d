//! What was measured.

use std::{error::Error, fmt};

use serde_json::Value;

/// All runs, by what was run and with how many calls.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    groups: Vec<Group>,
}

/// The rounds of one program with as many calls.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) mode: String,
    pub(crate) calls: u64,
    rounds: Vec<Value>,
}

impl Runs {
    /// Reads a line for each run.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let mut runs = Self::default();
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            let (label, json) = line.split_once('\t').ok_or(ParseError::NoLabel { line: number })?;
            let value: Value =
                serde_json::from_str(json).map_err(|source| ParseError::Json { line: number, source })?;
            let mode = value.get("mode").and_then(Value::as_str);
            let calls = value.get("calls").and_then(Value::as_u64);
            let (mode, calls) = mode.zip(calls).ok_or(ParseError::NoLoad { line: number })?;
            let (mode, label) = (mode.to_owned(), label.to_owned());
            match runs.groups.iter_mut().find(|group| group.is(&label, &mode, calls)) {
                Some(group) => group.rounds.push(value),
                None => runs.groups.push(Group { label, mode, calls, rounds: vec![value] }),
            }
        }
        Ok(runs)
    }

    /// The kinds of load, each once, in the order in which they first came.
    pub(crate) fn loads(&self) -> Vec<(&str, u64)> {
        let mut loads = Vec::new();
        for group in &self.groups {
            let load = (group.mode.as_str(), group.calls);
            if !loads.contains(&load) {
                loads.push(load);
            }
        }
        loads
    }

    /// What was run under a load.
    pub(crate) fn of(&self, mode: &str, calls: u64) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.mode == mode && group.calls == calls)
    }

    /// One of them.
    pub(crate) fn get(&self, label: &str, mode: &str, calls: u64) -> Option<&Group> {
        self.groups.iter().find(|group| group.is(label, mode, calls))
    }
}

impl Group {
    fn is(&self, label: &str, mode: &str, calls: u64) -> bool {
        self.label == label && self.mode == mode && self.calls == calls
    }

    /// How many rounds there are.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// For how long each was measured, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        median(self.values("/seconds")).unwrap_or(0.0)
    }

    /// A figure of each round that has it, by its JSON pointer.
    pub(crate) fn values(&self, pointer: &str) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.pointer(pointer)?.as_f64()).collect()
    }

    /// Processor time of a second of a call in each round, in milliseconds.
    pub(crate) fn cpu(&self) -> Vec<f64> {
        self.values("/client_cpu_ms_per_call_s")
    }
}

/// The middle one; nothing without any.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len().is_multiple_of(2) { (values[values.len() / 2 - 1] + upper) / 2.0 } else { upper })
}

/// Why the runs cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum ParseError {
    /// There is no tab.
    NoLabel {
        /// The line's number.
        line: usize,
    },
    /// What follows it is no JSON.
    Json {
        /// The line's number.
        line: usize,
        /// Why not.
        source: serde_json::Error,
    },
    /// It does not say what was measured.
    NoLoad {
        /// The line's number.
        line: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLabel { line } => write!(f, "line {line} has no label and tab in front"),
            Self::Json { line, source } => write!(f, "line {line} is no JSON: {source}"),
            Self::NoLoad { line } => write!(f, "line {line} has no mode or no calls"),
        }
    }
}

impl Error for ParseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Json { source, .. } => Some(source),
            Self::NoLabel { .. } | Self::NoLoad { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_grouped() {
        let text = "a\t{\"mode\":\"idle\",\"calls\":5,\"seconds\":1}\n\nb\t{\"mode\":\"idle\",\"calls\":5}\n\
                    a\t{\"mode\":\"idle\",\"calls\":5,\"seconds\":3}\na\t{\"mode\":\"idle\",\"calls\":6}\n";
        let runs = Runs::parse(text).expect("lines as they are to be");
        assert_eq!(runs.loads(), [("idle", 5), ("idle", 6)]);
        assert_eq!(runs.of("idle", 5).map(Group::rounds).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(runs.get("a", "idle", 5).map(Group::seconds), Some(2.0));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let error = |text| Runs::parse(text).expect_err("wrong").to_string();
        assert_eq!(error("{}"), "line 1 has no label and tab in front");
        assert_eq!(error("a\t{}"), "line 1 has no mode or no calls");
        assert!(error("\na\t{").starts_with("line 2 is no JSON"));
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
