//! What a member of an end-to-end encrypted call answers to the voice gateway, and which keys that gives.

mod message;
mod stats;
mod status;
mod users;
mod verification;

use std::{collections::VecDeque, fmt};

use voice_model::{
    ChannelId, ClientBinary, ClientMessage, DavePrepareEpoch, DavePrepareTransition, DaveTransitionReady,
    MlsInvalidCommitWelcome, ProposalsOperation, ServerBinary, UserId,
};

pub use self::{
    message::{DaveConfig, DaveEvent, DaveMessage, DaveOutput, OutgoingMessage},
    stats::DaveStats,
    status::{CallState, DaveStatus},
    verification::Verification,
};
use self::{
    users::{Connect, Users},
    verification::KnownKeys,
};
use crate::{
    ReceiveMode, Refusal, SendMode,
    code::voice_privacy_code,
    group::{Batch, CommitOutcome, Membership, checked_sender},
    transition::{Transition, Transitions},
};

/// The highest version of DAVE that is spoken here, for `max_dave_protocol_version` of opcode 0.
pub const MAX_PROTOCOL_VERSION: u16 = 1;

/// The end-to-end encryption of one voice connection: group, epochs and transitions (DAVE protocol).
///
/// A state machine without sockets, clocks and threads. Messages of the voice gateway go in, in the order of their
/// arrival; what comes out is to be carried out in its order: messages to send, and modes to install in the two
/// media halves as values. Nothing here is shared with a media half. The work of one message takes up to some tens of
/// milliseconds in a large call and belongs on no thread that has to be on time.
///
/// One session belongs to one voice gateway session, resumes included; with a new identify it is
/// [restarted](Self::restart).
///
/// Two members and what a voice gateway says to them, to the moment when one hears the other:
///
/// ```
/// use voice_dave::wire::{ExternalProposal, ExternalSender, ProposalBody, write_append};
/// use voice_dave::{DaveConfig, DaveMessage, DaveOutput, DaveSession, OutgoingMessage, SendMode, SigningKey};
/// use voice_model::{ChannelId, ClientBinary, ProposalsOperation, ServerBinary, UserId};
///
/// /// Binary messages to the gateway, and the last mode of the sending half.
/// fn outputs(session: &mut DaveSession) -> (Vec<Vec<u8>>, Option<SendMode>) {
///     let (mut binary, mut send) = (Vec::new(), None);
///     while let Some(output) = session.poll_output() {
///         match output {
///             DaveOutput::Message(OutgoingMessage::Binary(bytes)) => binary.push(bytes),
///             DaveOutput::Send(mode) => send = Some(mode),
///             // Others are to be sent, or to be installed in the receiving half.
///             _ => {}
///         }
///     }
///     (binary, send)
/// }
///
/// // The gateway's key (opcode 25), and two users who connect (opcodes 4 and 11).
/// let gateway = SigningKey::generate();
/// let mut sender = Vec::new();
/// let key = gateway.public_key();
/// ExternalSender { signature_key: &key, credential_type: 1, identity: b"gateway" }.write(&mut sender);
/// let channel = ChannelId::new(9);
/// let users = [UserId::new(1), UserId::new(2)];
/// let [mut one, mut two] = users.map(|user| {
///     let mut session = DaveSession::new(DaveConfig { user, channel, signing_key: SigningKey::generate() });
///     session.handle_message(DaveMessage::Binary(ServerBinary::ExternalSender(&sender)));
///     session.handle_message(DaveMessage::SessionDescription { version: 1 });
///     session.handle_message(DaveMessage::ClientsConnect(&users));
///     session
/// });
/// // Nothing may leave yet; each sends a key package (opcode 26).
/// assert!(matches!(outputs(&mut one).1, Some(SendMode::Hold)));
/// let (sent, _) = outputs(&mut two);
/// let ClientBinary::KeyPackage(package) = ClientBinary::decode(&sent[0])? else { panic!() };
///
/// // The gateway proposes to the first to add the second (opcode 27), and gets a commit and a welcome (opcode 28).
/// let group_id = channel.get().to_be_bytes();
/// let body = ProposalBody::Add(package);
/// let add = ExternalProposal { group_id: &group_id, epoch: 0, sender_index: 0, body }.sign(&gateway);
/// let proposals = write_append([add.as_slice()]);
/// let operation = ProposalsOperation::Append;
/// one.handle_message(DaveMessage::Binary(ServerBinary::Proposals { operation, proposals: &proposals }));
/// let (sent, _) = outputs(&mut one);
/// let ClientBinary::CommitWelcome(payload) = ClientBinary::decode(&sent[0])? else { panic!() };
/// let commit_len = voice_dave::wire::CommitWelcome::parse(payload)?.commit.raw().len();
/// let (commit, welcome) = payload.split_at(commit_len);
///
/// // It announces both (opcodes 29 and 30); transition 0 takes place at once.
/// one.handle_message(DaveMessage::Binary(ServerBinary::AnnounceCommitTransition { transition_id: 0, commit }));
/// two.handle_message(DaveMessage::Binary(ServerBinary::Welcome { transition_id: 0, welcome }));
/// assert!(matches!(outputs(&mut one).1, Some(SendMode::Encrypt(_))));
/// assert!(matches!(outputs(&mut two).1, Some(SendMode::Encrypt(_))));
/// assert_eq!(one.status().privacy_code, two.status().privacy_code);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DaveSession {
    config: DaveConfig,
    /// The version that the gateway wants; 0 is none.
    version: u16,
    /// The version that frames leave with, once one was executed.
    active: Option<u16>,
    /// Whether frames leave encrypted.
    encrypting: bool,
    /// Whether plain frames of users who come now are accepted.
    plaintext: bool,
    users: Users,
    /// The keys of those who are or were members.
    keys: KnownKeys,
    sender: Option<Vec<u8>>,
    membership: Option<Membership>,
    transitions: Transitions,
    answered: VecDeque<u16>,
    /// The last transition that could not be followed, until this member is in a group again.
    lost: Option<u16>,
    outputs: VecDeque<DaveOutput>,
    stats: DaveStats,
}

