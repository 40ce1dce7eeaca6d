//! From Ready to frames that flow: discovery, the key, and the halves that go to the media thread.

use std::{fmt, net::SocketAddr, time::Instant};

use voice_crypto::{Mode, SecretKey, negotiate_from};
use voice_dave::DaveMessage;
use voice_model::{ClientMessage, ClientSpeaking, Ready, SelectProtocol, SessionDescription, SpeakingFlags};
use voice_rtp::Ssrc;
use voice_udp::{DISCOVERY_LEN, MediaConfig, media};
use zeroize::Zeroizing;

use super::{CallOutput, CallSession, MediaCommand, Path, Phase, UdpAction, later};
use crate::{E2ee, EndReason, Event};

/// What another process would need of the media: the key, and where the media server is.
pub(super) struct Link {
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) server: SocketAddr,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("server", &self.server).finish_non_exhaustive()
    }
}

impl CallSession {
    pub(super) fn handle_ready(&mut self, now: Instant, ready: &Ready) {
        self.times.identified = Some(now.saturating_duration_since(self.started));
        let Some(address) = ready.media_addr() else {
            return self.lose(now, EndReason::BadMediaAddress);
        };
        let everywhere = [Mode::XChaCha20Poly1305Rtpsize];
        let falls_back = self.falls_back && self.config.modes.contains(&everywhere[0]);
        let accepted: &[Mode] = if falls_back { &everywhere } else { &self.config.modes };
        let Ok(mode) = negotiate_from(accepted, &ready.modes) else {
            return self.lose(now, EndReason::NoCommonMode);
        };
        self.renew_encryption();
        // One that was to be resumed begins anew instead: what plays and who listens waits for the new halves.
        self.is_interrupted = false;
        if self.has_halves() {
            self.outputs.push_back(CallOutput::Media(MediaCommand::Stop));
        }
        self.ssrc = Ssrc::new(ready.ssrc);
        self.mode = Some(mode);
        self.phase = Phase::OpeningSocket(address);
        self.link = Some(Link { key: Zeroizing::default(), server: address });
        self.outputs.push_back(CallOutput::Udp(UdpAction::Open(address)));
    }

    pub(super) fn handle_description(&mut self, now: Instant, description: &SessionDescription) {
        let Some(mode) = self.mode else { return };
        let version = description.dave_protocol_version;
        if let Err(reason) = self.accept_version(version) {
            return self.lose(now, reason);
        }
        self.times.established = Some(now.saturating_duration_since(self.started));
        self.was_established = true;
        let key = description.secret_key.expose();
        if let Some(link) = &mut self.link {
            link.key = Zeroizing::new(*key);
        }
        let (sender, mut receiver) =
            media(MediaConfig { key: SecretKey::from(key), mode, seed: self.rng.u64(..), ssrc: self.ssrc });
        receiver.allow_plaintext(self.config.e2ee == E2ee::Allow);
        for (ssrc, user) in &self.speakers {
            receiver.bind(now, *ssrc, *user);
        }
        self.phase = Phase::Confirming(Box::new((sender, receiver)), self.new_path(now));
        self.encrypt(now, DaveMessage::SessionDescription { version });
        self.confirm(now);
    }

    pub(super) fn drive_discovery(&mut self, now: Instant) {
        let Phase::Discovering(discovery, server) = &mut self.phase else { return };
        let server = *server;
        let mut request = [0; DISCOVERY_LEN];
        if discovery.poll_transmit(now, &mut request) {
            self.outputs.push_back(CallOutput::Udp(UdpAction::Send(request)));
        }
        match discovery.outcome() {
            None => {}
            Some(Err(error)) => self.lose(now, EndReason::Discovery { error, server }),
            Some(Ok(address)) => {
                self.times.discovered = Some(now.saturating_duration_since(self.started));
                self.phase = Phase::Selecting;
                let mode = self.mode.map(Mode::wire_name).unwrap_or_default();
                let select = SelectProtocol::udp(address.ip().to_string(), address.port(), mode);
                // A session that was lost meanwhile identifies again and sends another Ready.
                self.send(now, ClientMessage::SelectProtocol(select));
            }
        }
    }

