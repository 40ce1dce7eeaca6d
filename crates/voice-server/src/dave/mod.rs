//! End-to-end encryption as its delivery service sees it: who is in the group of a channel, who
//! proposes what, whose commit wins, when keys change.
//!
//! The server never has a key. It parses what members send as far as it has to, and trusts no
//! member's MLS engine.

mod commit;
mod config;
mod delivery;
mod faults;
mod key_package;
mod membership;
mod messages;
mod patience;
mod proposals;
mod proposing;
mod room;
mod roster;
mod sender;
mod stats;
mod transition;
#[cfg(test)]
mod vectors;

pub use config::{DaveConfig, DaveLimits, DaveMode};
pub(crate) use delivery::Delivery;
pub use faults::{DaveFault, ProposalFault, Tamper};
pub use stats::{DaveRefusal, DaveStats};

/// The version of end-to-end encryption this server runs.
pub(crate) const DAVE_VERSION: u16 = 1;