impl DaveSession {
    /// Makes the session of a connection that has not heard from the voice gateway yet.
    #[must_use]
    pub fn new(config: DaveConfig) -> Self {
        let users = Users::new(config.user);
        Self {
            config,
            version: 0,
            active: None,
            encrypting: false,
            plaintext: false,
            users,
            keys: KnownKeys::default(),
            sender: None,
            membership: None,
            transitions: Transitions::default(),
            answered: VecDeque::new(),
            lost: None,
            outputs: VecDeque::new(),
            stats: DaveStats::default(),
        }
    }

    /// Begins anew with a new voice gateway session of the same user, perhaps in another channel. Only the keys by which
    /// the others are known are kept.
    pub fn restart(&mut self, channel: ChannelId) {
        let config = DaveConfig { channel, ..self.config.clone() };
        let keys = std::mem::take(&mut self.keys);
        *self = Self { keys, ..Self::new(config) };
    }

    /// Begins in a call that goes on and whose group is known only to another process, which was the same user. Once the
    /// session is [resumed](DaveMessage::Resumed) it says that it is lost, and the voice gateway adds this user again, by a
    /// new key.
    pub fn take_over(&mut self, call: &CallState) {
        for user in &call.users {
            let _ = self.users.connect(*user);
        }
        if let Some(sender) = &call.external_sender {
            self.handle_external_sender(sender);
        }
        if self.describe(call.version) {
            self.stats.count(Refusal::TakenOver);
            self.stats.recoveries += 1;
            self.lost = Some(0);
            self.outputs.push_back(DaveOutput::Event(DaveEvent::Recovering { reason: Refusal::TakenOver }));
        }
    }

    /// What another process needs to [take over](Self::take_over).
    #[must_use]
    pub fn call_state(&self) -> CallState {
        CallState {
            version: self.active.unwrap_or(self.version),
            external_sender: self.sender.clone(),
            users: self.users.others().collect(),
        }
    }

