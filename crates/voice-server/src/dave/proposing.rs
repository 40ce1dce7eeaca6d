//! What is proposed, to whom and when.

use std::{collections::BTreeSet, time::Instant};

use voice_dave::wire::ProposalBody;
use voice_model::UserId;

use crate::dave::delivery::Delivery;
use crate::dave::messages::Message;
use crate::dave::proposals::{Change, Proposed};

impl Delivery {
    /// Takes back every proposal and makes it anew.
    pub(super) fn propose_again(&mut self, now: Instant) {
        self.revoke_all_but(&BTreeSet::new());
        self.propose(now);
    }

    /// Nobody has committed what was proposed: maybe nobody can. Finds out what it is, and the rest goes on without.
    pub(super) fn commit_overdue(&mut self, now: Instant) {
        self.one_by_one = true;
        if let Some(member) = self.proposals.lone_addition().and_then(|user| self.members.get_mut(&user)) {
            member.suspect = true;
            member.patience.fail(now);
        }
        // Piece by piece: who refused one of them stops at it, and would keep what comes after.
        let (told, count) = self.proposals.keep_only(&BTreeSet::new());
        self.stats.proposals_revoked += count as u64;
        for (user, references) in told {
            for reference in references {
                self.send(user, Message::revoke([reference]));
            }
        }
        (self.hold_until, self.commit_by) = (None, None);
        self.refresh(now);
    }

    /// Takes back what holds no more, and sees to it that what is new is proposed soon.
    pub(super) fn refresh(&mut self, now: Instant) {
        self.add_again_at = None;
        if self.version == 0 {
            return;
        }
        if self.epoch > 0 && self.roster.live().next().is_none() {
            // Nobody can commit: those who are there begin anew, each with a group of its own.
            self.forget_group();
        }
        let waiting = self.members.values().filter(|it| it.package.is_some()).filter_map(|it| it.patience.until());
        self.add_again_at = waiting.filter(|until| *until > now).min();
        let (certain, _) = self.changes(now);
        self.one_by_one &= !certain.is_empty();
        let wanted = self.wanted(now);
        self.revoke_all_but(&wanted);
        let recipients = self.recipients();
        let news = !recipients.is_empty()
            && (wanted.iter().any(|change| !self.proposals.has(change))
                || recipients.iter().any(|user| self.proposals.lacks(*user)));
        if !news {
            self.propose_at = None;
            return;
        }
        // New proposals would make the commits stale that are on their way for the old ones.
        let soon = now + self.config.proposal_delay;
        let at = self.hold_until.map_or(soon, |until| until.max(soon));
        let at = self.propose_at.map_or(at, |before| before.min(at));
        self.propose_at = Some(at);
        if at <= now {
            self.propose(now);
        }
    }

    /// Makes what is wanted and gives it to all who shall commit it.
    pub(super) fn propose(&mut self, now: Instant) {
        self.propose_at = None;
        let recipients = self.recipients();
        if recipients.is_empty() {
            return;
        }
        let group_id = self.group_id();
        let mut size = self.roster.live().count() + self.proposals.len();
        for change in self.wanted(now) {
            if self.proposals.has(&change) {
                continue;
            }
            let adds = matches!(change, Change::Add(..));
            if self.proposals.len() >= self.config.limits.proposals || adds && size >= self.config.limits.members {
                self.stats.postponed += 1;
                continue;
            }
            let body = match &change {
                Change::Remove(leaf) => ProposalBody::Remove(*leaf),
                Change::Add(user, _) => match self.members.get(user).and_then(|it| it.package.as_ref()) {
                    Some(package) => ProposalBody::Add(&package.bytes),
                    None => continue,
                },
            };
            let message = self.signer.propose(&group_id, self.epoch, body);
            self.proposals.push(Proposed::new(change, message));
            self.stats.proposals += 1;
            size += usize::from(adds);
        }
        for user in recipients {
            let missing = self.proposals.hand_out(user);
            if !missing.is_empty() {
                let message = Message::append(missing);
                self.send(user, message);
            }
        }
        if self.proposals.is_out() {
            self.hold_until = Some(now + self.config.proposal_hold);
            self.commit_by.get_or_insert(now + self.config.commit_timeout);
        }
    }

    pub(super) fn revoke_all_but(&mut self, wanted: &BTreeSet<Change>) {
        let (told, count) = self.proposals.keep_only(wanted);
        self.stats.proposals_revoked += count as u64;
        for (user, references) in told {
            self.send(user, Message::revoke(references));
        }
        if !self.proposals.is_out() || wanted.is_empty() {
            (self.hold_until, self.commit_by) = (None, None);
        }
    }

    /// The changes to propose now.
    fn wanted(&self, now: Instant) -> BTreeSet<Change> {
        let (certain, suspect) = self.changes(now);
        // What is out stays out, and who failed less often comes first.
        let first = |changes: &BTreeSet<Change>| {
            let rank = |change: &&Change| {
                let failures = match change {
                    Change::Add(user, _) => self.members.get(user).map_or(0, |it| it.patience.failures()),
                    Change::Remove(_) => 0,
                };
                (!self.proposals.has(change), failures)
            };
            changes.iter().min_by_key(rank).copied().into_iter().collect()
        };
        if certain.is_empty() {
            return first(&suspect);
        }
        if !self.one_by_one {
            return certain;
        }
        let removals: BTreeSet<_> = certain.iter().filter(|it| matches!(it, Change::Remove(_))).copied().collect();
        if removals.is_empty() { first(&certain) } else { removals }
    }

    /// All changes that the group needs now, and apart from them the additions that nobody would commit.
    fn changes(&self, now: Instant) -> (BTreeSet<Change>, BTreeSet<Change>) {
        let able = self.members.iter().filter(|(_, it)| it.patience.until().is_none_or(|until| until <= now));
        let adds = able.filter_map(|(user, it)| {
            let package = it.package.as_ref()?;
            Some((it.suspect, Change::Add(*user, package.reference)))
        });
        let (suspect, adds): (Vec<_>, Vec<_>) = adds.partition(|(suspect, _)| *suspect);
        let certain = self.roster.dead().map(Change::Remove).chain(adds.into_iter().map(|(_, add)| add));
        (certain.collect(), suspect.into_iter().map(|(_, add)| add).collect())
    }

    /// Those who shall commit: the members, or while there is no group all who could found it.
    fn recipients(&self) -> Vec<UserId> {
        if self.epoch > 0 {
            // In an order that does not depend on keys.
            let live: BTreeSet<_> = self.roster.live().collect();
            return live.into_iter().collect();
        }
        let able = self.members.iter().filter(|(_, member)| member.package.is_some()).map(|(user, _)| *user);
        let able: Vec<_> = able.collect();
        if able.len() > 1 { able } else { Vec::new() }
    }
}
