//! What arrives, measured: how punctual each stream of packets is, and what is missing from it.

mod recorder;
mod spread;
mod stream;

use core::time::Duration;

pub(crate) use self::recorder::Recorder;
pub use self::spread::Spread;

/// What a measurement keeps at most; what hits a limit is counted in the [`Measurement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasureLimits {
    /// SSRCs that are told apart.
    pub streams: usize,
    /// Packets whose arrival is kept, of four bytes each.
    pub samples: usize,
}

impl Default for MeasureLimits {
    fn default() -> Self {
        Self { streams: 65_536, samples: 24_000_000 }
    }
}

/// What arrived between the beginning and the end of a measurement.
///
/// Packets are told apart by the SSRC in their RTP header alone, before anything is decrypted: a datagram that only
/// looks like RTP counts as well, so that a bare sender can be measured by the same server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measurement {
    /// How long it took.
    pub measured: Duration,
    /// SSRCs seen.
    pub streams: u64,
    /// RTP packets seen.
    pub packets: u64,
    /// Sequence numbers that are missing between the first and the newest packet of their stream.
    pub lost: u64,
    /// Places where some are missing.
    pub gaps: u64,
    /// Periods of 20 ms by which RTP timestamps moved on without a packet, beyond what missing sequence numbers explain.
    pub skipped: u64,
    /// Packets that came after one with a newer sequence number.
    ///
    /// Those that are more than 63 behind have been counted as lost before.
    pub out_of_order: u64,
    /// Packets whose sequence number had come before. Their arrival is not sampled.
    pub duplicates: u64,
    /// Packets whose arrival was not kept, because there were too many or the system did not say when they came.
    pub unsampled: u64,
    /// Packets of streams that were too many.
    pub untracked: u64,
    /// How far packets were off their stream's grid.
    ///
    /// The grid has a line every 20 ms, that is 960 units of the RTP timestamp, and lies such that half of the packets
    /// come before theirs and half after: the time of a packet is its arrival minus its RTP timestamp, and its deviation
    /// is how far that is from the median of the stream, early or late. Exact to half a microsecond.
    pub deviation: Spread,
    /// The interarrival jitter of each stream at the end: RFC 3550, section 6.4.1.
    pub jitter: Spread,
    /// Whether the system told when datagrams arrived, rather than this process when it read them.
    pub kernel_timestamps: bool,
    /// Datagrams that the system dropped because the socket's buffer was full.
    ///
    /// Told with datagrams that come after them: what is dropped after the last one is not known.
    pub receive_overflow: u64,
    /// Packets that failed authentication.
    pub unauthentic: u64,
    /// Packets that are not well-formed, or could not be sealed.
    pub malformed: u64,
    /// Packets whose SSRC or address belongs to no session.
    pub unknown: u64,
    /// Packets without op 5 or with a foreign SSRC.
    pub refused: u64,
    /// Datagrams that the socket did not take.
    pub not_sent: u64,
    /// Connections that the server closed with a code.
    pub closes: u64,
    /// Voice sessions that exist at the end.
    pub sessions: u64,
}

#[cfg(test)]
mod tests;
