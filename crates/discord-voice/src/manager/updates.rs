//! The order of opcode 4 under the main gateway's limits.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use voice_model::{GuildId, UpdateVoiceState};

use crate::Shard;

/// Updates that wait for their turn, of each guild the newest. Each connection to the main gateway has limits of its own.
#[derive(Debug)]
pub(super) struct Updates {
    total: NonZeroU32,
    /// By the number of the connection.
    lanes: HashMap<u64, Lane>,
    /// The guilds that were last told a channel.
    told: HashSet<GuildId>,
    pushed: u64,
}

/// What goes over one connection.
#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeMap<Turn, UpdateVoiceState>,
    /// The turns in it, by their guild.
    turns: HashMap<GuildId, Turn>,
    /// Those of them that are leaves.
    leaves: BTreeSet<Turn>,
    /// When what was sent in the last minute, oldest first.
    sent: VecDeque<(Instant, GuildId)>,
    /// Guilds that the gateway did not take a leave of, and when each may be tried again.
    owed: HashMap<GuildId, Instant>,
}

/// Where an update stands in its line: a leave as if it had come later. It can wait, who joins cannot.
type Turn = (Instant, u64);

/// What becomes of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is sent after this time at the latest.
    In(Duration),
    /// It takes back a join that was never sent: the user is in no channel, and nothing is sent.
    Unneeded,
}

impl Default for Updates {
    fn default() -> Self {
        Self { total: NonZeroU32::MIN, lanes: HashMap::new(), told: HashSet::new(), pushed: 0 }
    }
}

impl Updates {
    /// The bot has so many connections. What waits goes over the new ones.
    pub(super) fn set_total(&mut self, now: Instant, shard: Shard) {
        let total = NonZeroU32::new(shard.total()).unwrap_or(NonZeroU32::MIN);
        if total == self.total {
            return;
        }
        self.total = total;
        for (_, lane) in std::mem::take(&mut self.lanes) {
            for (turn, update) in lane.waiting {
                self.lane(update.guild_id).insert(turn, update);
            }
            for (guild, at) in lane.owed {
                self.lane(guild).owed.insert(guild, at.min(now));
            }
        }
    }

    /// Takes an update, in place of an older one of the same guild.
    pub(super) fn push(&mut self, now: Instant, update: UpdateVoiceState) -> Place {
        self.pushed += 1;
        let (guild, number) = (update.guild_id, self.pushed);
        let was_told = self.told.contains(&guild);
        let lane = self.lane(guild);
        lane.forget(now);
        lane.owed.remove(&guild);
        let replaced = lane.remove(guild);
        let turn = match (update.channel_id, replaced) {
            (None, Some(_)) if !was_told => return Place::Unneeded,
            (None, _) => (now + LEAVE_PATIENCE, number),
            // It keeps the turn of the one before.
            (Some(_), Some((turn, before))) if before.channel_id.is_some() => turn,
            (Some(_), _) => (now, number),
        };
        lane.insert(turn, update);
        Place::In(lane.delay(now, turn, guild))
    }

    /// The next one whose turn has come.
    pub(super) fn poll(&mut self, now: Instant) -> Option<UpdateVoiceState> {
        let update = self.lanes.values_mut().find_map(|lane| lane.poll(now))?;
        if update.channel_id.is_some() {
            self.told.insert(update.guild_id);
        } else {
            self.told.remove(&update.guild_id);
        }
        Some(update)
    }

    /// When to poll again.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.timeout(now)).min()
    }

    /// The user is in a channel of the guild, though no update of here put it there.
    pub(super) fn know(&mut self, guild: GuildId) {
        self.told.insert(guild);
    }

    /// The guild's call is over. Whether the user may still be in its channel.
    pub(super) fn over(&mut self, guild: GuildId) -> bool {
        self.told.remove(&guild)
    }

    /// The guild must be left, and the gateway could not be told so.
    pub(super) fn owe(&mut self, guild: GuildId, at: Instant) {
        let lane = self.lane(guild);
        if !lane.turns.contains_key(&guild) {
            lane.owed.insert(guild, at);
        }
    }

    /// Whether the guild must be left.
    pub(super) fn is_owed(&self, guild: GuildId) -> bool {
        self.lanes.get(&self.number(guild)).is_some_and(|lane| lane.owed.contains_key(&guild))
    }

    /// The connection of this guild is there: what it has to be told is told. Returns whether that is anything.
    pub(super) fn settle(&mut self, now: Instant, guild: GuildId) -> bool {
        let number = self.number(guild);
        let Some(lane) = self.lanes.get_mut(&number).filter(|lane| !lane.owed.is_empty()) else { return false };
        let due: Vec<_> = lane.owed.iter().filter(|(_, at)| **at <= now).map(|(guild, _)| *guild).collect();
        for guild in &due {
            self.told.insert(*guild);
            self.push(now, leave(*guild));
        }
        !due.is_empty()
    }

    /// The same for a connection of which no guild is known.
    pub(super) fn settle_shard(&mut self, now: Instant, shard: Shard) -> bool {
        let lane = self.lanes.get(&u64::from(shard.number()));
        let guild = lane.and_then(|lane| lane.owed.keys().next()).copied();
        guild.is_some_and(|guild| self.settle(now, guild))
    }

    fn number(&self, guild: GuildId) -> u64 {
        (guild.get() >> 22) % u64::from(self.total.get())
    }

    fn lane(&mut self, guild: GuildId) -> &mut Lane {
        self.lanes.entry(self.number(guild)).or_default()
    }
}

