//! What a caller may choose about end-to-end encryption.

use core::time::Duration;

/// What the server does about end-to-end encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaveConfig {
    /// Who gets it.
    pub mode: DaveMode,
    /// Closes with 4001 on opcodes 21 to 31 of a client.
    pub refuse_opcodes: bool,
    /// Sends the external sender (op 25) as soon as a client has identified, before op 4
    /// instead of right after it.
    pub early_external_sender: bool,
    /// Takes a key package that came before as a new one: its sender is added once more. Usually it is refused, and a client
    /// that says it again although it was added is not noticed.
    pub take_repeated_packages: bool,
    /// How long proposals are gathered, so that one op 27 and one commit serve many joins.
    pub proposal_delay: Duration,
    /// How long further proposals wait for a commit of those that are out: a commit that was on
    /// its way when they came would be stale.
    pub proposal_hold: Duration,
    /// How long a transition waits for members that do not say they are ready.
    pub transition_timeout: Duration,
    /// How long proposals wait for a commit before they are revoked and made again: then removals first, and additions
    /// one by one after them, so that one that nobody can commit holds up nothing else.
    pub commit_timeout: Duration,
    /// What a group holds at most.
    pub limits: DaveLimits,
}

impl DaveConfig {
    /// The usual times and limits, and this mode.
    #[must_use]
    pub const fn new(mode: DaveMode) -> Self {
        Self {
            mode,
            refuse_opcodes: false,
            early_external_sender: false,
            take_repeated_packages: false,
            proposal_delay: PROPOSAL_DELAY,
            proposal_hold: PROPOSAL_HOLD,
            transition_timeout: TRANSITION_TIMEOUT,
            commit_timeout: COMMIT_TIMEOUT,
            limits: DaveLimits::DEFAULT,
        }
    }
}

impl Default for DaveConfig {
    fn default() -> Self {
        Self::new(DaveMode::default())
    }
}

/// Who gets end-to-end encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DaveMode {
    /// Everybody: a client that does not offer it is closed with 4017.
    Required,
    /// A channel, while all who are in it offer it.
    #[default]
    Optional,
    /// Nobody: its opcodes are passed over.
    Off,
}

/// What the group of a channel holds at most; what is over a limit is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaveLimits {
    /// Members of a group; more stay outside of it until some leave.
    pub members: usize,
    /// Proposals of an epoch; more wait for the next one.
    pub proposals: usize,
    /// Bytes of a key package.
    pub key_package_len: usize,
    /// Bytes of a commit with its welcome.
    pub commit_len: usize,
}

impl DaveLimits {
    const DEFAULT: Self = Self { members: 500, proposals: 200, key_package_len: 1_024, commit_len: 256 * 1024 };
}

impl Default for DaveLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Long enough for those who join together, too short to be noticed by one who joins alone.
const PROPOSAL_DELAY: Duration = Duration::from_millis(20);

/// A commit takes a round trip and, with many additions, some hundred milliseconds of arithmetic.
const PROPOSAL_HOLD: Duration = Duration::from_secs(1);

/// DAVE protocol, "Protocol Transitions": the gateway does not wait for everybody forever.
const TRANSITION_TIMEOUT: Duration = Duration::from_secs(2);

/// Not documented.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
