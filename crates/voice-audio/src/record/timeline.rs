//! Where on the time axis of a recording a frame belongs.

use std::time::Duration;

use crate::{FRAME_SAMPLES, SAMPLE_RATE};

/// Turns RTP timestamps into what to write: gaps to fill, silence to hold back, frames that come too late.
///
/// The clock starts with the first frame. Timestamps are the sender's word: who records a call gives the
/// [time of arrival](Self::place_heard) with them, and then no gap is longer than the time that passed. A sender ends each talk spurt with five silence frames which are no part of
/// the audio. They cannot be told from silence that is: so silence is held back, and only what no longer can be those
/// five, or has audio after it, is written.
///
/// ```
/// use voice_audio::record::{Fill, Placement, Timeline};
/// use std::time::Duration;
///
/// let mut timeline = Timeline::new(Duration::from_secs(60));
/// assert_eq!(timeline.place(0, 960, false), Placement::Write(Fill::NONE));
/// // Two frames of 20 ms never came.
/// let Placement::Write(fill) = timeline.place(3 * 960, 960, false) else { unreachable!() };
/// assert_eq!((fill.samples, fill.lost), (2 * 960, true));
/// ```
#[derive(Clone, Debug)]
pub struct Timeline {
    max_gap: i32,
    /// The timestamp that directly follows the last frame.
    next: Option<u32>,
    /// The stream that the last frame came on, and when the first and the last frame came.
    heard: Option<Heard>,
    /// Samples from the start of the first frame to the end of the last one.
    position: i64,
    /// Samples that passed and are not written: silence held back and less than 2.5 ms that could not be filled.
    /// Negative when frames overlapped.
    owed: i64,
    /// Whether the last frame was silence.
    holding: bool,
    late: u64,
    restarts: u64,
}

/// What is known of a frame's way here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The stream, by its SSRC. Timestamps of different streams have nothing to do with each other.
    pub stream: u32,
    /// When it was sampled, in ticks of 48 kHz, as its sender says.
    pub timestamp: u32,
    /// When it came, from any moment on that is the same for all frames.
    pub arrived: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    stream: u32,
    first: Duration,
    last: Duration,
}

impl Timeline {
    /// A clock that fills gaps up to `max_gap` (at most 12 hours) and leaves out longer ones.
    #[must_use]
    pub fn new(max_gap: Duration) -> Self {
        let secs = max_gap.min(MAX_GAP).as_secs_f64();
        Self {
            max_gap: (secs * f64::from(SAMPLE_RATE)) as i32,
            next: None,
            heard: None,
            position: 0,
            owed: 0,
            holding: false,
            late: 0,
            restarts: 0,
        }
    }

    /// Decides on a frame of `samples` per channel, sent at `timestamp`, that is or is not a
    /// [`SILENCE_FRAME`](crate::SILENCE_FRAME).
    pub fn place(&mut self, timestamp: u32, samples: usize, silence: bool) -> Placement {
        let distance = self.next.map_or(0, |next| timestamp.wrapping_sub(next).cast_signed());
        let gap = if distance > self.max_gap || distance < -MAX_LATENESS {
            // The sender started over, or was away for too long.
            self.restarts += 1;
            0
        } else {
            i64::from(distance)
        };
        self.place_after(gap, timestamp, samples, silence)
    }

    /// The same for a frame of a call. Another stream begins where the clock of the arrivals says, and no timestamp makes a gap
    /// that reaches further than a second beyond the time that passed. Of more audio than time, what is more than six seconds
    /// ahead is left out.
    pub fn place_heard(&mut self, stamp: Stamp, samples: usize, silence: bool) -> Placement {
        let Stamp { stream, timestamp, arrived } = stamp;
        let before = self.heard;
        let first = before.map_or(arrived, |heard| heard.first);
        self.heard = Some(Heard { stream, first, last: before.map_or(arrived, |heard| heard.last.max(arrived)) });
        let Some(before) = before else { return self.place(timestamp, samples, silence) };
        let len = i64::try_from(samples).unwrap_or(i64::MAX);
        let passed = ticks(arrived.saturating_sub(first));
        if self.position > passed + MAX_LEAD + MAX_FLOOD {
            // More audio than time.
            self.late += 1;
            return Placement::Late;
        }
        let distance = self.next.map_or(0, |next| i64::from(timestamp.wrapping_sub(next).cast_signed()));
        let is_believable = before.stream == stream
            && (-i64::from(MAX_LATENESS)..=i64::from(self.max_gap)).contains(&distance)
            && self.position + distance <= passed + MAX_LEAD;
        if is_believable {
            return self.place_after(distance, timestamp, samples, silence);
        }
        self.restarts += 1;
        // A frame comes when it has been spoken, and the one before did, too.
        let gap = (ticks(arrived.saturating_sub(before.last)) - len).min(passed - self.position);
        self.place_after(gap.clamp(0, i64::from(self.max_gap)), timestamp, samples, silence)
    }

