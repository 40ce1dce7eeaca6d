//! Scripted faults: what a real network and a real service do on a bad day, on command.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use voice_crypto::Sealer;
use voice_model::{CloseCode, Opcode, ServerMessage, UnknownMessage, UserId};

use crate::DaveFault;
use crate::core::{Core, Output};
use crate::registry::SessionKey;

/// A fault, and whom it hits.
///
/// ```
/// use voice_model::{CloseCode, Opcode, UserId};
/// use voice_server::{Fault, FaultKind};
///
/// let crash = Fault::all(FaultKind::Close(CloseCode::VOICE_SERVER_CRASHED));
/// let no_key = Fault::user(
///     UserId::new(7),
///     FaultKind::DropOutgoing { opcode: Opcode::SessionDescription, count: 1 },
/// );
/// assert_ne!(crash, no_key);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Whom it hits; `None` is everybody.
    pub user: Option<UserId>,
    /// What happens.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault that hits everybody.
    #[must_use]
    pub const fn all(kind: FaultKind) -> Self {
        Self { user: None, kind }
    }

    /// A fault that hits one user.
    #[must_use]
    pub const fn user(user: UserId, kind: FaultKind) -> Self {
        Self { user: Some(user), kind }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The voice gateway does not send its next `count` messages of an opcode. Numbered ones are
    /// numbered and kept for a Resume all the same.
    DropOutgoing {
        /// Which messages.
        opcode: Opcode,
        /// How many of them.
        count: u32,
    },
    /// The voice gateway does not see the client's next `count` messages of an opcode.
    IgnoreIncoming {
        /// Which messages.
        opcode: Opcode,
        /// How many of them.
        count: u32,
    },
    /// The voice gateway closes instead of handling the next `count` messages of an opcode.
    CloseOn {
        /// Which messages.
        opcode: Opcode,
        /// With which code.
        code: CloseCode,
        /// How many of them.
        count: u32,
    },
    /// The voice connection is closed now. Whether its session survives follows from the code.
    Close(CloseCode),
    /// The voice connection breaks now without a close frame: a TCP reset.
    Reset,
    /// The voice connection goes silent: it stays open, nothing is read or answered any more.
    Stall,
    /// Everything on the present voice connection is sent this much later; zero ends it.
    Delay(Duration),
    /// The session is forgotten while its connection breaks, so that a Resume is refused.
    Forget,
    /// A text message is sent as it is on the voice connection.
    SendText(String),
    /// A binary message is sent as it is on the voice connection.
    SendBinary(Vec<u8>),
    /// A numbered text message is sent, and kept for a Resume. The payload is JSON.
    SendNumberedText {
        /// Its opcode.
        opcode: Opcode,
        /// Its `d`.
        data: String,
    },
    /// A numbered binary message is sent, and kept for a Resume. Before gateway version 8 it has
    /// no number.
    SendNumberedBinary {
        /// Its opcode.
        opcode: Opcode,
        /// What follows the opcode.
        payload: Vec<u8>,
    },
    /// A datagram is sent as it is from the media address.
    SendDatagram(Vec<u8>),
    /// A plain RTP packet is sealed with the client's own key and sent: any SSRC, payload type,
    /// padding or extension, possible or not, that the service might relay.
    SendRtp(Vec<u8>),
    /// A plain RTCP packet is sealed with the client's own key and sent.
    SendRtcp(Vec<u8>),
    /// The next `count` discovery requests are not answered.
    IgnoreDiscovery {
        /// How many of them.
        count: u32,
    },
    /// The next `count` discovery requests get a forged answer, for another SSRC, before the
    /// right one.
    ForgeDiscovery {
        /// How many of them.
        count: u32,
    },
    /// Datagrams in one direction suffer from now on; a default [`Impairment`] ends it.
    Impair {
        /// Which direction.
        direction: Direction,
        /// What happens to them.
        impairment: Impairment,
    },
    /// The delivery service of end-to-end encryption does something wrong.
    Dave(DaveFault),
    /// The main-gateway connection is closed now.
    GatewayClose(CloseCode),
    /// The main gateway asks for a reconnect and Resume (op 7).
    GatewayReconnect,
    /// The main-gateway session is lost (op 9 with `false`), and the voice states with it.
    GatewayInvalidate,
    /// Everything above that lasts ends.
    Clear,
}

/// Which datagrams an impairment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    FromClient,
    /// From the server to the client.
    ToClient,
}

/// What happens to media datagrams. Every chance is between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// The chance that a datagram is lost.
    pub drop: f64,
    /// The chance that a datagram comes twice.
    pub duplicate: f64,
    /// The chance that a datagram is held for [`REORDER_HOLD`], so that others overtake it.
    pub reorder: f64,
    /// The chance that one bit of a datagram flips.
    pub corrupt: f64,
    /// How late every datagram is.
    pub delay: Duration,
    /// How much later than that it is at most, uniformly.
    pub jitter: Duration,
    /// To the client only: the chance that a packet is padded before it is sealed.
    pub pad: f64,
    /// To the client only: the chance that a packet of nothing but padding comes before it.
    pub padding_only: f64,
    /// To the client only: the chance that a packet of plain silence, the three bytes `f8 ff fe`,
    /// takes the place of one, as the service sends for a muted source whatever is encrypted.
    pub silence: f64,
    /// To the client only: adds an audio level extension to packets without one.
    pub extension: bool,
}

