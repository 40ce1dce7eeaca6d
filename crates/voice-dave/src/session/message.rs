//! What goes into a session and what comes out.

use voice_model::{
    ChannelId, ClientMessage, DaveExecuteTransition, DavePrepareEpoch, DavePrepareTransition, ServerBinary, UserId,
};

use crate::{ReceiveMode, Refusal, SendMode, SigningKey};

/// Whose session it is, and where.
#[derive(Clone, Debug)]
pub struct DaveConfig {
    /// The own user.
    pub user: UserId,
    /// The voice channel; for a stream its own id.
    pub channel: ChannelId,
    /// What this user signs with. All connections of a user should share one; it may be kept for longer.
    pub signing_key: SigningKey,
}

/// What the voice gateway says about encryption and about who is there.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum DaveMessage<'a> {
    /// Opcode 4.
    SessionDescription {
        /// `dave_protocol_version`; 0 if it is missing.
        version: u16,
    },
    /// Opcode 9: the connection is another one. What was said last on the one before may never have arrived.
    Resumed,
    /// Opcode 11: these users are in the call.
    ClientsConnect(&'a [UserId]),
    /// Opcode 13: this user left the call.
    ClientDisconnect(UserId),
    /// Opcode 21.
    PrepareTransition(DavePrepareTransition),
    /// Opcode 22.
    ExecuteTransition(DaveExecuteTransition),
    /// Opcode 24.
    PrepareEpoch(DavePrepareEpoch),
    /// Opcodes 25, 27, 29 and 30; others are ignored.
    Binary(ServerBinary<'a>),
}

/// What is to be done, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum DaveOutput {
    /// Send this to the voice gateway.
    Message(OutgoingMessage),
    /// Install this in the sending media half.
    Send(SendMode),
    /// Install this in the receiving media half for one user.
    Receive {
        /// The sender of the frames.
        user: UserId,
        /// The mode.
        mode: ReceiveMode,
    },
    /// What a user starts with of whom the receiving media half hears from now on for the first time. Never a key.
    ReceiveDefault(ReceiveMode),
    /// The user left: [erase](crate::FrameOpener::erase) their keys, and keep what these have seen. Should the same
    /// secret be installed again, no frame may open a second time.
    Forget(UserId),
    /// Something happened that an application may want to know.
    Event(DaveEvent),
}

/// A message to the voice gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum OutgoingMessage {
    /// Opcode 23 or 31.
    Text(ClientMessage),
    /// Opcode 26 or 28, encoded with its opcode in front.
    Binary(Vec<u8>),
}

/// What an application may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DaveEvent {
    /// The group is in a new epoch: members came or went.
    EpochChanged {
        /// The epoch.
        epoch: u64,
        /// 30 digits; the same for all who are in this group and epoch, so that they can compare it.
        privacy_code: String,
        /// The members, this user included.
        members: Vec<UserId>,
    },
    /// Members have keys that they did not have before, and so there are new
    /// [verification codes](crate::Verification::code) of this user and each of them. The codes themselves take a while to
    /// compute: ask for [those of interest](crate::DaveSession::verification). A member who comes back with the same key is
    /// not named.
    VerificationChanged {
        /// Members of whom no key was known, in the order of their ids.
        new: Vec<UserId>,
        /// Members who had another key before: another device of theirs, or somebody else.
        changed: Vec<UserId>,
    },
    /// Frames leave end-to-end encrypted from now on.
    Upgraded,
    /// Frames leave without end-to-end encryption from now on.
    Downgraded,
    /// The voice gateway sent something that cannot be followed; the way back into the group has begun.
    Recovering {
        /// What was wrong.
        reason: Refusal,
    },
    /// The others removed this user from the group; nothing leaves until the gateway adds them again.
    Removed,
}
