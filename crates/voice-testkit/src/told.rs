//! What the voice gateway numbers reaches the call's owner in order and once, however often the session is resumed.

use discord_voice::{
    Event,
    model::{ClientMessage, ServerMessage, UserId},
};

use crate::World;

/// What a voice session numbered, and how much of it the call has told.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    numbered: Vec<(u64, Told)>,
    told: usize,
}

/// What a call tells of a numbered message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Speaking(u64, u32, UserId),
    Came(Vec<UserId>),
    Left(UserId),
}

impl World {
    /// Numbered messages of the voice gateway that a user's call has not told of in its present session.
    #[must_use]
    pub fn untold(&self, user: UserId) -> usize {
        let conversation = self.client(user).conversation.and_then(|number| self.conversations.get(number));
        conversation.map_or(0, |conversation| conversation.numbered.len() - conversation.told)
    }

    /// A client says on a connection to which session it belongs.
    pub(crate) fn watch_up(&mut self, id: u64, user: UserId, text: &str) {
        let conversation = match ClientMessage::decode(text) {
            Ok(ClientMessage::Identify(_)) => {
                self.conversations.push(Conversation::default());
                let number = self.conversations.len() - 1;
                self.client_mut(user).newest_conversation = Some(number);
                number
            }
            Ok(ClientMessage::Resume(_)) => match self.client(user).newest_conversation {
                Some(number) => number,
                None => return,
            },
            _ => return,
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.conversation = Some(conversation);
        }
    }

    /// The server sends something, maybe for the second time.
    pub(crate) fn watch_down(&mut self, id: u64, text: &str) {
        let number = self.connections.get(&id).and_then(|connection| connection.conversation);
        let Some(conversation) = number.and_then(|number| self.conversations.get_mut(number)) else { return };
        let Ok(message) = ServerMessage::decode(text) else { return };
        let Some(seq) = message.sequence.map(u64::from) else { return };
        let told = match message.message {
            ServerMessage::Speaking(m) => Told::Speaking(m.speaking.bits().into(), m.ssrc, m.user_id),
            ServerMessage::ClientsConnect(m) => Told::Came(m.user_ids),
            ServerMessage::ClientDisconnect(m) => Told::Left(m.user_id),
            _ => return,
        };
        if conversation.numbered.last().is_none_or(|(last, _)| *last < seq) {
            conversation.numbered.push((seq, told));
        } else {
            let again = conversation.numbered.contains(&(seq, told));
            assert!(again, "seed {}: the server replays another message {seq} than it sent", self.seed);
        }
    }

    /// A call tells its owner something.
    pub(crate) fn watch_told(&mut self, user: UserId, event: &Event) {
        let told = match event {
            Event::Speaking { flags, ssrc, user } => Told::Speaking(flags.bits().into(), ssrc.get(), *user),
            Event::UsersConnected(users) => Told::Came(users.clone()),
            Event::UserLeft(user) => Told::Left(*user),
            _ => return,
        };
        let number = self.client(user).conversation;
        let Some(conversation) = number.and_then(|number| self.conversations.get_mut(number)) else { return };
        if self.sends_unnumbered {
            return;
        }
        let next = conversation.numbered.get(conversation.told).map(|(_, told)| told);
        assert_eq!(Some(&told), next, "seed {}: lost, twice or in another order: what {user} is told", self.seed);
        conversation.told += 1;
    }
}
