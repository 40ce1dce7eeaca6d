//! One call on its media thread: the only owner of its socket, its media halves and its source.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use voice_audio::{FrameBuf, SILENCE_FRAME};
use voice_rtp::{Kind, classify};
use voice_udp::{
    Arrival, Content, Keepalive, MediaFault, MediaHealth, PacketBuf, Playout, Receiver, SealError, Sender,
    StreamPosition, Talkspurt,
    socket::{Poller, RECEIVE_BUFFER_LEN, Socket},
};

use super::{
    playing::{PlaybackEnd, PlaybackShared, PlaybackStatus, Playing},
    ring::{ReceiveSink, Received},
    shared::{CallShared, LinkFault, MediaStats},
};
use crate::MediaCommand;

/// The media of one call.
pub(super) struct MediaCall {
    shared: Arc<CallShared>,
    fault_after: Duration,
    /// Absent until the session is established.
    link: Option<Link>,
    playing: Option<Playing>,
    paused: bool,
    /// How many times control announced audio; tells an end of speech from an older one.
    generation: u64,
    /// Control announced audio and was not told yet that it is over.
    announced: bool,
    talkspurt: Talkspurt,
    sinks: Vec<ReceiveSink>,
    /// The round of the last tick, or of the moment when the link was made.
    last_round: u64,
    /// There was a tick over this link.
    ticked: bool,
    pub(super) scheduled: bool,
    published_at: Option<Instant>,
}

/// The path to one media server.
struct Link {
    number: u64,
    socket: Socket,
    sender: Sender,
    receiver: Receiver,
    keepalive: Keepalive,
    health: MediaHealth,
    /// It was reported that media does not get through.
    failed: bool,
    /// Audio may leave.
    begun: bool,
    errors: u64,
    oversized: u64,
    unheard: u64,
}

/// Buffers that a thread's calls share, one after the other.
pub(super) struct Buffers {
    frame: FrameBuf,
    packet: PacketBuf,
    datagram: Box<[u8; RECEIVE_BUFFER_LEN]>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { frame: FrameBuf::new(), packet: PacketBuf::new(), datagram: Box::new([0; RECEIVE_BUFFER_LEN]) }
    }
}

impl MediaCall {
    pub(super) fn new(shared: Arc<CallShared>, fault_after: Duration) -> Self {
        Self {
            shared,
            fault_after,
            link: None,
            playing: None,
            paused: false,
            generation: 0,
            announced: false,
            talkspurt: Talkspurt::default(),
            sinks: Vec::new(),
            last_round: 0,
            ticked: false,
            scheduled: false,
            published_at: None,
        }
    }

    /// Takes over a socket and the halves of a new session; what plays and who listens stays.
    pub(super) fn start(
        &mut self,
        now: Instant,
        (number, round): (u64, u64),
        poller: &mut Poller,
        key: usize,
        (mut socket, sender, receiver): (Socket, Sender, Receiver),
    ) {
        self.stop(now, poller);
        if let Err(error) = poller.add(&mut socket, key) {
            tracing::error!(%error, "a media socket cannot be waited for");
            self.shared.media_failed(number, LinkFault::Socket(error.to_string()));
            return;
        }
        self.link = Some(Link {
            number,
            socket,
            sender,
            receiver,
            keepalive: Keepalive::new(now),
            health: MediaHealth::new(self.fault_after),
            failed: false,
            begun: false,
            errors: 0,
            oversized: 0,
            unheard: 0,
        });
        (self.last_round, self.ticked) = (round, false);
    }

    /// Gives up the link.
    pub(super) fn stop(&mut self, now: Instant, poller: &mut Poller) {
        self.publish(now, true);
        if let Some(mut link) = self.link.take() {
            let _ = poller.remove(&mut link.socket);
        }
        // A talk spurt ends with its link: another server has not heard its beginning.
        self.talkspurt = Talkspurt::default();
    }

    /// Gives up the link for another process. Says where its socket was and where the stream stands.
    pub(super) fn detach(&mut self, now: Instant, poller: &mut Poller) -> Option<(SocketAddr, StreamPosition)> {
        let link = self.link.as_ref()?;
        let place = (link.socket.local_addr().ok()?, link.sender.position());
        self.stop(now, poller);
        Some(place)
    }

    pub(super) fn handle_command(&mut self, now: Instant, command: MediaCommand) {
        let Some(link) = &mut self.link else { return };
        if let Some(MediaCommand::Begin) = command.apply(now, &mut link.sender, &mut link.receiver) {
            link.begun = true;
        }
        self.give_out(now);
    }

