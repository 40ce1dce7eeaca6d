//! The receiving half: from a datagram to frames in order, with the user who sent them.

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    fmt,
    time::{Duration, Instant},
};

use voice_dave::{OpenedKind, ReceiveMode};
use voice_model::UserId;
use voice_rtp::{Kind, OPUS_PAYLOAD_TYPE, Ping, RtpHeader, Ssrc, Timestamp, classify};

use super::{
    openers::Openers,
    pool::FramePool,
    send::MAX_FRAME_LEN,
    stats::ReceiveStats,
    waiting::{MAX_WAIT_FOR_KEY, MAX_WAITING_STREAMS, OpenedFrame, Waiting, WaitingFrame},
};
use crate::reorder::{Held, Insert, MAX_HELD, Release, Reorder, Stored};

/// Opens datagrams and gives out each user's frames in the order in which they were sent.
///
/// Nothing of a datagram that is not authentic is stored. Everything is bounded; what a bound drops is counted
/// in [`stats`](Self::stats).
#[derive(Debug)]
pub struct Receiver {
    opener: voice_crypto::Opener,
    /// Ordered, so that streams that are due together come in the same order each time.
    /// Each by itself: a node of the tree has room for eleven, and most calls have one or two.
    pub(super) streams: BTreeMap<u32, Box<Stream>>,
    openers: Openers,
    pub(super) pool: FramePool,
    /// The frame that was given out last; its place is free again at the next call.
    lent: Option<usize>,
    /// Streams that may have something to release.
    ready: VecDeque<u32>,
    next_deadline: Option<Instant>,
    stats: ReceiveStats,
}

#[derive(Debug)]
pub(super) struct Stream {
    user: Option<UserId>,
    reorder: Reorder,
    waiting: Waiting,
    queued: bool,
    heard_at: Instant,
    /// When an unclaimed stream, or one whose user has left, is dropped.
    expires_at: Option<Instant>,
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// An audio packet; its frame comes out of [`Receiver::next_frame`] in its turn.
    Packet(Ssrc),
    /// An audio packet that was dropped, and counted, because it came twice or too late.
    Stale,
    /// The answer to a ping. It is not authenticated, and only good for measuring.
    Pong(Ping),
    /// An authentic packet that is no audio: RTCP, video.
    NotAudio,
    /// Nothing of use: a late discovery response, the echo of a keepalive.
    Ignored,
}

/// A frame, or the place where one is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Playout<'a> {
    /// Who sent it.
    pub user: UserId,
    /// The stream that it belongs to; a user gets a new one with each connection.
    pub ssrc: Ssrc,
    /// What there is.
    pub content: Content<'a>,
}

/// What a place in a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// An Opus packet, exactly as it was given to the sender.
    Frame {
        /// When it was sampled, in ticks of 48 kHz.
        timestamp: Timestamp,
        /// Its bytes.
        frame: &'a [u8],
    },
    /// So many packets were sent and did not come in time, could not be opened while later ones could, or were longer
    /// than [`MAX_FRAME_LEN`](crate::MAX_FRAME_LEN).
    Lost {
        /// Their number, at least 1.
        packets: u64,
    },
}

impl Receiver {
    pub(super) fn new(opener: voice_crypto::Opener) -> Self {
        Self {
            opener,
            streams: BTreeMap::new(),
            openers: Openers::default(),
            pool: FramePool::default(),
            lent: None,
            ready: VecDeque::new(),
            next_deadline: None,
            stats: ReceiveStats::default(),
        }
    }

    /// Opens a datagram in place and files what is in it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when it is not an authentic packet of this call; it is counted and nothing of it is kept.
    pub fn open(&mut self, now: Instant, datagram: &mut [u8]) -> Result<Arrival, OpenError> {
        self.stats.datagrams += 1;
        match classify(datagram) {
            Kind::Rtp => self.open_rtp(now, datagram),
            Kind::Rtcp => match self.opener.open_rtcp(datagram) {
                Ok(_) => Ok(Arrival::NotAudio),
                Err(error) => Err(self.refused(error)),
            },
            Kind::Pong => Ok(Ping::parse_response(datagram).map_or(Arrival::Ignored, Arrival::Pong)),
            Kind::Discovery | Kind::Ignored => {
                self.stats.ignored += 1;
                Ok(Arrival::Ignored)
            }
        }
    }

