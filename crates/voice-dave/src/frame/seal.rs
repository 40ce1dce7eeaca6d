//! The sending half of the frame layer.

use std::fmt;

use super::{
    cipher::Cipher,
    error::SealError,
    ranges::ClearRanges,
    ratchet::Ratchet,
    trailer::{self, FIXED_LEN},
};
use crate::{
    BaseSecret, Codec, SendMode,
    codec::{has_start_code, lay_out},
    secret::SecretId,
};

/// Protects the frames of one sender, in place and without allocating.
///
/// It owns the nonce: a frame is never sealed under a key and nonce that were used before, whichever modes come
/// in between. Nothing leaves before [`set_mode`](Self::set_mode) allows it.
///
/// ```
/// use voice_dave::{BaseSecret, FrameSealer, SealError, SendMode};
///
/// let mut sealer = FrameSealer::new();
/// let mut buffer = [0; 64];
/// buffer[..4].copy_from_slice(b"opus");
/// assert_eq!(sealer.seal(&mut buffer, 4), Err(SealError::Held));
///
/// sealer.set_mode(SendMode::Encrypt(BaseSecret::new([7; 16])));
/// let len = sealer.seal(&mut buffer, 4)?;
/// assert_eq!(len, 4 + 12);
/// assert!(voice_dave::is_protocol_frame(&buffer[..len]));
/// # Ok::<(), SealError>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameSealer {
    state: State,
    /// The last keys, also while they are not in use: the same secret must go on where it stopped.
    keys: Option<Box<Keys>>,
    /// How far the keys before those came.
    spent: [Option<Spent>; MAX_SPENT],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Hold,
    Passthrough,
    Encrypt,
}

impl FrameSealer {
    /// The most by which a frame that is encrypted whole grows, in bytes; twelve up to its 127th frame.
    pub const MAX_OVERHEAD: usize = FIXED_LEN + 5;

    /// Reads a little of each part that sealing needs, for who serves many senders in turn. The sum means nothing.
    #[must_use]
    pub fn prefetch(&self) -> u64 {
        self.keys.as_ref().map_or(0, |keys| keys.prefetch())
    }

    /// Creates one that lets nothing leave.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says in which form frames leave from now on.
    ///
    /// The same secret again goes on with the nonces where it stopped; another one starts with its first.
    pub fn set_mode(&mut self, mode: SendMode) {
        self.state = match mode {
            SendMode::Hold => State::Hold,
            SendMode::Passthrough => State::Passthrough,
            SendMode::Encrypt(secret) => {
                self.install(secret);
                State::Encrypt
            }
        };
    }

    /// Whether frames leave encrypted.
    #[must_use]
    pub fn is_encrypting(&self) -> bool {
        self.state == State::Encrypt
    }

    /// Protects the audio frame in `buffer[..frame_len]` in place and returns its new length in bytes.
    ///
    /// All of the frame is encrypted; [`MAX_OVERHEAD`](Self::MAX_OVERHEAD) is room enough behind it.
    ///
    /// # Errors
    ///
    /// [`SealError::Held`] while nothing may leave, [`SealError::NoRoom`] when the buffer ends too early,
    /// [`SealError::Exhausted`] after 2^56 frames. The buffer is as it was.
    pub fn seal(&mut self, buffer: &mut [u8], frame_len: usize) -> Result<usize, SealError> {
        if frame_len > buffer.len() {
            return Err(SealError::NoRoom);
        }
        match (self.state, &mut self.keys) {
            (State::Passthrough, _) => Ok(frame_len),
            (State::Encrypt, Some(keys)) => keys.seal(buffer, frame_len, ClearRanges::NONE),
            _ => Err(SealError::Held),
        }
    }

    /// Protects a video frame into `out` and returns its length there in bytes.
    ///
    /// What packetizers must read stays in the clear, but authenticated; to this end start codes and sizes may be
    /// rewritten, so that what a receiver gets can differ from `frame` without a difference to a decoder. A frame
    /// that is not well-formed is encrypted whole. [`max_sealed_len`](Self::max_sealed_len) is room enough.
    ///
    /// # Errors
    ///
    /// Those of [`seal`](Self::seal); [`SealError::TooManyRanges`] when a frame has too many units for its
    /// trailer, [`SealError::StartCode`] when it could not be encrypted without making a start code of its codec.
    /// What is in `out` then is not to be sent.
    pub fn seal_video(&mut self, codec: Codec, frame: &[u8], out: &mut [u8]) -> Result<usize, SealError> {
        match (self.state, &mut self.keys) {
            (State::Passthrough, _) => {
                out.get_mut(..frame.len()).ok_or(SealError::NoRoom)?.copy_from_slice(frame);
                Ok(frame.len())
            }
            (State::Encrypt, Some(keys)) => keys.seal_video(codec, frame, out),
            _ => Err(SealError::Held),
        }
    }