    pub(super) fn play(&mut self, playing: Playing, generation: u64) {
        if let Some(replaced) = self.playing.replace(playing) {
            replaced.end(PlaybackEnd::Replaced);
        }
        (self.generation, self.announced) = (generation, true);
        self.paused = false;
    }

    /// Pauses that playback; one that was replaced meanwhile is not there any more.
    pub(super) fn pause(&mut self, playback: &Arc<PlaybackShared>) {
        if let Some(playing) = self.playing.as_ref().filter(|playing| playing.is(playback)) {
            playing.set_status(PlaybackStatus::Paused);
            self.paused = true;
        }
    }

    /// Goes on with that playback.
    pub(super) fn resume(&mut self, playback: &Arc<PlaybackShared>, generation: u64) {
        (self.generation, self.announced) = (generation, true);
        if let Some(playing) = self.playing.as_ref().filter(|playing| playing.is(playback)) {
            playing.set_status(PlaybackStatus::Waiting);
            self.paused = false;
        }
    }

    /// Ends that playback.
    pub(super) fn stop_playing(&mut self, playback: &Arc<PlaybackShared>) {
        if let Some(playing) = self.playing.take_if(|playing| playing.is(playback)) {
            playing.end(PlaybackEnd::Stopped);
        }
    }

    pub(super) fn listen(&mut self, sink: ReceiveSink) {
        if let Some(link) = self.link.as_mut().filter(|_| self.sinks.is_empty()) {
            link.receiver.resynchronise();
        }
        self.sinks.push(sink);
    }

    /// Whether the call has something to send 50 times a second.
    pub(super) const fn wants_ticks(&self) -> bool {
        matches!(&self.link, Some(link) if link.begun) && self.has_audio()
    }

    /// Tells control, once, that what it announced is over. Without a link audio only waits.
    pub(super) fn report_silence(&mut self) {
        if self.announced && !self.has_audio() {
            self.announced = false;
            self.shared.fell_silent(self.generation);
        }
    }

    const fn has_audio(&self) -> bool {
        (self.playing.is_some() && !self.paused) || self.talkspurt.is_ending()
    }

    /// 20 ms have passed: sends a frame of the source, or of silence.
    pub(super) fn tick(&mut self, now: Instant, round: u64, buffers: &mut Buffers) {
        let Some(link) = &mut self.link else { return };
        // Moved to a later slot of a round that it had its turn in already.
        if std::mem::replace(&mut self.ticked, true) && round == self.last_round {
            return;
        }
        let missed = round.saturating_sub(self.last_round + 1);
        link.sender.skip(u32::try_from(missed).unwrap_or(u32::MAX));
        self.last_round = round;
        let sounding = match self.playing.as_mut().filter(|_| !self.paused) {
            None => false,
            Some(playing) => match playing.next_frame(&mut buffers.frame) {
                Ok(sounding) => {
                    playing.set_status(PlaybackStatus::Playing);
                    sounding
                }
                Err(end) => {
                    if let Some(playing) = self.playing.take() {
                        playing.end(end);
                    }
                    false
                }
            },
        };
        let sent = if sounding {
            self.talkspurt.audio();
            link.send_frame(now, buffers.frame.as_slice(), &mut buffers.packet, &self.shared)
        } else if self.talkspurt.silence() {
            link.send_frame(now, &SILENCE_FRAME, &mut buffers.packet, &self.shared)
        } else {
            link.sender.skip(1);
            Ok(())
        };
        if let Err(error @ SealError::FrameLen { .. }) = sent
            && let Some(playing) = self.playing.take()
        {
            playing.end(PlaybackEnd::Unsendable(error));
        }
        self.publish(now, false);
    }

    /// Reads what arrived. Returns whether there may be more.
    pub(super) fn receive(&mut self, now: Instant, buffers: &mut Buffers) -> bool {
        let more = self.receive_batch(now, buffers);
        self.publish(now, false);
        more
    }

