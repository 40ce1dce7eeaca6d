//! Headers as nonces, which `xsalsa20_poly1305` makes of them.
//!
//! An RTP nonce is the twelve bytes of the fixed header and zeros, an RTCP nonce the first eight
//! bytes and zeros. Whoever writes the headers could repeat one, so this remembers enough, in
//! bounded memory, to refuse.

use voice_rtp::RtpHeader;

use super::zero_padded;
use crate::mode::NONCE_LEN;
use crate::open::RTCP_CLEAR_LEN;
use crate::seal::SealError;

/// What was sealed, as far as it matters for what may be sealed next.
#[derive(Default)]
pub(crate) struct Headers {
    streams: [Option<Stream>; STREAMS],
    rtcp: [Option<[u8; RTCP_CLEAR_LEN]>; RTCP_HEADERS],
}

impl Headers {
    /// Returns the nonce of a packet with this clear part, if it was never returned before.
    pub(crate) fn take(&mut self, clear: &[u8]) -> Result<[u8; NONCE_LEN], SealError> {
        if let Ok(header) = <[u8; RtpHeader::LEN]>::try_from(clear) {
            self.take_rtp(header)?;
        } else {
            let header = <[u8; RTCP_CLEAR_LEN]>::try_from(clear).map_err(|_| SealError::Bounds)?;
            self.take_rtcp(header)?;
        }
        Ok(zero_padded(clear))
    }

    fn take_rtp(&mut self, header: [u8; RtpHeader::LEN]) -> Result<(), SealError> {
        let [_, _, n0, n1, t0, t1, t2, t3, s0, s1, s2, s3] = header;
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let sequence = u16::from_be_bytes([n0, n1]);
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        if ssrc == 0 {
            // Followed by zeros it could be the nonce of an RTCP packet.
            return Err(SealError::NonceReused);
        }
        // The streams that are known come before the free places.
        for place in &mut self.streams {
            match place {
                Some(stream) if stream.ssrc != ssrc => {}
                Some(stream) => return stream.advance(sequence, timestamp),
                None => {
                    *place = Some(Stream { ssrc, sequence, timestamp, steps: 0, ticks: 0 });
                    return Ok(());
                }
            }
        }
        Err(SealError::NonceExhausted)
    }

    fn take_rtcp(&mut self, header: [u8; RTCP_CLEAR_LEN]) -> Result<(), SealError> {
        for place in &mut self.rtcp {
            match place {
                Some(used) if *used != header => {}
                Some(_) => return Err(SealError::NonceReused),
                None => {
                    *place = Some(header);
                    return Ok(());
                }
            }
        }
        Err(SealError::NonceExhausted)
    }
}

/// One SSRC: its timestamp only moves forward, and less than once around.
///
/// So two packets with one timestamp follow each other without another timestamp between them, and
/// among those the sequence number only moves forward, less than once around: no pair of the two
/// comes twice, whatever the other bits of the header are.
struct Stream {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// By how much the sequence number moved since the timestamp last did.
    steps: u16,
    /// By how much the timestamp moved since the first packet.
    ticks: u32,
}

impl Stream {
    fn advance(&mut self, sequence: u16, timestamp: u32) -> Result<(), SealError> {
        let ticks = timestamp.wrapping_sub(self.timestamp);
        let steps = if ticks == 0 {
            let steps = sequence.wrapping_sub(self.sequence);
            if steps == 0 {
                return Err(SealError::NonceReused);
            }
            self.steps.checked_add(steps).ok_or(SealError::NonceReused)?
        } else {
            0
        };
        if ticks > i32::MAX.unsigned_abs() {
            return Err(SealError::NonceReused);
        }
        let ticks = self.ticks.checked_add(ticks).filter(|ticks| *ticks <= MAX_TICKS);
        self.ticks = ticks.ok_or(SealError::NonceExhausted)?;
        self.steps = steps;
        self.sequence = sequence;
        self.timestamp = timestamp;
        Ok(())
    }
}

/// How many SSRCs one sealer seals for: the audio of a client, its video and retransmissions, and
/// some after a restart.
const STREAMS: usize = 8;

/// How many different RTCP headers one sealer seals, each once: type, length and SSRC are all that
/// tells two reports apart.
const RTCP_HEADERS: usize = 8;

