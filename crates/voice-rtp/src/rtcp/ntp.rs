//! Times in sender reports: RFC 3550, section 4.

use core::time::Duration;

/// A moment as reports have it: seconds since the start of 1900, modulo 2^32, and a fraction.
///
/// The seconds wrap in 2036; only differences of times less than 68 years apart make sense.
///
/// ```
/// use std::time::Duration;
/// use voice_rtp::rtcp::NtpTimestamp;
///
/// let ntp = NtpTimestamp::from_unix(Duration::from_millis(1_500));
/// assert_eq!((ntp.seconds, ntp.fraction), (2_208_988_801, 1 << 31));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct NtpTimestamp {
    /// Seconds since the start of 1900, modulo 2^32.
    pub seconds: u32,
    /// What is beyond the seconds, in 2^-32 seconds.
    pub fraction: u32,
}

impl NtpTimestamp {
    /// Makes the moment that is `bits` times 2^-32 seconds after the start of 1900.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { seconds: (bits >> 32) as u32, fraction: bits as u32 }
    }

    /// Makes the moment that is `since` after the start of 1970, as a system clock has it.
    #[must_use]
    pub const fn from_unix(since: Duration) -> Self {
        // Only what wraps anyway is cut off.
        let seconds = since.as_secs().wrapping_add(UNIX_EPOCH_SECONDS) as u32;
        Self { seconds, fraction: (((since.subsec_nanos() as u64) << 32) / NANOS_PER_SECOND) as u32 }
    }

    /// Returns the time since the start of 1900, in 2^-32 seconds, modulo 2^64.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.seconds as u64) << 32 | self.fraction as u64
    }

    /// Returns the middle 32 bits, in 1/65 536 seconds: what a report block names the last sender
    /// report by.
    ///
    /// RFC 3550, section 6.4.1, "last SR timestamp".
    #[must_use]
    pub const fn short(self) -> u32 {
        (self.to_bits() >> 16) as u32
    }

    /// Returns the moment `later` than this one, modulo 2^32 seconds.
    #[must_use]
    pub const fn wrapping_add(self, later: Duration) -> Self {
        let seconds = later.as_secs() << 32;
        let fraction = ((later.subsec_nanos() as u64) << 32) / NANOS_PER_SECOND;
        Self::from_bits(self.to_bits().wrapping_add(seconds).wrapping_add(fraction))
    }

    /// Returns the time from `earlier` to this moment, zero if it is the later one of both.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        let bits = self.to_bits().wrapping_sub(earlier.to_bits());
        if bits.cast_signed() < 0 {
            return Duration::ZERO;
        }
        let nanos = ((bits & 0xFFFF_FFFF) * NANOS_PER_SECOND) >> 32;
        Duration::from_nanos((bits >> 32) * NANOS_PER_SECOND + nanos)
    }
}

/// Converts a time to 1/65 536 seconds, the unit of a report's delay since the last sender report.
///
/// From 18 hours, 12 minutes and 16 seconds on, it is the largest number there is.
#[must_use]
pub const fn short_from_duration(duration: Duration) -> u32 {
    let fraction = ((duration.subsec_nanos() as u64) << 16) / NANOS_PER_SECOND;
    match duration.as_secs() {
        seconds @ 0..=0xFFFF => (seconds << 16 | fraction) as u32,
        _ => u32::MAX,
    }
}

/// Converts a time in 1/65 536 seconds, the unit of a report's delay since the last sender report.
///
/// ```
/// use std::time::Duration;
/// use voice_rtp::rtcp::{duration_from_short, short_from_duration};
///
/// assert_eq!(short_from_duration(Duration::from_millis(5_250)), 0x0005_4000);
/// assert_eq!(duration_from_short(0x0005_4000), Duration::from_millis(5_250));
/// ```
#[must_use]
pub const fn duration_from_short(short: u32) -> Duration {
    Duration::from_nanos((short as u64 * NANOS_PER_SECOND) >> 16)
}

/// The start of 1970 in seconds since that of 1900: RFC 5905, section 6.
const UNIX_EPOCH_SECONDS: u64 = 2_208_988_800;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_both_ways() {
        let ntp = NtpTimestamp { seconds: 0x0102_0304, fraction: 0x0506_0708 };
        assert_eq!(ntp.to_bits(), 0x0102_0304_0506_0708);
        assert_eq!(NtpTimestamp::from_bits(ntp.to_bits()), ntp);
        assert_eq!(ntp.short(), 0x0304_0506);
    }

    #[test]
    fn the_first_era_ends_in_2036() {
        let last = Duration::from_secs(2_085_978_495);
        assert_eq!(NtpTimestamp::from_unix(last), NtpTimestamp { seconds: u32::MAX, fraction: 0 });
        let next = NtpTimestamp::from_unix(last + Duration::from_millis(1_250));
        assert_eq!(next, NtpTimestamp { seconds: 0, fraction: 1 << 30 });
        assert_eq!(next.saturating_since(NtpTimestamp::from_unix(last)), Duration::from_millis(1_250));
        assert_eq!(NtpTimestamp::from_unix(Duration::MAX).fraction, 0xFFFF_FFFB);
    }

    #[test]
    fn times_add_and_subtract() {
        let ntp = NtpTimestamp { seconds: u32::MAX, fraction: 0xC000_0000 };
        let later = ntp.wrapping_add(Duration::from_millis(500));
        assert_eq!(later, NtpTimestamp { seconds: 0, fraction: 0x4000_0000 });
        assert_eq!(later.saturating_since(ntp), Duration::from_millis(500));
        assert_eq!(ntp.saturating_since(later), Duration::ZERO);
        assert_eq!(ntp.saturating_since(ntp), Duration::ZERO);
        let far = NtpTimestamp::from_bits(i64::MAX as u64);
        assert_eq!(far.saturating_since(NtpTimestamp::default()), Duration::new((1 << 31) - 1, 999_999_999));
        assert_eq!(ntp.wrapping_add(Duration::MAX).seconds, ntp.seconds);
    }

    #[test]
    fn short_times_saturate() {
        for (duration, short) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(15_258), 0),
            (Duration::from_nanos(15_259), 1),
            (Duration::from_secs(1), 1 << 16),
            (Duration::from_secs(65_535), 0xFFFF_0000),
            (Duration::new(65_535, 999_999_999), u32::MAX),
            (Duration::from_secs(65_536), u32::MAX),
            (Duration::MAX, u32::MAX),
        ] {
            assert_eq!(short_from_duration(duration), short, "{duration:?}");
        }
        assert_eq!(duration_from_short(u32::MAX), Duration::from_nanos(65_535_999_984_741));
    }
}
