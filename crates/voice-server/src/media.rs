//! The forwarding unit: open from one, seal to many.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use voice_crypto::{Mode, OVERHEAD, OpenError, Opener, SealError, Sealer, SecretKey, SuffixOrder};
use voice_rtp::{
    Kind, OPUS_CLOCK_HZ, OPUS_PAYLOAD_TYPE, Ping, Reception, RtpHeader, Sequence, Ssrc, Timestamp, classify,
    discovery::{DISCOVERY_LEN, Request, Response},
    rtcp::{ReportBlock, write_receiver_report},
};

use crate::core::{Core, Sink};
use crate::faults::Direction;
use crate::impair::{self, Held, Later, Verdict};
use crate::registry::SessionKey;
use crate::room::RoomId;
use crate::timers::Timer;

/// The keys of one client, and the counters of what goes to it and comes from it.
pub(crate) struct Link {
    opener: Opener,
    sealer: Sealer,
    /// What is added to a sender's sequence, by its SSRC.
    offsets: HashMap<u32, u16>,
    reception: Reception,
    /// Of the newest packet that came.
    newest: Option<(Sequence, Timestamp)>,
}

impl Link {
    pub(crate) fn new(mode: Mode, secret: [u8; 32], first_nonce: u32, order: SuffixOrder, ssrc: Ssrc) -> Self {
        let key = SecretKey::new(secret);
        Self {
            opener: Opener::new(mode, &key),
            sealer: Sealer::new(mode, key, first_nonce).with_suffix_order(order),
            offsets: HashMap::new(),
            reception: Reception::new(ssrc),
            newest: None,
        }
    }

    /// Whether an authentic packet is newer than all before it. One that was recorded and sent again is not, and its
    /// timestamp tells for half a day after its number has come round.
    fn advances(&mut self, header: &RtpHeader) -> bool {
        let is_newest = self.newest.is_none_or(|(sequence, timestamp)| {
            header.sequence.distance(sequence) > 0 && header.timestamp.distance(timestamp) >= 0
        });
        if is_newest {
            self.newest = Some((header.sequence, header.timestamp));
        }
        is_newest
    }

    /// Lets go of a sender that left.
    pub(crate) fn forget(&mut self, ssrc: u32) {
        self.offsets.remove(&ssrc);
    }
}

/// Memory that forwarding reuses, and datagrams that faults hold back.
pub(crate) struct Media {
    buffer: [u8; MAX_DATAGRAM_LEN + impair::MAX_GROWTH + OVERHEAD],
    pub(crate) held: Held,
}

impl Default for Media {
    fn default() -> Self {
        let buffer = [0; MAX_DATAGRAM_LEN + impair::MAX_GROWTH + OVERHEAD];
        Self { buffer, held: Held::default() }
    }
}