/// Opcode 4 that leaves a guild's channel.
pub(super) const fn leave(guild: GuildId) -> UpdateVoiceState {
    UpdateVoiceState { guild_id: guild, channel_id: None, self_mute: false, self_deaf: false }
}

impl Lane {
    fn insert(&mut self, turn: Turn, update: UpdateVoiceState) {
        self.turns.insert(update.guild_id, turn);
        if update.channel_id.is_none() {
            self.leaves.insert(turn);
        }
        self.waiting.insert(turn, update);
    }

    fn remove(&mut self, guild: GuildId) -> Option<(Turn, UpdateVoiceState)> {
        let turn = self.turns.remove(&guild)?;
        self.leaves.remove(&turn);
        self.waiting.remove(&turn).map(|update| (turn, update))
    }

    fn poll(&mut self, now: Instant) -> Option<UpdateVoiceState> {
        self.forget(now);
        if self.sent.len() >= MAX_SENT {
            return None;
        }
        let guild = self.first().find(|guild| self.guild_turn(now, *guild) <= now)?;
        let (_, update) = self.remove(guild)?;
        self.sent.push_back((now, guild));
        Some(update)
    }

    fn timeout(&self, now: Instant) -> Option<Instant> {
        let guild = self.first().map(|guild| self.guild_turn(now, guild)).min()?;
        let all = if self.sent.len() >= MAX_SENT { self.sent.front().map_or(now, |(at, _)| *at + WINDOW) } else { now };
        Some(guild.max(all))
    }

    /// The guilds whose turn may be next: no more can have been sent too often just now than are sent in a minute.
    fn first(&self) -> impl Iterator<Item = GuildId> + '_ {
        self.waiting.values().map(|update| update.guild_id).take(MAX_SENT + 1)
    }

    /// For how long what has this turn waits, at most.
    fn delay(&self, now: Instant, turn: Turn, guild: GuildId) -> Duration {
        let all = self.waiting.len() - 1;
        // A leave whose patience is over stands before who comes now.
        let is_behind_leaves = self.leaves.first().is_some_and(|leave| *leave <= turn);
        let ahead = if is_behind_leaves { all } else { all - self.leaves.len() };
        let rounds = u32::try_from(ahead / MAX_SENT).unwrap_or(u32::MAX);
        let at = match (self.sent.len() + ahead % MAX_SENT).checked_sub(MAX_SENT) {
            None => now,
            Some(index) => self.sent.get(index).map_or(now, |(at, _)| *at + WINDOW),
        };
        (at + WINDOW * rounds).max(self.guild_turn(now, guild)).saturating_duration_since(now)
    }

    fn guild_turn(&self, now: Instant, guild: GuildId) -> Instant {
        let last = self.sent.iter().rev().take_while(|(at, _)| now.saturating_duration_since(*at) < TWO_PER_GUILD);
        let before = last.filter(|(_, other)| *other == guild).nth(1);
        before.map_or(now, |(at, _)| *at + TWO_PER_GUILD)
    }

    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            self.sent.pop_front();
        }
    }
}

