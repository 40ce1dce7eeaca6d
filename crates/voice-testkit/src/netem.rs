//! An emulated network: datagrams that get lost and overtake each other, streams that are late but keep order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    error::Error,
    fmt,
    time::{Duration, Instant},
};

/// What one direction of a path does to what is sent on it. Every chance is between 0 and 1.
///
/// Streams only feel `latency` and `jitter`: what is below them repairs the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    /// How long everything is on its way.
    pub latency: Duration,
    /// How much longer than that at most, uniformly.
    pub jitter: Duration,
    /// The chance that a datagram is lost.
    pub loss: f64,
    /// The chance that a datagram comes twice.
    pub duplicate: f64,
    /// The chance that a datagram is held for [`REORDER_HOLD`], so that others overtake it.
    pub reorder: f64,
}

/// A network in which things are on their way, in virtual time and from a seed.
///
/// ```
/// use std::time::Duration;
/// use voice_testkit::{Clock, Conditions, Netem};
///
/// let mut clock = Clock::new();
/// let mut netem = Netem::new(7);
/// let slow = Conditions { latency: Duration::from_millis(40), ..Conditions::default() };
/// netem.datagram(clock.now(), &slow, "hello");
/// assert_eq!(netem.poll(clock.now()), None, "it is on its way");
/// clock.advance_to(netem.next_at().expect("something is on its way"));
/// assert_eq!(netem.poll(clock.now()), Some("hello"));
/// ```
#[derive(Debug)]
pub struct Netem<T> {
    queue: BinaryHeap<Reverse<InFlight<T>>>,
    lanes: BTreeMap<Lane, LaneState>,
    stalls: BTreeMap<u64, Instant>,
    rng: fastrand::Rng,
    datagrams: usize,
    /// What was sent so far; breaks ties of time and names lanes.
    count: u64,
    stats: NetemStats,
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane(u64);

/// What the network did to datagrams, and how much of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetemStats {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Datagrams lost by chance.
    pub lost: u64,
    /// Datagrams that came twice.
    pub duplicated: u64,
    /// Datagrams held back so that others overtake them.
    pub reordered: u64,
    /// Datagrams lost because too many were on their way.
    pub overflowed: u64,
    /// Messages sent on streams.
    pub messages: u64,
}

#[derive(Debug)]
struct LaneState {
    path: u64,
    last_at: Option<Instant>,
    len: usize,
}

#[derive(Debug)]
struct InFlight<T> {
    at: Instant,
    number: u64,
    lane: Option<Lane>,
    payload: T,
}

