//! What whoever runs the server may do to it while it runs.

use std::time::Instant;

use voice_model::{ChannelId, CloseCode, GuildId, SessionId, UserId};

use crate::config::JoinAnswer;
use crate::core::Core;
use crate::faults::{Fault, FaultKind};
use crate::voice_state::Restrictions;
use crate::{Access, Ticket};

/// Something to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Accept a ticket that was made elsewhere.
    Grant(Ticket),
    /// Accept a standing permission from now on.
    Allow(Access),
    /// Move a user to another channel, as a moderator does.
    Move {
        /// The guild.
        guild: GuildId,
        /// Who.
        user: UserId,
        /// Where to.
        channel: ChannelId,
    },
    /// Remove a user from voice, as a moderator does.
    Disconnect {
        /// The guild.
        guild: GuildId,
        /// Who.
        user: UserId,
    },
    /// Give a user another voice server, as a change of region does.
    Rehome {
        /// The guild.
        guild: GuildId,
        /// Who.
        user: UserId,
    },
    /// Keep a user who joined through the main gateway from speaking or hearing, as a moderator or a stage does.
    Restrict {
        /// The guild.
        guild: GuildId,
        /// Who.
        user: UserId,
        /// From what, from now on.
        restrictions: Restrictions,
    },
    /// Let a user write a text in a channel: the bots that ask for such messages are told.
    Say {
        /// The guild.
        guild: GuildId,
        /// The channel; any number will do.
        channel: ChannelId,
        /// Who. Not a bot.
        author: UserId,
        /// What.
        text: String,
    },
    /// Close the voice connections of a user.
    CloseVoice {
        /// Who.
        user: UserId,
        /// With which code; whether the sessions survive follows from it.
        code: CloseCode,
    },
    /// Answer op 4 of the main gateway differently from now on.
    SetJoinAnswer(JoinAnswer),
    /// Make a fault happen, or last.
    Inject(Fault),
}

impl Core {
    /// Does what whoever runs the server wants.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Grant(ticket) => {
                let evicted = self.credentials.grant(ticket, self.config.limits.grants);
                self.stats.grants_evicted += u64::from(evicted);
            }
            Command::Allow(access) => self.config.access.push(access),
            Command::Move { guild, user, channel } => self.move_user(now, guild, user, channel),
            Command::Disconnect { guild, user } => self.disconnect_user(now, guild, user),
            Command::Rehome { guild, user } => self.rehome(now, guild, user),
            Command::Restrict { guild, user, restrictions } => self.restrict(now, guild, user, restrictions),
            Command::Say { guild, channel, author, text } => self.say(now, (guild, channel), author, &text),
            Command::CloseVoice { user, code } => {
                self.inject(now, Fault::user(user, FaultKind::Close(code)));
            }
            Command::SetJoinAnswer(answer) => self.config.join = answer,
            Command::Inject(fault) => self.inject(now, fault),
        }
    }

    /// Hands out what a client needs to join a channel, without a main gateway.
    pub fn issue(&mut self, guild: GuildId, channel: ChannelId, user: UserId) -> Ticket {
        let session_id = SessionId::new(self.random.hex::<16>());
        self.grant(guild, channel, user, session_id)
    }
}
