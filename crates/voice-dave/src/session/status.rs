//! What can be asked of a session.

use voice_model::UserId;

/// How far the encryption of a call is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaveStatus {
    /// The version that the voice gateway wants; 0 is no encryption.
    pub version: u16,
    /// The version that frames leave with; `None` until a transition says.
    pub active_version: Option<u16>,
    /// Whether frames leave encrypted now.
    pub is_encrypting: bool,
    /// The users that the voice gateway named, besides this one. Those who are in the call but not (yet) in the group
    /// count too.
    pub peers: usize,
    /// The epoch of the group; `None` outside of one.
    pub epoch: Option<u64>,
    /// 30 digits that all members of the group and epoch share; `None` outside of a group.
    pub privacy_code: Option<String>,
    /// The members of the group, this user included.
    pub members: Vec<UserId>,
    /// How many transitions are prepared and not executed.
    pub pending_transitions: usize,
}

impl DaveStatus {
    /// Whether somebody is there to hear frames, and they cannot leave for want of a key.
    #[must_use]
    pub const fn awaits_key(&self) -> bool {
        self.version > 0 && self.peers > 0 && !self.is_encrypting
    }
}

/// What a voice gateway has said of a call and does not say again to who takes it over. Nothing of it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallState {
    /// The version of the encryption; 0 is none.
    pub version: u16,
    /// The gateway's key, as it came.
    pub external_sender: Option<Vec<u8>>,
    /// The users in the call, besides this one.
    pub users: Vec<UserId>,
}
