//! One call on its media thread: the only owner of its socket, its media halves and its source.

mod link;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use voice_audio::{FrameBuf, SILENCE_FRAME};
use voice_rtp::{Kind, classify};
use voice_udp::{
    Arrival, Content, Keepalive, MediaFault, MediaHealth, Playout, Receiver, SealError, Sender, StreamPosition,
    Talkspurt,
    socket::{DatagramSink, Inbox, Poller, RECEIVE_BUFFER_LEN, Socket},
};

use self::link::Link;
use super::{
    export::CallExport,
    on_grid,
    playing::{PlaybackEnd, PlaybackShared, PlaybackStatus, Playing},
    pool::Help,
    ring::{ReceiveSink, Received},
    shared::{CallShared, LinkFault, MediaStats},
};
use crate::{Histogram, MediaCommand};

/// The media of one call.
pub(super) struct MediaCall {
    account: Account,
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
    /// The next round in which a frame can leave over this link; each before it had its turn, or was skipped.
    next_round: u64,
    published_at: Option<Instant>,
    /// The first figures are followed by the next this much early: calls that began together tell theirs apart.
    head_start: Duration,
    export: CallExport,
}

/// What became of a call's turns, over all its links, and who is told.
struct Account {
    shared: Arc<CallShared>,
    /// Turns that were missed while there was something to send.
    skipped: u64,
    lateness: Histogram,
}

impl Account {
    /// Makes the figures readable, and returns them.
    fn publish(&self, link: &Link) -> MediaStats {
        let figures = MediaStats { skipped: self.skipped, lateness: self.lateness, ..link.figures() };
        self.shared.publish(figures);
        figures
    }
}

/// The way out, which a thread's calls share, one after the other.
pub(super) struct Outlet {
    pub(super) sink: Box<dyn DatagramSink>,
    /// For the pool, when everything has left.
    pub(super) help: Help,
    frame: FrameBuf,
}

impl Outlet {
    pub(super) fn new(sink: Box<dyn DatagramSink>) -> Self {
        Self { sink, help: Help::default(), frame: FrameBuf::new() }
    }
}

/// A turn of a call, once in 20 ms.
pub(super) struct Tick {
    pub(super) now: Instant,
    /// The number of the 20 ms.
    pub(super) round: u64,
    /// How long after it was due.
    pub(super) late: Duration,
    /// By which the thread's sink knows the call.
    pub(super) number: usize,
}

impl MediaCall {
    pub(super) fn new(shared: Arc<CallShared>, fault_after: Duration, export: CallExport) -> Self {
        Self {
            account: Account { shared, skipped: 0, lateness: Histogram::default() },
            fault_after,
            link: None,
            playing: None,
            paused: false,
            generation: 0,
            announced: false,
            talkspurt: Talkspurt::default(),
            sinks: Vec::new(),
            next_round: 0,
            published_at: None,
            head_start: Duration::ZERO,
            export,
        }
    }

    /// Takes over a socket and the halves of a new session; what plays and who listens stays.
    pub(super) fn start(
        &mut self,
        now: Instant,
        (link, round, number): (u64, u64, usize),
        poller: &mut Poller,
        outlet: &mut Outlet,
        (socket, sender, receiver): (Socket, Sender, Receiver),
    ) {
        self.stop(now, number, poller, outlet);
        let mut receiver = receiver;
        receiver.leave_memory_to_others();
        self.link = Some(Link {
            number: link,
            socket,
            sender,
            receiver,
            keepalive: Keepalive::new(now),
            health: MediaHealth::new(self.fault_after),
            failed: false,
            begun: false,
            handed: 0,
            unsent: 0,
            blocked: 0,
            errors: 0,
            errors_in_a_row: 0,
            oversized: 0,
            unheard: 0,
        });
        self.next_round = round;
        self.export.begin_link(self.account.skipped);
        self.enter_thread(number, poller, outlet);
    }

    /// Makes the socket known to a thread.
    pub(super) fn enter_thread(&mut self, number: usize, poller: &mut Poller, outlet: &mut Outlet) {
        self.head_start = PUBLISH_INTERVAL * (number as u32 % SHARES) / SHARES;
        let Some(link) = &mut self.link else { return };
        let added = poller.add(&mut link.socket, number).and_then(|()| outlet.sink.add(&link.socket, number));
        if let Err(error) = added {
            tracing::error!(%error, "a media socket cannot be waited for");
            self.account.shared.media_failed(link.number, LinkFault::Socket(error.to_string()));
            self.link = None;
        }
    }

