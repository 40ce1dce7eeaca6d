//! Members of a call: one that runs ours, one that runs davey the way programs with davey do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use voice_dave::{
    Codec, DaveConfig, DaveMessage, DaveOutput, DaveSession, FrameOpener, FrameSealer, Media, OutgoingMessage,
    SigningKey,
};
use voice_model::{ChannelId, ServerBinary, ServerMessage, UserId};

use crate::foreign::session::{Answer, Session};

/// The session of one member and its media halves.
pub trait Member {
    fn handle_text(&mut self, now: Instant, text: &str);

    /// A message of gateway version 8, with its number.
    fn handle_binary(&mut self, now: Instant, bytes: &[u8]);

    /// What it says since the last time.
    fn answers(&mut self) -> Vec<Answer>;

    /// Protects a frame; `None` if none may leave.
    fn seal(&mut self, frame: &[u8]) -> Option<Vec<u8>>;

    fn seal_video(&mut self, codec: Codec, frame: &[u8]) -> Option<Vec<u8>>;

    /// Opens the frame of a member; `None` if it is refused.
    fn open(&mut self, now: Instant, from: UserId, media: Media, frame: &[u8]) -> Option<Vec<u8>>;

    /// The members of the group, in their order.
    fn members(&self) -> BTreeSet<UserId>;

    fn epoch(&self) -> Option<u64>;

    fn privacy_code(&self) -> Option<String>;

    fn verification_code(&self, user: UserId) -> Option<String>;
}

/// A member with the session of this project.
pub struct Ours {
    session: DaveSession,
    sealer: FrameSealer,
    openers: BTreeMap<UserId, FrameOpener>,
    stranger: FrameOpener,
    answers: Vec<Answer>,
}

impl Ours {
    pub fn new(user: UserId, channel: ChannelId) -> Self {
        Self {
            session: DaveSession::new(DaveConfig { user, channel, signing_key: SigningKey::generate() }),
            sealer: FrameSealer::new(),
            openers: BTreeMap::new(),
            stranger: FrameOpener::new(),
            answers: Vec::new(),
        }
    }

    fn handle(&mut self, now: Instant, message: DaveMessage<'_>) {
        self.session.handle_message(message);
        while let Some(output) = self.session.poll_output() {
            match output {
                DaveOutput::Message(OutgoingMessage::Text(text)) => self.answers.push(Answer::Text(text.encode())),
                DaveOutput::Message(OutgoingMessage::Binary(bytes)) => self.answers.push(Answer::Binary(bytes)),
                DaveOutput::Send(mode) => self.sealer.set_mode(mode),
                DaveOutput::Receive { user, mode } => {
                    let stranger = &self.stranger;
                    self.openers.entry(user).or_insert_with(|| stranger.for_another_sender()).set_mode(now, mode);
                }
                DaveOutput::ReceiveDefault(mode) => self.stranger.set_mode(now, mode),
                DaveOutput::Forget(user) => self.openers.get_mut(&user).into_iter().for_each(FrameOpener::erase),
                _ => {}
            }
        }
    }
}

impl Member for Ours {
    fn handle_text(&mut self, now: Instant, text: &str) {
        let message = ServerMessage::decode(text).unwrap().message;
        let message = match &message {
            ServerMessage::SessionDescription(it) => {
                DaveMessage::SessionDescription { version: it.dave_protocol_version }
            }
            ServerMessage::ClientsConnect(it) => DaveMessage::ClientsConnect(&it.user_ids),
            ServerMessage::ClientDisconnect(it) => DaveMessage::ClientDisconnect(it.user_id),
            ServerMessage::DavePrepareTransition(it) => DaveMessage::PrepareTransition(*it),
            ServerMessage::DaveExecuteTransition(it) => DaveMessage::ExecuteTransition(*it),
            ServerMessage::DavePrepareEpoch(it) => DaveMessage::PrepareEpoch(*it),
            _ => return,
        };
        self.handle(now, message);
    }

    fn handle_binary(&mut self, now: Instant, bytes: &[u8]) {
        self.handle(now, DaveMessage::Binary(ServerBinary::decode(8, bytes).unwrap().message));
    }

    fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    fn seal(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = frame.to_vec();
        buffer.resize(frame.len() + FrameSealer::MAX_OVERHEAD, 0);
        let len = self.sealer.seal(&mut buffer, frame.len()).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    fn seal_video(&mut self, codec: Codec, frame: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = vec![0; FrameSealer::max_sealed_len(codec, frame.len())];
        let len = self.sealer.seal_video(codec, frame, &mut buffer).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    fn open(&mut self, now: Instant, from: UserId, media: Media, frame: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = frame.to_vec();
        let opened = self.openers.get_mut(&from)?.open(now, media, &mut buffer).ok()?;
        buffer.truncate(opened.len);
        Some(buffer)
    }

    fn members(&self) -> BTreeSet<UserId> {
        self.session.status().members.into_iter().collect()
    }

    fn epoch(&self) -> Option<u64> {
        self.session.status().epoch
    }

    fn privacy_code(&self) -> Option<String> {
        self.session.status().privacy_code
    }

    fn verification_code(&self, user: UserId) -> Option<String> {
        Some(self.session.verification(user)?.code())
    }
}

/// A member with davey's session.
pub struct Davey(Session);

impl Davey {
    pub fn new(user: UserId, channel: ChannelId) -> Self {
        Self(Session::new(user.get(), channel.get()))
    }
}

impl Member for Davey {
    fn handle_text(&mut self, _: Instant, text: &str) {
        self.0.handle_text(&serde_json::from_str(text).unwrap());
    }

    fn handle_binary(&mut self, _: Instant, bytes: &[u8]) {
        self.0.handle_binary(bytes);
    }

    fn answers(&mut self) -> Vec<Answer> {
        self.0.answers()
    }

    fn seal(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.0.seal(frame)
    }

    fn seal_video(&mut self, codec: Codec, frame: &[u8]) -> Option<Vec<u8>> {
        let codec = match codec {
            Codec::Vp8 => davey::Codec::VP8,
            Codec::Vp9 => davey::Codec::VP9,
            Codec::H264 => davey::Codec::H264,
            Codec::H265 => davey::Codec::H265,
            Codec::Av1 => davey::Codec::AV1,
            other => panic!("{other:?}"),
        };
        self.0.dave.encrypt(davey::MediaType::VIDEO, codec, frame).ok().map(|frame| frame.into_owned())
    }

    fn open(&mut self, _: Instant, from: UserId, media: Media, frame: &[u8]) -> Option<Vec<u8>> {
        let media = match media {
            Media::Audio => davey::MediaType::AUDIO,
            Media::Video => davey::MediaType::VIDEO,
        };
        self.0.dave.decrypt(from.get(), media, frame).ok()
    }

    fn members(&self) -> BTreeSet<UserId> {
        self.0.dave.get_user_ids().unwrap_or_default().into_iter().map(UserId::new).collect()
    }

    fn epoch(&self) -> Option<u64> {
        self.0.dave.epoch().map(|epoch| epoch.as_u64()).filter(|epoch| *epoch > 0)
    }

    fn privacy_code(&self) -> Option<String> {
        self.0.dave.voice_privacy_code().map(str::to_owned)
    }

    fn verification_code(&self, user: UserId) -> Option<String> {
        self.0.dave.get_verification_code(user.get()).ok()
    }
}
