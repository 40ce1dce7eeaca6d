//! Giving a call up for another process, and taking one over.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use voice_crypto::SecretKey;
use voice_model::SessionId;
use voice_udp::{MediaConfig, StreamPosition, media_at};
use voice_ws::{Detached, Session};

use super::{CallOutput, CallSession, Phase, UdpAction, media::Link};
use crate::{
    Config, E2ee, EndReason, GatewayEvent, Handover, HandoverError, JoinInfo, Shard, handover::Attached,
    signalling::Signalling,
};

impl CallSession {
    /// Takes over a call that another process has given up; the first outputs ask for a WebSocket and for the media
    /// socket. The session is resumed, sequence numbers, times and nonces go on: the stream's time by how long the call was on
    /// its way, as `wall`, the time of day, and that of the process before tell. Whatever the main gateway says of the call
    /// is the caller's business until [`follow`](Self::follow).
    ///
    /// # Errors
    ///
    /// [`HandoverError`]: the call is not one of this version.
    pub fn attach(
        now: Instant,
        wall: SystemTime,
        config: Arc<Config>,
        handover: &Handover,
        seed: [u8; 32],
    ) -> Result<Self, HandoverError> {
        let Attached {
            session,
            mode,
            key,
            ssrc,
            server,
            local,
            position,
            given_up_at,
            speaking,
            speakers,
            encryption,
            own,
        } = handover.parts()?;
        let Detached { identity, sequence, .. } = session;
        let mut call = Self::without_server(now, config, (identity.user_id, identity.channel_id), seed);
        let (seed, session_config) = (call.rng.u64(..), Arc::new(call.config.session.clone()));
        call.session = Some(Session::resume(now, session_config, identity, sequence, seed));
        (call.mode, call.ssrc, call.speaking, call.was_established) = (Some(mode), ssrc, speaking, true);
        let config = MediaConfig { key: SecretKey::from(&*key), mode, seed: 0, ssrc };
        let (sender, mut receiver) = media_at(config, position);
        receiver.allow_plaintext(call.config.e2ee == E2ee::Allow);
        for (ssrc, user) in &speakers {
            receiver.bind(now, *ssrc, *user);
        }
        // A clock that was set meanwhile must not tear the stream apart.
        let away = given_up_at.and_then(|at| wall.duration_since(at).ok()).unwrap_or_default();
        call.away = Some(away.min(MAX_AWAY));
        (call.speakers, call.own) = (speakers, own);
        call.link = Some(Link { key, server });
        call.phase = Phase::Reopening(Box::new((sender, receiver)));
        match call.accept_version(encryption.version) {
            Ok(()) => {
                call.outputs.push_back(CallOutput::Udp(UdpAction::Reopen { local, server }));
                call.take_over(now, &encryption);
            }
            Err(reason) => call.end(reason),
        }
        call.settle(now);
        Ok(call)
    }

    /// Gives up a connected call for another process to [take over](Self::attach): without a word to the main gateway, and
    /// in a way that keeps the session on the voice server. `local` is the address of the media socket, which must be
    /// closed by then, `position` that of the sending half, and `wall` the time of day. `None`, and nothing happens, if the call is not connected.
    pub fn detach(&mut self, local: SocketAddr, position: StreamPosition, wall: SystemTime) -> Option<Handover> {
        if !self.can_detach() {
            return None;
        }
        let (Some(session), Some(mode), Some(link)) = (&mut self.session, self.mode, self.link.take()) else {
            return None;
        };
        let detached = session.detach()?;
        self.drain_closing();
        let handover = Handover::new(&Attached {
            session: detached,
            mode,
            key: link.key,
            ssrc: self.ssrc,
            server: link.server,
            local,
            position,
            given_up_at: Some(wall),
            speaking: self.speaking,
            speakers: std::mem::take(&mut self.speakers),
            encryption: self.encrypted_call(),
            own: self.signalling.as_ref().map_or(self.own, Signalling::own),
        });
        self.finish(EndReason::Detached);
        Some(handover)
    }

    /// Goes through the main gateway from now on, as a call does that was [joined](Self::join) there: in the channel and on
    /// the voice server where it is. `main_session` is the session of the bot's own gateway connection, if it is known: the
    /// call belongs to the session in which it was joined, and is joined again in another one. Nothing happens if it goes
    /// through the main gateway already.
    pub fn follow(&mut self, now: Instant, main_session: Option<SessionId>) {
        let Some(identity) = self.info().cloned().filter(|_| self.signalling.is_none()) else { return };
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        let mut info = JoinInfo::new(identity.server_id, identity.channel_id, identity.user_id);
        (info.self_mute, info.self_deaf) = self.own;
        let mut signalling = Signalling::joined(now, Arc::clone(&self.config), info, identity, self.rng.u64(..));
        if main_session.is_some() {
            signalling.handle_event(now, &GatewayEvent::Ready { session_id: main_session, shard: Shard::ONLY });
        }
        self.signalling = Some(signalling);
        self.settle(now);
    }

    /// Whether [`detach`](Self::detach) has something to give up.
    #[must_use]
    pub const fn can_detach(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }
}

/// The longest time that a call is taken to have been on its way: no voice server keeps a session as long.
const MAX_AWAY: Duration = Duration::from_secs(300);
