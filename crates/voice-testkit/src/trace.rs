//! What happened in a simulation: a hash of all of it, and the end of it in words.

use std::{collections::VecDeque, fmt, time::Duration};

use discord_voice::{Event, dave::DaveEvent, model::UserId};

/// Hashes everything and remembers the last of it.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    recent: VecDeque<Line>,
}

#[derive(Debug)]
struct Line {
    at: Duration,
    who: Option<UserId>,
    what: &'static str,
    text: Option<String>,
    len: usize,
}

impl Trace {
    pub(crate) const fn new() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, recent: VecDeque::new() }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Notes something made of bytes, which can contain keys: only their hash is kept.
    pub(crate) fn bytes(&mut self, at: Duration, who: Option<UserId>, what: &'static str, bytes: &[u8]) {
        self.fold(at, who, what);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.word(u64::from(*byte)));
        self.remember(Line { at, who, what, text: None, len: bytes.len() });
    }

    /// Notes a message of the end-to-end encryption. What the MLS engine makes of its keys is random in length too, and
    /// no seed reaches it: only the opcode counts.
    pub(crate) fn binary(&mut self, at: Duration, who: Option<UserId>, what: &'static str, opcode: u8, bytes: &[u8]) {
        self.fold(at, who, what);
        self.word(u64::from(opcode));
        self.remember(Line { at, who, what, text: Some(format!("opcode {opcode}")), len: bytes.len() });
    }

    /// Notes a datagram: its beginning, which is a packet's header, and its length. The rest may be end-to-end encrypted.
    pub(crate) fn datagram(&mut self, at: Duration, who: Option<UserId>, what: &'static str, bytes: &[u8]) {
        self.fold(at, who, what);
        self.word(bytes.len() as u64);
        bytes.iter().take(HEADER_LEN).for_each(|byte| self.word(u64::from(*byte)));
        self.remember(Line { at, who, what, text: None, len: bytes.len() });
    }

    /// Notes what a call told its user.
    pub(crate) fn event(&mut self, at: Duration, who: UserId, event: &Event) {
        match event {
            // The privacy code is as random as the keys.
            Event::E2ee(DaveEvent::EpochChanged { epoch, members, .. }) => {
                self.text(at, Some(who), "epoch", &(epoch, members));
            }
            event => self.text(at, Some(who), "event", event),
        }
    }

    /// Notes something that can be printed.
    pub(crate) fn text(&mut self, at: Duration, who: Option<UserId>, what: &'static str, shown: &dyn fmt::Debug) {
        let text = format!("{shown:?}");
        self.fold(at, who, what);
        text.bytes().for_each(|byte| self.word(u64::from(byte)));
        self.remember(Line { at, who, what, len: text.len(), text: Some(text) });
    }

    fn fold(&mut self, at: Duration, who: Option<UserId>, what: &str) {
        self.word(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        self.word(who.map_or(0, UserId::get));
        what.bytes().for_each(|byte| self.word(u64::from(byte)));
    }

    /// FNV-1a on words, turned so that high bits reach the low ones.
    const fn word(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }

    fn remember(&mut self, line: Line) {
        if self.recent.len() == MAX_LINES {
            self.recent.pop_front();
        }
        self.recent.push_back(line);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { at, who, what, text, len } in &self.recent {
            write!(f, "{:>12.6} ", at.as_secs_f64())?;
            match who {
                Some(user) => write!(f, "{user:>4} {what}")?,
                None => write!(f, "   - {what}")?,
            }
            match text {
                Some(text) => writeln!(f, " {text}")?,
                None => writeln!(f, " [{len} bytes]")?,
            }
        }
        Ok(())
    }
}

/// The fixed part of an RTP header.
const HEADER_LEN: usize = 12;

/// Lines printed when a simulation fails.
const MAX_LINES: usize = 80;
