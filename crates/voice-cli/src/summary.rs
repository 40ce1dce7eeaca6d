//! The figures at the end: counted, never computed from what should have happened.

use std::{fmt, time::Duration};

use discord_voice::{CallStats, JoinTimes, VoiceClient, dave::DaveStatus, udp::E2eeStats};
use serde::Serialize;

use crate::{
    ear::Heard,
    process,
    recorder::Recorded,
    terminal::{self, Clock, Millis},
};

/// What a call was like.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// `play` or `record`.
    pub(crate) command: &'static str,
    /// Packets sent, the silence at the end included.
    pub(crate) packets_sent: u64,
    /// Packets heard: by the listener in an embedded call, by ourselves in any other.
    pub(crate) packets_heard: u64,
    /// Packets sent and not heard.
    pub(crate) packets_lost: u64,
    /// The transport encryption.
    pub(crate) mode: Option<String>,
    /// The end-to-end encryption.
    pub(crate) e2ee: E2eeSummary,
    /// Milliseconds from the first connection to the moment at which frames could flow.
    pub(crate) join_ms: Option<f64>,
    /// Milliseconds from the first connection to each step of joining.
    pub(crate) join_steps_ms: JoinSteps,
    /// Milliseconds of processor time that this process used.
    pub(crate) cpu_ms: Option<f64>,
    /// What was played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) played: Option<Played>,
    /// The files written.
    pub(crate) recorded: Vec<Recorded>,
}

/// What the end-to-end encryption was like.
#[derive(Debug, Serialize)]
pub(crate) struct E2eeSummary {
    /// The version of DAVE; 0 is none.
    version: u16,
    /// The epoch of the group at the end.
    epoch: Option<u64>,
    /// The group's code, for people to compare.
    privacy_code: Option<String>,
    /// Frames that were not sent, for want of a key.
    frames_held: u64,
    /// Frames heard that were encrypted and authentic.
    frames_decrypted: u64,
    /// Frames heard in the clear, other than silence.
    frames_plaintext: u64,
    /// Frames that were not accepted.
    frames_refused: u64,
    /// Whether frames left encrypted at the end, and why not.
    state: State,
}

/// How far the end-to-end encryption of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// The call has none.
    Off,
    /// Nobody is there to share a key with.
    Alone,
    /// Others are there, and frames cannot leave for want of a key.
    Keyless,
    /// Frames leave encrypted.
    On,
}

impl From<&DaveStatus> for State {
    fn from(status: &DaveStatus) -> Self {
        match status {
            DaveStatus { version: 0, .. } => Self::Off,
            DaveStatus { is_encrypting: true, .. } => Self::On,
            DaveStatus { peers: 0, .. } => Self::Alone,
            _ => Self::Keyless,
        }
    }
}

impl E2eeSummary {
    /// Of a call that speaks and the counters of who listens.
    pub(crate) fn new(client: &VoiceClient, stats: &CallStats, listener: &E2eeStats) -> Self {
        let status = client.e2ee();
        let E2eeStats { plaintext_refused, missing_key, replayed, generation_refused, not_authentic, .. } = *listener;
        Self {
            state: State::from(&status),
            version: status.version,
            epoch: status.epoch,
            privacy_code: status.privacy_code,
            frames_held: stats.media.sent.frames_held,
            frames_decrypted: listener.decrypted,
            frames_plaintext: listener.plaintext,
            frames_refused: plaintext_refused + missing_key + replayed + generation_refused + not_authentic,
        }
    }
}

impl fmt::Display for E2eeSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, epoch, privacy_code, state, .. } = self;
        let Self { frames_held, frames_decrypted, frames_plaintext, frames_refused, .. } = self;
        match (state, epoch) {
            (State::Off, _) => f.write_str("not end-to-end encrypted")?,
            (_, Some(epoch)) => write!(f, "end-to-end encrypted (DAVE {version}, epoch {epoch})")?,
            (_, None) => write!(f, "end-to-end encrypted (DAVE {version})")?,
        }
        match state {
            State::Alone => f.write_str(", alone in the call")?,
            State::Keyless => f.write_str(", no key yet")?,
            State::Off | State::On => {}
        }
        write!(f, ", {frames_decrypted} frames decrypted")?;
        let others = [
            (frames_plaintext, "in the clear"),
            (frames_refused, "refused"),
            (frames_held, "not sent for want of a key"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| **count > 0) {
            write!(f, ", {count} {what}")?;
        }
        if let Some(code) = privacy_code {
            f.write_str("\ncode     ")?;
            for digits in code.as_bytes().chunks(5) {
                write!(f, " {}", String::from_utf8_lossy(digits))?;
            }
        }
        Ok(())
    }
}

/// The steps of joining.
#[derive(Debug, Serialize)]
pub(crate) struct JoinSteps {
    connected: Option<f64>,
    identified: Option<f64>,
    discovered: Option<f64>,
    established: Option<f64>,
    confirmed: Option<f64>,
    encrypted: Option<f64>,
}

/// What became of a file.
#[derive(Debug, Serialize)]
pub(crate) struct Played {
    /// Its name.
    pub(crate) file: String,
    /// What is in it, and whether it is sent unchanged.
    pub(crate) format: String,
    /// How it ended: `finished` or `stopped`.
    pub(crate) end: &'static str,
    /// Milliseconds of it that passed, whether or not they could be sent.
    pub(crate) played_ms: f64,
    /// Milliseconds that it lasts, if that is known.
    pub(crate) duration_ms: Option<f64>,
    /// Frames of it that were sent: those that passed without those that were held back. It is a few too low when
    /// some of the silence was held back too.
    pub(crate) frames_sent: u64,
    /// Frames of it that the listener heard byte for byte; `null` where nobody of ours listens.
    pub(crate) frames_unchanged: Option<u64>,
    /// Frames the listener heard that are not in the file.
    pub(crate) frames_changed: Option<u64>,
    /// Times at which the file was not ready and silence was sent.
    pub(crate) underruns: u64,
}

