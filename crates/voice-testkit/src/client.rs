//! One client of a world: its call, its media, and a record of all it did and heard.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use discord_voice::{
    CallSession, Config, EndReason, Event,
    dave::{DaveStats, DaveStatus},
    model::{ChannelId, UserId},
    rtp::{Ssrc, Timestamp},
};
use voice_udp::{ReceiveStats, SendStats, Talkspurt};
use voice_ws::SessionStats;

use crate::{Conditions, media::Media};

/// A client of a [`World`](crate::World) and everything it sent, heard and was told.
#[derive(Debug)]
pub struct Client {
    pub(crate) user: UserId,
    pub(crate) call: Option<CallSession>,
    /// How the call is to be made that begins when the user is logged in to the main gateway.
    pub(crate) joins: Option<Arc<Config>>,
    /// How long the call may be neither established nor over, if it goes through the main gateway.
    pub(crate) patience: Option<Duration>,
    /// What was asked of the main gateway.
    pub(crate) updates: Vec<(Duration, Option<ChannelId>)>,
    /// The session with the voice server to which the messages belong that come.
    pub(crate) conversation: Option<usize>,
    pub(crate) newest_conversation: Option<usize>,
    /// When the call wants to be woken.
    pub(crate) deadline: Option<Instant>,
    /// The one WebSocket.
    pub(crate) connection: Option<u64>,
    /// The media socket while it is used for discovery.
    pub(crate) discovery: Option<SocketAddr>,
    pub(crate) media: Option<Media>,
    /// When its media wants to be woken.
    pub(crate) media_at: Option<Instant>,
    /// The key in the session description that came last.
    pub(crate) key: Option<[u8; 32]>,
    pub(crate) up: Conditions,
    pub(crate) down: Conditions,
    /// Its call may do nothing in the clear.
    pub(crate) requires_e2ee: bool,
    /// WebSockets cannot be opened.
    pub(crate) refused: bool,
    pub(crate) rng: fastrand::Rng,
    /// Frames to send, one in 20 ms.
    pub(crate) queue: VecDeque<Vec<u8>>,
    pub(crate) talkspurt: Talkspurt,
    /// Where in 20 ms the ticks are.
    pub(crate) phase: Duration,
    pub(crate) tick_at: Option<(u64, Instant)>,
    pub(crate) last_round: u64,
    pub(crate) frames_made: u32,
    /// The epoch that was the newest when the key came that is sent with.
    pub(crate) sends_in: Option<u64>,
    pub(crate) is_established: bool,
    /// Until then the call must be established or over.
    pub(crate) settle_by: Option<Instant>,
    /// When its session was resumed last.
    pub(crate) resumed_at: Option<Duration>,
    /// Resumes in a row that lasted too short a while to count.
    pub(crate) fruitless_resumes: u32,
    pub(crate) ended: Option<EndReason>,
    pub(crate) media_starts: u64,
    pub(crate) events: Vec<(Duration, Event)>,
    pub(crate) said: Vec<Said>,
    /// Frames that could not leave for want of a key.
    pub(crate) held: Vec<Said>,
    pub(crate) heard: Vec<Heard>,
    /// Times at which the call was woken in the present virtual second.
    pub(crate) wakes: u32,
}

/// A frame that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// When, from the start of the world.
    pub at: Duration,
    /// In which stream.
    pub ssrc: Ssrc,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// It is one of the frames of silence that end a talk spurt.
    pub silence: bool,
    /// The epoch of the group that the client knew when it began to send with the key of this frame, if it has one.
    pub epoch: Option<u64>,
}

/// What a client heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When, from the start of the world.
    pub at: Duration,
    /// Whom.
    pub user: UserId,
    /// In which stream.
    pub ssrc: Ssrc,
    /// What.
    pub content: HeardContent,
}

/// A frame, or the place of one that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeardContent {
    /// A frame.
    Frame {
        /// When it was sampled, in ticks of 48 kHz.
        timestamp: Timestamp,
        /// Its bytes.
        frame: Vec<u8>,
    },
    /// So many packets did not come in time.
    Lost {
        /// Their number.
        packets: u64,
    },
}

