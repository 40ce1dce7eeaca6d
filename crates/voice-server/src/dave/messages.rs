//! What the delivery service says, as it goes to the gateway of a session.

use voice_dave::wire::{ProposalRef, write_append, write_revoke};
use voice_model::{
    DaveExecuteTransition, DavePrepareEpoch, DavePrepareTransition, Opcode, ProposalsOperation, ServerMessage, UserId,
};

use crate::Event;

/// Something for the core to do.
#[derive(Clone, Debug)]
pub(crate) enum DeliveryOutput {
    /// Send a numbered message to a member of the channel.
    Send(UserId, Message),
    /// Tell whoever runs the server.
    Event(Event),
}

/// A message of either form.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Text(ServerMessage),
    /// An opcode and what follows it.
    Binary(Opcode, Vec<u8>),
}

impl Message {
    /// Op 21.
    pub(crate) fn prepare_transition(transition_id: u16, protocol_version: u16) -> Self {
        Self::Text(ServerMessage::DavePrepareTransition(DavePrepareTransition { protocol_version, transition_id }))
    }

    /// Op 22.
    pub(crate) fn execute_transition(transition_id: u16) -> Self {
        Self::Text(ServerMessage::DaveExecuteTransition(DaveExecuteTransition { transition_id }))
    }

    /// Op 24. Its transition is documented and not sent.
    pub(crate) fn prepare_epoch(epoch: u64, protocol_version: u16) -> Self {
        let data = DavePrepareEpoch { protocol_version, epoch, transition_id: None };
        Self::Text(ServerMessage::DavePrepareEpoch(data))
    }

    /// Op 25.
    pub(crate) fn external_sender(package: Vec<u8>) -> Self {
        Self::Binary(Opcode::MlsExternalSender, package)
    }

    /// Op 27 with new proposals.
    pub(crate) fn append<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::proposals(ProposalsOperation::Append, &write_append(messages))
    }

    /// Op 27 with references of old ones.
    pub(crate) fn revoke(references: impl IntoIterator<Item = ProposalRef>) -> Self {
        Self::proposals(ProposalsOperation::Revoke, &write_revoke(references))
    }

    /// Op 29.
    pub(crate) fn announce_commit(transition_id: u16, commit: &[u8]) -> Self {
        Self::Binary(Opcode::MlsAnnounceCommitTransition, [&transition_id.to_be_bytes(), commit].concat())
    }

    /// Op 30.
    pub(crate) fn welcome(transition_id: u16, welcome: &[u8]) -> Self {
        Self::Binary(Opcode::MlsWelcome, [&transition_id.to_be_bytes(), welcome].concat())
    }

    fn proposals(operation: ProposalsOperation, list: &[u8]) -> Self {
        Self::Binary(Opcode::MlsProposals, [&[operation.code()], list].concat())
    }

    pub(crate) fn opcode(&self) -> Opcode {
        match self {
            Self::Text(message) => message.opcode(),
            Self::Binary(opcode, _) => *opcode,
        }
    }
}
