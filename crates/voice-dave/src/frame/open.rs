//! The receiving half of the frame layer.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use super::{
    KEY_GRACE, Media, SILENCE_FRAME,
    cipher::Cipher,
    error::OpenError,
    nonces::Nonces,
    ratchet::{Ratchet, widen},
    seal::GENERATION_SHIFT,
    trailer::Trailer,
};
use crate::{BaseSecret, ReceiveMode, secret::SecretId};

/// Opens the frames of one sender, in place and without allocating.
///
/// Time is given to it. It accepts nothing but silence before [`set_mode`](Self::set_mode) says so, and no frame
/// twice. A frame that has the form of an encrypted one is never passed on as it is.
///
/// ```
/// use std::time::Instant;
/// use voice_dave::{BaseSecret, FrameOpener, FrameSealer, Media, OpenError, OpenedKind, ReceiveMode, SendMode};
///
/// let mut sealer = FrameSealer::new();
/// sealer.set_mode(SendMode::Encrypt(BaseSecret::new([7; 16])));
/// let mut frame = *b"opus............";
/// let len = sealer.seal(&mut frame, 4)?;
///
/// let now = Instant::now();
/// let mut opener = FrameOpener::new();
/// assert_eq!(opener.open(now, Media::Audio, &mut frame[..len]), Err(OpenError::MissingKey));
/// opener.set_mode(now, ReceiveMode::Decrypt(BaseSecret::new([7; 16])));
/// let opened = opener.open(now, Media::Audio, &mut frame[..len])?;
/// assert_eq!((&frame[..opened.len], opened.kind), (&b"opus"[..], OpenedKind::Decrypted));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct FrameOpener {
    /// The newest first.
    keys: VecDeque<Box<Keys>>,
    /// What keys that are gone have seen: their secret may come again. The newest first.
    retired: [Option<Retired>; MAX_RETIRED],
    plaintext: Window,
    /// Plaintext is accepted whatever the window says.
    lenient: bool,
}

/// Until when frames without end-to-end encryption are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Window {
    #[default]
    Closed,
    /// Up to, but not at, this instant.
    Until(Instant),
    Open,
}

/// What an accepted frame became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// The length of the frame at the front of the buffer, in bytes.
    pub len: usize,
    /// Why it was accepted.
    pub kind: OpenedKind,
}

/// Why a frame was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenedKind {
    /// It was end-to-end encrypted and is authentic.
    Decrypted,
    /// It came without end-to-end encryption while that is accepted.
    Passthrough,
    /// It is the frame for silence, which the server may make itself.
    Silence,
}

impl FrameOpener {
    /// Creates one that accepts silence alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates one for a sender of whom nothing was said, in place of this one: without keys, and with what is
    /// accepted in the clear just as here.
    #[must_use]
    pub const fn for_another_sender(&self) -> Self {
        let retired = [None; MAX_RETIRED];
        Self { keys: VecDeque::new(), retired, plaintext: self.plaintext, lenient: self.lenient }
    }

    /// Erases the keys at once, as for a sender who left. What they have seen is remembered: if their secret comes
    /// again, no frame is opened a second time.
    pub fn erase(&mut self) {
        while let Some(keys) = self.keys.pop_back() {
            self.retire(&keys);
        }
    }

    /// Accepts in the clear what another one accepts, as if it was made of that.
    pub const fn begin_like(&mut self, other: &Self) {
        (self.plaintext, self.lenient) = (other.plaintext, other.lenient);
    }

    /// Whether frames without end-to-end encryption are accepted in every mode, which the protocol does not allow: for
    /// those who would rather hear a sender who does not encrypt than not, and know that anybody between may speak for
    /// them.
    pub const fn allow_plaintext(&mut self, allowed: bool) {
        self.lenient = allowed;
    }

