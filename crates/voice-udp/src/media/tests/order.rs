//! What a receiver makes of everything that a network, a server and whoever records can do to a stream.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use voice_dave::{BaseSecret, ReceiveMode, SendMode};
use voice_rtp::{Sequence, Ssrc, Timestamp};

use super::{ALICE, Content, Pair, Playout, config, media};

/// Something that happens in a call.
#[derive(Clone, Debug)]
enum Step {
    /// So many frames; each is delayed by some milliseconds, lost or doubled.
    Speak(Vec<(u64, u8)>),
    /// Nobody speaks for so many milliseconds, during which timestamps go on, or do not.
    Silence(u64, bool),
    /// The server numbers anew.
    Numbers(u16),
    /// The sender leaps ahead, in ticks.
    Leap(u32),
    /// Somebody sends again what was sent so many frames before.
    Replay(Vec<u32>),
    /// The sender begins anew with these numbers and times, and the gateway or the encryption tells.
    Restart(u16, u32),
    /// The sender comes again with another SSRC.
    Rejoin,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let frame = (prop_oneof![3 => Just(0u64), 1 => 0u64..90], 0u8..12);
    let step = prop_oneof![
        6 => prop::collection::vec(frame, 1..30).prop_map(Step::Speak),
        2 => (prop_oneof![1u64..200, 1u64..1_400_000], any::<bool>()).prop_map(|(ms, on)| Step::Silence(ms, on)),
        2 => prop_oneof![any::<u16>(), 65_400u16..=65_535, 0u16..70].prop_map(Step::Numbers),
        1 => (1u32..1 << 23).prop_map(Step::Leap),
        3 => prop::collection::vec(prop_oneof![0u32..20, 0u32..500], 1..60).prop_map(Step::Replay),
        1 => any::<(u16, u32)>().prop_map(|(number, time)| Step::Restart(number, time)),
        1 => Just(Step::Rejoin),
    ];
    prop::collection::vec(step, 1..12)
}

struct Call {
    pair: Pair,
    encrypted: bool,
    ssrc: u32,
    sent: Vec<Vec<u8>>,
    /// What was sent before this one is not sent again.
    began: usize,
    /// The first frame since the sender began anew or leapt, and the first of those that was heard.
    restarted: usize,
    first_since: usize,
    keys: u8,
    /// When each frame is delivered, with its number.
    on_its_way: BTreeSet<(std::time::Instant, usize)>,
    arrived: Vec<Option<std::time::Instant>>,
    newest: Option<usize>,
    /// Frames that were newer than everything before them when they arrived.
    owed: BTreeSet<usize>,
    heard: Option<usize>,
    all_heard: BTreeSet<usize>,
}

impl Call {
    fn new(encrypted: bool) -> Self {
        let mut call = Self {
            pair: Pair::new(),
            encrypted,
            ssrc: 10,
            sent: Vec::new(),
            began: 0,
            restarted: 0,
            first_since: 0,
            keys: 0,
            on_its_way: BTreeSet::new(),
            arrived: Vec::new(),
            newest: None,
            owed: BTreeSet::new(),
            heard: None,
            all_heard: BTreeSet::new(),
        };
        call.pair.receiver.bind(call.pair.now, Ssrc::new(10), ALICE);
        call.next_key();
        call
    }

