//! Known patterns give known figures.

use core::time::Duration;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, proptest};
use voice_rtp::{OPUS_PAYLOAD_TYPE, RtpHeader, Sequence, Ssrc, Timestamp};

use super::recorder::Recorder;
use super::spread::{Spread, median};
use super::{MeasureLimits, Measurement};

fn header(ssrc: u32, sequence: u16, timestamp: u32) -> RtpHeader {
    RtpHeader {
        marker: false,
        payload_type: OPUS_PAYLOAD_TYPE,
        sequence: Sequence::new(sequence),
        timestamp: Timestamp::new(timestamp),
        ssrc: Ssrc::new(ssrc),
    }
}

/// A packet of one stream: how many numbers and periods after the start, and when it comes.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u32,
    period: u32,
    at: Duration,
}

/// The same number as period, so late.
fn on_grid(number: u32, late_us: i64) -> Sent {
    let at = Duration::from_secs(1_000) + PERIOD * number;
    let late = Duration::from_micros(late_us.unsigned_abs());
    Sent { number, period: number, at: if late_us < 0 { at - late } else { at + late } }
}

/// Measures one stream that begins with this sequence number and timestamp.
fn measured_from(sequence: u16, timestamp: u32, packets: &[Sent]) -> Measurement {
    let mut recorder = Recorder::new(MeasureLimits::default());
    for sent in packets {
        let number = sequence.wrapping_add(u16::try_from(sent.number & 0xFFFF).unwrap());
        let timestamp = timestamp.wrapping_add(sent.period.wrapping_mul(960));
        recorder.record(Some(sent.at), header(7, number, timestamp));
    }
    recorder.finish()
}

fn measured(packets: &[Sent]) -> Measurement {
    measured_from(0, 0, packets)
}

#[test]
fn nothing_is_measured_of_nothing() {
    assert_eq!(Recorder::new(MeasureLimits::default()).finish(), Measurement::default());
}

#[test]
fn a_stream_on_its_grid_has_no_deviation() {
    let packets: Vec<_> = (0..1000).map(|number| on_grid(number, 0)).collect();
    let measured = measured(&packets);
    assert_eq!(measured, Measurement { streams: 1, packets: 1000, ..Measurement::default() });
}

#[test]
fn the_grid_is_the_median_of_its_stream() {
    // One early, one late, all others as late as each other: what is like the most is no deviation.
    let mut packets: Vec<_> = (0..1000).map(|number| on_grid(number, 500)).collect();
    packets[0] = on_grid(0, 0);
    packets[10] = on_grid(10, 3_500);
    let measured = measured(&packets);
    assert_eq!((measured.deviation.p50, measured.deviation.p99), (Duration::ZERO, Duration::ZERO));
    assert_eq!(measured.deviation.p99_9, Duration::from_micros(500));
    assert_eq!(measured.deviation.max, Duration::from_micros(3_000));
}

#[test]
fn streams_have_grids_of_their_own() {
    let mut recorder = Recorder::new(MeasureLimits::default());
    for number in 0..100_u16 {
        for ssrc in 0..50_u32 {
            let at = PERIOD * u32::from(number) + Duration::from_micros(400) * ssrc;
            recorder.record(Some(at), header(ssrc, number, 7_000 * ssrc + 960 * u32::from(number)));
        }
    }
    let measured = recorder.finish();
    assert_eq!((measured.streams, measured.packets), (50, 5_000));
    assert_eq!((measured.deviation.max, measured.jitter.max), (Duration::ZERO, Duration::ZERO));
}

#[test]
fn jitter_is_that_of_the_rfc() {
    // Every other packet is 1.6 ms late: the jitter tends to 1.6 ms.
    let packets: Vec<_> = (0..1000).map(|number| on_grid(number, i64::from(number % 2) * 1_600)).collect();
    let jitter = measured(&packets).jitter;
    assert!(jitter.p50 == jitter.max && jitter.max.abs_diff(Duration::from_micros(1_600)) < Duration::from_micros(1));
    // After one change of 1.6 ms it is a sixteenth of that.
    let jitter = measured(&[on_grid(0, 0), on_grid(1, 1_600)]).jitter;
    assert_eq!(jitter.max, Duration::from_micros(100));
}