    /// Takes the next message of the voice gateway.
    ///
    /// Nothing that is wrong with it is an error of the caller: it is [counted](Self::stats), and answered if the
    /// protocol says so.
    pub fn handle_message(&mut self, message: DaveMessage<'_>) {
        match message {
            DaveMessage::SessionDescription { version } => self.handle_session_description(version),
            DaveMessage::Resumed => self.handle_resumed(),
            DaveMessage::ClientsConnect(users) => self.handle_clients_connect(users),
            DaveMessage::ClientDisconnect(user) => self.handle_client_disconnect(user),
            DaveMessage::PrepareTransition(DavePrepareTransition { protocol_version, transition_id }) => {
                if protocol_version > MAX_PROTOCOL_VERSION {
                    self.stats.count(Refusal::UnsupportedVersion);
                } else {
                    self.prepare(transition_id, protocol_version);
                }
            }
            DaveMessage::ExecuteTransition(message) => match self.transitions.execute(message.transition_id) {
                Some(transition) => self.execute(transition),
                None => self.stats.count(Refusal::UnknownTransition),
            },
            DaveMessage::PrepareEpoch(message) => self.handle_prepare_epoch(message),
            DaveMessage::Binary(message) => self.handle_binary(message),
        }
    }

    /// The next thing to carry out, until there is none.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<DaveOutput> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // What a join fills is hardly needed again, and there may be thousands of sessions.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// What was done and what was refused so far.
    #[must_use]
    pub const fn stats(&self) -> &DaveStats {
        &self.stats
    }

    /// How far the encryption is.
    #[must_use]
    pub fn status(&self) -> DaveStatus {
        let membership = self.membership.as_ref();
        DaveStatus {
            version: self.version,
            active_version: self.active,
            is_encrypting: self.encrypting,
            peers: self.users.count(),
            epoch: membership.and_then(Membership::epoch),
            privacy_code: membership.and_then(Membership::epoch_authenticator).map(|bytes| voice_privacy_code(&bytes)),
            members: membership.map(user_ids).unwrap_or_default(),
            pending_transitions: self.transitions.len(),
        }
    }

    /// The public keys of this user and of another member, to be compared by the two of them.
    ///
    /// `None` if the user is not another member of the group.
    #[must_use]
    pub fn verification(&self, user: UserId) -> Option<Verification> {
        let members = self.membership.as_ref()?.members();
        let peer = members.into_iter().find(|member| member.user == user && user != self.config.user)?;
        let own = self.config.signing_key.public_key().to_vec();
        Some(Verification::new((self.config.user, own), (peer.user, peer.signature_key)))
    }

    fn handle_session_description(&mut self, version: u16) {
        if self.describe(version) {
            self.start();
        }
    }

    /// Takes the version of the call. Whether there is a group to join.
    fn describe(&mut self, version: u16) -> bool {
        self.lost = None;
        self.transitions.clear();
        self.version = version;
        if version == 0 {
            self.receive_passthrough();
            self.execute(Transition { id: 0, version, secret: None });
            return false;
        }
        self.active = None;
        self.send(SendMode::Hold);
        self.hold_newcomers();
        for user in self.users.others() {
            self.outputs.push_back(DaveOutput::Receive { user, mode: ReceiveMode::Hold });
        }
        if version > MAX_PROTOCOL_VERSION {
            self.membership = None;
            self.stats.count(Refusal::UnsupportedVersion);
            return false;
        }
        true
    }

    /// Says again what the gateway may not have heard, and without which it would wait for this member.
    fn handle_resumed(&mut self) {
        if let Some(transition_id) = self.lost {
            let message = ClientMessage::MlsInvalidCommitWelcome(MlsInvalidCommitWelcome { transition_id });
            self.outputs.push_back(DaveOutput::Message(OutgoingMessage::Text(message)));
            // The number may stand for another transition by now, one that adds this member again: whatever the gateway
            // makes of the answer, a new key package says where this member is.
            self.start();
        } else if let Some(membership) = &self.membership {
            let package = membership.open_key_package().map(|package| ClientBinary::KeyPackage(package).encode());
            let commit = membership.own_commit().map(|commit| ClientBinary::CommitWelcome(&commit).encode());
            let binary = package.into_iter().chain(commit).map(OutgoingMessage::Binary);
            self.outputs.extend(binary.map(DaveOutput::Message));
        }
        if self.membership.is_none() {
            return;
        }
        for transition_id in self.transitions.ids() {
            let message = ClientMessage::DaveTransitionReady(DaveTransitionReady { transition_id });
            self.outputs.push_back(DaveOutput::Message(OutgoingMessage::Text(message)));
        }
    }

