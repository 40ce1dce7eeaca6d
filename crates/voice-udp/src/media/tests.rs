//! Both halves together, with real keys.

mod e2ee;
mod order;

use std::time::{Duration, Instant};

use voice_crypto::{Mode, SecretKey};
use voice_dave::{ReceiveMode, SendMode};
use voice_model::UserId;
use voice_rtp::Ssrc;

use super::{Arrival, Content, MediaConfig, PacketBuf, Playout, Receiver, SealError, Sender, media};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

struct Pair {
    now: Instant,
    sender: Sender,
    receiver: Receiver,
    buffer: PacketBuf,
}

impl Pair {
    fn new() -> Self {
        let (mut sender, _) = media(config(10));
        let (_, mut receiver) = media(config(20));
        #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
        let now = Instant::now();
        sender.set_mode(SendMode::Passthrough);
        receiver.set_default_mode(now, ReceiveMode::Passthrough);
        Self { now, sender, receiver, buffer: PacketBuf::new() }
    }

    fn sealed(&mut self, frame: &[u8]) -> Vec<u8> {
        self.sender.seal(frame, &mut self.buffer).expect("the frame is sealed").to_vec()
    }

    fn arrive(&mut self, datagram: &[u8]) -> Arrival {
        self.receiver.open(self.now, &mut datagram.to_vec()).expect("an authentic packet")
    }

    /// The frames that are given out now; `None` for a loss.
    fn heard(&mut self) -> Vec<(UserId, Option<Vec<u8>>)> {
        let mut heard = Vec::new();
        while let Some(Playout { user, content, .. }) = self.receiver.next_frame(self.now) {
            match content {
                Content::Frame { frame, .. } => heard.push((user, Some(frame.to_vec()))),
                Content::Lost { packets } => heard.extend((0..packets).map(|_| (user, None))),
            }
        }
        heard
    }
}

fn config(ssrc: u32) -> MediaConfig {
    MediaConfig {
        key: SecretKey::new([9; 32]),
        mode: Mode::XChaCha20Poly1305Rtpsize,
        seed: ssrc.into(),
        ssrc: Ssrc::new(ssrc),
    }
}

fn ssrc() -> Ssrc {
    Ssrc::new(10)
}

#[test]
fn nothing_leaves_before_it_is_known_what_the_call_demands() {
    let (mut sender, _) = media(config(10));
    let mut buffer = PacketBuf::new();
    assert_eq!(sender.seal(b"opus", &mut buffer), Err(SealError::Held));
    assert_eq!((sender.stats().frames_held, sender.stats().packets), (1, 0));
}

#[test]
fn nothing_is_given_out_before_it_is_known_what_the_call_demands() {
    let mut pair = Pair::new();
    let (_, receiver) = media(config(20));
    pair.receiver = receiver;
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    let datagram = pair.sealed(b"opus");
    pair.arrive(&datagram);
    assert_eq!(pair.heard(), []);
    assert_eq!(pair.receiver.stats().e2ee.plaintext_refused, 1);
}

#[test]
fn s3_sequence_counts_packets_and_timestamp_counts_time() {
    let mut pair = Pair::new();
    let mut header = |skip| {
        pair.sender.skip(skip);
        let datagram = pair.sealed(b"opus");
        voice_rtp::RtpHeader::parse(&datagram).expect("a header")
    };
    let (first, second) = (header(0), header(7));
    assert_eq!(second.sequence.distance(first.sequence), 1);
    assert_eq!(second.timestamp.distance(first.timestamp), 8 * 960);
}

#[test]
fn an_oversize_frame_is_an_error_and_the_stream_goes_on() {
    let mut pair = Pair::new();
    let mut buffer = PacketBuf::new();
    for len in [0, 1_401, 5_000] {
        assert_eq!(pair.sender.seal(&vec![1; len], &mut buffer), Err(SealError::FrameLen { len }));
    }
    assert!(pair.sender.seal(&[1; 1_400], &mut buffer).is_ok());
    assert_eq!((pair.sender.stats().packets, pair.sender.stats().frames_refused), (1, 3));
}