    fn next_key(&mut self) {
        if self.encrypted {
            self.keys += 1;
            self.pair.sender.set_mode(SendMode::Encrypt(BaseSecret::new([self.keys; 16])));
            let mode = ReceiveMode::Decrypt(BaseSecret::new([self.keys; 16]));
            self.pair.receiver.set_mode(self.pair.now, ALICE, mode);
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Speak(frames) => {
                for (delay, fate) in frames {
                    let id = self.sent.len();
                    let datagram = self.pair.sealed(&(id as u32).to_be_bytes());
                    self.sent.push(datagram);
                    self.arrived.push(None);
                    let at = self.pair.now + Duration::from_millis(delay);
                    if fate != 0 {
                        self.on_its_way.insert((at, id));
                    }
                    if fate == 1 {
                        self.on_its_way.insert((at + Duration::from_millis(7), id));
                    }
                    self.pass(Duration::from_millis(20));
                }
            }
            Step::Silence(ms, on) => {
                self.pass(Duration::from_millis(ms));
                if on {
                    self.pair.sender.skip((ms / 20) as u32);
                }
            }
            Step::Numbers(by) => self.pair.sender.sequence = self.pair.sender.sequence.wrapping_add(by),
            Step::Leap(by) => {
                self.pair.sender.timestamp = self.pair.sender.timestamp.wrapping_add(by);
                self.restarted = self.sent.len();
            }
            Step::Replay(back) => {
                for back in back {
                    let id = self.sent.len().saturating_sub(1 + back as usize).max(self.began);
                    // From before a restart or a leap, what was never heard cannot be told from what is new.
                    let known = self.heard.is_some_and(|heard| heard >= self.restarted && id >= self.first_since)
                        || self.all_heard.contains(&id);
                    if let Some(datagram) = self.sent.get(id).filter(|_| known).cloned() {
                        let _ = self.pair.receiver.open(self.pair.now, &mut datagram.clone());
                        if id < self.restarted {
                            // It leads astray, until the next one that is live proves itself.
                            self.first_since = usize::MAX;
                        }
                        // One that is sent again before it arrives itself.
                        self.arrived[id].get_or_insert(self.pair.now);
                        self.newest = self.newest.max(Some(id));
                        self.listen();
                    }
                }
            }
            Step::Restart(number, time) => {
                self.quiet();
                self.pair.sender.sequence = Sequence::new(number);
                self.pair.sender.timestamp = Timestamp::new(time);
                self.restarted = self.sent.len();
                if self.encrypted {
                    // The gateway says nothing: the new key does.
                    self.next_key();
                } else {
                    self.pair.receiver.forget(self.pair.now, ALICE);
                    self.pair.receiver.bind(self.pair.now, Ssrc::new(self.ssrc), ALICE);
                    // Without encryption, nothing tells what was recorded before from what is new.
                    self.began = self.sent.len();
                }
            }
            Step::Rejoin => {
                self.quiet();
                self.pair.receiver.forget(self.pair.now, ALICE);
                self.ssrc += 1;
                let (mut sender, _) = media(config(self.ssrc));
                sender.set_mode(SendMode::Passthrough);
                self.pair.sender = sender;
                self.pair.receiver.bind(self.pair.now, Ssrc::new(self.ssrc), ALICE);
                self.next_key();
                self.began = self.sent.len();
            }
        }
    }

    /// Everything arrives that is on its way, and is heard.
    fn quiet(&mut self) {
        self.pass(Duration::from_millis(200));
        assert!(self.on_its_way.is_empty());
    }

    /// Time passes: what is due arrives, and timeouts are kept to the nanosecond.
    fn pass(&mut self, time: Duration) {
        let end = self.pair.now + time;
        loop {
            let arrival = self.on_its_way.first().map(|(at, _)| *at);
            let timeout = self.pair.receiver.poll_timeout();
            let Some(at) = arrival.into_iter().chain(timeout).min().filter(|at| *at <= end) else { break };
            assert!(arrival == Some(at) || at > self.pair.now, "a timeout that changes nothing");
            self.pair.now = at.max(self.pair.now);
            while let Some(&(due, id)) = self.on_its_way.first().filter(|(due, _)| *due <= self.pair.now) {
                self.on_its_way.remove(&(due, id));
                let first = self.arrived[id].is_none();
                self.arrived[id].get_or_insert(self.pair.now);
                if first && self.newest.is_none_or(|newest| id > newest) {
                    self.newest = Some(id);
                    self.owed.insert(id);
                }
                let datagram = self.sent[id].clone();
                self.pair.arrive(&datagram);
            }
            self.listen();
        }
        self.pair.now = end;
    }

    fn listen(&mut self) {
        while let Some(Playout { content, .. }) = self.pair.receiver.next_frame(self.pair.now) {
            let Content::Frame { frame, .. } = content else { continue };
            let id = u32::from_be_bytes(frame.try_into().expect("four bytes")) as usize;
            assert!(self.heard.is_none_or(|heard| id > heard), "{id} after {:?}", self.heard);
            if id >= self.restarted && self.heard.is_none_or(|heard| heard < self.restarted) {
                self.first_since = id;
            }
            self.heard = Some(id);
            self.owed.remove(&id);
            self.all_heard.insert(id);
            let waited = self.pair.now - self.arrived[id].expect("it arrived");
            assert!(waited <= Duration::from_millis(60), "{id} waited for {waited:?}");
        }
    }
}

