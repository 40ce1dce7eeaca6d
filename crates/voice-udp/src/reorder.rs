//! Putting one stream's packets back into order, with a bound on how long and how much is waited for.
//!
//! The number says where a packet stands among its neighbours, the timestamp whether it is newer or older than what
//! was heard. Numbers jump, for the server gives them anew; a packet that is newer is followed all the same. One that
//! is older is dropped: it is late, or somebody sends again what they have recorded.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use voice_rtp::{Sequence, SequenceExtender, Timestamp, TimestampExtender};

/// The packets of one SSRC that wait for the one before them.
#[derive(Debug, Default)]
pub(crate) struct Reorder {
    /// How often the numbers began anew.
    numbering: u64,
    numbers: SequenceExtender,
    times: TimestampExtender,
    /// When the newest packet arrived, and the very first.
    newest_at: Option<Instant>,
    began_at: Option<Instant>,
    /// What is older than this is not released any more.
    floor: u64,
    /// The next place to release; unknown until the first release.
    next: Option<Place>,
    held: VecDeque<Held>,
    /// Bit n: the number n below the highest was seen.
    seen: u64,
    /// The newest timestamp before they leapt the last time, and the first one then.
    before_leap: Option<Timestamp>,
    leapt_to: u64,
    /// Packets that went on where the timestamps leapt to.
    settled: u32,
    /// Packets that could be the sender's, begun anew with older timestamps: the newest, and how many ascended to it.
    suspect: Option<(Timestamp, u32)>,
}

/// Where a packet stands in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    numbering: u64,
    number: u64,
    /// In ticks of 48 kHz.
    time: u64,
}

/// A packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) place: Place,
    pub(crate) timestamp: Timestamp,
    pub(crate) arrived: Instant,
    pub(crate) frame: Option<Stored>,
}

/// Where a frame is kept; a packet of mere padding has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) slot: usize,
    pub(crate) len: usize,
}

/// What became of a packet that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    Accepted {
        place: Place,
        /// It was sent before one that arrived earlier.
        reordered: bool,
    },
    /// The sender's numbers or timestamps jumped: the order goes on with this packet.
    Resynchronised { place: Place },
    /// Its number was seen already.
    Duplicate,
    /// Its turn has passed, for one that arrived before it.
    Late,
    /// It is older than all that was released: late, sent again by somebody, or the sender began anew.
    Old,
}

/// What is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    Packet(Held),
    /// So many packets did not come in time.
    Lost(u64),
}

impl Reorder {
    /// Whether a packet would be kept, and where; marks it as seen if so.
    pub(crate) fn admit(&mut self, now: Instant, sequence: Sequence, timestamp: Timestamp) -> Insert {
        self.began_at.get_or_insert(now);
        let Some(newest) = self.times.highest() else {
            return Insert::Accepted { place: self.begin(now, sequence, timestamp), reordered: false };
        };
        let time = self.times.peek(timestamp);
        let Some(highest) = self.numbers.highest() else {
            if time > newest {
                return Insert::Accepted { place: self.begin(now, sequence, timestamp), reordered: false };
            }
            return self.older(now, sequence, timestamp, (newest - time, false));
        };
        let number = self.numbers.peek(sequence);
        let ahead = number > highest && number - highest <= MAX_JUMP;
        let age = highest.saturating_sub(number);
        let waited_for = self.next.is_some_and(|next| next.numbering == self.numbering && number >= next.number);
        let near = number <= highest && (age < REPLAY_WINDOW || waited_for);
        if time >= newest {
            if ahead {
                self.seen = self.seen.checked_shl((number - highest) as u32).unwrap_or(0) | 1;
                self.numbers.extend(sequence);
                self.advance(now, timestamp);
                let place = Place { numbering: self.numbering, number, time };
                return Insert::Accepted { place, reordered: false };
            }
            if time > newest || !near {
                return Insert::Resynchronised { place: self.begin(now, sequence, timestamp) };
            }
        }
        let behind = newest - time;
        if near {
            let place = Place { numbering: self.numbering, number, time };
            let seen = age < REPLAY_WINDOW && self.seen & (1 << age) != 0;
            if seen && behind <= LEAP as u64 {
                return Insert::Duplicate;
            }
            if !seen && self.fits(place) {
                self.seen |= 1u64.checked_shl(age as u32).unwrap_or(0);
                if place.time < self.leapt_to {
                    self.before_leap = self.before_leap.filter(|at| timestamp.distance(*at) < 0).or(Some(timestamp));
                }
                return Insert::Accepted { place, reordered: true };
            }
        }
        self.older(now, sequence, timestamp, (behind, near))
    }

    /// The sender began anew, as something else than the numbers proves: the order goes on with this packet.
    pub(crate) fn restart(&mut self, now: Instant, sequence: Sequence, timestamp: Timestamp) -> Place {
        self.begin_anew();
        self.begin(now, sequence, timestamp)
    }

    /// The sender begins anew: whatever comes next is followed. What is held is released.
    pub(crate) fn begin_anew(&mut self) {
        self.pause();
        self.leap();
        self.times.reset();
        self.floor = 0;
    }

    /// Packets are missing from now on that are not lost. What is newer than those before is followed.
    pub(crate) const fn pause(&mut self) {
        self.numbering += 1;
        self.numbers.reset();
    }

    /// Keeps an admitted packet in its place.
    pub(crate) fn hold(&mut self, packet: Held) {
        self.held.insert(self.index(packet.place), packet);
    }

