//! Sender and receiver reports: RFC 3550, section 6.4.

use core::time::Duration;

use super::{NtpTimestamp, ParseError, duration_from_short, put, split_ssrc, words};
use crate::number::{Ssrc, Timestamp};

/// What a sender sent, and what it received from others: RFC 3550, section 6.4.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SenderReport<'a> {
    /// The stream this report is about.
    pub ssrc: Ssrc,
    /// What was sent.
    pub info: SenderInfo,
    /// What was received.
    pub reports: Reports<'a>,
    /// Bytes behind the reports, without common meaning.
    pub profile_extension: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        let (ssrc, body) = split_ssrc(body).ok_or(ParseError::ReportOverrun)?;
        let (info, body) = body.split_first_chunk().ok_or(ParseError::ReportOverrun)?;
        let (reports, profile_extension) = Reports::split(count, body)?;
        Ok(Self { ssrc, info: SenderInfo::from_bytes(info), reports, profile_extension })
    }
}

/// What a receiver received: RFC 3550, section 6.4.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// What was received.
    pub reports: Reports<'a>,
    /// Bytes behind the reports, without common meaning.
    pub profile_extension: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, ParseError> {
        let (ssrc, body) = split_ssrc(body).ok_or(ParseError::ReportOverrun)?;
        let (reports, profile_extension) = Reports::split(count, body)?;
        Ok(Self { ssrc, reports, profile_extension })
    }
}

/// What a sender sent: RFC 3550, section 6.4.1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SenderInfo {
    /// When this was sent.
    pub ntp: NtpTimestamp,
    /// The same moment on the media clock, in ticks.
    pub rtp_timestamp: Timestamp,
    /// How many packets were sent, modulo 2^32.
    pub packet_count: u32,
    /// How many bytes of payload were sent, modulo 2^32.
    pub octet_count: u32,
}

impl SenderInfo {
    pub(super) const LEN: usize = 20;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let NtpTimestamp { seconds, fraction } = self.ntp;
        put(&mut bytes, [seconds, fraction, self.rtp_timestamp.get(), self.packet_count, self.octet_count]);
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [seconds, fraction, rtp_timestamp, packet_count, octet_count] = words(bytes);
        let ntp = NtpTimestamp { seconds, fraction };
        Self { ntp, rtp_timestamp: Timestamp::new(rtp_timestamp), packet_count, octet_count }
    }
}

/// What was received of one stream: RFC 3550, section 6.4.1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Which part of the packets was lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// How many packets were lost since the start; negative when duplicates outnumber losses. Only
    /// 24 bits are on the wire.
    pub cumulative_lost: i32,
    /// The highest sequence number in the low half, how often it wrapped in the high half.
    pub highest_sequence: u32,
    /// The mean deviation of the arrival times, in ticks.
    pub jitter: u32,
    /// [`NtpTimestamp::short`] of the last sender report, 0 without one.
    pub last_sender_report: u32,
    /// The time since then, in 1/65 536 seconds: see [`short_from_duration`](super::short_from_duration).
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    /// The length of a block, in bytes.
    pub const LEN: usize = 24;

    /// Returns the block as it is on the wire.
    ///
    /// A [`cumulative_lost`](Self::cumulative_lost) beyond 24 bits becomes the nearest value that
    /// fits.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF);
        let [_, l0, l1, l2] = lost.to_be_bytes();
        let mut bytes = [0; Self::LEN];
        put(
            &mut bytes,
            [
                self.ssrc.get(),
                u32::from_be_bytes([self.fraction_lost, l0, l1, l2]),
                self.highest_sequence,
                self.jitter,
                self.last_sender_report,
                self.delay_since_last_sender_report,
            ],
        );
        bytes
    }

    /// Returns the time that packets take to the receiver and back, as seen by the sender who got
    /// this block at `arrival`; `None` if the receiver had no sender report yet.
    ///
    /// The clock of `arrival` must be the one that stamped the sender reports. Where rounding or a
    /// clock that was set makes the time negative, it is zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// use voice_rtp::rtcp::{NtpTimestamp, ReportBlock, short_from_duration};
    ///
    /// let sent = NtpTimestamp { seconds: 3_965_417_985, fraction: 0 };
    /// let block = ReportBlock {
    ///     last_sender_report: sent.short(),
    ///     delay_since_last_sender_report: short_from_duration(Duration::from_secs(4)),
    ///     ..ReportBlock::default()
    /// };
    /// let arrival = NtpTimestamp { seconds: sent.seconds + 4, fraction: 1 << 31 };
    /// assert_eq!(block.round_trip(arrival), Some(Duration::from_millis(500)));
    /// ```
    ///
    /// RFC 3550, section 6.4.1, "delay since last SR".
    #[must_use]
    pub fn round_trip(&self, arrival: NtpTimestamp) -> Option<Duration> {
        if self.last_sender_report == 0 {
            return None;
        }
        let short = arrival.short().wrapping_sub(self.last_sender_report);
        let short = short.wrapping_sub(self.delay_since_last_sender_report);
        Some(duration_from_short(u32::try_from(short.cast_signed()).unwrap_or(0)))
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [ssrc, lost, highest_sequence, jitter, lsr, dlsr] = words(bytes);
        let [fraction_lost, ..] = lost.to_be_bytes();
        Self {
            ssrc: Ssrc::new(ssrc),
            fraction_lost,
            // Shifting up and down again extends the sign of the 24-bit number.
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            highest_sequence,
            jitter,
            last_sender_report: lsr,
            delay_since_last_sender_report: dlsr,
        }
    }
}