impl Impairment {
    /// Whether nothing happens at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a rule says about an incoming message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    Ignore,
    Close(CloseCode),
}

/// The faults that last.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Rule>,
    impairments: BTreeMap<(Option<UserId>, Direction), Impairment>,
    /// Those of users who are in no channel yet, and those of channels that are not there yet.
    dave: Vec<(Option<UserId>, DaveFault)>,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    user: Option<UserId>,
    on: Trigger,
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Outgoing(Opcode),
    Incoming(Opcode, Reaction),
    IgnoreDiscovery,
    ForgeDiscovery,
}

impl Faults {
    /// What to do with an incoming message, if a rule says something.
    pub(crate) fn incoming(&mut self, user: Option<UserId>, opcode: Opcode) -> Option<Reaction> {
        self.take(user, |on| match on {
            Trigger::Incoming(on, reaction) if on == opcode => Some(reaction),
            _ => None,
        })
    }

    /// Whether a rule says to drop an outgoing message.
    pub(crate) fn drops_outgoing(&mut self, user: Option<UserId>, opcode: Opcode) -> bool {
        self.take(user, |on| (on == Trigger::Outgoing(opcode)).then_some(())).is_some()
    }

    pub(crate) fn ignores_discovery(&mut self, user: UserId) -> bool {
        self.take(Some(user), |on| (on == Trigger::IgnoreDiscovery).then_some(())).is_some()
    }

    pub(crate) fn forges_discovery(&mut self, user: UserId) -> bool {
        self.take(Some(user), |on| (on == Trigger::ForgeDiscovery).then_some(())).is_some()
    }

    /// What happens to the datagrams of a user in one direction.
    pub(crate) fn impairment(&self, user: UserId, direction: Direction) -> Option<Impairment> {
        if self.impairments.is_empty() {
            return None;
        }
        let own = self.impairments.get(&(Some(user), direction));
        own.or_else(|| self.impairments.get(&(None, direction))).copied()
    }

    /// Whether any datagram suffers at all.
    pub(crate) fn impairs(&self) -> bool {
        !self.impairments.is_empty()
    }

    /// Keeps a fault until its user, or anybody, enters a channel.
    pub(crate) fn wait_for_dave(&mut self, user: Option<UserId>, fault: DaveFault) {
        if self.dave.len() < MAX_RULES {
            self.dave.push((user, fault));
        }
    }

    /// The faults that waited for a user, and those that every new channel has.
    pub(crate) fn dave_waiting(&mut self, user: UserId, new_channel: bool) -> Vec<(Option<UserId>, DaveFault)> {
        let everybodys = self.dave.iter().filter(|(whom, _)| new_channel && whom.is_none()).copied();
        let mut waiting: Vec<_> = everybodys.collect();
        waiting.extend(self.dave.extract_if(.., |(whom, _)| *whom == Some(user)));
        waiting
    }

    fn add(&mut self, user: Option<UserId>, on: Trigger, count: u32) {
        if count > 0 && self.rules.len() < MAX_RULES {
            self.rules.push(Rule { user, on, count });
        }
    }

    /// Uses up one application of the first rule that matches.
    fn take<T>(&mut self, user: Option<UserId>, matches: impl Fn(Trigger) -> Option<T>) -> Option<T> {
        let hits = |rule: &Rule| rule.user.is_none() || rule.user == user;
        let index = self.rules.iter().position(|r| hits(r) && matches(r.on).is_some())?;
        let rule = self.rules.get_mut(index)?;
        let found = matches(rule.on);
        rule.count -= 1;
        if rule.count == 0 {
            self.rules.remove(index);
        }
        found
    }
}

impl Core {
    /// Makes a fault happen, or last.
    pub(crate) fn inject(&mut self, now: Instant, fault: Fault) {
        let Fault { user, kind } = fault;
        match kind {
            FaultKind::DropOutgoing { opcode, count } => {
                self.faults.add(user, Trigger::Outgoing(opcode), count);
            }
            FaultKind::IgnoreIncoming { opcode, count } => {
                self.faults.add(user, Trigger::Incoming(opcode, Reaction::Ignore), count);
            }
            FaultKind::CloseOn { opcode, code, count } => {
                self.faults.add(user, Trigger::Incoming(opcode, Reaction::Close(code)), count);
            }
            FaultKind::IgnoreDiscovery { count } => {
                self.faults.add(user, Trigger::IgnoreDiscovery, count);
            }
            FaultKind::ForgeDiscovery { count } => {
                self.faults.add(user, Trigger::ForgeDiscovery, count);
            }
            FaultKind::Impair { direction, impairment } => {
                if impairment.is_none() {
                    self.faults.impairments.remove(&(user, direction));
                } else {
                    self.faults.impairments.insert((user, direction), impairment);
                }
            }
            FaultKind::Clear => {
                self.faults = Faults::default();
                self.clear_dave();
                for connection in self.connections.values_mut() {
                    connection.delay = Duration::ZERO;
                }
            }
            FaultKind::Dave(fault) => self.inject_dave(now, user, fault),
            FaultKind::GatewayClose(code) => self.close_gateway(now, user, code),
            FaultKind::GatewayReconnect => self.ask_reconnect(now, user),
            FaultKind::GatewayInvalidate => self.invalidate_gateway(now, user),
            kind => {
                for key in self.sessions.of_user(user) {
                    self.inject_session(now, key, &kind);
                }
            }
        }
    }

