//! The main gateway's half of a call: in which channel, on which voice server; no I/O, no clock.

mod attempts;
mod events;
mod moves;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use voice_model::{ChannelId, SessionId, UpdateVoiceState, UserId};
use voice_ws::{Advice, Cause, Identity};

use self::{
    attempts::{Attempts, Next},
    moves::Move,
};
use crate::{Config, EndReason, Event, JoinCollector, JoinInfo, Missing, Restrictions, call::later};

/// Keeps one guild's call where it should be, from the first opcode 4 to the last.
#[derive(Debug)]
pub(crate) struct Signalling {
    config: Arc<Config>,
    user: UserId,
    /// Where this user wants to be. A moderator's move changes it.
    wish: UpdateVoiceState,
    /// The session of the bot's own gateway connection, if it was told. Other sessions' voice states are not ours.
    main_session: Option<SessionId>,
    collector: JoinCollector,
    /// What the call connects with, or did last.
    used: Option<Identity>,
    restrictions: Restrictions,
    phase: Phase,
    attempts: Attempts,
    /// The bot's own gateway connection is lost.
    is_offline: bool,
    /// When it went on without having been told as lost: the news of the loss may be on its way still.
    back_at: Option<Instant>,
    /// When the main gateway named the voice server, while it may be that of a move whose channel is still to come.
    named_at: Option<Instant>,
    /// It was named in the middle of a call.
    is_followed: bool,
    moving: Move,
    /// Another session of the same user came into voice.
    taken_over: bool,
    /// The first join was not answered, and was made again after a leave.
    has_left_first: bool,
    outputs: VecDeque<Signal>,
}

/// What is to be done, in order.
#[derive(Debug)]
pub(crate) enum Signal {
    /// Send opcode 4.
    Update(UpdateVoiceState),
    /// Connect there, in place of where the call was.
    Connect(Identity),
    /// Give up the voice server; another follows, or the end.
    Release,
    /// Select the mode that every voice server has, from now on.
    FallBack,
    Event(Event),
    /// It is over; nothing follows.
    End(EndReason),
}

#[derive(Debug)]
enum Phase {
    /// Opcode 4 was sent; both events are awaited.
    Joining {
        until: Instant,
        in_channel: bool,
    },
    /// The call has a voice server.
    Joined,
    /// The voice server is gone; the main gateway knows whether another follows. Otherwise it ends so.
    Waiting {
        until: Instant,
        reason: EndReason,
    },
    /// To be joined again then.
    BackingOff {
        until: Instant,
    },
    /// Opcode 4 without a channel was sent.
    Leaving {
        until: Instant,
        then: Then,
    },
    Over,
}

#[derive(Debug)]
enum Then {
    Join,
    End(EndReason),
}

impl Signalling {
    pub(crate) fn new(now: Instant, config: Arc<Config>, info: JoinInfo, seed: u64) -> Self {
        let mut signalling = Self::over(config, info, seed);
        signalling.join(now);
        signalling
    }

    /// Begins with a call that is on a voice server already.
    pub(crate) fn joined(now: Instant, config: Arc<Config>, info: JoinInfo, used: Identity, seed: u64) -> Self {
        let mut signalling = Self::over(config, info, seed);
        signalling.collector.know(&used);
        signalling.attempts.connected(now);
        signalling.main_session = Some(used.session_id.clone());
        (signalling.used, signalling.phase) = (Some(used), Phase::Joined);
        signalling
    }

