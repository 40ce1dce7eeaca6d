//! Numbered messages: a 16-bit sequence that wraps, and what a Resume gets again.

use std::collections::VecDeque;

/// The numbering of one session and the messages kept for a Resume.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Messages numbered since the session began; the low 16 bits are the next sequence.
    total: u64,
    kept: VecDeque<Kept>,
    limit: usize,
}

/// A numbered message as it went out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    Text(String),
    Binary(Vec<u8>),
}

impl Replay {
    pub(crate) fn new(limit: usize) -> Self {
        Self { total: 0, kept: VecDeque::new(), limit }
    }

    /// The sequence of the next message.
    pub(crate) fn next_sequence(&self) -> u16 {
        low_bits(self.total)
    }

    /// Takes the message that was numbered [`next_sequence`](Self::next_sequence).
    pub(crate) fn push(&mut self, message: Kept) {
        self.total += 1;
        self.kept.push_back(message);
        if self.kept.len() > self.limit {
            self.kept.pop_front();
        }
    }

    /// Lets go of what the client says it has.
    pub(crate) fn acknowledge(&mut self, seq_ack: i64) {
        let Some(index) = u16::try_from(seq_ack).ok().and_then(|s| self.index(s)) else { return };
        while self.first() <= index && self.kept.pop_front().is_some() {}
    }

    /// Everything after `seq_ack`, or `None` when some of it is gone.
    ///
    /// A missing or negative number means that nothing was received.
    pub(crate) fn after(&self, seq_ack: Option<i64>) -> Option<impl Iterator<Item = &Kept>> {
        let start = match seq_ack {
            None | Some(-1) => 0,
            Some(seq_ack) => self.index(u16::try_from(seq_ack).ok()?)? + 1,
        };
        let skip = start.checked_sub(self.first())?;
        Some(self.kept.iter().skip(usize::try_from(skip).ok()?))
    }

    /// The number since the beginning of the newest message with this sequence.
    fn index(&self, sequence: u16) -> Option<u64> {
        let last = self.total.checked_sub(1)?;
        last.checked_sub(u64::from(low_bits(last).wrapping_sub(sequence)))
    }

    /// The number since the beginning of the oldest kept message.
    fn first(&self) -> u64 {
        self.total - self.kept.len() as u64
    }
}

impl core::fmt::Debug for Kept {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(..)",
            Self::Binary(_) => "Binary(..)",
        })
    }
}

/// The 16 bits a sequence has on the wire.
fn low_bits(number: u64) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(start: u64, count: u64, limit: usize) -> Replay {
        let mut replay = Replay { total: start, ..Replay::new(limit) };
        for _ in 0..count {
            let text = replay.next_sequence().to_string();
            replay.push(Kept::Text(text));
        }
        replay
    }

    fn after(replay: &Replay, seq_ack: Option<i64>) -> Option<Vec<String>> {
        let kept = replay.after(seq_ack)?;
        Some(kept.map(|k| if let Kept::Text(t) = k { t.clone() } else { String::new() }).collect())
    }

    fn texts(numbers: &[u16]) -> Option<Vec<String>> {
        Some(numbers.iter().map(u16::to_string).collect())
    }

    #[test]
    fn the_first_message_is_number_zero() {
        assert_eq!(Replay::new(4).next_sequence(), 0);
        assert_eq!(after(&filled(0, 2, 4), None), texts(&[0, 1]));
        assert_eq!(after(&filled(0, 2, 4), Some(-1)), texts(&[0, 1]));
        assert_eq!(after(&filled(0, 2, 4), Some(0)), texts(&[1]));
        assert_eq!(after(&filled(0, 2, 4), Some(1)), texts(&[]));
    }

    #[test]
    fn the_number_wraps_from_65535_to_zero() {
        let replay = filled(65_534, 4, 4);
        assert_eq!(after(&replay, Some(65_533)), texts(&[65_534, 65_535, 0, 1]));
        assert_eq!(after(&replay, Some(65_535)), texts(&[0, 1]));
        assert_eq!(after(&replay, Some(0)), texts(&[1]));
        assert_eq!(replay.next_sequence(), 2);
    }

    #[test]
    fn what_is_gone_cannot_be_replayed() {
        let replay = filled(0, 10, 4);
        assert_eq!(after(&replay, Some(4)), None);
        assert_eq!(after(&replay, None), None);
        assert_eq!(after(&replay, Some(5)), texts(&[6, 7, 8, 9]));
    }

    #[test]
    fn a_number_never_sent_is_refused() {
        let replay = filled(0, 3, 4);
        for bad in [3, 40_000, 65_535, 65_536, -2, i64::MAX, i64::MIN] {
            assert_eq!(after(&replay, Some(bad)), None, "{bad}");
        }
        assert_eq!(after(&Replay::new(4), Some(0)), None);
        assert_eq!(after(&Replay::new(4), None), texts(&[]));
    }

    #[test]
    fn an_acknowledgement_frees_what_it_covers_and_nothing_else() {
        let mut replay = filled(65_534, 4, 8);
        replay.acknowledge(65_535);
        assert_eq!(replay.kept.len(), 2);
        replay.acknowledge(65_534);
        replay.acknowledge(77);
        replay.acknowledge(-1);
        assert_eq!(replay.kept.len(), 2);
        assert_eq!(after(&replay, Some(65_535)), texts(&[0, 1]));
        assert_eq!(after(&replay, Some(65_534)), None);
    }
}
