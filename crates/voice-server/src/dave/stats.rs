//! Counters of the delivery service.

use core::ops::AddAssign;

/// What the delivery service has seen and done, over all channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaveStats {
    /// Key packages taken.
    pub key_packages: u64,
    /// Proposals made; one that is sent to many counts once.
    pub proposals: u64,
    /// Proposals taken back.
    pub proposals_revoked: u64,
    /// Commits that won, each of them an epoch.
    pub commits: u64,
    /// Welcomes sent, one per added member.
    pub welcomes: u64,
    /// Transitions executed.
    pub transitions: u64,
    /// Those of them that did not wait for everybody any longer.
    pub transitions_timed_out: u64,
    /// How often proposals were made again because no commit came.
    pub commit_timeouts: u64,
    /// Members removed and added again because they could not follow (op 31).
    pub recoveries: u64,
    /// Changes of a channel to encrypted.
    pub upgrades: u64,
    /// Changes of a channel to plain.
    pub downgrades: u64,
    /// How often a limit of members or proposals made somebody wait.
    pub postponed: u64,
    refused: [u64; DaveRefusal::ALL.len()],
}

impl DaveStats {
    /// How many messages of clients were refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: DaveRefusal) -> u64 {
        self.refused.get(reason as usize).copied().unwrap_or(0)
    }

    /// How many messages of clients were refused at all.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum()
    }

    pub(crate) fn refuse(&mut self, reason: DaveRefusal) {
        if let Some(count) = self.refused.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

impl AddAssign for DaveStats {
    fn add_assign(&mut self, other: Self) {
        let Self {
            key_packages,
            proposals,
            proposals_revoked,
            commits,
            welcomes,
            transitions,
            transitions_timed_out,
            commit_timeouts,
            recoveries,
            upgrades,
            downgrades,
            postponed,
            refused,
        } = other;
        self.key_packages += key_packages;
        self.proposals += proposals;
        self.proposals_revoked += proposals_revoked;
        self.commits += commits;
        self.welcomes += welcomes;
        self.transitions += transitions;
        self.transitions_timed_out += transitions_timed_out;
        self.commit_timeouts += commit_timeouts;
        self.recoveries += recoveries;
        self.upgrades += upgrades;
        self.downgrades += downgrades;
        self.postponed += postponed;
        for (sum, more) in self.refused.iter_mut().zip(refused) {
            *sum += more;
        }
    }
}

/// Why a message of a client about the group had no effect (DAVE protocol, "Message Validation").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DaveRefusal {
    /// A message about a group in a channel, or of a client, that is not encrypted.
    NotEncrypted,
    /// A key package longer than the limit.
    KeyPackageTooLong,
    /// Bytes that are no bare key package, or more than one.
    KeyPackageMalformed,
    /// A key package of another version or cipher suite.
    KeyPackageSuite,
    /// A key package in the name of somebody else, or of nobody.
    KeyPackageCredential,
    /// A key package that expires, or is not valid yet.
    KeyPackageLifetime,
    /// A key package with extensions, or a leaf with some.
    KeyPackageExtensions,
    /// A key package with a key that is none, or one key twice.
    KeyPackageKeys,
    /// A key package with a key that somebody else in the channel has.
    KeyPackageClaimed,
    /// A key package whose signatures, or that of its leaf, are not good.
    KeyPackageSignature,
    /// A key package that is there already, or that its user was added with.
    KeyPackageRepeated,
    /// A commit with its welcome that is longer than the limit.
    CommitTooLong,
    /// Bytes that are no commit followed by at most one welcome.
    CommitMalformed,
    /// A message of a kind that is no commit.
    CommitContent,
    /// A commit of another group.
    CommitGroup,
    /// A commit of an epoch that is over, or has not begun: another one was first.
    CommitEpoch,
    /// A commit from somebody who is no member, or in the name of another leaf.
    CommitSender,
    /// A commit of nothing.
    CommitEmpty,
    /// A commit with a proposal in it instead of a reference.
    CommitInline,
    /// A commit of something else than exactly the proposals its sender has.
    CommitReferences,
    /// A removal without a path.
    CommitPathMissing,
    /// A path that changes who the sender is.
    CommitPathIdentity,
    /// An addition without a welcome.
    WelcomeMissing,
    /// A welcome for nobody.
    WelcomeUnwanted,
    /// A welcome of another cipher suite, or without one of those who were added.
    WelcomeIncomplete,
    /// Op 23 of a transition that is not open for its sender.
    ReadyUnknown,
    /// Op 31 of a transition its sender was not told of.
    InvalidUnknown,
}

impl DaveRefusal {
    /// Every reason.
    pub const ALL: [Self; 27] = [
        Self::NotEncrypted,
        Self::KeyPackageTooLong,
        Self::KeyPackageMalformed,
        Self::KeyPackageSuite,
        Self::KeyPackageCredential,
        Self::KeyPackageLifetime,
        Self::KeyPackageExtensions,
        Self::KeyPackageKeys,
        Self::KeyPackageClaimed,
        Self::KeyPackageSignature,
        Self::KeyPackageRepeated,
        Self::CommitTooLong,
        Self::CommitMalformed,
        Self::CommitContent,
        Self::CommitGroup,
        Self::CommitEpoch,
        Self::CommitSender,
        Self::CommitEmpty,
        Self::CommitInline,
        Self::CommitReferences,
        Self::CommitPathMissing,
        Self::CommitPathIdentity,
        Self::WelcomeMissing,
        Self::WelcomeUnwanted,
        Self::WelcomeIncomplete,
        Self::ReadyUnknown,
        Self::InvalidUnknown,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let mut stats = DaveStats::default();
        for (count, reason) in DaveRefusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, count);
            for _ in 0..count {
                stats.refuse(reason);
            }
        }
        stats += stats;
        for (count, reason) in DaveRefusal::ALL.into_iter().enumerate() {
            assert_eq!(stats.refused(reason), 2 * count as u64, "{reason:?}");
        }
        assert_eq!(stats.refused_total(), (0..27).map(|n| 2 * n).sum::<u64>());
    }
}