    /// A path of which nothing is known yet.
    pub(super) fn new_path(&mut self, now: Instant) -> Path {
        Path::new(now, later(now, self.config.path_timeout), self.rng.u32(..).to_be_bytes())
    }

    /// Has the server say that it knows our SSRC.
    ///
    /// Even silence has to be announced once: the server takes nothing from, and forwards nothing to, a client whose SSRC
    /// it was not told. Packets could overtake the message, so they wait until it has arrived.
    pub(super) fn confirm(&mut self, now: Instant) {
        self.announce(now);
        if let Some(session) = &mut self.session {
            session.confirm(now);
        }
    }

    /// Sends the ping that is due, and lets media begin when it can flow.
    pub(super) fn drive_path(&mut self, now: Instant) {
        let Phase::Confirming(_, path) = &mut self.phase else { return };
        if let Some(ping) = path.poll_transmit(now) {
            self.outputs.push_back(CallOutput::Udp(UdpAction::Ping(ping)));
        }
        if path.is_open() {
            self.start_media(now);
        }
    }

    /// The halves go to the media thread, which can receive from now on.
    fn start_media(&mut self, now: Instant) {
        let until = later(now, self.config.e2ee_timeout);
        let Phase::Confirming(halves, _) = std::mem::replace(&mut self.phase, Phase::Keying { until }) else { return };
        let (mut sender, receiver) = *halves;
        if let Some(away) = self.away.take() {
            // Listeners wait for what the stream's time says: it has gone on since the other process sent its last frame.
            let passed = away + now.saturating_duration_since(self.started);
            sender.skip(u32::try_from(passed.as_millis() / 20).unwrap_or(u32::MAX));
        }
        self.times.confirmed = Some(now.saturating_duration_since(self.started));
        self.outputs.push_back(CallOutput::Media(MediaCommand::Start(Box::new(sender), Box::new(receiver))));
        self.check_keyed(now);
    }

    /// Begins to send when frames can leave, when nobody is there to hear them, or when the key does not come.
    pub(super) fn check_keyed(&mut self, now: Instant) {
        let status = self.encryption.status();
        // While a transition is pending the newest members of the group cannot open what leaves.
        let is_keyed = !status.awaits_key() && (status.version == 0 || status.pending_transitions == 0);
        if let Phase::Keying { until } = self.phase
            && (now >= until || is_keyed)
        {
            self.phase = Phase::Established;
            self.times.joined = Some(now.saturating_duration_since(self.started));
            self.outputs.push_back(CallOutput::Media(MediaCommand::Begin));
            if let Some(signalling) = &mut self.signalling {
                signalling.handle_connected(now);
            }
            self.event(Event::Connected);
        }
    }

    /// Tells the server whether we speak; sent as soon as the session can.
    pub(super) fn announce(&mut self, now: Instant) {
        let speaking = if self.speaking { SpeakingFlags::MICROPHONE } else { SpeakingFlags::NONE };
        let message = ClientSpeaking { speaking, delay: 0, ssrc: self.ssrc.get() };
        if self.has_halves() {
            self.send(now, ClientMessage::Speaking(message));
        }
    }

    /// Whether there are media halves of the present session.
    pub(super) const fn has_halves(&self) -> bool {
        matches!(self.phase, Phase::Reopening(_) | Phase::Confirming(..) | Phase::Keying { .. } | Phase::Established)
    }

    /// Brings the halves of the present session up to date, wherever they are.
    pub(super) fn media(&mut self, now: Instant, command: MediaCommand) {
        match &mut self.phase {
            Phase::Reopening(halves) | Phase::Confirming(halves, _) => {
                let (sender, receiver) = &mut **halves;
                let _ = command.apply(now, sender, receiver);
            }
            Phase::Keying { .. } | Phase::Established => self.outputs.push_back(CallOutput::Media(command)),
            _ => {}
        }
    }
}