impl Core {
    /// Takes a datagram; what is to be sent for it goes to `sink` at once.
    ///
    /// The datagram is decrypted where it is. Nothing is allocated unless a fault asks for it.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8], sink: Sink<'_>) {
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += datagram.len() as u64;
        if datagram.len() > MAX_DATAGRAM_LEN {
            self.stats.datagrams_ignored += 1;
        } else if self.faults.impairs() {
            self.impair_incoming(now, from, datagram, sink);
        } else {
            self.take_datagram(now, from, datagram, sink);
        }
    }

    pub(crate) fn take_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8], sink: Sink<'_>) {
        if let Ok(request) = Request::parse(datagram) {
            self.discovery(from, request.ssrc, sink);
        } else if let Some(ping) = Ping::parse_request(datagram) {
            self.ping(from, ping, sink);
        } else {
            match classify(datagram) {
                Kind::Rtp => self.rtp(now, from, datagram, sink),
                Kind::Rtcp => self.rtcp(from, datagram),
                _ => {
                    // Keepalives of many forms: they prove that the client can be reached.
                    self.hear(from);
                    self.stats.datagrams_ignored += 1;
                }
            }
        }
    }

    fn discovery(&mut self, from: SocketAddr, ssrc: Ssrc, sink: Sink<'_>) {
        let found = self.sessions.by_ssrc(ssrc.get());
        let Some((key, session)) = found.and_then(|key| Some((key, self.sessions.get_mut(key)?))) else {
            self.stats.packets_unknown += 1;
            return;
        };
        let user = session.user;
        if self.faults.ignores_discovery(user) {
            self.stats.faults_dropped += 1;
            return;
        }
        // Nothing proves who sent this, so it does not move a client that has its key: that is for its media, or for
        // its next op 1, which says the address that it found.
        session.discovered = Some(from);
        if session.link.is_none() || session.address.is_none() {
            session.heard |= self.config.discovery_opens_reception && session.link.is_some();
            self.sessions.bind_address(key, from);
        }
        let answer = Response { ssrc, address: from.ip().to_canonical(), port: from.port() };
        let mut bytes = [0; DISCOVERY_LEN];
        if self.faults.forges_discovery(user) {
            let forged = Response { ssrc: Ssrc::new(!ssrc.get()), port: 9, ..answer };
            forged.write(&mut bytes);
            sink(from, &bytes);
        }
        answer.write(&mut bytes);
        sink(from, &bytes);
        self.stats.discoveries += 1;
    }

    fn ping(&mut self, from: SocketAddr, ping: Ping, sink: Sink<'_>) {
        if self.hear(from) {
            sink(from, &ping.response());
            self.stats.pings += 1;
        } else {
            // Answering strangers would make the server a reflector.
            self.stats.packets_unknown += 1;
        }
    }

    /// Notes that a client can be reached; false when the address is nobody's.
    fn hear(&mut self, from: SocketAddr) -> bool {
        let key = self.sessions.by_address(from);
        let Some(session) = key.and_then(|key| self.sessions.get_mut(key)) else { return false };
        session.heard |= session.link.is_some();
        true
    }

    fn rtcp(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        let ssrc = datagram.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        let key = ssrc.and_then(|ssrc| self.sessions.by_ssrc(ssrc));
        let key = key.or_else(|| self.sessions.by_address(from));
        let Some(session) = key.and_then(|key| self.sessions.get_mut(key)) else {
            self.stats.packets_unknown += 1;
            return;
        };
        match session.link.as_ref().map(|link| link.opener.open_rtcp(datagram)) {
            Some(Ok(_)) => {
                session.heard |= session.address == Some(from);
                self.stats.rtcp_received += 1;
            }
            Some(Err(_)) => self.stats.packets_unauthentic += 1,
            None => self.stats.packets_refused += 1,
        }
    }

    fn rtp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8], sink: Sink<'_>) {
        let Ok(header) = RtpHeader::parse(datagram) else {
            self.stats.packets_malformed += 1;
            return;
        };
        let claimed = self.sessions.by_ssrc(header.ssrc.get());
        let bound = self.sessions.by_address(from);
        let (key, opened) = match (claimed, bound) {
            (Some(key), _) if Some(key) == bound => (key, self.open(key, datagram)),
            // The SSRC may be one of several behind this address, or its client has moved;
            // or else the client behind the address uses an SSRC that is not its own.
            (Some(claimed), Some(bound)) => {
                let mut copy = [0; MAX_DATAGRAM_LEN];
                let Some(copy) = copy.get_mut(..datagram.len()) else { return };
                copy.copy_from_slice(datagram);
                match self.open(claimed, datagram) {
                    Err(OpenError::Auth) => {
                        datagram.copy_from_slice(copy);
                        (bound, self.open(bound, datagram))
                    }
                    opened => (claimed, opened),
                }
            }
            (Some(key), None) | (None, Some(key)) => (key, self.open(key, datagram)),
            (None, None) => {
                self.stats.packets_unknown += 1;
                return;
            }
        };
        let plain_len = match opened {
            Ok(plain_len) => plain_len,
            Err(OpenError::Auth) => {
                self.stats.packets_unauthentic += 1;
                return;
            }
            Err(_) => {
                self.stats.packets_malformed += 1;
                return;
            }
        };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.ssrc != header.ssrc.get() {
            self.stats.packets_refused += 1;
            self.refuse_media(now, key);
            return;
        }
        if session.speaking.is_none() {
            self.stats.packets_early += 1;
            if session.patience.is_none() {
                let until = now + self.config.speaking_patience;
                session.patience = Some(self.timers.arm(until, Timer::Speaking(key)));
            }
            return;
        }
        session.heard = true;
        let is_kept_silent = session.restrictions.mute || session.restrictions.suppress;
        let room = RoomId { guild: session.guild, channel: session.channel };
        let mut is_newest = false;
        if let Some(link) = session.link.as_mut() {
            is_newest = link.advances(&header);
            let arrival = Timestamp::from_duration(now.saturating_duration_since(self.started), OPUS_CLOCK_HZ);
            link.reception.receive(header.sequence, header.timestamp, arrival);
        }
        if session.address != Some(from) && is_newest {
            self.sessions.bind_address(key, from);
        }
        self.stats.packets_opened += 1;
        if header.payload_type != OPUS_PAYLOAD_TYPE {
            self.stats.packets_not_opus += 1;
        }
        if is_kept_silent {
            self.stats.packets_muted += 1;
        } else if let Some(plain) = datagram.get(..plain_len) {
            self.forward(now, key, room, header, plain, sink);
        }
    }

    /// Op 5 has not come although media did.
    pub(crate) fn lose_patience(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.patience = None;
        self.refuse_media(now, key);
    }

    /// Closes a client for what it sends; one whose connection is lost may still say what it has to.
    fn refuse_media(&mut self, now: Instant, key: SessionKey) {
        let connection = self.sessions.get(key).and_then(|session| session.connection);
        if let (Some(id), Some(code)) = (connection, self.config.on_bad_media) {
            self.close(now, id, code);
        }
    }

    /// Opens a packet in place and returns the length of the plain one.
    fn open(&self, key: SessionKey, datagram: &mut [u8]) -> Result<usize, OpenError> {
        let link = self.sessions.get(key).and_then(|session| session.link.as_ref());
        // Before a key is chosen nothing can be authentic.
        let link = link.ok_or(OpenError::Auth)?;
        link.opener.open_rtp(datagram).map(|opened| opened.plain_len)
    }

    /// Seals a plain packet for every other member who can receive.
    fn forward(
        &mut self,
        now: Instant,
        sender: SessionKey,
        room: RoomId,
        header: RtpHeader,
        plain: &[u8],
        sink: Sink<'_>,
    ) {
        let Self { config, rooms, sessions, media, faults, random, stats, timers, .. } = self;
        let Some(room) = rooms.get(&room) else { return };
        let ssrc = header.ssrc.get();
        for &member in &room.members {
            if member == sender {
                continue;
            }
            let Some(receiver) = sessions.get_mut(member) else { continue };
            if !receiver.heard || !receiver.wants_media || receiver.restrictions.deaf || receiver.speaking.is_none() {
                continue;
            }
            let (Some(to), Some(link)) = (receiver.address, receiver.link.as_mut()) else {
                continue;
            };
            let Link { sealer, offsets, .. } = link;
            // A sender's numbers start anywhere for each receiver, and stay there.
            let offset = offsets.entry(ssrc).or_insert_with(|| random.u16());
            let impairment = faults.impairment(receiver.user, Direction::ToClient);
            let Media { buffer, held } = media;
            if let Some(impairment) = impairment
                && random.chance(impairment.padding_only)
            {
                let sequence = header.sequence.wrapping_add(*offset);
                *offset = offset.wrapping_add(1);
                let len = impair::padding_only(buffer, RtpHeader { sequence, ..header }, random);
                if let Ok(len) = sealer.seal_rtp(buffer, len) {
                    sink(to, buffer.get(..len).unwrap_or_default());
                }
            }
            let sequence = header.sequence.wrapping_add(*offset);
            let Some(mut len) = copy_numbered(buffer, plain, sequence) else { continue };
            if let Some(impairment) = impairment {
                if random.chance(impairment.silence) {
                    len = impair::plain_silence(buffer, RtpHeader { sequence, ..header });
                }
                len = impair::dress(buffer, len, &impairment, random);
            }
            let Ok(len) = sealer.seal_rtp(buffer, len) else {
                stats.packets_malformed += 1;
                continue;
            };
            let Some(sealed) = buffer.get_mut(..len) else { continue };
            stats.packets_forwarded += 1;
            let Some(impairment) = impairment else {
                sink(to, sealed);
                continue;
            };
            let verdict = Verdict::draw(&impairment, random);
            verdict.damage(sealed);
            stats.faults_dropped += u64::from(verdict.copies == 0);
            for _ in 0..verdict.copies {
                if verdict.late.is_zero() {
                    sink(to, sealed);
                } else {
                    let later = Later::To(to, sealed.to_vec());
                    let limit = config.limits.waiting_datagrams;
                    let kept = held.hold(now + verdict.late, later, limit, timers);
                    stats.held_overflow += u64::from(!kept);
                }
            }
        }
    }

    /// Seals a packet for a session's own client and sends it as soon as time passes.
    pub(crate) fn send_sealed(
        &mut self,
        now: Instant,
        key: SessionKey,
        plain: &[u8],
        seal: fn(&mut Sealer, &mut [u8], usize) -> Result<usize, SealError>,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (Some(to), Some(link)) = (session.address, session.link.as_mut()) else { return };
        let mut bytes = plain.to_vec();
        bytes.resize(plain.len() + OVERHEAD, 0);
        if seal(&mut link.sealer, &mut bytes, plain.len()).is_ok() {
            self.send_later(now, to, &bytes);
        } else {
            self.stats.packets_malformed += 1;
        }
    }

    /// Sends the receiver report of a session and arms the next one.
    pub(crate) fn report(&mut self, now: Instant, key: SessionKey, sink: Sink<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        self.timers.arm(now + self.config.report_interval, Timer::Report(key));
        let (Some(to), Some(link)) = (session.address, session.link.as_mut()) else { return };
        if !link.reception.is_valid() {
            return;
        }
        let mut bytes = [0; REPORT_LEN + OVERHEAD];
        // Its sender is the client's own SSRC, as on the service.
        let Ok(len) = write_receiver_report(link.reception.ssrc(), &[link.reception.report_block()], &mut bytes) else {
            return;
        };
        if let Ok(len) = link.sealer.seal_rtcp(&mut bytes, len) {
            sink(to, bytes.get(..len).unwrap_or_default());
            self.stats.reports += 1;
        }
    }
}

/// Copies a plain packet and gives it another sequence.
fn copy_numbered(buffer: &mut [u8], plain: &[u8], sequence: Sequence) -> Option<usize> {
    let place = buffer.get_mut(..plain.len())?;
    place.copy_from_slice(plain);
    place.get_mut(2..4)?.copy_from_slice(&sequence.get().to_be_bytes());
    Some(plain.len())
}

/// A receiver report with one block: RFC 3550, section 6.4.2.
const REPORT_LEN: usize = 8 + ReportBlock::LEN;

/// The longest datagram that is looked at: a receive buffer of 2048 bytes that is full may
/// have cut its datagram.
pub(crate) const MAX_DATAGRAM_LEN: usize = 2_047;