fn every_promise_is_kept(encrypted: bool, steps: Vec<Step>) {
    let mut call = Call::new(encrypted);
    for step in steps {
        call.carry_out(step);
    }
    call.quiet();
    assert!(call.owed.is_empty(), "newer than all before them, and not heard: {:?}", call.owed);
}

proptest! {
    /// Whatever happens: frames come in the order in which they were said, none twice and none of long ago; each that
    /// was newer than all before it when it arrived is heard; and none waits longer than its time.
    #[test]
    fn what_is_newer_is_heard_and_what_is_older_is_not(steps in steps()) {
        every_promise_is_kept(false, steps);
    }

    #[test]
    fn what_is_newer_is_heard_and_what_is_older_is_not_in_an_encrypted_call(steps in steps()) {
        every_promise_is_kept(true, steps);
    }
}

/// Without end-to-end encryption, whoever can copy datagrams can send them again.
#[test]
fn datagrams_of_eleven_to_twenty_two_minutes_ago_are_never_heard_and_cost_no_live_one() {
    let mut call = Call::new(false);
    let minute = Step::Speak(vec![(0, 2); 3_000]);
    (0..11).for_each(|_| call.carry_out(minute.clone()));
    for _ in 0..11 {
        // Between live ones, and while the sender is silent for a moment.
        for _ in 0..5 {
            call.carry_out(Step::Replay(vec![33_000, 32_999, 32_767, 32_766]));
            call.carry_out(Step::Speak(vec![(0, 2); 600]));
        }
        call.carry_out(Step::Replay((32_000..33_000).rev().collect()));
    }
    call.quiet();
    assert_eq!((call.all_heard.len(), call.sent.len()), (66_000, 66_000));
    assert_eq!(call.pair.receiver.stats().resynchronised, 0);
}

/// A local mute: the server forwards nothing, and numbers on or anew.
#[test]
fn a_mute_of_eleven_minutes_costs_nothing() {
    for numbers in [33_000u16, 32_768, 32_767, 3_001, 65_535 - 64, 65_535 - 3_000] {
        let mut call = Call::new(false);
        call.carry_out(Step::Speak(vec![(0, 2); 100]));
        call.carry_out(Step::Silence(660_000, true));
        call.carry_out(Step::Numbers(numbers));
        call.carry_out(Step::Speak(vec![(0, 2); 100]));
        call.quiet();
        assert_eq!(call.all_heard.len(), 200, "{numbers}");
    }
}

#[test]
fn a_sender_who_begins_anew_costs_nothing_when_the_gateway_or_the_encryption_tells() {
    for encrypted in [false, true] {
        for back in [10, 960, 40_000, 960_000, 1 << 30] {
            let mut call = Call::new(encrypted);
            call.carry_out(Step::Speak(vec![(0, 2); 100]));
            let time = call.pair.sender.timestamp.wrapping_add(u32::wrapping_neg(back)).get();
            call.carry_out(Step::Restart(7, time));
            call.carry_out(Step::Speak(vec![(0, 2); 100]));
            call.quiet();
            assert_eq!(call.all_heard.len(), 200, "{back} ticks back, encrypted: {encrypted}");
        }
    }
}

#[test]
fn a_frame_longer_than_one_may_be_is_counted_as_dropped_and_told_as_lost() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, Ssrc::new(10), ALICE);
    for (number, len) in (0u64..).zip([1_400, 1_401, 1_450, 1_460, 1_461]) {
        let mut plain = vec![1; 12 + len + 40];
        let header = voice_rtp::RtpHeader {
            marker: false,
            payload_type: 120,
            sequence: pair.sender.sequence,
            timestamp: pair.sender.timestamp,
            ssrc: Ssrc::new(10),
        };
        header.write(plain.first_chunk_mut().expect("twelve bytes"));
        let sealed = pair.sender.sealer.seal_rtp(&mut plain, 12 + len).expect("sealed");
        pair.sender.sequence = pair.sender.sequence.wrapping_add(1);
        pair.sender.timestamp = pair.sender.timestamp.wrapping_add(960);
        pair.arrive(&plain[..sealed]);
        let heard: Vec<_> = pair.heard().into_iter().map(|(_, frame)| frame.map(|frame| frame.len())).collect();
        match len {
            1_400 => assert_eq!(heard, [Some(1_400)]),
            // It finds no room in the first place.
            1_461 => assert_eq!(heard, []),
            _ => assert_eq!(heard, [None]),
        }
        assert_eq!((pair.receiver.stats().frames, pair.receiver.stats().dropped), (1, number));
    }
}