    /// How many bytes a frame of so many can become at most.
    #[must_use]
    pub const fn max_sealed_len(codec: Codec, frame_len: usize) -> usize {
        match codec {
            Codec::Opus | Codec::Vp9 | Codec::Unknown => frame_len + Self::MAX_OVERHEAD,
            // Every start code of three bytes becomes one of four, and a unit has one byte at least.
            Codec::H264 | Codec::H265 => frame_len + frame_len / 4 + u8::MAX as usize,
            Codec::Vp8 | Codec::Av1 => frame_len + u8::MAX as usize,
        }
    }

    fn install(&mut self, secret: BaseSecret) {
        let id = secret.id();
        if self.keys.as_ref().is_some_and(|keys| keys.id == id) {
            return;
        }
        let again = self.spent.iter_mut().find(|spent| spent.is_some_and(|old| old.id == id));
        let counter = again.and_then(Option::take).map_or(0, |spent| spent.counter);
        if let Some(before) = self.keys.replace(Box::new(Keys::new(&secret, counter))) {
            self.retire(&before);
        }
    }

    /// Remembers how far keys came, in place of those that are out of use for the longest.
    fn retire(&mut self, keys: &Keys) {
        let free = self.spent.iter().position(Option::is_none).unwrap_or(MAX_SPENT - 1);
        self.spent[..=free].rotate_right(1);
        self.spent[0] = Some(Spent { id: keys.id, counter: keys.counter });
    }
}

/// How far the keys of a secret came.
#[derive(Clone, Copy, Debug)]
struct Spent {
    id: SecretId,
    counter: u64,
}

/// The keys of one base secret.
struct Keys {
    id: SecretId,
    ratchet: Ratchet,
    cipher: Cipher,
    /// The generation and the low 24 bits of the last nonce that was used.
    counter: u64,
}

impl Keys {
    fn new(secret: &BaseSecret, counter: u64) -> Self {
        let mut ratchet = Ratchet::new(secret);
        let generation = generation(counter).unwrap_or(u32::MAX);
        ratchet.advance_to(generation);
        let cipher = Cipher::new(&ratchet.key(generation).expect("the ratchet is at this generation"));
        Self { id: secret.id(), ratchet, cipher, counter }
    }

    fn prefetch(&self) -> u64 {
        self.counter ^ u64::from(self.ratchet.generation())
    }

    /// Encrypts `buffer[..media_len]` but for the clear ranges, and writes the trailer behind it.
    fn seal(&mut self, buffer: &mut [u8], media_len: usize, ranges: &ClearRanges) -> Result<usize, SealError> {
        let counter = self.counter + 1;
        let generation = generation(counter).ok_or(SealError::Exhausted)?;
        // The top byte is the generation's lowest.
        let nonce = counter as u32;
        let trailer_len = trailer::len(nonce, ranges).ok_or(SealError::TooManyRanges)?;
        let (media, rest) = buffer.split_at_mut_checked(media_len).ok_or(SealError::NoRoom)?;
        let trailer = rest.get_mut(..trailer_len).ok_or(SealError::NoRoom)?;
        if generation != self.ratchet.generation() {
            self.ratchet.advance_to(generation);
            self.cipher = Cipher::new(&self.ratchet.key(generation).expect("the ratchet is at this generation"));
        }
        self.counter = counter;
        ranges.gather(media);
        let (clear, secret) = media.split_at_mut(ranges.clear_len());
        let tag = self.cipher.seal(nonce, clear, secret);
        ranges.scatter(media);
        trailer::write(nonce, &tag, ranges, trailer).expect("the trailer is as long as was reckoned");
        Ok(media_len + trailer_len)
    }

    fn seal_video(&mut self, codec: Codec, frame: &[u8], out: &mut [u8]) -> Result<usize, SealError> {
        for _ in 0..MAX_ATTEMPTS {
            let (media_len, ranges) = lay_out(codec, frame, out)?;
            let len = self.seal(out, media_len, &ranges)?;
            if !has_start_code(codec, &out[..len], ranges.spans()) {
                return Ok(len);
            }
        }
        Err(SealError::StartCode)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("counter", &self.counter).finish_non_exhaustive()
    }
}

/// The generation to which a nonce with its whole generation belongs; `None` past the last.
fn generation(counter: u64) -> Option<u32> {
    u32::try_from(counter >> GENERATION_SHIFT).ok()
}

/// The bits of a nonce below its generation (DAVE protocol, "Sender Key Ratchet").
pub(super) const GENERATION_SHIFT: u32 = 24;
/// Secrets whose counters are remembered after others took their place. A server that executes transitions out
/// of order can bring one back, and its nonces must not start anew.
const MAX_SPENT: usize = 8;
/// Nonces tried for one frame of a codec with start codes (libdave, `kMaxCiphertextValidationRetries`).
const MAX_ATTEMPTS: usize = 10;

#[cfg(test)]
mod tests;
