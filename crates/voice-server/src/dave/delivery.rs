//! The delivery service of one channel: its state, its clock, its outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use voice_model::{ChannelId, GuildId, UserId};

use crate::Event;
use crate::dave::commit::{Expected, Winner};
use crate::dave::faults::DaveFaults;
use crate::dave::key_package::KeptPackage;
use crate::dave::messages::{DeliveryOutput, Message};
use crate::dave::patience::Patience;
use crate::dave::proposals::{Change, Proposals};
use crate::dave::roster::Roster;
use crate::dave::sender::Signer;
use crate::dave::stats::{DaveRefusal, DaveStats};
use crate::dave::transition::{Executed, Transitions};
use crate::dave::{DAVE_VERSION, DaveConfig};
use crate::random::Random;

/// Everything about the group of one channel. Reads no clock and does no I/O: call a method for
/// what happened, then drain [`poll_output`](Self::poll_output).
pub(crate) struct Delivery {
    pub(super) config: DaveConfig,
    pub(super) guild: GuildId,
    pub(super) channel: ChannelId,
    pub(super) signer: Signer,
    /// The version of the channel: 0 while somebody in it has none.
    pub(super) version: u16,
    /// 0 while there is no group: then every member has one of its own.
    pub(super) epoch: u64,
    pub(super) members: BTreeMap<UserId, Member>,
    pub(super) roster: Roster,
    pub(super) proposals: Proposals,
    pub(super) transitions: Transitions,
    /// When proposals that were gathered go out.
    pub(super) propose_at: Option<Instant>,
    /// When somebody is added again who could not follow too often.
    pub(super) add_again_at: Option<Instant>,
    /// Until when new proposals wait for a commit of those that are out.
    pub(super) hold_until: Option<Instant>,
    /// When proposals that went out have waited too long.
    pub(super) commit_by: Option<Instant>,
    /// Something among what was proposed could not be committed: removals go alone, then additions one by one.
    pub(super) one_by_one: bool,
    pub(super) faults: DaveFaults,
    pub(super) stats: DaveStats,
    outputs: VecDeque<DeliveryOutput>,
}

/// A user in the channel.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// The newest version the client offered.
    pub(super) max_version: u16,
    /// Op 4 has gone out, so that the client knows the version.
    pub(super) described: bool,
    /// Op 25 has gone out.
    pub(super) knows_sender: bool,
    /// What it can be added with.
    pub(super) package: Option<KeptPackage>,
    /// The reference of the key package it was added with last.
    pub(super) used: Option<[u8; 32]>,
    /// Where it is in the group, if it follows the group.
    pub(super) leaf: Option<u32>,
    /// The transitions it was told of since it was added last.
    pub(super) seen: VecDeque<u16>,
    pub(super) patience: Patience,
    /// Nobody committed its addition, though nothing else was proposed.
    pub(super) suspect: bool,
}

impl Member {
    /// Whether a key package is the one that is kept, or that the member was added with.
    fn has_seen(&self, package: &KeptPackage) -> bool {
        let kept = self.package.as_ref().map(|kept| kept.reference);
        [kept, self.used].contains(&Some(package.reference))
    }

    pub(super) fn see(&mut self, transition_id: u16) {
        if self.seen.len() >= SEEN_TRANSITIONS {
            self.seen.pop_front();
        }
        self.seen.push_back(transition_id);
    }
}

