//! The estimators against the code of RFC 3550, written down as it stands there.

use proptest::prelude::*;
use voice_rtp::rtcp::ReportBlock;
use voice_rtp::{Jitter, Reception, Sequence, Ssrc, Timestamp, Verdict};

/// `source` of RFC 3550, appendix A.1, with 64 bits where the RFC would overflow.
#[derive(Default)]
struct Source {
    max_seq: i64,
    cycles: i64,
    base_seq: i64,
    bad_seq: i64,
    probation: i64,
    received: i64,
    expected_prior: i64,
    received_prior: i64,
}

const RTP_SEQ_MOD: i64 = 1 << 16;
const MAX_DROPOUT: i64 = 3_000;
const MAX_MISORDER: i64 = 100;

impl Source {
    fn heard(seq: u16, min_sequential: i64) -> Self {
        let mut source = Self::default();
        source.init_seq(seq);
        source.max_seq = (i64::from(seq) - 1).rem_euclid(RTP_SEQ_MOD);
        source.probation = min_sequential;
        source
    }

    fn init_seq(&mut self, seq: u16) {
        self.base_seq = seq.into();
        self.max_seq = seq.into();
        self.bad_seq = RTP_SEQ_MOD + 1;
        self.cycles = 0;
        self.received = 0;
        self.received_prior = 0;
        self.expected_prior = 0;
    }

    fn update_seq(&mut self, seq: u16, min_sequential: i64) -> bool {
        let number = i64::from(seq);
        let udelta = (number - self.max_seq).rem_euclid(RTP_SEQ_MOD);
        if self.probation > 0 {
            if number == (self.max_seq + 1) % RTP_SEQ_MOD {
                self.probation -= 1;
                self.max_seq = number;
                if self.probation == 0 {
                    self.init_seq(seq);
                    self.received += 1;
                    return true;
                }
            } else {
                self.probation = min_sequential - 1;
                self.max_seq = number;
            }
            return false;
        } else if udelta < MAX_DROPOUT {
            if number < self.max_seq {
                self.cycles += RTP_SEQ_MOD;
            }
            self.max_seq = number;
        } else if udelta <= RTP_SEQ_MOD - MAX_MISORDER {
            if number == self.bad_seq {
                self.init_seq(seq);
            } else {
                self.bad_seq = (number + 1) % RTP_SEQ_MOD;
                return false;
            }
        }
        self.received += 1;
        true
    }

    fn expected(&self) -> i64 {
        self.cycles + self.max_seq - self.base_seq + 1
    }

    /// Appendix A.3: the losses in all, limited to 24 bits, and the fraction since the last call.
    fn losses(&mut self) -> (i64, i64) {
        let expected = self.expected();
        let lost = (expected - self.received).clamp(-0x80_0000, 0x7F_FFFF);
        let expected_interval = expected - self.expected_prior;
        self.expected_prior = expected;
        let received_interval = self.received - self.received_prior;
        self.received_prior = self.received;
        let lost_interval = expected_interval - received_interval;
        let fraction =
            if expected_interval == 0 || lost_interval <= 0 { 0 } else { (lost_interval << 8) / expected_interval };
        (lost, fraction)
    }
}

/// Numbers as networks deliver them: mostly the next one, some late, some far away.
fn stream() -> impl Strategy<Value = Vec<u16>> {
    let step = prop_oneof![
        20 => Just(1_i32),
        4 => 2..50_i32,
        4 => -10..=0_i32,
        1 => 2_990..=3_010_i32,
        1 => -110..-90_i32,
        1 => any::<u16>().prop_map(i32::from),
    ];
    (any::<u16>(), prop::collection::vec(step, 1..400)).prop_map(|(start, steps)| {
        let mut number = i32::from(start);
        steps
            .into_iter()
            .map(|step| {
                number = (number + step).rem_euclid(1 << 16);
                number as u16
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn counts_are_those_of_the_rfc(
        numbers in stream(),
        probation in 1_u8..5,
        report_every in 1_usize..60,
    ) {
        let ssrc = Ssrc::new(7);
        let mut ours = Reception::with_probation(ssrc, probation);
        let mut theirs = Source::heard(numbers[0], probation.into());
        let now = Timestamp::new(0);
        for (step, &number) in numbers.iter().enumerate() {
            let verdict = ours.receive(Sequence::new(number), now, now);
            let counted = theirs.update_seq(number, probation.into());
            prop_assert_eq!(counted, !matches!(verdict, Verdict::Probation | Verdict::Jump));
            prop_assert_eq!(ours.is_valid(), theirs.probation == 0);
            if !ours.is_valid() {
                prop_assert_eq!(ours.report_block(), ReportBlock { ssrc, ..ReportBlock::default() });
                continue;
            }
            prop_assert_eq!(ours.received() as i64, theirs.received);
            prop_assert_eq!(ours.expected() as i64, theirs.expected());
            prop_assert_eq!(ours.highest().map(|highest| highest as i64), Some(theirs.cycles + theirs.max_seq));
            if step % report_every == 0 {
                let block = ours.report_block();
                let (lost, fraction) = theirs.losses();
                prop_assert_eq!(i64::from(block.cumulative_lost), lost);
                prop_assert_eq!(i64::from(block.fraction_lost), fraction);
                prop_assert_eq!(i64::from(block.highest_sequence), theirs.cycles + theirs.max_seq);
                prop_assert_eq!(block.ssrc, ssrc);
            }
        }
    }

    #[test]
    fn jitter_is_that_of_the_rfc(packets in prop::collection::vec((any::<u32>(), 0_u32..1 << 24), 1..200)) {
        let mut ours = Jitter::new();
        // Appendix A.8 on its int arithmetic, which deviations of 24 bits do not overflow.
        let (mut transit, mut jitter) = (None, 0_i64);
        for (timestamp, late) in packets {
            let arrival = timestamp.wrapping_add(late);
            ours.update(Timestamp::new(arrival), Timestamp::new(timestamp));
            let now = i64::from(late);
            if let Some(before) = transit.replace(now) {
                let d = i64::abs(now - before);
                jitter += d - ((jitter + 8) >> 4);
            }
            prop_assert_eq!(i64::from(ours.ticks()), jitter >> 4);
        }
    }

    /// What was really lost, counted with a set, when nothing jumps and nothing is sent twice.
    #[test]
    fn losses_are_what_did_not_arrive(
        start: u16,
        arrives in prop::collection::vec(prop::bool::weighted(0.9), 2..3_000),
        swap_every in 2_usize..50,
    ) {
        let mut sent: Vec<u64> = (0..).zip(&arrives).filter_map(|(number, &arrives)| arrives.then_some(number)).collect();
        prop_assume!(!sent.is_empty());
        for pair in sent.chunks_exact_mut(swap_every).skip(1) {
            pair.swap(0, 1);
        }
        let mut ours = Reception::new(Ssrc::new(7));
        for number in &sent {
            ours.receive(Sequence::new(start.wrapping_add(*number as u16)), Timestamp::new(0), Timestamp::new(0));
        }
        let span = sent.iter().max().unwrap() - sent.iter().min().unwrap() + 1;
        prop_assert_eq!(ours.expected(), span);
        prop_assert_eq!(i64::from(ours.lost()), span as i64 - sent.len() as i64);
        let lost = span - sent.len() as u64;
        prop_assert_eq!(u64::from(ours.report_block().fraction_lost), lost * 256 / span);
    }
}