/// Of the 120 messages that the main gateway takes in a minute on each connection, half are left for everything else
/// (Discord docs, Gateway, "Rate Limiting").
const MAX_SENT: usize = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// One update of a guild per second, or two at once: to leave and to join again.
const TWO_PER_GUILD: Duration = Duration::from_secs(2);
/// For how long those who join go first.
const LEAVE_PATIENCE: Duration = Duration::from_secs(30);
/// After what time a leave that the gateway did not take is tried again, at the earliest.
pub(super) const LEAVE_AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use voice_model::ChannelId;

    use super::*;

    fn update(guild: u64, channel: u64) -> UpdateVoiceState {
        UpdateVoiceState { channel_id: Some(ChannelId::new(channel)), ..leave(GuildId::new(guild)) }
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn start() -> Instant {
        Instant::now()
    }

    fn all(updates: &mut Updates, now: Instant) -> Vec<UpdateVoiceState> {
        std::iter::from_fn(|| updates.poll(now)).collect()
    }

    const AT_ONCE: Place = Place::In(Duration::ZERO);

    #[test]
    fn of_one_guild_the_newest_is_sent_and_not_too_often() {
        let (now, mut updates) = (start(), Updates::default());
        assert_eq!(updates.push(now, update(1, 10)), AT_ONCE);
        assert_eq!(updates.poll(now), Some(update(1, 10)));
        assert_eq!(updates.push(now, update(1, 10)), AT_ONCE);
        assert_eq!(updates.poll(now), Some(update(1, 10)));
        for channel in 11..20 {
            assert_eq!(updates.push(now, update(1, channel)), Place::In(TWO_PER_GUILD));
        }
        assert_eq!((updates.poll(now), updates.poll_timeout(now)), (None, Some(now + TWO_PER_GUILD)));
        assert_eq!(updates.push(now, update(2, 1)), AT_ONCE, "other guilds do not wait for it");
        assert_eq!(updates.poll(now), Some(update(2, 1)));
        assert_eq!(updates.poll(now + TWO_PER_GUILD), Some(update(1, 19)));
        assert_eq!(updates.poll_timeout(now + TWO_PER_GUILD), None);
    }

    #[test]
    fn a_thousand_guilds_take_their_turns_and_each_is_told_when() {
        let (mut now, mut updates) = (start(), Updates::default());
        let delays: HashMap<GuildId, Instant> = (0..1000)
            .map(|guild| match updates.push(now, update(guild, 1)) {
                Place::In(delay) => (GuildId::new(guild), now + delay),
                Place::Unneeded => panic!("nothing was taken back"),
            })
            .collect();
        let mut sent = Vec::new();
        while let Some(at) = updates.poll_timeout(now) {
            now = at;
            for update in all(&mut updates, now) {
                assert_eq!(delays[&update.guild_id], now, "guild {}", update.guild_id);
                sent.push(now);
            }
        }
        assert_eq!(sent.len(), 1000);
        assert!(sent.windows(MAX_SENT + 1).all(|window| window[MAX_SENT] - window[0] >= WINDOW));
    }

    #[test]
    fn a_join_that_was_never_sent_is_taken_back_without_a_word() {
        let (now, mut updates) = (start(), Updates::default());
        for guild in 0..200 {
            updates.push(now, update(guild, 1));
        }
        let joined = all(&mut updates, now);
        assert_eq!(joined.len(), MAX_SENT);
        let later = now + Duration::from_secs(1);
        for guild in 0..200 {
            let place = updates.push(later, leave(GuildId::new(guild)));
            assert_eq!(place == Place::Unneeded, joined.iter().all(|join| join.guild_id != GuildId::new(guild)));
        }
        // One more join is not behind the leaves.
        assert_eq!(updates.push(later, update(200, 1)), Place::In(now + WINDOW - later));
        let first = all(&mut updates, now + WINDOW);
        assert_eq!(first[0], update(200, 1));
        assert_eq!(first.len(), MAX_SENT);
        let last = all(&mut updates, now + 2 * WINDOW);
        assert_eq!(first.len() - 1 + last.len(), joined.len(), "each that was sent is left");
        assert!(first[1..].iter().chain(&last).all(|update| update.channel_id.is_none()));
    }

    #[test]
    fn who_joins_goes_first_but_not_for_ever() {
        let (mut now, mut updates) = (start(), Updates::default());
        updates.know(GuildId::new(0));
        (1..=MAX_SENT as u64).for_each(|guild| _ = updates.push(now, update(guild, 1)));
        assert_eq!(all(&mut updates, now).len(), MAX_SENT);
        updates.push(now, leave(GuildId::new(0)));
        let mut left_after = None;
        for minute in 1..5_u64 {
            for guild in 0..MAX_SENT as u64 {
                updates.push(now, update(1_000 * minute + guild, 1));
            }
            now += WINDOW;
            if all(&mut updates, now).contains(&leave(GuildId::new(0))) {
                left_after = Some(minute);
                break;
            }
        }
        assert_eq!(left_after, Some(2), "joins that came within {LEAVE_PATIENCE:?} went first");
    }

    #[test]
    fn each_connection_has_limits_of_its_own() {
        let (now, mut updates) = (start(), Updates::default());
        let total = NonZeroU32::new(4).expect("not zero");
        let guilds = |lane: u64| (0..MAX_SENT as u64 + 1).map(move |guild| (guild * 4 + lane) << 22);
        // All of them are on one connection, as far as is known at first.
        (0..2).flat_map(guilds).for_each(|guild| _ = updates.push(now, update(guild, 1)));
        updates.set_total(now, Shard::new(1, total));
        let sent = all(&mut updates, now);
        for lane in 0..2 {
            let of_lane = sent.iter().filter(|update| update.guild_id.get() >> 22 & 3 == lane);
            assert_eq!(of_lane.count(), MAX_SENT, "connection {lane}");
        }
        assert_eq!(updates.push(now, update(2 << 22, 1)), AT_ONCE);
        assert_eq!(updates.poll_timeout(now), Some(now));
        assert_eq!(all(&mut updates, now), [update(2 << 22, 1)]);
        assert_eq!(updates.poll_timeout(now), Some(now + WINDOW));
    }

    #[test]
    fn what_the_gateway_did_not_take_it_is_told_when_it_is_back() {
        let (now, mut updates, guild) = (start(), Updates::default(), GuildId::new(7));
        updates.push(now, update(7, 1));
        updates.poll(now);
        updates.push(now, leave(guild));
        assert_eq!(updates.poll(now), Some(leave(guild)));
        updates.owe(guild, now + LEAVE_AGAIN);
        assert!(updates.is_owed(guild));
        assert!(!updates.settle(now, guild), "not at once again");
        assert_eq!(updates.poll_timeout(now), None);
        assert!(updates.settle_shard(now + LEAVE_AGAIN, Shard::ONLY));
        assert_eq!(updates.poll(now + LEAVE_AGAIN), Some(leave(guild)));
        assert!(!updates.is_owed(guild));
        // Who joins again meanwhile is not put out.
        updates.owe(guild, now);
        updates.push(now + LEAVE_AGAIN, update(7, 2));
        assert!(!updates.is_owed(guild));
    }

    #[test]
    fn ten_thousand_guilds_cost_each_as_much_as_a_hundred() {
        let time_for = |guilds: u64| {
            let (begun, mut updates) = (start(), Updates::default());
            (0..guilds).for_each(|guild| _ = updates.push(begun, update(guild, 1)));
            updates.poll(begun);
            (0..guilds).rev().for_each(|guild| _ = updates.push(begun, leave(GuildId::new(guild))));
            start().saturating_duration_since(begun).as_secs_f64() / guilds as f64
        };
        // The best of several: other programs are on this machine too.
        let best = |guilds| (0..5).map(|_| time_for(guilds)).fold(f64::MAX, f64::min);
        let (few, many) = (best(100), best(10_000));
        assert!(many < few * 20.0, "{many} s against {few} s");
    }

    proptest! {
        #[test]
        fn any_wishes_end_with_the_last_one_within_the_limits(
            wishes in proptest::collection::vec((0u64..40, proptest::option::of(1u64..4), 0u64..3_000), 1..200),
        ) {
            let (mut now, mut updates) = (start(), Updates::default());
            let (mut sent, mut wanted): (Vec<(Instant, UpdateVoiceState)>, HashMap<GuildId, UpdateVoiceState>) = Default::default();
            for (guild, channel, wait) in wishes {
                let wish = channel.map_or_else(|| leave(GuildId::new(guild)), |channel| update(guild, channel));
                let place = updates.push(now, wish);
                let was_sent = sent.iter().rev().find(|(_, update)| update.guild_id == wish.guild_id);
                if place == Place::Unneeded {
                    prop_assert!(was_sent.is_none_or(|(_, update)| update.channel_id.is_none()), "it is in a channel");
                    wanted.remove(&wish.guild_id);
                } else {
                    wanted.insert(wish.guild_id, wish);
                }
                sent.extend(all(&mut updates, now).into_iter().map(|update| (now, update)));
                now += Duration::from_millis(wait);
            }
            while let Some(at) = updates.poll_timeout(now) {
                now = now.max(at);
                let news = all(&mut updates, now);
                prop_assert!(!news.is_empty(), "its turn has come");
                sent.extend(news.into_iter().map(|update| (now, update)));
            }
            for (guild, wish) in &wanted {
                let last = sent.iter().rev().find(|(_, update)| update.guild_id == *guild);
                prop_assert_eq!(last.map(|(_, update)| update), Some(wish));
            }
            prop_assert!(sent.windows(MAX_SENT + 1).all(|window| window[MAX_SENT].0 - window[0].0 >= WINDOW));
            for guild in 0..40 {
                let of_guild: Vec<_> = sent.iter().filter(|(_, update)| update.guild_id.get() == guild).map(|(at, _)| *at).collect();
                prop_assert!(of_guild.windows(3).all(|window| window[2] - window[0] >= TWO_PER_GUILD));
            }
        }
    }
}
