//! Every default of a call, with its reason.

use std::time::Duration;

use voice_crypto::Mode;
use voice_ws::SessionConfig;

/// How calls are made. [`Default`] holds the values that are right against Discord.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How long a join may take, from the request to the first moment at which frames can flow: 20 s.
    pub join_timeout: Duration,
    /// How long a call that the voice server has ended waits for the main gateway, which alone knows whether this
    /// is a move, a change of server or a kick: 10 s. A call without a manager and without
    /// [`update`](crate::CallCommand::Update) has nothing to wait for.
    pub follow_timeout: Duration,
    /// How long leaving waits for the servers to acknowledge it: 5 s.
    pub leave_timeout: Duration,
    /// Threads that send and receive media; each serves many calls: 1.
    pub media_threads: usize,
    /// The transport encryptions that are accepted, the preferred one first. AES-256-GCM comes first where the
    /// processor has instructions for it.
    pub modes: Vec<Mode>,
    /// Limits and deadlines of the voice gateway's session.
    pub session: SessionConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            join_timeout: Duration::from_secs(20),
            follow_timeout: Duration::from_secs(10),
            leave_timeout: Duration::from_secs(5),
            media_threads: 1,
            modes: voice_crypto::preferred().to_vec(),
            session: SessionConfig::default(),
        }
    }
}
