//! The newest of a guild's joins and leaves counts.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    sync::{Notify, mpsc::Sender},
    time::{Instant, timeout_at},
};
use voice_model::GuildId;

use super::{Inner, JoinError, guild::Guild};
use crate::driver::ControlCommand;

/// One join or leave, the newest of its guild until another one comes.
pub(super) struct Wish {
    pub(super) inner: Arc<Inner>,
    pub(super) guild: GuildId,
    pub(super) number: u64,
    pub(super) changed: Arc<Notify>,
    /// What the wish found.
    found: Found,
}

/// What a guild was doing when a wish came.
enum Found {
    Call(Sender<ControlCommand>),
    /// A connection that nobody holds any more, or that is still being made.
    Connection,
    /// A join that the main gateway has not answered.
    Join,
    Nothing,
}

impl Wish {
    pub(super) fn new(inner: &Arc<Inner>, id: GuildId) -> Self {
        let mut guilds = inner.lock();
        let guild = guilds.entry(id).or_insert_with(|| Guild::new(id, inner.user));
        guild.wish = inner.wishes.fetch_add(1, Ordering::Relaxed);
        guild.under_way += 1;
        let joining = std::mem::take(&mut guild.joining);
        let found = match guild.commands() {
            Some(commands) => Found::Call(commands),
            None if guild.open.is_some() => Found::Connection,
            None if joining => Found::Join,
            None => Found::Nothing,
        };
        guild.call = None;
        guild.leaving |= matches!(found, Found::Join) && guild.is_in_channel();
        guild.changed.notify_waiters();
        let (number, changed) = (guild.wish, Arc::clone(&guild.changed));
        Self { inner: Arc::clone(inner), guild: id, number, changed, found }
    }

    /// Ends what was found and waits until the main gateway has confirmed it.
    pub(super) async fn hang_up(&self, deadline: Instant) {
        match &self.found {
            // The end of the connection tells the main gateway.
            Found::Call(commands) => _ = timeout_at(deadline, commands.send(ControlCommand::Leave)).await,
            Found::Join => self.inner.send_leave(self.guild),
            Found::Connection | Found::Nothing => {}
        }
        loop {
            let changed = self.changed.notified();
            let pending = |guild: &Guild| guild.leaving || guild.open.is_some();
            if !self.inner.lock().get(&self.guild).is_some_and(pending) || timeout_at(deadline, changed).await.is_err()
            {
                break;
            }
        }
        if let Some(guild) = self.inner.lock().get_mut(&self.guild).filter(|guild| guild.wish == self.number) {
            // Waited for long enough: what ends later is nobody's any more.
            (guild.leaving, guild.open) = (false, None);
        }
    }

    /// The guild, if there is no newer wish for it.
    pub(super) fn current<'a>(&self, guilds: &'a mut HashMap<GuildId, Guild>) -> Result<&'a mut Guild, JoinError> {
        guilds.get_mut(&self.guild).filter(|guild| guild.wish == self.number).ok_or(JoinError::Superseded)
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let mut guilds = self.inner.lock();
        if let Some(guild) = guilds.get_mut(&self.guild) {
            guild.under_way -= 1;
        }
        Inner::forget_if_idle(&mut guilds, self.guild);
    }
}