impl Summary {
    /// `lost` counts the packets that `heard` misses.
    pub(crate) fn new(command: &'static str, stats: &CallStats, e2ee: E2eeSummary, heard: Heard, lost: u64) -> Self {
        Self {
            command,
            packets_sent: stats.media.sent.packets,
            packets_heard: heard.packets,
            packets_lost: lost,
            mode: stats.mode.map(|mode| mode.to_string()),
            e2ee,
            join_ms: stats.join.joined.map(millis),
            join_steps_ms: JoinSteps::from(stats.join),
            cpu_ms: process::cpu_time().map(millis),
            played: None,
            recorded: heard.recorded,
        }
    }

    /// Prints it for a program or for people.
    pub(crate) fn print(&self, json: bool) {
        if json {
            terminal::print(serde_json::to_string(self).expect("numbers and texts are JSON"));
        } else {
            terminal::say(self);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets_sent, packets_heard, packets_lost, .. } = self;
        write!(f, "packets   {packets_sent} sent, {packets_heard} heard, {packets_lost} lost")?;
        if let Some(played) = &self.played {
            let position = Clock(Duration::from_secs_f64(played.played_ms / 1e3));
            write!(f, "\nfile      {} after {position}, {} frames sent", played.end, played.frames_sent)?;
            if let (Some(unchanged), Some(changed)) = (played.frames_unchanged, played.frames_changed) {
                write!(f, ", {unchanged} heard unchanged, {changed} changed")?;
            }
            if played.underruns > 0 {
                write!(f, ", {} times not ready", played.underruns)?;
            }
        }
        for Recorded { path, user, packets, damaged, error: _ } in &self.recorded {
            write!(f, "\nrecorded  {packets} packets to {}", path.display())?;
            match user {
                Some(user) => write!(f, " (user {user})")?,
                None if self.e2ee.frames_refused > 0 => {
                    write!(f, " (all that was heard was refused: {} frames)", self.e2ee.frames_refused)?;
                }
                None => f.write_str(" (nobody spoke)")?,
            }
            if *damaged > 0 {
                write!(f, ", {damaged} damaged ones left out")?;
            }
        }
        write!(f, "\nmode      {}, {}", self.mode.as_deref().unwrap_or("unknown"), self.e2ee)?;
        for (name, time) in [("joined in", self.join_ms), ("CPU used ", self.cpu_ms)] {
            if let Some(time) = time {
                write!(f, "\n{name} {}", Millis(Duration::from_secs_f64(time / 1e3)))?;
            }
        }
        Ok(())
    }
}

impl From<JoinTimes> for JoinSteps {
    fn from(times: JoinTimes) -> Self {
        Self {
            connected: times.connected.map(millis),
            identified: times.identified.map(millis),
            discovered: times.discovered.map(millis),
            established: times.established.map(millis),
            confirmed: times.confirmed.map(millis),
            encrypted: times.encrypted.map(millis),
        }
    }
}

/// Milliseconds, to a microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e2ee(state: State, epoch: Option<u64>) -> E2eeSummary {
        E2eeSummary {
            version: u16::from(state != State::Off),
            epoch,
            privacy_code: None,
            frames_held: 0,
            frames_decrypted: 3,
            frames_plaintext: 0,
            frames_refused: 0,
            state,
        }
    }

    #[test]
    fn waiting_for_a_key_is_told_from_being_alone() {
        let mut status = DaveStatus::default();
        assert_eq!(State::from(&status), State::Off);
        status.version = 1;
        assert_eq!(State::from(&status), State::Alone);
        status.peers = 2;
        assert_eq!(State::from(&status), State::Keyless);
        status.is_encrypting = true;
        assert_eq!(State::from(&status), State::On);
        for (state, epoch, text) in [
            (State::Off, None, "not end-to-end encrypted, 3 frames decrypted"),
            (State::Alone, None, "end-to-end encrypted (DAVE 1), alone in the call, 3 frames decrypted"),
            (State::Keyless, None, "end-to-end encrypted (DAVE 1), no key yet, 3 frames decrypted"),
            // A commit that no transition has put in force.
            (State::Keyless, Some(1), "end-to-end encrypted (DAVE 1, epoch 1), no key yet, 3 frames decrypted"),
            (State::On, Some(4), "end-to-end encrypted (DAVE 1, epoch 4), 3 frames decrypted"),
        ] {
            assert_eq!(e2ee(state, epoch).to_string(), text);
        }
        let states = [State::Off, State::Alone, State::Keyless, State::On];
        let written = states.map(|state| serde_json::to_value(e2ee(state, None)).unwrap()["state"].clone());
        assert_eq!(written, ["off", "alone", "keyless", "on"]);
    }

    #[test]
    fn a_speaker_who_was_refused_is_not_nobody() {
        let recorded = Recorded { path: "out.ogg".into(), user: None, packets: 0, damaged: 0, error: None };
        let heard = Heard { recorded: vec![recorded], ..Heard::default() };
        let mut summary = Summary::new("record", &CallStats::default(), e2ee(State::On, Some(1)), heard, 0);
        assert!(summary.to_string().contains("0 packets to out.ogg (nobody spoke)"));
        summary.e2ee.frames_refused = 7;
        let text = summary.to_string();
        assert!(!text.contains("nobody") && text.contains("(all that was heard was refused: 7 frames)"), "{text}");
    }
}