    fn place_after(&mut self, gap: i64, timestamp: u32, samples: usize, silence: bool) -> Placement {
        let len = i64::try_from(samples).unwrap_or(i64::MAX);
        if gap <= -len.max(1) || self.owed + gap < -MAX_AHEAD {
            self.late += 1;
            return Placement::Late;
        }
        self.next = Some(timestamp.wrapping_add(samples as u32));
        self.owed += gap;
        self.position += gap + len;
        let was_holding = std::mem::replace(&mut self.holding, silence);
        if silence {
            self.owed += len;
            let frames = (self.owed - MAX_HELD).max(0) / FRAME;
            Placement::Hold(self.fill(frames * FRAME, false))
        } else {
            let whole = self.owed.max(0) / SHORTEST_FRAME * SHORTEST_FRAME;
            Placement::Write(self.fill(whole, !was_holding))
        }
    }

    /// Frames left out because what they belong to was already written: late, or repeated.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Gaps left out because they were too long, or no gaps at all but a new clock.
    #[must_use]
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }

    fn fill(&mut self, samples: i64, lost: bool) -> Fill {
        self.owed -= samples;
        Fill { samples: u64::try_from(samples).unwrap_or(0), lost: lost && samples > 0 }
    }
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Fill, then write the frame.
    Write(Fill),
    /// Fill; the frame itself is held back. Whether it is ever written shows in a later fill.
    Hold(Fill),
    /// Leave the frame out: its time is already written.
    Late,
}

/// Silence to write before a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fill {
    /// How much, in samples per channel: a multiple of 2.5 ms (120).
    pub samples: u64,
    /// Whether frames were lost here, rather than not sent: no silence came between the audio before and after.
    pub lost: bool,
}

impl Fill {
    /// Nothing to fill.
    pub const NONE: Self = Self { samples: 0, lost: false };
}

/// How many silence frames are held back: what a sender ends a talk spurt with.
///
/// Discord docs, Voice Connections, "Voice Data Interpolation".
pub const MAX_HELD_FRAMES: usize = 5;

const FRAME: i64 = FRAME_SAMPLES as i64;
const MAX_HELD: i64 = MAX_HELD_FRAMES as i64 * FRAME;

/// The shortest Opus frame, 2.5 ms: RFC 6716, section 2.1.4.
const SHORTEST_FRAME: i64 = 120;

/// Timestamps wrap after 24.8 hours; half of that can be told forward from backward.
const MAX_GAP: Duration = Duration::from_secs(12 * 3600);

/// How far back a timestamp counts as late, rather than as a new clock: one second.
const MAX_LATENESS: i32 = SAMPLE_RATE as i32;

/// How far a sender's clock may be ahead of that of the arrivals: one second. Its first frame may have been the latest of all.
const MAX_LEAD: i64 = SAMPLE_RATE as i64;

/// How much more audio may come than time passes, before it is left out: five seconds.
const MAX_FLOOD: i64 = 5 * SAMPLE_RATE as i64;

fn ticks(time: Duration) -> i64 {
    i64::try_from(time.as_micros() * u128::from(SAMPLE_RATE) / 1_000_000).unwrap_or(i64::MAX / 4)
}

