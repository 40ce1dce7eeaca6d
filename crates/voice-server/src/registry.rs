//! The voice sessions that exist, and every way to find one.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use voice_model::{ChannelId, GuildId, SessionId, SpeakingFlags, Token, UserId};

use crate::ConnectionId;
use crate::media::Link;
use crate::replay::Replay;
use crate::timers::TimerId;
use crate::voice_state::Restrictions;

/// Names a session; a session that came later in the same slot has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    index: u32,
    generation: u32,
}

/// One client in one voice channel, with or without a WebSocket at the moment.
pub(crate) struct Session {
    pub(crate) guild: GuildId,
    pub(crate) channel: ChannelId,
    pub(crate) user: UserId,
    pub(crate) session_id: SessionId,
    pub(crate) token: Token,
    pub(crate) version: u8,
    /// The newest version of end-to-end encryption the client offered; 0 is none.
    pub(crate) max_dave_version: u16,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) expiry: Option<TimerId>,
    pub(crate) replay: Replay,
    pub(crate) ssrc: u32,
    /// What the others were told; `None` before the first op 5.
    pub(crate) speaking: Option<SpeakingFlags>,
    /// Until when op 5 has to follow media that came before it.
    pub(crate) patience: Option<TimerId>,
    /// Where the client's datagrams come from.
    pub(crate) address: Option<SocketAddr>,
    /// Where the newest discovery came from. Anybody can send one.
    pub(crate) discovered: Option<SocketAddr>,
    /// A datagram has come from there since the key was given out.
    pub(crate) heard: bool,
    /// False when the client asked for no media at all (op 15).
    pub(crate) wants_media: bool,
    /// What a moderator or a stage keeps the user from.
    pub(crate) restrictions: Restrictions,
    /// Keys and counters; `None` before a transport is selected.
    pub(crate) link: Option<Link>,
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_ssrc: HashMap<u32, SessionKey>,
    by_address: HashMap<SocketAddr, SessionKey>,
    by_member: BTreeMap<(GuildId, UserId), SessionKey>,
    by_session_id: HashMap<(GuildId, String), Vec<SessionKey>>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    session: Option<Session>,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, session: Session) -> SessionKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("sessions are limited far below 2^32")
        });
        let slot = self.slots.get_mut(index as usize).expect("a free slot is a slot");
        let key = SessionKey { index, generation: slot.generation };
        self.by_ssrc.insert(session.ssrc, key);
        self.by_member.insert((session.guild, session.user), key);
        let id = (session.guild, session.session_id.expose().to_owned());
        self.by_session_id.entry(id).or_default().push(key);
        slot.session = Some(session);
        key
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let session = slot.session.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.by_ssrc.remove(&session.ssrc);
        self.by_member.remove(&(session.guild, session.user));
        if let Some(address) = session.address
            && self.by_address.get(&address) == Some(&key)
        {
            self.by_address.remove(&address);
        }
        let id = (session.guild, session.session_id.expose().to_owned());
        if let Some(keys) = self.by_session_id.get_mut(&id) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_session_id.remove(&id);
            }
        }
        Some(session)
    }

    pub(crate) fn get(&self, key: SessionKey) -> Option<&Session> {
        let slot = self.slots.get(key.index as usize)?;
        slot.session.as_ref().filter(|_| slot.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        let slot = self.slots.get_mut(key.index as usize)?;
        slot.session.as_mut().filter(|_| slot.generation == key.generation)
    }

    pub(crate) fn by_ssrc(&self, ssrc: u32) -> Option<SessionKey> {
        self.by_ssrc.get(&ssrc).copied()
    }

    pub(crate) fn by_address(&self, address: SocketAddr) -> Option<SessionKey> {
        self.by_address.get(&address).copied()
    }

    pub(crate) fn by_member(&self, guild: GuildId, user: UserId) -> Option<SessionKey> {
        self.by_member.get(&(guild, user)).copied()
    }

    /// The sessions of a user in all guilds.
    pub(crate) fn of_user(&self, user: Option<UserId>) -> Vec<SessionKey> {
        let all = self.by_member.iter();
        all.filter(|((_, member), _)| user.is_none_or(|u| u == *member)).map(|(_, k)| *k).collect()
    }

    /// The session a Resume means.
    ///
    /// A standing rule may give many clients the same session id: then one that lost its
    /// connection is meant rather than one that has it.
    pub(crate) fn by_session_id(&self, guild: GuildId, id: &SessionId) -> Option<SessionKey> {
        let keys = self.by_session_id.get(&(guild, id.expose().to_owned()))?;
        let lost = |key: &&SessionKey| self.get(**key).is_some_and(|s| s.connection.is_none());
        keys.iter().find(lost).or_else(|| keys.last()).copied()
    }

    /// Learns where a session's datagrams come from.
    pub(crate) fn bind_address(&mut self, key: SessionKey, address: SocketAddr) {
        let Some(session) = self.get_mut(key) else { return };
        let before = session.address.replace(address);
        if let Some(before) = before
            && before != address
            && self.by_address.get(&before) == Some(&key)
        {
            self.by_address.remove(&before);
        }
        self.by_address.insert(address, key);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn session(user: u64, ssrc: u32) -> Session {
        Session {
            guild: GuildId::new(1),
            channel: ChannelId::new(2),
            user: UserId::new(user),
            session_id: SessionId::new("shared"),
            token: Token::new("token"),
            version: 8,
            max_dave_version: 0,
            connection: Some(ConnectionId::new(user)),
            expiry: None,
            replay: Replay::new(4),
            ssrc,
            speaking: None,
            patience: None,
            address: None,
            discovered: None,
            heard: false,
            wants_media: true,
            restrictions: Restrictions::default(),
            link: None,
        }
    }

    #[test]
    fn a_removed_session_is_found_by_nothing_and_its_key_stays_dead() {
        let address = SocketAddr::from(([127, 0, 0, 1], 5000));
        let mut sessions = Sessions::default();
        let key = sessions.insert(session(5, 77));
        sessions.bind_address(key, address);
        assert!(sessions.remove(key).is_some());
        assert!(sessions.remove(key).is_none());
        assert_eq!((sessions.by_ssrc(77), sessions.by_address(address)), (None, None));
        assert_eq!(sessions.by_member(GuildId::new(1), UserId::new(5)), None);
        let next = sessions.insert(session(6, 78));
        assert!(sessions.get(key).is_none());
        assert!(sessions.get(next).is_some());
        assert_eq!((sessions.len(), sessions.slots.len()), (1, 1));
    }

    #[test]
    fn a_resume_means_the_session_that_lost_its_connection() {
        let mut sessions = Sessions::default();
        let first = sessions.insert(session(5, 77));
        let second = sessions.insert(session(6, 78));
        let id = SessionId::new("shared");
        assert_eq!(sessions.by_session_id(GuildId::new(1), &id), Some(second));
        sessions.get_mut(first).unwrap().connection = None;
        assert_eq!(sessions.by_session_id(GuildId::new(1), &id), Some(first));
        assert_eq!(sessions.by_session_id(GuildId::new(2), &id), None);
    }

    #[test]
    fn an_address_moves_with_its_session_and_is_not_taken_from_another() {
        let (old, new) = ([127, 0, 0, 1], [127, 0, 0, 2]);
        let (old, new) = (SocketAddr::from((old, 1)), SocketAddr::from((new, 1)));
        let mut sessions = Sessions::default();
        let first = sessions.insert(session(5, 77));
        let second = sessions.insert(session(6, 78));
        sessions.bind_address(first, old);
        sessions.bind_address(second, old);
        sessions.bind_address(first, new);
        assert_eq!(sessions.by_address(old), Some(second));
        assert_eq!(sessions.by_address(new), Some(first));
    }
}
