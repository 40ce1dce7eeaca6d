//! The three numbers of an RTP header, with the arithmetic that wraps.

use core::fmt;
use core::time::Duration;

/// The synchronisation source of a stream: 32 bits that name one sender's stream in a call.
///
/// RFC 3550, section 3, "Synchronization source".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ssrc(u32);

impl Ssrc {
    /// Makes the source number `value`.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u32> for Ssrc {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl From<Ssrc> for u32 {
    fn from(ssrc: Ssrc) -> Self {
        ssrc.0
    }
}

/// The 16-bit packet counter of a stream; it wraps from 65 535 to 0.
///
/// It has no `Ord`: which of two numbers is newer depends on where the stream is. Compare with
/// [`distance`](Self::distance).
///
/// ```
/// use voice_rtp::Sequence;
///
/// let last = Sequence::new(65_535);
/// assert_eq!(last.wrapping_add(1), Sequence::new(0));
/// assert_eq!(Sequence::new(4).distance(last), 5);
/// assert_eq!(last.distance(Sequence::new(4)), -5);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Sequence(u16);

impl Sequence {
    /// Makes the sequence number `value`.
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self(value)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the number `packets` later, modulo 2^16.
    #[must_use]
    pub const fn wrapping_add(self, packets: u16) -> Self {
        Self(self.0.wrapping_add(packets))
    }

    /// Returns how many packets `self` is after `earlier`; negative when it is before.
    ///
    /// The shorter way around the circle counts. Exactly half way is -32 768.
    #[must_use]
    pub const fn distance(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u16> for Sequence {
    fn from(value: u16) -> Self {
        Self(value)
    }
}

impl From<Sequence> for u16 {
    fn from(sequence: Sequence) -> Self {
        sequence.0
    }
}

/// The 32-bit media clock of a stream, in ticks; it wraps modulo 2^32.
///
/// For Opus a tick is a sample at [`OPUS_CLOCK_HZ`], so a 20 ms frame is 960 ticks. It has no
/// `Ord`, for the same reason as [`Sequence`].
///
/// ```
/// use voice_rtp::Timestamp;
///
/// let before = Timestamp::new(u32::MAX - 479);
/// assert_eq!(before.wrapping_add(960).get(), 480);
/// assert_eq!(Timestamp::new(480).distance(before), 960);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Timestamp(u32);

impl Timestamp {
    /// Makes the timestamp `value`, in ticks.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// Returns where a clock of `clock_hz` ticks per second is `elapsed` after it was 0, modulo 2^32.
    ///
    /// Parts of a tick are dropped. The arrival times of a [`Jitter`](crate::Jitter) are made so.
    #[must_use]
    pub const fn from_duration(elapsed: Duration, clock_hz: u32) -> Self {
        let whole = elapsed.as_secs().wrapping_mul(clock_hz as u64);
        // Below 10^9 times below 2^32 fits 64 bits.
        let part = (elapsed.subsec_nanos() as u64).wrapping_mul(clock_hz as u64) / 1_000_000_000;
        Self(whole.wrapping_add(part) as u32)
    }

    /// Returns the timestamp, in ticks.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the timestamp `ticks` later, modulo 2^32.
    #[must_use]
    pub const fn wrapping_add(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Returns how many ticks `self` is after `earlier`; negative when it is before.
    ///
    /// The shorter way around the circle counts. Exactly half way is -2 147 483 648.
    #[must_use]
    pub const fn distance(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u32> for Timestamp {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl From<Timestamp> for u32 {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

/// How many [`Timestamp`] ticks an Opus stream has per second, whatever its audio bandwidth.
///
/// RFC 7587, section 4.1, "RTP Header Usage".
pub const OPUS_CLOCK_HZ: u32 = 48_000;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn clocks_become_timestamps_that_wrap() {
        let at = |nanos, hz| Timestamp::from_duration(Duration::from_nanos(nanos), hz).get();
        assert_eq!(at(20_000_000, OPUS_CLOCK_HZ), 960);
        assert_eq!(at(20_833, OPUS_CLOCK_HZ), 0, "not quite a tick");
        assert_eq!(at(20_834, OPUS_CLOCK_HZ), 1);
        let day = Duration::from_secs(86_400);
        assert_eq!(Timestamp::from_duration(day, OPUS_CLOCK_HZ).get(), (86_400_u64 * 48_000) as u32);
        assert_eq!(Timestamp::from_duration(2 * day, 90_000).get(), (2 * 86_400 * 90_000_u64 % (1 << 32)) as u32);
        let last = Duration::new(u64::MAX, 999_999_999);
        assert_eq!(Timestamp::from_duration(last, u32::MAX).get(), u32::MAX - 4);
    }

    #[test]
    fn numbers_convert_and_print() {
        assert_eq!(u32::from(Ssrc::from(7)), 7);
        assert_eq!(u16::from(Sequence::from(7)), 7);
        assert_eq!(u32::from(Timestamp::from(7)), 7);
        assert_eq!(Ssrc::new(7).to_string(), "7");
        assert_eq!(Sequence::new(7).to_string(), "7");
        assert_eq!(Timestamp::new(7).to_string(), "7");
    }
}
