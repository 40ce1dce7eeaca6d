//! Why something of the voice gateway was not taken.

use std::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why a message of the voice gateway, or a part of it, was ignored or refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }

        impl fmt::Display for Refusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

refusals! {
    /// There is no group, not even an own one of epoch 0, for a proposal.
    NoGroup => "there is no group",
    /// The bytes are not the structure that they should be.
    Malformed => "the message is malformed",
    /// The message is for another group.
    WrongGroup => "the message is for another group",
    /// The message is for another epoch.
    WrongEpoch => "the message is for another epoch",
    /// The message has another content than its opcode says.
    WrongContent => "the message has another content than it should",
    /// The message is from somebody who may not send it.
    WrongSender => "the sender may not send this",
    /// A signature does not hold.
    BadSignature => "a signature does not hold",
    /// A proposal neither adds nor removes.
    WrongProposal => "a proposal neither adds nor removes a member",
    /// An operation on proposals is neither append nor revoke.
    UnknownOperation => "the operation on proposals is unknown",
    /// A proposal adds a user of whom the gateway has not said that they are in the call.
    UnknownUser => "a proposal adds a user who is not in the call",
    /// A proposal adds with a key package that members must not accept.
    BadKeyPackage => "a key package is not acceptable",
    /// A proposal removes a member who is not there.
    BlankLeaf => "a proposal removes nobody",
    /// A proposal removes this member, who cannot commit that.
    OwnRemoval => "a proposal removes this member",
    /// A proposal adds this user, who is a member of its own group already.
    OwnAdd => "a proposal adds this member",
    /// A proposal that is queued was delivered once more; it is skipped.
    Duplicate => "a proposal was delivered twice",
    /// A reference names no queued proposal.
    UnknownReference => "a reference names no queued proposal",
    /// More proposals in one epoch than are kept.
    QueueFull => "too many proposals in one epoch",
    /// What is queued cannot be committed; another member may have more luck.
    Uncommittable => "the queued proposals cannot be committed",
    /// A commit while there is neither a group nor a proposal: it belongs to what was reset.
    EarlyCommit => "a commit came before any group",
    /// A commit while no proposal came in this epoch, such as one that is delivered twice.
    NothingQueued => "a commit came before any proposal of this epoch",
    /// A commit that is not the own last one, before this member was welcomed.
    ForeignCommit => "a commit of another came before the welcome",
    /// A commit of this member that is not its last one.
    StaleOwnCommit => "a commit of this member is not its last one",
    /// A commit has a proposal inside.
    InlineProposal => "a commit has a proposal inside",
    /// The MLS engine does not accept the commit.
    BadCommit => "the commit does not hold",
    /// A commit has too few or too many new keys on its path, or one is encrypted for too few or too many members.
    BadPath => "the path of a commit does not fit the group's tree",
    /// The MLS engine has a fault that a message brought out. The group is joined anew.
    EnginePanicked => "the MLS engine failed on a message",
    /// Members have credentials of another kind, or the same one.
    BadRoster => "the members' credentials are not those of a call",
    /// A welcome while this member is in a group.
    AlreadyMember => "a welcome came to a member",
    /// A welcome while no key package is open.
    NoKeyPackage => "a welcome came with no key package open",
    /// There is no external sender to compare with.
    NoExternalSender => "the external sender is not known",
    /// A welcome is not for the newest key package.
    NotForUs => "a welcome is not for the newest key package",
    /// The MLS engine does not accept the welcome.
    BadWelcome => "the welcome does not hold",
    /// A welcome has more bytes than a group of the users who are, or were, in the call can need.
    WelcomeTooLong => "the welcome is too long for a group of this call",
    /// The group of a welcome has another external sender, several, or none.
    WrongExternalSender => "the group has another external sender",
    /// The group of a welcome has a member who never was in the call.
    Stranger => "the group has a member who never was in the call",
    /// An external sender while this member is in a group.
    LateExternalSender => "an external sender came to a member",
    /// What should be an external sender cannot be one.
    BadExternalSender => "the external sender is not acceptable",
    /// A transition was executed that is not prepared, or not any more.
    UnknownTransition => "the transition is not prepared",
    /// A transition fell out because more are prepared than are kept.
    TransitionDropped => "too many transitions are prepared",
    /// The gateway names a protocol version that is not spoken here.
    UnsupportedVersion => "the protocol version is not supported",
    /// More users are in the call than are kept.
    TooManyUsers => "too many users are in the call",
    /// The call was taken over from another process, which alone knows its group.
    TakenOver => "the group is known to another process only",
    /// The system's cryptography failed; it is out of memory or randomness.
    Crypto => "the cryptography of the system failed",
}

impl std::error::Error for Refusal {}