impl Client {
    pub(crate) fn new(user: UserId, seed: u64, up: Conditions, down: Conditions) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let phase = Duration::from_micros(rng.u64(..20_000));
        Self {
            user,
            call: None,
            joins: None,
            patience: None,
            updates: Vec::new(),
            conversation: None,
            newest_conversation: None,
            deadline: None,
            connection: None,
            discovery: None,
            media: None,
            media_at: None,
            key: None,
            up,
            down,
            requires_e2ee: false,
            refused: false,
            rng,
            queue: VecDeque::new(),
            talkspurt: Talkspurt::default(),
            phase,
            tick_at: None,
            last_round: 0,
            frames_made: 0,
            sends_in: None,
            is_established: false,
            settle_by: None,
            resumed_at: None,
            fruitless_resumes: 0,
            ended: None,
            media_starts: 0,
            events: Vec::new(),
            said: Vec::new(),
            held: Vec::new(),
            heard: Vec::new(),
            wakes: 0,
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// Whether its call is connected, and not interrupted at the moment.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.is_established
    }

    /// Why its last call is over, if it is.
    #[must_use]
    pub const fn ended(&self) -> Option<&EndReason> {
        self.ended.as_ref()
    }

    /// Whether it is in a call, or on its way into or back into one.
    #[must_use]
    pub const fn is_in_call(&self) -> bool {
        self.joins.is_some() || (self.call.is_some() && self.ended.is_none())
    }

    /// What it was told, and when from the start of the world.
    #[must_use]
    pub fn events(&self) -> &[(Duration, Event)] {
        &self.events
    }

    /// Whether it was told something of that kind.
    #[must_use]
    pub fn saw(&self, is_it: impl Fn(&Event) -> bool) -> bool {
        self.count(is_it) > 0
    }

    /// How often it was told something of that kind.
    #[must_use]
    pub fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| is_it(event)).count()
    }

    /// Who was announced to speak, each time it was.
    #[must_use]
    pub fn speakers(&self) -> Vec<UserId> {
        let speaker = |event: &Event| match event {
            Event::Speaking { user, .. } => Some(*user),
            _ => None,
        };
        self.events.iter().filter_map(|(_, event)| speaker(event)).collect()
    }

    /// How often media began, the first time included; a resumed call does not begin anew.
    #[must_use]
    pub const fn media_starts(&self) -> u64 {
        self.media_starts
    }

    /// All frames it sent, those of silence included.
    #[must_use]
    pub fn said(&self) -> &[Said] {
        &self.said
    }

    /// The frames that it dropped because they could not leave for want of a key.
    #[must_use]
    pub fn held_back(&self) -> &[Said] {
        &self.held
    }

    /// How far the end-to-end encryption of its call is.
    #[must_use]
    pub fn e2ee(&self) -> Option<&DaveStatus> {
        self.call.as_ref().map(CallSession::e2ee)
    }

    /// What its end-to-end encryption did and refused in this session.
    #[must_use]
    pub fn dave_stats(&self) -> Option<&DaveStats> {
        self.call.as_ref().map(CallSession::dave_stats)
    }

    /// All it heard.
    #[must_use]
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// The frames it heard from a user, in the order in which it heard them.
    #[must_use]
    pub fn frames_from(&self, user: UserId) -> Vec<&[u8]> {
        let frame = |heard: &'_ Heard| heard.user == user && matches!(heard.content, HeardContent::Frame { .. });
        let frames = self.heard.iter().filter(|heard| frame(heard));
        frames
            .filter_map(
                |heard| if let HeardContent::Frame { frame, .. } = &heard.content { Some(&frame[..]) } else { None },
            )
            .collect()
    }

    /// The packets from a user that were reported as lost.
    #[must_use]
    pub fn lost_from(&self, user: UserId) -> u64 {
        let lost = |heard: &Heard| match heard.content {
            HeardContent::Lost { packets } if heard.user == user => packets,
            _ => 0,
        };
        self.heard.iter().map(lost).sum()
    }

    /// The frames that wait to be sent.
    #[must_use]
    pub fn waiting_frames(&self) -> usize {
        self.queue.len()
    }

    /// The counters of its present receiving half.
    #[must_use]
    pub fn receive_stats(&self) -> Option<ReceiveStats> {
        self.media.as_ref().map(|media| *media.receiver.stats())
    }

    /// The counters of its present sending half.
    #[must_use]
    pub fn send_stats(&self) -> Option<SendStats> {
        self.media.as_ref().map(|media| *media.sender.stats())
    }

    /// The counters of its present session.
    #[must_use]
    pub fn session_stats(&self) -> Option<SessionStats> {
        self.call.as_ref().map(CallSession::session_stats)
    }
}