#[test]
fn packets_of_an_unknown_ssrc_wait_for_their_user_and_come_in_order() {
    let mut pair = Pair::new();
    let datagrams: Vec<_> = (0..5).map(|n| pair.sealed(&[n])).collect();
    for index in [1, 0, 2, 4, 3] {
        assert_eq!(pair.arrive(&datagrams[index]), Arrival::Packet(ssrc()));
    }
    assert_eq!(pair.heard(), []);
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    assert_eq!(pair.heard(), (0..5).map(|n| (ALICE, Some(vec![n]))).collect::<Vec<_>>());
}

#[test]
fn packets_that_nobody_claims_in_time_are_dropped_and_counted() {
    let mut pair = Pair::new();
    for _ in 0..60 {
        let datagram = pair.sealed(b"opus");
        pair.arrive(&datagram);
    }
    pair.now += Duration::from_secs(1);
    assert_eq!(pair.heard(), []);
    let stats = pair.receiver.stats();
    assert_eq!((stats.dropped, stats.unclaimed), (10, 50));
}

#[test]
fn forged_datagrams_leave_no_state_behind() {
    let mut pair = Pair::new();
    for forged in 0..2_000u32 {
        let mut datagram = [0x80; 60];
        datagram[1] = 0x78;
        datagram[8..12].copy_from_slice(&forged.to_be_bytes());
        assert!(pair.receiver.open(pair.now, &mut datagram).is_err());
    }
    assert_eq!(pair.receiver.stats().not_authentic, 2_000);
    assert!(pair.receiver.streams.is_empty() && pair.receiver.poll_timeout().is_none());
}

#[test]
fn a_replayed_packet_is_dropped_and_counted() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    let datagram = pair.sealed(b"opus");
    assert_eq!(pair.arrive(&datagram), Arrival::Packet(ssrc()));
    assert_eq!(pair.arrive(&datagram), Arrival::Stale);
    assert_eq!(pair.heard().len(), 1);
    assert_eq!(pair.receiver.stats().duplicate, 1);
}

#[test]
fn a_lost_packet_is_reported_once_it_cannot_come_any_more() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    let datagrams: Vec<_> = (0..4).map(|n| pair.sealed(&[n])).collect();
    pair.arrive(&datagrams[0]);
    pair.arrive(&datagrams[2]);
    assert_eq!(pair.heard(), [(ALICE, Some(vec![0]))]);
    pair.now = pair.receiver.poll_timeout().expect("a gap is waited for");
    assert_eq!(pair.heard(), [(ALICE, None), (ALICE, Some(vec![2]))]);
    pair.arrive(&datagrams[3]);
    assert_eq!(pair.heard(), [(ALICE, Some(vec![3]))]);
    assert_eq!(pair.receiver.stats().lost, 1);
}

#[test]
fn one_bad_packet_costs_one_frame() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    let datagrams: Vec<_> = (0..3).map(|n| pair.sealed(&[n])).collect();
    pair.arrive(&datagrams[0]);
    let mut damaged = datagrams[1].clone();
    damaged[14] ^= 1;
    assert!(pair.receiver.open(pair.now, &mut damaged).is_err());
    pair.arrive(&datagrams[2]);
    assert_eq!(pair.heard().len(), 1);
    pair.now += Duration::from_millis(60);
    assert_eq!(pair.heard(), [(ALICE, None), (ALICE, Some(vec![2]))]);
}

#[test]
fn a_user_who_leaves_and_returns_at_once_is_heard() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, Ssrc::new(5), ALICE);
    pair.receiver.forget(pair.now, ALICE);
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    pair.now += Duration::from_secs(5);
    assert_eq!(pair.heard(), []);
    let datagram = pair.sealed(b"back");
    pair.arrive(&datagram);
    assert_eq!(pair.heard(), [(ALICE, Some(b"back".to_vec()))]);
    assert!(!pair.receiver.streams.contains_key(&5), "the old stream is gone");
}