    /// The next frame in order, or the mark of a loss; `None` until more arrives or
    /// [`poll_timeout`](Self::poll_timeout) has come.
    pub fn next_frame(&mut self, now: Instant) -> Option<Playout<'_>> {
        if let Some(slot) = self.lent.take() {
            self.pool.free(slot);
        }
        if self.next_deadline.is_some_and(|at| now >= at) {
            self.handle_timeout(now);
        }
        while let Some(&ssrc) = self.ready.front() {
            let stream = self.streams.get_mut(&ssrc);
            let Some((user, stream)) = stream.and_then(|stream| Some((stream.user?, stream))) else {
                self.unqueue();
                continue;
            };
            let step = if let Some(frame) = stream.waiting.take_opened() {
                Step::Frame(frame)
            } else if let Some(frame) = stream.waiting.candidate() {
                self.retry(now, ssrc, user, frame)
            } else {
                match stream.reorder.release(now) {
                    None => {
                        let deadline = stream.reorder.deadline();
                        self.unqueue();
                        self.wake_by(deadline);
                        Step::Nothing
                    }
                    Some(Release::Lost(packets)) => {
                        self.stats.lost += packets;
                        Step::Lost(packets)
                    }
                    Some(Release::Packet(Held { frame: None, .. })) => Step::Nothing,
                    Some(Release::Packet(Held { timestamp, arrived, frame: Some(stored), .. })) => {
                        self.unseal(now, ssrc, user, (timestamp, arrived, stored))
                    }
                }
            };
            let content = match step {
                Step::Nothing => continue,
                Step::Lost(packets) => Content::Lost { packets },
                Step::Frame(OpenedFrame { stored, len, .. }) if len > MAX_FRAME_LEN => {
                    self.stats.dropped += 1;
                    self.pool.free(stored.slot);
                    Content::Lost { packets: 1 }
                }
                Step::Frame(OpenedFrame { timestamp, stored, len }) => {
                    self.stats.frames += 1;
                    self.lent = Some(stored.slot);
                    Content::Frame { timestamp, frame: &self.pool.frame(stored)[..len] }
                }
            };
            return Some(Playout { user, ssrc: Ssrc::new(ssrc), content });
        }
        None
    }

    /// When [`next_frame`](Self::next_frame) may have something although nothing arrived.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Says whose stream an SSRC is; what waited for this is given out.
    pub fn bind(&mut self, now: Instant, ssrc: Ssrc, user: UserId) {
        self.make_room(ssrc.get());
        let stream = self.streams.entry(ssrc.get()).or_insert_with(|| Box::new(Stream::new(now)));
        if stream.user.is_some_and(|before| before != user) {
            self.stats.dropped += stream.restart(&mut self.pool);
        } else if stream.user.is_some() && stream.expires_at.is_some() {
            // Whoever left and is back begins anew.
            stream.reorder.begin_anew();
        }
        stream.user = Some(user);
        stream.expires_at = None;
        self.queue(ssrc.get());
    }

    /// Drops the streams that the user has now, after a second for what is still on its way. Streams that are
    /// bound later are not affected.
    pub fn forget(&mut self, now: Instant, user: UserId) {
        let expires_at = now + GRACE;
        for stream in self.streams.values_mut().filter(|stream| stream.user == Some(user)) {
            stream.expires_at = Some(expires_at);
        }
        self.openers.forget(user, expires_at);
        self.wake_by(Some(expires_at));
    }

    /// Goes on with the next newer packet of every stream, after a time in which packets were not given to
    /// [`open`](Self::open): their absence is no loss.
    pub fn resynchronise(&mut self) {
        for stream in self.streams.values_mut() {
            self.stats.dropped += stream.discard(&mut self.pool);
            stream.reorder.pause();
        }
    }

    /// Begins what is accepted from one user from now on. What waited for a key is tried with it.
    ///
    /// A user of whom nothing was said before begins with what is accepted from everybody.
    pub fn set_mode(&mut self, now: Instant, user: UserId, mode: ReceiveMode) {
        if !self.openers.set_mode(now, user, mode) {
            self.stats.users_refused += 1;
            return;
        }
        self.wake_by(self.openers.poll_timeout());
        for (ssrc, stream) in &mut self.streams {
            if stream.user == Some(user) && !stream.waiting.is_empty() {
                stream.waiting.retry();
                stream.enqueue(*ssrc, &mut self.ready);
            }
        }
    }

    /// Begins what is accepted from everybody of whom nothing else is said.
    ///
    /// Keys belong to one user each: [`ReceiveMode::Decrypt`] installs none here, and only begins the end of what
    /// is accepted in the clear.
    pub fn set_default_mode(&mut self, now: Instant, mode: ReceiveMode) {
        self.openers.set_default_mode(now, mode);
    }

    /// Whether frames without end-to-end encryption are accepted from everybody in every mode, against the protocol;
    /// they are [counted](crate::E2eeStats::plaintext).
    pub fn allow_plaintext(&mut self, allowed: bool) {
        self.openers.allow_plaintext(allowed);
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &ReceiveStats {
        &self.stats
    }

    /// Removes the end-to-end encryption of a packet whose turn it is.
    fn unseal(
        &mut self,
        now: Instant,
        ssrc: u32,
        user: UserId,
        (timestamp, arrived, stored): (Timestamp, Instant, Stored),
    ) -> Step {
        match self.openers.open(now, user, self.pool.frame_mut(stored)) {
            Ok(opened) => {
                let failed = self.streams.get(&ssrc).map_or(0, |stream| stream.waiting.len());
                if failed > 0 && opened.kind == OpenedKind::Silence {
                    // It needs no key, so it says nothing about those before it, and must not overtake them.
                    self.stats.dropped += 1;
                    self.pool.free(stored.slot);
                    return Step::Nothing;
                }
                self.stats.e2ee.opened(opened.kind);
                let frame = OpenedFrame { timestamp, stored, len: opened.len };
                // Those before it would have opened too, if the key for them were still to come.
                self.after_lost(ssrc, failed, frame)
            }
            Err(error) => {
                self.hold(now, ssrc, WaitingFrame { timestamp, arrived, stored, error });
                Step::Nothing
            }
        }
    }

    /// Tries a frame that waited with a key that came.
    fn retry(&mut self, now: Instant, ssrc: u32, user: UserId, frame: WaitingFrame) -> Step {
        let opened = self.openers.open(now, user, self.pool.frame_mut(frame.stored));
        let Some(stream) = self.streams.get_mut(&ssrc) else { return Step::Nothing };
        match opened {
            Ok(opened) => {
                self.stats.e2ee.opened(opened.kind);
                let failed = stream.waiting.candidate_opened();
                let WaitingFrame { timestamp, stored, .. } = frame;
                self.after_lost(ssrc, failed, OpenedFrame { timestamp, stored, len: opened.len })
            }
            Err(error) => {
                stream.waiting.candidate_failed(error);
                Step::Nothing
            }
        }
    }

    /// Drops so many frames that waited, tells of them, and then gives out the frame.
    fn after_lost(&mut self, ssrc: u32, failed: usize, frame: OpenedFrame) -> Step {
        let Some(stream) = self.streams.get_mut(&ssrc).filter(|_| failed > 0) else { return Step::Frame(frame) };
        stream.waiting.put_opened(frame);
        for dropped in (0..failed).map_while(|_| stream.waiting.pop()) {
            self.stats.e2ee.dropped(dropped.error);
            self.pool.free(dropped.stored.slot);
        }
        Step::Lost(failed as u64)
    }

    /// Keeps a frame that may open with a key that is still to come, and drops any other.
    fn hold(&mut self, now: Instant, ssrc: u32, frame: WaitingFrame) {
        let others = self.streams.iter().filter(|(other, stream)| **other != ssrc && !stream.waiting.is_empty());
        let has_room = others.take(MAX_WAITING_STREAMS).count() < MAX_WAITING_STREAMS;
        let may_open = frame.error.may_await_key() && now < frame.arrived + MAX_WAIT_FOR_KEY;
        let stream = self.streams.get_mut(&ssrc).filter(|_| has_room && may_open);
        let dropped = match stream {
            Some(stream) => {
                self.stats.e2ee.held += 1;
                let dropped = stream.waiting.push(frame);
                let deadline = stream.waiting.deadline();
                self.wake_by(deadline);
                dropped
            }
            None => Some(frame),
        };
        if let Some(dropped) = dropped {
            self.drop_unopened(dropped);
        }
    }

    fn drop_unopened(&mut self, frame: WaitingFrame) {
        self.stats.e2ee.dropped(frame.error);
        self.pool.free(frame.stored.slot);
    }

    fn open_rtp(&mut self, now: Instant, datagram: &mut [u8]) -> Result<Arrival, OpenError> {
        let opened = self.opener.open_rtp(datagram).map_err(|error| self.refused(error))?;
        if opened.header.payload_type != OPUS_PAYLOAD_TYPE {
            self.stats.not_audio += 1;
            return Ok(Arrival::NotAudio);
        }
        self.stats.packets += 1;
        Ok(self.file(now, &opened.header, &datagram[opened.payload]))
    }

    fn file(&mut self, now: Instant, header: &RtpHeader, payload: &[u8]) -> Arrival {
        let ssrc = header.ssrc.get();
        self.make_room(ssrc);
        let stream = self.streams.entry(ssrc).or_insert_with(|| Box::new(Stream::new(now)));
        stream.heard_at = now;
        let mut insert = stream.reorder.admit(now, header.sequence, header.timestamp);
        if insert == Insert::Old
            && let Some(user) = stream.user
            && Self::proves_restart(&mut self.openers, &mut self.pool, now, user, payload)
        {
            let place = stream.reorder.restart(now, header.sequence, header.timestamp);
            insert = Insert::Resynchronised { place };
        }
        let place = match insert {
            Insert::Duplicate => {
                self.stats.duplicate += 1;
                return Arrival::Stale;
            }
            Insert::Late | Insert::Old => {
                self.stats.late += 1;
                return Arrival::Stale;
            }
            Insert::Accepted { place, reordered } => {
                self.stats.reordered += u64::from(reordered);
                place
            }
            Insert::Resynchronised { place } => {
                self.stats.resynchronised += 1;
                place
            }
        };
        let limit = if stream.user.is_some() { MAX_HELD } else { MAX_HELD_UNCLAIMED };
        if stream.reorder.held_len() >= limit
            && let Some(oldest) = stream.reorder.discard()
        {
            self.stats.dropped += 1;
            self.pool.free_held(&oldest);
        }
        let frame = match payload {
            [] => None,
            payload => match self.pool.store(payload) {
                Some(stored) => Some(stored),
                None => {
                    self.stats.dropped += 1;
                    return Arrival::Stale;
                }
            },
        };
        stream.reorder.hold(Held { place, timestamp: header.timestamp, arrived: now, frame });
        if stream.user.is_some() {
            self.queue(ssrc);
        } else {
            let expires_at = *stream.expires_at.get_or_insert(now + GRACE);
            self.wake_by(Some(expires_at));
        }
        Arrival::Packet(header.ssrc)
    }

    /// Whether a packet that seems old is the newest that its user encrypted: then their stream began anew.
    fn proves_restart(openers: &mut Openers, pool: &mut FramePool, now: Instant, user: UserId, payload: &[u8]) -> bool {
        if !openers.has_key(user) {
            return false;
        }
        let Some(scratch) = pool.store(payload) else { return false };
        let is_newest = openers.is_newest(now, user, pool.frame_mut(scratch));
        pool.free(scratch.slot);
        is_newest
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.next_deadline = None;
        let expired = self.streams.iter().filter(|(_, stream)| stream.expires_at.is_some_and(|at| now >= at));
        let gone: Vec<u32> = expired.map(|(ssrc, _)| *ssrc).collect();
        gone.into_iter().for_each(|ssrc| self.drop_stream(ssrc));
        self.openers.expire(now);
        self.wake_by(self.openers.poll_timeout());
        for stream in self.streams.values_mut() {
            for expired in std::iter::from_fn(|| stream.waiting.pop_expired(now)) {
                self.stats.e2ee.expired += 1;
                self.stats.e2ee.dropped(expired.error);
                self.pool.free(expired.stored.slot);
            }
        }
        let waiting = self.streams.iter().filter_map(|(ssrc, stream)| {
            let release = stream.user.and_then(|_| stream.reorder.deadline());
            let expires_at = stream.expires_at.into_iter().chain(stream.waiting.deadline()).min();
            (release.is_some() || expires_at.is_some()).then_some((*ssrc, release, expires_at))
        });
        let waiting: Vec<_> = waiting.collect();
        for (ssrc, release, expires_at) in waiting {
            if release.is_some_and(|at| now >= at) {
                self.queue(ssrc);
            } else {
                self.wake_by(release);
            }
            self.wake_by(expires_at);
        }
    }

    /// Keeps the number of streams, and of those that nobody has claimed, within bounds.
    fn make_room(&mut self, ssrc: u32) {
        if self.streams.contains_key(&ssrc) {
            return;
        }
        let unclaimed = self.streams.values().filter(|stream| stream.user.is_none()).count();
        if self.streams.len() < MAX_STREAMS && unclaimed < MAX_UNCLAIMED {
            return;
        }
        let only_unclaimed = unclaimed >= MAX_UNCLAIMED;
        let candidates = self.streams.iter().filter(|(_, stream)| !only_unclaimed || stream.user.is_none());
        if let Some(oldest) = candidates.min_by_key(|(_, stream)| stream.heard_at).map(|(ssrc, _)| *ssrc) {
            self.stats.streams_evicted += 1;
            self.drop_stream(oldest);
        }
    }

    fn drop_stream(&mut self, ssrc: u32) {
        if let Some(mut stream) = self.streams.remove(&ssrc) {
            let dropped = stream.restart(&mut self.pool);
            if stream.user.is_none() {
                self.stats.unclaimed += dropped;
            } else {
                self.stats.dropped += dropped;
            }
        }
    }

    fn queue(&mut self, ssrc: u32) {
        if let Some(stream) = self.streams.get_mut(&ssrc) {
            stream.enqueue(ssrc, &mut self.ready);
        }
    }

    fn unqueue(&mut self) {
        if let Some(stream) = self.ready.pop_front().and_then(|ssrc| self.streams.get_mut(&ssrc)) {
            stream.queued = false;
        }
    }

    fn wake_by(&mut self, at: Option<Instant>) {
        self.next_deadline = self.next_deadline.into_iter().chain(at).min();
    }

    const fn refused(&mut self, error: voice_crypto::OpenError) -> OpenError {
        match error {
            voice_crypto::OpenError::Auth => self.stats.not_authentic += 1,
            _ => self.stats.malformed += 1,
        }
        OpenError(error)
    }
}

