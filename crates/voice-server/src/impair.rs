//! What faults do to datagrams: lose, repeat, delay, damage, pad.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voice_rtp::RtpHeader;
use voice_rtp::extension::{AudioExtension, AudioLevel, SpeakerFlags};

use crate::core::{Core, Sink};
use crate::faults::{Direction, Impairment, REORDER_HOLD};
use crate::random::Random;
use crate::timers::{Timer, Timers};

/// A datagram that is held back.
pub(crate) enum Later {
    /// Goes out to this address.
    To(SocketAddr, Vec<u8>),
    /// Has come from this address.
    From(SocketAddr, Vec<u8>),
}

/// All datagrams that are held back, by when they are due.
#[derive(Default)]
pub(crate) struct Held {
    datagrams: BTreeMap<(Instant, u64), Later>,
    count: u64,
}

impl Held {
    /// Holds a datagram back; false when there are too many already.
    pub(crate) fn hold(&mut self, at: Instant, later: Later, limit: usize, timers: &mut Timers) -> bool {
        if self.datagrams.len() >= limit {
            return false;
        }
        self.datagrams.insert((at, self.count), later);
        self.count += 1;
        timers.arm(at, Timer::Datagram);
        true
    }

    fn due(&mut self, now: Instant) -> Option<Later> {
        let first = self.datagrams.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// What happens to one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How often it arrives.
    pub(crate) copies: u8,
    /// How late.
    pub(crate) late: Duration,
    /// A number that chooses the bit to flip.
    damage: Option<u32>,
}

impl Verdict {
    pub(crate) fn draw(impairment: &Impairment, random: &mut Random) -> Self {
        let mut late = impairment.delay;
        let jitter_us = u32::try_from(impairment.jitter.as_micros()).unwrap_or(u32::MAX);
        if jitter_us > 0 {
            late += Duration::from_micros(u64::from(random.below(jitter_us)));
        }
        if random.chance(impairment.reorder) {
            late += REORDER_HOLD;
        }
        let copies = if random.chance(impairment.drop) { 0 } else { 1 + u8::from(random.chance(impairment.duplicate)) };
        let damage = random.chance(impairment.corrupt).then(|| random.u32());
        Self { copies, late, damage }
    }

    /// Flips the bit that was drawn, if one was.
    pub(crate) fn damage(&self, datagram: &mut [u8]) {
        let Some(draw) = self.damage else { return };
        let index = (draw >> 3) as usize % datagram.len().max(1);
        if let Some(byte) = datagram.get_mut(index) {
            *byte ^= 1 << (draw & 7);
        }
    }
}

impl Core {
    /// Lets an incoming datagram suffer before it is looked at.
    pub(crate) fn impair_incoming(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8], sink: Sink<'_>) {
        let user = self.sessions.by_address(from).and_then(|key| self.sessions.get(key));
        let impairment = user.and_then(|s| self.faults.impairment(s.user, Direction::FromClient));
        let Some(impairment) = impairment else {
            self.take_datagram(now, from, datagram, sink);
            return;
        };
        let verdict = Verdict::draw(&impairment, &mut self.random);
        verdict.damage(datagram);
        self.stats.faults_dropped += u64::from(verdict.copies == 0);
        let limit = self.config.limits.waiting_datagrams;
        for copy in 0..verdict.copies {
            // The last one of them may be changed where it is.
            if verdict.late.is_zero() && copy + 1 == verdict.copies {
                self.take_datagram(now, from, datagram, sink);
                return;
            }
            let later = Later::From(from, datagram.to_vec());
            let kept = self.media.held.hold(now + verdict.late, later, limit, &mut self.timers);
            self.stats.held_overflow += u64::from(!kept);
        }
    }

    /// Sends a datagram as soon as time passes.
    pub(crate) fn send_later(&mut self, now: Instant, to: SocketAddr, bytes: &[u8]) {
        let later = Later::To(to, bytes.to_vec());
        let limit = self.config.limits.waiting_datagrams;
        let kept = self.media.held.hold(now, later, limit, &mut self.timers);
        self.stats.held_overflow += u64::from(!kept);
    }

    /// Lets go of the datagrams that were held back long enough.
    pub(crate) fn release_datagrams(&mut self, now: Instant, sink: Sink<'_>) {
        while let Some(later) = self.media.held.due(now) {
            match later {
                Later::To(to, bytes) => sink(to, &bytes),
                Later::From(from, mut bytes) => self.take_datagram(now, from, &mut bytes, sink),
            }
        }
    }
}

/// Writes a packet with no media at all, as the service relays around silence.
///
/// Returns its length.
pub(crate) fn padding_only(buffer: &mut [u8], header: RtpHeader, random: &mut Random) -> usize {
    if let Some(bytes) = buffer.first_chunk_mut() {
        header.write(bytes);
    }
    pad(buffer, RtpHeader::LEN, random)
}

/// Writes a packet of silence that no encryption between clients has touched.
///
/// Returns its length.
pub(crate) fn plain_silence(buffer: &mut [u8], header: RtpHeader) -> usize {
    if let Some(bytes) = buffer.first_chunk_mut() {
        header.write(bytes);
    }
    if let Some(payload) = buffer.get_mut(RtpHeader::LEN..RtpHeader::LEN + SILENCE.len()) {
        payload.copy_from_slice(&SILENCE);
    }
    RtpHeader::LEN + SILENCE.len()
}