    /// Lets a thread forget the socket. Everything that it was given to send leaves before.
    pub(super) fn leave_thread(&mut self, number: usize, poller: &mut Poller, outlet: &mut Outlet) {
        if let Some(link) = &mut self.link {
            outlet.sink.remove(number);
            let _ = poller.remove(&mut link.socket);
        }
    }

    /// Gives up the link.
    pub(super) fn stop(&mut self, now: Instant, number: usize, poller: &mut Poller, outlet: &mut Outlet) {
        self.publish(now, true);
        self.leave_thread(number, poller, outlet);
        self.link = None;
        // A talk spurt ends with its link: another server has not heard its beginning.
        self.talkspurt = Talkspurt::default();
    }

    /// Gives up the link for another process. Says where its socket was and where the stream stands.
    pub(super) fn detach(
        &mut self,
        now: Instant,
        number: usize,
        poller: &mut Poller,
        outlet: &mut Outlet,
    ) -> Option<(SocketAddr, StreamPosition)> {
        let link = self.link.as_ref()?;
        let place = (link.socket.local_addr().ok()?, link.sender.position());
        self.stop(now, number, poller, outlet);
        Some(place)
    }

    /// Wishes to be served by another thread.
    pub(super) fn ask_to_move(&self, target: usize) {
        self.account.shared.ask_to_move(target);
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
        if let Some(playing) = self.playing.as_mut().filter(|playing| playing.is(playback)) {
            playing.set_status(PlaybackStatus::Paused);
            self.paused = true;
        }
    }

    /// Goes on with that playback.
    pub(super) fn resume(&mut self, playback: &Arc<PlaybackShared>, generation: u64) {
        (self.generation, self.announced) = (generation, true);
        if let Some(playing) = self.playing.as_mut().filter(|playing| playing.is(playback)) {
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
            self.account.shared.fell_silent(self.generation);
        }
    }

    const fn has_audio(&self) -> bool {
        (self.playing.is_some() && !self.paused) || self.talkspurt.is_ending()
    }

    /// Reads something of each part that a turn needs.
    pub(super) fn prefetch(&self) -> u64 {
        let Some(link) = &self.link else { return 0 };
        let played = self.playing.as_ref().map_or(0, Playing::prefetch);
        let published = self.published_at.map_or(0, |_| 1);
        let parts = [self.next_round, self.generation, self.account.lateness.first(), link.blocked, published, played];
        parts.iter().fold(link.sender.prefetch(), |sum, part| sum ^ part)
    }

    /// There is something to send from this round on: the time until then passed unsent, and was not missed.
    pub(super) fn begin_ticks(&mut self, round: u64) {
        if let Some(link) = &mut self.link {
            let idle = round.saturating_sub(self.next_round);
            link.sender.skip(u32::try_from(idle).unwrap_or(u32::MAX));
            self.next_round = self.next_round.max(round);
        }
    }

    /// The first round in which a frame can leave.
    pub(super) const fn next_round(&self) -> u64 {
        self.next_round
    }