    fn over(config: Arc<Config>, info: JoinInfo, seed: u64) -> Self {
        let JoinInfo { guild_id, channel_id, user_id, self_mute, self_deaf, session_id } = info;
        let wish = UpdateVoiceState { guild_id, channel_id: Some(channel_id), self_mute, self_deaf };
        let attempts = Attempts::new(&config, seed);
        Self {
            config,
            user: user_id,
            wish,
            main_session: session_id,
            collector: JoinCollector::new(guild_id, user_id),
            used: None,
            restrictions: Restrictions::default(),
            phase: Phase::Over,
            attempts,
            is_offline: false,
            back_at: None,
            named_at: None,
            is_followed: false,
            moving: Move::None,
            taken_over: false,
            has_left_first: false,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Signal> {
        self.outputs.pop_front()
    }

    /// The main gateway did not take what was sent last.
    pub(crate) fn handle_refused(&mut self, now: Instant, error: &str) {
        let reason = EndReason::Gateway(error.to_owned());
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Joining { .. } if !self.attempts.is_first() => self.rejoin(now, reason),
            Phase::Joining { .. } => self.end(reason),
            Phase::Leaving { then: Then::End(reason), .. } => self.end(reason),
            // Without leaving the next join may be answered by nothing: it has a limit then, as always.
            Phase::Leaving { then: Then::Join, .. } => self.rejoin(now, reason),
            phase => {
                self.phase = phase;
                self.fail_move(now);
            }
        }
    }

    /// What was sent last is still waiting for its turn: the time for its answer begins with that.
    pub(crate) fn handle_delayed(&mut self, now: Instant, delay: Duration) {
        let sent = later(now, delay);
        let answered = later(sent, self.config.gateway_timeout);
        match &mut self.phase {
            Phase::Joining { until, .. } => *until = answered,
            Phase::Leaving { until, .. } => *until = later(sent, self.config.leave_timeout),
            _ => {}
        }
        self.moving.answer_by(answered);
    }

    /// Moves this user to another channel, or there at last.
    pub(crate) fn move_to(&mut self, now: Instant, channel: ChannelId) {
        match self.phase {
            Phase::Joined | Phase::Waiting { .. }
                if self.collector.channel() != Some(channel) || self.moving.channel().is_some() =>
            {
                self.update(Some(channel));
                if self.collector.channel() != Some(channel) {
                    self.moving.ask(channel, later(now, self.config.gateway_timeout));
                } else if std::mem::take(&mut self.moving).has_server() {
                    // Back to where it is: whether the move that is taken back was done already is told, or not.
                    self.follow_server(now);
                }
            }
            Phase::Joining { .. } => {
                self.wish.channel_id = Some(channel);
                self.join(now);
            }
            Phase::BackingOff { .. } | Phase::Leaving { then: Then::Join, .. } => self.wish.channel_id = Some(channel),
            _ => {}
        }
    }

    /// Mutes or deafens this user.
    pub(crate) fn set_self(&mut self, mute: bool, deaf: bool) {
        (self.wish.self_mute, self.wish.self_deaf) = (mute, deaf);
        if matches!(self.phase, Phase::Joining { .. } | Phase::Joined | Phase::Waiting { .. }) {
            self.update(self.moving.channel().or(self.wish.channel_id));
        }
    }

    /// Leaves for good.
    pub(crate) fn leave(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Over | Phase::Leaving { then: Then::End(_), .. }) {
            self.stop(now, EndReason::Left);
        }
    }

