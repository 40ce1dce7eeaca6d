//! Every default of a call, with its reason.

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use voice_crypto::Mode;
use voice_dave::{MAX_PROTOCOL_VERSION, SigningKey};
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
    /// How long the main gateway may take to answer a join or a move with both of its events: 10 s. It never refuses: it
    /// is silent. A first join that it does not answer is made once more after a leave.
    pub gateway_timeout: Duration,
    /// How long a call that needs the main gateway waits while the bot's own connection to it is lost: 5 minutes.
    pub offline_timeout: Duration,
    /// How often a call is joined again in a row, through the main gateway, before it ends: 5. The count begins anew once
    /// it has run well [for a while](SessionConfig::stable_after).
    pub max_rejoins: u32,
    /// First step of the delay between these attempts: 1 s; it doubles, the first attempt is made at once.
    pub rejoin_step: Duration,
    /// The longest delay between these attempts: 30 s.
    pub rejoin_cap: Duration,
    /// How long a join waits for the media server's answer to a ping, which shows that it has heard of our socket and will
    /// send there what others say: 1 s. It counts from the session description; without an answer the call counts as
    /// connected then.
    pub path_timeout: Duration,
    /// How long leaving waits for the servers to acknowledge it: 5 s.
    pub leave_timeout: Duration,
    /// How long media must not get through, by what the network or the packets that arrive say, before the voice server is
    /// given up: 10 s. [`MediaFault`](crate::MediaFault) has the cases; that nothing arrives is none.
    pub media_fault_after: Duration,
    /// Threads that send and receive media, each for many calls: as many as the machine has processors for this process.
    pub media_threads: usize,
    /// The cores that media threads run on, by their numbers, in turn: none, the system chooses. Linux only.
    pub media_cores: Vec<usize>,
    /// The precedence of media threads over others, as a nice value from -20, the highest, to 19; `None` leaves it: -10.
    /// Below 0 the system has to allow it (on Linux with `CAP_SYS_NICE`), and otherwise it stays as it is.
    pub media_nice: Option<i32>,
    /// Media threads run before all other threads of the machine that are not real-time themselves, with the lowest priority of
    /// the policy `SCHED_FIFO`: `false`. It makes them far more punctual where other threads are busy on their processors.
    /// The system has to allow it (on Linux with `CAP_SYS_NICE`, or a limit `RLIMIT_RTPRIO` above 0), and otherwise
    /// `media_nice` holds. Sources that are asked on the media thread ([`Immediate`](voice_audio::Lead::Immediate)) must not
    /// compute for long. Linux only.
    pub media_real_time: bool,
    /// How media threads send: [`Plain`](voice_udp::socket::SendBackend::Plain). What the system does not have is replaced by that.
    #[cfg(feature = "tokio")]
    pub send_backend: voice_udp::socket::SendBackend,
    /// Threads that ask sources for frames [ahead of time](voice_audio::Lead): as many as there are cores. They start as
    /// they are needed. Up to four times as many as there are cores come to their aid while sources block.
    pub encode_threads: usize,
    /// The transport encryptions that are accepted, the preferred one first. AES-256-GCM comes first where the
    /// processor has instructions for it.
    pub modes: Vec<Mode>,
    /// What is made of end-to-end encryption: [`E2ee::Prefer`].
    pub e2ee: E2ee,
    /// How long a call to which the voice server has let us waits for the key with which frames leave, when there is
    /// somebody to hear them: 5 s. After it the call counts as connected, and frames are dropped, and counted, until the
    /// key comes.
    pub e2ee_timeout: Duration,
    /// What this user signs with in end-to-end encrypted calls. `None`, the default, makes one for each
    /// [`VoiceManager`](crate::VoiceManager), or, without a manager, for each call. Others can recognize a user whose key
    /// persists; a key belongs to one user.
    pub signing_key: Option<SigningKey>,
    /// Limits and deadlines of the voice gateway's session, and the newest version of end-to-end encryption that is
    /// offered there.
    pub session: SessionConfig,
}

/// What a call makes of end-to-end encryption (DAVE). It is offered to the voice server in all of them, which decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum E2ee {
    /// A call that is not end-to-end encrypted ends: from the start with
    /// [`EndReason::NotEncrypted`](crate::EndReason::NotEncrypted), later with
    /// [`EndReason::Downgraded`](crate::EndReason::Downgraded). Nothing leaves or is accepted in the clear but silence.
    Require,
    /// Frames are in the clear only where the call is not end-to-end encrypted, and while it changes, as the protocol has
    /// it.
    #[default]
    Prefer,
    /// As `Prefer`, and frames of others that come in the clear in an encrypted call are accepted, against the protocol,
    /// and [counted](voice_udp::E2eeStats::plaintext). The voice server could speak for anybody then.
    Allow,
}

impl Default for Config {
    fn default() -> Self {
        let mut session = SessionConfig::default();
        session.max_dave_protocol_version = MAX_PROTOCOL_VERSION;
        Self {
            join_timeout: Duration::from_secs(20),
            follow_timeout: Duration::from_secs(10),
            gateway_timeout: Duration::from_secs(10),
            offline_timeout: Duration::from_secs(300),
            max_rejoins: 5,
            rejoin_step: Duration::from_secs(1),
            rejoin_cap: Duration::from_secs(30),
            path_timeout: Duration::from_secs(1),
            leave_timeout: Duration::from_secs(5),
            media_fault_after: Duration::from_secs(10),
            media_threads: available_parallelism().map_or(1, NonZeroUsize::get),
            media_cores: Vec::new(),
            media_nice: Some(-10),
            media_real_time: false,
            #[cfg(feature = "tokio")]
            send_backend: voice_udp::socket::SendBackend::Plain,
            encode_threads: available_parallelism().map_or(1, NonZeroUsize::get),
            modes: voice_crypto::preferred().to_vec(),
            e2ee: E2ee::default(),
            e2ee_timeout: Duration::from_secs(5),
            signing_key: None,
            session,
        }
    }
}