    /// 20 ms have passed: seals a frame of the source, or of silence, for the sink.
    pub(super) fn tick(&mut self, tick: Tick, outlet: &mut Outlet) {
        let Tick { now, round, late, number } = tick;
        let Some(link) = &mut self.link else { return };
        // Moved to a later slot of a round that it had its turn in already.
        let Some(missed) = round.checked_sub(self.next_round) else { return };
        link.sender.skip(u32::try_from(missed).unwrap_or(u32::MAX));
        self.account.skipped += missed;
        self.next_round = round + 1;
        self.account.lateness.record(late);
        let Outlet { sink, frame, help } = outlet;
        let sounding = match self.playing.as_mut().filter(|_| !self.paused) {
            None => false,
            Some(playing) => match playing.next_frame(frame, help) {
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
        if link.sender.packets_left() < RENEW_AT {
            link.report(Some(MediaFault::KeySpent), &self.account);
        }
        let sent = if sounding {
            self.talkspurt.audio();
            link.send_frame(number, frame.as_slice(), &mut **sink)
        } else if self.talkspurt.silence() {
            link.send_frame(number, &SILENCE_FRAME, &mut **sink)
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

    /// The socket, while there is a media server.
    pub(super) fn socket(&mut self) -> Option<&mut Socket> {
        self.link.as_mut().map(|link| &mut link.socket)
    }

    /// A datagram did not leave.
    pub(super) fn send_failed(&mut self, now: Instant, error: &io::Error) {
        if let Some(link) = &mut self.link {
            link.send_failed(now, error, &self.account);
        }
    }

    /// Reads what arrived, and counts it. Returns whether there may be more.
    pub(super) fn receive(&mut self, now: Instant, inbox: &mut Inbox, datagrams: &mut u64) -> bool {
        let Some(link) = &mut self.link else { return false };
        let received = link.socket.receive(inbox);
        *datagrams += inbox.len() as u64;
        for datagram in inbox.datagrams() {
            // Media that nobody listens to is not even opened.
            if self.sinks.is_empty() && classify(datagram) == Kind::Rtp {
                link.health.handle_unopened();
                link.unheard += 1;
            } else if datagram.len() >= RECEIVE_BUFFER_LEN {
                link.oversized += 1;
            } else {
                let opened = link.receiver.open(now, datagram);
                if let Ok(Arrival::Pong(pong)) = opened {
                    link.keepalive.handle_pong(now, pong);
                }
                let fault = link.health.handle_datagram(now, &opened);
                link.report(fault, &self.account);
            }
        }
        let more = match received {
            Ok(more) => {
                link.errors_in_a_row = 0;
                more
            }
            // A refused port, reported for an earlier datagram: one is not the end of anything. One that is reported again
            // and again is waited with until something arrives.
            Err(error) => {
                link.failed(now, &error, &self.account);
                link.errors_in_a_row += 1;
                link.errors_in_a_row % MAX_ERRORS_IN_A_ROW != 0
            }
        };
        self.give_out(now);
        self.mind_memory(now);
        self.publish(now, false);
        more
    }

    /// The instant of [`deadline`](Self::deadline) has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(link) = &mut self.link
            && let Some(ping) = link.keepalive.poll(now)
        {
            link.handed += 1;
            if let Err(error) = link.socket.send(&ping.request()) {
                link.send_failed(now, &error, &self.account);
            }
        }
        self.give_out(now);
        self.mind_memory(now);
        self.publish(now, false);
    }

    /// When something has to be done although nothing arrives. Pings that are only to keep the path open wait for those
    /// of other calls, so that one wake-up serves many.
    pub(super) fn deadline(&self, epoch: Instant) -> Option<Instant> {
        let link = self.link.as_ref()?;
        let waiting = link.receiver.poll_timeout();
        let ping = link.keepalive.next_at();
        let ping = if link.keepalive.answered() > 0 { on_grid(epoch, ping, PING_GRID) } else { ping };
        waiting.into_iter().chain([ping]).min()
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

    /// Has control bring memory for frames that wait, and take away what is not needed.
    fn mind_memory(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        if link.receiver.wants_memory()
            && let Some(memory) = self.account.shared.take_memory()
        {
            link.receiver.add_memory(memory);
        }
        if let Some(memory) = link.receiver.take_spare_memory(now) {
            self.account.shared.give_back(memory);
        }
    }

    /// Makes the counters readable, about once a second.
    fn publish(&mut self, now: Instant, final_one: bool) {
        let due = self.published_at.is_none_or(|at| now.saturating_duration_since(at) >= PUBLISH_INTERVAL);
        if let Some(link) = &self.link
            && (due || final_one)
        {
            let head_start = if self.published_at.is_none() { self.head_start } else { Duration::ZERO };
            self.published_at = now.checked_sub(head_start).or(Some(now));
            self.export.update(&self.account.publish(link));
        }
    }

    /// Makes the counters readable now.
    pub(super) fn publish_now(&mut self, now: Instant) {
        self.publish(now, true);
    }
}

impl Drop for MediaCall {
    /// Whatever ends the media thread, its calls hear of it.
    fn drop(&mut self) {
        self.account.shared.abandon();
    }
}

/// Errors of receiving before a socket is left alone.
const MAX_ERRORS_IN_A_ROW: u64 = 8;
/// Pings of a thread's calls leave together: a few of thousands at a time, every 50 ms.
const PING_GRID: Duration = Duration::from_millis(50);
/// Packets that a key may still seal when another one is asked for: 10 s of them, in which a rejoin succeeds or fails.
const RENEW_AT: u64 = 500;
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// Parts of that in which calls tell their figures: the rounds of 20 ms.
const SHARES: u32 = 50;

#[cfg(test)]
mod tests;