/// What a turn of a stream brought.
enum Step {
    Nothing,
    Lost(u64),
    Frame(OpenedFrame),
}

impl Stream {
    fn new(now: Instant) -> Self {
        Self {
            user: None,
            reorder: Reorder::default(),
            waiting: Waiting::default(),
            queued: false,
            heard_at: now,
            expires_at: None,
        }
    }

    fn enqueue(&mut self, ssrc: u32, ready: &mut VecDeque<u32>) {
        if !self.queued {
            self.queued = true;
            ready.push_back(ssrc);
        }
    }

    /// Forgets everything but whose it is, and returns how many frames that lost.
    fn restart(&mut self, pool: &mut FramePool) -> u64 {
        let dropped = self.discard(pool);
        self.reorder = Reorder::default();
        dropped
    }

    /// Empties what waits, for its turn or for a key, and returns how many frames that lost.
    fn discard(&mut self, pool: &mut FramePool) -> u64 {
        let ordered: u64 =
            std::iter::from_fn(|| self.reorder.discard()).map(|held| u64::from(pool.free_held(&held))).sum();
        let mut waiting = std::mem::take(&mut self.waiting);
        let opened = waiting.take_opened().map(|frame| frame.stored);
        let unopened = std::iter::from_fn(|| waiting.pop()).map(|frame| frame.stored);
        ordered + opened.into_iter().chain(unopened).map(|stored| pool.free(stored.slot)).count() as u64
    }
}

/// A datagram is no authentic packet of this call (the network, or the peer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenError(pub(super) voice_crypto::OpenError);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an authentic packet of this call")
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Streams kept; the one that was silent for the longest is dropped for a new one.
const MAX_STREAMS: usize = 512;
/// Streams kept whose user is not known.
const MAX_UNCLAIMED: usize = 16;
/// Packets kept of a stream whose user is not known.
const MAX_HELD_UNCLAIMED: usize = 50;
/// How long packets wait for their user to be known, and how long after a user left they are still given out.
const GRACE: Duration = Duration::from_secs(1);
