//! Both halves together, with real keys.

use std::time::{Duration, Instant};

use voice_crypto::{Mode, SecretKey};
use voice_dave::{BaseSecret, FrameSealer, ReceiveMode, SendMode};
use voice_model::UserId;
use voice_rtp::Ssrc;

use super::{
    Arrival, Content, E2eeStats, MAX_FRAME_LEN, MediaConfig, PacketBuf, Playout, Receiver, SealError, Sender, media,
};

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
fn sequence_counts_packets_and_timestamp_counts_time() {
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

/// Both halves with end-to-end encryption: Alice sends, and the receiver knows whose stream it is.
struct Encrypted(Pair);

impl Encrypted {
    fn new() -> Self {
        let mut pair = Pair::new();
        let (_, receiver) = media(config(20));
        pair.receiver = receiver;
        pair.receiver.bind(pair.now, ssrc(), ALICE);
        Self(pair)
    }

    fn send_with(&mut self, key: u8) {
        self.0.sender.set_mode(SendMode::Encrypt(secret(key)));
    }

    fn receive_with(&mut self, key: u8) {
        self.0.receiver.set_mode(self.0.now, ALICE, ReceiveMode::Decrypt(secret(key)));
    }

    fn say(&mut self, frame: &[u8]) {
        let datagram = self.0.sealed(frame);
        self.0.arrive(&datagram);
    }

    fn stats(&self) -> E2eeStats {
        self.0.receiver.stats().e2ee
    }
}

fn secret(key: u8) -> BaseSecret {
    BaseSecret::new([key; 16])
}

fn from_alice(frames: &[&[u8]]) -> Vec<(UserId, Option<Vec<u8>>)> {
    frames.iter().map(|frame| (ALICE, Some(frame.to_vec()))).collect()
}

#[test]
fn encrypted_frames_are_heard_as_they_were_said() {
    let mut call = Encrypted::new();
    call.send_with(1);
    call.receive_with(1);
    assert!(call.0.sender.is_encrypting());
    for len in [1, 3, 160, MAX_FRAME_LEN] {
        call.say(&vec![0xA5; len]);
        assert_eq!(call.0.heard(), from_alice(&[&vec![0xA5; len]]));
    }
    assert_eq!(call.stats().decrypted, 4);
}

/// R4: nothing of the padding, the extension or the trailer reaches the decoder.
#[test]
fn r4_d3_padding_and_extension_and_encryption_at_once_leave_exactly_the_frame() {
    let mut call = Encrypted::new();
    call.receive_with(1);
    let mut frames = FrameSealer::new();
    frames.set_mode(SendMode::Encrypt(secret(1)));
    let frame: Vec<u8> = (0..160).collect();
    // The fixed header with padding and extension, the preamble of one word, and the word.
    let mut plain = [0u8; 400];
    let header = voice_rtp::RtpHeader {
        marker: false,
        payload_type: 120,
        sequence: call.0.sender.sequence,
        timestamp: call.0.sender.timestamp,
        ssrc: ssrc(),
    };
    header.write(plain.first_chunk_mut().expect("twelve bytes"));
    plain[0] |= 0x30;
    plain[12..20].copy_from_slice(&[0xBE, 0xDE, 0, 1, 0x10, 0xFF, 0, 0]);
    plain[20..180].copy_from_slice(&frame);
    let sealed_len = frames.seal(&mut plain[20..], frame.len()).expect("room");
    let padded = 20 + sealed_len + 7;
    plain[padded - 1] = 7;
    let len = call.0.sender.sealer.seal_rtp(&mut plain, padded).expect("sealed");
    call.0.arrive(&plain[..len]);
    assert_eq!(call.0.heard(), from_alice(&[&frame]));
}

/// R9: packets of an epoch that is not known yet.
#[test]
fn r9_frames_whose_key_is_not_there_yet_wait_for_it_and_come_in_order() {
    let mut call = Encrypted::new();
    call.send_with(1);
    for frame in [b"1", b"2", b"3"] {
        call.say(frame);
    }
    assert_eq!(call.0.heard(), []);
    call.0.now += Duration::from_millis(900);
    call.receive_with(1);
    assert_eq!(call.0.heard(), from_alice(&[b"1", b"2", b"3"]));
    let stats = call.stats();
    assert_eq!((stats.held, stats.decrypted, stats.expired, stats.missing_key), (3, 3, 0, 0));
    call.say(b"4");
    assert_eq!(call.0.heard(), from_alice(&[b"4"]));
}

/// R9, where the first frames of the next key have nonces that the last one has seen already.
#[test]
fn r9_frames_of_the_next_key_wait_for_it_while_an_older_one_is_there() {
    let mut call = Encrypted::new();
    call.send_with(1);
    call.receive_with(1);
    for frame in [b"1", b"2"] {
        call.say(frame);
    }
    assert_eq!(call.0.heard(), from_alice(&[b"1", b"2"]));
    call.send_with(2);
    for frame in [b"3", b"4", b"5"] {
        call.say(frame);
    }
    assert_eq!(call.0.heard(), []);
    call.receive_with(2);
    assert_eq!(call.0.heard(), from_alice(&[b"3", b"4", b"5"]));
    let stats = call.stats();
    assert_eq!((stats.held, stats.decrypted, stats.replayed, stats.not_authentic), (3, 5, 0, 0));
}

#[test]
fn what_waits_for_a_key_waits_a_second_and_is_then_counted() {
    let mut call = Encrypted::new();
    call.send_with(1);
    for _ in 0..60 {
        call.say(b"opus");
        call.0.heard();
    }
    assert_eq!((call.stats().held, call.stats().missing_key), (60, 10), "no more than 50 wait");
    let at = call.0.receiver.poll_timeout().expect("something waits");
    assert_eq!(at, call.0.now + Duration::from_secs(1));
    call.0.now = at;
    assert_eq!(call.0.heard(), []);
    assert_eq!((call.stats().expired, call.stats().missing_key), (50, 60));
    call.receive_with(1);
    assert_eq!(call.0.heard(), []);
    call.say(b"next");
    assert_eq!(call.0.heard(), from_alice(&[b"next"]));
}

#[test]
fn streams_that_wait_for_keys_are_bounded() {
    let mut call = Encrypted::new();
    for number in 100..120 {
        call.0.receiver.bind(call.0.now, Ssrc::new(number), UserId::new(number.into()));
        let (mut sender, _) = media(config(number));
        sender.set_mode(SendMode::Encrypt(secret(1)));
        let datagram = sender.seal(b"opus", &mut call.0.buffer).expect("sealed").to_vec();
        call.0.arrive(&datagram);
        call.0.heard();
    }
    assert_eq!((call.stats().held, call.stats().missing_key), (16, 4));
}

/// R10: one bad packet costs one frame.
#[test]
fn r10_a_frame_that_does_not_open_costs_itself_alone() {
    let mut call = Encrypted::new();
    call.send_with(1);
    call.receive_with(1);
    call.say(b"1");
    // From somebody who has the transport key, but not the sender's.
    let mut forger = FrameSealer::new();
    forger.set_mode(SendMode::Encrypt(secret(9)));
    let mut forged = *b"forged..............";
    let len = forger.seal(&mut forged, 6).expect("room");
    call.0.sender.set_mode(SendMode::Passthrough);
    call.say(&forged[..len]);
    call.send_with(1);
    call.say(b"2");
    let mut expected = from_alice(&[b"1", b"2"]);
    expected.insert(1, (ALICE, None));
    assert_eq!(call.0.heard(), expected);
    assert_eq!(call.stats().decrypted, 2);
    assert_eq!(call.stats().replayed + call.stats().not_authentic, 1);
    assert_eq!(call.0.receiver.stats().lost, 0, "it was not lost on its way");
}

#[test]
fn a_bad_frame_among_those_that_wait_costs_itself_alone() {
    let mut call = Encrypted::new();
    call.send_with(1);
    call.say(b"1");
    call.send_with(7);
    call.say(b"?");
    call.send_with(1);
    call.say(b"2");
    assert_eq!(call.0.heard(), []);
    call.receive_with(1);
    let mut expected = from_alice(&[b"1", b"2"]);
    expected.insert(1, (ALICE, None));
    assert_eq!(call.0.heard(), expected);
}

/// R11: plaintext only inside the protocol's windows.
#[test]
fn r11_plaintext_is_accepted_for_ten_seconds_after_a_key_came_and_counted() {
    let mut call = Encrypted::new();
    call.0.receiver.set_default_mode(call.0.now, ReceiveMode::Passthrough);
    call.receive_with(1);
    call.say(b"1");
    assert_eq!(call.0.heard(), from_alice(&[b"1"]));
    call.0.now += Duration::from_secs(10);
    call.say(b"2");
    assert_eq!(call.0.heard(), []);
    assert_eq!((call.stats().plaintext, call.stats().plaintext_refused), (1, 1));
}

#[test]
fn plaintext_of_strangers_ends_too_when_the_call_becomes_encrypted() {
    let mut call = Encrypted::new();
    call.0.receiver.set_default_mode(call.0.now, ReceiveMode::Passthrough);
    call.0.receiver.set_default_mode(call.0.now, ReceiveMode::Decrypt(secret(1)));
    call.0.now += Duration::from_secs(9);
    call.say(b"1");
    assert_eq!(call.0.heard(), from_alice(&[b"1"]));
    call.0.now += Duration::from_secs(1);
    call.say(b"2");
    assert_eq!(call.0.heard(), []);
}

/// S5: nothing leaves before there is a key, and nothing in the clear after it.
#[test]
fn s5_nothing_leaves_without_a_key_in_an_encrypted_call() {
    let mut call = Encrypted::new();
    call.0.sender.set_mode(SendMode::Hold);
    assert_eq!(call.0.sender.seal(b"opus", &mut call.0.buffer), Err(SealError::Held));
    assert_eq!(call.0.sender.stats().frames_held, 1);
    call.send_with(1);
    call.receive_with(1);
    call.say(b"opus");
    assert_eq!(call.0.heard(), from_alice(&[b"opus"]));
    assert_eq!(call.stats().plaintext, 0);
}

/// S6: a frame is encrypted when it is sent, with the key of that moment.
#[test]
fn s6_a_new_key_holds_for_the_very_next_frame() {
    let mut call = Encrypted::new();
    call.receive_with(1);
    call.receive_with(2);
    for key in [1, 2, 1, 2] {
        call.send_with(key);
        call.say(&[key; 20]);
    }
    assert_eq!(call.0.heard(), from_alice(&[&[1; 20], &[2; 20], &[1; 20], &[2; 20]]));
}

#[test]
fn silence_that_the_server_makes_is_heard_without_a_key() {
    let mut call = Encrypted::new();
    call.receive_with(1);
    call.say(&voice_dave::SILENCE_FRAME);
    assert_eq!(call.0.heard(), from_alice(&[&voice_dave::SILENCE_FRAME]));
    assert_eq!((call.stats().silence, call.stats().plaintext), (1, 0));
}

#[test]
fn keys_are_erased_in_time_also_when_nobody_speaks() {
    let mut call = Encrypted::new();
    call.receive_with(1);
    call.receive_with(2);
    let at = call.0.receiver.poll_timeout().expect("a key runs out");
    assert!(at > call.0.now + Duration::from_secs(10) && at < call.0.now + Duration::from_secs(11));
    call.0.now = at;
    call.0.heard();
    assert_eq!(call.0.receiver.poll_timeout(), None);
}

#[test]
fn what_a_user_said_before_leaving_is_still_opened() {
    let mut call = Encrypted::new();
    call.send_with(1);
    call.receive_with(1);
    call.0.receiver.forget(call.0.now, ALICE);
    call.say(b"bye");
    assert_eq!(call.0.heard(), from_alice(&[b"bye"]));
    call.0.now += Duration::from_secs(1);
    call.0.heard();
    assert_eq!(call.0.receiver.poll_timeout(), None, "the user's keys are gone");
}

#[test]
fn the_longest_frame_fits_a_datagram_in_every_transport_mode() {
    for mode in Mode::ALL.iter().copied() {
        let (mut sender, _) = media(MediaConfig { mode, ..config(10) });
        sender.set_mode(SendMode::Encrypt(secret(1)));
        let mut buffer = PacketBuf::new();
        let len = sender.seal(&[1; MAX_FRAME_LEN], &mut buffer).expect("it fits").len();
        assert!(len + FrameSealer::MAX_OVERHEAD - 12 <= voice_rtp::MAX_DATAGRAM_LEN);
    }
}

#[test]
fn a_frame_is_not_heard_again_after_its_sender_was_forgotten_and_came_back_with_the_same_key() {
    let mut call = Encrypted::new();
    call.send_with(1);
    call.receive_with(1);
    let first = call.0.sealed(b"secret words");
    call.0.arrive(&first);
    assert_eq!(call.0.heard(), from_alice(&[b"secret words"]));
    call.0.receiver.forget(call.0.now, ALICE);
    call.0.now += Duration::from_millis(1_100);
    call.0.heard();
    call.receive_with(1);
    call.0.receiver.bind(call.0.now, ssrc(), ALICE);
    call.0.arrive(&first);
    assert_eq!(call.0.heard(), from_alice(&[]));
    // It waited for another key, in vain.
    call.0.now += Duration::from_millis(1_100);
    assert_eq!(call.0.heard(), from_alice(&[]));
    assert_eq!((call.stats().decrypted, call.stats().replayed), (1, 1));
}