impl<T> Netem<T> {
    /// An empty network; everything random follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            queue: BinaryHeap::new(),
            lanes: BTreeMap::new(),
            stalls: BTreeMap::new(),
            rng: fastrand::Rng::with_seed(seed),
            datagrams: 0,
            count: 0,
            stats: NetemStats::default(),
        }
    }

    /// Sends a datagram.
    pub fn datagram(&mut self, now: Instant, conditions: &Conditions, payload: T)
    where
        T: Clone,
    {
        self.stats.datagrams += 1;
        if self.chance(conditions.loss) {
            self.stats.lost += 1;
            return;
        }
        if self.chance(conditions.duplicate) {
            self.stats.duplicated += 1;
            self.fly(now, conditions, payload.clone());
        }
        self.fly(now, conditions, payload);
    }

    /// Opens one direction of a stream. Streams on one `path` stall together.
    pub fn open(&mut self, path: u64) -> Lane {
        let lane = Lane(self.number());
        self.lanes.insert(lane, LaneState { path, last_at: None, len: 0 });
        lane
    }

    /// Sends a message on a stream: it comes, and after everything that was sent there before. Nothing happens on
    /// a stream that was cut.
    ///
    /// # Errors
    ///
    /// [`LaneFull`] when [`MAX_LANE_LEN`] messages are on their way there.
    pub fn message(&mut self, now: Instant, lane: Lane, conditions: &Conditions, payload: T) -> Result<(), LaneFull> {
        let wanted = self.arrival(now, conditions);
        let number = self.number();
        let Some(state) = self.lanes.get_mut(&lane) else { return Ok(()) };
        if state.len >= MAX_LANE_LEN {
            return Err(LaneFull);
        }
        let at = state.last_at.map_or(wanted, |last| last.max(wanted));
        state.last_at = Some(at);
        state.len += 1;
        self.stats.messages += 1;
        self.queue.push(Reverse(InFlight { at, number, lane: Some(lane), payload }));
        Ok(())
    }

    /// Ends one direction of a stream; what is on its way there never comes.
    pub fn cut(&mut self, lane: Lane) {
        self.lanes.remove(&lane);
    }

    /// Holds everything on the streams of a path until then, also what is on its way. A stall is never cut short:
    /// what it holds already would be overtaken.
    pub fn stall(&mut self, path: u64, until: Instant) {
        let end = self.stalls.entry(path).or_insert(until);
        *end = until.max(*end);
    }

    /// The next thing that has arrived.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        while self.queue.peek().is_some_and(|Reverse(first)| first.at <= now) {
            let Reverse(mut first) = self.queue.pop()?;
            let Some(lane) = first.lane else {
                self.datagrams -= 1;
                return Some(first.payload);
            };
            let Some(state) = self.lanes.get_mut(&lane) else { continue };
            // What is behind it on the lane has a higher number and an instant that is no earlier, so that the
            // order is kept when all of it is held until the same end of the stall.
            if let Some(&until) = self.stalls.get(&state.path).filter(|until| **until > now) {
                first.at = until;
                state.last_at = state.last_at.map(|last| last.max(until));
                self.queue.push(Reverse(first));
                continue;
            }
            state.len -= 1;
            return Some(first.payload);
        }
        None
    }

    /// When the next thing arrives.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse(first)| first.at)
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &NetemStats {
        &self.stats
    }

    fn fly(&mut self, now: Instant, conditions: &Conditions, payload: T) {
        if self.datagrams >= MAX_DATAGRAMS {
            self.stats.overflowed += 1;
            return;
        }
        let mut at = self.arrival(now, conditions);
        if self.chance(conditions.reorder) {
            self.stats.reordered += 1;
            at += REORDER_HOLD;
        }
        self.datagrams += 1;
        let number = self.number();
        self.queue.push(Reverse(InFlight { at, number, lane: None, payload }));
    }

    fn arrival(&mut self, now: Instant, conditions: &Conditions) -> Instant {
        let jitter_us = u64::try_from(conditions.jitter.as_micros()).unwrap_or(u64::MAX);
        let late = if jitter_us == 0 { 0 } else { self.rng.u64(..jitter_us) };
        now + conditions.latency + Duration::from_micros(late)
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    const fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

impl<T> PartialEq for InFlight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for InFlight<T> {}

impl<T> PartialOrd for InFlight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for InFlight<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Too many messages are on their way on a stream (its reader does not read).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneFull;

impl fmt::Display for LaneFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX_LANE_LEN} messages are on their way already")
    }
}

impl Error for LaneFull {}

/// How long a reordered datagram is held: longer than one frame, so that the next overtakes it.
pub const REORDER_HOLD: Duration = Duration::from_millis(25);

/// Datagrams that may be on their way; more are lost.
pub const MAX_DATAGRAMS: usize = 65_536;

