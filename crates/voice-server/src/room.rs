//! Who is in a channel together, and what they are told about each other.

use std::time::Instant;

use voice_model::{
    ChannelId, ClientDisconnect, ClientFlags, ClientPlatform, ClientsConnect, GuildId, MediaSinkWants, ServerMessage,
    ServerSpeaking, UserId,
};

use crate::Event;
use crate::core::Core;
use crate::dave::Delivery;
use crate::registry::SessionKey;
use crate::timers::TimerId;

/// A voice channel of a guild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoomId {
    pub(crate) guild: GuildId,
    pub(crate) channel: ChannelId,
}

/// The members of a channel, in the order they came.
#[derive(Default)]
pub(crate) struct Room {
    pub(crate) members: Vec<SessionKey>,
    /// The group of those who encrypt end to end.
    pub(crate) delivery: Option<Box<Delivery>>,
    /// When something about the group is due.
    pub(crate) timer: Option<TimerId>,
}

impl Core {
    /// Adds a session to its channel, and tells everybody.
    pub(crate) fn enter_room(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let (guild, channel) = (session.guild, session.channel);
        let (user, ssrc, version) = (session.user, session.ssrc, session.version);
        let max_dave_version = session.max_dave_version;
        let room = self.rooms.entry(RoomId { guild, channel }).or_default();
        let others = room.members.clone();
        room.members.push(key);
        self.event(Event::Joined { guild, channel, user, ssrc, max_dave_version });

        let users: Vec<UserId> = others.iter().filter_map(|k| self.sessions.get(*k)).map(|s| s.user).collect();
        if !users.is_empty() {
            let there = ServerMessage::ClientsConnect(ClientsConnect { user_ids: users.clone() });
            self.send_numbered(now, key, &there);
        }
        for &other in &users {
            self.send_numbered(now, key, &client_flags(other));
            self.send_numbered(now, key, &client_platform(other));
        }
        for &other in &others {
            if let Some(speaking) = self.speaking_of(other) {
                self.send_numbered(now, key, &speaking);
            }
        }
        if version >= SINK_WANTS_VERSION {
            let wants = MediaSinkWants::all(MediaSinkWants::FULL);
            self.send_numbered(now, key, &ServerMessage::MediaSinkWants(wants));
        }

        let newcomer = ServerMessage::ClientsConnect(ClientsConnect { user_ids: vec![user] });
        for other in others {
            self.send_numbered(now, other, &newcomer);
            self.send_numbered(now, other, &client_flags(user));
            self.send_numbered(now, other, &client_platform(user));
        }
        // After op 11: nobody may be proposed to those who do not know it yet.
        self.dave_join(now, key);
    }

    /// Removes a session from its channel, and tells those who stay.
    pub(crate) fn leave_room(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let (user, ssrc) = (session.user, session.ssrc);
        let id = RoomId { guild: session.guild, channel: session.channel };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.members.retain(|member| *member != key);
        let others = room.members.clone();
        if others.is_empty()
            && let Some(room) = self.rooms.remove(&id)
        {
            self.timers.disarm(room.timer);
        }
        let left = ServerMessage::ClientDisconnect(ClientDisconnect { user_id: user });
        for other in others {
            if let Some(link) = self.sessions.get_mut(other).and_then(|s| s.link.as_mut()) {
                link.forget(ssrc);
            }
            self.send_numbered(now, other, &left);
        }
        self.dave_leave(now, id, user);
    }

    /// Tells the others how a member speaks.
    pub(crate) fn announce_speaking(&mut self, now: Instant, key: SessionKey) {
        let Some(speaking) = self.speaking_of(key) else { return };
        let Some(session) = self.sessions.get(key) else { return };
        let id = RoomId { guild: session.guild, channel: session.channel };
        let others = self.rooms.get(&id).map(|room| room.members.clone()).unwrap_or_default();
        for other in others {
            if other != key {
                self.send_numbered(now, other, &speaking);
            }
        }
    }

    /// The op 5 about a member; `None` before it sent one itself.
    fn speaking_of(&self, key: SessionKey) -> Option<ServerMessage> {
        let session = self.sessions.get(key)?;
        Some(ServerMessage::Speaking(ServerSpeaking {
            speaking: session.speaking?,
            ssrc: session.ssrc,
            user_id: session.user,
            delay: None,
        }))
    }
}

/// Op 18. Bots have no flags.
fn client_flags(user: UserId) -> ServerMessage {
    ServerMessage::ClientFlags(ClientFlags { user_id: user, flags: None })
}

/// Op 20. Bots have no platform.
fn client_platform(user: UserId) -> ServerMessage {
    ServerMessage::ClientPlatform(ClientPlatform { user_id: user, platform: None })
}

/// The first gateway version with op 15.
const SINK_WANTS_VERSION: u8 = 5;