    /// What may be released now, in order.
    pub(crate) fn release(&mut self, now: Instant) -> Option<Release> {
        let first = self.held.front()?.place;
        if let Some(next) = self.next
            && next.numbering == first.numbering
            && first.number > next.number
        {
            // Numbers that have ended are not waited for, and no packet waits longer than its time for another.
            let given_up = first.numbering < self.numbering
                || self.held.len() >= MAX_HELD
                || self.deadline().is_some_and(|at| now >= at);
            if !given_up {
                return None;
            }
            self.next = Some(first);
            return Some(Release::Lost(first.number - next.number));
        }
        self.next = Some(Place { number: first.number + 1, ..first });
        if first.numbering == self.numbering {
            self.floor = self.floor.max(first.time);
        }
        self.held.pop_front().map(Release::Packet)
    }

    /// When a gap will be given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.arrived + MAX_WAIT).min()
    }

    /// Takes a held packet out, the oldest first, without releasing it.
    pub(crate) fn discard(&mut self) -> Option<Held> {
        self.held.pop_front()
    }

    pub(crate) fn held_len(&self) -> usize {
        self.held.len()
    }

    /// Behind which of those that are held this place is.
    fn index(&self, place: Place) -> usize {
        self.held.iter().rposition(|held| held.place < place).map_or(0, |index| index + 1)
    }

    /// Whether it is still its turn, and its timestamp agrees with the numbers beside it.
    fn fits(&self, place: Place) -> bool {
        let passed = self.next.is_some_and(|next| next.numbering == place.numbering && place.number < next.number);
        let index = self.index(place);
        let before = index.checked_sub(1).and_then(|before| self.held.get(before));
        let after_those = before.is_none_or(|held| {
            held.place.numbering < place.numbering
                || (held.place.number < place.number && held.place.time <= place.time)
        });
        let before_those =
            self.held.get(index).is_none_or(|held| held.place.number > place.number && held.place.time >= place.time);
        !passed && place.time >= self.floor && after_those && before_those
    }

    /// Begins new numbers with this packet.
    fn begin(&mut self, now: Instant, sequence: Sequence, timestamp: Timestamp) -> Place {
        self.floor = self.floor.max(self.times.highest().unwrap_or(0));
        self.pause();
        self.seen = 1;
        let number = self.numbers.extend(sequence);
        let time = self.advance(now, timestamp);
        Place { numbering: self.numbering, number, time }
    }

    /// The newest packet came.
    fn advance(&mut self, now: Instant, timestamp: Timestamp) -> u64 {
        let passed = self.newest_at.map_or(0, |at| ticks(now.saturating_duration_since(at)));
        let time = self.times.peek(timestamp);
        if self.times.highest().is_some_and(|newest| time - newest > passed + LEAP as u64) {
            self.leap();
        }
        self.times.extend(timestamp);
        if self.settled == 0 {
            self.leapt_to = time;
        }
        self.settled = self.settled.saturating_add(1);
        self.newest_at = Some(now);
        self.suspect = None;
        time
    }

    /// Timestamps go on somewhere else.
    fn leap(&mut self) {
        if let Some(newest) = self.times.highest() {
            self.before_leap = Some(Timestamp::new(newest as u32));
        }
        self.settled = 0;
    }

    /// A packet that is older than the newest, and no neighbour of it.
    ///
    /// It may be a sender's who begins anew and tells nobody. That is believed only of what nobody can have recorded:
    /// what is older than all that was sent since the stream is known; or, while it is not sure that the sender leapt,
    /// what is between where it was and where it leapt to.
    fn older(&mut self, now: Instant, sequence: Sequence, timestamp: Timestamp, (behind, near): (u64, bool)) -> Insert {
        let known_for = self.began_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let since = ticks(known_for + BEFORE_IT_WAS_KNOWN);
        let recorded = match self.before_leap.filter(|_| self.settled < SETTLED) {
            Some(newest) => {
                let time = self.times.peek(timestamp);
                time + LEAP as u64 >= self.leapt_to || (0..=since as i64).contains(&newest.distance(timestamp).into())
            }
            None => behind <= since,
        };
        let is_late = near || behind <= LEAP as u64;
        if is_late && !self.held.is_empty() {
            return Insert::Late;
        }
        if recorded || behind <= LEAP as u64 {
            return Insert::Old;
        }
        let ascending = match self.suspect {
            Some((at, count)) => match timestamp.distance(at) {
                1..=LEAP => count + 1,
                // One of them that is late, or the same again.
                behind if behind.unsigned_abs() <= LEAP as u32 => return Insert::Old,
                _ => 1,
            },
            None => 1,
        };
        if ascending < MAX_SUSPECT {
            self.suspect = Some((timestamp, ascending));
            return Insert::Old;
        }
        Insert::Resynchronised { place: self.restart(now, sequence, timestamp) }
    }
}

const fn ticks(time: Duration) -> u64 {
    time.as_millis() as u64 * 48
}

/// How long a packet waits for those before it: three frames.
pub(crate) const MAX_WAIT: Duration = Duration::from_millis(60);
/// Packets that may wait in one stream.
pub(crate) const MAX_HELD: usize = 64;
/// Numbers that a stream may run ahead (RFC 3550, appendix A.1, MAX_DROPOUT); more is no loss, but a jump.
pub(crate) const MAX_JUMP: u64 = 3_000;
/// Numbers below the highest for which it is known whether they were seen.
const REPLAY_WINDOW: u64 = 64;
/// Ticks by which a packet may be behind the newest and simply be late, or ahead of the clock: what is wrong about so
/// few is over within a second.
const LEAP: i32 = 48_000;
/// Older packets after which a sender is believed to have begun anew, each newer than the one before: more than can be
/// late together when the sender leaps.
const MAX_SUSPECT: u32 = 8;
/// Packets after which it is sure that the sender leapt, and no single one of long ago did: half a second.
const SETTLED: u32 = 25;
/// How long packets may have been sent, and recorded, before the first of them was heard here.
const BEFORE_IT_WAS_KNOWN: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests;
