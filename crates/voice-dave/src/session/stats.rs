//! Counters.

use std::collections::BTreeMap;

use crate::Refusal;

/// What a session did and what it refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaveStats {
    /// Key packages sent, opcode 26.
    pub key_packages_sent: u64,
    /// Commits sent, opcode 28.
    pub commits_sent: u64,
    /// Commits that led to a new epoch, opcode 29.
    pub commits_applied: u64,
    /// Welcomes that led into a group, opcode 30.
    pub welcomes_applied: u64,
    /// Transitions executed, those at once included.
    pub transitions_executed: u64,
    /// Times that this member had to begin anew because of a commit or a welcome.
    pub recoveries: u64,
    refused: BTreeMap<Refusal, u64>,
}

impl DaveStats {
    /// How often something was ignored or refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused.get(&reason).copied().unwrap_or(0)
    }

    /// The reasons that there were, with how often.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        self.refused.iter().map(|(reason, count)| (*reason, *count))
    }

    pub(super) fn count(&mut self, reason: Refusal) {
        self.count_many(reason, 1);
    }

    pub(super) fn count_many(&mut self, reason: Refusal, times: u64) {
        if times > 0 {
            *self.refused.entry(reason).or_default() += times;
        }
    }
}
