//! Who may identify: tokens handed out, and standing rules.

use std::collections::{BTreeMap, HashMap};

use voice_model::{ChannelId, CloseCode, GuildId, Identify, SessionId, Token, UserId};

use crate::config::CoreConfig;

/// What a client needs to join a voice channel.
///
/// Another ticket for the same user in the same guild replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// The guild, `server_id` of Identify.
    pub server_id: GuildId,
    /// The voice channel.
    pub channel_id: ChannelId,
    /// The user who joins.
    pub user_id: UserId,
    /// The session id for Identify and Resume.
    pub session_id: SessionId,
    /// The token for Identify and Resume.
    pub token: Token,
    /// Where the voice gateway is, in the form VOICE_SERVER_UPDATE has it.
    pub endpoint: String,
}

/// What an Identify was found to be entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) channel: ChannelId,
    /// Whether a standing rule admitted it; such a client may identify again at any time.
    pub(crate) standing: bool,
}

/// The tokens handed out. Every one is remembered until it is replaced or revoked.
#[derive(Default)]
pub(crate) struct Credentials {
    grants: BTreeMap<u64, Ticket>,
    by_member: BTreeMap<(GuildId, UserId), u64>,
    by_token: HashMap<String, u64>,
    guilds: HashMap<GuildId, usize>,
    next: u64,
}

impl Credentials {
    /// Remembers a ticket; true when the oldest one had to go for it.
    pub(crate) fn grant(&mut self, ticket: Ticket, limit: usize) -> bool {
        let member = (ticket.server_id, ticket.user_id);
        if let Some(&old) = self.by_member.get(&member) {
            self.remove(old);
        }
        self.by_member.insert(member, self.next);
        self.by_token.insert(ticket.token.expose().to_owned(), self.next);
        *self.guilds.entry(ticket.server_id).or_default() += 1;
        self.grants.insert(self.next, ticket);
        self.next += 1;
        let oldest = self.grants.keys().next().copied();
        match oldest {
            Some(oldest) if self.grants.len() > limit => {
                self.remove(oldest);
                true
            }
            _ => false,
        }
    }

    /// Takes back what a user holds in a guild.
    pub(crate) fn revoke(&mut self, guild: GuildId, user: UserId) {
        if let Some(&serial) = self.by_member.get(&(guild, user)) {
            self.remove(serial);
        }
    }

    /// Decides about an Identify.
    pub(crate) fn check(&self, identify: &Identify, config: &CoreConfig) -> Result<Admission, CloseCode> {
        if !self.knows(identify.server_id, config) {
            return Err(CloseCode::SERVER_NOT_FOUND);
        }
        let grant = self
            .by_token
            .get(identify.token.expose())
            .and_then(|serial| self.grants.get(serial))
            .filter(|grant| grant.server_id == identify.server_id);
        if let Some(grant) = grant {
            let same = grant.session_id.expose() == identify.session_id.expose() && grant.user_id == identify.user_id;
            return if same {
                Ok(Admission { channel: grant.channel_id, standing: false })
            } else {
                Err(CloseCode::SESSION_NO_LONGER_VALID)
            };
        }
        Self::check_standing(identify, config)
    }

    fn check_standing(identify: &Identify, config: &CoreConfig) -> Result<Admission, CloseCode> {
        let mut refusal = CloseCode::AUTHENTICATION_FAILED;
        for rule in &config.access {
            let valid_here = rule.token.expose() == identify.token.expose()
                && rule.server_id.is_none_or(|id| id == identify.server_id);
            if !valid_here {
                continue;
            }
            let session = rule.session_id.as_ref();
            if session.is_none_or(|id| id.expose() == identify.session_id.expose())
                && rule.user_id.is_none_or(|id| id == identify.user_id)
            {
                let channel = rule.channel_id.or(identify.channel_id);
                let channel = channel.unwrap_or_else(|| ChannelId::new(identify.server_id.get()));
                return Ok(Admission { channel, standing: true });
            }
            refusal = CloseCode::SESSION_NO_LONGER_VALID;
        }
        Err(refusal)
    }

    fn knows(&self, guild: GuildId, config: &CoreConfig) -> bool {
        self.guilds.contains_key(&guild)
            || config.guilds.iter().any(|known| known.id == guild)
            || config.access.iter().any(|rule| rule.server_id.is_none_or(|id| id == guild))
    }

