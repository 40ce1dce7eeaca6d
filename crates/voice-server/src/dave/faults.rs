//! What a delivery service does wrong on a bad day, on command.

use std::time::Instant;

use voice_dave::wire::{ProposalBody, ProposalRef, Welcome, WireError};
use voice_model::{Opcode, UserId};

use crate::dave::delivery::Delivery;
use crate::dave::messages::Message;
use crate::dave::sender::Signer;
use crate::random::Random;

/// A fault of the delivery service, for [`FaultKind::Dave`](crate::FaultKind::Dave).
///
/// Those without a `count` happen once, now, to the users who are in a channel. The others last,
/// and wait for a user who is in none; a fault of everybody counts for each channel by itself. A message that is sent as a fault is numbered and kept for
/// a Resume like any other. What only a member can do wrong, such as a welcome for a group with
/// another external sender, takes a member that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DaveFault {
    /// Sends the proposals of the epoch that the user already has once more (op 27).
    RepeatProposals,
    /// Sends a proposal that no member may commit (op 27).
    Propose(ProposalFault),
    /// Takes the oldest proposal back from all who have it, and makes it anew.
    RevokeOne,
    /// Takes all proposals back and makes them anew.
    RevokeAll,
    /// Revokes a proposal that nobody ever made (op 27).
    RevokeUnknown,
    /// Sends the external sender again (op 25).
    RepeatExternalSender,
    /// Sends an external sender that is not the one who proposes (op 25).
    ForeignExternalSender,
    /// Executes a transition that was never announced (op 22).
    ExecuteUnknown,
    /// Executes the newest executed transition again (op 22).
    ExecuteAgain,
    /// Announces a transition out of nowhere (op 21), at once if its number is 0.
    PrepareTransition {
        /// Its number.
        transition_id: u16,
        /// The version it leads to.
        protocol_version: u16,
    },
    /// Announces an epoch out of nowhere (op 24); 1 is a new group, whatever is going on.
    PrepareEpoch {
        /// The epoch.
        epoch: u64,
        /// Its version.
        protocol_version: u16,
    },
    /// Sends the newest commit again (op 29), under its own number or another one.
    ReplayCommit {
        /// The number of the transition.
        transition_id: u16,
    },
    /// Sends the newest welcome again (op 30), whoever it was for.
    ReplayWelcome {
        /// The number of the transition.
        transition_id: u16,
    },
    /// Passes over valid commits of the user.
    RefuseCommits {
        /// How many of them.
        count: u32,
    },
    /// Says transition 0 in op 29 and op 30 instead of the real one.
    TransitionZero {
        /// In how many of them.
        count: u32,
    },
    /// Sends a welcome only after the commit that it belongs to (op 29, then op 30).
    CommitBeforeWelcome {
        /// How often.
        count: u32,
    },
    /// Sends a welcome that names another key package than the user's.
    MisaddressWelcome {
        /// How often.
        count: u32,
    },
    /// Does something to messages of an opcode.
    Tamper {
        /// Which messages.
        opcode: Opcode,
        /// What happens to them.
        how: Tamper,
        /// To how many of them.
        count: u32,
    },
}

/// What is wrong with a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposalFault {
    /// It is for the epoch after this one.
    WrongEpoch,
    /// It is for another group.
    OtherGroup,
    /// It is signed by somebody else.
    ForeignSigner,
    /// It names an external sender that the group does not have.
    SenderIndex(u32),
    /// It adds a user who is not in the channel, with a good key package.
    Stranger,
    /// It adds the user itself, whose key package has not been used yet.
    OwnAdd,
    /// It removes the user itself.
    OwnRemoval,
    /// It removes nobody.
    BlankLeaf,
    /// It is an update, which an external sender cannot propose.
    Update,
    /// It changes the extensions of the group.
    GroupContextExtensions,
    /// It ends in the middle, in a list that is complete.
    Truncated,
    /// Its list claims to be of almost 2^30 bytes.
    HugeLength,
}

/// What happens to a message before it is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tamper {
    /// It is never said.
    Withhold,
    /// It is said twice.
    Duplicate,
    /// Its last bytes are missing. Binary messages only.
    Truncate {
        /// How many.
        len: usize,
    },
    /// One bit of its last byte is another. Binary messages only.
    Flip,
}

/// The faults of a channel that last, and what faults repeat.
#[derive(Debug, Default)]
pub(crate) struct DaveFaults {
    rules: Vec<(Option<UserId>, DaveFault, u32)>,
    commit: Vec<u8>,
    welcome: Vec<u8>,
    executed: u16,
}

impl DaveFault {
    /// How often it happens, if it lasts.
    pub(crate) fn count(&self) -> Option<u32> {
        match *self {
            Self::RefuseCommits { count }
            | Self::TransitionZero { count }
            | Self::CommitBeforeWelcome { count }
            | Self::MisaddressWelcome { count }
            | Self::Tamper { count, .. } => Some(count),
            _ => None,
        }
    }
}