#[test]
fn what_is_missing_is_counted_by_number_and_by_place() {
    let missing = [3, 4, 5, 50, 70, 71, 98];
    let packets: Vec<_> = (0..100).filter(|number| !missing.contains(number)).map(|n| on_grid(n, 0)).collect();
    let measured = measured(&packets);
    assert_eq!((measured.lost, measured.gaps, measured.skipped), (7, 4, 0));
    assert_eq!((measured.out_of_order, measured.duplicates), (0, 0));
}

#[test]
fn a_gap_longer_than_what_is_waited_for_is_one() {
    let packets: Vec<_> = (0..10).chain(300..310).map(|number| on_grid(number, 0)).collect();
    let measured = measured(&packets);
    assert_eq!((measured.lost, measured.gaps, measured.skipped), (290, 1, 0));
}

#[test]
fn skipped_periods_are_not_lost_packets() {
    // Numbers go on, time jumps by three periods; then a packet is missing and another period with it.
    let at = |number, period| Sent { number, period, at: PERIOD * period };
    let measured = measured(&[at(0, 0), at(1, 1), at(2, 5), at(3, 6), at(5, 9), at(6, 10)]);
    assert_eq!((measured.lost, measured.gaps, measured.skipped), (1, 1, 4));
    assert_eq!(measured.deviation.max, Duration::ZERO);
}

#[test]
fn what_comes_late_is_out_of_order_and_not_lost() {
    let order = [0, 1, 3, 2, 5, 6, 7, 4, 8, 8, 2];
    let measured = measured(&order.map(|number| on_grid(number, 0)));
    assert_eq!((measured.lost, measured.gaps, measured.skipped), (0, 0, 0));
    assert_eq!((measured.out_of_order, measured.duplicates), (2, 2));
    // Even before the first one that was seen.
    let measured = measured_from(5, 5, &[on_grid(65_535, 0), on_grid(65_534, 0), on_grid(65_536, 0)]);
    assert_eq!((measured.lost, measured.out_of_order, measured.duplicates), (0, 1, 0));
}

#[test]
fn an_arrival_that_is_not_known_is_counted() {
    let mut recorder = Recorder::new(MeasureLimits::default());
    recorder.record(None, header(7, 0, 0));
    recorder.record(Some(PERIOD), header(7, 1, 960));
    recorder.record(Some(PERIOD * 2), header(7, 2, 1_920));
    let measured = recorder.finish();
    assert_eq!((measured.packets, measured.unsampled, measured.lost), (3, 1, 0));
    assert_eq!(measured.deviation.max, Duration::ZERO);
}

#[test]
fn limits_hold_and_what_hits_them_is_counted() {
    let mut recorder = Recorder::new(MeasureLimits { streams: 2, samples: 3 });
    for number in 0..4_u16 {
        for ssrc in 0..5 {
            recorder.record(Some(Duration::ZERO), header(ssrc, number, 0));
        }
    }
    let measured = recorder.finish();
    assert_eq!((measured.streams, measured.packets), (2, 20));
    assert_eq!((measured.untracked, measured.unsampled), (12, 5));
}

#[test]
fn nonsense_does_no_harm() {
    let mut recorder = Recorder::new(MeasureLimits::default());
    for number in 0..200_000_u32 {
        let at = if number % 3 == 0 { Duration::MAX } else { Duration::ZERO };
        recorder.record(Some(at), header(7, number.wrapping_mul(40_503) as u16, number.wrapping_mul(0x7FFF_FFFF)));
    }
    assert_eq!(recorder.finish().packets, 200_000);
}

#[test]
fn ten_minutes_off_the_grid_are_told() {
    let late = Duration::from_secs(600);
    let packets = [on_grid(0, 0), on_grid(1, 0), Sent { at: on_grid(2, 0).at + late, ..on_grid(2, 0) }];
    assert_eq!(measured(&packets).deviation.max, late);
}