#[test]
fn an_ssrc_that_another_user_takes_over_is_theirs() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    pair.receiver.bind(pair.now, ssrc(), BOB);
    let datagram = pair.sealed(b"mine");
    pair.arrive(&datagram);
    assert_eq!(pair.heard(), [(BOB, Some(b"mine".to_vec()))]);
}

#[test]
fn streams_are_bounded_and_the_quietest_makes_room() {
    let mut pair = Pair::new();
    for number in 0..600 {
        pair.now += Duration::from_millis(1);
        pair.receiver.bind(pair.now, Ssrc::new(1_000 + number), ALICE);
    }
    assert_eq!(pair.receiver.streams.len(), 512);
    assert_eq!(pair.receiver.stats().streams_evicted, 88);
    assert!(pair.receiver.streams.contains_key(&1_599) && !pair.receiver.streams.contains_key(&1_000));
}

#[test]
fn a_packet_of_padding_alone_is_no_loss_and_no_frame() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    let mut plain = [0u8; 12 + 4 + 20];
    let header = voice_rtp::RtpHeader {
        marker: false,
        payload_type: 120,
        sequence: pair.sender.sequence,
        timestamp: pair.sender.timestamp,
        ssrc: ssrc(),
    };
    header.write(plain.first_chunk_mut().expect("twelve bytes"));
    plain[0] |= 0x20;
    plain[15] = 4;
    let len = pair.sender.sealer.seal_rtp(&mut plain, 16).expect("sealed");
    pair.sender.sequence = pair.sender.sequence.wrapping_add(1);
    pair.arrive(&plain[..len]);
    assert_eq!(pair.heard(), []);
    let datagram = pair.sealed(b"next");
    pair.arrive(&datagram);
    assert_eq!(pair.heard(), [(ALICE, Some(b"next".to_vec()))]);
    assert_eq!(pair.receiver.stats().lost, 0);
}

#[test]
fn packets_that_were_not_listened_to_are_no_loss() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    let datagrams: Vec<_> = (0..100).map(|n| pair.sealed(&[n])).collect();
    pair.arrive(&datagrams[0]);
    pair.arrive(&datagrams[5]);
    pair.receiver.resynchronise();
    pair.arrive(&datagrams[90]);
    assert_eq!(pair.heard(), [(ALICE, Some(vec![90]))]);
    assert_eq!(pair.receiver.stats().lost, 0);
}

#[test]
fn memory_for_frames_is_used_again() {
    let mut pair = Pair::new();
    pair.receiver.bind(pair.now, ssrc(), ALICE);
    for n in 0..1_000u32 {
        let datagram = pair.sealed(&n.to_be_bytes());
        pair.arrive(&datagram);
        assert_eq!(pair.heard().len(), 1);
    }
    assert!(pair.receiver.next_frame(pair.now).is_none());
    assert_eq!(pair.receiver.stats().dropped, 0);
}

#[test]
fn equal_inputs_give_equal_outputs_also_for_streams_that_are_due_together() {
    let run = || {
        let mut pair = Pair::new();
        for ssrc in 1..=32 {
            pair.receiver.bind(pair.now, Ssrc::new(ssrc), UserId::new(ssrc.into()));
            let (mut sender, _) = media(config(ssrc));
            sender.set_mode(SendMode::Passthrough);
            for number in 0..3 {
                let sealed = sender.seal(b"opus", &mut pair.buffer).expect("the frame is sealed").to_vec();
                if number != 1 {
                    pair.arrive(&sealed);
                }
            }
            pair.heard();
        }
        pair.now += Duration::from_secs(1);
        pair.heard()
    };
    let first = run();
    assert_eq!(first.len(), 64, "a loss and a frame of each");
    assert_eq!(run(), first);
}
