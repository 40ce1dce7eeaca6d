//! What goes into a call and what comes out.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use voice_dave::{ReceiveMode, SendMode};
use voice_model::{ChannelId, CloseCode, UpdateVoiceState, UserId};
use voice_rtp::{Ping, Ssrc};
use voice_udp::{DISCOVERY_LEN, MediaFault, Receiver, Sender};
use voice_ws::{Endpoint, Identity, Input};

use crate::{Event, GatewayEvent};

/// What goes into a call.
#[derive(Debug)]
pub enum CallInput<'a> {
    /// The WebSocket did something.
    Ws(Input<'a>),
    /// The media socket asked for by [`UdpAction::Open`] is open.
    UdpOpened,
    /// The media socket could not be opened, or failed; with the system's words.
    UdpFailed(&'a str),
    /// The network says that the media server cannot be reached, before the media halves were handed on. A later answer may
    /// overrule it.
    UdpUnreachable,
    /// A datagram arrived before the media halves were handed on.
    Datagram(&'a [u8]),
    /// Media does not get through any more.
    MediaFailed(MediaFault),
    /// The main gateway has something to say, for a call that was [joined](crate::CallSession::join) through it.
    Gateway(&'a GatewayEvent),
    /// The main gateway did not take what [`CallOutput::Gateway`] asked for; with its library's words.
    GatewayRefused(&'a str),
    /// What [`CallOutput::Gateway`] asked for is sent only after so long, for want of a turn: its answer may take longer.
    GatewayDelayed(Duration),
    /// The user wants something.
    Command(CallCommand),
    /// The instant of [`CallOutput::Timeout`] has come.
    Timeout,
}

/// What a user of a call may want from its control.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallCommand {
    /// Announce that audio follows, or has ended.
    Speak(bool),
    /// The main gateway named another server, or a new token: connect there. What plays and who
    /// listens waits for the new one: the old one forwards nothing from who has closed its session.
    Update(Identity),
    /// The main gateway says that we are in no channel any more.
    Disconnected,
    /// Move to another channel of the guild, in a call that was [joined](crate::CallSession::join) through the main
    /// gateway. What plays and who listens carries over.
    MoveTo(ChannelId),
    /// Mute or deafen this user, in such a call.
    SetSelf {
        /// Nothing of what is sent is heard.
        mute: bool,
        /// Nothing is received.
        deaf: bool,
    },
    /// Leave.
    Leave,
}

/// What a call asks of its driver, in order.
#[derive(Debug)]
#[must_use]
pub enum CallOutput {
    /// Do this to the WebSocket.
    Ws(WsAction),
    /// Do this to the media socket.
    Udp(UdpAction),
    /// Tell the media thread.
    Media(MediaCommand),
    /// Send this to the main gateway as opcode 4.
    Gateway(UpdateVoiceState),
    /// Tell the user.
    Event(Event),
    /// Nothing to do before this instant.
    Timeout(Option<Instant>),
}

/// What to do to the one WebSocket.
pub enum WsAction {
    /// Open one in place of an older one.
    Connect(Endpoint),
    /// Send a text message; it can contain credentials.
    Text(String),
    /// Send a binary message.
    Binary(Vec<u8>),
    /// Close it with this code.
    Close(CloseCode),
}

impl fmt::Debug for WsAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(endpoint) => f.debug_tuple("Connect").field(endpoint).finish(),
            Self::Text(text) => write!(f, "Text([{} bytes])", text.len()),
            Self::Binary(bytes) => write!(f, "Binary([{} bytes])", bytes.len()),
            Self::Close(code) => f.debug_tuple("Close").field(code).finish(),
        }
    }
}

/// What to do to the media socket.
#[derive(Debug)]
pub enum UdpAction {
    /// Open one, connected to the media server, in place of an older one.
    Open(SocketAddr),
    /// Open one at the address that another process had, connected to the media server.
    Reopen {
        /// The own address, at which the media server sends.
        local: SocketAddr,
        /// The media server.
        server: SocketAddr,
    },
    /// Send this discovery request on it.
    Send([u8; DISCOVERY_LEN]),
    /// Send this ping on it. Its answer is a [`CallInput::Datagram`].
    Ping([u8; Ping::LEN]),
}

/// What to tell the media thread.
#[derive(Debug)]
#[non_exhaustive]
pub enum MediaCommand {
    /// Take over the socket with these halves, in place of older ones. What is received counts from now on; nothing is
    /// to be sent yet but keepalives.
    Start(Box<Sender>, Box<Receiver>),
    /// Send audio from now on: the call is connected.
    Begin,
    /// What the call demands of frames that leave.
    SetSendMode(SendMode),
    /// What the call demands of this user's frames.
    SetReceiveMode(UserId, ReceiveMode),
    /// What the call demands of the frames of everybody of whom nothing else was said.
    SetDefaultReceiveMode(ReceiveMode),
    /// Whose stream an SSRC is.
    Bind(Ssrc, UserId),
    /// The user has left.
    Forget(UserId),
    /// There is no media server any more. What plays and who listens waits for another, or for the end.
    Stop,
}

impl MediaCommand {
    /// Does to the halves what concerns them alone; gives back what is about more than that.
    pub fn apply(self, now: Instant, sender: &mut Sender, receiver: &mut Receiver) -> Option<Self> {
        match self {
            Self::SetSendMode(mode) => sender.set_mode(mode),
            Self::SetReceiveMode(user, mode) => receiver.set_mode(now, user, mode),
            Self::SetDefaultReceiveMode(mode) => receiver.set_default_mode(now, mode),
            Self::Bind(ssrc, user) => receiver.bind(now, ssrc, user),
            Self::Forget(user) => receiver.forget(now, user),
            Self::Start(..) | Self::Begin | Self::Stop => return Some(self),
        }
        None
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The main gateway was asked to let us into the channel.
    #[default]
    Signalling,
    /// A voice server is known; the way to it is under way.
    Connecting,
    /// Frames flow, or could.
    Connected,
    /// The gateway's connection is lost and the session being resumed; frames flow.
    Resuming,
    /// The voice server is gone; the main gateway says what follows.
    Waiting,
    /// The call is lost and joined again through the main gateway.
    Rejoining,
    /// It is over.
    Ended,
}

/// The counters of a call, across all the voice servers that it was on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCounters {
    /// Connections to voice servers that were begun; a session that is resumed counts once.
    pub connections: u64,
    /// Attempts to join again.
    pub rejoins: u64,
    /// Messages to the voice gateway that were dropped, because too many waited for the end of an interruption.
    pub messages_dropped: u64,
    /// Speakers that were forgotten, because there were more than a call remembers.
    pub speakers_dropped: u64,
}

/// How long each step of joining took, from the start of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinTimes {
    /// The WebSocket was open.
    pub connected: Option<Duration>,
    /// Ready came: the credentials were accepted.
    pub identified: Option<Duration>,
    /// The own address was discovered.
    pub discovered: Option<Duration>,
    /// The session description came, with the key.
    pub established: Option<Duration>,
    /// The server has taken our SSRC, and has heard of our socket: frames can flow, unless they have to be encrypted first.
    pub confirmed: Option<Duration>,
    /// The first frames could leave end-to-end encrypted, which takes somebody else in the call.
    pub encrypted: Option<Duration>,
    /// The call was connected: frames flow, or there is nobody yet to hear them.
    pub joined: Option<Duration>,
}