    fn remove(&mut self, serial: u64) {
        let Some(ticket) = self.grants.remove(&serial) else { return };
        self.by_member.remove(&(ticket.server_id, ticket.user_id));
        self.by_token.remove(ticket.token.expose());
        if let Some(count) = self.guilds.get_mut(&ticket.server_id) {
            *count -= 1;
            if *count == 0 {
                self.guilds.remove(&ticket.server_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Access;

    const GUILD: GuildId = GuildId::new(10);
    const CHANNEL: ChannelId = ChannelId::new(20);
    const USER: UserId = UserId::new(30);

    fn ticket(user: UserId, token: &str) -> Ticket {
        Ticket {
            server_id: GUILD,
            channel_id: CHANNEL,
            user_id: user,
            session_id: SessionId::new("session"),
            token: Token::new(token),
            endpoint: String::new(),
        }
    }

    fn identify(guild: GuildId, user: UserId, session: &str, token: &str) -> Identify {
        Identify::new(guild, user, SessionId::new(session), Token::new(token))
    }

    #[test]
    fn every_wrong_field_has_its_close_code() {
        let mut credentials = Credentials::default();
        assert!(!credentials.grant(ticket(USER, "token"), 9));
        let config = CoreConfig::default();
        let check = |identify| credentials.check(&identify, &config).map_err(CloseCode::get);
        let other = UserId::new(31);
        assert_eq!(
            check(identify(GUILD, USER, "session", "token")),
            Ok(Admission { channel: CHANNEL, standing: false })
        );
        assert_eq!(check(identify(GUILD, USER, "session", "wrong")), Err(4004));
        assert_eq!(check(identify(GUILD, USER, "wrong", "token")), Err(4006));
        assert_eq!(check(identify(GUILD, other, "session", "token")), Err(4006));
        assert_eq!(check(identify(GuildId::new(11), USER, "session", "token")), Err(4011));
        let configured = config.guilds[0].id;
        assert_eq!(check(identify(configured, USER, "session", "token")), Err(4004));
    }

    #[test]
    fn a_new_ticket_replaces_the_old_one_and_revoking_forgets_the_guild() {
        let mut credentials = Credentials::default();
        let config = CoreConfig::default();
        credentials.grant(ticket(USER, "old"), 9);
        credentials.grant(ticket(USER, "new"), 9);
        let check = |credentials: &Credentials, token| {
            let found = credentials.check(&identify(GUILD, USER, "session", token), &config);
            found.map(|a| a.channel).map_err(CloseCode::get)
        };
        assert_eq!(check(&credentials, "old"), Err(4004));
        assert_eq!(check(&credentials, "new"), Ok(CHANNEL));
        credentials.revoke(GUILD, USER);
        assert_eq!(check(&credentials, "new"), Err(4011));
    }

    #[test]
    fn the_oldest_ticket_goes_when_there_are_too_many() {
        let mut credentials = Credentials::default();
        assert!(!credentials.grant(ticket(UserId::new(1), "a"), 2));
        assert!(!credentials.grant(ticket(UserId::new(2), "b"), 2));
        assert!(credentials.grant(ticket(UserId::new(3), "c"), 2));
        let config = CoreConfig::default();
        let found = credentials.check(&identify(GUILD, UserId::new(1), "session", "a"), &config);
        assert_eq!(found, Err(CloseCode::AUTHENTICATION_FAILED));
        assert_eq!((credentials.by_token.len(), credentials.by_member.len()), (2, 2));
    }

    #[test]
    fn a_standing_rule_admits_what_it_does_not_pin_down() {
        let rule = Access {
            token: Token::new("open"),
            session_id: None,
            server_id: None,
            channel_id: None,
            user_id: Some(USER),
        };
        let config = CoreConfig { access: vec![rule], ..CoreConfig::default() };
        let credentials = Credentials::default();
        let any = GuildId::new(99);
        assert_eq!(
            credentials.check(&identify(any, USER, "whatever", "open"), &config),
            Ok(Admission { channel: ChannelId::new(99), standing: true })
        );
        let check = |i| credentials.check(&i, &config).map_err(CloseCode::get);
        assert_eq!(check(identify(any, UserId::new(1), "x", "open")), Err(4006));
        assert_eq!(check(identify(any, USER, "x", "shut")), Err(4004));
    }
}
