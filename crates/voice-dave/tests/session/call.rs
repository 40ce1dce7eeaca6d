//! Members and a minimal delivery service, all in one thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
    time::{Duration, Instant},
};

use voice_dave::{
    DaveConfig, DaveEvent, DaveMessage, DaveOutput, DaveSession, FrameOpener, FrameSealer, Media, OutgoingMessage,
    ReceiveMode, SendMode, SigningKey,
    wire::{
        CommitWelcome, Content, ExternalProposal, ExternalSender, KeyPackage, ProposalBody, ProposalRef, Sender,
        proposal_ref, write_append, write_revoke,
    },
};
use voice_model::{
    ChannelId, ClientMessage, DaveExecuteTransition, DavePrepareEpoch, DavePrepareTransition, ProposalsOperation,
    ServerBinary, UserId,
};

pub(crate) const CHANNEL: ChannelId = ChannelId::new(0x0102_0304_0506_0708);

/// What a member did, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Ready(u16),
    Invalid(u16),
    KeyPackage(Vec<u8>),
    Commit(Vec<u8>),
    Send(&'static str),
    Receive(UserId, &'static str),
    Default(&'static str),
    Forget(UserId),
    Event(DaveEvent),
}

/// A member with its media halves.
pub(crate) struct Client {
    pub(crate) user: UserId,
    pub(crate) session: DaveSession,
    pub(crate) now: Instant,
    pub(crate) sealer: FrameSealer,
    openers: BTreeMap<UserId, FrameOpener>,
    passthrough: bool,
    steps: Vec<Step>,
}

impl Client {
    pub(crate) fn new(user: u64) -> Self {
        let user = UserId::new(user);
        let config = DaveConfig { user, channel: CHANNEL, signing_key: SigningKey::generate() };
        Self {
            user,
            session: DaveSession::new(config),
            now: start(),
            sealer: FrameSealer::new(),
            openers: BTreeMap::new(),
            passthrough: false,
            steps: Vec::new(),
        }
    }

    pub(crate) fn handle(&mut self, message: DaveMessage<'_>) {
        self.session.handle_message(message);
        while let Some(output) = self.session.poll_output() {
            let step = self.carry_out(output);
            self.steps.push(step);
        }
    }

    fn carry_out(&mut self, output: DaveOutput) -> Step {
        match output {
            DaveOutput::Message(OutgoingMessage::Text(ClientMessage::DaveTransitionReady(ready))) => {
                Step::Ready(ready.transition_id)
            }
            DaveOutput::Message(OutgoingMessage::Text(ClientMessage::MlsInvalidCommitWelcome(invalid))) => {
                Step::Invalid(invalid.transition_id)
            }
            DaveOutput::Message(OutgoingMessage::Binary(bytes)) => match bytes[0] {
                26 => Step::KeyPackage(bytes[1..].to_vec()),
                28 => Step::Commit(bytes[1..].to_vec()),
                opcode => panic!("opcode {opcode}"),
            },
            DaveOutput::Send(mode) => {
                let name = match mode {
                    SendMode::Hold => "hold",
                    SendMode::Passthrough => "passthrough",
                    SendMode::Encrypt(_) => "encrypt",
                };
                self.sealer.set_mode(mode);
                Step::Send(name)
            }
            DaveOutput::Receive { user, mode } => {
                let name = receive_name(&mode);
                let now = self.now;
                self.opener(user).set_mode(now, mode);
                Step::Receive(user, name)
            }
            DaveOutput::ReceiveDefault(mode) => {
                self.passthrough = matches!(mode, ReceiveMode::Passthrough);
                Step::Default(receive_name(&mode))
            }
            DaveOutput::Forget(user) => {
                if let Some(opener) = self.openers.get_mut(&user) {
                    opener.erase();
                }
                Step::Forget(user)
            }
            DaveOutput::Event(event) => Step::Event(event),
            other => panic!("{other:?}"),
        }
    }

    fn opener(&mut self, user: UserId) -> &mut FrameOpener {
        let (now, passthrough) = (self.now, self.passthrough);
        self.openers.entry(user).or_insert_with(|| {
            let mut opener = FrameOpener::new();
            if passthrough {
                opener.set_mode(now, ReceiveMode::Passthrough);
            }
            opener
        })
    }

    /// What was done since the last time.
    pub(crate) fn take(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// Takes out the last key package that was sent.
    pub(crate) fn take_key_package(&mut self) -> Vec<u8> {
        let steps = self.take();
        let mut packages = steps.into_iter().filter_map(|step| match step {
            Step::KeyPackage(bytes) => Some(bytes),
            _ => None,
        });
        packages.next_back().expect("a key package")
    }

    /// Takes out the last commit that was sent, with its welcome, if one was.
    pub(crate) fn take_commit(&mut self) -> Option<Vec<u8>> {
        let mut commits = self.take().into_iter().filter_map(|step| match step {
            Step::Commit(bytes) => Some(bytes),
            _ => None,
        });
        commits.next_back()
    }

    pub(crate) fn privacy_code(&self) -> Option<String> {
        self.session.status().privacy_code
    }

    /// Seals a frame; `None` if none may leave.
    pub(crate) fn speak(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 64];
        buffer[..5].copy_from_slice(b"audio");
        let len = self.sealer.seal(&mut buffer, 5).ok()?;
        Some(buffer[..len].to_vec())
    }

    /// Whether the frame of a user is understood.
    pub(crate) fn hears(&mut self, user: UserId, frame: &[u8]) -> bool {
        let now = self.now;
        let mut buffer = frame.to_vec();
        let opened = self.opener(user).open(now, Media::Audio, &mut buffer);
        opened.is_ok_and(|opened| buffer[..opened.len] == *b"audio")
    }

    pub(crate) fn describe(&mut self, version: u16) {
        self.handle(DaveMessage::SessionDescription { version });
    }

    pub(crate) fn connect(&mut self, users: &[u64]) {
        let users: Vec<_> = users.iter().copied().map(UserId::new).collect();
        self.handle(DaveMessage::ClientsConnect(&users));
    }

    pub(crate) fn disconnect(&mut self, user: u64) {
        self.handle(DaveMessage::ClientDisconnect(UserId::new(user)));
    }

    pub(crate) fn external_sender(&mut self, bytes: &[u8]) {
        self.handle(DaveMessage::Binary(ServerBinary::ExternalSender(bytes)));
    }

    pub(crate) fn append(&mut self, messages: &[Vec<u8>]) {
        let proposals = write_append(messages.iter().map(Vec::as_slice));
        let operation = ProposalsOperation::Append;
        self.handle(DaveMessage::Binary(ServerBinary::Proposals { operation, proposals: &proposals }));
    }

    pub(crate) fn revoke(&mut self, references: &[ProposalRef]) {
        let proposals = write_revoke(references.iter().copied());
        let operation = ProposalsOperation::Revoke;
        self.handle(DaveMessage::Binary(ServerBinary::Proposals { operation, proposals: &proposals }));
    }

    pub(crate) fn announce(&mut self, transition_id: u16, commit: &[u8]) {
        self.handle(DaveMessage::Binary(ServerBinary::AnnounceCommitTransition { transition_id, commit }));
    }

    pub(crate) fn welcome(&mut self, transition_id: u16, welcome: &[u8]) {
        self.handle(DaveMessage::Binary(ServerBinary::Welcome { transition_id, welcome }));
    }

    pub(crate) fn prepare(&mut self, transition_id: u16, protocol_version: u16) {
        self.handle(DaveMessage::PrepareTransition(DavePrepareTransition { protocol_version, transition_id }));
    }

    pub(crate) fn execute(&mut self, transition_id: u16) {
        self.handle(DaveMessage::ExecuteTransition(DaveExecuteTransition { transition_id }));
    }

    pub(crate) fn epoch(&mut self, epoch: u64) {
        let message = DavePrepareEpoch { protocol_version: 1, epoch, transition_id: None };
        self.handle(DaveMessage::PrepareEpoch(message));
    }

    pub(crate) fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn receive_name(mode: &ReceiveMode) -> &'static str {
    match mode {
        ReceiveMode::Expire => "expire",
        ReceiveMode::Hold => "hold",
        ReceiveMode::Passthrough => "passthrough",
        ReceiveMode::Decrypt(_) => "decrypt",
    }
}

/// What the voice gateway signs with.
pub(crate) struct Gateway {
    pub(crate) key: SigningKey,
    pub(crate) group: [u8; 8],
}

impl Gateway {
    pub(crate) fn new() -> Self {
        Self { key: SigningKey::generate(), group: CHANNEL.get().to_be_bytes() }
    }

    pub(crate) fn sender(&self) -> Vec<u8> {
        let key = self.key.public_key();
        let mut out = Vec::new();
        ExternalSender { signature_key: &key, credential_type: 1, identity: &[0, 1, 1, 0] }.write(&mut out);
        out
    }

    pub(crate) fn proposal(&self, epoch: u64, body: ProposalBody<'_>) -> Vec<u8> {
        ExternalProposal { group_id: &self.group, epoch, sender_index: 0, body }.sign(&self.key)
    }

    pub(crate) fn add(&self, epoch: u64, package: &[u8]) -> Vec<u8> {
        self.proposal(epoch, ProposalBody::Add(package))
    }

    pub(crate) fn remove(&self, epoch: u64, leaf: u32) -> Vec<u8> {
        self.proposal(epoch, ProposalBody::Remove(leaf))
    }
}

/// A commit as it is announced, and the welcome.
pub(crate) fn split(payload: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let parsed = CommitWelcome::parse(payload).unwrap();
    let (commit, rest) = payload.split_at(parsed.commit.raw().len());
    (commit.to_vec(), parsed.welcome.map(|_| rest.to_vec()))
}

/// A call that is kept in order: every commit wins or loses, every transition is executed.
pub(crate) struct Call {
    pub(crate) gateway: Gateway,
    pub(crate) clients: BTreeMap<u64, Client>,
    pub(crate) epoch: u64,
    pub(crate) leaves: Vec<Option<u64>>,
    packages: BTreeMap<u64, Vec<u8>>,
    /// Proposals of this epoch: message, whose add it is or which leaf it removes.
    proposals: Vec<(Vec<u8>, Change)>,
    next_transition: u16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Add(u64),
    Remove(u32),
}

impl Call {
    pub(crate) fn new() -> Self {
        Self {
            gateway: Gateway::new(),
            clients: BTreeMap::new(),
            epoch: 0,
            leaves: Vec::new(),
            packages: BTreeMap::new(),
            proposals: Vec::new(),
            next_transition: 1,
        }
    }

    pub(crate) fn with_members(users: impl IntoIterator<Item = u64>) -> Self {
        let mut call = Self::new();
        for user in users {
            call.connect(user);
        }
        call.run();
        call
    }

    pub(crate) fn client(&mut self, user: u64) -> &mut Client {
        self.clients.get_mut(&user).unwrap()
    }

    pub(crate) fn leaf_of(&self, user: u64) -> u32 {
        self.leaves.iter().position(|leaf| *leaf == Some(user)).unwrap() as u32
    }

    /// A user comes; nothing is proposed before [`run`](Self::run).
    pub(crate) fn connect(&mut self, user: u64) {
        let present: Vec<_> = self.clients.keys().copied().collect();
        for other in self.clients.values_mut() {
            other.connect(&[user]);
        }
        let mut client = Client::new(user);
        // The order of these two may be either.
        if user.is_multiple_of(2) {
            client.external_sender(&self.gateway.sender());
            client.describe(1);
        } else {
            client.describe(1);
            client.external_sender(&self.gateway.sender());
        }
        client.connect(&present);
        self.clients.insert(user, client);
    }

    /// Lets a user leave.
    pub(crate) fn leave(&mut self, user: u64) {
        self.clients.remove(&user).unwrap();
        self.packages.remove(&user);
        for other in self.clients.values_mut() {
            other.disconnect(user);
        }
        if let Some(leaf) = self.leaves.iter().position(|leaf| *leaf == Some(user)) {
            self.propose(&[Change::Remove(leaf as u32)]);
        }
    }

    fn established(&self) -> bool {
        self.epoch > 0
    }

    fn is_member(&self, user: u64) -> bool {
        !self.established() || self.leaves.contains(&Some(user))
    }

    /// Proposes changes, all in one message to each who may commit them.
    fn propose(&mut self, changes: &[Change]) {
        let proposed: Vec<_> = changes
            .iter()
            .map(|change| match change {
                Change::Add(user) => (self.gateway.add(self.epoch, &self.packages[user]), *change),
                Change::Remove(leaf) => (self.gateway.remove(self.epoch, *leaf), *change),
            })
            .collect();
        for user in self.clients.keys().copied().collect::<Vec<_>>() {
            let others = proposed.iter().filter(|(_, change)| *change != Change::Add(user));
            let messages: Vec<_> = others.map(|(message, _)| message.clone()).collect();
            if self.is_member(user) && !messages.is_empty() {
                self.client(user).append(&messages);
            }
        }
        self.proposals.extend(proposed);
    }

    /// Goes on until nobody has anything to say.
    pub(crate) fn run(&mut self) {
        for _ in 0..100 {
            let mut commits = Vec::new();
            let mut packages = Vec::new();
            for (user, client) in &mut self.clients {
                for step in client.take() {
                    match step {
                        Step::KeyPackage(bytes) => packages.push((*user, bytes)),
                        Step::Commit(bytes) => commits.push((*user, bytes)),
                        Step::Invalid(id) => panic!("{user} could not follow transition {id}"),
                        _ => {}
                    }
                }
            }
            if packages.is_empty() && commits.is_empty() {
                return;
            }
            let earlier: Vec<_> = self.proposals.iter().map(|(message, _)| message.clone()).collect();
            let adds: Vec<_> = packages.iter().map(|(user, _)| Change::Add(*user)).collect();
            for (user, bytes) in packages {
                // Pending users hear of those before them, whose proposals are there already.
                if !self.established() && !earlier.is_empty() {
                    self.client(user).append(&earlier);
                }
                self.packages.insert(user, bytes);
            }
            self.propose(&adds);
            // Answers to the latest proposals are still to come.
            for (user, client) in &mut self.clients {
                commits.extend(client.take_commit().map(|commit| (*user, commit)));
            }
            let winner = commits.into_iter().find(|(user, payload)| self.is_valid(*user, payload));
            if let Some((user, payload)) = winner {
                self.win(user, &payload);
            }
        }
        panic!("the call does not come to rest");
    }

    fn is_valid(&self, user: u64, payload: &[u8]) -> bool {
        let parsed = CommitWelcome::parse(payload).unwrap();
        let Content::Commit(commit) = parsed.commit.content else { panic!("not a commit") };
        let leaf = if self.established() { self.leaf_of(user) } else { 0 };
        let references: BTreeSet<_> = commit.references().unwrap().into_iter().collect();
        let expected: BTreeSet<_> = self
            .proposals
            .iter()
            .filter(|(_, change)| *change != Change::Add(user))
            .map(|(message, _)| proposal_ref(message))
            .collect();
        parsed.commit.epoch == self.epoch && parsed.commit.sender == Sender::Member(leaf) && references == expected
    }

    fn win(&mut self, committer: u64, payload: &[u8]) {
        let parsed = CommitWelcome::parse(payload).unwrap();
        let Content::Commit(commit) = parsed.commit.content else { panic!("not a commit") };
        let mut added = Vec::new();
        let members: Vec<_> = if self.established() {
            self.leaves.iter().flatten().copied().collect()
        } else {
            self.leaves = vec![Some(committer)];
            vec![committer]
        };
        let changes: Vec<_> = commit
            .references()
            .unwrap()
            .iter()
            .map(|reference| self.proposals.iter().find(|(message, _)| proposal_ref(message) == *reference).unwrap().1)
            .collect();
        for change in &changes {
            if let Change::Remove(leaf) = change {
                self.leaves[*leaf as usize] = None;
            }
        }
        for change in changes {
            if let Change::Add(user) = change {
                match self.leaves.iter_mut().find(|leaf| leaf.is_none()) {
                    Some(leaf) => *leaf = Some(user),
                    None => self.leaves.push(Some(user)),
                }
                added.push(user);
            }
        }
        self.epoch += 1;
        self.proposals.clear();
        let id = self.next_transition;
        self.next_transition += 1;
        let mut informed = Vec::new();
        for user in members.into_iter().filter(|user| self.leaves.contains(&Some(*user))) {
            if let Some(client) = self.clients.get_mut(&user) {
                client.announce(id, parsed.commit.raw());
                informed.push(user);
            }
        }
        for user in added {
            let package = self.packages.remove(&user).unwrap();
            let reference = KeyPackage::parse(&package).unwrap().reference();
            let welcome = parsed.welcome.unwrap().cut_for(&reference).unwrap();
            self.client(user).welcome(id, &welcome);
            informed.push(user);
        }
        for user in informed {
            let client = self.client(user);
            assert!(client.steps.contains(&Step::Ready(id)), "{user} is not ready: {:?}", client.session.stats());
            client.execute(id);
        }
    }

    /// Checks that all are in one group and hear each other.
    pub(crate) fn assert_together(&mut self) {
        let users: BTreeSet<_> = self.clients.keys().copied().collect();
        let leaves: BTreeSet<_> = self.leaves.iter().flatten().copied().collect();
        assert_eq!(users, leaves);
        let codes: BTreeSet<_> = self.clients.values().map(Client::privacy_code).collect();
        assert_eq!(codes.len(), 1);
        assert!(codes.first().unwrap().as_ref().is_some_and(|code| code.len() == 30));
        for client in self.clients.values() {
            let status = client.session.status();
            assert_eq!(status.epoch, Some(self.epoch));
            let members: BTreeSet<_> = status.members.iter().map(|user| user.get()).collect();
            assert_eq!(members, users);
        }
        for speaker in &users {
            let frame = self.client(*speaker).speak().expect("a key to speak with");
            for (listener, client) in self.clients.iter_mut().filter(|(user, _)| *user != speaker) {
                assert!(client.hears(UserId::new(*speaker), &frame), "{listener} does not hear {speaker}");
            }
        }
    }
}

/// One point in time for all.
#[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
