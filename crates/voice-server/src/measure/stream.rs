//! One stream: its sequence numbers, its timestamps, its arrivals.

use core::time::Duration;

use voice_rtp::{OPUS_CLOCK_HZ, RtpHeader};

/// What is known of an SSRC.
pub(super) struct Stream {
    order: Order,
    clock: Clock,
    pub(super) counts: Counts,
    /// The times of packets, relative to the first one's, in [`UNIT`]s.
    pub(super) samples: Vec<i32>,
}

/// What was wrong with the packets of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) packets: u64,
    pub(super) lost: u64,
    pub(super) gaps: u64,
    pub(super) skipped: u64,
    pub(super) out_of_order: u64,
    pub(super) duplicates: u64,
}

impl Stream {
    /// A stream that begins with this packet.
    pub(super) fn new(first: RtpHeader) -> Self {
        Self {
            order: Order::new(first.sequence.get()),
            clock: Clock::new(first.timestamp.get()),
            counts: Counts::default(),
            samples: Vec::new(),
        }
    }

    /// Takes a packet, the first one included; true when its arrival was kept.
    ///
    /// `arrival` is since some moment that is the same for all packets; `keep` says whether there is room for a sample.
    pub(super) fn receive(&mut self, header: RtpHeader, arrival: Option<Duration>, keep: bool) -> Taken {
        let counts = &mut self.counts;
        counts.packets += 1;
        let position = self.clock.extend(header.timestamp.get());
        match self.order.receive(header.sequence.get(), counts) {
            Place::Duplicate => return Taken::Duplicate,
            Place::Late => {}
            Place::Newer { by } => {
                let moved = position.saturating_sub(self.clock.newest);
                let periods = moved.saturating_add(PERIOD_TICKS / 2).div_euclid(PERIOD_TICKS);
                counts.skipped += u64::try_from(periods).unwrap_or(0).saturating_sub(u64::from(by));
                self.clock.newest = position;
            }
        }
        let Some(arrival) = arrival else { return Taken::Unsampled };
        let time = self.clock.time(arrival, position);
        if !keep {
            return Taken::Unsampled;
        }
        self.samples.push(clamped(time.div_euclid(UNIT_NS)));
        Taken::Sampled
    }

    /// The interarrival jitter.
    pub(super) fn jitter(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.clock.jitter_16 >> 4).unwrap_or(0))
    }

    /// The counts, with what is missing among the newest packets.
    pub(super) fn total(&self) -> Counts {
        let mut counts = self.counts;
        let mut order = self.order;
        for _ in 0..WINDOW {
            order.leave(&mut counts);
            order.seen |= 1;
        }
        counts
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Sampled,
    Unsampled,
    Duplicate,
}

/// Where a packet is among those before it.
enum Place {
    /// Newer than all by so many numbers; the first one by none.
    Newer {
        by: u16,
    },
    Late,
    Duplicate,
}

/// Sequence numbers.
#[derive(Clone, Copy)]
struct Order {
    highest: u16,
    /// How far the highest is from the first.
    span: u64,
    /// Which of the last numbers were seen; bit 0 is the highest.
    seen: u64,
    /// Whether the number that left the window last was not seen.
    in_gap: bool,
    began: bool,
}

impl Order {
    const fn new(first: u16) -> Self {
        Self { highest: first, span: 0, seen: u64::MAX, in_gap: false, began: false }
    }

    fn receive(&mut self, sequence: u16, counts: &mut Counts) -> Place {
        if !self.began {
            self.began = true;
            return Place::Newer { by: 0 };
        }
        let by = sequence.wrapping_sub(self.highest);
        if by > 0 && by < 0x8000 {
            self.advance(by, counts);
            self.highest = sequence;
            self.span += u64::from(by);
            return Place::Newer { by };
        }
        let behind = self.highest.wrapping_sub(sequence);
        if behind < WINDOW && u64::from(behind) <= self.span {
            let bit = 1 << behind;
            if self.seen & bit != 0 {
                counts.duplicates += 1;
                return Place::Duplicate;
            }
            self.seen |= bit;
        }
        counts.out_of_order += 1;
        Place::Late
    }

    fn advance(&mut self, by: u16, counts: &mut Counts) {
        for _ in 0..by.min(WINDOW) {
            self.leave(counts);
        }
        if by > WINDOW {
            // None of those that pass the whole window was seen.
            counts.lost += u64::from(by - WINDOW);
            counts.gaps += u64::from(!self.in_gap);
            self.in_gap = true;
        }
        self.seen |= 1;
    }

    /// Moves the window on by a number that was not seen, and counts the one that leaves it.
    fn leave(&mut self, counts: &mut Counts) {
        let is_missing = self.seen >> (WINDOW - 1) == 0;
        counts.lost += u64::from(is_missing);
        counts.gaps += u64::from(is_missing && !self.in_gap);
        self.in_gap = is_missing;
        self.seen <<= 1;
    }
}

/// Timestamps and arrivals.
struct Clock {
    /// The timestamp of the packet that came last.
    last: u32,
    /// How far it is from the first one, in units of the timestamp.
    position: i64,
    /// How far the packet with the highest sequence number is.
    newest: i64,
    /// When the first packet came, in nanoseconds.
    origin: Option<i64>,
    /// The time of the packet that came last, relative to the first one's, in nanoseconds.
    time: i64,
    /// 16 times the jitter, in nanoseconds.
    jitter_16: i64,
}

impl Clock {
    const fn new(first: u32) -> Self {
        Self { last: first, position: 0, newest: 0, origin: None, time: 0, jitter_16: 0 }
    }

    fn extend(&mut self, timestamp: u32) -> i64 {
        let moved = timestamp.wrapping_sub(self.last).cast_signed();
        self.last = timestamp;
        // Beyond 46 years only nonsense goes.
        self.position = self.position.saturating_add(moved.into()).clamp(-MAX_POSITION, MAX_POSITION);
        self.position
    }

    /// The time of a packet relative to the first one's; updates the jitter.
    fn time(&mut self, arrival: Duration, position: i64) -> i64 {
        let arrival = i64::try_from(arrival.as_nanos()).unwrap_or(i64::MAX);
        let Some(origin) = self.origin else {
            self.origin = Some(arrival.saturating_sub(ticks_to_ns(position)));
            return 0;
        };
        let time = arrival.saturating_sub(origin).saturating_sub(ticks_to_ns(position));
        let change = time.saturating_sub(self.time).saturating_abs();
        self.time = time;
        // RFC 3550, section A.8, with the rounding of its integer version.
        self.jitter_16 = self.jitter_16.saturating_add(change) - (self.jitter_16.saturating_add(8) >> 4);
        time
    }
}

const fn ticks_to_ns(ticks: i64) -> i64 {
    ticks * 62_500 / 3
}

fn clamped(sample: i64) -> i32 {
    i32::try_from(sample).unwrap_or(if sample < 0 { i32::MIN } else { i32::MAX })
}

/// What a sample counts: 32 bits of it hold more than a quarter of an hour in each direction.
pub(super) const UNIT: Duration = Duration::from_nanos(UNIT_NS.unsigned_abs());

const UNIT_NS: i64 = 500;

/// 20 ms of the RTP clock.
const PERIOD_TICKS: i64 = OPUS_CLOCK_HZ as i64 / 50;

/// The greatest distance of two timestamps whose nanoseconds fit 64 bits.
const MAX_POSITION: i64 = 1 << 46;

/// Sequence numbers that are waited for.
const WINDOW: u16 = 64;