impl Delivery {
    pub(crate) fn new(config: DaveConfig, guild: GuildId, channel: ChannelId, seed: [u8; 32]) -> Self {
        Self {
            config,
            guild,
            channel,
            signer: Signer::new(&mut Random::new(seed)),
            version: 0,
            epoch: 0,
            members: BTreeMap::new(),
            roster: Roster::default(),
            proposals: Proposals::default(),
            transitions: Transitions::default(),
            propose_at: None,
            add_again_at: None,
            hold_until: None,
            commit_by: None,
            one_by_one: false,
            faults: DaveFaults::default(),
            stats: DaveStats::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes the payload of op 26.
    pub(crate) fn key_package(&mut self, now: Instant, user: UserId, bytes: &[u8]) {
        let limit = self.config.limits.key_package_len;
        let described = self.members.get(&user).is_some_and(|member| member.described);
        if self.version == 0 || !described {
            self.stats.refuse(DaveRefusal::NotEncrypted);
            return;
        }
        match KeptPackage::check(user, bytes, limit) {
            Err(reason) => self.refuse(user, reason),
            // Said again after a Resume, perhaps. It changes nothing, and nobody can be added with it twice.
            Ok(package)
                if !self.config.take_repeated_packages
                    && self.members.get(&user).is_some_and(|it| it.has_seen(&package)) =>
            {
                self.refuse(user, DaveRefusal::KeyPackageRepeated);
            }
            Ok(package) if self.is_claimed(user, &package) => self.refuse(user, DaveRefusal::KeyPackageClaimed),
            Ok(package) => {
                self.stats.key_packages += 1;
                // Who makes a new one has thrown its state away. What it was asked to commit before there is a group may
                // have reached it after that: it is taken back piece by piece, as it stops at one that it does not have.
                let held = if self.epoch == 0 { self.proposals.held_by(user) } else { Vec::new() };
                self.detach(now, user);
                for reference in held {
                    self.send(user, Message::revoke([reference]));
                }
                if let Some(member) = self.members.get_mut(&user) {
                    member.package = Some(package);
                }
                self.execute_due(now);
                self.refresh(now);
            }
        }
    }

    /// Whether a key of a user's key package is somebody else's.
    fn is_claimed(&self, user: UserId, package: &KeptPackage) -> bool {
        let mut others = self.members.iter().filter(|(other, _)| **other != user);
        self.roster.has_keys_of(user, package)
            || others.any(|(_, it)| it.package.as_ref().is_some_and(|kept| kept.overlaps(package)))
    }

    /// Takes the payload of op 28.
    pub(crate) fn commit_welcome(&mut self, now: Instant, user: UserId, payload: &[u8]) {
        let Some(member) = self.members.get(&user).filter(|_| self.version > 0) else {
            self.stats.refuse(DaveRefusal::NotEncrypted);
            return;
        };
        let leaf = match member.leaf {
            Some(leaf) => self.roster.signature_key(leaf).map(|key| (leaf, key)),
            // Alone in the group of its own, everybody is at leaf 0.
            None if self.epoch == 0 => member.package.as_ref().map(|package| (0, package.leaf.signature.as_slice())),
            None => None,
        };
        let proposals = self.proposals.of(user);
        let group_id = self.group_id();
        let expected = Expected { group_id: &group_id, epoch: self.epoch, user, leaf, proposals: &proposals };
        match expected.check(payload, self.config.limits.commit_len) {
            Err(reason) => self.refuse(user, reason),
            Ok(_) if self.faults.refuses_commit(user) => {}
            Ok(winner) => self.advance(now, user, &winner),
        }
    }

    /// Takes op 23.
    pub(crate) fn transition_ready(&mut self, now: Instant, user: UserId, transition_id: u16) {
        if !self.transitions.ready(user, transition_id) {
            self.refuse(user, DaveRefusal::ReadyUnknown);
        }
        self.execute_due(now);
    }

    /// Takes op 31.
    pub(crate) fn invalid_commit_welcome(&mut self, now: Instant, user: UserId, transition_id: u16) {
        let member = self.members.get(&user);
        if !member.is_some_and(|member| member.leaf.is_some() && member.seen.contains(&transition_id)) {
            self.refuse(user, DaveRefusal::InvalidUnknown);
            return;
        }
        self.detach(now, user);
        self.execute_due(now);
        self.refresh(now);
    }

    /// Does everything that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.execute_due(now);
        if self.commit_by.is_some_and(|at| at <= now) {
            tracing::debug!(channel = %self.channel, epoch = self.epoch, "no commit in time");
            self.stats.commit_timeouts += 1;
            self.commit_overdue(now);
        }
        if self.add_again_at.is_some_and(|at| at <= now) {
            self.refresh(now);
        }
        if self.propose_at.is_some_and(|at| at <= now) {
            self.propose(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.propose_at, self.add_again_at, self.commit_by, self.transitions.deadline()].into_iter().flatten().min()
    }

    pub(crate) fn poll_output(&mut self) -> Option<DeliveryOutput> {
        self.outputs.pop_front()
    }

    /// Ends the faults that last.
    pub(crate) fn faults_clear(&mut self) {
        self.faults.clear();
    }

    /// The counters since the last call.
    pub(crate) fn take_stats(&mut self) -> DaveStats {
        core::mem::take(&mut self.stats)
    }

    /// Moves on to the epoch that a commit makes.
    fn advance(&mut self, now: Instant, committer: UserId, winner: &Winner<'_>) {
        if self.epoch == 0 {
            self.found(committer);
        }
        let leaf = self.members.get(&committer).and_then(|member| member.leaf);
        if let (Some(leaf), Some(key)) = (leaf, winner.encryption_key) {
            self.roster.set_encryption_key(leaf, key);
        }
        // Removals first, whatever the order (RFC 9420, section 12.3).
        for change in &winner.changes {
            if let Change::Remove(leaf) = change {
                self.roster.remove(*leaf);
            }
        }
        let mut told: BTreeSet<UserId> = self.roster.live().collect();
        let stayed = told.clone();
        let mut added = Vec::new();
        for change in &winner.changes {
            let Change::Add(user, reference) = change else { continue };
            let member = self.members.get_mut(user);
            let Some((member, package)) = member.and_then(|it| it.package.take().map(|package| (it, package))) else {
                continue;
            };
            member.leaf = Some(self.roster.add(*user, package.leaf));
            member.suspect = false;
            member.used = Some(package.reference);
            member.seen.clear();
            told.insert(*user);
            added.push((*user, *reference));
        }
        self.epoch += 1;
        self.proposals.clear();
        (self.propose_at, self.hold_until, self.commit_by) = (None, None, None);
        self.stats.commits += 1;
        let id = self.transitions.open(now + self.config.transition_timeout, told);
        self.announce(id, winner.commit, stayed);
        if let Some(welcome) = &winner.welcome {
            // Not in the order of the hashes in the commit, which no seed reaches.
            added.sort_unstable_by_key(|(user, _)| *user);
            for (user, reference) in added {
                let cut = welcome.cut_for(&reference).unwrap_or_default();
                self.welcome(id, user, cut, winner.commit);
            }
        }
        self.faults.remember_commit(winner.commit);
        let members = self.roster.live().count();
        tracing::debug!(channel = %self.channel, epoch = self.epoch, members, "a commit won");
        let Self { guild, channel, epoch, .. } = *self;
        self.event(Event::EpochBegan { guild, channel, epoch, members });
        self.execute_due(now);
        self.refresh(now);
    }

    /// Makes the group of one's own of a committer the group of all.
    fn found(&mut self, founder: UserId) {
        self.roster = Roster::default();
        let Some(member) = self.members.get_mut(&founder) else { return };
        let Some(package) = member.package.take() else { return };
        member.leaf = Some(self.roster.add(founder, package.leaf));
        member.used = Some(package.reference);
        member.seen.clear();
    }

    fn announce(&mut self, transition_id: u16, commit: &[u8], to: BTreeSet<UserId>) {
        for user in to {
            let id = self.faults.transition_id(user, transition_id);
            if let Some(member) = self.members.get_mut(&user) {
                member.see(id);
            }
            self.send(user, Message::announce_commit(id, commit));
        }
    }

    fn welcome(&mut self, transition_id: u16, user: UserId, welcome: Vec<u8>, commit: &[u8]) {
        let id = self.faults.transition_id(user, transition_id);
        if let Some(member) = self.members.get_mut(&user) {
            member.see(id);
        }
        if self.faults.puts_commit_first(user) {
            self.send(user, Message::announce_commit(id, commit));
        }
        let welcome = self.faults.readdress(user, welcome);
        self.stats.welcomes += 1;
        self.send(user, Message::welcome(id, &welcome));
    }

    /// Executes every transition whose time has come.
    pub(super) fn execute_due(&mut self, now: Instant) {
        while let Some(executed) = self.transitions.due(now) {
            self.execute(executed);
        }
    }

    pub(super) fn execute(&mut self, executed: Executed) {
        self.stats.transitions += 1;
        self.stats.transitions_timed_out += u64::from(executed.late);
        for user in executed.told {
            self.send(user, Message::execute_transition(executed.id));
        }
        self.faults.remember_executed(executed.id);
    }

    pub(super) fn group_id(&self) -> [u8; 8] {
        self.channel.get().to_be_bytes()
    }

    fn refuse(&mut self, user: UserId, reason: DaveRefusal) {
        tracing::debug!(channel = %self.channel, %user, ?reason, "refused");
        self.stats.refuse(reason);
    }

    /// Sends a message, unless a fault does something else with it.
    pub(super) fn send(&mut self, user: UserId, message: Message) {
        for message in self.faults.tamper(user, message) {
            self.outputs.push_back(DeliveryOutput::Send(user, message));
        }
    }

    /// Sends a message whatever faults there are.
    pub(super) fn send_as_it_is(&mut self, user: UserId, message: Message) {
        self.outputs.push_back(DeliveryOutput::Send(user, message));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(DeliveryOutput::Event(event));
    }

    /// Whether the channel runs encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.version == DAVE_VERSION
    }
}

/// Transitions a member may still say it could not follow.
const SEEN_TRANSITIONS: usize = 16;