/// The reports in one packet, 0 to 31 of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reports<'a>(&'a [[u8; ReportBlock::LEN]]);

impl<'a> Reports<'a> {
    /// Returns how many reports there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the reports in wire order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReportBlock> + Clone + use<'a> {
        self.0.iter().map(ReportBlock::from_bytes)
    }

    pub(super) const fn as_bytes(&self) -> &'a [u8] {
        self.0.as_flattened()
    }

    fn split(count: u8, body: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let (blocks, rest) =
            body.split_at_checked(usize::from(count) * ReportBlock::LEN).ok_or(ParseError::ReportOverrun)?;
        let (blocks, _) = blocks.as_chunks();
        Ok((Self(blocks), rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_beyond_24_bits_are_clamped() {
        for (lost, read) in [(i32::MAX, 0x7F_FFFF), (i32::MIN, -0x80_0000), (-1, -1)] {
            let block = ReportBlock { cumulative_lost: lost, fraction_lost: 3, ..ReportBlock::default() };
            let found = ReportBlock::from_bytes(&block.to_bytes());
            assert_eq!((found.cumulative_lost, found.fraction_lost), (read, 3));
        }
    }

    #[test]
    fn the_round_trip_is_that_of_the_standard() {
        // RFC 3550, figure 2.
        let sent = NtpTimestamp { seconds: 0xB44D_B705, fraction: 0x2000_0000 };
        let arrival = NtpTimestamp { seconds: 0xB44D_B710, fraction: 0x8000_0000 };
        let mut block = ReportBlock {
            last_sender_report: 0xB705_2000,
            delay_since_last_sender_report: 0x0005_4000,
            ..ReportBlock::default()
        };
        assert_eq!(sent.short(), block.last_sender_report);
        assert_eq!(block.round_trip(arrival), Some(Duration::from_millis(6_125)));
        assert_eq!(block.round_trip(sent), Some(Duration::ZERO), "negative");
        block.last_sender_report = 0;
        assert_eq!(block.round_trip(arrival), None);
    }

    #[test]
    fn the_round_trip_survives_the_wrap_of_the_seconds() {
        let block = ReportBlock {
            last_sender_report: 0xFFFF_8000,
            delay_since_last_sender_report: 0x8000,
            ..ReportBlock::default()
        };
        let arrival = NtpTimestamp { seconds: 0x1_0002, fraction: 0 };
        assert_eq!(block.round_trip(arrival), Some(Duration::from_secs(2)));
    }
}
