//! Who comes and goes, and what that does to the version and the group of a channel.

use std::collections::BTreeSet;
use std::time::Instant;

use voice_model::UserId;

use crate::Event;
use crate::dave::delivery::{Delivery, Member};
use crate::dave::messages::Message;
use crate::dave::roster::Roster;
use crate::dave::{DAVE_VERSION, DaveMode};

impl Delivery {
    /// A user is in the channel now; its client offers versions up to this one.
    pub(crate) fn join(&mut self, now: Instant, user: UserId, max_version: u16) {
        self.members.insert(user, Member { max_version, ..Member::default() });
        self.choose_version(now);
        if self.config.early_external_sender && self.is_encrypted() {
            self.introduce(user);
        }
    }

    /// The version for op 4.
    pub(crate) fn version(&self) -> u16 {
        self.version
    }

    /// Op 4 has just gone out to a user.
    pub(crate) fn described(&mut self, now: Instant, user: UserId) {
        let Some(member) = self.members.get_mut(&user) else { return };
        if core::mem::replace(&mut member.described, true) {
            // A second one begins everything anew.
            self.detach(now, user);
            self.execute_due(now);
        }
        if self.is_encrypted() {
            self.introduce(user);
        }
        self.refresh(now);
    }

    /// A user is not in the channel any more.
    pub(crate) fn leave(&mut self, now: Instant, user: UserId) {
        self.release(user);
        self.members.remove(&user);
        self.execute_due(now);
        if self.members.is_empty() || self.choose_version(now) {
            return;
        }
        // Who stays alone has nobody to share keys with.
        let alone = self.members.len() == 1 && self.roster.live().next().is_some();
        if self.is_encrypted() && alone {
            self.begin_group();
        }
        self.refresh(now);
    }

    /// Notes that a user does not follow the group any more: its leaf is to be removed, and it
    /// may be added again.
    pub(super) fn detach(&mut self, now: Instant, user: UserId) {
        self.release(user);
        if let Some(member) = self.members.get_mut(&user) {
            if member.leaf.is_some() {
                self.stats.recoveries += 1;
                member.patience.fail(now);
            }
            member.leaf = None;
            member.package = None;
            member.seen.clear();
        }
    }

    /// Lets go of everything that waits for a user.
    fn release(&mut self, user: UserId) {
        self.transitions.forget(user);
        self.proposals.forget(user);
        if let Some(leaf) = self.members.get(&user).and_then(|member| member.leaf) {
            self.roster.kill(leaf);
        }
    }

    /// Changes the version if those who are there ask for another one; false when they do not.
    fn choose_version(&mut self, now: Instant) -> bool {
        let offered = self.members.values().all(|member| member.max_version >= DAVE_VERSION);
        let version = if offered && self.config.mode != DaveMode::Off { DAVE_VERSION } else { 0 };
        if version == self.version {
            return false;
        }
        self.version = version;
        let told: BTreeSet<_> = self.described_members().collect();
        if told.is_empty() {
            return true;
        }
        if version == 0 {
            self.stats.downgrades += 1;
            self.forget_group();
            let id = self.transitions.open(now + self.config.transition_timeout, told.clone());
            for user in told {
                if let Some(member) = self.members.get_mut(&user) {
                    member.package = None;
                }
                self.send(user, Message::prepare_transition(id, version));
            }
        } else {
            self.stats.upgrades += 1;
            self.begin_group();
        }
        let Self { guild, channel, .. } = *self;
        self.event(Event::DaveVersion { guild, channel, version });
        true
    }

    /// Lets everybody throw the group away and begin with one of its own.
    fn begin_group(&mut self) {
        // A transition that executes later would take the new state for the old.
        while let Some(executed) = self.transitions.hurry() {
            self.execute(executed);
        }
        self.forget_group();
        let alone = self.members.len() == 1;
        for user in self.described_members().collect::<Vec<_>>() {
            self.introduce(user);
            if let Some(member) = self.members.get_mut(&user) {
                member.package = None;
            }
            self.send(user, Message::prepare_epoch(NEW_GROUP, self.version));
            if alone {
                self.send(user, Message::prepare_transition(0, self.version));
            }
        }
    }

    /// Nobody is a member any more. Key packages stay.
    pub(super) fn forget_group(&mut self) {
        self.epoch = 0;
        self.roster = Roster::default();
        self.proposals.clear();
        (self.propose_at, self.hold_until, self.commit_by) = (None, None, None);
        self.one_by_one = false;
        for member in self.members.values_mut() {
            member.leaf = None;
            member.seen.clear();
        }
    }

    /// Sends op 25, once.
    fn introduce(&mut self, user: UserId) {
        let Some(member) = self.members.get_mut(&user) else { return };
        if !core::mem::replace(&mut member.knows_sender, true) {
            let package = self.signer.package();
            self.send(user, Message::external_sender(package));
        }
    }

    pub(super) fn described_members(&self) -> impl Iterator<Item = UserId> {
        self.members.iter().filter(|(_, member)| member.described).map(|(user, _)| *user)
    }
}

/// The epoch of op 24 that means a new group: DAVE protocol, "Prepare Epoch".
const NEW_GROUP: u64 = 1;