    /// A fault that happens once to one session.
    fn inject_session(&mut self, now: Instant, key: SessionKey, kind: &FaultKind) {
        let Some(session) = self.sessions.get(key) else { return };
        let connection = session.connection;
        match kind {
            FaultKind::SendDatagram(bytes) => {
                if let Some(address) = session.address {
                    self.send_later(now, address, bytes);
                }
            }
            FaultKind::SendRtp(plain) => self.send_sealed(now, key, plain, Sealer::seal_rtp),
            FaultKind::SendRtcp(plain) => self.send_sealed(now, key, plain, Sealer::seal_rtcp),
            FaultKind::SendNumberedText { opcode, data } => {
                let message = UnknownMessage { opcode: *opcode, data: data.clone() };
                self.send_numbered(now, key, &ServerMessage::Unknown(message));
            }
            FaultKind::SendNumberedBinary { opcode, payload } => {
                self.send_binary(now, key, *opcode, payload);
            }
            _ => {}
        }
        let Some(id) = connection else { return };
        match kind {
            FaultKind::Close(code) => self.close(now, id, *code),
            FaultKind::Reset => self.reset(now, id),
            FaultKind::Forget => {
                self.reset(now, id);
                self.end_session(now, key, None);
            }
            FaultKind::Stall => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.stalled = true;
                    // A dead server notices no missing heartbeat either.
                    self.timers.disarm(connection.heartbeat.take());
                }
            }
            FaultKind::Delay(by) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.delay = *by;
                }
            }
            FaultKind::SendText(text) => self.send_text(now, id, text.clone()),
            FaultKind::SendBinary(bytes) => {
                self.send(now, id, Output::Binary { connection: id, bytes: bytes.clone() });
            }
            _ => {}
        }
    }
}

/// How long a reordered datagram is held: longer than one frame, so that the next overtakes it.
pub const REORDER_HOLD: Duration = Duration::from_millis(25);

/// Rules that last at a time; more are not taken.
const MAX_RULES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: UserId = UserId::new(2);

    #[test]
    fn a_rule_applies_as_often_as_it_says_and_to_whom_it_says() {
        let mut faults = Faults::default();
        faults.add(Some(BOB), Trigger::Outgoing(Opcode::Ready), 2);
        assert!(!faults.drops_outgoing(Some(UserId::new(1)), Opcode::Ready));
        assert!(!faults.drops_outgoing(None, Opcode::Ready));
        assert!(!faults.drops_outgoing(Some(BOB), Opcode::Hello));
        assert!(faults.drops_outgoing(Some(BOB), Opcode::Ready));
        assert!(faults.drops_outgoing(Some(BOB), Opcode::Ready));
        assert!(!faults.drops_outgoing(Some(BOB), Opcode::Ready));
    }

    #[test]
    fn rules_for_the_same_opcode_apply_in_the_order_they_were_given() {
        let mut faults = Faults::default();
        let close = Reaction::Close(CloseCode::DISCONNECTED);
        faults.add(None, Trigger::Incoming(Opcode::Identify, Reaction::Ignore), 1);
        faults.add(None, Trigger::Incoming(Opcode::Identify, close), 1);
        assert_eq!(faults.incoming(None, Opcode::Identify), Some(Reaction::Ignore));
        assert_eq!(faults.incoming(Some(BOB), Opcode::Identify), Some(close));
        assert_eq!(faults.incoming(Some(BOB), Opcode::Identify), None);
    }

    #[test]
    fn an_impairment_of_a_user_goes_before_the_one_of_everybody() {
        let mut faults = Faults::default();
        let everybody = Impairment { drop: 0.5, ..Impairment::default() };
        let bobs = Impairment { drop: 1.0, ..Impairment::default() };
        faults.impairments.insert((None, Direction::ToClient), everybody);
        faults.impairments.insert((Some(BOB), Direction::ToClient), bobs);
        assert_eq!(faults.impairment(BOB, Direction::ToClient), Some(bobs));
        assert_eq!(faults.impairment(UserId::new(1), Direction::ToClient), Some(everybody));
        assert_eq!(faults.impairment(BOB, Direction::FromClient), None);
    }
}