    fn handle_clients_connect(&mut self, users: &[UserId]) {
        for &user in users {
            match self.users.connect(user) {
                Connect::Known => {}
                Connect::Full => self.stats.count(Refusal::TooManyUsers),
                Connect::New if self.plaintext => {
                    self.outputs.push_back(DaveOutput::Receive { user, mode: ReceiveMode::Passthrough });
                }
                Connect::New => self.receive_member(user),
            }
        }
    }

    /// Gives back the keys of a member whose keys were forgotten when the gateway said that they left.
    fn receive_member(&mut self, user: UserId) {
        let Some(membership) = &self.membership else { return };
        if !user_ids(membership).contains(&user) {
            return;
        }
        if let Some(secret) = membership.base_secret(user) {
            self.outputs.push_back(DaveOutput::Receive { user, mode: ReceiveMode::Decrypt(secret) });
        }
    }

    fn handle_client_disconnect(&mut self, user: UserId) {
        if user != self.config.user && self.users.disconnect(user) {
            self.outputs.push_back(DaveOutput::Forget(user));
        }
    }

    fn handle_prepare_epoch(&mut self, message: DavePrepareEpoch) {
        let DavePrepareEpoch { protocol_version: version, epoch, .. } = message;
        if version == 0 || version > MAX_PROTOCOL_VERSION {
            self.stats.count(Refusal::UnsupportedVersion);
            return;
        }
        self.version = version;
        if epoch == 1 {
            self.lost = None;
            // The media halves keep their keys until the next transition.
            self.start();
        }
    }

    fn handle_binary(&mut self, message: ServerBinary<'_>) {
        match message {
            ServerBinary::ExternalSender(bytes) => self.handle_external_sender(bytes),
            ServerBinary::Proposals { operation, proposals } => self.handle_proposals(operation, proposals),
            ServerBinary::AnnounceCommitTransition { transition_id, commit } => {
                self.handle_commit(transition_id, commit);
            }
            ServerBinary::Welcome { transition_id, welcome } => self.handle_welcome(transition_id, welcome),
            // Other opcodes say nothing about encryption.
            _ => {}
        }
    }

    fn handle_external_sender(&mut self, bytes: &[u8]) {
        let taken = match &mut self.membership {
            Some(membership) => membership.set_sender(bytes),
            None => checked_sender(bytes).map(drop),
        };
        match taken {
            Ok(()) => self.sender = Some(bytes.to_vec()),
            Err(refusal) => self.stats.count(refusal),
        }
    }

    fn handle_proposals(&mut self, operation: ProposalsOperation, proposals: &[u8]) {
        let Some(membership) = &mut self.membership else {
            self.stats.count(Refusal::NoGroup);
            return;
        };
        let Batch { commit, refusal, duplicates } = match operation {
            ProposalsOperation::Append => membership.append(proposals, &self.users),
            ProposalsOperation::Revoke => membership.revoke(proposals),
            _ => Batch { refusal: Some(Refusal::UnknownOperation), ..Batch::default() },
        };
        self.stats.count_many(Refusal::Duplicate, duplicates);
        if let Some(refusal) = refusal {
            self.stats.count(refusal);
        }
        if let Some(commit) = commit {
            self.stats.commits_sent += 1;
            self.send_binary(ClientBinary::CommitWelcome(&commit));
        }
    }