    /// The call is connected to the voice server.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        self.attempts.connected(now);
        if !self.is_followed {
            // A server that took a join as it was is the right one for it.
            self.named_at = None;
        }
    }

    /// The call's connection to the voice server is lost, and is being resumed.
    pub(crate) fn handle_interrupted(&mut self) {
        self.attempts.interrupted();
    }

    /// It was resumed, and has shown that it runs.
    pub(crate) fn handle_recovered(&mut self, now: Instant) {
        self.attempts.recovered(now);
    }

    /// The call has lost its voice server.
    pub(crate) fn handle_lost(&mut self, now: Instant, reason: EndReason) {
        let was_connected = self.attempts.disconnected();
        if !matches!(self.phase, Phase::Joined) {
            // What the main gateway said has ended it already.
            return;
        }
        let may_follow = matches!(reason, EndReason::Session { advice: Advice::Wait, .. });
        if self.taken_over && !may_follow {
            // Joining again would take the place back, and so on without an end.
            return self.stop(now, EndReason::TakenOver);
        }
        match reason {
            EndReason::Session { advice: Advice::Wait, cause } => self.wait(now, cause, reason),
            EndReason::Session { advice: Advice::Rejoin, cause } => {
                // Nobody knows yet that there is a way to the voice server: the caller is told why there is none.
                let is_worth_it = was_connected || !self.attempts.is_first() || matches!(cause, Cause::Closed(_));
                if is_worth_it { self.rejoin(now, reason) } else { self.stop(now, reason) }
            }
            EndReason::Media(_) => self.rejoin(now, reason),
            EndReason::Discovery { .. } if was_connected || !self.attempts.is_first() => self.rejoin(now, reason),
            reason => self.stop(now, reason),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.attempts.handle_timeout(now);
        if self.moving.is_over(now) {
            self.fail_move(now);
        } else if self.moving.take_server_due(now) {
            self.follow_server(now);
        }
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let missing = self.missing();
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Leaving { then: Then::End(reason), .. } => self.end(reason),
            _ if self.is_offline => self.end(EndReason::GatewayLost),
            Phase::Joining { .. } => {
                let reason = missing.map_or(EndReason::NoServer, EndReason::NoAnswer);
                if self.attempts.is_first() && !std::mem::replace(&mut self.has_left_first, true) {
                    self.join_anew(now);
                } else if self.attempts.is_first() {
                    self.stop(now, reason);
                } else {
                    self.rejoin(now, reason);
                }
            }
            Phase::Waiting { .. } if self.taken_over => self.end(EndReason::TakenOver),
            Phase::Waiting { reason, .. } => self.stop(now, reason),
            Phase::BackingOff { .. } => self.leave_first(now),
            Phase::Leaving { then: Then::Join, .. } => self.join(now),
            phase @ (Phase::Joined | Phase::Over) => self.phase = phase,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        [self.deadline(), self.moving.deadline(), self.attempts.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether the way back into the call goes through the main gateway.
    pub(crate) const fn is_rejoining(&self) -> bool {
        match self.phase {
            Phase::BackingOff { .. } | Phase::Leaving { then: Then::Join, .. } => true,
            Phase::Joining { .. } => !self.attempts.is_first(),
            _ => false,
        }
    }

    /// What the main gateway has not sent of what it was asked for.
    pub(crate) fn missing(&self) -> Option<Missing> {
        match self.phase {
            Phase::Joining { .. } => Some(Missing {
                voice_state: self.collector.channel() != self.wish.channel_id,
                voice_server: !self.collector.has_server(),
            }),
            Phase::Leaving { then: Then::End(EndReason::NoAnswer(missing)), .. } => Some(missing),
            _ => None,
        }
    }

    /// Whether this user has muted and deafened itself.
    pub(crate) const fn own(&self) -> (bool, bool) {
        (self.wish.self_mute, self.wish.self_deaf)
    }

    /// Whether the main gateway was asked for the first time.
    pub(crate) const fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining { .. }) && self.attempts.is_first()
    }

    /// The end of the present phase. Nothing can come while the main gateway is away, which has a time of its own.
    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Leaving { until, then: Then::End(_) } => Some(until),
            Phase::Joining { until, .. }
            | Phase::Waiting { until, .. }
            | Phase::BackingOff { until }
            | Phase::Leaving { until, .. } => {
                Some(if self.is_offline { later(until, self.config.offline_timeout) } else { until })
            }
            Phase::Joined | Phase::Over => None,
        }
    }

    /// Asks to be in the channel. What is known belongs to an earlier join: it is never used for this one.
    fn join(&mut self, now: Instant) {
        self.collector = JoinCollector::new(self.wish.guild_id, self.user);
        self.moving.drop_server();
        self.fail_move(now);
        self.update(self.wish.channel_id);
        self.phase = Phase::Joining { until: later(now, self.config.gateway_timeout), in_channel: false };
    }

    fn connect_if_complete(&mut self, now: Instant) {
        if self.collector.channel() != self.wish.channel_id {
            return;
        }
        match self.collector.connect_info() {
            Some(Ok(info)) => {
                self.is_followed = false;
                self.connect(now, info);
            }
            Some(Err(error)) => {
                let reason = EndReason::Endpoint(error);
                if self.attempts.is_first() { self.stop(now, reason) } else { self.rejoin(now, reason) }
            }
            None => {}
        }
    }

    fn connect(&mut self, now: Instant, info: Identity) {
        self.named_at = Some(now);
        self.used = Some(info.clone());
        self.phase = Phase::Joined;
        self.outputs.push_back(Signal::Connect(info));
    }

    /// Leaves and joins again, after a while, unless that was tried often enough.
    fn rejoin(&mut self, now: Instant, reason: EndReason) {
        match self.attempts.next(now, &reason, &self.config) {
            Next::GiveUp => self.stop(now, reason),
            Next::Wait(cause) => self.wait(now, cause, reason),
            Next::Rejoin { attempt, after, fall_back } => {
                if fall_back {
                    self.outputs.push_back(Signal::FallBack);
                }
                self.outputs.push_back(Signal::Release);
                self.outputs.push_back(Signal::Event(Event::Rejoining { attempt, after, why: reason }));
                self.phase = Phase::BackingOff { until: later(now, after) };
                if after.is_zero() && !self.is_offline {
                    self.leave_first(now);
                }
            }
        }
    }

    /// Waits for what the main gateway may say of a server that is gone.
    fn wait(&mut self, now: Instant, cause: Cause, reason: EndReason) {
        self.outputs.push_back(Signal::Event(Event::Released(cause)));
        self.phase = Phase::Waiting { until: later(now, self.config.follow_timeout), reason };
    }

    /// Nothing comes of a move of our own, if there is one.
    fn fail_move(&mut self, now: Instant) {
        let failed = std::mem::take(&mut self.moving);
        if let Some(channel) = failed.channel() {
            self.outputs.push_back(Signal::Event(Event::MoveFailed(channel)));
        }
        if failed.has_server() {
            self.follow_server(now);
        }
    }

    /// Leaves for a join to follow: where nothing changes the main gateway names no server.
    fn leave_first(&mut self, now: Instant) {
        if self.collector.channel().is_none() {
            return self.join(now);
        }
        self.update(None);
        self.phase = Phase::Leaving { until: later(now, self.config.leave_timeout), then: Then::Join };
    }

    /// Leaves and joins in one breath: this session may have been in the channel before the call, and then the main gateway
    /// had nothing to answer.
    fn join_anew(&mut self, now: Instant) {
        self.update(None);
        self.join(now);
    }

    /// Leaves for good, and waits for the main gateway to say so if it has put us into a channel.
    fn stop(&mut self, now: Instant, reason: EndReason) {
        self.outputs.push_back(Signal::Release);
        if self.taken_over {
            // Another process is there now in our place.
            return self.end(reason);
        }
        self.update(None);
        if self.collector.channel().is_none() || self.is_offline {
            return self.end(reason);
        }
        self.phase = Phase::Leaving { until: later(now, self.config.leave_timeout), then: Then::End(reason) };
    }

    fn end(&mut self, reason: EndReason) {
        self.phase = Phase::Over;
        self.outputs.push_back(Signal::End(reason));
    }

    fn update(&mut self, channel_id: Option<ChannelId>) {
        self.outputs.push_back(Signal::Update(UpdateVoiceState { channel_id, ..self.wish }));
    }
}
