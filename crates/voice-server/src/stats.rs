//! Counters.

use crate::DaveStats;

/// What the server has seen and done since it started.
///
/// Numbers of things that exist are named for the thing; all others only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// WebSocket connections that are open.
    pub connections: u64,
    /// Voice sessions that exist, those waiting for a Resume included.
    pub sessions: u64,
    /// Channels with at least one member.
    pub rooms: u64,
    /// Main-gateway sessions that exist, those waiting for a Resume included.
    pub gateway_sessions: u64,
    /// Identifies that were answered with Ready.
    pub joins: u64,
    /// Resumes that were answered with Resumed.
    pub resumes: u64,
    /// Gateway messages read.
    pub messages_received: u64,
    /// Gateway messages sent.
    pub messages_sent: u64,
    /// Connections the server closed with a code.
    pub closes: u64,
    /// Messages for a connection that had too many waiting; the connection was dropped.
    pub slow_readers: u64,
    /// Connections refused or dropped because a limit was reached.
    pub refused: u64,
    /// Requests that a page in a browser sent, by their `Origin` or `Host`; see
    /// [`ServerConfig::origins`](crate::ServerConfig::origins).
    pub browsers_refused: u64,
    /// Credentials forgotten because there were too many.
    pub grants_evicted: u64,
    /// Messages and datagrams held back by a fault that did not fit its queue.
    pub held_overflow: u64,
    /// Commands from the server's handle that found the queue full.
    pub commands_dropped: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Bytes in them.
    pub bytes_received: u64,
    /// Discovery requests answered.
    pub discoveries: u64,
    /// Pings answered.
    pub pings: u64,
    /// Media packets that were opened.
    pub packets_opened: u64,
    /// Media packets sealed and sent to a member, one per receiver.
    pub packets_forwarded: u64,
    /// Receiver reports sent.
    pub reports: u64,
    /// RTCP packets received and authenticated.
    pub rtcp_received: u64,
    /// Datagrams that are nothing the server answers: keepalives, noise, too long ones.
    pub datagrams_ignored: u64,
    /// Media and discovery whose SSRC or address belongs to no session.
    pub packets_unknown: u64,
    /// Media that failed authentication.
    pub packets_unauthentic: u64,
    /// Media that is no well-formed packet, or could not be sealed.
    pub packets_malformed: u64,
    /// Media with a payload type other than Opus.
    pub packets_not_opus: u64,
    /// Packets of users whom a moderator has muted, or a stage suppresses: not forwarded.
    pub packets_muted: u64,
    /// Media that came before op 5: dropped, because op 5 may still be on its way.
    pub packets_early: u64,
    /// Media with a foreign SSRC, and RTCP before a key was chosen.
    pub packets_refused: u64,
    /// Datagrams a fault dropped.
    pub faults_dropped: u64,
    /// Datagrams the socket did not take.
    pub sends_failed: u64,
    /// Datagrams the system dropped before they were read, because the socket's buffer was full; known on Linux only,
    /// and from datagrams that came after them.
    pub receive_overflow: u64,
    /// End-to-end encryption.
    pub dave: DaveStats,
}