/// Messages that may be on their way in one direction of a stream.
pub const MAX_LANE_LEN: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;

    const MS: Duration = Duration::from_millis(1);

    /// Everything that comes, with when.
    fn drain<T>(netem: &mut Netem<T>, clock: &mut Clock) -> Vec<(Duration, T)> {
        let mut all = Vec::new();
        while let Some(at) = netem.next_at() {
            clock.advance_to(at);
            all.extend(netem.poll(clock.now()).map(|payload| (clock.elapsed(), payload)));
        }
        all
    }

    #[test]
    fn the_chances_are_those_that_were_asked_for() {
        let (mut netem, mut clock) = (Netem::new(1), Clock::new());
        let conditions = Conditions { loss: 0.1, duplicate: 0.2, reorder: 0.3, ..Conditions::default() };
        for number in 0..10_000 {
            netem.datagram(clock.now(), &conditions, number);
        }
        let stats = *netem.stats();
        assert!((900..1_100).contains(&stats.lost), "{stats:?}");
        assert!((1_650..1_950).contains(&stats.duplicated), "{stats:?}");
        assert!((3_000..3_500).contains(&stats.reordered), "{stats:?}");
        let come = drain(&mut netem, &mut clock);
        assert_eq!(come.len() as u64, 10_000 - stats.lost + stats.duplicated);
        assert!(come.iter().all(|(at, _)| at.is_zero() || *at == REORDER_HOLD));
    }

    #[test]
    fn jitter_makes_datagrams_overtake_each_other_but_not_messages() {
        let (mut netem, mut clock) = (Netem::new(2), Clock::new());
        let conditions = Conditions { latency: 40 * MS, jitter: 30 * MS, ..Conditions::default() };
        let lane = netem.open(1);
        for number in 0..100 {
            netem.datagram(clock.now(), &conditions, number);
            netem.message(clock.now(), lane, &conditions, 1_000 + number).expect("there is room");
        }
        let all = drain(&mut netem, &mut clock);
        assert!(all.iter().all(|(at, _)| (40 * MS..70 * MS).contains(at)));
        let (datagrams, messages): (Vec<i32>, Vec<i32>) = all.iter().map(|(_, n)| *n).partition(|n| *n < 1_000);
        assert!(!datagrams.is_sorted());
        assert_eq!(messages, (1_000..1_100).collect::<Vec<_>>());
    }

    #[test]
    fn a_stall_holds_what_is_on_its_way_and_what_follows_in_order() {
        let (mut netem, mut clock) = (Netem::new(3), Clock::new());
        let conditions = Conditions { latency: 10 * MS, ..Conditions::default() };
        let (stalled, other) = (netem.open(1), netem.open(2));
        for number in 0..3 {
            netem.message(clock.now(), stalled, &conditions, number).expect("there is room");
        }
        netem.message(clock.now(), other, &conditions, 10).expect("there is room");
        netem.stall(1, clock.now() + 500 * MS);
        clock.advance_to(clock.now() + 495 * MS);
        assert_eq!(netem.poll(clock.now()), Some(10));
        assert_eq!(netem.poll(clock.now()), None);
        for number in 3..6 {
            netem.message(clock.now(), stalled, &conditions, number).expect("there is room");
        }
        let all = drain(&mut netem, &mut clock);
        assert_eq!(all.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!((all[0].0, all[3].0), (500 * MS, 505 * MS));
    }

    #[test]
    fn nothing_comes_from_a_lane_that_was_cut() {
        let (mut netem, mut clock) = (Netem::new(4), Clock::new());
        let lane = netem.open(1);
        netem.message(clock.now(), lane, &Conditions::default(), 1).expect("there is room");
        netem.cut(lane);
        netem.message(clock.now(), lane, &Conditions::default(), 2).expect("nothing happens");
        assert_eq!(drain(&mut netem, &mut clock), []);
    }

    #[test]
    fn what_is_on_its_way_is_bounded() {
        let (mut netem, clock) = (Netem::new(5), Clock::new());
        let lane = netem.open(1);
        for _ in 0..MAX_LANE_LEN {
            netem.message(clock.now(), lane, &Conditions::default(), ()).expect("there is room");
        }
        assert_eq!(netem.message(clock.now(), lane, &Conditions::default(), ()), Err(LaneFull));
        for _ in 0..=MAX_DATAGRAMS {
            netem.datagram(clock.now(), &Conditions::default(), ());
        }
        assert_eq!(netem.stats().overflowed, 1);
    }
}