/// A frame of silence: Discord docs, Voice Connections, "Voice Data Interpolation".
const SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// Adds the extension and the padding an impairment asks for, and returns the new length.
pub(crate) fn dress(buffer: &mut [u8], mut len: usize, impairment: &Impairment, random: &mut Random) -> usize {
    if impairment.extension {
        len = extend(buffer, len);
    }
    if random.chance(impairment.pad) {
        len = pad(buffer, len, random);
    }
    len
}

/// Inserts an audio extension behind the header, unless there is an extension already.
fn extend(buffer: &mut [u8], len: usize) -> usize {
    let Some(&first) = buffer.first() else { return len };
    let at = RtpHeader::LEN + 4 * usize::from(first & CSRC_COUNT);
    let moved = at + AudioExtension::LEN;
    if first & EXTENSION != 0 || at > len || len + AudioExtension::LEN > buffer.len() {
        return len;
    }
    buffer.copy_within(at..len, moved);
    let audio = AudioExtension { level: AudioLevel::new(true, 40), speaker: SpeakerFlags::VOICE };
    if let Some(place) = buffer.get_mut(at..moved) {
        place.copy_from_slice(&audio.to_bytes());
    }
    set_bit(buffer, EXTENSION);
    len + AudioExtension::LEN
}

/// Appends 1 to [`MAX_PADDING_LEN`] bytes of padding, unless there is padding already.
fn pad(buffer: &mut [u8], len: usize, random: &mut Random) -> usize {
    let count = 1 + random.below(MAX_PADDING_LEN);
    let end = len + count as usize;
    if buffer.first().is_none_or(|first| first & PADDING != 0) {
        return len;
    }
    let Some(padding) = buffer.get_mut(len..end) else { return len };
    padding.fill(0);
    if let Some(last) = padding.last_mut() {
        *last = u8::try_from(count).unwrap_or(1);
    }
    set_bit(buffer, PADDING);
    end
}

fn set_bit(buffer: &mut [u8], bit: u8) {
    if let Some(first) = buffer.first_mut() {
        *first |= bit;
    }
}

/// The padding, extension and CSRC count fields of the first byte: RFC 3550, section 5.1.
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0F;

/// The most padding that is added, in bytes.
const MAX_PADDING_LEN: u32 = 32;

/// How much longer a packet gets at most, in bytes.
pub(crate) const MAX_GROWTH: usize = AudioExtension::LEN + MAX_PADDING_LEN as usize;

#[cfg(test)]
mod tests {
    use voice_rtp::{Packet, Sequence, Ssrc, Timestamp};

    use super::*;

    fn header() -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: 120,
            sequence: Sequence::new(1),
            timestamp: Timestamp::new(2),
            ssrc: Ssrc::new(3),
        }
    }

    #[test]
    fn a_dressed_packet_carries_the_same_payload() {
        let mut random = Random::new([3; 32]);
        let impairment = Impairment { pad: 1.0, extension: true, ..Impairment::default() };
        let mut buffer = [0; 200];
        header().write(buffer.first_chunk_mut().unwrap());
        buffer[12..15].copy_from_slice(&[0xF8, 0xFF, 0xFE]);
        let len = dress(&mut buffer, 15, &impairment, &mut random);
        let packet = Packet::parse(&buffer[..len]).unwrap();
        assert_eq!(packet.payload(), [0xF8, 0xFF, 0xFE]);
        assert!(packet.padding_len() > 0);
        assert_eq!(packet.extension().unwrap().audio_level(), Some(AudioLevel::new(true, 40)));
        let again = dress(&mut buffer, len, &impairment, &mut random);
        assert_eq!(again, len, "what is there already is not added again");
    }

    #[test]
    fn a_padding_only_packet_is_valid_and_empty() {
        let mut random = Random::new([3; 32]);
        let mut buffer = [0; 64];
        let len = padding_only(&mut buffer, header(), &mut random);
        let packet = Packet::parse(&buffer[..len]).unwrap();
        assert_eq!((packet.payload().len(), packet.padding_len()), (0, len - 12));
    }

    #[test]
    fn a_packet_that_would_outgrow_the_buffer_stays_as_it_is() {
        let mut random = Random::new([3; 32]);
        let impairment = Impairment { pad: 1.0, extension: true, ..Impairment::default() };
        let mut buffer = [0; 15];
        header().write(buffer.first_chunk_mut().unwrap());
        assert_eq!(dress(&mut buffer, 15, &impairment, &mut random), 15);
        assert_eq!(dress(&mut [], 0, &impairment, &mut random), 0);
    }

    #[test]
    fn chances_of_one_always_hit() {
        let mut random = Random::new([3; 32]);
        let sure = |drop, duplicate, reorder| Impairment {
            drop,
            duplicate,
            reorder,
            corrupt: 1.0,
            delay: Duration::from_millis(10),
            ..Impairment::default()
        };
        let lost = Verdict::draw(&sure(1.0, 1.0, 0.0), &mut random);
        assert_eq!((lost.copies, lost.late), (0, Duration::from_millis(10)));
        let twice = Verdict::draw(&sure(0.0, 1.0, 1.0), &mut random);
        assert_eq!((twice.copies, twice.late), (2, Duration::from_millis(35)));
        let mut bytes = [0_u8; 4];
        twice.damage(&mut bytes);
        assert_eq!(bytes.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
        twice.damage(&mut []);
    }
}