    fn receive_batch(&mut self, now: Instant, buffers: &mut Buffers) -> bool {
        for _ in 0..MAX_BATCH {
            let Some(link) = &mut self.link else { return false };
            match link.socket.receive(&mut buffers.datagram[..]) {
                // Media that nobody listens to is not even opened.
                Ok(Some(len)) if self.sinks.is_empty() && classify(&buffers.datagram[..len]) == Kind::Rtp => {
                    link.health.handle_unopened();
                    link.unheard += 1;
                }
                Ok(Some(len)) if len < RECEIVE_BUFFER_LEN => {
                    let opened = link.receiver.open(now, &mut buffers.datagram[..len]);
                    if let Ok(Arrival::Pong(pong)) = opened {
                        link.keepalive.handle_pong(now, pong);
                    }
                    let fault = link.health.handle_datagram(now, &opened);
                    link.report(fault, &self.shared);
                    self.give_out(now);
                }
                Ok(Some(_)) => link.oversized += 1,
                Ok(None) => return false,
                // A refused port, reported for an earlier datagram: one is not the end of anything.
                Err(error) => link.failed(now, &error, &self.shared),
            }
        }
        true
    }

    /// The instant of [`deadline`](Self::deadline) has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(link) = &mut self.link
            && let Some(ping) = link.keepalive.poll(now)
            && let Err(error) = link.socket.send(&ping.request())
        {
            link.failed(now, &error, &self.shared);
        }
        self.give_out(now);
        self.publish(now, false);
    }

    /// When something has to be done although nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let link = self.link.as_ref()?;
        let waiting = link.receiver.poll_timeout();
        waiting.into_iter().chain([link.keepalive.next_at()]).min()
    }

    /// Hands what is due to those who listen.
    fn give_out(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        self.sinks.retain(|sink| !sink.is_abandoned());
        while let Some(Playout { user, ssrc, content }) = link.receiver.next_frame(now) {
            let received = match content {
                Content::Lost { packets } => Received::Lost { user, ssrc, packets },
                Content::Frame { timestamp, frame } => {
                    let mut copy = FrameBuf::new();
                    if copy.set(frame).is_err() {
                        continue;
                    }
                    Received::Frame { user, ssrc, timestamp, frame: copy }
                }
            };
            if let Some((last, others)) = self.sinks.split_last_mut() {
                others.iter_mut().for_each(|sink| sink.push(received.clone()));
                last.push(received);
            }
        }
    }

    /// Makes the counters readable, about once a second.
    fn publish(&mut self, now: Instant, final_one: bool) {
        let due = self.published_at.is_none_or(|at| now.saturating_duration_since(at) >= PUBLISH_INTERVAL);
        if let Some(link) = &self.link
            && (due || final_one)
        {
            self.published_at = Some(now);
            self.shared.publish(link.figures(), final_one);
        }
    }

    /// Makes the counters readable now.
    pub(super) fn publish_now(&mut self, now: Instant) {
        self.publish(now, true);
    }
}

impl Link {
    /// Seals and sends. A frame that the call holds back, or that the network refuses, is counted and gone.
    fn send_frame(
        &mut self,
        now: Instant,
        frame: &[u8],
        buffer: &mut PacketBuf,
        shared: &CallShared,
    ) -> Result<(), SealError> {
        let datagram = self.sender.seal(frame, buffer)?;
        if let Err(error) = self.socket.send(datagram) {
            self.failed(now, &error, shared);
        }
        Ok(())
    }

    /// Counts an error of the socket.
    fn failed(&mut self, now: Instant, error: &io::Error, shared: &CallShared) {
        self.errors += 1;
        let fault = self.health.handle_socket_error(now, error.kind());
        self.report(fault, shared);
    }

    fn figures(&self) -> MediaStats {
        MediaStats {
            sent: *self.sender.stats(),
            received: *self.receiver.stats(),
            round_trip: self.keepalive.round_trip(),
            blocked: self.socket.blocked(),
            pings: self.keepalive.sent().into(),
            pongs: self.keepalive.answered(),
            socket_errors: self.errors,
            unreachable: self.health.unreachable(),
            oversized: self.oversized,
            unheard: self.unheard,
        }
    }

    /// Tells control, once, that media does not get through any more.
    fn report(&mut self, fault: Option<MediaFault>, shared: &CallShared) {
        if let Some(fault) = fault
            && !std::mem::replace(&mut self.failed, true)
        {
            // They say why, to who hears of it.
            shared.publish(self.figures(), true);
            shared.media_failed(self.number, LinkFault::Media(fault));
        }
    }
}

impl Drop for MediaCall {
    /// Whatever ends the media thread, its calls hear of it.
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

/// Datagrams read from one socket before others get their turn.
const MAX_BATCH: usize = 64;
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
