//! The counters of the receiving half.

use voice_dave::{OpenError, OpenedKind};

/// What a receiving half did. Every datagram and every frame that was dropped is in one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveStats {
    /// Datagrams received.
    pub datagrams: u64,
    /// Authentic audio packets among them.
    pub packets: u64,
    /// Frames given out.
    pub frames: u64,
    /// Datagrams that were not authentic.
    pub not_authentic: u64,
    /// Datagrams that were too short, or authentic and impossible.
    pub malformed: u64,
    /// Datagrams that are no media: late discovery responses, echoes.
    pub ignored: u64,
    /// Authentic packets of another payload type, such as video.
    pub not_audio: u64,
    /// Packets that never came in time.
    pub lost: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that came again.
    pub duplicate: u64,
    /// Packets that came out of order and were put back.
    pub reordered: u64,
    /// Times a sender's numbers or timestamps jumped.
    pub resynchronised: u64,
    /// What became of frames at the end-to-end encryption.
    pub e2ee: E2eeStats,
    /// Frames dropped because nobody claimed their stream in time.
    pub unclaimed: u64,
    /// Frames dropped because too many waited, they were longer than [`MAX_FRAME_LEN`](crate::MAX_FRAME_LEN), their
    /// stream started anew, or their user had left.
    pub dropped: u64,
    /// Streams dropped in favour of newer ones.
    pub streams_evicted: u64,
    /// Times a user's mode was not taken because there are too many users.
    pub users_refused: u64,
}

/// What became of frames at the end-to-end encryption. Each frame is in one of the first three when it was given
/// out, and in one of the next five when it was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct E2eeStats {
    /// Frames that were encrypted and authentic.
    pub decrypted: u64,
    /// Frames of silence, which the server may make itself.
    pub silence: u64,
    /// Frames without end-to-end encryption, accepted.
    pub plaintext: u64,
    /// Frames without end-to-end encryption where none is accepted.
    pub plaintext_refused: u64,
    /// Frames of users of whom there was no key in time.
    pub missing_key: u64,
    /// Frames whose nonce had been seen.
    pub replayed: u64,
    /// Frames whose key generation is out of bounds.
    pub generation_refused: u64,
    /// Frames that were not authentic under any key of their user.
    pub not_authentic: u64,
    /// Frames that waited for a key, whatever became of them.
    pub held: u64,
    /// Those of them that were dropped because their key did not come within a second.
    pub expired: u64,
}

impl E2eeStats {
    pub(super) const fn opened(&mut self, kind: OpenedKind) {
        match kind {
            OpenedKind::Decrypted => self.decrypted += 1,
            OpenedKind::Silence => self.silence += 1,
            _ => self.plaintext += 1,
        }
    }

    pub(super) const fn dropped(&mut self, error: OpenError) {
        match error {
            OpenError::Unencrypted => self.plaintext_refused += 1,
            OpenError::MissingKey => self.missing_key += 1,
            OpenError::Replay => self.replayed += 1,
            OpenError::Generation => self.generation_refused += 1,
            _ => self.not_authentic += 1,
        }
    }
}
