//! What can be asked of a session.

use voice_model::UserId;

/// How far the encryption of a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaveStatus {
    /// The version that the voice gateway wants; 0 is no encryption.
    pub version: u16,
    /// The version that frames leave with; `None` until a transition says.
    pub active_version: Option<u16>,
    /// The epoch of the group; `None` outside of one.
    pub epoch: Option<u64>,
    /// 30 digits that all members of the group and epoch share; `None` outside of a group.
    pub privacy_code: Option<String>,
    /// The members of the group, this user included.
    pub members: Vec<UserId>,
    /// How many transitions are prepared and not executed.
    pub pending_transitions: usize,
}

/// The public keys of two members, to be compared by the two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    own: (UserId, Vec<u8>),
    peer: (UserId, Vec<u8>),
}

impl Verification {
    pub(super) const fn new(own: (UserId, Vec<u8>), peer: (UserId, Vec<u8>)) -> Self {
        Self { own, peer }
    }

    /// This user.
    #[must_use]
    pub const fn own_user(&self) -> UserId {
        self.own.0
    }

    /// This user's public key.
    #[must_use]
    pub fn own_key(&self) -> &[u8] {
        &self.own.1
    }

    /// The other user.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.peer.0
    }

    /// The other user's public key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.peer.1
    }
}

/// The voice privacy code of an epoch: 30 digits (DAVE protocol, "Displayable Codes").
pub(super) fn privacy_code(epoch_authenticator: &[u8; 32]) -> String {
    epoch_authenticator.as_chunks::<5>().0.iter().fold(String::new(), |mut code, group| {
        let number = group.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        code.push_str(&format!("{:05}", number % 100_000));
        code
    })
}
