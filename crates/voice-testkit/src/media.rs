//! What a media thread does for a call, in virtual time.

use std::net::SocketAddr;

use discord_voice::{
    CallSession, MediaCommand,
    audio::{FRAME_DURATION, SILENCE_FRAME},
    crypto::{Opener, SecretKey},
    dave::SendMode,
    model::UserId,
};
use voice_udp::{Arrival, Content, Keepalive, PacketBuf, Playout, Receiver, SealError, Sender};

use crate::{Client, Clock, Heard, HeardContent, Said};

/// The media of one session.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) address: SocketAddr,
    pub(crate) key: [u8; 32],
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) keepalive: Keepalive,
    /// Shows what left.
    pub(crate) opener: Opener,
    /// Audio may leave.
    begun: bool,
}

impl Client {
    /// Takes over a socket and the halves of a new session.
    pub(crate) fn start_media(&mut self, clock: &Clock, address: SocketAddr, halves: (Sender, Receiver)) {
        let key = self.key.expect("a session description came before media");
        let (sender, receiver) = halves;
        let keepalive = Keepalive::new(clock.now());
        let mode = self.call.as_ref().and_then(CallSession::mode).expect("it was agreed on before media");
        let opener = Opener::new(mode, &SecretKey::from(&key));
        self.media = Some(Media { address, key, sender, receiver, keepalive, opener, begun: false });
        self.media_starts += 1;
        self.last_round = self.round(clock);
        self.tick_at = None;
        self.give_out(clock);
        self.schedule(clock);
    }

    /// Takes a command, which was given in that epoch of the group.
    pub(crate) fn media_command(&mut self, clock: &Clock, command: MediaCommand, epoch: Option<u64>) {
        if let MediaCommand::SetSendMode(mode) = &command {
            self.sends_in = epoch.filter(|_| matches!(mode, SendMode::Encrypt(_)));
        }
        let Some(media) = &mut self.media else { return };
        match command.apply(clock.now(), &mut media.sender, &mut media.receiver) {
            None => {}
            Some(MediaCommand::Begin) => {
                media.begun = true;
                self.schedule(clock);
            }
            Some(MediaCommand::Stop) => {
                self.media = None;
                self.tick_at = None;
            }
            Some(other) => panic!("a media command that the testkit does not know: {other:?}"),
        }
        self.give_out(clock);
    }

    /// Queues frames, each unlike all others.
    pub(crate) fn make_frames(&mut self, frames: u32) {
        for _ in 0..frames {
            self.frames_made += 1;
            let mut frame = vec![0xF8];
            frame.extend(self.user.get().to_be_bytes());
            frame.extend(self.frames_made.to_be_bytes());
            let filler = self.rng.usize(0..150);
            frame.extend(std::iter::repeat_with(|| self.rng.u8(..)).take(filler));
            self.queue.push_back(frame);
        }
    }

    /// Whether there is something to send 50 times a second.
    pub(crate) fn wants_ticks(&self) -> bool {
        self.media.as_ref().is_some_and(|media| media.begun) && (!self.queue.is_empty() || self.talkspurt.is_ending())
    }

    /// Sets the next tick, if there is to be one.
    pub(crate) fn schedule(&mut self, clock: &Clock) {
        if self.tick_at.is_none() && self.wants_ticks() {
            let round = (self.round(clock) + 1).max(self.last_round + 1);
            let since_start = self.phase + FRAME_DURATION * u32::try_from(round).expect("a few days at most");
            self.tick_at = Some((round, clock.at(since_start)));
        }
    }

    /// 20 ms have passed: the datagram to send, if there is one.
    pub(crate) fn tick(&mut self, clock: &Clock, buffer: &mut PacketBuf) -> Option<Vec<u8>> {
        let (round, _) = self.tick_at.take()?;
        let media = self.media.as_mut()?;
        media.sender.skip(u32::try_from(round - self.last_round - 1).unwrap_or(u32::MAX));
        self.last_round = round;
        let (frame, silence) = match self.queue.pop_front() {
            Some(frame) => {
                self.talkspurt.audio();
                (frame, false)
            }
            None if self.talkspurt.silence() => (SILENCE_FRAME.to_vec(), true),
            None => return None,
        };
        let sealed = media.sender.seal(&frame, buffer).map(<[u8]>::to_vec);
        let said = Said { at: clock.elapsed(), ssrc: media.sender.ssrc(), frame, silence, epoch: self.sends_in };
        let datagram = match sealed {
            Ok(datagram) => {
                self.said.push(said);
                Some(datagram)
            }
            Err(SealError::Held) => {
                self.held.push(said);
                None
            }
            Err(error) => panic!("the call allows every frame: {error}"),
        };
        self.schedule(clock);
        datagram
    }

    /// Takes a datagram from the media server.
    pub(crate) fn receive(&mut self, clock: &Clock, datagram: &mut [u8]) {
        let Some(media) = &mut self.media else { return };
        if let Ok(Arrival::Pong(pong)) = media.receiver.open(clock.now(), datagram) {
            media.keepalive.handle_pong(clock.now(), pong);
        }
        self.give_out(clock);
    }

    /// The instant at which media wants to be woken has come: the ping to send, if one is due.
    pub(crate) fn media_timeout(&mut self, clock: &Clock) -> Option<Vec<u8>> {
        let media = self.media.as_mut()?;
        let ping = media.keepalive.poll(clock.now()).map(|ping| ping.request().to_vec());
        self.give_out(clock);
        ping
    }

    /// Takes what can be heard, and notes when something has to be done although nothing arrives.
    fn give_out(&mut self, clock: &Clock) {
        self.media_at = None;
        let Some(media) = &mut self.media else { return };
        while let Some(Playout { user, ssrc, content }) = media.receiver.next_frame(clock.now()) {
            let content = match content {
                Content::Frame { timestamp, frame } => HeardContent::Frame { timestamp, frame: frame.to_vec() },
                Content::Lost { packets } => HeardContent::Lost { packets },
            };
            if let HeardContent::Frame { frame, .. } = &content
                && let Some(speaker) = speaker_of(frame)
            {
                assert_eq!(speaker, user, "{} hears somebody under the name of another", self.user);
            }
            self.heard.push(Heard { at: clock.elapsed(), user, ssrc, content });
        }
        self.media_at = media.receiver.poll_timeout().into_iter().chain([media.keepalive.next_at()]).min();
    }

    /// The last tick that has passed.
    fn round(&self, clock: &Clock) -> u64 {
        let elapsed = clock.elapsed().saturating_sub(self.phase);
        u64::try_from(elapsed.as_micros() / FRAME_DURATION.as_micros()).expect("a few days at most")
    }
}

/// Who said a frame, if a client did.
fn speaker_of(frame: &[u8]) -> Option<UserId> {
    let (first, rest) = frame.split_first()?;
    let (user, rest) = rest.split_first_chunk::<8>()?;
    (*first == 0xF8 && rest.len() >= 4).then(|| UserId::new(u64::from_be_bytes(*user)))
}