    /// Begins what the call's encryption demands from now on.
    pub fn set_mode(&mut self, now: Instant, mode: ReceiveMode) {
        self.expire(now);
        match mode {
            ReceiveMode::Hold => self.plaintext = Window::Closed,
            ReceiveMode::Expire => self.limit_keys(now),
            ReceiveMode::Passthrough => {
                self.plaintext = Window::Open;
                self.limit_keys(now);
            }
            ReceiveMode::Decrypt(secret) => {
                self.close_plaintext(now);
                self.install(now, secret);
            }
        }
    }

    /// Begins the end of what is accepted in the clear, as a new key does, without one.
    pub fn close_plaintext(&mut self, now: Instant) {
        let end = later(now, KEY_GRACE);
        self.plaintext = match self.plaintext {
            Window::Closed => Window::Closed,
            Window::Until(before) => Window::Until(before.min(end)),
            Window::Open => Window::Until(end),
        };
    }

    /// Opens the frame that fills `buffer` in place.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when it is not accepted; then the buffer is as it was, and a frame that was altered on its
    /// way does not keep the true one from being accepted.
    pub fn open(&mut self, now: Instant, media: Media, buffer: &mut [u8]) -> Result<Opened, OpenError> {
        if media == Media::Audio && *buffer == SILENCE_FRAME {
            return Ok(Opened { len: buffer.len(), kind: OpenedKind::Silence });
        }
        let Some(trailer) = Trailer::parse(buffer) else {
            let accepted = self.accepts_plaintext(now);
            let opened = Opened { len: buffer.len(), kind: OpenedKind::Passthrough };
            return accepted.then_some(opened).ok_or(OpenError::Unencrypted);
        };
        self.expire(now);
        let mut result = Err(OpenError::MissingKey);
        for keys in &mut self.keys {
            result = keys.open(now, &trailer, buffer);
            if result.is_ok() {
                break;
            }
        }
        result.map(|()| Opened { len: trailer.media_len, kind: OpenedKind::Decrypted })
    }

    /// Whether the frame that fills `buffer` is authentic under the newest key, and its sender encrypted it after
    /// every frame of that key that was opened: it is no repetition, whatever else speaks for one.
    ///
    /// Nothing is remembered of it. The buffer is scratch: it is not as it was, and what is in it must not be used.
    pub fn is_newest(&mut self, now: Instant, buffer: &mut [u8]) -> bool {
        self.expire(now);
        let Some(trailer) = Trailer::parse(buffer) else { return false };
        let Some(keys) = self.keys.front_mut() else { return false };
        let (generation, nonce) = keys.place(&trailer);
        nonce >= keys.nonces.next() && keys.decrypt(now, generation, &trailer, buffer).is_ok()
    }

    /// Erases the keys whose time is over. [`open`](Self::open) does so itself; call it for senders who are
    /// silent.
    pub fn expire(&mut self, now: Instant) {
        let over = |keys: &Keys| keys.expires_at.is_some_and(|at| now > at);
        while let Some(index) = self.keys.iter().position(|keys| over(keys)) {
            if let Some(keys) = self.keys.remove(index) {
                self.retire(&keys);
            }
        }
        self.keys.iter_mut().for_each(|keys| keys.forget_generations(now));
    }