impl DaveFaults {
    pub(crate) fn add(&mut self, user: Option<UserId>, fault: DaveFault, count: u32) {
        if count > 0 && self.rules.len() < MAX_RULES {
            self.rules.push((user, fault, count));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn remember_commit(&mut self, commit: &[u8]) {
        self.commit = commit.to_vec();
    }

    pub(crate) fn remember_executed(&mut self, transition_id: u16) {
        self.executed = transition_id;
    }

    pub(crate) fn refuses_commit(&mut self, user: UserId) -> bool {
        self.take(user, |fault| matches!(fault, DaveFault::RefuseCommits { .. }).then_some(())).is_some()
    }

    pub(crate) fn puts_commit_first(&mut self, user: UserId) -> bool {
        self.take(user, |fault| matches!(fault, DaveFault::CommitBeforeWelcome { .. }).then_some(())).is_some()
    }

    /// The number to say for a transition.
    pub(crate) fn transition_id(&mut self, user: UserId, transition_id: u16) -> u16 {
        let zero = self.take(user, |fault| matches!(fault, DaveFault::TransitionZero { .. }).then_some(()));
        if zero.is_some() { 0 } else { transition_id }
    }

    /// The welcome to send for one that was cut.
    pub(crate) fn readdress(&mut self, user: UserId, mut welcome: Vec<u8>) -> Vec<u8> {
        let wrong = self.take(user, |fault| matches!(fault, DaveFault::MisaddressWelcome { .. }).then_some(()));
        if wrong.is_some()
            && let Some(reference) = addressee(&welcome).ok().flatten()
            && let Some(place) = welcome.windows(reference.len()).position(|bytes| bytes == reference)
            && let Some(byte) = welcome.get_mut(place)
        {
            *byte ^= 1;
        }
        self.welcome.clone_from(&welcome);
        welcome
    }

    /// What to send in place of a message.
    pub(crate) fn tamper(&mut self, user: UserId, mut message: Message) -> Vec<Message> {
        let opcode = message.opcode();
        let how = self.take(user, |fault| match fault {
            DaveFault::Tamper { opcode: on, how, .. } if *on == opcode => Some(*how),
            _ => None,
        });
        match (how, &mut message) {
            (Some(Tamper::Withhold), _) => return Vec::new(),
            (Some(Tamper::Duplicate), _) => return vec![message.clone(), message],
            (Some(Tamper::Truncate { len }), Message::Binary(_, payload)) => {
                payload.truncate(payload.len().saturating_sub(len));
            }
            (Some(Tamper::Flip), Message::Binary(_, payload)) => {
                if let Some(last) = payload.last_mut() {
                    *last ^= 1;
                }
            }
            _ => {}
        }
        vec![message]
    }

    /// Uses up one application of the first rule that matches.
    fn take<T>(&mut self, user: UserId, matches: impl Fn(&DaveFault) -> Option<T>) -> Option<T> {
        let hits = |(whom, fault, _): &(Option<UserId>, DaveFault, u32)| {
            if whom.is_none_or(|whom| whom == user) { matches(fault) } else { None }
        };
        let (index, found) = self.rules.iter().enumerate().find_map(|(index, rule)| Some((index, hits(rule)?)))?;
        let (_, _, count) = self.rules.get_mut(index)?;
        *count -= 1;
        if *count == 0 {
            self.rules.remove(index);
        }
        Some(found)
    }
}

/// The key package that a cut welcome is for.
fn addressee(welcome: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
    let mut secrets = Welcome::parse(welcome)?.secrets;
    Ok(secrets.next().map(|secret| secret.key_package_ref.to_vec()))
}

impl Delivery {
    /// Makes a fault happen, or last; for one user or for all in the channel.
    pub(crate) fn inject(&mut self, now: Instant, user: Option<UserId>, fault: DaveFault) {
        if let Some(count) = fault.count() {
            self.faults.add(user, fault, count);
            return;
        }
        match fault {
            DaveFault::RevokeOne => {
                let keep = self.proposals.made().iter().skip(1).map(|it| it.change).collect();
                self.revoke_all_but(&keep);
                self.refresh(now);
            }
            DaveFault::RevokeAll => self.propose_again(now),
            fault => {
                let described: Vec<_> = self.described_members().collect();
                for member in described.into_iter().filter(|member| user.is_none_or(|user| user == *member)) {
                    if let Some(message) = self.wrong_message(member, fault) {
                        self.send_as_it_is(member, message);
                    }
                }
            }
        }
    }

    fn wrong_message(&mut self, user: UserId, fault: DaveFault) -> Option<Message> {
        Some(match fault {
            DaveFault::RepeatProposals => {
                let held = self.proposals.of(user);
                if held.is_empty() {
                    return None;
                }
                Message::append(held.into_iter().map(|it| it.message.as_slice()))
            }
            DaveFault::Propose(wrong) => self.wrong_proposal(user, wrong)?,
            DaveFault::RevokeUnknown => Message::revoke([ProposalRef([0xEE; 32])]),
            DaveFault::RepeatExternalSender => Message::external_sender(self.signer.package()),
            DaveFault::ForeignExternalSender => Message::external_sender(foreign().package()),
            DaveFault::ExecuteUnknown => Message::execute_transition(self.transitions.last_id().wrapping_add(0x4000)),
            DaveFault::ExecuteAgain => Message::execute_transition(self.faults.executed),
            DaveFault::PrepareTransition { transition_id, protocol_version } => {
                Message::prepare_transition(transition_id, protocol_version)
            }
            DaveFault::PrepareEpoch { epoch, protocol_version } => Message::prepare_epoch(epoch, protocol_version),
            DaveFault::ReplayCommit { transition_id } if !self.faults.commit.is_empty() => {
                self.see(user, transition_id);
                Message::announce_commit(transition_id, &self.faults.commit)
            }
            DaveFault::ReplayWelcome { transition_id } if !self.faults.welcome.is_empty() => {
                self.see(user, transition_id);
                Message::welcome(transition_id, &self.faults.welcome)
            }
            _ => return None,
        })
    }

    /// Who cannot follow what a fault sent may say so, as about anything else it was sent.
    fn see(&mut self, user: UserId, transition_id: u16) {
        if let Some(member) = self.members.get_mut(&user) {
            member.see(transition_id);
        }
    }

    fn wrong_proposal(&self, user: UserId, wrong: ProposalFault) -> Option<Message> {
        let group_id = self.group_id();
        let remove = ProposalBody::Remove(self.roster.blank());
        let other = |kind, body| ProposalBody::Other { kind, body };
        let message = match wrong {
            ProposalFault::WrongEpoch => self.signer.propose(&group_id, self.epoch + 1, remove),
            ProposalFault::OtherGroup => self.signer.propose(&group_id.map(|byte| !byte), self.epoch, remove),
            ProposalFault::ForeignSigner => foreign().propose(&group_id, self.epoch, remove),
            ProposalFault::SenderIndex(index) => self.signer.propose_as(index, &group_id, self.epoch, remove),
            ProposalFault::BlankLeaf => self.signer.propose(&group_id, self.epoch, remove),
            ProposalFault::Stranger => {
                let package = stranger();
                self.signer.propose(&group_id, self.epoch, ProposalBody::Add(&package))
            }
            ProposalFault::OwnAdd => {
                let package = self.members.get(&user)?.package.as_ref()?;
                self.signer.propose(&group_id, self.epoch, ProposalBody::Add(&package.bytes))
            }
            ProposalFault::OwnRemoval => {
                let leaf = self.members.get(&user)?.leaf.unwrap_or(0);
                self.signer.propose(&group_id, self.epoch, ProposalBody::Remove(leaf))
            }
            ProposalFault::Update => self.signer.propose(&group_id, self.epoch, other(UPDATE, &EMPTY_UPDATE)),
            ProposalFault::GroupContextExtensions => {
                self.signer.propose(&group_id, self.epoch, other(GROUP_CONTEXT_EXTENSIONS, &[0]))
            }
            ProposalFault::Truncated => {
                let mut message = self.signer.propose(&group_id, self.epoch, remove);
                message.truncate(message.len() / 2);
                message
            }
            ProposalFault::HugeLength => {
                return Some(Message::Binary(Opcode::MlsProposals, vec![0, 0xBF, 0xFF, 0xFF, 0xFF, 0, 1, 0, 1]));
            }
        };
        Some(Message::append([message.as_slice()]))
    }
}

/// Somebody else's key.
fn foreign() -> Signer {
    Signer::new(&mut Random::new([0xF0; 32]))
}

/// A good key package of a user whom nobody knows.
fn stranger() -> Vec<u8> {
    foreign().key_package(STRANGER)
}

/// Nobody's id: snowflakes are far above it, and tests count from 1.
const STRANGER: UserId = UserId::new(0x5712_A463);

/// The type of a proposal that replaces a leaf (RFC 9420, section 17.4).
const UPDATE: u16 = 2;

/// The type of a proposal that changes the group's extensions (RFC 9420, section 17.4).
const GROUP_CONTEXT_EXTENSIONS: u16 = 7;

/// A leaf of nobody, that says it is from an update: empty keys, a basic credential of nobody,
/// no capabilities, no extensions, no signature.
const EMPTY_UPDATE: [u8; 13] = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0];

/// Rules that last at a time; more are not taken.
const MAX_RULES: usize = 1_024;