    fn handle_commit(&mut self, transition_id: u16, commit: &[u8]) {
        let outcome = match &mut self.membership {
            Some(membership) => membership.commit(commit),
            None => CommitOutcome::Ignored(Refusal::EarlyCommit),
        };
        match outcome {
            CommitOutcome::Applied => {
                self.stats.commits_applied += 1;
                self.enter_epoch(transition_id);
            }
            CommitOutcome::Removed => {
                // The others go on with keys that are not known here; nobody would understand a frame.
                self.transitions.clear();
                self.send(SendMode::Hold);
                self.outputs.push_back(DaveOutput::Event(DaveEvent::Removed));
                self.start();
            }
            CommitOutcome::Ignored(refusal) => self.stats.count(refusal),
            CommitOutcome::Refused(refusal) => self.recover(transition_id, refusal),
        }
    }

    fn handle_welcome(&mut self, transition_id: u16, welcome: &[u8]) {
        let Some(membership) = &mut self.membership else {
            self.stats.count(Refusal::NoKeyPackage);
            return;
        };
        match membership.welcome(welcome, &self.users) {
            Ok(()) => {
                self.stats.welcomes_applied += 1;
                self.enter_epoch(transition_id);
            }
            Err(refusal) => self.recover(transition_id, refusal),
        }
    }

    /// Begins anew: a group of this user alone and a key package for the voice gateway.
    fn start(&mut self) {
        let DaveConfig { user, channel, ref signing_key } = self.config;
        let mut membership = Membership::new(user, channel, signing_key, self.sender.as_deref());
        match membership.key_package() {
            Ok(package) => {
                self.stats.key_packages_sent += 1;
                let message = ClientBinary::KeyPackage(package).encode();
                self.outputs.push_back(DaveOutput::Message(OutgoingMessage::Binary(message)));
            }
            Err(refusal) => self.stats.count(refusal),
        }
        self.membership = Some(membership);
    }

    /// Tells the gateway that a commit or a welcome could not be processed, and begins anew.
    fn recover(&mut self, transition_id: u16, reason: Refusal) {
        self.stats.count(reason);
        // Number 0 stands for every transition without one.
        let answered = transition_id != 0 && self.answered.contains(&transition_id);
        if !answered {
            self.answered.push_back(transition_id);
            if self.answered.len() > MAX_ANSWERED {
                self.answered.pop_front();
            }
            let message = ClientMessage::MlsInvalidCommitWelcome(MlsInvalidCommitWelcome { transition_id });
            self.outputs.push_back(DaveOutput::Message(OutgoingMessage::Text(message)));
        }
        self.lost = Some(transition_id);
        self.stats.recoveries += 1;
        self.outputs.push_back(DaveOutput::Event(DaveEvent::Recovering { reason }));
        // Also when the answer of the first time still holds, because numbers come back: the gateway may have added
        // this member meanwhile, and would not know that it is not in the group.
        self.start();
    }

    fn enter_epoch(&mut self, transition_id: u16) {
        self.answered.retain(|id| *id != transition_id);
        self.lost = None;
        if let Some(membership) = &self.membership {
            let mut peers = membership.members();
            peers.retain(|member| member.user != self.config.user);
            let (new, changed) = self.keys.update(&peers);
            let is_other = !new.is_empty() || !changed.is_empty();
            let verification = is_other.then_some(DaveEvent::VerificationChanged { new, changed });
            self.outputs.extend(epoch_changed(membership).into_iter().chain(verification).map(DaveOutput::Event));
        }
        self.prepare(transition_id, self.version);
    }