    /// When [`expire`](Self::expire) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let last_moment = self.keys.iter().filter_map(|keys| keys.next_expiry()).min()?;
        last_moment.checked_add(Duration::from_nanos(1))
    }

    /// Whether there is a key of this sender.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether a frame without end-to-end encryption would be accepted.
    #[must_use]
    pub fn accepts_plaintext(&self, now: Instant) -> bool {
        self.lenient
            || match self.plaintext {
                Window::Closed => false,
                Window::Until(end) => now < end,
                Window::Open => true,
            }
    }

    fn install(&mut self, now: Instant, secret: BaseSecret) {
        // A second one of the same secret would accept again what the first has seen.
        let id = secret.id();
        if let Some(index) = self.keys.iter().position(|keys| keys.id == id) {
            if index == 0 {
                // What began its end was taken back. libdave lengthens no key; here it is safe, as what the key has
                // seen is kept, and its sender has no newer one. No other key is lengthened or the newest again.
                self.keys[0].expires_at = None;
            }
            return;
        }
        self.limit_keys(now);
        while self.keys.len() >= MAX_KEYS
            && let Some(oldest) = self.keys.pop_back()
        {
            self.retire(&oldest);
        }
        let retired = self.retired.iter_mut().find(|retired| retired.is_some_and(|retired| retired.id == id));
        let next = retired.and_then(Option::take).map_or(0, |retired| retired.next_nonce);
        self.keys.push_front(Box::new(Keys::new(now, &secret, next)));
    }

    fn retire(&mut self, keys: &Keys) {
        let free = self.retired.iter().position(Option::is_none).unwrap_or(MAX_RETIRED - 1);
        self.retired[..=free].rotate_right(1);
        self.retired[0] = Some(Retired { id: keys.id, next_nonce: keys.nonces.next() });
    }

    fn limit_keys(&mut self, now: Instant) {
        let end = later(now, KEY_GRACE);
        for keys in &mut self.keys {
            keys.expires_at = Some(keys.expires_at.map_or(end, |before| before.min(end)));
        }
    }
}

impl fmt::Debug for FrameOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameOpener").field("keys", &self.keys.len()).field("plaintext", &self.plaintext).finish()
    }
}

/// What the keys of one base secret have seen.
#[derive(Clone, Copy, Debug)]
struct Retired {
    id: SecretId,
    next_nonce: u64,
}

/// The keys of one base secret.
struct Keys {
    id: SecretId,
    /// Stands at the oldest generation that is kept.
    ratchet: Ratchet,
    installed_at: Instant,
    /// The last instant at which they are good.
    expires_at: Option<Instant>,
    /// The newest generation of which a frame was authentic.
    newest: u32,
    current: Cipher,
    /// That of an older generation, or of a newer one of which no frame was authentic yet.
    other: Option<(u32, Cipher)>,
    /// When generations are erased, in order.
    ends: [Option<End>; MAX_ENDS],
    nonces: Nonces,
}

/// The generations below this one are good until then.
#[derive(Clone, Copy)]
struct End {
    below: u32,
    at: Instant,
}

impl Keys {
    fn new(now: Instant, secret: &BaseSecret, next_nonce: u64) -> Self {
        let ratchet = Ratchet::new(secret);
        let current = Cipher::new(&ratchet.key(0).expect("the ratchet starts with it"));
        Self {
            id: secret.id(),
            ratchet,
            installed_at: now,
            expires_at: None,
            newest: 0,
            current,
            other: None,
            ends: [None; MAX_ENDS],
            nonces: Nonces::from(next_nonce),
        }
    }

    fn open(&mut self, now: Instant, trailer: &Trailer, buffer: &mut [u8]) -> Result<(), OpenError> {
        let (generation, nonce) = self.place(trailer);
        if !self.nonces.accepts(nonce) {
            return Err(OpenError::Replay);
        }
        self.decrypt(now, generation, trailer, buffer)?;
        self.nonces.commit(nonce);
        if generation > self.newest {
            self.succeed_to(now, generation);
        }
        Ok(())
    }

    /// The generation of the frame's key, and its nonce with it.
    const fn place(&self, trailer: &Trailer) -> (u32, u64) {
        let [byte, ..] = trailer.nonce.to_be_bytes();
        let generation = widen(self.ratchet.generation(), byte);
        (generation, (generation as u64) << GENERATION_SHIFT | trailer.nonce as u64 & LOW_BITS)
    }