/// How far overlapping frames may run ahead of their clock before they are left out: 100 ms.
const MAX_AHEAD: i64 = 5 * FRAME;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AUDIO: bool = false;
    const SILENCE: bool = true;

    fn timeline() -> Timeline {
        Timeline::new(Duration::from_secs(600))
    }

    fn write(samples: u64, lost: bool) -> Placement {
        Placement::Write(Fill { samples, lost })
    }

    fn hold(samples: u64) -> Placement {
        Placement::Hold(Fill { samples, lost: false })
    }

    #[test]
    fn frames_in_a_row_need_nothing_between_them() {
        let mut timeline = timeline();
        // The clock starts anywhere and wraps.
        let mut timestamp = u32::MAX - 2000;
        for _ in 0..10 {
            assert_eq!(timeline.place(timestamp, 960, AUDIO), write(0, false));
            timestamp = timestamp.wrapping_add(960);
        }
    }

    #[test]
    fn a_gap_is_filled_across_the_wrap() {
        let mut timeline = timeline();
        timeline.place(u32::MAX - 959, 960, AUDIO);
        assert_eq!(timeline.place(3 * 960, 960, AUDIO), write(3 * 960, true));
    }

    #[test]
    fn five_trailing_silence_frames_are_held_and_more_are_written() {
        let mut timeline = timeline();
        timeline.place(0, 960, AUDIO);
        for n in 1..=5 {
            assert_eq!(timeline.place(n * 960, 960, SILENCE), hold(0));
        }
        for n in 6..=8 {
            assert_eq!(timeline.place(n * 960, 960, SILENCE), hold(960));
        }
    }

    #[test]
    fn held_silence_and_the_pause_after_it_come_before_the_next_audio() {
        let mut timeline = timeline();
        timeline.place(0, 960, AUDIO);
        for n in 1..=5 {
            timeline.place(n * 960, 960, SILENCE);
        }
        assert_eq!(timeline.place(106 * 960, 960, AUDIO), write(105 * 960, false));
        assert_eq!(timeline.place(107 * 960, 960, AUDIO), write(0, false));
    }

    #[test]
    fn a_lost_silence_frame_changes_nothing() {
        let mut timeline = timeline();
        timeline.place(0, 960, AUDIO);
        for n in [2, 3, 5] {
            assert_eq!(timeline.place(n * 960, 960, SILENCE), hold(0));
        }
        assert_eq!(timeline.place(6 * 960, 960, AUDIO), write(5 * 960, false));
    }

    #[test]
    fn a_gap_that_is_too_long_is_left_out() {
        let mut timeline = Timeline::new(Duration::from_secs(1));
        timeline.place(0, 960, AUDIO);
        assert_eq!(timeline.place(960 + 48_000, 960, AUDIO), write(48_000, true));
        assert_eq!(timeline.restarts(), 0);
        assert_eq!(timeline.place(2 * 960 + 2 * 48_000 + 1, 960, AUDIO), write(0, false));
        assert_eq!(timeline.restarts(), 1);
    }

    #[test]
    fn a_new_clock_goes_on_at_once() {
        let mut timeline = timeline();
        timeline.place(1_000_000, 960, AUDIO);
        assert_eq!(timeline.place(3_000_000_000, 960, AUDIO), write(0, false));
        assert_eq!(timeline.place(3_000_000_960, 960, AUDIO), write(0, false));
        assert_eq!(timeline.restarts(), 1);
    }

    #[test]
    fn late_and_repeated_frames_are_left_out() {
        let mut timeline = timeline();
        for n in [0, 1, 3] {
            timeline.place(n * 960, 960, AUDIO);
        }
        assert_eq!(timeline.place(2 * 960, 960, AUDIO), Placement::Late);
        assert_eq!(timeline.place(3 * 960, 960, AUDIO), Placement::Late);
        assert_eq!(timeline.late(), 2);
        assert_eq!(timeline.place(4 * 960, 960, AUDIO), write(0, false));
    }

    #[test]
    fn odd_gaps_add_up_to_what_can_be_filled() {
        let mut timeline = timeline();
        timeline.place(0, 960, AUDIO);
        // 50 samples are shorter than any frame; three times that are not.
        assert_eq!(timeline.place(960 + 50, 960, AUDIO), write(0, false));
        assert_eq!(timeline.place(2 * 960 + 100, 960, AUDIO), write(0, false));
        assert_eq!(timeline.place(3 * 960 + 150, 960, AUDIO), write(120, true));
    }

    #[test]
    fn overlapping_frames_do_not_run_away() {
        let mut timeline = timeline();
        let written = (0..1000).filter(|n| timeline.place(*n, 960, AUDIO) != Placement::Late).count();
        assert!(written <= 7, "{written} frames for 40 ms");
    }

    fn heard(timeline: &mut Timeline, stream: u32, timestamp: u32, millis: u64) -> Placement {
        timeline.place_heard(Stamp { stream, timestamp, arrived: Duration::from_millis(millis) }, 960, AUDIO)
    }

    #[test]
    fn another_stream_is_placed_by_its_arrival_and_not_by_its_timestamps() {
        for timestamp in [0, 960, 19_500_000, 3_000_000_000] {
            let mut timeline = timeline();
            assert_eq!(heard(&mut timeline, 1, 0, 0), write(0, false));
            assert_eq!(heard(&mut timeline, 1, 960, 20), write(0, false));
            // Half a second later, of which 20 ms are the frame itself.
            assert_eq!(heard(&mut timeline, 2, timestamp, 520), write(480 * 48, true), "at {timestamp}");
            assert_eq!(heard(&mut timeline, 2, timestamp.wrapping_add(960), 540), write(0, false));
            assert_eq!(timeline.restarts(), 1);
        }
    }

    #[test]
    fn a_gap_is_no_longer_than_the_time_that_passed() {
        let mut timeline = timeline();
        let mut written = 0;
        // Each packet says that ten minutes have passed since the one before.
        for packet in 0..38_u32 {
            let place = heard(&mut timeline, 1, packet.wrapping_mul(590 * 48_000), u64::from(packet) * 20);
            if let Placement::Write(fill) = place {
                written += fill.samples + 960;
            }
        }
        assert!(written <= 38 * 960 + 48_000, "{written} samples in 0.8 s");
        // What is true is believed.
        let honest = 38_u32.wrapping_mul(590 * 48_000).wrapping_sub(590 * 48_000);
        assert_eq!(
            heard(&mut timeline, 1, honest.wrapping_add(960 + 30 * 48_000), 37 * 20 + 30_020),
            write(30 * 48_000, true)
        );
    }

    #[test]
    fn more_audio_than_time_is_left_out() {
        let mut timeline = timeline();
        let placed = (0..1_000).filter(|n| heard(&mut timeline, 1, n * 960, 0) != Placement::Late).count();
        assert!(placed <= 350, "{placed} frames at once");
        assert_eq!(timeline.late(), 1_000 - placed as u64);
    }

    proptest! {
        /// Whatever senders say, a recording is no longer than the time it took.
        #[test]
        fn no_lie_makes_a_recording_longer_than_its_time(
            steps in prop::collection::vec((0u32..3, any::<u32>(), 0u64..2_000, any::<bool>(), prop::sample::select(vec![120usize, 960, 5_760])), 1..200),
        ) {
            let mut timeline = Timeline::new(Duration::MAX);
            let (mut clock, mut written) = (0u64, 0u64);
            for (stream, timestamp, wait, silence, samples) in steps {
                clock += wait;
                let stamp = Stamp { stream, timestamp, arrived: Duration::from_millis(clock) };
                written += match timeline.place_heard(stamp, samples, silence) {
                    Placement::Write(fill) => fill.samples + samples as u64,
                    Placement::Hold(fill) => fill.samples,
                    Placement::Late => 0,
                };
                prop_assert!(written <= clock * 48 + 6 * 48_000 + 2 * 5_760, "{written} samples in {clock} ms");
            }
        }

        /// What is written never strays from what passed by more than is held back.
        #[test]
        fn the_clock_is_kept(steps in prop::collection::vec((0u32..5_000, any::<bool>()), 1..200), start: u32) {
            let mut timeline = timeline();
            let (mut timestamp, mut passed, mut written) = (start, 0u64, 0u64);
            for (gap, silence) in steps {
                // The first frame starts the clock.
                if passed > 0 {
                    timestamp = timestamp.wrapping_add(gap);
                    passed += u64::from(gap);
                }
                match timeline.place(timestamp, 960, silence) {
                    Placement::Write(fill) => written += fill.samples + 960,
                    Placement::Hold(fill) => written += fill.samples,
                    Placement::Late => prop_assert!(false, "nothing was late"),
                }
                timestamp = timestamp.wrapping_add(960);
                passed += 960;
                prop_assert!(written <= passed);
                prop_assert!(passed - written < 6 * 960);
                if !silence {
                    prop_assert!(passed - written < 120);
                }
            }
        }

        #[test]
        fn no_timestamp_makes_it_panic(steps in prop::collection::vec((any::<u32>(), 0usize..6000, any::<bool>()), 0..100)) {
            let mut timeline = Timeline::new(Duration::MAX);
            for (timestamp, samples, silence) in steps {
                timeline.place(timestamp, samples, silence);
            }
        }
    }
}