    /// Makes the receiving side ready, and then says so.
    fn prepare(&mut self, id: u16, version: u16) {
        let mut secret = None;
        if version == 0 {
            self.receive_passthrough();
        } else {
            self.hold_newcomers();
        }
        if let Some(membership) = self.membership.as_ref().filter(|_| version > 0) {
            let members = user_ids(membership);
            // Who is in the call and not in the group has no key that the others would take for theirs.
            for user in self.users.others().filter(|user| !members.contains(user)) {
                self.outputs.push_back(DaveOutput::Receive { user, mode: ReceiveMode::Expire });
            }
            for user in members {
                if user == self.config.user {
                    secret = membership.base_secret(user);
                } else if self.users.is_connected(user)
                    && let Some(secret) = membership.base_secret(user)
                {
                    self.outputs.push_back(DaveOutput::Receive { user, mode: ReceiveMode::Decrypt(secret) });
                }
            }
        }
        if self.transitions.prepare(Transition { id, version, secret }) {
            self.stats.count(Refusal::TransitionDropped);
        }
        if id != 0 {
            let message = ClientMessage::DaveTransitionReady(DaveTransitionReady { transition_id: id });
            self.outputs.push_back(DaveOutput::Message(OutgoingMessage::Text(message)));
        } else if let Some(transition) = self.transitions.execute(id) {
            self.execute(transition);
        }
    }

    /// Switches the sending side.
    fn execute(&mut self, transition: Transition) {
        let Transition { version, secret, .. } = transition;
        // A version that was described and never came into force is a promise too.
        let promised = self.version.max(self.active.unwrap_or(0)) > 0;
        let before = self.active.replace(version);
        self.stats.transitions_executed += 1;
        if version == 0 {
            self.version = 0;
            self.membership = None;
            self.lost = None;
            if !self.plaintext {
                // Another transition that was prepared later has closed it again.
                self.receive_passthrough();
            }
            self.send(SendMode::Passthrough);
            if promised {
                self.outputs.push_back(DaveOutput::Event(DaveEvent::Downgraded));
            }
            return;
        }
        self.version = version;
        if !self.transitions.lead_to_plaintext() {
            self.close_passthrough();
        }
        match secret {
            Some(secret) => {
                self.send(SendMode::Encrypt(secret));
                if before.is_none_or(|before| before == 0) {
                    self.outputs.push_back(DaveOutput::Event(DaveEvent::Upgraded));
                }
            }
            None => self.send(SendMode::Hold),
        }
    }

    fn send(&mut self, mode: SendMode) {
        self.encrypting = matches!(mode, SendMode::Encrypt(_));
        self.outputs.push_back(DaveOutput::Send(mode));
    }

    fn hold_newcomers(&mut self) {
        self.plaintext = false;
        self.outputs.push_back(DaveOutput::ReceiveDefault(ReceiveMode::Hold));
    }

    fn receive_passthrough(&mut self) {
        self.plaintext = true;
        self.outputs.push_back(DaveOutput::ReceiveDefault(ReceiveMode::Passthrough));
        for user in self.users.others() {
            self.outputs.push_back(DaveOutput::Receive { user, mode: ReceiveMode::Passthrough });
        }
    }

    /// Ends plain frames of those who got no key that would end them.
    fn close_passthrough(&mut self) {
        let members = self.membership.as_ref().map(user_ids).unwrap_or_default();
        for user in self.users.others().filter(|user| !members.contains(user)) {
            self.outputs.push_back(DaveOutput::Receive { user, mode: ReceiveMode::Hold });
        }
    }

    fn send_binary(&mut self, message: ClientBinary<'_>) {
        self.outputs.push_back(DaveOutput::Message(OutgoingMessage::Binary(message.encode())));
    }
}

/// How many answered transitions are remembered, so that none is answered twice.
const MAX_ANSWERED: usize = 32;

/// The members in the order of their ids: that in the tree depends on the keys.
fn user_ids(membership: &Membership) -> Vec<UserId> {
    let mut users: Vec<UserId> = membership.members().iter().map(|member| member.user).collect();
    users.sort_unstable();
    users
}

fn epoch_changed(membership: &Membership) -> Option<DaveEvent> {
    Some(DaveEvent::EpochChanged {
        epoch: membership.epoch()?,
        privacy_code: voice_privacy_code(&membership.epoch_authenticator()?),
        members: user_ids(membership),
    })
}

impl fmt::Debug for DaveSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaveSession")
            .field("user", &self.config.user)
            .field("channel", &self.config.channel)
            .field("version", &self.version)
            .field("active", &self.active)
            .field("epoch", &self.membership.as_ref().and_then(Membership::epoch))
            .finish_non_exhaustive()
    }
}
