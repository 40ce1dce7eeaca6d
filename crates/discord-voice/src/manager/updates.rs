//! The order of opcode 4 under the main gateway's limits.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use voice_model::{GuildId, UpdateVoiceState};

/// Updates that wait for their turn: of each guild the newest, and not too many in all.
#[derive(Debug, Default)]
pub(super) struct Updates {
    waiting: VecDeque<UpdateVoiceState>,
    /// When each guild's last two were sent, the newest first, of those that count still.
    last: HashMap<GuildId, (Instant, Option<Instant>)>,
    /// When the latest were sent, oldest first.
    sent: VecDeque<Instant>,
}

impl Updates {
    /// Takes one, in place of an older one of the same guild. Returns for how long it has to wait.
    pub(super) fn push(&mut self, now: Instant, update: UpdateVoiceState) -> Duration {
        match self.waiting.iter_mut().find(|other| other.guild_id == update.guild_id) {
            Some(other) => *other = update,
            None => self.waiting.push_back(update),
        }
        self.forget(now);
        let place = self.waiting.iter().position(|other| other.guild_id == update.guild_id).unwrap_or(0);
        let rounds = u32::try_from(place / MAX_SENT).unwrap_or(u32::MAX);
        let turn = match (self.sent.len() + place % MAX_SENT).checked_sub(MAX_SENT) {
            None => now,
            Some(index) => self.sent.get(index).map_or(now, |at| *at + WINDOW),
        };
        (turn + WINDOW * rounds).max(self.guild_turn(now, update.guild_id)).saturating_duration_since(now)
    }

    /// The next one whose turn has come.
    pub(super) fn poll(&mut self, now: Instant) -> Option<UpdateVoiceState> {
        self.forget(now);
        if self.sent.len() >= MAX_SENT {
            return None;
        }
        let index = self.waiting.iter().position(|update| self.guild_turn(now, update.guild_id) <= now)?;
        let update = self.waiting.remove(index)?;
        self.sent.push_back(now);
        self.last
            .entry(update.guild_id)
            .and_modify(|(last, before)| (*last, *before) = (now, Some(*last)))
            .or_insert((now, None));
        Some(update)
    }

    /// When to poll again.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let guild = self.waiting.iter().map(|update| self.guild_turn(now, update.guild_id)).min()?;
        let all = if self.sent.len() >= MAX_SENT { self.sent.front().map_or(now, |at| *at + WINDOW) } else { now };
        Some(guild.max(all))
    }

    fn guild_turn(&self, now: Instant, guild: GuildId) -> Instant {
        let before = self.last.get(&guild).and_then(|(_, before)| *before);
        before.map_or(now, |at| (at + TWO_PER_GUILD).max(now))
    }

    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW) {
            self.sent.pop_front();
        }
        self.last.retain(|_, (last, _)| now.saturating_duration_since(*last) < TWO_PER_GUILD);
    }
}

/// Of the 120 messages that the main gateway takes in a minute, half are left for everything else (Discord docs,
/// Gateway, "Rate Limiting").
const MAX_SENT: usize = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// One update of a guild per second, or two at once: to leave and to join again.
const TWO_PER_GUILD: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use voice_model::ChannelId;

    use super::*;

    fn update(guild: u64, channel: u64) -> UpdateVoiceState {
        UpdateVoiceState {
            guild_id: GuildId::new(guild),
            channel_id: Some(ChannelId::new(channel)),
            self_mute: false,
            self_deaf: false,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn of_one_guild_the_newest_is_sent_and_not_too_often() {
        let (now, mut updates) = (start(), Updates::default());
        assert_eq!(updates.push(now, update(1, 10)), Duration::ZERO);
        assert_eq!(updates.poll(now), Some(update(1, 10)));
        assert_eq!(updates.push(now, update(1, 10)), Duration::ZERO);
        assert_eq!(updates.poll(now), Some(update(1, 10)));
        for channel in 11..20 {
            assert_eq!(updates.push(now, update(1, channel)), TWO_PER_GUILD);
        }
        assert_eq!((updates.poll(now), updates.poll_timeout(now)), (None, Some(now + TWO_PER_GUILD)));
        assert_eq!(updates.push(now, update(2, 1)), Duration::ZERO, "other guilds do not wait for it");
        assert_eq!(updates.poll(now), Some(update(2, 1)));
        assert_eq!(updates.poll(now + TWO_PER_GUILD), Some(update(1, 19)));
        assert_eq!(updates.poll_timeout(now + TWO_PER_GUILD), None);
    }

    #[test]
    fn a_thousand_guilds_take_their_turns_and_each_is_told_when() {
        let (mut now, mut updates) = (start(), Updates::default());
        let delays: HashMap<GuildId, Instant> =
            (0..1000).map(|guild| (GuildId::new(guild), now + updates.push(now, update(guild, 1)))).collect();
        let mut sent = Vec::new();
        while let Some(at) = updates.poll_timeout(now) {
            now = at;
            while let Some(update) = updates.poll(now) {
                assert_eq!(delays[&update.guild_id], now, "guild {}", update.guild_id);
                sent.push(now);
            }
        }
        assert_eq!(sent.len(), 1000);
        assert!(sent.windows(MAX_SENT + 1).all(|window| window[MAX_SENT] - window[0] >= WINDOW));
        updates.forget(now + WINDOW);
        assert!(updates.last.is_empty() && updates.sent.is_empty());
    }
}
