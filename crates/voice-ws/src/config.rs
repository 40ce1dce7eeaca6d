//! What a session is told from outside, and every default with its reason.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use voice_model::{ChannelId, CloseCode, ClosePolicy, GuildId, SessionId, Token, UserId};

use crate::Endpoint;

/// Who joins, where, and with which credentials.
///
/// The values come from the main gateway's two events: `session_id` and `channel_id` from the own voice state
/// update, `endpoint` and `token` from the voice server update.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The voice channel that is joined.
    pub channel_id: ChannelId,
    /// Where the voice gateway listens.
    pub endpoint: Endpoint,
    /// The guild, which voice gateways call the server.
    pub server_id: GuildId,
    /// The id of the main gateway's session.
    pub session_id: SessionId,
    /// The token for this endpoint and this join.
    pub token: Token,
    /// The own user.
    pub user_id: UserId,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("channel_id", &self.channel_id)
            .field("endpoint", &self.endpoint)
            .field("server_id", &self.server_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// Limits and deadlines of a session. [`Default`] holds the values that are right against Discord.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionConfig {
    /// How long the WebSocket may take to open: 10 s.
    pub connect_timeout: Duration,
    /// How long each of Hello, Ready, Session Description and Resumed may take: 5 s.
    pub message_timeout: Duration,
    /// How long the way from the start to the session description may take, every attempt included: 20 s.
    pub handshake_timeout: Duration,
    /// The newest version of end-to-end encryption offered: 0, none.
    pub max_dave_protocol_version: u16,
    /// Attempts of a first handshake before a new join is advised: 3, the first and two more.
    pub max_handshakes: u32,
    /// Attempts to resume in a row before a new join is advised: 5. Those that the server accepts count until they have
    /// [brought something](Self::resume_trial).
    pub max_resumes: u32,
    /// How long a resumed session must run, with a heartbeat acknowledged meanwhile, for it to count as resumed: 10 s. One
    /// that is lost before is an attempt that failed.
    pub resume_trial: Duration,
    /// How long resuming may go on before a new join is advised: 30 s.
    pub resume_window: Duration,
    /// How long a session must have been ready for earlier failures to be forgotten: 60 s.
    pub stable_after: Duration,
    /// First step of the delay between attempts: 0.5 s; it doubles, the first attempt is made at once.
    pub backoff_step: Duration,
    /// The longest delay between attempts: 15 s.
    pub backoff_cap: Duration,
    /// What is done about these close codes of the server, in place of [their own policies](CloseCode::policy): none. A
    /// session that is not established yet has nothing to resume, and identifies again where that is asked for.
    pub close_policies: BTreeMap<CloseCode, ClosePolicy>,
}

impl SessionConfig {
    /// What is done about a close code of the server; `established` says whether there is a session to go on with.
    #[must_use]
    pub fn policy(&self, code: CloseCode, established: bool) -> ClosePolicy {
        let own = if established { CloseCode::policy } else { CloseCode::handshake_policy };
        self.close_policies.get(&code).copied().unwrap_or_else(|| own(code))
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(20),
            max_dave_protocol_version: 0,
            max_handshakes: 3,
            max_resumes: 5,
            resume_trial: Duration::from_secs(10),
            resume_window: Duration::from_secs(30),
            stable_after: Duration::from_secs(60),
            backoff_step: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(15),
            close_policies: BTreeMap::new(),
        }
    }
}

/// The instant after a duration that somebody configured, which may stand for "never".
pub(crate) fn later(now: Instant, duration: Duration) -> Instant {
    now + duration.min(LONGEST)
}

/// Far enough to mean "never", near enough to be added to any instant.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
