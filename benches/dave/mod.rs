//! What a voice gateway says to members of a group, for benches that need one.
#![allow(dead_code, unreachable_pub, reason = "every bench uses a part of it")]

use std::num::NonZeroU16;

use davey::ProposalsOperationType;
use voice_dave::wire::{CommitWelcome, ExternalProposal, ExternalSender, KeyPackage, ProposalBody, write_append};
use voice_dave::{DaveConfig, DaveMessage, DaveOutput, DaveSession, OutgoingMessage, ReceiveMode, SigningKey};
use voice_model::{ChannelId, ClientBinary, ProposalsOperation, ServerBinary, UserId};

pub const CHANNEL: u64 = 81_384_788_765_712_384;

/// The key that signs proposals.
pub struct Gateway(SigningKey);

impl Gateway {
    pub fn new() -> Self {
        Self(SigningKey::generate())
    }

    /// The payload of opcode 25.
    pub fn sender(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ExternalSender { signature_key: &self.0.public_key(), credential_type: 1, identity: &[0, 1, 1, 0] }
            .write(&mut bytes);
        bytes
    }

    /// The list of opcode 27 that adds these key packages to a group that is not established.
    pub fn adds<'a>(&self, packages: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let add = |package| {
            let (group_id, body) = (&CHANNEL.to_be_bytes(), ProposalBody::Add(package));
            ExternalProposal { group_id, epoch: 0, sender_index: 0, body }.sign(&self.0)
        };
        let messages: Vec<_> = packages.into_iter().map(add).collect();
        write_append(messages.iter().map(Vec::as_slice))
    }
}

/// What a session wants to be done.
#[derive(Default)]
pub struct Outputs {
    /// The payload of opcode 26.
    pub key_package: Option<Vec<u8>>,
    /// The payload of opcode 28.
    pub commit: Option<Vec<u8>>,
    pub receive: Vec<(UserId, ReceiveMode)>,
}

pub fn outputs(session: &mut DaveSession) -> Outputs {
    let mut outputs = Outputs::default();
    while let Some(output) = session.poll_output() {
        match output {
            DaveOutput::Message(OutgoingMessage::Binary(bytes)) => match ClientBinary::decode(&bytes).unwrap() {
                ClientBinary::KeyPackage(package) => outputs.key_package = Some(package.to_vec()),
                ClientBinary::CommitWelcome(payload) => outputs.commit = Some(payload.to_vec()),
                other => panic!("{other:?}"),
            },
            DaveOutput::Receive { user, mode } => outputs.receive.push((user, mode)),
            _ => {}
        }
    }
    outputs
}

/// A session of ours that has joined a call of these users, and its key package.
pub fn ours(user: u64, sender: &[u8], others: &[UserId]) -> (DaveSession, Vec<u8>) {
    let signing_key = SigningKey::generate();
    let mut session =
        DaveSession::new(DaveConfig { user: UserId::new(user), channel: ChannelId::new(CHANNEL), signing_key });
    session.handle_message(DaveMessage::ClientsConnect(others));
    session.handle_message(DaveMessage::Binary(ServerBinary::ExternalSender(sender)));
    session.handle_message(DaveMessage::SessionDescription { version: 1 });
    let package = outputs(&mut session).key_package.expect("opcode 4 is answered with a key package");
    (session, package)
}

/// The same of davey.
pub fn davey(user: u64, sender: &[u8]) -> (davey::DaveSession, Vec<u8>) {
    let mut session = davey::DaveSession::new(NonZeroU16::MIN, user, CHANNEL, None).unwrap();
    session.set_external_sender(sender).unwrap();
    let package = session.create_key_package().unwrap();
    (session, package)
}

/// Lets a session of ours commit proposals: the payload of opcode 28.
pub fn commit(session: &mut DaveSession, proposals: &[u8]) -> Vec<u8> {
    let operation = ProposalsOperation::Append;
    session.handle_message(DaveMessage::Binary(ServerBinary::Proposals { operation, proposals }));
    outputs(session).commit.expect("proposals are committed")
}

/// The same of davey.
pub fn commit_davey(session: &mut davey::DaveSession, proposals: &[u8], users: &[u64]) -> davey::CommitWelcome {
    let done = session.process_proposals(ProposalsOperationType::APPEND, proposals, Some(users)).unwrap();
    done.expect("proposals are committed")
}

/// The payload of opcode 30 for the owner of a key package.
pub fn cut_welcome(commit_welcome: &[u8], package: &[u8]) -> Vec<u8> {
    let welcome = CommitWelcome::parse(commit_welcome).unwrap().welcome.expect("somebody was added");
    welcome.cut_for(&KeyPackage::parse(package).unwrap().reference()).expect("the owner was added")
}

/// Two sessions of davey in one group: of user 1 and user 2.
pub fn pair_of_davey() -> [davey::DaveSession; 2] {
    let gateway = Gateway::new();
    let [(mut one, _), (mut two, package)] = [1, 2].map(|user| davey(user, &gateway.sender()));
    let made = commit_davey(&mut one, &gateway.adds([&package[..]]), &[1, 2]);
    assert!(one.process_commit(&made.commit).unwrap());
    two.process_welcome(&made.welcome.unwrap(), Some(&[1, 2])).unwrap();
    for session in [&mut one, &mut two] {
        session.prepare_transition(0, 1).unwrap();
    }
    [one, two]
}
