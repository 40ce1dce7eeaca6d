//! What is made of end-to-end encryption.

use std::time::Duration;

use voice_crypto::Mode;
use voice_dave::{BaseSecret, FrameSealer, ReceiveMode, SendMode};
use voice_model::UserId;
use voice_rtp::Ssrc;

use super::{ALICE, Pair, config, ssrc};
use crate::media::{E2eeStats, MAX_FRAME_LEN, MediaConfig, PacketBuf, SealError, media};

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
fn a_frame_whose_turn_comes_too_late_does_not_wait_for_a_key() {
    let mut call = Encrypted::new();
    call.send_with(1);
    call.say(b"1");
    call.0.heard();
    call.0.sealed(b"lost");
    call.say(b"2");
    // Nobody asks for two seconds.
    call.0.now += Duration::from_secs(2);
    assert_eq!(call.0.heard(), [(ALICE, None)]);
    assert_eq!((call.stats().held, call.stats().missing_key), (1, 2));
    assert_eq!(call.0.receiver.poll_timeout(), None);
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
