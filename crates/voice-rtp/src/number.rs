//! The three numbers of an RTP header, with the arithmetic that wraps.

use core::fmt;

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
