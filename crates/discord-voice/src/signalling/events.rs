//! What the main gateway says of a call, and how the call follows it.

use std::time::{Duration, Instant};

use voice_model::{SessionId, VoiceServerUpdate, VoiceState};
use voice_ws::Identity;

use super::{Phase, Signal, Signalling, Then};
use crate::{EndReason, Event, GatewayEvent, Restrictions, call::later};

impl Signalling {
    /// Takes an event of the main gateway.
    pub(crate) fn handle_event(&mut self, now: Instant, event: &GatewayEvent) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        match event {
            GatewayEvent::VoiceState(_) | GatewayEvent::VoiceServer(_) if !event.concerns(self.wish.guild_id) => {}
            GatewayEvent::VoiceState(state) => self.while_there(now, |this| this.handle_voice_state(now, state)),
            GatewayEvent::VoiceServer(update) => self.while_there(now, |this| this.handle_voice_server(now, update)),
            GatewayEvent::Ready { session_id, .. } => self.handle_ready(now, session_id.as_ref()),
            GatewayEvent::Resumed { .. } => self.handle_resumed(now),
            GatewayEvent::Disconnected { .. } => {
                // Libraries tell it in any order: this may be the end of the connection before the present one.
                let back_at = self.back_at.take();
                self.is_offline |= back_at.is_none_or(|at| now.saturating_duration_since(at) > LATE_NEWS);
            }
        }
    }

    /// Takes an event that only a connection that is there can bring, whatever was told of it.
    fn while_there(&mut self, now: Instant, take: impl FnOnce(&mut Self)) {
        let was_offline = std::mem::take(&mut self.is_offline);
        take(self);
        if was_offline {
            self.go_on(now);
        }
    }

    fn handle_voice_state(&mut self, now: Instant, state: &VoiceState) {
        if state.user_id != self.user {
            return;
        }
        if self.main_session.as_ref().is_some_and(|own| *own != state.session_id) {
            // Another process with the same token. Its session is no use to us.
            self.taken_over = state.channel_id.is_some();
            return;
        }
        let before = self.collector.channel();
        self.collector.handle_voice_state(state);
        let Some(channel) = state.channel_id else { return self.handle_no_channel(now) };
        self.taken_over = false;
        let restrictions = Restrictions { mute: state.mute, deaf: state.deaf, suppress: state.suppress };
        if restrictions != self.restrictions {
            self.restrictions = restrictions;
            self.outputs.push_back(Signal::Event(Event::Restricted(restrictions)));
        }
        let brings_server = self.moving.arrive(channel, before != Some(channel));
        match &mut self.phase {
            Phase::Joining { in_channel, .. } => {
                *in_channel |= self.wish.channel_id == Some(channel);
                self.connect_if_complete(now);
            }
            Phase::Joined | Phase::Waiting { .. } | Phase::BackingOff { .. } => {
                self.wish.channel_id = Some(channel);
                if before != Some(channel) {
                    self.outputs.push_back(Signal::Event(Event::Moved(channel)));
                    self.follow_channel(now);
                }
                if brings_server {
                    self.follow_server(now);
                }
            }
            Phase::Leaving { .. } | Phase::Over => {}
        }
    }

    /// This user is in no channel any more.
    fn handle_no_channel(&mut self, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            // The answer to an earlier leave, which was not waited for any longer.
            phase @ Phase::Joining { in_channel: false, .. } => self.phase = phase,
            Phase::Leaving { then: Then::Join, .. } => self.join(now),
            Phase::Leaving { then: Then::End(reason), .. } => self.end(reason),
            Phase::Joining { .. } | Phase::Joined | Phase::Waiting { .. } | Phase::BackingOff { .. } => {
                self.end(EndReason::Disconnected);
            }
            Phase::Over => {}
        }
    }

    fn handle_voice_server(&mut self, now: Instant, update: &VoiceServerUpdate) {
        self.collector.handle_voice_server(update);
        match self.phase {
            Phase::Joining { .. } => self.connect_if_complete(now),
            Phase::Joined | Phase::Waiting { .. } if update.endpoint.is_none() => {
                // Not allocated yet, or gone: never the old endpoint with the new token.
                self.moving.drop_server();
                self.outputs.push_back(Signal::Release);
                self.outputs.push_back(Signal::Event(Event::ServerLost));
                let until = later(now, self.config.follow_timeout);
                self.phase = Phase::Waiting { until, reason: EndReason::NoServer };
            }
            // Without the id of the channel the voice server would take us for somebody elsewhere.
            Phase::Joined | Phase::Waiting { .. } if self.moving.awaits_channel(later(now, EARLY_SERVER)) => {}
            Phase::Joined | Phase::Waiting { .. } => self.follow_server(now),
            _ => {}
        }
    }

    /// A new session of the bot's own gateway connection: whatever was in voice before is gone. Some libraries tell it
    /// late: then it may be the session that the call is in already.
    fn handle_ready(&mut self, now: Instant, session_id: Option<&SessionId>) {
        let before = std::mem::replace(&mut self.main_session, session_id.cloned());
        if session_id.is_some() {
            let known = before.as_ref().or_else(|| self.collector.session());
            // A join that is not answered yet was sent in this session, unless there was none to send it in.
            let is_unanswered = known.is_none() && !self.is_offline && matches!(self.phase, Phase::Joining { .. });
            if known == session_id || is_unanswered {
                return self.handle_resumed(now);
            }
        }
        if !std::mem::take(&mut self.is_offline) {
            self.back_at = before.map(|_| now);
        }
        self.taken_over = false;
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Leaving { then: Then::End(reason), .. } => self.end(reason),
            Phase::Over => {}
            phase => {
                if matches!(phase, Phase::Joined | Phase::Waiting { .. }) {
                    let (attempt, after) = (self.attempts.count() + 1, Duration::ZERO);
                    let why = EndReason::GatewaySession;
                    self.outputs.push_back(Signal::Release);
                    self.outputs.push_back(Signal::Event(Event::Rejoining { attempt, after, why }));
                }
                self.join(now);
            }
        }
    }

    /// The bot's own gateway connection goes on.
    fn handle_resumed(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_offline) {
            self.go_on(now);
        } else {
            self.back_at = Some(now);
        }
    }

    /// Goes on after the main gateway was away. What was sent meanwhile may not have arrived.
    fn go_on(&mut self, now: Instant) {
        let follow_until = later(now, self.config.follow_timeout);
        match &mut self.phase {
            Phase::Waiting { until, .. } => *until = follow_until,
            Phase::Joining { until, .. } => {
                // What came of an answer is one to the same question.
                *until = later(now, self.config.gateway_timeout);
                self.update(self.wish.channel_id);
            }
            Phase::BackingOff { .. } | Phase::Leaving { then: Then::Join, .. } => self.leave_first(now),
            Phase::Joined | Phase::Leaving { .. } | Phase::Over => {}
        }
    }

    /// Follows to the server that was named last.
    pub(super) fn follow_server(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Joined | Phase::Waiting { .. }) {
            return;
        }
        let Some(named) = self.collector.connect_info() else { return };
        let named = match named {
            Ok(named) => named,
            Err(error) => return self.rejoin(now, EndReason::Endpoint(error)),
        };
        // Both compared: the same endpoint with a new token is a new session.
        let is_in_use = self.used.as_ref().is_some_and(|used| is_same_server(used, &named));
        if !is_in_use || !matches!(self.phase, Phase::Joined) {
            self.is_followed = true;
            self.outputs.push_back(Signal::Event(Event::ServerChanged));
            self.connect(now, named);
        }
    }

    /// Follows into a channel whose server was named before the channel was. With the old channel's id the call would
    /// look for an end-to-end encrypted group in which nobody is.
    fn follow_channel(&mut self, now: Instant) {
        let just_named = self.named_at.is_some_and(|at| now.saturating_duration_since(at) <= EARLY_SERVER);
        let (Some(used), Some(Ok(named))) = (&self.used, self.collector.connect_info()) else { return };
        let is_other_channel = used.channel_id != named.channel_id && is_same_server(used, &named);
        if just_named && is_other_channel && matches!(self.phase, Phase::Joined | Phase::Waiting { .. }) {
            self.connect(now, named);
        }
    }
}

fn is_same_server(one: &Identity, other: &Identity) -> bool {
    one.endpoint == other.endpoint && one.token == other.token
}

/// How long before the channel of a move its server may be named.
const EARLY_SERVER: Duration = Duration::from_secs(2);

/// How much later than the news that the main gateway's connection goes on a library may tell that it was lost.
const LATE_NEWS: Duration = Duration::from_secs(5);
