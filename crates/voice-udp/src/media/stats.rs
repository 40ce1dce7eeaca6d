//! The counters of the receiving half.

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
    /// Times a sender's numbers jumped.
    pub resynchronised: u64,
    /// Frames dropped because the call's end-to-end encryption did not allow them.
    pub frames_held: u64,
    /// Frames dropped because nobody claimed their stream in time.
    pub unclaimed: u64,
    /// Frames dropped because too many waited, their stream started anew, or their user had left.
    pub dropped: u64,
    /// Streams dropped in favour of newer ones.
    pub streams_evicted: u64,
}
