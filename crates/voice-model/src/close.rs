//! Close codes of the voice gateway, and what a client does about each.

use core::{fmt, time::Duration};

/// Why a voice gateway connection was closed.
///
/// ```
/// use voice_model::{CloseAction, CloseCode};
///
/// let policy = CloseCode::VOICE_SERVER_CRASHED.policy();
/// assert_eq!(policy.action, CloseAction::Resume);
/// assert_eq!(policy.limit.unwrap().then, CloseAction::Rejoin);
/// assert_eq!(CloseCode::DISCONNECTED.policy().action, CloseAction::Wait);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        impl CloseCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// Every named code, in ascending order.
            pub const NAMED: &[Self] = &[$(Self::$name),*];

            /// What the code means in a few words, when it has a name.
            #[must_use]
            pub const fn meaning(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

// 1000-1014: RFC 6455, section 7.4.1, and its registry. 4001-4022: Discord docs, Voice Close Event Codes.
codes! {
    /// Closed on purpose (RFC 6455, section 7.4.1).
    ///
    /// Sent by a client it ends the voice session; the service also sends it when heartbeats stop.
    NORMAL = 1000, "normal closure";
    /// The peer goes away (RFC 6455, section 7.4.1).
    GOING_AWAY = 1001, "going away";
    /// The peer broke the WebSocket or message format (RFC 6455, section 7.4.1).
    PROTOCOL_ERROR = 1002, "protocol error";
    /// A close frame without a code; never sent (RFC 6455, section 7.4.1).
    NO_STATUS = 1005, "no status received";
    /// The connection ended without a close frame; never sent (RFC 6455, section 7.4.1).
    ABNORMAL = 1006, "connection lost";
    /// A message was larger than the receiver takes (RFC 6455, section 7.4.1).
    MESSAGE_TOO_BIG = 1009, "message too big";
    /// The opcode is not known, or only servers send it.
    UNKNOWN_OPCODE = 4001, "unknown opcode";
    /// The payload could not be read while identifying.
    FAILED_TO_DECODE = 4002, "failed to decode payload";
    /// Something was sent before Identify.
    NOT_AUTHENTICATED = 4003, "not authenticated";
    /// The token is wrong.
    AUTHENTICATION_FAILED = 4004, "authentication failed";
    /// Identify was sent twice.
    ALREADY_AUTHENTICATED = 4005, "already authenticated";
    /// The session does not exist, or does not exist any more.
    SESSION_NO_LONGER_VALID = 4006, "session no longer valid";
    /// The session timed out.
    SESSION_TIMEOUT = 4009, "session timeout";
    /// The `server_id` of Identify is not known.
    SERVER_NOT_FOUND = 4011, "server not found";
    /// The `protocol` of Select Protocol is not known.
    UNKNOWN_PROTOCOL = 4012, "unknown protocol";
    /// This client was disconnected: kicked, moved, or its main gateway session ended.
    DISCONNECTED = 4014, "disconnected";
    /// The voice server crashed; the session can be resumed.
    VOICE_SERVER_CRASHED = 4015, "voice server crashed";
    /// The `mode` of Select Protocol is not offered.
    UNKNOWN_ENCRYPTION_MODE = 4016, "unknown encryption mode";
    /// The call requires end-to-end encryption and the client did not offer it.
    E2EE_REQUIRED = 4017, "end-to-end encryption required";
    /// A malformed request.
    BAD_REQUEST = 4020, "bad request";
    /// Too many messages.
    RATE_LIMITED = 4021, "rate limited";
    /// All clients were disconnected: channel deleted, or the call moved to another server.
    CALL_TERMINATED = 4022, "call terminated";
}

impl CloseCode {
    /// Makes a code of its number.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether a peer may put the code into a close frame (RFC 6455, section 7.4.2).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// What to do when an established session (ready, or resuming) is closed with this code by
    /// the peer or by the network.
    ///
    /// Does not apply to a connection that we closed on purpose. A lost connection without a code
    /// is [`CloseCode::ABNORMAL`].
    #[must_use]
    pub const fn policy(self) -> ClosePolicy {
        self.policies().0
    }

    /// What to do when the code arrives during the handshake, before the first session
    /// description.
    ///
    /// There is no session to resume then, so no action here is [`CloseAction::Resume`].
    #[must_use]
    pub const fn handshake_policy(self) -> ClosePolicy {
        self.policies().1
    }

    /// The table of both policies: (established, during the handshake).
    const fn policies(self) -> (ClosePolicy, ClosePolicy) {
        use CloseAction::{Identify, Rejoin, Resume, Stop, Wait};
        // Nothing was established yet: the same attempt again, then new credentials.
        let again = ClosePolicy::new(Identify).at_most(2, Rejoin);
        match self.0 {
            // Our own bug, most likely: a replay after Resume could repeat it for ever.
            4001 | 4002 | 4005 | 4020 => {
                (ClosePolicy::new(Rejoin).at_most(2, Stop).within(Duration::from_secs(60)), again)
            }
            4003 => (ClosePolicy::new(Identify).at_most(1, Rejoin), again),
            // A new token comes with the new join.
            4004 => both(ClosePolicy::new(Rejoin).at_most(2, Stop)),
            4006 => both(ClosePolicy::new(Rejoin)),
            4009 => (ClosePolicy::new(Resume).at_most(1, Rejoin), ClosePolicy::new(Rejoin)),
            4011 => both(ClosePolicy::new(Rejoin).at_most(3, Stop)),
            // Every retry would give the same answer.
            4012 | 4017 => both(ClosePolicy::new(Stop)),
            // Kick, move or server change: only the main gateway tells which.
            4014 | 4022 => both(ClosePolicy::new(Wait)),
            4015 => (ClosePolicy::new(Resume).at_most(2, Rejoin), again),
            // Arrives in the handshake, where the same mode again would fail again.
            4016 => both(ClosePolicy::new(Rejoin).at_most(1, Stop).with_fallback_mode()),
            4021 => both(ClosePolicy::new(Stop).retry_after(Duration::from_secs(60))),
            // The WebSocket or what is below it broke; media keeps flowing meanwhile.
            1000..=1999 => (ClosePolicy::new(Resume), again),
            _ => (ClosePolicy::new(Rejoin), again),
        }
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning() {
            Some(meaning) => write!(f, "{} ({meaning})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

/// What a client does about a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseAction {
    /// Connect again and send Resume; where that fails, rejoin.
    Resume,
    /// Join again through the main gateway, for a new session and a new token.
    Rejoin,
    /// Connect again and send Identify with the same credentials.
    Identify,
    /// Wait for main gateway events: they bring a new server, or say that the call is over.
    Wait,
    /// Report the end; no retry.
    Stop,
}

/// How a client reacts to a close code.
///
/// A policy without a limit is still bounded by the general limits of retrying: the number of
/// attempts and their backoff are the business of the session that executes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClosePolicy {
    /// What to do.
    pub action: CloseAction,
    /// How often, and what then; `None` when the code itself sets no limit.
    pub limit: Option<Limit>,
    /// The next attempt selects the mode every server offers,
    /// `aead_xchacha20_poly1305_rtpsize`, instead of the preferred one.
    pub fallback_mode: bool,
    /// How long the application should wait before it joins again, when it should.
    pub retry_after: Option<Duration>,
}

/// How often an action is taken in answer to one close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limit {
    /// The action is taken for this many closes of the same kind; at least 1.
    pub attempts: u8,
    /// Only closes within this time count; `None`: all since the session was last established.
    pub window: Option<Duration>,
    /// What is done for the next one.
    pub then: CloseAction,
}

impl ClosePolicy {
    /// The action for a close after `earlier` closes that counted towards the limit.
    ///
    /// ```
    /// use voice_model::{CloseAction, CloseCode};
    ///
    /// let policy = CloseCode::SESSION_TIMEOUT.policy();
    /// assert_eq!(policy.action_after(0), CloseAction::Resume);
    /// assert_eq!(policy.action_after(1), CloseAction::Rejoin);
    /// ```
    #[must_use]
    pub const fn action_after(&self, earlier: u32) -> CloseAction {
        match self.limit {
            Some(limit) if earlier >= limit.attempts as u32 => limit.then,
            _ => self.action,
        }
    }

    /// Makes a policy without a limit.
    #[must_use]
    pub const fn new(action: CloseAction) -> Self {
        Self { action, limit: None, fallback_mode: false, retry_after: None }
    }

    /// Limits how often the action is taken; `attempts` of 0 counts as 1.
    #[must_use]
    pub const fn at_most(mut self, attempts: u8, then: CloseAction) -> Self {
        self.limit = Some(Limit { attempts: if attempts == 0 { 1 } else { attempts }, window: None, then });
        self
    }

    /// Counts only closes within this time towards the limit, if there is one.
    #[must_use]
    pub const fn within(mut self, window: Duration) -> Self {
        if let Some(limit) = &mut self.limit {
            limit.window = Some(window);
        }
        self
    }

    /// Selects the mode that every server offers for the next attempt.
    #[must_use]
    pub const fn with_fallback_mode(mut self) -> Self {
        self.fallback_mode = true;
        self
    }

    /// Advises the application to wait for so long before it joins again.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

const fn both(policy: ClosePolicy) -> (ClosePolicy, ClosePolicy) {
    (policy, policy)
}

#[cfg(test)]
mod tests {
    use super::{
        CloseAction::{Identify, Rejoin, Resume, Stop, Wait},
        *,
    };

    /// (code, action, limit) of an established session.
    type Row = (u16, CloseAction, Option<(u8, Option<u64>, CloseAction)>);

    const ESTABLISHED: &[Row] = &[
        (1000, Resume, None),
        (1001, Resume, None),
        (1002, Resume, None),
        (1005, Resume, None),
        (1006, Resume, None),
        (1009, Resume, None),
        (1011, Resume, None),
        (1014, Resume, None),
        (3000, Rejoin, None),
        (4000, Rejoin, None),
        (4001, Rejoin, Some((2, Some(60), Stop))),
        (4002, Rejoin, Some((2, Some(60), Stop))),
        (4003, Identify, Some((1, None, Rejoin))),
        (4004, Rejoin, Some((2, None, Stop))),
        (4005, Rejoin, Some((2, Some(60), Stop))),
        (4006, Rejoin, None),
        (4008, Rejoin, None),
        (4009, Resume, Some((1, None, Rejoin))),
        (4011, Rejoin, Some((3, None, Stop))),
        (4012, Stop, None),
        (4014, Wait, None),
        (4015, Resume, Some((2, None, Rejoin))),
        (4016, Rejoin, Some((1, None, Stop))),
        (4017, Stop, None),
        (4020, Rejoin, Some((2, Some(60), Stop))),
        (4021, Stop, None),
        (4022, Wait, None),
        (4999, Rejoin, None),
    ];

    const HANDSHAKE: &[Row] = &[
        (1000, Identify, Some((2, None, Rejoin))),
        (1006, Identify, Some((2, None, Rejoin))),
        (4000, Identify, Some((2, None, Rejoin))),
        (4001, Identify, Some((2, None, Rejoin))),
        (4002, Identify, Some((2, None, Rejoin))),
        (4003, Identify, Some((2, None, Rejoin))),
        (4004, Rejoin, Some((2, None, Stop))),
        (4005, Identify, Some((2, None, Rejoin))),
        (4006, Rejoin, None),
        (4009, Rejoin, None),
        (4011, Rejoin, Some((3, None, Stop))),
        (4012, Stop, None),
        (4014, Wait, None),
        (4015, Identify, Some((2, None, Rejoin))),
        (4016, Rejoin, Some((1, None, Stop))),
        (4017, Stop, None),
        (4020, Identify, Some((2, None, Rejoin))),
        (4021, Stop, None),
        (4022, Wait, None),
    ];

    fn row(code: u16, policy: ClosePolicy) -> Row {
        let limit = policy.limit.map(|limit| (limit.attempts, limit.window.map(|window| window.as_secs()), limit.then));
        (code, policy.action, limit)
    }

    #[test]
    fn established_sessions_follow_the_table() {
        for expected in ESTABLISHED {
            assert_eq!(row(expected.0, CloseCode::new(expected.0).policy()), *expected);
        }
    }

    #[test]
    fn handshakes_follow_the_table() {
        for expected in HANDSHAKE {
            assert_eq!(row(expected.0, CloseCode::new(expected.0).handshake_policy()), *expected);
        }
    }

    #[test]
    fn every_named_code_is_in_both_tables() {
        let established = |code: &CloseCode| ESTABLISHED.iter().any(|row| row.0 == code.get());
        assert!(CloseCode::NAMED.iter().all(established));
        let handshake = |code: &&CloseCode| HANDSHAKE.iter().any(|row| row.0 == code.get());
        assert!(CloseCode::NAMED.iter().filter(|code| code.get() >= 4000).all(|code| handshake(&code)));
    }

    #[test]
    fn no_code_resumes_during_the_handshake_and_no_limit_is_empty_or_circular() {
        for code in 0..=u16::MAX {
            let code = CloseCode::new(code);
            assert_ne!(code.handshake_policy().action, Resume, "{code}");
            for policy in [code.policy(), code.handshake_policy()] {
                if let Some(limit) = policy.limit {
                    assert!(limit.attempts > 0 && limit.then != policy.action, "{code}");
                }
            }
        }
    }

    #[test]
    fn only_4016_changes_the_mode_and_only_4021_names_a_pause() {
        for code in 0..=u16::MAX {
            let policy = CloseCode::new(code).policy();
            assert_eq!(policy.fallback_mode, code == 4016);
            let pause = (code == 4021).then_some(Duration::from_secs(60));
            assert_eq!(policy.retry_after, pause);
        }
    }

    #[test]
    fn limit_applies_after_its_attempts() {
        let policy = CloseCode::BAD_REQUEST.policy();
        assert_eq!([0, 1, 2, u32::MAX].map(|n| policy.action_after(n)), [Rejoin, Rejoin, Stop, Stop]);
        assert_eq!(CloseCode::DISCONNECTED.policy().action_after(u32::MAX), Wait);
    }

    #[test]
    fn reserved_codes_are_not_sendable() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert!(!CloseCode::new(code).is_sendable(), "{code}");
        }
        for code in [1000, 1002, 1009, 1012, 3000, 4000, 4999] {
            assert!(CloseCode::new(code).is_sendable(), "{code}");
        }
    }

    #[test]
    fn display_has_number_and_meaning() {
        assert_eq!(CloseCode::SESSION_TIMEOUT.to_string(), "4009 (session timeout)");
        assert_eq!(CloseCode::new(4567).to_string(), "4567");
    }
}
