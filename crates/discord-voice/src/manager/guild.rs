//! What the manager knows of one guild.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{
        Notify,
        mpsc::{Sender, WeakSender},
    },
    time::Instant,
};
use voice_model::{GuildId, UserId};
use voice_ws::Identity;

use crate::{JoinCollector, driver::ControlCommand};

/// What is known of one guild. It is forgotten once nothing is going on there.
pub(super) struct Guild {
    pub(super) collector: JoinCollector,
    /// Woken whenever something here changes.
    pub(super) changed: Arc<Notify>,
    /// The newest join or leave; an older one that finds another number gives up.
    pub(super) wish: u64,
    /// Joins and leaves that are under way.
    pub(super) under_way: u32,
    pub(super) joining: bool,
    /// Left, and the main gateway has not confirmed it yet.
    pub(super) leaving: bool,
    /// The join whose connection has not ended yet. Its end tells the main gateway; the end of an older one, for
    /// which nobody waits any more, does not.
    pub(super) open: Option<u64>,
    /// The call, and the server it is connected to.
    pub(super) call: Option<(WeakSender<ControlCommand>, Identity)>,
    /// When the call was told to follow to another server.
    followed_at: Option<Instant>,
}

impl Guild {
    pub(super) fn new(id: GuildId, user: UserId) -> Self {
        Self {
            collector: JoinCollector::new(id, user),
            changed: Arc::new(Notify::new()),
            wish: 0,
            under_way: 0,
            joining: false,
            leaving: false,
            open: None,
            call: None,
            followed_at: None,
        }
    }

    /// Whether the main gateway has a leave to confirm: one that never answered a join answers no leave either.
    pub(super) fn is_in_channel(&self) -> bool {
        self.collector.channel().is_some()
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.under_way == 0 && !self.joining && !self.leaving && self.open.is_none() && self.call.is_none()
    }

    /// The way to the call, while it lives.
    pub(super) fn commands(&self) -> Option<Sender<ControlCommand>> {
        self.call.as_ref()?.0.upgrade().filter(|commands| !commands.is_closed())
    }

    /// Lets the call follow to the server that the main gateway named last.
    pub(super) fn follow_server(&mut self) {
        let Some(commands) = self.commands() else { return };
        let (Some((_, used)), Some(Ok(named))) = (&mut self.call, self.collector.connect_info()) else { return };
        // Both compared: the same endpoint with a new token is a new session.
        if (&used.endpoint, &used.token) != (&named.endpoint, &named.token) {
            // Refused by a call too busy to take it, it is tried again with the next event.
            if commands.try_send(ControlCommand::Update(named.clone())).is_ok() {
                *used = named;
                self.followed_at = Some(Instant::now());
            }
        }
    }

    /// Lets the call follow into a channel whose server was named before the channel was. With the old channel's id it
    /// would look for an end-to-end encrypted group in which nobody is.
    pub(super) fn follow_channel(&mut self) {
        let Some(commands) = self.commands() else { return };
        let (Some((_, used)), Some(Ok(named))) = (&mut self.call, self.collector.connect_info()) else { return };
        let just_followed = self.followed_at.is_some_and(|at| at.elapsed() <= EARLY_SERVER);
        let same_server = (&used.endpoint, &used.token) == (&named.endpoint, &named.token);
        if just_followed
            && same_server
            && used.channel_id != named.channel_id
            && commands.try_send(ControlCommand::Update(named.clone())).is_ok()
        {
            *used = named;
        }
    }
}

/// How long before the channel of a move its server may be named.
const EARLY_SERVER: Duration = Duration::from_secs(2);
