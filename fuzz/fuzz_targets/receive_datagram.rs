//! A receiver that has the call's keys, under whatever who has them too can send, and whoever has not can repeat.
//!
//! The input is a list of operations: packets in order, with numbers and times from anywhere, encrypted end to end or not,
//! of any shape behind the header; earlier ones again or with a bit flipped; bytes from nowhere; time; users who come, leave
//! and change their keys.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use voice_crypto::{Mode, Sealer, SecretKey};
use voice_dave::{BaseSecret, FrameSealer, ReceiveMode, SendMode};
use voice_model::UserId;
use voice_rtp::{RtpHeader, Sequence, Ssrc, Timestamp};
use voice_udp::{Content, MAX_FRAME_LEN, MediaConfig, Playout, ReceiveStats, Receiver, media};

fuzz_target!(|input: &[u8]| {
    let mut call = Call::new();
    let mut input = Input(input);
    while let Some(operation) = input.byte() {
        if call.carry_out(operation, &mut input).is_none() {
            break;
        }
        call.listen();
    }
    // Whatever waits has a time at which it does not any more.
    call.now += Duration::from_secs(30);
    call.listen();
    assert_eq!(call.receiver.poll_timeout(), None);
});

struct Call {
    now: Instant,
    sealer: Sealer,
    receiver: Receiver,
    streams: [Stream; 2],
    frames: [FrameSealer; 3],
    sent: Vec<Vec<u8>>,
    opened: u64,
    heard: u64,
}

/// Where a sender stands.
struct Stream {
    sequence: Sequence,
    timestamp: Timestamp,
}

impl Call {
    fn new() -> Self {
        let key = || SecretKey::new([7; 32]);
        let mode = Mode::Aes256GcmRtpsize;
        let (_, receiver) = media(MediaConfig { key: key(), mode, seed: 1, ssrc: Ssrc::new(9) });
        let mut frames: [FrameSealer; 3] = Default::default();
        for (sealer, byte) in frames.iter_mut().zip(0..) {
            sealer.set_mode(SendMode::Encrypt(secret(byte)));
        }
        let stream = || Stream { sequence: Sequence::new(65_500), timestamp: Timestamp::new(u32::MAX - 20_000) };
        Self {
            now: Instant::now(),
            sealer: Sealer::new(mode, key(), 0),
            receiver,
            streams: [stream(), stream()],
            frames,
            sent: Vec::new(),
            opened: 0,
            heard: 0,
        }
    }

    /// `None` at the end of the input.
    fn carry_out(&mut self, operation: u8, input: &mut Input<'_>) -> Option<()> {
        let which = usize::from(operation >> 4 & 1);
        let ssrc = Ssrc::new(which as u32 + 1);
        match operation & 0x0F {
            // The next one of a stream, encrypted with one of the keys or not at all.
            0 | 1 => {
                let kind = input.byte()?;
                let len = usize::from(kind >> 2) * 24 + 4;
                let mut frame = vec![kind; len + FrameSealer::MAX_OVERHEAD];
                frame[..4].copy_from_slice(&(self.sent.len() as u32).to_be_bytes());
                let len = match self.frames.get_mut(usize::from(kind & 3)) {
                    Some(sealer) => sealer.seal(&mut frame, len).ok()?,
                    None => len,
                };
                self.send(which, 0, &frame[..len]);
            }
            // Of any shape: flags in the first byte, and a body.
            2 => {
                let (flags, len) = (input.byte()?, input.byte()?);
                let body = input.take(usize::from(len))?;
                self.send(which, flags & 0x3F, body);
            }
            3 => self.streams[which].sequence = self.streams[which].sequence.wrapping_add(input.word()?),
            4 => {
                let (high, low) = (input.word()?, input.word()?);
                let by = u32::from(high) << 16 | u32::from(low);
                self.streams[which].timestamp = self.streams[which].timestamp.wrapping_add(by);
            }
            5 | 6 => {
                let back = usize::from(input.byte()?);
                let datagram = self.sent.iter().rev().nth(back)?.clone();
                self.open(datagram);
            }
            7 => {
                let (back, bit) = (usize::from(input.byte()?), usize::from(input.word()?));
                let mut datagram = self.sent.iter().rev().nth(back)?.clone();
                let bit = bit % (datagram.len() * 8);
                datagram[bit / 8] ^= 1 << (bit % 8);
                self.open(datagram);
            }
            8 => {
                let len = input.byte()?;
                let datagram = input.take(usize::from(len))?.to_vec();
                self.open(datagram);
            }
            9 => self.now += Duration::from_millis(input.byte()?.into()),
            10 => self.now += Duration::from_millis(u64::from(input.word()?) * 64),
            11 => self.receiver.bind(self.now, ssrc, UserId::new(u64::from(input.byte()? & 1) + 1)),
            12 => self.receiver.forget(self.now, UserId::new(which as u64 + 1)),
            13 => {
                let mode = mode(input.byte()?);
                self.receiver.set_mode(self.now, UserId::new(which as u64 + 1), mode);
            }
            14 => self.receiver.set_default_mode(self.now, mode(input.byte()?)),
            _ => self.receiver.resynchronise(),
        }
        Some(())
    }