/// What comes when, in order of arrival: numbers that are missing, late and doubled, anywhere in the two rings.
fn streams() -> impl Strategy<Value = (u16, u32, Vec<(u32, i64)>)> {
    let deviations = vec(-5_000_i64..5_000, 1..300);
    (any::<u16>(), any::<u32>(), deviations).prop_flat_map(|(sequence, timestamp, deviations)| {
        let packets: Vec<_> = (0..).zip(deviations).collect();
        let keep = vec(proptest::bool::weighted(0.9), packets.len());
        (Just(sequence), Just(timestamp), Just(packets), keep).prop_map(|(sequence, timestamp, packets, keep)| {
            let kept =
                packets.into_iter().zip(keep).filter_map(|(packet, keep)| (keep || packet.0 == 0).then_some(packet));
            (sequence, timestamp, kept.collect())
        })
    })
}

proptest! {
    #[test]
    fn figures_are_those_of_a_plain_model((sequence, timestamp, packets) in streams()) {
        let sent: Vec<_> = packets.iter().map(|(number, late)| on_grid(*number, *late)).collect();
        let measured = measured_from(sequence, timestamp, &sent);
        let missing: BTreeSet<u32> = (0..sent.last().unwrap().number).filter(|n| !sent.iter().any(|s| s.number == *n)).collect();
        prop_assert_eq!(measured.lost, missing.len() as u64);
        let starts = missing.iter().filter(|n| !missing.contains(&n.wrapping_sub(1))).count();
        prop_assert_eq!(measured.gaps, starts as u64);
        prop_assert_eq!((measured.skipped, measured.out_of_order, measured.duplicates), (0, 0, 0));

        let mut late: Vec<i64> = packets.iter().map(|(_, late)| *late).collect();
        late.sort_unstable();
        let grid = late[(late.len() - 1) / 2];
        let mut off: Vec<u64> = late.iter().map(|late| late.abs_diff(grid)).collect();
        off.sort_unstable();
        let rank = |permille: usize| off[(off.len() * permille).div_ceil(1000) - 1];
        let told = measured.deviation;
        let pairs = [(told.p50, 500), (told.p90, 900), (told.p99, 990), (told.p99_9, 999), (told.max, 1000)];
        for (told, permille) in pairs {
            // Samples are exact to half a microsecond, and so is the grid.
            prop_assert!(told.abs_diff(Duration::from_micros(rank(permille))) <= Duration::from_micros(1));
        }
    }

    #[test]
    fn the_order_of_arrival_changes_neither_loss_nor_gaps(
        sequence in any::<u16>(),
        timestamp in any::<u32>(),
        late in vec(0_u32..20, 2..300),
        missing in vec(any::<bool>(), 300),
    ) {
        // Each packet is held back by some periods.
        let mut packets: Vec<_> = (0..).zip(&late).filter(|(n, _)| *n == 0 || !missing[*n as usize]).collect();
        let last = packets.last().unwrap().0;
        packets.sort_by_key(|(number, late)| if *number == 0 { 0 } else { number + *late });
        let sent: Vec<_> = packets.iter().map(|(number, _)| on_grid(*number, 0)).collect();
        let told = measured_from(sequence, timestamp, &sent);
        prop_assert_eq!(told.packets, sent.len() as u64);
        prop_assert_eq!(told.lost, u64::from(last) + 1 - told.packets);
        prop_assert_eq!((told.skipped, told.duplicates), (0, 0));
        let newest = |index: usize| sent[..index].iter().map(|s| s.number).max();
        let late = sent.iter().enumerate().filter(|(index, s)| newest(*index) > Some(s.number)).count();
        prop_assert_eq!(told.out_of_order, late as u64);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values(mut values in vec(any::<u32>(), 1..500), mut signed in vec(any::<i32>(), 1..50)) {
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let told = Spread::of(&mut values, Duration::from_nanos(1));
        let rank = |permille: usize| sorted[(sorted.len() * permille).div_ceil(1000) - 1];
        for (told, permille) in [(told.p50, 500), (told.p90, 900), (told.p99, 990), (told.p99_9, 999), (told.max, 1000)] {
            prop_assert_eq!(told, Duration::from_nanos(rank(permille).into()));
        }
        let middle = median(&mut signed);
        signed.sort_unstable();
        prop_assert_eq!(middle, Some(signed[(signed.len() - 1) / 2]));
    }
}

const PERIOD: Duration = Duration::from_millis(20);
