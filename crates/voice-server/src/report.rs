//! What the server heard of one client: the numbers of an RTCP receiver report.

use voice_rtp::{Sequence, SequenceExtender, Ssrc, Timestamp};

/// Reception of one stream, after RFC 3550, appendix A.
#[derive(Debug)]
pub(crate) struct Reception {
    extender: SequenceExtender,
    /// The extended number of the first packet.
    base: Option<u64>,
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Sixteen times the jitter, in clock ticks (RFC 3550, appendix A.8).
    jitter_16: u32,
    transit: Option<u32>,
}

impl Reception {
    pub(crate) const fn new() -> Self {
        Self {
            extender: SequenceExtender::new(),
            base: None,
            received: 0,
            expected_before: 0,
            received_before: 0,
            jitter_16: 0,
            transit: None,
        }
    }

    /// Counts a packet that arrived at this time, in 48 kHz ticks of any origin.
    pub(crate) fn packet(&mut self, sequence: Sequence, timestamp: Timestamp, arrival_ticks: u32) {
        let extended = self.extender.extend(sequence);
        self.base.get_or_insert(extended);
        self.received += 1;
        let transit = arrival_ticks.wrapping_sub(timestamp.get());
        if let Some(before) = self.transit.replace(transit) {
            let change = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A jump of the media clock, for example after a pause, is not jitter.
            if change < MAX_TRANSIT_CHANGE_TICKS {
                let smoothed = self.jitter_16 - ((self.jitter_16 + 8) >> 4);
                self.jitter_16 = smoothed + change;
            }
        }
    }

    /// A plain receiver report about the stream, if any of it came.
    ///
    /// Its sender is the client's own SSRC, as on the service.
    pub(crate) fn report(&mut self, ssrc: Ssrc) -> Option<[u8; REPORT_LEN]> {
        let (base, highest) = (self.base?, self.extender.highest()?);
        let expected = (highest + 1).saturating_sub(base);
        let lost = expected.cast_signed() - self.received.cast_signed();
        let expected_now = expected.saturating_sub(self.expected_before);
        let received_now = self.received - self.received_before;
        (self.expected_before, self.received_before) = (expected, self.received);
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now << 8).checked_div(expected_now).unwrap_or(0).min(255);

        let ssrc = ssrc.get().to_be_bytes();
        let lost = i32::try_from(lost.clamp(MIN_LOST, MAX_LOST)).unwrap_or(0).to_be_bytes();
        // The sequence, and before it how often it wrapped since the first packet.
        let highest = (highest - (base & !0xFFFF)).to_be_bytes();

        let mut report = [0; REPORT_LEN];
        let words = [
            [0x81, 201, 0, 7],
            ssrc,
            ssrc,
            [u8::try_from(fraction).unwrap_or(255), lost[1], lost[2], lost[3]],
            [highest[4], highest[5], highest[6], highest[7]],
            (self.jitter_16 >> 4).to_be_bytes(),
        ];
        for (place, word) in report.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word);
        }
        Some(report)
    }
}

/// A receiver report with one block: RFC 3550, section 6.4.2.
pub(crate) const REPORT_LEN: usize = 32;

/// The cumulative number of packets lost has 24 bits and a sign: RFC 3550, section 6.4.1.
const MIN_LOST: i64 = -0x80_0000;
const MAX_LOST: i64 = 0x7F_FFFF;

/// Ten seconds.
const MAX_TRANSIT_CHANGE_TICKS: u32 = 480_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(reception: &mut Reception, sequences: &[u16]) {
        for (index, sequence) in (0_u32..).zip(sequences) {
            let ticks = index * 960;
            reception.packet(Sequence::new(*sequence), Timestamp::new(ticks), ticks + 5);
        }
    }

    #[test]
    fn loss_is_a_fraction_since_the_last_report_and_a_sum_since_the_first() {
        let mut reception = Reception::new();
        assert_eq!(reception.report(Ssrc::new(9)), None);
        feed(&mut reception, &[10, 11, 13, 14]);
        let report = reception.report(Ssrc::new(9)).unwrap();
        assert_eq!(report[..12], [0x81, 201, 0, 7, 0, 0, 0, 9, 0, 0, 0, 9]);
        assert_eq!(report[12..16], [51, 0, 0, 1]); // 256 / 5
        assert_eq!(report[18..20], [0, 14]);
        feed(&mut reception, &[15, 16]);
        let report = reception.report(Ssrc::new(9)).unwrap();
        assert_eq!(report[12..16], [0, 0, 0, 1]);
    }

    #[test]
    fn a_wrap_is_no_loss_and_duplicates_make_the_sum_negative() {
        let mut reception = Reception::new();
        feed(&mut reception, &[65_534, 65_535, 0, 1]);
        let report = reception.report(Ssrc::new(9)).unwrap();
        assert_eq!(report[12..16], [0, 0, 0, 0]);
        assert_eq!(report[16..20], [0, 1, 0, 1]);
        feed(&mut reception, &[1, 1]);
        let report = reception.report(Ssrc::new(9)).unwrap();
        assert_eq!(report[12..16], [0, 0xFF, 0xFF, 0xFE]);
        assert_eq!(report[16..20], [0, 1, 0, 1]);
    }

    #[test]
    fn jitter_follows_arrival_and_ignores_a_jump_of_the_media_clock() {
        let mut reception = Reception::new();
        for index in 0..100_u32 {
            let wobble = (index % 2) * 480;
            let arrival = index * 960 + wobble;
            reception.packet(Sequence::new(1), Timestamp::new(index * 960), arrival);
        }
        let jitter = |r: &mut Reception| {
            let report = r.report(Ssrc::new(9)).unwrap();
            u32::from_be_bytes([report[20], report[21], report[22], report[23]])
        };
        let steady = jitter(&mut reception);
        assert!((400..=480).contains(&steady), "{steady}");
        reception.packet(Sequence::new(2), Timestamp::new(0x8000_0000), 0);
        assert_eq!(jitter(&mut reception), steady);
    }
}
