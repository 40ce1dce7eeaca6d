//! Opcode 4 on its way to the main gateway: when it is sent, and what becomes of what the gateway does not take.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::runtime;
use voice_model::{GuildId, SessionId, UpdateVoiceState, VoiceState};

use super::{
    Inner,
    updates::{LEAVE_AGAIN, Place, Updates, leave},
};
use crate::{
    EndReason, GatewayEvent,
    driver::{GatewaySignal, clock},
};

/// What waits, and who waits for its turn.
#[derive(Default)]
pub(super) struct Queue {
    updates: Updates,
    /// Somebody hands updates to the gateway. One at a time does, so that they stay in order.
    is_sending: bool,
    /// A thread, not a task: what waits must not depend on the runtime of who was first to wait.
    waiter: Option<Thread>,
    /// The runtime of the last call that had something to say, for a gateway that needs one.
    runtime: Option<runtime::Handle>,
}

impl Queue {
    /// The main gateway speaks. Returns whether there is something that it has to be told now.
    pub(super) fn handle_event(&mut self, now: Instant, event: &GatewayEvent) -> bool {
        match event {
            GatewayEvent::Ready { shard, .. } | GatewayEvent::Resumed { shard } => {
                self.updates.set_total(now, *shard);
                self.updates.settle_shard(now, *shard)
            }
            GatewayEvent::Disconnected { .. } => false,
            GatewayEvent::VoiceState(state) => state.guild_id.is_some_and(|guild| self.updates.settle(now, guild)),
            GatewayEvent::VoiceServer(update) => self.updates.settle(now, update.guild_id),
        }
    }

    /// The user is in a channel of the guild that another process joined.
    pub(super) fn know(&mut self, guild: GuildId) {
        self.updates.know(guild);
    }

    /// The guild's call is over. What ended because the gateway is away has not left its channel.
    pub(super) fn handle_end(&mut self, now: Instant, guild: GuildId, reason: &EndReason) {
        let was_told = self.updates.over(guild);
        if was_told && *reason == EndReason::GatewayLost {
            self.updates.owe(guild, now);
        }
    }
}

impl Inner {
    /// Sends an update when its turn comes. Returns for how long it has to wait.
    pub(super) fn update(self: &Arc<Self>, update: UpdateVoiceState) -> Duration {
        let mut guilds = self.lock();
        guilds.queue.runtime = runtime::Handle::try_current().ok().or_else(|| guilds.queue.runtime.take());
        match guilds.queue.updates.push(clock(), update) {
            Place::In(delay) => {
                drop(guilds);
                self.send_updates();
                delay
            }
            Place::Unneeded => {
                // As the gateway would say it of a leave.
                let session = guilds.sessions.iter().find(|(shard, _)| shard.has(update.guild_id));
                let session = session.map_or_else(|| SessionId::new(""), |(_, session)| session.clone());
                let state = VoiceState { guild_id: Some(update.guild_id), ..VoiceState::new(self.user, session) };
                if let Some(call) = guilds.guilds.get(&update.guild_id).and_then(|guild| guild.call.as_ref()) {
                    call.signal(GatewaySignal::Event(state.into()));
                }
                Duration::ZERO
            }
        }
    }

    /// Leaves a channel in which the user still is, though there is no call any more.
    pub(super) fn leave_what_is_owed(self: &Arc<Self>, guild: GuildId) {
        let is_owed = self.lock().queue.updates.is_owed(guild);
        if is_owed {
            self.update(leave(guild));
        }
    }

    /// Sends the updates whose turn has come, and comes back for the others.
    pub(super) fn send_updates(self: &Arc<Self>) {
        if self.send_due().is_none() {
            return;
        }
        let mut guilds = self.lock();
        match &guilds.queue.waiter {
            // It waits for what may be the later one.
            Some(waiter) => waiter.unpark(),
            None => {
                let inner = Arc::clone(self);
                let waiter = thread::Builder::new().name("voice-gateway".to_owned()).spawn(move || inner.wait());
                match waiter {
                    Ok(waiter) => guilds.queue.waiter = Some(waiter.thread().clone()),
                    Err(error) => {
                        tracing::error!(%error, "no thread to wait for the main gateway's limits; the next update tries again")
                    }
                }
            }
        }
    }

    /// Waits for the turns of what waits, until nothing does.
    fn wait(self: &Arc<Self>) {
        loop {
            let next = self.send_due();
            let mut guilds = self.lock();
            // Something may have come since.
            let Some(next) = next.or_else(|| guilds.queue.updates.poll_timeout(clock())) else {
                guilds.queue.waiter = None;
                return;
            };
            drop(guilds);
            thread::park_timeout(next.saturating_duration_since(clock()));
        }
    }

    /// Sends the updates whose turn has come, unless somebody else does. Returns when the next one's comes.
    fn send_due(&self) -> Option<Instant> {
        let mut guilds = self.lock();
        if std::mem::replace(&mut guilds.queue.is_sending, true) {
            return None;
        }
        loop {
            let now = clock();
            let Some(update) = guilds.queue.updates.poll(now) else {
                guilds.queue.is_sending = false;
                return guilds.queue.updates.poll_timeout(now);
            };
            let runtime = guilds.queue.runtime.clone();
            drop(guilds);
            {
                let _entered = runtime.as_ref().map(runtime::Handle::enter);
                self.send(update);
            }
            guilds = self.lock();
        }
    }

    fn send(&self, update: UpdateVoiceState) {
        // The user's code: a panic of it must cost neither the call nor the others that wait.
        let sent = catch_unwind(AssertUnwindSafe(|| self.gateway.update_voice_state(update)));
        let refused = match sent {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        tracing::warn!(error = refused, guild_id = %update.guild_id, "the main gateway did not take an update of the voice state");
        let mut guilds = self.lock();
        if update.channel_id.is_none() {
            guilds.queue.updates.owe(update.guild_id, clock() + LEAVE_AGAIN);
        }
        if let Some(call) = guilds.guilds.get(&update.guild_id).and_then(|guild| guild.call.as_ref()) {
            // A call that cannot take it has limits of its own.
            call.signal(GatewaySignal::Refused(refused));
        }
    }
}
