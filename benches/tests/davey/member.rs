//! Members of a call: one that runs ours, one that runs davey the way programs with davey do.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Instant;

use davey::ProposalsOperationType;
use voice_dave::{
    Codec, DaveConfig, DaveMessage, DaveOutput, DaveSession, FrameOpener, FrameSealer, Media, OutgoingMessage,
    SigningKey,
};
use voice_model::{
    ChannelId, ClientBinary, ClientMessage, DaveTransitionReady, MlsInvalidCommitWelcome, ProposalsOperation,
    ServerBinary, ServerMessage, UserId,
};

/// The session of one member and its media halves.
pub trait Member {
    fn handle_text(&mut self, now: Instant, message: &ServerMessage);

    fn handle_binary(&mut self, now: Instant, message: ServerBinary<'_>);

    /// What it says since the last time.
    fn answers(&mut self) -> Vec<OutgoingMessage>;

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
    answers: Vec<OutgoingMessage>,
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
                DaveOutput::Message(message) => self.answers.push(message),
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
    fn handle_text(&mut self, now: Instant, message: &ServerMessage) {
        let message = match message {
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

    fn handle_binary(&mut self, now: Instant, message: ServerBinary<'_>) {
        self.handle(now, DaveMessage::Binary(message));
    }

    fn answers(&mut self) -> Vec<OutgoingMessage> {
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

/// A member with davey's session, which leaves to its program what messages there are and when frames are plain.
pub struct Davey {
    user: u64,
    channel: u64,
    session: davey::DaveSession,
    /// The version that frames leave with; `None` before the first transition.
    version: Option<u16>,
    pending: BTreeMap<u16, u16>,
    recognized: Vec<u64>,
    answers: Vec<OutgoingMessage>,
}

impl Davey {
    pub fn new(user: UserId, channel: ChannelId) -> Self {
        let (user, channel) = (user.get(), channel.get());
        Self {
            user,
            channel,
            session: davey::DaveSession::new(VERSION, user, channel, None).unwrap(),
            version: None,
            pending: BTreeMap::new(),
            recognized: vec![user],
            answers: Vec::new(),
        }
    }

    fn begin(&mut self) {
        self.session.reinit(VERSION, self.user, self.channel, None).unwrap();
        let package = self.session.create_key_package().unwrap();
        self.say(ClientBinary::KeyPackage(&package));
    }

    fn prepare(&mut self, id: u16, version: u16) {
        self.session.prepare_transition(id, version).unwrap();
        self.session.set_passthrough_mode(version == 0, None);
        if id == 0 {
            self.version = Some(version);
        } else {
            self.pending.insert(id, version);
            let ready = DaveTransitionReady { transition_id: id };
            self.answers.push(OutgoingMessage::Text(ClientMessage::DaveTransitionReady(ready)));
        }
    }

    fn execute(&mut self, id: u16) {
        if self.session.execute_transition(id).unwrap() {
            self.version = self.pending.remove(&id);
        }
    }

    fn recover(&mut self, transition_id: u16) {
        let invalid = ClientMessage::MlsInvalidCommitWelcome(MlsInvalidCommitWelcome { transition_id });
        self.answers.push(OutgoingMessage::Text(invalid));
        self.begin();
    }

    fn say(&mut self, message: ClientBinary<'_>) {
        self.answers.push(OutgoingMessage::Binary(message.encode()));
    }
}

const VERSION: NonZeroU16 = NonZeroU16::MIN;

impl Member for Davey {
    fn handle_text(&mut self, _: Instant, message: &ServerMessage) {
        match message {
            ServerMessage::SessionDescription(it) if it.dave_protocol_version > 0 => self.begin(),
            ServerMessage::SessionDescription(_) => {
                self.version = Some(0);
                self.session.set_passthrough_mode(true, None);
            }
            ServerMessage::ClientsConnect(it) => self.recognized.extend(it.user_ids.iter().map(|user| user.get())),
            ServerMessage::ClientDisconnect(it) => self.recognized.retain(|user| *user != it.user_id.get()),
            ServerMessage::DavePrepareTransition(it) => self.prepare(it.transition_id, it.protocol_version),
            ServerMessage::DaveExecuteTransition(it) => self.execute(it.transition_id),
            ServerMessage::DavePrepareEpoch(it) if it.epoch == 1 => self.begin(),
            _ => {}
        }
    }

    fn handle_binary(&mut self, _: Instant, message: ServerBinary<'_>) {
        match message {
            ServerBinary::ExternalSender(bytes) => self.session.set_external_sender(bytes).unwrap(),
            ServerBinary::Proposals { operation, proposals } => {
                let operation = match operation {
                    ProposalsOperation::Append => ProposalsOperationType::APPEND,
                    _ => ProposalsOperationType::REVOKE,
                };
                let done = self.session.process_proposals(operation, proposals, Some(&self.recognized));
                let made = done.unwrap_or_else(|e| panic!("davey of {} and proposals: {e}", self.user));
                if let Some(davey::CommitWelcome { commit, welcome }) = made {
                    let payload = [commit, welcome.unwrap_or_default()].concat();
                    self.say(ClientBinary::CommitWelcome(&payload));
                }
            }
            ServerBinary::AnnounceCommitTransition { transition_id, commit } => {
                match self.session.process_commit(commit) {
                    Ok(true) => self.prepare(transition_id, 1),
                    Ok(false) => {}
                    Err(_) => self.recover(transition_id),
                }
            }
            ServerBinary::Welcome { transition_id, welcome } => {
                match self.session.process_welcome(welcome, Some(&self.recognized)) {
                    Ok(()) => self.prepare(transition_id, 1),
                    Err(_) => self.recover(transition_id),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn answers(&mut self) -> Vec<OutgoingMessage> {
        std::mem::take(&mut self.answers)
    }

    fn seal(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        match self.version? {
            0 => Some(frame.to_vec()),
            _ => self.session.encrypt_opus(frame).ok().map(|frame| frame.into_owned()),
        }
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
        self.session.encrypt(davey::MediaType::VIDEO, codec, frame).ok().map(|frame| frame.into_owned())
    }

    fn open(&mut self, _: Instant, from: UserId, media: Media, frame: &[u8]) -> Option<Vec<u8>> {
        let media = match media {
            Media::Audio => davey::MediaType::AUDIO,
            Media::Video => davey::MediaType::VIDEO,
        };
        self.session.decrypt(from.get(), media, frame).ok()
    }

    fn members(&self) -> BTreeSet<UserId> {
        self.session.get_user_ids().unwrap_or_default().into_iter().map(UserId::new).collect()
    }

    fn epoch(&self) -> Option<u64> {
        self.session.epoch().map(|epoch| epoch.as_u64()).filter(|epoch| *epoch > 0)
    }

    fn privacy_code(&self) -> Option<String> {
        self.session.voice_privacy_code().map(str::to_owned)
    }

    fn verification_code(&self, user: UserId) -> Option<String> {
        self.session.get_verification_code(user.get()).ok()
    }
}