    /// Sends the next packet of a stream.
    fn send(&mut self, which: usize, flags: u8, body: &[u8]) {
        let stream = &mut self.streams[which];
        let header = RtpHeader {
            marker: false,
            payload_type: 120,
            sequence: stream.sequence,
            timestamp: stream.timestamp,
            ssrc: Ssrc::new(which as u32 + 1),
        };
        stream.sequence = stream.sequence.wrapping_add(1);
        stream.timestamp = stream.timestamp.wrapping_add(960);
        let mut packet = vec![0; RtpHeader::LEN + body.len() + 40];
        header.write(packet.first_chunk_mut().expect("twelve bytes"));
        packet[0] |= flags;
        packet[RtpHeader::LEN..][..body.len()].copy_from_slice(body);
        // Some shapes no sealer takes.
        let Ok(len) = self.sealer.seal_rtp(&mut packet, RtpHeader::LEN + body.len()) else { return };
        packet.truncate(len);
        self.sent.push(packet.clone());
        self.open(packet);
    }

    fn open(&mut self, mut datagram: Vec<u8>) {
        self.opened += 1;
        let _ = self.receiver.open(self.now, &mut datagram);
    }

    /// Hears what there is, and checks what must hold whatever came.
    fn listen(&mut self) {
        while let Some(Playout { user, ssrc, content }) = self.receiver.next_frame(self.now) {
            assert!(user.get() <= 2 && ssrc.get() <= 2, "of nobody who was named");
            match content {
                Content::Frame { frame, .. } => {
                    assert!(!frame.is_empty() && frame.len() <= MAX_FRAME_LEN);
                    self.heard += 1;
                }
                Content::Lost { packets } => assert!(packets > 0),
            }
        }
        assert!(self.receiver.poll_timeout().is_none_or(|at| at > self.now), "it wakes for nothing");
        let ReceiveStats { datagrams, packets, frames, e2ee, .. } = *self.receiver.stats();
        assert_eq!((datagrams, frames), (self.opened, self.heard));
        assert!(packets <= datagrams && frames <= e2ee.decrypted + e2ee.silence + e2ee.plaintext);
        assert!(e2ee.decrypted + e2ee.silence + e2ee.plaintext <= packets, "a packet was heard twice");
    }
}

/// What is left of the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn word(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

fn mode(byte: u8) -> ReceiveMode {
    match byte % 6 {
        0 => ReceiveMode::Hold,
        1 => ReceiveMode::Passthrough,
        2 => ReceiveMode::Expire,
        key => ReceiveMode::Decrypt(secret(key - 3)),
    }
}

fn secret(byte: u8) -> BaseSecret {
    BaseSecret::new([byte + 1; 16])
}