/// How far a timestamp moves at most, in ticks of 48 kHz: 24.8 hours.
///
/// Stopping 65 536 ticks before it is once around leaves room for counting wrongly by a little.
const MAX_TICKS: u32 = u32::MAX - 0xFFFF;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn rtp(sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
        let mut header = [0x80, 0x78].to_vec();
        header.extend(sequence.to_be_bytes());
        header.extend(timestamp.to_be_bytes());
        header.extend(ssrc.to_be_bytes());
        header
    }

    #[test]
    fn a_stream_goes_forward_across_both_wraps() {
        let mut headers = Headers::default();
        for step in 0..200_000_u32 {
            let header = rtp((step + 65_000) as u16, step.wrapping_mul(960).wrapping_sub(5_000), 7);
            let nonce = headers.take(&header).expect("a new header");
            assert!(nonce.iter().eq(header.iter().chain(&[0; 12])));
        }
    }

    #[test]
    fn a_header_that_was_sealed_or_may_have_been_is_refused() {
        let mut headers = Headers::default();
        headers.take(&rtp(10, 960, 7)).expect("the first");
        for (sequence, timestamp) in [(10, 960), (11, 959), (11, 960_u32.wrapping_sub(1 << 31)), (9, 0)] {
            let refused = headers.take(&rtp(sequence, timestamp, 7));
            assert_eq!(refused, Err(SealError::NonceReused), "{sequence} {timestamp}");
        }
        headers.take(&rtp(11, 960, 7)).expect("the next of the same frame");
        headers.take(&rtp(9, 960, 7)).expect("once around, almost");
        assert_eq!(headers.take(&rtp(10, 960, 7)), Err(SealError::NonceReused));
        headers.take(&rtp(10, 961, 7)).expect("another timestamp");
        headers.take(&rtp(10, 960, 8)).expect("another stream");
        assert_eq!(headers.take(&rtp(10, 960, 0)), Err(SealError::NonceReused));
    }

    #[test]
    fn a_timestamp_that_went_around_is_exhausted_before_it_repeats() {
        let mut headers = Headers::default();
        headers.take(&rtp(0, 0, 7)).expect("the first");
        headers.take(&rtp(1, 1 << 30, 7)).expect("a pause");
        headers.take(&rtp(2, 1 << 31, 7)).expect("a pause");
        headers.take(&rtp(3, 3 << 30, 7)).expect("a pause");
        headers.take(&rtp(4, MAX_TICKS, 7)).expect("the last");
        assert_eq!(headers.take(&rtp(5, MAX_TICKS + 1, 7)), Err(SealError::NonceExhausted));
        assert_eq!(headers.take(&rtp(6, 100, 7)), Err(SealError::NonceExhausted));
        headers.take(&rtp(5, MAX_TICKS, 7)).expect("the same frame");
    }

    #[test]
    fn streams_and_reports_are_bounded() {
        let mut headers = Headers::default();
        for number in 1..=8 {
            headers.take(&rtp(0, 0, number)).expect("a place");
            headers.take(&[0x80, 0xC8, 0, number as u8, 0, 0, 0, 1]).expect("a place");
        }
        assert_eq!(headers.take(&rtp(0, 0, 9)), Err(SealError::NonceExhausted));
        assert_eq!(headers.take(&[0x80, 0xC8, 0, 9, 0, 0, 0, 1]), Err(SealError::NonceExhausted));
        assert_eq!(headers.take(&[0x80, 0xC8, 0, 8, 0, 0, 0, 1]), Err(SealError::NonceReused));
        headers.take(&rtp(1, 0, 8)).expect("a known stream");
        assert_eq!(headers.take(&[0x80; 16]), Err(SealError::Bounds));
        assert_eq!(headers.take(&[]), Err(SealError::Bounds));
    }

    proptest! {
        #[test]
        fn no_nonce_comes_twice(
            packets in prop::collection::vec(
                (
                    prop::sample::select(std::vec![0_u16, 1, 2, 3, 40_000, 65_535]),
                    prop::sample::select(std::vec![0_u32, 1, 2, 1 << 30, 1 << 31, 3 << 30, u32::MAX]),
                    0_u32..3,
                    any::<bool>(),
                ),
                0..200,
            ),
        ) {
            let mut headers = Headers::default();
            let mut seen = HashSet::new();
            for (sequence, timestamp, ssrc, rtcp) in packets {
                let header = rtp(sequence, timestamp, ssrc);
                let clear = header.get(..if rtcp { 8 } else { 12 }).expect("a header");
                if let Ok(nonce) = headers.take(clear) {
                    prop_assert!(seen.insert(nonce), "{clear:?}");
                }
            }
        }
    }
}