    fn decrypt(
        &mut self,
        now: Instant,
        generation: u32,
        trailer: &Trailer,
        buffer: &mut [u8],
    ) -> Result<(), OpenError> {
        let cipher = self.cipher(now, generation).ok_or(OpenError::Generation)?;
        let authentic = if trailer.has_ranges() {
            open_around(cipher, trailer, buffer)
        } else {
            let (media, _) = buffer.split_at_mut(trailer.media_len);
            cipher.open(trailer.nonce, &[], media, &trailer.tag)
        };
        authentic.then_some(()).ok_or(OpenError::Auth)
    }

    /// The cipher of a generation that may be; `None` when it may not.
    fn cipher(&mut self, now: Instant, generation: u32) -> Option<&Cipher> {
        let age = now.saturating_duration_since(self.installed_at).as_secs();
        let by_age = age.saturating_mul(MAX_FRAMES_PER_SECOND) >> GENERATION_SHIFT;
        if generation.saturating_sub(self.newest) > MAX_AHEAD || u64::from(generation) > by_age {
            return None;
        }
        if generation == self.newest {
            return Some(&self.current);
        }
        if self.other.as_ref().is_none_or(|(other, _)| *other != generation) {
            self.other = Some((generation, Cipher::new(&self.ratchet.key(generation)?)));
        }
        self.other.as_ref().map(|(_, cipher)| cipher)
    }

    /// A frame of a newer generation was authentic: those before it end.
    fn succeed_to(&mut self, now: Instant, generation: u32) {
        if let Some((newer, cipher)) = self.other.take() {
            debug_assert_eq!(newer, generation, "the frame was opened with it");
            self.other = Some((self.newest, std::mem::replace(&mut self.current, cipher)));
        }
        self.newest = generation;
        if self.ends[0].is_some() && self.ends.iter().all(Option::is_some) {
            // Never seen: that many generations take days. The oldest end comes early then.
            self.end_first();
        }
        if let Some(free) = self.ends.iter_mut().find(|end| end.is_none()) {
            *free = Some(End { below: generation, at: later(now, KEY_GRACE) });
        }
    }

    fn forget_generations(&mut self, now: Instant) {
        while self.ends[0].is_some_and(|end| now > end.at) {
            self.end_first();
        }
    }

    fn end_first(&mut self) {
        if let Some(end) = self.ends[0].take() {
            self.ratchet.advance_to(end.below);
            if self.other.as_ref().is_some_and(|(generation, _)| *generation < end.below) {
                self.other = None;
            }
        }
        self.ends.rotate_left(1);
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.expires_at.into_iter().chain(self.ends[0].map(|end| end.at)).min()
    }
}

/// Opens a frame with clear ranges; when it is not authentic, everything is put back.
fn open_around(cipher: &Cipher, trailer: &Trailer, buffer: &mut [u8]) -> bool {
    let Some(ranges) = trailer.clear_ranges(buffer) else { return false };
    let (media, _) = buffer.split_at_mut(trailer.media_len);
    ranges.gather(media);
    let (clear, secret) = media.split_at_mut(ranges.clear_len());
    let authentic = cipher.open(trailer.nonce, clear, secret, &trailer.tag);
    ranges.scatter(media);
    authentic
}

/// An instant that is later, or the same when there is none so late.
fn later(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or(now)
}

/// Base secrets of one sender kept at once; epochs that follow each other faster than these last ten seconds
/// lose the oldest.
const MAX_KEYS: usize = 16;
/// Secrets of one sender whose keys are gone, of which it is known what they have seen.
const MAX_RETIRED: usize = 8;
/// Generations that a frame may be ahead of the newest authentic one (libdave, `kMaxGenerationGap`).
const MAX_AHEAD: u32 = 250;
/// No sender has more frames: 50 of audio and two videos of 60 (libdave, `kMaxFramesPerSecond`).
const MAX_FRAMES_PER_SECOND: u64 = 50 + 2 * 60;
/// Ends of generations that are waited for at once.
const MAX_ENDS: usize = 4;
/// The part of a nonce below its generation.
const LOW_BITS: u64 = (1 << GENERATION_SHIFT) - 1;

#[cfg(test)]
mod tests;
